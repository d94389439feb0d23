//! `current`: moved as one step with what is expected of it, never dangling, and repaired when it is damaged.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic")]

mod support;

use rustix::fs::{CWD, FileType, Mode};
use sdk_state::{Backend as _, ErrorKind, Expect, Optional as _, Storage as _, WriteOptions};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use support::{Partner, create, note, nth, stack_directory, storage, store, text};

#[test]
fn threads_that_count_in_the_snapshot_by_compare_and_set_lose_no_count() {
    let root = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| count_up(root.path(), 15));
        }
    });
    assert_eq!(text(&store(root.path()).current().unwrap()), "60");
}

#[test]
fn processes_that_count_in_the_snapshot_by_compare_and_set_lose_no_count() {
    let root = tempfile::tempdir().unwrap();
    let partners: Vec<_> = (0..4)
        .map(|_| Partner::start(support::process("process_that_counts", root.path())))
        .collect();
    for partner in partners {
        partner.end();
    }
    assert_eq!(text(&store(root.path()).current().unwrap()), "60");
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_counts() {
    if let Some(root) = support::given_root() {
        count_up(&root, 15);
    }
}

fn count_up(root: &Path, times: u32) {
    let store = store(root);
    for _ in 0..times {
        loop {
            let head = store.head().optional().unwrap();
            let count: u32 = head.as_ref().map_or(0, |(_, note)| text(note).parse().unwrap());
            let next = store.write(&note(count + 1), &WriteOptions::new()).unwrap();
            let expect = Expect::Exactly(head.as_ref().map(|(rev, _)| rev));
            match store.compare_and_set_current(expect, &next, None) {
                Ok(()) => break,
                Err(error) => assert!(
                    matches!(error.kind(), ErrorKind::CurrentMoved { .. }),
                    "{error:?}"
                ),
            }
        }
    }
}

#[test]
fn deletes_and_moves_together_never_leave_current_dangling() {
    let root = tempfile::tempdir().unwrap();
    let moving = AtomicBool::new(true);
    let (deleted, refused, read) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let storage = storage(root.path());
            while moving.load(Ordering::SeqCst) {
                for rev in storage.list().unwrap() {
                    match storage.remove(&rev, None) {
                        Ok(()) => deleted.fetch_add(1, Ordering::SeqCst),
                        Err(error) => {
                            assert_eq!(error.kind(), &ErrorKind::RevisionIsCurrent);
                            refused.fetch_add(1, Ordering::SeqCst)
                        }
                    };
                }
            }
        });
        scope.spawn(|| {
            let store = store(root.path());
            while moving.load(Ordering::SeqCst) {
                // A pointer to what does not exist is `Damaged`.
                if store.head().optional().unwrap().is_some() {
                    read.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        let store = store(root.path());
        let mut moves = 0;
        while moves < 100 || deleted.load(Ordering::SeqCst) < 50 || refused.load(Ordering::SeqCst) == 0 {
            let rev = store.write(&note(moves), &WriteOptions::new()).unwrap();
            match store.set_current(&rev) {
                Ok(()) => moves += 1,
                Err(error) => assert_eq!(error.kind(), &ErrorKind::NotFound, "deleted before the move"),
            }
        }
        moving.store(false, Ordering::SeqCst);
    });
    assert!(store(root.path()).head().is_ok());
    assert!(read.into_inner() > 0);
    assert!(support::litter(root.path()).is_empty());
}

/// What damages the pointer at this path.
type Damage = Box<dyn Fn(&Path)>;

/// Every way to damage the pointer, by name.
fn damages() -> Vec<(&'static str, Damage)> {
    fn content(content: impl Into<Vec<u8>>) -> Damage {
        let content = content.into();
        Box::new(move |path| fs::write(path, &content).unwrap())
    }
    let mut long = b"2026-07-10T12:00:00Z\n".to_vec();
    long.resize(1 << 20, b' ');
    vec![
        ("empty", content("")),
        ("blank", content(" \n")),
        ("zeros", content([0; 21])),
        (
            "two lines",
            content("2026-07-10T12:00:00Z\n2026-07-10T12:00:01Z\n"),
        ),
        ("a way out", content("../x\n")),
        ("no UTF-8", content(*b"\xff\xfe\n")),
        ("1 MiB of a", content(vec![b'a'; 1 << 20])),
        ("1 MiB of blanks after a name", content(long)),
        (
            "a link to a good one",
            Box::new(|path| {
                fs::write(path.with_file_name("good"), "2026-07-10T12:00:00Z\n").unwrap();
                symlink("good", path).unwrap();
            }),
        ),
        (
            "a link to nothing",
            Box::new(|path| symlink("nothing", path).unwrap()),
        ),
        (
            "a pipe",
            Box::new(|path| {
                rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
            }),
        ),
    ]
}

#[test]
fn a_damaged_pointer_is_never_taken_for_none_and_set_current_repairs_it() {
    for (damage, make) in damages() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path());
        let old = nth(0);
        create(store.storage(), &old);
        make(&stack_directory(root.path()).join("current"));

        let error = store.current_rev().unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Damaged, "{damage}");
        assert!(error.to_string().contains("set_current"), "{damage}: {error}");
        let error = store.delete(&old, None).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Damaged, "{damage}");
        for expected in [None, Some(&old)] {
            let error = store
                .compare_and_set_current(Expect::Exactly(expected), &old, None)
                .unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::Damaged, "{damage}");
        }
        assert_eq!(store.list().unwrap(), [old], "{damage}");

        let new = store.write(&note("new"), &WriteOptions::new()).unwrap();
        store.set_current(&new).unwrap();
        assert_eq!(store.head().unwrap(), (new, note("new")), "{damage}");
        assert!(support::litter(root.path()).is_empty(), "{damage}");
    }
}

