//! Directories that somebody moves, removes or replaces while handles are open: the path decides, not the handle.

use crate::support::{
    self, LONG, Slowed, backend, create, current, holder, lock, lock_and_token, nth, point_at, store,
};
use sdk_state::{Backend as _, Error, ErrorKind, Expect, TryLock};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Instant;

/// Moves a directory away; what it is called then.
fn move_away(path: &Path) -> std::path::PathBuf {
    let moved = path.with_file_name("moved");
    fs::rename(path, &moved).unwrap();
    moved
}

fn lost(result: Result<(), Error>) {
    assert_eq!(result.unwrap_err().kind(), &ErrorKind::LockLost);
}

/// The open handles led to the directories that were moved: the holder moved a pointer that nobody found, and somebody else
/// held the lock too.
#[test]
fn the_holder_of_a_moved_stack_has_lost_the_lock() {
    for level in ["network", "network/prod"] {
        let root = tempfile::tempdir().unwrap();
        let backend = backend(root.path());
        create(&backend, &nth(1));
        let (old, token) = lock_and_token(root.path());
        backend.set_current(Expect::Nothing, &nth(1), &token).unwrap();
        let moved = move_away(&root.path().join(level));
        let before = support::names_below(&moved);

        let change = || {
            lost(backend.set_current(Expect::Anything, &nth(1), &token).map(drop));
            lost(backend.remove(&nth(1), Some(&token)));
            lost(backend.replace(&nth(1), b"other", &token));
            lost(old.check());
            assert!(old.is_lost());
        };
        change();
        let new = lock(root.path());
        change();
        assert_eq!(support::names_below(&moved), before, "{level}");
        lost(old.unlock());
        new.check().unwrap();
        new.unlock().unwrap();
    }
}

/// A handle that was open followed the link: the pointer was moved outside of the root.
#[test]
fn a_link_in_place_of_a_factory_is_not_followed() {
    let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let backend = backend(root.path());
    create(&backend, &nth(1));
    let (old, token) = lock_and_token(root.path());
    fs::rename(root.path().join("network"), outside.path().join("network")).unwrap();
    symlink(outside.path().join("network"), root.path().join("network")).unwrap();
    let before = support::names_below(outside.path());
    let refused = |result: Result<(), Error>| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Damaged);
        assert_eq!(error.path(), Some(&*root.path().join("network")));
    };
    refused(backend.create(&nth(2), b"sealed").map(drop));
    refused(backend.set_current(Expect::Anything, &nth(1), &token).map(drop));
    refused(backend.remove(&nth(1), Some(&token)));
    refused(backend.list().map(drop));
    lost(old.check());
    assert_eq!(support::names_below(outside.path()), before);
    lost(old.unlock());
}

/// `current` was moved to a revision in the directory that had been moved away.
#[test]
fn nothing_in_moved_snapshots_becomes_current() {
    let root = tempfile::tempdir().unwrap();
    let backend = backend(root.path());
    create(&backend, &nth(1));
    let (lock, token) = lock_and_token(root.path());
    let moved = move_away(&root.path().join("network/prod/snapshots"));
    for _ in 0..2 {
        let error = backend.set_current(Expect::Nothing, &nth(1), &token).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::NotFound);
        assert_eq!(current(root.path()), None);
        let _ = backend.create(&nth(2), b"sealed").unwrap();
    }
    fs::remove_dir_all(root.path().join("network/prod/snapshots")).unwrap();
    fs::rename(moved, root.path().join("network/prod/snapshots")).unwrap();
    backend.set_current(Expect::Nothing, &nth(1), &token).unwrap();
    lock.unlock().unwrap();
}

/// A waiter looks only at the directories that lead to the marker.
#[test]
fn the_lock_does_not_move_with_the_snapshots() {
    let root = tempfile::tempdir().unwrap();
    let backend = backend(root.path());
    create(&backend, &nth(1));
    let (old, token) = lock_and_token(root.path());
    move_away(&root.path().join("network/prod/snapshots"));
    let TryLock::Busy { status, .. } = backend.try_lock(&holder()).unwrap() else {
        panic!("two hold the lock");
    };
    assert_eq!(status.info.token, Some(token));
    old.unlock().unwrap();
    let TryLock::Held(next) = backend.try_lock(&holder()).unwrap() else {
        panic!("it is free");
    };
    create(&backend, &nth(2));
    assert_eq!(support::backend(root.path()).list().unwrap(), [nth(2)]);
    next.unlock().unwrap();
}

