//! The file of the journal, cut, damaged and replaced: a prefix of the records or an error, never anything else.

use crate::journal::{all, append, journal_file, prepare, record};
use crate::support::{self, nth, stack_directory};
use localstate::LocalBackend;
use rustix::fs::{CWD, FileType, Mode};
use sdk_state::{Appended, Backend as _, Error, ErrorKind, Expect, Lock, LockToken, Pointer};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

const SECTOR: usize = 512;

/// A journal, with its bytes up to the end of the last record and where its frames begin.
struct Journal {
    _root: tempfile::TempDir,
    _lock: Box<dyn Lock>,
    backend: LocalBackend,
    base: Pointer,
    token: LockToken,
    file: PathBuf,
    bytes: Vec<u8>,
    begins: Vec<usize>,
}

impl Journal {
    fn new(lengths: &[usize]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let (backend, base, lock, token) = prepare(root.path());
        let mut begins = vec!["ubjournal 1\n".len() + base.revision.to_string().len() + " 01234567\n".len()];
        for (index, &length) in lengths.iter().enumerate() {
            let appended = backend.append(&base, index as u64, &content(index, length), &token);
            assert_eq!(appended.unwrap(), Appended::Appended);
            begins.push(begins[index] + 12 + length);
        }
        let file = journal_file(root.path());
        let mut bytes = fs::read(&file).unwrap();
        assert!(bytes.len() >= 256 << 10);
        bytes.truncate(begins[lengths.len()]);
        Self {
            _root: root,
            _lock: lock,
            backend,
            base,
            token,
            file,
            bytes,
            begins,
        }
    }

    /// Reads the journal as if the file had these bytes.
    fn read(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        fs::write(&self.file, bytes).unwrap();
        let mut records = Vec::new();
        loop {
            let page = self
                .backend
                .read_journal(&self.base, records.len() as u64, usize::MAX)?;
            if page.is_empty() {
                return Ok(records);
            }
            records.extend(page);
        }
    }

    fn records(&self, count: usize) -> Vec<Vec<u8>> {
        let lengths = self.begins.windows(2).map(|ends| ends[1] - ends[0] - 12);
        let contents = lengths.enumerate().map(|(index, length)| content(index, length));
        contents.take(count).collect()
    }
}

/// No byte is zero, so that a sector is zero only if it was not written.
fn content(index: usize, length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| ((at * 31 + index * 7) % 255) as u8 + 1)
        .collect()
}

#[test]
fn a_journal_cut_anywhere_has_the_whole_records() {
    let journal = Journal::new(&[1, 700, 40, 1100]);
    for cut in 0..=journal.bytes.len() {
        let read = journal.read(&journal.bytes[..cut]);
        if cut < journal.begins[0] {
            assert!(read.unwrap_err().is_damaged(), "{cut}");
            continue;
        }
        let whole = journal.begins.iter().filter(|&&begin| begin <= cut).count() - 1;
        assert_eq!(read.unwrap(), journal.records(whole), "{cut}");
    }
}

/// Whichever sectors of the last frame a power cut omits, the frame is dropped, because it was never acknowledged.
#[test]
fn any_sectors_missing_from_the_last_frame_drop_it() {
    // The header of the last frame lies in one sector, or in two.
    for first in [100, SECTOR - 41 - 12 - 6, SECTOR - 41 - 12 - 1] {
        let journal = Journal::new(&[first, 1500]);
        let (begin, end) = (journal.begins[1], journal.begins[2]);
        let sectors: Vec<_> = (begin / SECTOR..end.div_ceil(SECTOR))
            .map(|sector| (sector * SECTOR).max(begin)..((sector + 1) * SECTOR).min(end))
            .collect();
        for missing in 1..1_u32 << sectors.len() {
            let mut bytes = journal.bytes.clone();
            bytes.resize(end + 5000, 0);
            for (number, sector) in sectors.iter().enumerate() {
                if missing & 1 << number != 0 {
                    bytes[sector.clone()].fill(0);
                }
            }
            let read = journal.read(&bytes).unwrap();
            assert_eq!(read, journal.records(1), "{first}: {missing:b}");
        }
    }
}

/// Nothing was ever acknowledged after a partial frame, so a record there is damage.
#[test]
fn a_missing_sector_before_the_last_frame_is_damage() {
    let journal = Journal::new(&[1500, 1, 900]);
    let sector = SECTOR..2 * SECTOR;
    assert!(sector.end < journal.begins[1]);
    let mut bytes = journal.bytes.clone();
    bytes[sector].fill(0);
    let error = journal.read(&bytes).unwrap_err();
    assert!(error.is_damaged(), "{error}");
    assert_eq!(error.path(), Some(journal.file.as_path()));
    let refused = journal
        .backend
        .append(&journal.base, 3, &record(3), &journal.token);
    assert!(refused.unwrap_err().is_damaged());
}

#[test]
fn every_flipped_bit_of_a_journal_is_seen() {
    let journal = Journal::new(&[20, 1, 60]);
    let mut zeros_too = journal.bytes.clone();
    zeros_too.resize(journal.bytes.len() + 12, 0);
    for bit in 0..8 * zeros_too.len() {
        let mut bytes = zeros_too.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let read = journal.read(&bytes);
        assert!(read.as_ref().is_err_and(Error::is_damaged), "{bit}: {read:?}");
    }
}

