//! A store over memory, compared with a model. The first byte says whether it encrypts; then each step is two bytes, the
//! operation and what it works on.
//!
//! Laws: every outcome, errors included, is that of the model. A write gets a name that was never given before, after the
//! current one (W3, W5), and in turn the next number (W4). A moved or damaged snapshot does not open (E1, E2), a damaged
//! pointer is never "no state yet" (C3), an evicted holder changes nothing (L4).

#![no_main]

use fuzz::{ID, in_kind, rings};
use sdk_state::{
    Backend as _, Error, ErrorKind, Expect, Lock, MemoryStorage, Revision, Snapshot, StackId, Storage as _,
    Store, Wait, WriteOptions,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use time::{Duration, OffsetDateTime};

/// More steps find little more and take longer.
const MOST_STEPS: usize = 48;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((&options, steps)) = input.split_first() else {
        return;
    };
    let mut run = Run::new(options & 1 == 1);
    for step in steps.chunks_exact(2).take(MOST_STEPS) {
        run.step(step[0] % 14, step[1]);
        run.compare();
    }
});

struct Run {
    store: Store<MemoryStorage, Note>,
    /// In nanoseconds from a fixed moment.
    clock: Arc<AtomicI64>,
    written: u8,
    // The model.
    /// What each revision was written with.
    snapshots: BTreeMap<Revision, Written>,
    /// Every name that was ever given.
    given: BTreeSet<Revision>,
    current: Current,
    locks: Vec<Box<dyn Lock>>,
    /// Which of `locks` holds the lock, by its token.
    holder: Option<String>,
    holder_is_dead: bool,
}

struct Written {
    note: u8,
    /// As long as these bytes lie there it opens, and with no others.
    sealed: Vec<u8>,
}

#[derive(Clone, PartialEq)]
enum Current {
    None,
    At(Revision),
    Damaged,
}

impl Run {
    fn new(encrypts: bool) -> Self {
        let clock = Arc::new(AtomicI64::new(0));
        let ring = if encrypts {
            &rings().without_v1
        } else {
            &rings().plain
        };
        let shown = Arc::clone(&clock);
        Self {
            store: Store::new(MemoryStorage::new(ID.clone()), ring.clone())
                .with_clock(move || moment(shown.load(Ordering::Relaxed))),
            clock,
            written: 0,
            snapshots: BTreeMap::new(),
            given: BTreeSet::new(),
            current: Current::None,
            locks: Vec::new(),
            holder: None,
            holder_is_dead: false,
        }
    }

    fn step(&mut self, operation: u8, value: u8) {
        match operation {
            0 | 1 => self.write(),
            2 => self.set_current(value),
            3 => self.compare_and_set(value),
            4 => self.delete(value),
            5 => self.lock(),
            6 => self.unlock(value),
            7 => self.force_unlock(value),
            8 => {
                self.store.storage().kill_holder();
                self.holder_is_dead = self.holder.is_some();
            }
            9 => self.damage_pointer(value),
            10 => self.damage_snapshot(value),
            11 => self.move_snapshot(value),
            // A step of the clock: forth, back, or a nanosecond.
            12 => {
                self.clock
                    .fetch_add((i64::from(value) - 100) * 100_000_000, Ordering::Relaxed);
            }
            _ => {
                self.clock.fetch_add(i64::from(value & 1), Ordering::Relaxed);
            }
        }
    }

    fn write(&mut self) {
        let now = Revision::at(moment(self.clock.load(Ordering::Relaxed))).expect("a year");
        self.written = self.written.wrapping_add(1);
        let rev = self
            .store
            .write(&Note(self.written), &WriteOptions::new())
            .expect("a write does not fail");
        assert!(!self.given.contains(&rev), "{rev} was given twice");
        assert!(rev.is_writable());
        let first = match &self.current {
            Current::At(current) if current >= &now => {
                assert!(&rev > current, "{rev} is not after {current}");
                current
            }
            _ => &now,
        };
        assert!(rev.same_moment(first));
        let nobody_removed = self
            .given
            .iter()
            .filter(|given| given.same_moment(first))
            .all(|given| self.snapshots.contains_key(given));
        if nobody_removed {
            let largest = self.given.iter().filter(|given| given.same_moment(first)).max();
            // A bare name is taken if it is free, whatever numbers there are; else the next number is.
            let is_dense =
                rev.suffix() == largest.map_or(Some(0), |rev| rev.suffix().map(|suffix| suffix + 1));
            let follows = matches!(&self.current, Current::At(current) if current == first)
                && rev.suffix() == first.suffix().map(|suffix| suffix + 1);
            assert!(is_dense || follows || &rev == first, "{rev}");
        }
        self.given.insert(rev.clone());
        let sealed = self.sealed(&rev).expect("what was written can be read");
        let note = self.written;
        self.snapshots.insert(rev, Written { note, sealed });
    }

