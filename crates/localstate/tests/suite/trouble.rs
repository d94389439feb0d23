//! A disk that is full or read-only, and a process out of handles: nothing is lost, nothing is left, and it goes on later.

use crate::support::{
    self, backend, create, current, given_root, holder, leftovers, lock_and_token, names_below, nth,
    point_at, store, succeeds,
};
use sdk_state::{Backend as _, Created, Error, ErrorKind, Expect, Lock, LockToken, Revision, TryLock};
use std::error::Error as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

/// Two snapshots, the first of them current.
fn prepare(root: &Path) {
    let backend = backend(root);
    create(&backend, &nth(1));
    create(&backend, &nth(2));
    point_at(root, &nth(1)).unwrap();
}

/// After trouble everything is as [`prepare`] and `others` left it.
fn assert_unchanged(root: &Path, others: &[Revision], context: &str) {
    let backend = backend(root);
    let mut expected = vec![nth(1), nth(2)];
    expected.extend(others.iter().cloned());
    let mut listed = backend.list().unwrap();
    listed.sort();
    assert_eq!(listed, expected, "{context}");
    for rev in &listed {
        assert!(
            !backend.read(rev, u64::MAX).unwrap().is_empty(),
            "{context}: {rev}"
        );
    }
    assert_eq!(current(root), Some(nth(1)), "{context}");
    assert_eq!(backend.lock_status().unwrap(), None, "{context}");
    assert!(leftovers(root).is_empty(), "{context}: {:?}", leftovers(root));
}

fn assert_io(error: &Error, hint: &str) {
    assert_eq!(error.kind(), &ErrorKind::Io);
    assert!(error.to_string().contains(hint), "{error}");
    assert!(error.path().is_some() && error.source().is_some());
}

#[test]
fn a_full_disk_loses_nothing_and_space_can_be_freed() {
    on_a_full_disk(
        r#"mount -t tmpfs -o size=512k tmpfs "$LOCALSTATE_TEST_ROOT""#,
        60_000,
    );
}

#[test]
fn a_full_ext4_loses_nothing_and_space_can_be_freed() {
    let make = r#"image="$LOCALSTATE_TEST_ROOT/image"
        truncate -s 8M "$image"
        PATH="$PATH:/sbin:/usr/sbin" mkfs.ext4 -q -m 0 "$image"
        mount -o loop "$image" "$LOCALSTATE_TEST_ROOT"
        rmdir "$LOCALSTATE_TEST_ROOT/lost+found""#;
    on_a_full_disk(make, 600_000);
}