#[test]
fn impossible_lengths_are_damage_and_cost_nothing() {
    let journal = Journal::new(&[20]);
    for length in [u32::MAX, 16 << 20 | 1, 1 << 31] {
        let mut bytes = journal.bytes.clone();
        bytes.extend(length.to_le_bytes());
        bytes.extend(crc32fast::hash(&length.to_le_bytes()).to_le_bytes());
        bytes.extend([1; 100]);
        assert!(journal.read(&bytes).unwrap_err().is_damaged(), "{length}");
    }
    let length = 16_u32 << 20;
    let mut bytes = journal.bytes.clone();
    bytes.extend(length.to_le_bytes());
    bytes.extend(crc32fast::hash(&length.to_le_bytes()).to_le_bytes());
    bytes.extend([1; 100]);
    assert_eq!(journal.read(&bytes).unwrap(), journal.records(1), "torn");
}

#[test]
fn a_huge_file_is_read_to_its_last_record() {
    let journal = Journal::new(&[20, 30]);
    File::options()
        .write(true)
        .open(&journal.file)
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    assert_eq!(all(&journal.backend, &journal.base), journal.records(2));
    let appended = journal
        .backend
        .append(&journal.base, 2, &content(2, 9), &journal.token);
    assert_eq!(appended.unwrap(), Appended::Appended);
    let other = support::backend(journal._root.path());
    let appended = other.append(&journal.base, 3, &content(3, 9), &journal.token);
    assert_eq!(appended.unwrap(), Appended::Appended);
    assert!(fs::metadata(&journal.file).unwrap().len() < 1 << 20, "copied");
    // Without the magic it is no journal, however long.
    File::create(&journal.file).unwrap().set_len(1 << 40).unwrap();
    assert!(
        journal
            .backend
            .read_journal(&journal.base, 0, 0)
            .unwrap_err()
            .is_damaged()
    );
}

#[test]
fn anything_but_a_file_in_place_of_the_journal_is_refused() {
    for what in ["directory", "pipe", "socket", "link", "dangling link"] {
        let root = tempfile::tempdir().unwrap();
        let (backend, base, _lock, token) = prepare(root.path());
        append(&backend, &base, 0, &token);
        let place = journal_file(root.path());
        let aside = root.path().join("aside");
        fs::rename(&place, &aside).unwrap();
        match what {
            "directory" => fs::create_dir(&place).unwrap(),
            "pipe" => rustix::fs::mknodat(CWD, &place, FileType::Fifo, Mode::RUSR, 0).unwrap(),
            "socket" => drop(std::os::unix::net::UnixListener::bind(&place).unwrap()),
            "link" => symlink(&aside, &place).unwrap(),
            _ => symlink("/nonexistent", &place).unwrap(),
        }
        let before = fs::read(&aside).unwrap();
        for handle in [&backend, &support::backend(root.path())] {
            for error in [
                handle.read_journal(&base, 0, 100).unwrap_err(),
                handle.append(&base, 0, &record(0), &token).unwrap_err(),
                handle.append(&base, 1, &record(1), &token).unwrap_err(),
                handle.set_current(Expect::Anything, &nth(2), &token).unwrap_err(),
            ] {
                assert_eq!(error.kind(), &ErrorKind::Damaged, "{what}: {error}");
                assert_eq!(error.path(), Some(place.as_path()), "{what}");
            }
        }
        assert_eq!(support::current(root.path()), Some(nth(1)), "{what}");
        assert_eq!(fs::read(&aside).unwrap(), before, "{what}");
    }
}

/// Somebody hard-linked a precious file, or another stack's journal, to this name.
#[test]
fn a_foreign_journal_is_copied_and_never_written_to() {
    let journal = Journal::new(&[20, 30]);
    let precious = stack_directory(journal._root.path()).join("../precious");
    fs::write(&precious, &journal.bytes).unwrap();
    fs::remove_file(&journal.file).unwrap();
    fs::hard_link(&precious, &journal.file).unwrap();
    let appended = journal
        .backend
        .append(&journal.base, 2, &content(2, 40), &journal.token);
    assert_eq!(appended.unwrap(), Appended::Appended);
    assert_eq!(fs::read(&precious).unwrap(), journal.bytes);
    assert_eq!(all(&journal.backend, &journal.base).len(), 3);
}

/// Somebody cut the file that a handle has open: a record after the hole would never be found.
#[test]
fn a_journal_cut_under_its_writer_is_counted_again() {
    let journal = Journal::new(&[20, 30]);
    let file = File::options().write(true).open(&journal.file).unwrap();
    file.set_len(journal.begins[1] as u64).unwrap();
    let append = |index| {
        let appended = journal
            .backend
            .append(&journal.base, index, &content(9, 9), &journal.token);
        appended.unwrap()
    };
    assert_eq!(append(2), Appended::Taken);
    assert_eq!(append(1), Appended::Appended);
    assert_eq!(
        all(&journal.backend, &journal.base),
        [content(0, 20), content(9, 9)]
    );
}

/// An append behind a record that was not written completely took it for somebody else's progress, and started over for ever.
#[test]
fn a_record_is_appended_in_place_of_a_torn_one() {
    let journal = Journal::new(&[20, 1500]);
    let mut bytes = journal.bytes.clone();
    bytes[SECTOR..2 * SECTOR].fill(0);
    bytes.resize(journal.begins[2] + 300, 0);
    // Another file: the handle knows what it has written to its own.
    fs::remove_file(&journal.file).unwrap();
    for torn in [bytes.as_slice(), &bytes[..SECTOR]] {
        fs::write(&journal.file, torn).unwrap();
        let appended = journal
            .backend
            .append(&journal.base, 1, &content(9, 9), &journal.token);
        assert_eq!(appended.unwrap(), Appended::Appended);
        assert_eq!(
            all(&journal.backend, &journal.base),
            [content(0, 20), content(9, 9)]
        );
        fs::remove_file(&journal.file).unwrap();
    }
}
