//! Which revisions writes get (W3, W4, W5).

use crate::support::{HandClock, Note, id, key, note};
use sdk_state::{
    Backend, Created, Error, Expect, Holder, LockInfo, LockStatus, LockToken, MemoryStorage, Prefix,
    Revision, StackId, Storage, Store, TryLock, WriteOptions,
};
use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

const NOON: i64 = 1_783_684_800;

fn frozen(storage: &MemoryStorage, clock: &HandClock) -> Store<MemoryStorage, Note> {
    Store::new(storage.clone(), key(1)).with_clock(clock.reader())
}

fn write(store: &impl Backend<Snapshot = Note>, text: &str) -> String {
    store
        .write(&note(text), &WriteOptions::new())
        .unwrap()
        .to_string()
}

#[test]
fn writers_in_turn_on_a_frozen_clock_get_dense_suffixes() {
    let store = frozen(&MemoryStorage::new(id()), &HandClock::at(NOON));
    let revisions: Vec<String> = (0..4).map(|turn| write(&store, &turn.to_string())).collect();
    assert_eq!(
        revisions,
        [
            "2026-07-10T12:00:00Z",
            "2026-07-10T12:00:00Z_1",
            "2026-07-10T12:00:00Z_2",
            "2026-07-10T12:00:00Z_3"
        ]
    );
}

#[test]
fn a_clock_that_steps_back_a_day_does_not_put_a_write_before_the_current_revision() {
    let clock = HandClock::at(NOON);
    let store = frozen(&MemoryStorage::new(id()), &clock);
    store
        .set_current(&write(&store, "today").parse().unwrap())
        .unwrap();
    clock.set(NOON - 86_400);
    assert_eq!(write(&store, "yesterday"), "2026-07-10T12:00:00Z_1");
}

#[test]
fn a_name_below_the_current_revision_is_not_used_even_when_it_is_free_again() {
    let storage = MemoryStorage::new(id());
    let store = frozen(&storage, &HandClock::at(NOON));
    let revisions: Vec<Revision> = (0..3)
        .map(|turn| write(&store, &turn.to_string()).parse().unwrap())
        .collect();
    store.set_current(&revisions[2]).unwrap();
    store.delete(&revisions[0], None).unwrap();
    store.delete(&revisions[1], None).unwrap();
    assert_eq!(write(&store, "next"), "2026-07-10T12:00:00Z_3");
}

#[test]
fn a_current_name_that_is_no_moment_does_not_keep_anybody_from_writing() {
    let storage = MemoryStorage::new(id());
    let store = frozen(&storage, &HandClock::at(NOON));
    storage.overwrite_pointer("restored-by-hand\n");
    assert_eq!(write(&store, "next"), "2026-07-10T12:00:00Z");
}

#[test]
fn when_the_suffixes_of_a_moment_are_used_up_the_next_nanosecond_is_taken() {
    let storage = MemoryStorage::new(id());
    let store = frozen(&storage, &HandClock::at(NOON));
    let last: Revision = "2026-07-10T12:00:00Z_999999999".parse().unwrap();
    storage.overwrite_snapshot(&last, "x");
    storage.overwrite_pointer(format!("{last}\n"));
    assert_eq!(write(&store, "next"), "2026-07-10T12:00:00.000000001Z");
}

/// The collision that led to the next nanosecond counted there too, so that the first number was now and then left out.
#[test]
fn when_the_suffixes_are_used_up_writers_in_turn_get_dense_suffixes_of_the_next_nanosecond() {
    for _ in 0..32 {
        let storage = MemoryStorage::new(id());
        let store = frozen(&storage, &HandClock::at(NOON));
        for taken in ["2026-07-10T12:00:00Z", "2026-07-10T12:00:00Z_999999999"] {
            storage.overwrite_snapshot(&taken.parse().unwrap(), "x");
        }
        let revisions: Vec<String> = (0..3).map(|turn| write(&store, &turn.to_string())).collect();
        assert_eq!(
            revisions,
            [
                "2026-07-10T12:00:00.000000001Z",
                "2026-07-10T12:00:00.000000001Z_1",
                "2026-07-10T12:00:00.000000001Z_2"
            ]
        );
    }
}

#[test]
fn many_writers_at_once_get_distinct_revisions_that_hold_their_own_bytes_in_few_tries() {
    const WRITERS: usize = 256;
    let storage = MemoryStorage::new(id());
    let tries = AtomicUsize::new(0);
    let barrier = Barrier::new(WRITERS);
    let revisions: Vec<(Revision, String)> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (storage, tries, barrier) = (storage.clone(), &tries, &barrier);
                scope.spawn(move || {
                    let counted = Counted { storage, tries };
                    let store: Store<_, Note> =
                        Store::new(counted, key(1)).with_clock(HandClock::at(NOON).reader());
                    let text = format!("writer {writer}");
                    barrier.wait();
                    let revision = store.write(&note(&text), &WriteOptions::new()).unwrap();
                    (revision, text)
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    let distinct: BTreeMap<_, _> = revisions.iter().cloned().collect();
    assert_eq!(distinct.len(), WRITERS);
    let reader = crate::support::store(&storage);
    for (revision, text) in revisions {
        assert_eq!(reader.get(&revision).unwrap(), note(&text));
    }
    // log2(256) is 8; a writer that always tried the next number would need 128 tries on average.
    let mean = tries.load(Ordering::SeqCst) / WRITERS;
    assert!(mean <= 24, "{mean} tries a write");
}

/// Counts the tries of `create`.
struct Counted<'a> {
    storage: MemoryStorage,
    tries: &'a AtomicUsize,
}

impl Storage for Counted<'_> {
    fn id(&self) -> &StackId {
        self.storage.id()
    }
    fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error> {
        self.tries.fetch_add(1, Ordering::SeqCst);
        self.storage.create(rev, sealed)
    }
    fn replace(&self, rev: &Revision, sealed: &[u8]) -> Result<(), Error> {
        self.storage.replace(rev, sealed)
    }
    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
        self.storage.read(rev, limit)
    }
    fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
        self.storage.read_prefix(rev, most)
    }
    fn remove(&self, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error> {
        self.storage.remove(rev, held)
    }
    fn list(&self) -> Result<Vec<Revision>, Error> {
        self.storage.list()
    }
    fn current(&self) -> Result<Option<Revision>, Error> {
        self.storage.current()
    }
    fn set_current(&self, expect: Expect<'_>, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error> {
        self.storage.set_current(expect, rev, held)
    }
    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error> {
        self.storage.try_lock(holder)
    }
    fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
        self.storage.lock_status()
    }
    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        self.storage.force_unlock(expected)
    }
}
