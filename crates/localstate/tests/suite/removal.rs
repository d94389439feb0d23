//! Deleting snapshots and whole stacks.

use crate::support::{
    self, LONG, Slowed, backend, create, current, lock, lock_and_token, nth, point_at, stack_directory, store,
};
use localstate::LocalCatalog;
use sdk_state::{Backend as _, Catalog as _, ErrorKind, StackId};
use std::fs;
use std::time::Instant;

#[test]
fn the_current_revision_is_not_deleted_and_an_absent_one_may_be() {
    let root = tempfile::tempdir().unwrap();
    let backend = backend(root.path());
    backend.remove(&nth(1), None).unwrap();
    assert!(support::names_below(root.path()).is_empty(), "nothing was made");
    create(&backend, &nth(1));
    create(&backend, &nth(2));
    point_at(root.path(), &nth(1)).unwrap();
    let error = backend.remove(&nth(1), None).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::RevisionIsCurrent);
    backend.remove(&nth(2), None).unwrap();
    backend.remove(&nth(2), None).unwrap();
    assert_eq!(backend.list().unwrap(), [nth(1)]);
}

/// Without a token it is refused while anybody holds the lock who is not provably dead.
#[test]
fn a_deletion_without_token_spares_the_holder() {
    let root = tempfile::tempdir().unwrap();
    let backend = backend(root.path());
    create(&backend, &nth(1));
    let held = lock(root.path());
    let error = backend.remove(&nth(1), None).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Locked(Box::new(held.info().clone())));
    held.unlock().unwrap();
    let marker = stack_directory(root.path()).join("lock");
    // unobin holds it, for all that is known.
    fs::write(&marker, "4711\n").unwrap();
    assert!(backend.remove(&nth(1), None).unwrap_err().is_locked());
    assert_eq!(backend.list().unwrap(), [nth(1)]);
    // This holder is dead.
    fs::write(&marker, [b' '; 1024]).unwrap();
    backend.remove(&nth(1), None).unwrap();
    assert_eq!(backend.list().unwrap(), []);
    assert!(marker.exists());
}

/// A failed flush was told once: the second deletion flushed nothing that had been dropped, and said that all is well. Later
/// it deleted the revision, and said that it does not know.
#[test]
fn a_deletion_after_a_failed_flush_does_not_succeed() {
    let root = tempfile::tempdir().unwrap();
    create(&backend(root.path()), &nth(1));
    point_at(root.path(), &nth(1)).unwrap();
    // The flush of the pointer before the deletion, and that of the names after it.
    for failing in 1..=2 {
        create(&backend(root.path()), &nth(2));
        create(&backend(root.path()), &nth(3));
        let command = support::process("removal::process_that_deletes_twice", root.path());
        let inject = format!("inject=fsync:error=EIO:when={failing}");
        if support::traced(&command, "fsync", &["-e", &inject]).is_none() {
            return;
        }
        assert_eq!(current(root.path()), Some(nth(1)));
        assert!(support::snapshot_file(root.path(), &nth(3)).exists());
        // A handle that was opened later is told nothing, and deletes.
        backend(root.path()).remove(&nth(2), None).unwrap();
        backend(root.path()).remove(&nth(3), None).unwrap();
    }
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_deletes_twice() {
    let Some(root) = support::given_root() else { return };
    let backend = backend(&root);
    backend.remove(&nth(2), None).unwrap_err();
    let error = backend.remove(&nth(3), None).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Io, "{error}");
}

/// On a filesystem that is blind to case, the current file was removed under another spelling. A hard link looks the same.
#[test]
fn the_current_file_is_not_deleted_under_another_name() {
    let root = tempfile::tempdir().unwrap();
    let backend = backend(root.path());
    create(&backend, &nth(1));
    create(&backend, &nth(2));
    point_at(root.path(), &nth(1)).unwrap();
    let spelled = |n| support::revision(&nth(n).to_string().to_lowercase());
    for n in 1..=2 {
        let file = |rev| support::snapshot_file(root.path(), rev);
        fs::hard_link(file(&nth(n)), file(&spelled(n))).unwrap();
    }
    let error = backend.remove(&spelled(1), None).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::RevisionIsCurrent);
    backend.remove(&spelled(2), None).unwrap();
    assert_eq!(backend.list().unwrap().len(), 3);
}

