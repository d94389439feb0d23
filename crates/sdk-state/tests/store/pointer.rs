//! Which snapshot is current (C1, C2, C3).

use crate::support::{id, note, store};
use sdk_state::{ErrorKind, Expect, MemoryBackend, Revision, Wait};
use std::sync::Barrier;

#[test]
fn a_fresh_stack_has_no_head() {
    let store = store(&MemoryBackend::new(id()));
    assert_eq!(store.head().unwrap(), None);
    assert_eq!(store.current().unwrap(), None);
    assert!(store.list().unwrap().is_empty());
}

/// `None` meant both "fresh" and "the pointer was lost", and a tool that took one for the other built everything again.
#[test]
fn a_lost_pointer_is_never_a_fresh_stack() {
    let store = store(&MemoryBackend::new(id()));
    store.write(&note("one"), "note").unwrap();
    for error in [store.head().unwrap_err(), store.current().unwrap_err()] {
        assert_eq!(error.kind(), &ErrorKind::PointerLost { snapshots: 1 });
        assert!(error.to_string().contains("make one of them current"), "{error}");
    }
}

#[test]
fn a_damaged_pointer_says_how_to_repair_it() {
    let backend = MemoryBackend::new(id());
    let store = store(&backend);
    let revision = store.write(&note("one"), "note").unwrap();
    let long = vec![b'x'; 1 << 20];
    let two_lines = format!("{revision}\n{revision}\n");
    for content in [
        &b""[..],
        b"\n",
        b"\0\0\0\0",
        b"../x\n",
        b"a/b",
        b"\xff\xff",
        &long,
        two_lines.as_bytes(),
    ] {
        backend.overwrite_pointer(content);
        let lock = store.lock("test", Wait::none()).unwrap();
        let token = lock.token().unwrap();
        let kept = store.write(&note("kept all the same"), "note").unwrap();
        let expect = Expect::Revision(&revision);
        for error in [
            store.head().unwrap_err(),
            store.current().unwrap_err(),
            store.backend().remove(&revision, Some(token)).unwrap_err(),
            store.backend().set_current(expect, &kept, token).unwrap_err(),
        ] {
            assert_eq!(error.kind(), &ErrorKind::Damaged);
            assert!(error.to_string().contains("make a revision current"), "{error}");
        }
    }
    store.set_current(&revision).unwrap();
    assert_eq!(store.head().unwrap().unwrap().document, note("one"));
}

#[test]
fn blanks_around_the_name_are_accepted() {
    let backend = MemoryBackend::new(id());
    let store = store(&backend);
    let revision = store.write(&note("one"), "note").unwrap();
    for content in [
        format!("{revision}"),
        format!("{revision}\r\n"),
        format!("  {revision}\n\n"),
    ] {
        backend.overwrite_pointer(content);
        let head = store.head().unwrap().unwrap();
        assert_eq!((head.revision, head.document), (revision.clone(), note("one")));
    }
}

#[test]
fn a_dangling_pointer_is_damage() {
    let backend = MemoryBackend::new(id());
    backend.overwrite_pointer("2026-07-10T12:00:00Z\n");
    let store = store(&backend);
    for error in [store.head().unwrap_err(), store.current().unwrap_err()] {
        assert_eq!(error.kind(), &ErrorKind::Damaged);
        assert!(error.to_string().contains("2026-07-10T12:00:00Z"), "{error}");
    }
}

#[test]
fn current_is_not_moved_to_what_does_not_exist() {
    let store = store(&MemoryBackend::new(id()));
    let error = store
        .set_current(&"2026-07-10T12:00:00Z".parse().unwrap())
        .unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(store.current().unwrap(), None);
}

#[test]
fn the_current_revision_is_not_deleted() {
    let store = store(&MemoryBackend::new(id()));
    let old = store.write(&note("old"), "note").unwrap();
    let new = store.write(&note("new"), "note").unwrap();
    store.set_current(&new).unwrap();
    let error = store.delete(&new).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::RevisionIsCurrent);
    store.delete(&old).unwrap();
    // Deleting it again is no error.
    store.delete(&old).unwrap();
    assert_eq!(store.list().unwrap(), [new]);
    assert!(store.get(&old).unwrap_err().is_not_found());
}