    fn set_current(&mut self, value: u8) {
        let rev = self.revision(value);
        let outcome = self.store.set_current(&rev);
        self.expect_move(&outcome, &rev, None);
    }

    fn compare_and_set(&mut self, value: u8) {
        let rev = self.revision(value >> 4);
        let expected = (value & 1 == 1).then(|| self.revision(value >> 1));
        let lock = (value & 8 == 8).then(|| self.locks.pop()).flatten();
        let held = lock.as_deref();
        let outcome = self
            .store
            .compare_and_set_current(Expect::Exactly(expected.as_ref()), &rev, held);
        let failure = if held.is_some_and(|held| !self.is_holder(held)) {
            Some(ErrorKind::LockLost)
        } else {
            match &self.current {
                Current::Damaged => Some(ErrorKind::Damaged),
                current if current != &Current::from(expected.clone()) => Some(ErrorKind::CurrentMoved {
                    expected,
                    found: current.revision().cloned(),
                }),
                _ => None,
            }
        };
        self.expect_move(&outcome, &rev, failure);
        self.locks.extend(lock);
    }

    fn expect_move(&mut self, outcome: &Result<(), Error>, rev: &Revision, failure: Option<ErrorKind>) {
        let failure = match self.snapshots.contains_key(rev) {
            true => failure,
            false => Some(ErrorKind::NotFound),
        };
        assert_eq!(outcome.as_ref().err().map(Error::kind), failure.as_ref());
        if failure.is_none() {
            self.current = Current::At(rev.clone());
        }
    }

    fn delete(&mut self, value: u8) {
        let rev = self.revision(value >> 1);
        let lock = (value & 1 == 1).then(|| self.locks.pop()).flatten();
        let outcome = self.store.delete(&rev, lock.as_deref());
        let failure = if lock.as_deref().is_some_and(|held| !self.is_holder(held)) {
            Some(ErrorKind::LockLost)
        } else {
            match &self.current {
                Current::Damaged => Some(ErrorKind::Damaged),
                Current::At(current) if current == &rev => Some(ErrorKind::RevisionIsCurrent),
                _ => None,
            }
        };
        assert_eq!(outcome.as_ref().err().map(Error::kind), failure.as_ref());
        if failure.is_none() {
            self.snapshots.remove(&rev);
        }
        self.locks.extend(lock);
    }

    fn lock(&mut self) {
        let is_free = self.holder.is_none() || self.holder_is_dead;
        match self.store.lock("fuzz", &Wait::none()) {
            Ok(lock) => {
                assert!(is_free, "two holders");
                assert_eq!(lock.took_over().is_some(), self.holder.is_some());
                self.holder = token(&*lock);
                self.holder_is_dead = false;
                self.locks.push(lock);
            }
            Err(error) => {
                assert!(
                    !is_free && matches!(error.kind(), ErrorKind::Locked(_)),
                    "{error:?}"
                );
            }
        }
    }

    /// By asking, or by dropping the lock, which tells nobody.
    fn unlock(&mut self, value: u8) {
        if self.locks.is_empty() {
            return;
        }
        let lock = self.locks.remove(usize::from(value >> 1) % self.locks.len());
        let is_holder = self.is_holder(&*lock);
        if value & 1 == 0 {
            assert_eq!(lock.check().is_ok(), is_holder);
            assert_eq!(lock.unlock().is_ok(), is_holder);
        } else {
            drop(lock);
        }
        if is_holder {
            self.free();
        }
    }

    fn force_unlock(&mut self, value: u8) {
        let expected = match (value & 1, self.locks.last()) {
            (1, Some(lock)) => Some(lock.token().expect("the process that locked").clone()),
            _ => None,
        };
        let is_other = self.holder.is_some()
            && expected.is_some()
            && expected.as_ref().map(ToString::to_string) != self.holder;
        match self.store.force_unlock(expected.as_ref()) {
            Ok(evicted) => {
                assert!(!is_other, "another one than the expected was evicted");
                assert_eq!(
                    evicted.and_then(|info| info.token).map(|token| token.to_string()),
                    self.holder
                );
                self.free();
            }
            Err(error) => assert!(
                is_other && matches!(error.kind(), ErrorKind::Locked(_)),
                "{error:?}"
            ),
        }
    }

    fn damage_pointer(&mut self, value: u8) {
        let content: &[u8] = match value % 6 {
            0 => b"",
            1 => &[0; 21],
            2 => b"2026-07-10T12:00:00Z\n2026-07-10T12:00:00Z\n",
            3 => b"../x\n",
            // Well-formed, and dangling unless it was written.
            4 => b"2026-07-10T12:00:00.5Z",
            _ => b"\xff\n",
        };
        self.store.storage().overwrite_pointer(content);
        self.current = match Revision::from_pointer(content) {
            Ok(revision) => Current::At(revision),
            Err(_) => Current::Damaged,
        };
    }

