//! Which revisions writes get (W3, W4, W5).

use crate::support::{HandClock, Note, id, key, note};
use sdk_state::{
    Backend, Created, Error, Expect, Holder, LockInfo, LockStatus, LockToken, MemoryBackend, Pointer, Prefix,
    Revision, StackId, Store, TryLock,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

const NOON: i64 = 1_783_684_800;

fn frozen(backend: &MemoryBackend, clock: &HandClock) -> Store<Note> {
    Store::new(backend.clone(), key(1))
        .with_clock(clock.reader())
        .document()
}

fn write(store: &Store<Note>, text: &str) -> String {
    store.write(&note(text), "note").unwrap().to_string()
}

#[test]
fn writers_in_turn_on_a_frozen_clock_get_dense_suffixes() {
    let store = frozen(&MemoryBackend::new(id()), &HandClock::at(NOON));
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
fn a_clock_that_steps_back_keeps_the_order() {
    let clock = HandClock::at(NOON);
    let store = frozen(&MemoryBackend::new(id()), &clock);
    store
        .set_current(&write(&store, "today").parse().unwrap())
        .unwrap();
    clock.set(NOON - 86_400);
    assert_eq!(write(&store, "yesterday"), "2026-07-10T12:00:00Z_1");
}

#[test]
fn a_free_name_below_the_current_one_is_not_used() {
    let backend = MemoryBackend::new(id());
    let store = frozen(&backend, &HandClock::at(NOON));
    let revisions: Vec<Revision> = (0..3)
        .map(|turn| write(&store, &turn.to_string()).parse().unwrap())
        .collect();
    store.set_current(&revisions[2]).unwrap();
    store.delete(&revisions[0]).unwrap();
    store.delete(&revisions[1]).unwrap();
    assert_eq!(write(&store, "next"), "2026-07-10T12:00:00Z_3");
}

#[test]
fn a_current_name_that_is_no_moment_blocks_no_write() {
    let backend = MemoryBackend::new(id());
    let store = frozen(&backend, &HandClock::at(NOON));
    backend.overwrite_pointer("restored-by-hand\n");
    assert_eq!(write(&store, "next"), "2026-07-10T12:00:00Z");
}

#[test]
fn used_up_suffixes_lead_to_the_next_nanosecond() {
    let backend = MemoryBackend::new(id());
    let store = frozen(&backend, &HandClock::at(NOON));
    let last: Revision = "2026-07-10T12:00:00Z_999999999".parse().unwrap();
    backend.overwrite_snapshot(&last, "x");
    backend.overwrite_pointer(format!("{last}\n"));
    assert_eq!(write(&store, "next"), "2026-07-10T12:00:00.000000001Z");
}

/// The collision that led to the next nanosecond counted there too, so that the first number was now and then left out.
#[test]
fn suffixes_of_the_next_nanosecond_are_dense_too() {
    for _ in 0..32 {
        let backend = MemoryBackend::new(id());
        let store = frozen(&backend, &HandClock::at(NOON));
        for taken in ["2026-07-10T12:00:00Z", "2026-07-10T12:00:00Z_999999999"] {
            backend.overwrite_snapshot(&taken.parse().unwrap(), "x");
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
fn colliding_writers_get_distinct_revisions_in_few_tries() {
    const WRITERS: usize = 256;
    let backend = MemoryBackend::new(id());
    let tries = Arc::new(AtomicUsize::new(0));
    let barrier = Barrier::new(WRITERS);
    let revisions: Vec<(Revision, String)> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (backend, tries, barrier) = (backend.clone(), Arc::clone(&tries), &barrier);
                scope.spawn(move || {
                    let counted = Counted { backend, tries };
                    let store = Store::new(counted, key(1))
                        .with_clock(HandClock::at(NOON).reader())
                        .document();
                    let text = format!("writer {writer}");
                    barrier.wait();
                    let revision = store.write(&note(&text), "note").unwrap();
                    (revision, text)
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    let distinct: BTreeMap<_, _> = revisions.iter().cloned().collect();
    assert_eq!(distinct.len(), WRITERS);
    let reader = crate::support::store(&backend);
    for (revision, text) in revisions {
        assert_eq!(reader.get(&revision).unwrap(), note(&text));
    }
    // log2(256) is 8; a writer that always tried the next number would need 128 tries on average.
    let mean = tries.load(Ordering::SeqCst) / WRITERS;
    assert!(mean <= 24, "{mean} tries a write");
}

/// Counts the tries of `create`.
struct Counted {
    backend: MemoryBackend,
    tries: Arc<AtomicUsize>,
}

impl Backend for Counted {
    fn id(&self) -> &StackId {
        self.backend.id()
    }
    fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error> {
        self.tries.fetch_add(1, Ordering::SeqCst);
        self.backend.create(rev, sealed)
    }
    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
        self.backend.read(rev, limit)
    }
    fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
        self.backend.read_prefix(rev, most)
    }
    fn replace(&self, rev: &Revision, sealed: &[u8], token: &LockToken) -> Result<(), Error> {
        self.backend.replace(rev, sealed, token)
    }
    fn remove(&self, rev: &Revision, token: Option<&LockToken>) -> Result<(), Error> {
        self.backend.remove(rev, token)
    }
    fn list(&self) -> Result<Vec<Revision>, Error> {
        self.backend.list()
    }
    fn current(&self) -> Result<Option<Pointer>, Error> {
        self.backend.current()
    }
    fn set_current(&self, expect: Expect<'_>, rev: &Revision, token: &LockToken) -> Result<Pointer, Error> {
        self.backend.set_current(expect, rev, token)
    }
    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error> {
        self.backend.try_lock(holder)
    }
    fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
        self.backend.lock_status()
    }
    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        self.backend.force_unlock(expected)
    }
}