/// A change without a token could come between a holder's look and its move.
#[test]
fn nobody_changes_anything_while_another_holds_the_lock() {
    let store = store(&MemoryBackend::new(id()));
    let revision = store.write(&note("one"), "note").unwrap();
    let _held = store.lock("apply", Wait::none()).unwrap();
    assert!(store.set_current(&revision).unwrap_err().is_locked());
    assert!(store.delete(&revision).unwrap_err().is_locked());
    assert_eq!(store.list().unwrap(), [revision]);
}

#[test]
fn of_many_movers_with_one_expectation_one_wins() {
    const MOVERS: usize = 16;
    let backend = MemoryBackend::new(id());
    let writer = store(&backend);
    let first = writer.write(&note("first"), "note").unwrap();
    writer.set_current(&first).unwrap();
    let lock = writer.lock("apply", Wait::none()).unwrap();
    let barrier = Barrier::new(MOVERS);
    let results: Vec<(Revision, bool)> = std::thread::scope(|scope| {
        let movers: Vec<_> = (0..MOVERS)
            .map(|mover| {
                let (backend, barrier, first, lock) = (&backend, &barrier, &first, &lock);
                scope.spawn(move || {
                    let store = store(backend);
                    barrier.wait();
                    let revision = store.write(&note(&mover.to_string()), "note").unwrap();
                    let expect = Expect::Revision(first);
                    let moved = store
                        .backend()
                        .set_current(expect, &revision, lock.token().unwrap());
                    match moved {
                        Ok(_) => (revision, true),
                        Err(error) => {
                            assert!(error.is_current_moved(), "{error}");
                            (revision, false)
                        }
                    }
                })
            })
            .collect();
        movers.into_iter().map(|mover| mover.join().unwrap()).collect()
    });
    let winners: Vec<&Revision> = results
        .iter()
        .filter(|(_, won)| *won)
        .map(|(revision, _)| revision)
        .collect();
    assert_eq!(winners, [&writer.current().unwrap().unwrap()]);
    for (revision, _) in &results {
        writer.get(revision).unwrap();
    }
}

/// A revision that became current twice is the same revision and another pointer.
#[test]
fn a_pointer_is_told_from_the_same_revision_later() {
    let store = store(&MemoryBackend::new(id()));
    let (one, two) = (
        store.write(&note("one"), "note").unwrap(),
        store.write(&note("two"), "note").unwrap(),
    );
    let lock = store.lock("apply", Wait::none()).unwrap();
    let (backend, token) = (store.backend(), lock.token().unwrap());
    let first = backend.set_current(Expect::Nothing, &one, token).unwrap();
    backend.set_current(Expect::Pointer(&first), &two, token).unwrap();
    let again = backend.set_current(Expect::Revision(&two), &one, token).unwrap();
    assert_eq!(first.revision, again.revision);
    let late = backend.set_current(Expect::Pointer(&first), &two, token);
    assert!(late.unwrap_err().is_current_moved());
    backend.set_current(Expect::Pointer(&again), &two, token).unwrap();
}

#[test]
fn an_evicted_holder_moves_nothing_and_can_save_an_orphan() {
    let store = store(&MemoryBackend::new(id()));
    let old = store.lock("apply", Wait::none()).unwrap();
    store.force_unlock(None).unwrap();
    let new = store.lock("apply", Wait::none()).unwrap();
    let orphan = store.write(&note("rescued"), "note").unwrap();
    let (backend, token) = (store.backend(), old.token().unwrap());
    let moved = backend.set_current(Expect::Nothing, &orphan, token);
    assert!(moved.unwrap_err().is_lock_lost());
    assert_eq!(store.get(&orphan).unwrap(), note("rescued"));
    let removed = backend.remove(&orphan, Some(token));
    assert!(removed.unwrap_err().is_lock_lost());
    assert!(old.check().unwrap_err().is_lock_lost());
    assert!(old.unlock().unwrap_err().is_lock_lost());
    new.check().unwrap();
    backend
        .set_current(Expect::Nothing, &orphan, new.token().unwrap())
        .unwrap();
}
