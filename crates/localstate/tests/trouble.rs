//! A disk that is full or read-only, and a process out of handles: nothing is lost, nothing is left, and it goes on later.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic")]

mod support;

use sdk_state::{Created, Error, ErrorKind, Expect, Lock, Revision, Storage as _, TryLock};
use std::error::Error as _;
use std::fs::File;
use std::path::Path;
use support::{create, given_root, holder, litter, names_below, nth, storage, succeeds};

/// Two snapshots, the first of them current.
fn prepare(root: &Path) {
    let storage = storage(root);
    create(&storage, &nth(1));
    create(&storage, &nth(2));
    storage.set_current(Expect::Anything, &nth(1), None).unwrap();
}

/// After trouble everything is as [`prepare`] and `others` left it.
fn assert_unchanged(root: &Path, others: &[Revision], context: &str) {
    let storage = storage(root);
    let mut expected = vec![nth(1), nth(2)];
    expected.extend(others.iter().cloned());
    let mut listed = storage.list().unwrap();
    listed.sort();
    assert_eq!(listed, expected, "{context}");
    for rev in &listed {
        assert!(
            !storage.read(rev, u64::MAX).unwrap().is_empty(),
            "{context}: {rev}"
        );
    }
    assert_eq!(storage.current().unwrap(), Some(nth(1)), "{context}");
    assert_eq!(storage.lock_status().unwrap(), None, "{context}");
    assert!(litter(root).is_empty(), "{context}: {:?}", litter(root));
}

fn assert_io(error: &Error, hint: &str) {
    assert_eq!(error.kind(), &ErrorKind::Io);
    assert!(error.to_string().contains(hint), "{error}");
    assert!(error.path().is_some() && error.source().is_some());
}

#[test]
fn a_full_disk_loses_nothing_and_the_next_write_after_freeing_space_works() {
    let root = tempfile::tempdir().unwrap();
    succeeds(support::by_shell(
        r#"unshare -rm true || exit 77
           exec unshare -rm sh -c 'mount -t tmpfs -o size=512k tmpfs "$LOCALSTATE_TEST_ROOT" || exit 77
                                   exec "$0" "$@"' "$0" "$@""#,
        &support::process("process_on_a_full_disk", root.path()),
    ));
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_on_a_full_disk() {
    let Some(root) = given_root() else { return };
    prepare(&root);
    let storage = storage(&root);
    let mut written = Vec::new();
    let error = loop {
        let rev = nth(10 + written.len() as u32);
        match storage.create(&rev, &[b'x'; 60_000]) {
            Ok(created) => assert_eq!(created, Created::Created),
            Err(error) => break error,
        }
        written.push(rev);
    };
    assert_io(&error, "disk is full");
    assert!(!written.is_empty());
    assert_unchanged(&root, &written, "full");
    // The last page goes too.
    let filler = root.join("filler");
    let _ = std::io::copy(&mut std::io::repeat(0), &mut File::create(&filler).unwrap());
    for error in [
        storage.create(&nth(60), b"sealed").unwrap_err(),
        storage.set_current(Expect::Anything, &nth(2), None).unwrap_err(),
        storage.replace(&nth(2), b"sealed anew").unwrap_err(),
        storage.try_lock(&holder()).unwrap_err(),
    ] {
        assert_io(&error, "disk is full");
    }
    assert_eq!(
        names_below(&root).iter().filter(|name| *name == "filler").count(),
        1
    );
    assert_unchanged(&root, &written, "fuller");
    storage.remove(&written.pop().unwrap(), None).unwrap();
    assert_eq!(
        storage.create(&nth(60), &[b'x'; 50_000]).unwrap(),
        Created::Created
    );
    written.push(nth(60));
    assert_unchanged(&root, &written, "freed");
}

#[test]
fn a_limit_of_the_file_size_loses_nothing_and_smaller_writes_go_on() {
    let root = tempfile::tempdir().unwrap();
    let process = support::process("process_with_a_file_limit", root.path());
    assert!(succeeds(support::after("trap '' XFSZ && ulimit -f 8", &process)));
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_with_a_file_limit() {
    let Some(root) = given_root() else { return };
    prepare(&root);
    let storage = storage(&root);
    // The first part of it fits: what was written is removed again.
    let error = storage.create(&nth(3), &[b'x'; 100_000]).unwrap_err();
    assert_io(&error, "disk is full");
    assert_unchanged(&root, &[], "limited");
    create(&storage, &nth(3));
    assert_unchanged(&root, &[nth(3)], "smaller");
}

#[test]
fn a_read_only_place_is_read_and_every_change_is_refused() {
    let root = tempfile::tempdir().unwrap();
    prepare(root.path());
    let before = names_below(root.path());
    succeeds(support::by_shell(
        r#"unshare -rm true || exit 77
           exec unshare -rm sh -c 'mount --bind "$LOCALSTATE_TEST_ROOT" "$LOCALSTATE_TEST_ROOT" || exit 77
                                   mount -o remount,ro,bind "$LOCALSTATE_TEST_ROOT" || exit 77
                                   exec "$0" "$@"' "$0" "$@""#,
        &support::process("process_in_a_read_only_place", root.path()),
    ));
    assert_eq!(names_below(root.path()), before);
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_in_a_read_only_place() {
    let Some(root) = given_root() else { return };
    let storage = storage(&root);
    for error in [
        storage.create(&nth(3), b"sealed").unwrap_err(),
        storage.set_current(Expect::Anything, &nth(2), None).unwrap_err(),
        storage.replace(&nth(2), b"sealed anew").unwrap_err(),
        storage.remove(&nth(2), None).unwrap_err(),
        storage.try_lock(&holder()).unwrap_err(),
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
    let process = support::process("process_out_of_handles", root.path());
    assert!(succeeds(support::after("ulimit -n 64", &process)));
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_out_of_handles() {
    let Some(root) = given_root() else { return };
    prepare(&root);
    type Operation = fn(&Path) -> Result<Option<Box<dyn Lock>>, Error>;
    let operations: [(&str, Operation); 4] = [
        ("create", |root| {
            let created = storage(root).create(&nth(3), b"sealed")?;
            assert_eq!(created, Created::Created);
            Ok(None)
        }),
        ("set_current", |root| {
            storage(root).set_current(Expect::Anything, &nth(1), None)?;
            Ok(None)
        }),
        ("replace", |root| {
            storage(root).replace(&nth(2), b"sealed anew")?;
            Ok(None)
        }),
        ("lock", |root| match storage(root).try_lock(&holder())? {
            TryLock::Held(lock) => Ok(Some(lock)),
            TryLock::Busy { info, .. } => panic!("{info}"),
        }),
    ];
    for (name, operation) in operations {
        let mut failures = 0;
        for free in 0.. {
            let mut hoard = hoard();
            hoard.truncate(hoard.len() - free);
            let result = operation(&root);
            drop(hoard);
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
        storage(&root).remove(&nth(3), None).unwrap();
    }

    // A lock that cannot be given back for want of a handle is free all the same.
    let TryLock::Held(lock) = storage(&root).try_lock(&holder()).unwrap() else {
        panic!("nobody else locks");
    };
    let holder_then = lock.info().clone();
    let hoard = hoard();
    assert_io(&lock.unlock().unwrap_err(), "too many files");
    drop(hoard);
    let TryLock::Held(lock) = storage(&root).try_lock(&holder()).unwrap() else {
        panic!("it is stuck");
    };
    assert_eq!(lock.took_over(), Some(&holder_then));
}

/// Every handle that the process may still open.
fn hoard() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}