#[test]
fn a_removed_stack_is_gone_and_can_be_removed_again() {
    let root = tempfile::tempdir().unwrap();
    let catalog = LocalCatalog::new(root.path());
    let id: StackId = "network/prod".parse().unwrap();
    catalog.remove(&id).unwrap();
    assert!(support::names_below(root.path()).is_empty());
    for n in 1..4 {
        create(&backend(root.path()), &nth(n));
    }
    create(&*catalog.open(&"network/test".parse().unwrap()).unwrap(), &nth(1));
    point_at(root.path(), &nth(2)).unwrap();
    // What dead processes leave, and unobin.
    let stack = stack_directory(root.path());
    for left in [
        ".current.0123456789abcdef",
        "snapshots/.snapshot.0123456789abcdef",
        ".current.tmp",
    ] {
        fs::write(stack.join(left), "").unwrap();
    }
    fs::write(stack.join("lock"), [b' '; 1024]).unwrap();
    let open = store(root.path());
    assert_eq!(open.list().unwrap().len(), 3);
    catalog.remove(&id).unwrap();
    assert!(!stack.exists());
    let left: Vec<_> = catalog
        .stacks()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(left, ["network/test"]);
    assert_eq!(open.head().unwrap(), None);
    catalog.remove(&id).unwrap();
}

#[test]
fn a_stack_that_is_locked_or_has_foreign_files_is_not_removed() {
    let root = tempfile::tempdir().unwrap();
    let catalog = LocalCatalog::new(root.path());
    let id: StackId = "network/prod".parse().unwrap();
    create(&backend(root.path()), &nth(1));
    point_at(root.path(), &nth(1)).unwrap();
    let (held, _) = lock_and_token(root.path());
    let error = catalog.remove(&id).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Locked(Box::new(held.info().clone())));
    held.unlock().unwrap();
    for foreign in ["README", "snapshots/README"] {
        let file = stack_directory(root.path()).join(foreign);
        fs::write(&file, "precious").unwrap();
        let error = catalog.remove(&id).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Damaged);
        assert_eq!(error.path(), Some(&*file));
        fs::remove_file(&file).unwrap();
    }
    assert_eq!(current(root.path()), Some(nth(1)));
    catalog.remove(&id).unwrap();
    assert_eq!(catalog.stacks().unwrap(), []);
}

/// Somebody locks the stack after `current` is gone. The error said that it is locked, as if nothing had been removed.
#[test]
fn a_removal_that_a_lock_interrupts_says_that_it_began() {
    let root = tempfile::tempdir().unwrap();
    create(&backend(root.path()), &nth(1));
    point_at(root.path(), &nth(1)).unwrap();
    let command = support::process("removal::process_that_removes_the_stack", root.path());
    // The flush after the removal of `current`.
    let Some(mut slowed) = Slowed::start(&command, "fsync", "1") else {
        return;
    };
    let begun = Instant::now();
    while current(root.path()).is_some() {
        assert!(begun.elapsed() < LONG, "nothing is removed");
        std::thread::yield_now();
    }
    let held = lock(root.path());
    slowed.partner.expect("Unavailable");
    slowed.partner.end();
    held.check().unwrap();
    assert_eq!(backend(root.path()).list().unwrap(), [nth(1)]);
    held.unlock().unwrap();
    LocalCatalog::new(root.path())
        .remove(&"network/prod".parse().unwrap())
        .unwrap();
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_removes_the_stack() {
    let Some(root) = support::given_root() else { return };
    let id = "network/prod".parse().unwrap();
    let error = LocalCatalog::new(root).remove(&id).unwrap_err();
    support::tell(format!("{:?}", error.kind()));
}
