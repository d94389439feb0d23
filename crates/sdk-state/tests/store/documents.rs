//! What a store reads of what it wrote (W3, W5, C1, C2, C3).

use crate::support::{id, note, store};
use crate::watched::{Fault, Method, Watched};
use sdk_state::encrypt::Noop;
use sdk_state::{ErrorKind, Expect, MemoryBackend, Revision, State, Store, Wait};
use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;
use time::OffsetDateTime;

const WRITERS: usize = 16;

#[test]
fn a_write_is_read_by_every_store_and_not_current() {
    let backend = MemoryBackend::new(id());
    let (writer, reader) = (store(&backend), store(&backend));
    let first = writer.write(&note("first"), "").unwrap();
    assert_eq!(reader.get(&first).unwrap(), note("first"));
    writer.set_current(&first).unwrap();
    let second = writer.write(&note("second"), "").unwrap();
    assert_eq!(reader.current().unwrap(), Some(first));
    assert_eq!(reader.get(&second).unwrap(), note("second"));
}

#[test]
fn the_head_is_what_was_made_current_whatever_came_later() {
    let backend = MemoryBackend::new(id());
    let store = store(&backend);
    let notes = [note("first"), note("second")];
    let revs = [
        store.write(&notes[0], "").unwrap(),
        store.write(&notes[1], "").unwrap(),
    ];
    for n in [0, 1, 0] {
        store.set_current(&revs[n]).unwrap();
        for store in [&store, &crate::support::store(&backend)] {
            let head = store.head().unwrap().unwrap();
            assert_eq!((&head.revision, &head.document), (&revs[n], &notes[n]));
            assert_eq!(store.current().unwrap().as_ref(), Some(&revs[n]));
        }
    }
}

/// `MemoryBackend` lists the newest first.
#[test]
fn the_list_is_oldest_first() {
    let store = store(&MemoryBackend::new(id()));
    let written: Vec<Revision> = (0..20)
        .map(|n| store.write(&note(&n.to_string()), "").unwrap())
        .collect();
    assert_eq!(store.list().unwrap(), written);
}

#[test]
fn a_new_revision_sorts_after_the_current_one() {
    let store = store(&MemoryBackend::new(id()));
    let mut before = None;
    for n in 0..20 {
        let rev = store.write(&note(&n.to_string()), "").unwrap();
        assert!(before.as_ref() < Some(&rev));
        store.set_current(&rev).unwrap();
        before = Some(rev);
    }
}

#[test]
fn a_state_of_another_stack_is_not_written() {
    let store = Store::new(MemoryBackend::new(id()), Noop);
    for other in ["network/other", "other/prod"] {
        let state = State::new(&other.parse().unwrap(), "1", "1", OffsetDateTime::UNIX_EPOCH).unwrap();
        let error = store.write(&state, "").unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::InvalidSnapshot);
    }
    assert_eq!(store.list().unwrap(), []);
}

/// The document is not lost: the error names the revision that it is stored under.
#[test]
fn a_save_that_lost_a_race_names_the_stored_document() {
    let store = store(&MemoryBackend::new(id()));
    let run = store.begin("apply", Wait::none()).unwrap();
    run.save(note("first"), "").unwrap();
    let rival = store.write(&note("rival"), "").unwrap();
    let first = store.current().unwrap();
    let moved = store.backend().set_current(Expect::Anything, &rival, run.token());
    moved.unwrap();
    let error = run.save(note("second"), "").unwrap_err();
    assert_eq!(
        error.kind(),
        &ErrorKind::CurrentMoved {
            expected: first,
            found: Some(rival.clone())
        }
    );
    assert_eq!(store.get(error.revision().unwrap()).unwrap(), note("second"));
    assert_eq!(store.current().unwrap(), Some(rival));
}

