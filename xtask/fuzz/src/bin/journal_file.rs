//! The file `journal` of a stack in a directory. If the first byte of an input is zero, the rest are steps by which a file is
//! made: frames with right checksums, and what a crash or an accident does to them. Any other input is the file.
//!
//! Laws: the records that are read, and whether it is damage, are those of a simple reader after `docs/format.md`, however they
//! are paged. A record is appended where reading stopped, and none before it changes; to a damaged file nothing is appended, and
//! it stays as it is (R1).

#![no_main]

use fuzz::{REVISION, check_error, local_stack};
use localstate::LocalBackend;
use sdk_state::{
    Appended, Backend as _, Created, ErrorKind, Expect, Holder, LockToken, Pointer, Revision, TryLock,
};
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

const MAGIC: &[u8] = b"ubjournal 1\n";
const SECTOR: usize = 512;
const LONGEST_RECORD: usize = 16 << 20;
/// A file that is made is at most so long.
const LIMIT: usize = 64 << 10;

struct Stack {
    file: PathBuf,
    backend: LocalBackend,
    pointer: Pointer,
    token: LockToken,
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    static STACK: LazyLock<Stack> = LazyLock::new(stack);
    let file = match input.split_first() {
        Some((0, steps)) => made(steps),
        _ => input.to_vec(),
    };
    check(&STACK, &file);
});

fn stack() -> Stack {
    let (file, backend) = local_stack("journal");
    assert_eq!(
        backend.create(&REVISION, b"base").expect("a base"),
        Created::Created
    );
    let TryLock::Held(lock) = backend.try_lock(&Holder::new("fuzz")).expect("a lock") else {
        panic!("nobody else has it");
    };
    let token = lock.token().expect("it is held").clone();
    // The process ends with it.
    std::mem::forget(lock);
    let pointer = backend.set_current(Expect::Nothing, &REVISION, &token);
    Stack {
        file,
        backend,
        pointer: pointer.expect("a base"),
        token,
    }
}

fn check(stack: &Stack, file: &[u8]) {
    let Stack {
        backend,
        pointer,
        token,
        ..
    } = stack;
    // A new file: the backend may still have the old one open.
    let _ = fs::remove_file(&stack.file);
    fs::write(&stack.file, file).expect("a file");
    let (mut records, is_damaged) = reference(file);
    read_back(stack, &records, is_damaged);
    if is_damaged {
        let error = backend.append(pointer, 0, b"more", token).expect_err("damage");
        assert_eq!(error.kind(), &ErrorKind::Damaged);
        check_error(&error, file, &[]);
        assert_eq!(fs::read(&stack.file).expect("a file"), file);
        return;
    }
    let count = records.len() as u64;
    let append = |index, record: &[u8]| backend.append(pointer, index, record, token).expect("a record");
    assert_eq!(append(count + 1, b"more"), Appended::Taken);
    for record in [b"one more".as_slice(), &[0; 600]] {
        assert_eq!(append(records.len() as u64, record), Appended::Appended);
        assert_eq!(append(records.len() as u64, record), Appended::Appended);
        records.push(record.into());
        read_back(stack, &records, false);
    }
    assert_eq!(append(count, b"other"), Appended::Taken);
    let written = fs::read(&stack.file).expect("a file");
    assert_eq!(reference(&written), (records, false));
}

/// In pages of one record, of a few and of all. What stands before damage is read.
fn read_back(stack: &Stack, records: &[Vec<u8>], is_damaged: bool) {
    for most in [0, 700, usize::MAX] {
        let mut read = Vec::new();
        let ends_in_damage = loop {
            let from = read.len() as u64;
            match stack.backend.read_journal(&stack.pointer, from, most) {
                Ok(page) if page.is_empty() => break false,
                Ok(page) => {
                    let beyond: usize = page.iter().skip(1).map(Vec::len).sum();
                    assert!(beyond <= most && (most > 0 || page.len() == 1));
                    read.extend(page);
                }
                Err(error) => {
                    assert_eq!(error.kind(), &ErrorKind::Damaged);
                    check_error(&error, &read.concat(), &[]);
                    break true;
                }
            }
        };
        assert_eq!((read.as_slice(), ends_in_damage), (records, is_damaged));
    }
}