fn on_a_full_disk(mounts: &str, snapshot_bytes: usize) {
    let root = tempfile::tempdir().unwrap();
    let mut process = support::process("trouble::process_on_a_full_disk", root.path());
    process.env("SNAPSHOT_BYTES", snapshot_bytes.to_string());
    succeeds(support::with_mounts(mounts, &process));
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_on_a_full_disk() {
    let Some(root) = given_root() else { return };
    prepare(&root);
    let snapshot = vec![b'x'; std::env::var("SNAPSHOT_BYTES").unwrap().parse().unwrap()];
    let backend = backend(&root);
    let mut written = Vec::new();
    let error = loop {
        let rev = nth(10 + written.len() as u32);
        match backend.create(&rev, &snapshot) {
            Ok(created) => assert_eq!(created, Created::Created),
            Err(error) => break error,
        }
        written.push(rev);
    };
    assert_io(&error, "disk is full");
    assert!(!written.is_empty());
    assert_unchanged(&root, &written, "full");
    let (lock, token) = lock_and_token(&root);
    fill(&root);
    for error in [
        backend.create(&nth(60), b"sealed").unwrap_err(),
        backend
            .set_current(Expect::Anything, &nth(2), &token)
            .unwrap_err(),
        backend.replace(&nth(2), b"sealed anew", &token).unwrap_err(),
    ] {
        assert_io(&error, "disk is full");
    }
    lock.unlock().unwrap();
    fill(&root);
    assert_io(&backend.try_lock(&holder()).unwrap_err(), "disk is full");
    assert_unchanged(&root, &written, "fuller");
    // A lock cannot be written, and deleting needs none: not while nobody holds it, and not after a holder has died.
    store(&root).delete(&written.pop().unwrap()).unwrap();
    fs::write(support::stack_directory(&root).join("lock"), [b' '; 1024]).unwrap();
    store(&root).delete(&written.pop().unwrap()).unwrap();
    fs::remove_file(support::stack_directory(&root).join("lock")).unwrap();
    assert_eq!(
        backend.create(&nth(60), &[b'x'; 50_000]).unwrap(),
        Created::Created
    );
    written.push(nth(60));
    assert_unchanged(&root, &written, "freed");
}

/// Takes the last block too: until not even one byte fits into another file. A filesystem that promises space before it
/// finds some gives a little back at each flush.
pub(crate) fn fill(root: &Path) {
    for number in 0.. {
        let mut filler = File::create(root.join(format!("filler-{number}"))).unwrap();
        let begun = filler.write_all(b"x").and_then(|()| filler.sync_all());
        while filler.write(&[0; 1024]).is_ok() {}
        let _ = filler.sync_all();
        if begun.is_err() {
            break;
        }
    }
}

#[test]
fn a_file_size_limit_loses_nothing() {
    let root = tempfile::tempdir().unwrap();
    let process = support::process("trouble::process_with_a_file_limit", root.path());
    assert!(succeeds(support::after("trap '' XFSZ && ulimit -f 8", &process)));
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_with_a_file_limit() {
    let Some(root) = given_root() else { return };
    prepare(&root);
    let backend = backend(&root);
    // The first part of it fits: what was written is removed again.
    let error = backend.create(&nth(3), &[b'x'; 100_000]).unwrap_err();
    assert_io(&error, "ulimit -f");
    assert_unchanged(&root, &[], "limited");
    create(&backend, &nth(3));
    assert_unchanged(&root, &[nth(3)], "smaller");
}

#[test]
fn a_read_only_place_is_read_and_every_change_is_refused() {
    let root = tempfile::tempdir().unwrap();
    prepare(root.path());
    let before = names_below(root.path());
    succeeds(support::with_mounts(
        r#"mount --bind "$LOCALSTATE_TEST_ROOT" "$LOCALSTATE_TEST_ROOT"
           mount -o remount,ro,bind "$LOCALSTATE_TEST_ROOT""#,
        &support::process("trouble::process_in_a_read_only_place", root.path()),
    ));
    assert_eq!(names_below(root.path()), before);
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_in_a_read_only_place() {
    let Some(root) = given_root() else { return };
    let backend = backend(&root);
    for error in [
        backend.create(&nth(3), b"sealed").unwrap_err(),
        backend.remove(&nth(2), None).unwrap_err(),
        backend.try_lock(&holder()).unwrap_err(),
        point_at(&root, &nth(2)).unwrap_err(),
    ] {
        assert_io(&error, "read-only");
    }
    assert_unchanged(&root, &[], "read-only");
}

/// Every place where a handle is opened fails once. A lock whose marker was already published when there was no handle for
/// it left the marker behind: it looked like that of a dead holder.
#[test]
fn a_process_out_of_handles_loses_nothing_wherever_they_run_out() {
    let root = tempfile::tempdir().unwrap();
    let process = support::process("trouble::process_out_of_handles", root.path());
    assert!(succeeds(support::after("ulimit -n 64", &process)));
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_out_of_handles() {
    let Some(root) = given_root() else { return };
    prepare(&root);
    type Operation = fn(&Path, &LockToken) -> Result<Option<Box<dyn Lock>>, Error>;
    let operations: [(&str, Operation); 4] = [
        ("create", |root, _| {
            let created = backend(root).create(&nth(3), b"sealed")?;
            assert_eq!(created, Created::Created);
            Ok(None)
        }),
        ("set_current", |root, token| {
            backend(root).set_current(Expect::Anything, &nth(1), token)?;
            Ok(None)
        }),
        ("replace", |root, token| {
            backend(root).replace(&nth(2), b"sealed anew", token)?;
            Ok(None)
        }),
        ("lock", |root, _| match backend(root).try_lock(&holder())? {
            TryLock::Held(lock) => Ok(Some(lock)),
            TryLock::Busy { status, .. } => panic!("{status:?}"),
        }),
    ];
    for (name, operation) in operations {
        let mut failures = 0;
        for free in 0.. {
            let (held, token) = lock_and_token(&root);
            let held = match name {
                "lock" => held.unlock().map(|()| None).unwrap(),
                _ => Some(held),
            };
            let mut hoard = hoard();
            hoard.truncate(hoard.len() - free);
            let result = operation(&root, &token);
            drop(hoard);
            held.map(Lock::unlock).transpose().unwrap();
            match result {
                Ok(None) => break,
                Ok(Some(lock)) => {
                    assert_eq!(lock.took_over(), None);
                    lock.unlock().unwrap();
                    break;
                }
                Err(error) => assert_io(&error, "too many files"),
            }
            failures += 1;
            assert_unchanged(&root, &[], &format!("{name} with {free} handles"));
        }
        assert!(failures > 2, "{name} failed {failures} times");
        backend(&root).remove(&nth(3), None).unwrap();
    }

    // A lock that cannot be given back for want of a handle is free all the same.
    let TryLock::Held(lock) = backend(&root).try_lock(&holder()).unwrap() else {
        panic!("nobody else locks");
    };
    let holder_then = lock.info().clone();
    let hoard = hoard();
    assert_io(&lock.unlock().unwrap_err(), "too many files");
    drop(hoard);
    let TryLock::Held(lock) = backend(&root).try_lock(&holder()).unwrap() else {
        panic!("it is stuck");
    };
    assert_eq!(lock.took_over(), Some(&holder_then));
}

/// Every handle that the process may still open.
fn hoard() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

/// A file that is one large hole took its length in memory, or ended the process where that is limited.
#[test]
fn a_huge_file_costs_no_memory_that_is_not_there() {
    let root = tempfile::tempdir().unwrap();
    prepare(root.path());
    let hole = File::create(support::snapshot_file(root.path(), &nth(3))).unwrap();
    hole.set_len(1 << 30).unwrap();
    let process = support::process("trouble::process_with_little_memory", root.path());
    assert!(succeeds(support::after("ulimit -v 524288", &process)));
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_with_little_memory() {
    let Some(root) = given_root() else { return };
    let backend = backend(&root);
    assert_io(&backend.read(&nth(3), u64::MAX).unwrap_err(), "not enough memory");
    assert_eq!(backend.read_prefix(&nth(3), 100).unwrap().bytes, [0; 100]);
    // It has no magic, so no more than its beginning is read.
    assert!(
        store(&root)
            .with_limit(u64::MAX >> 8)
            .get(&nth(3))
            .unwrap_err()
            .is_damaged()
    );
}
