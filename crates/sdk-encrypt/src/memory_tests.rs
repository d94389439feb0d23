//! Whether keys stay in the memory of the process.

use crate::{Encrypter, EnvKey, MasterKey};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc;
use std::thread;
use zeroize::Zeroizing;

/// Most pages hold nothing but zeros: they are passed over, which makes the search ten times as fast.
const ZEROS: [u8; 4096] = [0; 4096];

/// A byte string as its complement, so that looking for it does not put it into memory.
fn complement(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

/// How often the string is in the writable memory of this process.
fn occurrences(complement: &[u8]) -> usize {
    let memory = File::open("/proc/self/mem").unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut buffer = vec![0; 1 << 20];
    let mut found = 0;
    for map in maps.lines().filter(|map| map.contains(" rw")) {
        let (start, rest) = map.split_once('-').unwrap();
        let mut at = u64::from_str_radix(start, 16).unwrap();
        let end = u64::from_str_radix(rest.split_once(' ').unwrap().0, 16).unwrap();
        while at < end {
            let wanted = buffer.len().min((end - at) as usize);
            let Ok(length @ 1..) = memory.read_at(&mut buffer[..wanted], at) else {
                break;
            };
            for page in (0..length).step_by(ZEROS.len()) {
                let end = length.min(page + ZEROS.len());
                if buffer[page..end] == ZEROS[..end - page] {
                    continue;
                }
                found += buffer[page..length.min(end + complement.len() - 1)]
                    .windows(complement.len())
                    .filter(|window| window.iter().zip(complement).all(|(byte, other)| *byte == !other))
                    .count();
            }
            at += length as u64;
        }
    }
    found
}

/// Uses a key, and returns it if it is to be kept.
type Work = fn() -> Option<Box<dyn Encrypter>>;

/// Runs `work` on a thread that then stands still, so that what is left on its stack stays there, and counts.
fn occurrences_after(work: Work, complement: &[u8]) -> usize {
    let (done, wait) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let worker = thread::spawn(move || {
        let kept = work();
        done.send(()).unwrap();
        let _ = released.recv();
        drop(kept);
    });
    wait.recv().unwrap();
    let found = occurrences(complement);
    drop(release);
    worker.join().unwrap();
    found
}

/// 32 times C3.
fn key() -> EnvKey {
    let key = MasterKey::filled_by(|key| {
        key.fill(0xC3);
        Ok::<_, ()>(())
    });
    EnvKey::new("STATE_KEY", key.unwrap())
}

/// 32 times B5, read from its text.
#[cfg(feature = "age")]
fn age_key() -> crate::AgeKey {
    let mut text = Zeroizing::new(String::with_capacity(AGE_TEXT.len() / 2));
    text.extend(complement(AGE_TEXT).into_iter().map(|byte| char::from(!byte)));
    crate::AgeKey::from_text(&text).unwrap()
}

/// The complement of the text of that key.
#[cfg(feature = "age")]
const AGE_TEXT: &str = "beb8bad2acbabcadbaabd2b4baa6d2ceb4b4c9b2abbbbbcbb4b4c9b2abbbbbcbb4b4c9b2abbbbbcbb4b4c9b2abbbbbcbb4b4c9b2abbbbbcbb4b4c9b2abbbbbcbb4b4c9acc8abccbea8a9";

fn secret() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(vec![0x9E; 32])
}

// One test, not several: tests run side by side, and one would see the other's keys.
#[test]
fn no_key_stays_in_memory_when_it_is_dropped() {
    let master = [!0xC3; 32];
    let data = [!0x9E; 32];
    // HKDF(C3 * 32, "ubstate v2 wrap")
    let wrapping = complement("93f400c03b009d964eeb10a43ee54741948052634f8ba56990469c61b1d44d15");
    let control = occurrences_after(|| Some(Box::new(key())), &master);
    assert!(control > 0, "the search finds a key that is still there");

    let cases: [(&str, Work); 3] = [
        ("made and dropped", || {
            drop(key());
            None
        }),
        ("wrapped", || {
            let key = key();
            key.wrap(key.recipient(), &secret(), b"").unwrap();
            None
        }),
        ("wrapped and unwrapped", || {
            let key = key();
            let wrapped = key.wrap(key.recipient(), &secret(), b"").unwrap().unwrap();
            let opened = key.unwrap(key.recipient(), &wrapped, b"").unwrap();
            assert_eq!(opened, Some(secret()));
            None
        }),
    ];
    for (name, work) in cases {
        assert_eq!(occurrences_after(work, &master), 0, "the key itself, {name}");
        assert_eq!(occurrences_after(work, &wrapping), 0, "the wrapping key, {name}");
        assert_eq!(occurrences_after(work, &data), 0, "the wrapped secret, {name}");
    }
}

#[cfg(feature = "age")]
#[test]
fn no_age_key_stays_in_memory_when_it_is_dropped() {
    let secret_key = [!0xB5; 32];
    let text = complement(AGE_TEXT);
    let data = [!0x6D; 32];
    let control = occurrences_after(|| Some(Box::new(crate::Age::new("test", age_key()))), &secret_key);
    assert!(control > 0, "the search finds a key that is still there");

    let cases: [(&str, Work); 3] = [
        ("read and dropped", || {
            drop(age_key());
            None
        }),
        ("written", || {
            assert_eq!(age_key().to_text().len(), AGE_TEXT.len() / 2);
            None
        }),
        ("wrapped and unwrapped", || {
            let key = crate::Age::new("test", age_key());
            let secret = Zeroizing::new(vec![0x6D; 32]);
            let wrapped = key.wrap(key.recipient(), &secret, b"").unwrap().unwrap();
            let opened = key.unwrap(key.recipient(), &wrapped, b"").unwrap();
            assert_eq!(opened, Some(secret));
            None
        }),
    ];
    for (name, work) in cases {
        assert_eq!(occurrences_after(work, &secret_key), 0, "the key itself, {name}");
        assert_eq!(occurrences_after(work, &text), 0, "its text, {name}");
        assert_eq!(occurrences_after(work, &data), 0, "the wrapped secret, {name}");
    }
}
