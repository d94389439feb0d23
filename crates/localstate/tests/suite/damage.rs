//! Every bit flipped and every length cut of the two small files (C3, L2, J1). Those of the snapshots are in `sdk-state`.

use crate::support::{self, note, stack_directory, store};
use sdk_state::{ErrorKind, Liveness, Revision, Wait};
use std::fs;

#[test]
fn every_flipped_bit_of_the_pointer_is_seen() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let rev = store.write(&note("one"), None).unwrap();
    store.set_current(&rev).unwrap();
    let pointer = stack_directory(root.path()).join("current");
    let whole = fs::read(&pointer).unwrap();
    let mut damaged = 0;
    for (position, bit) in (0..whole.len()).flat_map(|position| (0..8).map(move |bit| (position, bit))) {
        let mut changed = whole.clone();
        changed[position] ^= 1 << bit;
        fs::write(&pointer, &changed).unwrap();
        match store.backend().current() {
            // Only a flip of the final line feed may leave the same name.
            Ok(named) => assert!(
                named.unwrap().revision != rev || position == whole.len() - 1,
                "bit {bit} of byte {position}"
            ),
            Err(error) => {
                assert_eq!(error.kind(), &ErrorKind::Damaged, "bit {bit} of byte {position}");
                damaged += 1;
            }
        }
        let read = store.head();
        assert!(
            read.as_ref()
                .is_ok_and(|head| head.as_ref().unwrap().revision == rev)
                || read.is_err_and(|error| error.is_damaged()),
            "bit {bit} of byte {position}"
        );
        assert_eq!(fs::read(&pointer).unwrap(), changed, "reading changes nothing");
    }
    assert!(
        damaged > whole.len(),
        "{damaged} of {} are told at once",
        8 * whole.len()
    );
    for length in 0..whole.len() - 1 {
        fs::write(&pointer, &whole[..length]).unwrap();
        assert_eq!(
            store.head().unwrap_err().kind(),
            &ErrorKind::Damaged,
            "cut to {length} bytes"
        );
    }
    store.set_current(&rev).unwrap();
    assert_eq!(fs::read(&pointer).unwrap(), whole);
}

#[test]
fn a_flipped_marker_is_a_dead_holders_and_a_cut_one_unobins() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let path = stack_directory(root.path()).join("lock");
    let lock = store.lock("apply", Wait::none()).unwrap();
    let whole = fs::read(&path).unwrap();
    lock.unlock().unwrap();
    let told = whole
        .iter()
        .rposition(|byte| *byte != b' ' && *byte != b'\n')
        .unwrap();
    for (position, bit) in (0..=told).flat_map(|position| (0..8).map(move |bit| (position, bit))) {
        let mut changed = whole.clone();
        changed[position] ^= 1 << bit;
        fs::write(&path, &changed).unwrap();
        assert_eq!(
            store.lock_status().unwrap().unwrap().liveness,
            Liveness::Dead,
            "bit {bit} of byte {position}"
        );
        let lock = store.lock("apply", Wait::none()).unwrap();
        assert!(lock.took_over().is_some(), "bit {bit} of byte {position}");
        lock.unlock().unwrap();
    }
    for length in (0..whole.len()).step_by(13).chain([whole.len() - 1]) {
        fs::write(&path, &whole[..length]).unwrap();
        let error = store.lock("apply", Wait::none()).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Locked(_)),
            "cut to {length} bytes"
        );
        assert_eq!(
            fs::read(&path).unwrap(),
            whole[..length],
            "a marker that is not ours is not touched"
        );
        store.force_unlock(None).unwrap();
    }
}

#[test]
fn an_error_about_one_revision_changes_no_other_one() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let revs: Vec<Revision> = (0..3)
        .map(|turn| store.write(&note(turn), None).unwrap())
        .collect();
    fs::write(support::snapshot_file(root.path(), &revs[1]), "").unwrap();
    assert_eq!(store.get(&revs[1]).unwrap_err().kind(), &ErrorKind::Damaged);
    assert_eq!(
        store.set_current(&revs[1]).unwrap_err().kind(),
        &ErrorKind::NotFound
    );
    assert_eq!(store.list().unwrap(), revs);
    assert_eq!(
        (store.get(&revs[0]).unwrap(), store.get(&revs[2]).unwrap()),
        (note(0), note(2))
    );
}