    fn damage_snapshot(&mut self, value: u8) {
        let rev = self.revision(value);
        let Some(mut sealed) = self.sealed(&rev) else {
            return;
        };
        let at = usize::from(value) * 7 % sealed.len();
        match value % 3 {
            // An empty file counts as none, which is not what this step is about.
            0 => sealed.truncate(at.max(1)),
            1 => sealed.push(value),
            _ => sealed[at] ^= 1 << (value % 8),
        }
        self.store.storage().overwrite_snapshot(&rev, sealed);
    }

    /// A copy in the place of another one.
    fn move_snapshot(&mut self, value: u8) {
        let (from, to) = (self.revision(value & 15), self.revision(value >> 4));
        if let (Some(sealed), true) = (self.sealed(&from), self.snapshots.contains_key(&to)) {
            self.store.storage().overwrite_snapshot(&to, sealed);
        }
    }

    /// All that can be read, and whether it is what the model has.
    fn compare(&self) {
        let revisions = self.store.list().expect("a list");
        assert!(revisions.iter().eq(self.snapshots.keys()));
        for (rev, written) in &self.snapshots {
            match self.store.get(rev) {
                Ok(read) => assert!(self.is_intact(rev) && read.0 == written.note, "{rev} opens"),
                Err(error) => {
                    use ErrorKind::{Damaged, Misplaced, Refused, TooLarge, WrongKey};
                    assert!(!self.is_intact(rev), "{error:?}");
                    let is_expected =
                        matches!(error.kind(), Damaged | Misplaced | Refused | TooLarge | WrongKey);
                    assert!(is_expected, "{error:?}");
                }
            }
        }
        let head = self.store.head();
        match &self.current {
            Current::None => assert_eq!(
                in_kind(&head),
                Some(&ErrorKind::NoCurrent {
                    snapshots: revisions.len() as u64
                })
            ),
            Current::Damaged => assert_eq!(in_kind(&head), Some(&ErrorKind::Damaged)),
            Current::At(rev) => match self.snapshots.get(rev) {
                Some(written) if self.is_intact(rev) => {
                    let (read, content) = head.expect("current is readable");
                    assert_eq!((&read, &content.0), (rev, &written.note));
                }
                Some(_) => assert!(head.is_err()),
                None => assert_eq!(in_kind(&head), Some(&ErrorKind::Damaged)),
            },
        }
        let status = self.store.lock_status().expect("a status");
        let token = status.and_then(|status| status.info.token);
        assert_eq!(token.map(|token| token.to_string()), self.holder);
    }

    fn sealed(&self, rev: &Revision) -> Option<Vec<u8>> {
        self.store.storage().read(rev, u64::MAX).ok()
    }

    fn is_intact(&self, rev: &Revision) -> bool {
        let written = self.snapshots.get(rev).map(|written| &written.sealed);
        written.is_some() && self.sealed(rev).as_ref() == written
    }

    /// One that exists, or else one that does not.
    fn revision(&self, value: u8) -> Revision {
        let at = usize::from(value) % (self.snapshots.len() + 1);
        match self.snapshots.keys().nth(at) {
            Some(rev) => rev.clone(),
            None => "2020-01-01T00:00:00Z".parse().expect("a moment"),
        }
    }

    fn is_holder(&self, lock: &dyn Lock) -> bool {
        self.holder.is_some() && token(lock) == self.holder
    }

    fn free(&mut self) {
        self.holder = None;
        self.holder_is_dead = false;
    }
}

impl Current {
    fn revision(&self) -> Option<&Revision> {
        match self {
            Self::At(revision) => Some(revision),
            Self::None | Self::Damaged => None,
        }
    }
}

impl From<Option<Revision>> for Current {
    fn from(revision: Option<Revision>) -> Self {
        revision.map_or(Self::None, Self::At)
    }
}

/// The smallest document.
struct Note(u8);

impl Snapshot for Note {
    const PAYLOAD: &'static str = "note";

    fn encode<W: io::Write>(&self, mut out: W) -> Result<(), Error> {
        out.write_all(&[self.0; 40])
            .map_err(|_| Error::new(ErrorKind::Io, "cannot write"))
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        match bytes {
            [first, ..] if bytes == [*first; 40] => Ok(Self(*first)),
            _ => panic!("what was opened is not what was sealed"),
        }
    }

    fn check_stack(&self, _: &StackId) -> Result<(), Error> {
        Ok(())
    }
}

fn token(lock: &dyn Lock) -> Option<String> {
    Some(lock.token().expect("the process that locked").to_string())
}

fn moment(nanoseconds: i64) -> OffsetDateTime {
    let start = OffsetDateTime::from_unix_timestamp(1_783_684_800).expect("2026");
    start + Duration::nanoseconds(nanoseconds)
}