#[test]
fn no_update_is_lost_by_head_write_and_guarded_move() {
    let backend = MemoryBackend::new(id());
    let counter = store(&backend);
    let lock = counter.lock("apply", Wait::none()).unwrap();
    let token = lock.token().unwrap();
    let zero = counter.write(&note("0"), "").unwrap();
    counter
        .backend()
        .set_current(Expect::Nothing, &zero, token)
        .unwrap();
    let start = Barrier::new(WRITERS);
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                let store = store(&backend);
                start.wait();
                loop {
                    let head = store.head().unwrap().unwrap();
                    let count: usize = head.document.0.parse().unwrap();
                    let next = store.write(&note(&(count + 1).to_string()), "").unwrap();
                    let expect = Expect::Revision(&head.revision);
                    match store.backend().set_current(expect, &next, token) {
                        Ok(_) => return,
                        Err(error) => assert!(error.is_current_moved(), "{error:?}"),
                    }
                }
            });
        }
    });
    assert_eq!(
        counter.head().unwrap().unwrap().document,
        note(&WRITERS.to_string())
    );
}

#[test]
fn writers_at_once_each_get_their_own_revision() {
    let backend = MemoryBackend::new(id());
    let start = Barrier::new(WRITERS);
    let written: Vec<(Revision, String)> = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|n| {
                let (store, start) = (store(&backend), &start);
                scope.spawn(move || {
                    start.wait();
                    (store.write(&note(&n.to_string()), "").unwrap(), n.to_string())
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    let reader = store(&backend);
    let different: BTreeSet<&Revision> = written.iter().map(|(rev, _)| rev).collect();
    assert_eq!(different.len(), WRITERS);
    for (rev, text) in &written {
        assert_eq!(reader.get(rev).unwrap(), note(text));
    }
}

/// Each takes the lock for the moment, or finds it held.
#[test]
fn moves_and_deletes_at_once_leave_current_readable() {
    let backend = MemoryBackend::new(id());
    let first = store(&backend);
    let kept = first.write(&note("kept"), "").unwrap();
    first.set_current(&kept).unwrap();
    let revs: Vec<Revision> = (0..WRITERS / 2)
        .map(|n| first.write(&note(&n.to_string()), "").unwrap())
        .collect();
    let start = Barrier::new(WRITERS);
    thread::scope(|scope| {
        for n in 0..WRITERS {
            let (store, rev, start) = (store(&backend), &revs[n / 2], &start);
            scope.spawn(move || {
                start.wait();
                let outcome = match n % 2 {
                    0 => store.set_current(rev),
                    _ => store.delete(rev),
                };
                if let Err(error) = outcome {
                    let is_expected = error.is_locked()
                        || error.is_not_found()
                        || error.kind() == &ErrorKind::RevisionIsCurrent;
                    assert!(is_expected, "{error:?}");
                }
            });
        }
    });
    assert!(first.head().unwrap().is_some());
}

#[test]
fn a_damaged_document_hides_no_other() {
    let backend = MemoryBackend::new(id());
    let store = store(&backend);
    let revs = [
        store.write(&note("first"), "").unwrap(),
        store.write(&note("second"), "").unwrap(),
    ];
    store.set_current(&revs[0]).unwrap();
    for content in [&b""[..], b"neither sealed nor a document"] {
        backend.overwrite_snapshot(&revs[0], content);
        assert!(store.get(&revs[0]).unwrap_err().is_damaged());
        assert!(store.head().unwrap_err().is_damaged());
        assert_eq!(store.list().unwrap(), revs);
        assert_eq!(store.get(&revs[1]).unwrap(), note("second"));
    }
}

#[test]
fn a_large_document_is_kept() {
    let backend = MemoryBackend::new(id());
    // Digits without a pattern, which no compressor makes small.
    let digits = (0..1_u64 << 19).map(|n| format!("{:016x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    let large = note(&digits.collect::<String>());
    let rev = store(&backend).write(&large, "").unwrap();
    assert_eq!(store(&backend).get(&rev).unwrap(), large);
}

/// A backend that names a revision in an ordinary error made the store promise a document that nobody had stored.
#[test]
fn an_error_names_a_revision_only_if_it_may_be_stored() {
    for (kind, is_named) in [(ErrorKind::Io, false), (ErrorKind::OutcomeUnknown, true)] {
        let watched = Watched::fresh();
        watched.fail_all(Method::Create, Fault::Before(kind.clone()));
        let error = store(&watched).write(&note("one"), "").unwrap_err();
        assert_eq!(error.kind(), &kind);
        assert_eq!(error.revision().is_some(), is_named, "{error}");
    }
}