/// The records of a file, and whether it is damaged behind them.
fn reference(file: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut records = Vec::new();
    let beginning = file.strip_prefix(MAGIC).and_then(|rest| {
        let end = rest.iter().take(129).position(|byte| *byte == b' ')?;
        let base: Revision = str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
        let checksum = format!(" {:08x}\n", crc32(&file[..MAGIC.len() + end]));
        rest[end..].starts_with(checksum.as_bytes()).then_some(())?;
        Some((base, MAGIC.len() + end + checksum.len()))
    });
    let Some((base, mut at)) = beginning else {
        return (records, true);
    };
    if base != *REVISION {
        return (records, false);
    }
    loop {
        let rest = &file[at..];
        let is_end = is_zero(&rest[..rest.len().min(12)]);
        let Some((header, after)) = rest.split_at_checked(12).filter(|_| !is_end) else {
            return (records, false);
        };
        let [length, of_length, of_record] = [0, 4, 8].map(|at| {
            let bytes = header[at..at + 4].try_into().expect("4 bytes");
            u32::from_le_bytes(bytes)
        });
        let bytes = length as usize;
        if crc32(&header[..4]) != of_length || !(1..=LONGEST_RECORD).contains(&bytes) {
            let boundary = at.next_multiple_of(SECTOR);
            let lies_in_two = boundary < at + 12;
            let other = &file[boundary.min(file.len())..file.len().min(boundary + SECTOR)];
            let lacks_one = lies_in_two && (is_zero(&file[at..boundary]) || is_zero(other));
            return (records, !lacks_one);
        }
        let Some((record, behind)) = after.split_at_checked(bytes) else {
            return (records, false);
        };
        if crc32(record) != of_record {
            let end = at + 12 + bytes;
            let mut sectors = at / SECTOR..=(end - 1) / SECTOR;
            let lacks_one = sectors.any(|n| is_zero(&file[at.max(n * SECTOR)..end.min((n + 1) * SECTOR)]));
            let is_last = is_zero(&behind[..behind.len().min(12)]);
            return (records, !(lacks_one && is_last));
        }
        records.push(record.to_vec());
        at += 12 + bytes;
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Of IEEE 802.3, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
    !bytes
        .iter()
        .fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// Each step is four bytes: what it does, a number and a byte.
fn made(steps: &[u8]) -> Vec<u8> {
    let mut file = [MAGIC, REVISION.to_string().as_bytes()].concat();
    file.extend_from_slice(format!(" {:08x}\n", crc32(&file)).as_bytes());
    for step in steps.chunks_exact(4) {
        let &[what, low, high, byte] = step else { break };
        let number = usize::from(u16::from_le_bytes([low, high]));
        let at = number % file.len().max(1);
        match what % 8 {
            0..=2 if file.len() < LIMIT => {
                // A frame of one byte again and again, or of different ones.
                let length = 1 + number % 2000;
                let record: Vec<u8> = (0..length)
                    .map(|n| {
                        if what % 8 == 0 {
                            byte
                        } else {
                            byte.wrapping_add(n as u8)
                        }
                    })
                    .collect();
                let length = (length as u32).to_le_bytes();
                for checksum in [length, crc32(&length).to_le_bytes(), crc32(&record).to_le_bytes()] {
                    file.extend_from_slice(&checksum);
                }
                file.extend_from_slice(&record);
            }
            3 => file.truncate(file.len() - at.min(file.len()).min(1000)),
            4 => {
                let sector = at / SECTOR * SECTOR;
                let end = file.len().min(sector + SECTOR);
                file[sector..end].fill(0);
            }
            5 if !file.is_empty() => file[at] ^= byte,
            6 => file.resize(file.len() + number % 1500, 0),
            // As a writer that died left it: zeros from somewhere on.
            7 => {
                let from = file.len() - (number % 700).min(file.len());
                file[from..].fill(0);
            }
            _ => {}
        }
    }
    file
}
