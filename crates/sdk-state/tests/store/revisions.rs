//! Which revisions writes get (W3, W4, W5).

use crate::support::{HandClock, Note, id, key, note};
use crate::watched::{Method, Watched};
use sdk_state::encrypt::Encrypter as _;
use sdk_state::{MemoryBackend, Revision, Store};
use std::collections::BTreeMap;
use std::sync::Barrier;

const NOON: i64 = 1_783_684_800;

/// The files that these tests plant tell no recipients.
fn frozen(backend: &MemoryBackend, clock: &HandClock) -> Store<Note> {
    Store::new(backend.clone(), key(1))
        .with_recipients([key(1).recipient().clone()])
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
    let watched = Watched::over(backend.clone());
    let barrier = Barrier::new(WRITERS);
    let revisions: Vec<(Revision, String)> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (watched, barrier) = (watched.clone(), &barrier);
                scope.spawn(move || {
                    let store: Store<Note> = Store::new(watched, key(1))
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
    let mean = watched.count(Method::Create) / WRITERS;
    assert!(mean <= 24, "{mean} tries a write");
}