/// No file can be put in the place of a directory: the repair is refused, and nothing else is.
#[test]
fn a_directory_in_the_place_of_the_pointer_is_damage_that_must_be_removed_by_hand() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    create(store.storage(), &nth(0));
    fs::create_dir(stack_directory(root.path()).join("current")).unwrap();
    assert_eq!(store.current_rev().unwrap_err().kind(), &ErrorKind::Damaged);
    let rev = store.write(&note("new"), &WriteOptions::new()).unwrap();
    assert_eq!(store.set_current(&rev).unwrap_err().kind(), &ErrorKind::Io);
    assert!(support::litter(root.path()).is_empty());
}

#[test]
fn blanks_around_the_name_and_a_missing_line_feed_are_accepted() {
    let root = tempfile::tempdir().unwrap();
    let storage = storage(root.path());
    create(&storage, &nth(1));
    for content in [
        "2026-07-10T12:00:01Z",
        " 2026-07-10T12:00:01Z \r\n",
        "\n2026-07-10T12:00:01Z\n\n",
    ] {
        fs::write(stack_directory(root.path()).join("current"), content).unwrap();
        assert_eq!(storage.current().unwrap(), Some(nth(1)), "{content:?}");
    }
    storage.set_current(Expect::Anything, &nth(1), None).unwrap();
    let content = fs::read(stack_directory(root.path()).join("current")).unwrap();
    assert_eq!(content, b"2026-07-10T12:00:01Z\n");
}

#[test]
fn what_is_expected_is_compared_and_the_error_says_what_was_found() {
    let root = tempfile::tempdir().unwrap();
    let storage = storage(root.path());
    let (one, two) = (nth(1), nth(2));
    create(&storage, &one);
    create(&storage, &two);
    let expect_moved = |expected: Option<&sdk_state::Revision>, found: Option<&sdk_state::Revision>| {
        let error = storage
            .set_current(Expect::Exactly(expected), &two, None)
            .unwrap_err();
        let kind = ErrorKind::CurrentMoved {
            expected: expected.cloned(),
            found: found.cloned(),
        };
        assert_eq!(error.kind(), &kind);
        assert_eq!(storage.current().unwrap().as_ref(), found);
    };
    expect_moved(Some(&one), None);
    storage.set_current(Expect::Exactly(None), &one, None).unwrap();
    expect_moved(None, Some(&one));
    expect_moved(Some(&two), Some(&one));
    storage
        .set_current(Expect::Exactly(Some(&one)), &two, None)
        .unwrap();
    assert_eq!(storage.current().unwrap(), Some(two));
    assert!(support::litter(root.path()).is_empty());
}

#[test]
fn only_an_existing_snapshot_that_is_not_empty_becomes_current() {
    let root = tempfile::tempdir().unwrap();
    let storage = storage(root.path());
    create(&storage, &nth(1));
    fs::write(support::snapshot_file(root.path(), &nth(2)), "").unwrap();
    symlink(
        support::snapshot_file(root.path(), &nth(1)),
        support::snapshot_file(root.path(), &nth(3)),
    )
    .unwrap();
    fs::create_dir(support::snapshot_file(root.path(), &nth(4))).unwrap();
    for n in 2..6 {
        let error = storage.set_current(Expect::Anything, &nth(n), None).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::NotFound, "{n}");
    }
    assert_eq!(storage.current().unwrap(), None);
    assert!(support::litter(root.path()).is_empty());
}

#[test]
fn the_current_revision_is_not_deleted_and_an_absent_one_may_be() {
    let root = tempfile::tempdir().unwrap();
    let storage = storage(root.path());
    storage.remove(&nth(1), None).unwrap();
    assert!(support::names_below(root.path()).is_empty(), "nothing was made");
    create(&storage, &nth(1));
    create(&storage, &nth(2));
    storage.set_current(Expect::Anything, &nth(1), None).unwrap();
    let error = storage.remove(&nth(1), None).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::RevisionIsCurrent);
    storage.remove(&nth(2), None).unwrap();
    storage.remove(&nth(2), None).unwrap();
    assert_eq!(storage.list().unwrap(), [nth(1)]);
}