/// An acknowledged write lay in the directory that was moved.
#[test]
fn a_write_goes_where_the_path_leads() {
    for level in ["network", "network/prod", "network/prod/snapshots"] {
        let root = tempfile::tempdir().unwrap();
        let backend = backend(root.path());
        create(&backend, &nth(1));
        let moved = move_away(&root.path().join(level));
        let before = support::names_below(&moved);
        assert_eq!(backend.list().unwrap(), [], "{level}");
        create(&backend, &nth(2));
        assert_eq!(support::backend(root.path()).list().unwrap(), [nth(2)], "{level}");
        assert_eq!(support::names_below(&moved), before, "{level}");
    }
}

/// The stack is moved after the write has begun, and before its file gets its name.
#[test]
fn a_write_during_a_move_goes_where_the_path_leads() {
    let root = tempfile::tempdir().unwrap();
    create(&backend(root.path()), &nth(2));
    let command = support::process("moved::process_that_writes", root.path());
    let Some(mut slowed) = Slowed::start(&command, "renameat2", "1+") else {
        return;
    };
    slowed.await_call(".snapshot.");
    let moved = move_away(&root.path().join("network/prod"));
    slowed.partner.expect("written");
    slowed.partner.end();
    assert_eq!(backend(root.path()).list().unwrap(), [nth(1)]);
    assert!(
        !support::names_below(&moved)
            .iter()
            .any(|name| name.contains("12:00:01Z"))
    );
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_writes() {
    let Some(root) = support::given_root() else { return };
    create(&backend(&root), &nth(1));
    support::tell("written");
}

/// The look at the path after the write failed: the snapshot was stored, and the error said that nothing had changed.
#[test]
fn a_failed_look_after_a_write_is_an_unknown_outcome() {
    let root = tempfile::tempdir().unwrap();
    create(&backend(root.path()), &nth(2));
    let command = support::process("moved::process_that_cannot_look", root.path());
    let stack = support::stack_directory(root.path());
    let failing = ["-P", stack.to_str().unwrap(), "-e", "inject=newfstatat:error=EIO"];
    support::traced(&command, "newfstatat", &failing);
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_cannot_look() {
    let Some(root) = support::given_root() else { return };
    let error = backend(&root).create(&nth(1), b"sealed").unwrap_err();
    assert!(error.is_outcome_unknown(), "{error}");
    assert_eq!(error.revision(), Some(&nth(1)));
}

/// The stack is moved between the two looks of a move of `current`.
#[test]
fn a_move_of_current_during_a_move_is_lost() {
    let root = tempfile::tempdir().unwrap();
    create(&backend(root.path()), &nth(1));
    let command = support::process("moved::process_that_moves", root.path());
    // The first flushes make the directories and the lock.
    let Some(mut slowed) = Slowed::start(&command, "fsync", "6+") else {
        return;
    };
    slowed.await_call(".current.");
    let moved = move_away(&root.path().join("network/prod"));
    slowed.partner.expect("LockLost");
    slowed.partner.end();
    assert_eq!(
        support::names_below(&moved)
            .iter()
            .filter(|name| *name == "current")
            .count(),
        0
    );
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_moves() {
    let Some(root) = support::given_root() else { return };
    let (lock, token) = lock_and_token(&root);
    match backend(&root).set_current(Expect::Nothing, &nth(1), &token) {
        Ok(pointer) => support::tell(format!("{pointer:?}")),
        Err(error) => support::tell(format!("{:?}", error.kind())),
    }
    let error = lock.unlock().unwrap_err();
    assert!(error.is_lock_lost(), "{error:?}");
}

/// The stack is moved during the last flush of a change. The holder was told that all went well.
#[test]
fn a_change_whose_last_flush_sees_a_move_is_unknown() {
    // Five flushes make the directories and the lock.
    for (change, last_flush) in [("move", "8"), ("replace", "7"), ("remove", "7")] {
        let root = tempfile::tempdir().unwrap();
        create(&backend(root.path()), &nth(1));
        let mut command = support::process("moved::process_that_changes", root.path());
        command.env("CHANGE", change);
        let Some(mut slowed) = Slowed::start(&command, "fsync", last_flush) else {
            return;
        };
        slowed.partner.expect("begun");
        let (pointer, snapshot) = (
            root.path().join("network/prod/current"),
            support::snapshot_file(root.path(), &nth(1)),
        );
        let is_changed = || match change {
            "move" => pointer.exists(),
            "replace" => fs::read(&snapshot).unwrap() == b"sealed anew",
            _ => !snapshot.exists(),
        };
        let begun = Instant::now();
        while !is_changed() {
            assert!(begun.elapsed() < LONG, "{change}");
            std::thread::yield_now();
        }
        move_away(&root.path().join("network/prod"));
        slowed.partner.expect("OutcomeUnknown");
        slowed.partner.end();
    }
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_changes() {
    let Some(root) = support::given_root() else { return };
    let (lock, token) = lock_and_token(&root);
    let backend = backend(&root);
    support::tell("begun");
    let changed = match std::env::var("CHANGE").unwrap().as_str() {
        "move" => backend.set_current(Expect::Nothing, &nth(1), &token).map(drop),
        "replace" => backend.replace(&nth(1), b"sealed anew", &token),
        _ => backend.remove(&nth(1), Some(&token)),
    };
    let told = changed.map_or_else(|error| format!("{:?}", error.kind()), |()| "Ok".into());
    support::tell(told);
    lost(lock.unlock());
}

/// The handle of a directory outlives the directory.
#[test]
fn a_removed_stack_is_made_anew() {
    let root = tempfile::tempdir().unwrap();
    let backend = backend(root.path());
    for removed in ["network", "network/prod", "network/prod/snapshots"] {
        create(&backend, &nth(1));
        point_at(root.path(), &nth(1)).unwrap();
        fs::remove_dir_all(root.path().join(removed)).unwrap();
        assert_eq!(backend.list().unwrap(), [], "{removed}");
    }
    create(&backend, &nth(1));
    assert!(support::snapshot_file(root.path(), &nth(1)).exists());
}

#[test]
fn the_holder_of_a_removed_stack_has_lost_the_lock() {
    let root = tempfile::tempdir().unwrap();
    let backend = backend(root.path());
    let (old, token) = lock_and_token(root.path());
    fs::remove_dir_all(root.path().join("network/prod/snapshots")).unwrap();
    fs::remove_file(root.path().join("network/prod/lock")).unwrap();
    lost(backend.remove(&nth(1), Some(&token)));
    fs::remove_dir_all(root.path().join("network")).unwrap();
    lost(backend.remove(&nth(1), Some(&token)));
    let TryLock::Held(new) = backend.try_lock(&holder()).unwrap() else {
        panic!("nobody else locks");
    };
    lost(backend.remove(&nth(1), Some(&token)));
    lost(old.check());
    lost(old.unlock());
    new.unlock().unwrap();
}

/// A link to the root, such as `live`, is turned from one store to another one.
#[test]
fn a_turned_link_to_the_root_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two, link) = (
        directory.path().join("one"),
        directory.path().join("two"),
        directory.path().join("live"),
    );
    for (root, rev) in [(&one, nth(1)), (&two, nth(2))] {
        create(&backend(root), &rev);
        point_at(root, &rev).unwrap();
    }
    symlink("one", &link).unwrap();
    let store = store(&link);
    let (old, token) = lock_and_token(&link);
    assert_eq!(store.backend().list().unwrap(), [nth(1)]);
    fs::remove_file(&link).unwrap();
    symlink("two", &link).unwrap();
    assert_eq!(store.backend().list().unwrap(), [nth(2)]);
    lost(
        store
            .backend()
            .set_current(Expect::Anything, &nth(2), &token)
            .map(drop),
    );
    lost(old.unlock());
    assert_eq!((current(&one), current(&two)), (Some(nth(1)), Some(nth(2))));
    // What it held in the other store is free.
    assert_eq!(backend(&one).lock_status().unwrap(), None);
}

/// A relative root followed the working directory: the next call found no stack, and made another one.
#[test]
fn a_relative_root_stays_where_it_was() {
    let root = tempfile::tempdir().unwrap();
    let mut process = support::process("moved::process_that_changes_its_directory", root.path());
    process.current_dir(root.path());
    assert!(support::succeeds(process));
    assert_eq!(
        store(&root.path().join("state")).list().unwrap(),
        [nth(1), nth(2)]
    );
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_changes_its_directory() {
    let Some(root) = support::given_root() else { return };
    let catalog = localstate::LocalCatalog::new("state");
    let backend = backend(Path::new("state"));
    create(&backend, &nth(1));
    fs::create_dir(root.join("elsewhere")).unwrap();
    std::env::set_current_dir(root.join("elsewhere")).unwrap();
    create(&backend, &nth(2));
    assert_eq!(sdk_state::Catalog::stacks(&catalog).unwrap().len(), 1);
    assert!(support::names_below(&root.join("elsewhere")).is_empty());

    // A relative path without a working directory leads nowhere, and not to a fresh stack.
    fs::remove_dir(root.join("elsewhere")).unwrap();
    let error = support::backend(Path::new("state")).list().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Io);
}
