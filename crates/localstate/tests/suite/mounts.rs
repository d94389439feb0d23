//! Filesystems that only a real mount shows: overlays, and one directory that is mounted twice.

use crate::support::{self, Slowed, backend, create, current, lock, lock_and_token, nth, point_at};
use localstate::LocalCatalog;
use sdk_state::{Backend as _, Catalog as _, ErrorKind, Expect, Liveness};
use std::fs;
use std::path::{Path, PathBuf};

/// An overlay on a tmpfs, at `merged`.
const OVERLAY: &str = r#"cd "$LOCALSTATE_TEST_ROOT"
    mount -t tmpfs tmpfs .
    cd "$LOCALSTATE_TEST_ROOT"
    mkdir lower upper work merged
    mount -t overlay -o "lowerdir=lower,upperdir=upper,workdir=work$OPTIONS" overlay merged"#;

fn in_overlay(test: &str, options: &str) {
    let root = tempfile::tempdir().unwrap();
    let mut process = support::process(test, root.path());
    process.env("OPTIONS", options);
    support::succeeds(support::with_mounts(OVERLAY, &process));
}

/// A directory of an overlay that was removed does not look removed by its handle: the stack read as it had been.
#[test]
fn a_removed_directory_of_an_overlay_is_noticed() {
    in_overlay("mounts::process_that_removes_in_an_overlay", "");
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_removes_in_an_overlay() {
    let Some(root) = support::given_root() else { return };
    let merged = root.join("merged");
    let open = backend(&merged);
    for removed in ["network", "network/prod", "network/prod/snapshots"] {
        create(&open, &nth(1));
        point_at(&merged, &nth(1)).unwrap();
        let (_lock, token) = lock_and_token(&merged);
        fs::remove_dir_all(merged.join(removed)).unwrap();
        assert_eq!(open.list().unwrap(), [], "{removed}");
        if removed != "network/prod/snapshots" {
            assert_eq!(open.current().unwrap(), None, "{removed}");
        }
        create(&backend(&merged), &nth(2));
        assert_eq!(open.list().unwrap(), [nth(2)], "{removed}");
        let moved = open.set_current(Expect::Anything, &nth(1), &token);
        assert!(moved.is_err(), "{removed}");
        let _ = open.force_unlock(None).unwrap();
        fs::remove_dir_all(merged.join("network")).unwrap();
    }
}

/// An overlay with `volatile` flushes nothing, and was trusted.
#[test]
fn a_volatile_overlay_is_not_trusted() {
    in_overlay("mounts::process_that_deletes_in_an_overlay", "");
    in_overlay("mounts::process_that_deletes_in_an_overlay", ",volatile");
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_deletes_in_an_overlay() {
    let Some(root) = support::given_root() else { return };
    let merged = root.join("merged");
    let backend = backend(&merged);
    create(&backend, &nth(1));
    let is_volatile = !std::env::var("OPTIONS").unwrap().is_empty();
    let lock = lock(&merged);
    let liveness = backend.lock_status().unwrap().unwrap().liveness;
    lock.unlock().unwrap();
    if is_volatile {
        assert_eq!(liveness, Liveness::Unknown);
        assert_eq!(
            backend.remove(&nth(1), None).unwrap_err().kind(),
            &ErrorKind::Unsupported
        );
    } else {
        assert_eq!(liveness, Liveness::Alive);
        backend.remove(&nth(1), None).unwrap();
    }
}

/// One directory, mounted by two FUSE servers at `a` and `b`, as two clients mount a share: neither sees the flocks of the
/// other.
const SHARE: &str = r#"[ -c /dev/fuse ] && command -v bindfs
    cd "$LOCALSTATE_TEST_ROOT"
    mkdir share a b
    bindfs share a
    bindfs share b"#;

fn in_a_share(test: &str) {
    let root = tempfile::tempdir().unwrap();
    support::succeeds(support::with_mounts(SHARE, &support::process(test, root.path())));
}

fn clients(root: &Path) -> (PathBuf, PathBuf) {
    (root.join("a"), root.join("b"))
}

/// An evicted holder removed the marker of the next one, and a deletion without the lock left `current` dangling.
#[test]
fn an_evicted_client_of_a_share_changes_nothing() {
    in_a_share("mounts::process_of_two_clients");
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_of_two_clients() {
    let Some(root) = support::given_root() else { return };
    let (a, b) = clients(&root);
    let client = backend(&a);
    create(&client, &nth(1));
    create(&client, &nth(2));
    let (old, token) = lock_and_token(&a);
    client.set_current(Expect::Nothing, &nth(1), &token).unwrap();
    assert_eq!(
        client.remove(&nth(2), None).unwrap_err().kind(),
        &ErrorKind::Unsupported
    );
    assert_eq!(
        backend(&b).lock_status().unwrap().unwrap().liveness,
        Liveness::Unknown
    );
    assert_eq!(
        backend(&b).force_unlock(Some(&token)).unwrap().unwrap().token,
        Some(token.clone())
    );
    let (new, new_token) = lock_and_token(&b);

    let lost = |result: Result<(), sdk_state::Error>| {
        assert_eq!(result.unwrap_err().kind(), &ErrorKind::LockLost);
    };
    lost(client.set_current(Expect::Anything, &nth(2), &token).map(drop));
    lost(client.replace(&nth(1), b"other", &token));
    lost(client.remove(&nth(2), Some(&token)));
    lost(old.check());
    lost(old.unlock());
    new.check().unwrap();
    backend(&b)
        .set_current(Expect::Revision(&nth(1)), &nth(2), &new_token)
        .unwrap();
    new.unlock().unwrap();
    assert_eq!(current(&b), Some(nth(2)));
    assert_eq!(backend(&b).lock_status().unwrap(), None);
    let mut left = support::leftovers(&root.join("share"));
    // A file that was deleted while it was open, by the FUSE server.
    left.retain(|name| !name.contains("/.fuse_hidden"));
    assert_eq!(left, [""; 0]);
}

/// Without the directory mutex a stack is removed under the lock.
#[test]
fn a_stack_on_a_share_is_removed_under_the_lock() {
    in_a_share("mounts::process_that_removes_a_stack");
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_removes_a_stack() {
    let Some(root) = support::given_root() else { return };
    let (a, b) = clients(&root);
    create(&backend(&a), &nth(1));
    point_at(&a, &nth(1)).unwrap();
    let id = "network/prod".parse().unwrap();
    let held = lock(&b);
    let error = LocalCatalog::new(&a).remove(&id).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Locked(Box::new(held.info().clone())));
    held.unlock().unwrap();
    LocalCatalog::new(&a).remove(&id).unwrap();
    assert!(!support::stack_directory(&root.join("share")).exists());
    LocalCatalog::new(&a).remove(&id).unwrap();
}

/// The stack was renamed between the steps of opening it. The inode numbers differed, and were taken for useless: the handle
/// stayed in the renamed directory for ever.
#[test]
fn a_rename_while_a_share_is_opened_is_noticed() {
    in_a_share("mounts::process_that_renames_a_stack");
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_renames_a_stack() {
    let Some(root) = support::given_root() else { return };
    let (a, _) = clients(&root);
    create(&backend(&a), &nth(1));
    let command = support::process("mounts::process_that_lists", &a);
    // The one before the last step of opening.
    let Some(mut slowed) = Slowed::start(&command, "fstatfs", "1") else {
        return;
    };
    slowed.await_call("/network/prod>");
    fs::rename(a.join("network/prod"), a.join("network/moved")).unwrap();
    create(&backend(&a), &nth(2));
    slowed.partner.expect("opened");
    slowed.partner.tell();
    slowed.partner.expect(&format!("{:?}", [nth(2)]));
    slowed.partner.end();
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_lists() {
    let Some(root) = support::given_root() else { return };
    let backend = backend(&root);
    let _ = backend.list().unwrap();
    support::tell("opened");
    support::hear();
    support::tell(format!("{:?}", backend.list().unwrap()));
}

/// Between its last look at the lock and the move a holder was evicted from another client: it was told that it had moved
/// `current`, after the next holder had begun.
#[test]
fn a_move_during_an_eviction_is_never_a_success() {
    in_a_share("mounts::process_that_is_evicted_in_a_move");
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_is_evicted_in_a_move() {
    let Some(root) = support::given_root() else { return };
    let (a, b) = clients(&root);
    create(&backend(&a), &nth(1));
    let command = support::process("moved::process_that_moves", &a);
    let Some(mut slowed) = Slowed::start(&command, "renameat", "1+") else {
        return;
    };
    // It has looked at the lock for the last time.
    slowed.await_call(".current.");
    assert!(backend(&b).force_unlock(None).unwrap().is_some());
    let new = lock(&b);
    let told = slowed.partner.hear().unwrap();
    assert_eq!(told, "OutcomeUnknown");
    new.check().unwrap();
    new.unlock().unwrap();
    slowed.partner.end();
}
