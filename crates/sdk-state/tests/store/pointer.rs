//! Which snapshot is current (C1, C2, C3).

use crate::support::{id, note, store};
use sdk_state::{Backend, ErrorKind, Expect, MemoryStorage, Optional, Revision, Wait, WriteOptions};
use std::sync::Barrier;

#[test]
fn a_stack_without_snapshots_has_no_current_one_and_that_is_a_fresh_start() {
    let store = store(&MemoryStorage::new(id()));
    let error = store.current().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NoCurrent { snapshots: 0 });
    assert_eq!(store.current_rev().optional().unwrap(), None);
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn a_pointer_that_was_lost_beside_snapshots_is_no_fresh_start() {
    let store = store(&MemoryStorage::new(id()));
    store.write(&note("one"), &WriteOptions::new()).unwrap();
    let error = store.head().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NoCurrent { snapshots: 1 });
    assert!(error.to_string().contains("set_current"), "{error}");
}

#[test]
fn a_pointer_that_is_anything_but_one_name_is_damaged_and_says_how_to_repair_it() {
    let storage = MemoryStorage::new(id());
    let store = store(&storage);
    let revision = store.write(&note("one"), &WriteOptions::new()).unwrap();
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
        storage.overwrite_pointer(content);
        for error in [
            store.current_rev().unwrap_err(),
            store.current().unwrap_err(),
            store.delete(&revision, None).unwrap_err(),
            store
                .compare_and_set_current(Expect::Exactly(None), &revision, None)
                .unwrap_err(),
        ] {
            assert_eq!(error.kind(), &ErrorKind::Damaged);
            assert!(error.to_string().contains("set_current"), "{error}");
        }
        store
            .write(&note("still possible"), &WriteOptions::new())
            .unwrap();
    }
    store.set_current(&revision).unwrap();
    assert_eq!(store.current().unwrap(), note("one"));
}

#[test]
fn blanks_around_the_name_and_a_missing_line_feed_are_accepted() {
    let storage = MemoryStorage::new(id());
    let store = store(&storage);
    let revision = store.write(&note("one"), &WriteOptions::new()).unwrap();
    for content in [
        format!("{revision}"),
        format!("{revision}\r\n"),
        format!("  {revision}\n\n"),
    ] {
        storage.overwrite_pointer(content);
        assert_eq!(store.head().unwrap(), (revision.clone(), note("one")));
    }
}

#[test]
fn a_pointer_to_a_revision_that_does_not_exist_is_damaged() {
    let storage = MemoryStorage::new(id());
    storage.overwrite_pointer("2026-07-10T12:00:00Z\n");
    let error = store(&storage).current().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Damaged);
    assert!(error.to_string().contains("2026-07-10T12:00:00Z"), "{error}");
}

#[test]
fn current_is_not_moved_to_what_does_not_exist() {
    let store = store(&MemoryStorage::new(id()));
    let error = store
        .set_current(&"2026-07-10T12:00:00Z".parse().unwrap())
        .unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NotFound);
    assert!(store.current_rev().optional().unwrap().is_none());
}

#[test]
fn the_current_revision_is_not_deleted_and_any_other_one_twice_if_you_like() {
    let store = store(&MemoryStorage::new(id()));
    let old = store.write(&note("old"), &WriteOptions::new()).unwrap();
    let new = store.write(&note("new"), &WriteOptions::new()).unwrap();
    store.set_current(&new).unwrap();
    assert_eq!(
        store.delete(&new, None).unwrap_err().kind(),
        &ErrorKind::RevisionIsCurrent
    );
    store.delete(&old, None).unwrap();
    store.delete(&old, None).unwrap();
    assert_eq!(store.list().unwrap(), [new]);
    assert_eq!(store.get(&old).unwrap_err().kind(), &ErrorKind::NotFound);
}

#[test]
fn of_many_movers_with_one_expectation_exactly_one_wins() {
    const MOVERS: usize = 16;
    let storage = MemoryStorage::new(id());
    let writer = store(&storage);
    let first = writer.write(&note("first"), &WriteOptions::new()).unwrap();
    writer.set_current(&first).unwrap();
    let barrier = Barrier::new(MOVERS);
    let results: Vec<(Revision, bool)> = std::thread::scope(|scope| {
        let movers: Vec<_> = (0..MOVERS)
            .map(|mover| {
                let (storage, barrier, first) = (&storage, &barrier, &first);
                scope.spawn(move || {
                    let store = store(storage);
                    let mine = store.write(&note(&mover.to_string()), &WriteOptions::new()).unwrap();
                    barrier.wait();
                    let moved = store.compare_and_set_current(Expect::Exactly(Some(first)), &mine, None);
                    match &moved {
                        Ok(()) => {}
                        Err(error) => assert!(
                            matches!(error.kind(), ErrorKind::CurrentMoved { expected, .. } if expected.as_ref() == Some(first)),
                            "{error}"
                        ),
                    }
                    (mine, moved.is_ok())
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
    assert_eq!(winners, [&writer.current_rev().unwrap()]);
}

#[test]
fn an_evicted_holder_moves_nothing_through_its_lock() {
    let store = store(&MemoryStorage::new(id()));
    let revision = store.write(&note("one"), &WriteOptions::new()).unwrap();
    let old = store.lock("apply", &Wait::none()).unwrap();
    store.force_unlock(None).unwrap();
    let new = store.lock("apply", &Wait::none()).unwrap();
    let moved = store.compare_and_set_current(Expect::Anything, &revision, Some(&*old));
    assert_eq!(moved.unwrap_err().kind(), &ErrorKind::LockLost);
    assert_eq!(
        store.delete(&revision, Some(&*old)).unwrap_err().kind(),
        &ErrorKind::LockLost
    );
    assert_eq!(old.check().unwrap_err().kind(), &ErrorKind::LockLost);
    assert_eq!(old.unlock().unwrap_err().kind(), &ErrorKind::LockLost);
    new.check().unwrap();
    store
        .compare_and_set_current(Expect::Exactly(None), &revision, Some(&*new))
        .unwrap();
}
