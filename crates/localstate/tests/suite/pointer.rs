//! `current`: moved as one step with what is expected of it, never dangling, and repaired when it is damaged.

use crate::support::{
    self, LONG, Partner, backend, create, current, lock_and_token, note, nth, stack_directory, store, text,
};
use rustix::fs::{CWD, FileType, Mode};
use sdk_state::{Backend as _, ErrorKind, Expect, LockToken, Revision};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// What a process is told of the lock that its parent holds.
const TOKEN: &str = "LOCALSTATE_TEST_TOKEN";

#[test]
fn threads_that_count_by_compare_and_set_lose_no_count() {
    let root = tempfile::tempdir().unwrap();
    let (_lock, token) = lock_and_token(root.path());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| count_up(root.path(), 15, &token));
        }
    });
    assert_eq!(text(&store(root.path()).head().unwrap().unwrap().document), "60");
}

/// They share the lock of their parent.
#[test]
fn processes_that_count_by_compare_and_set_lose_no_count() {
    let root = tempfile::tempdir().unwrap();
    let (_lock, token) = lock_and_token(root.path());
    let partners: Vec<_> = (0..4)
        .map(|_| {
            let mut command = support::process("pointer::process_that_counts", root.path());
            command.env(TOKEN, token.as_str());
            Partner::start(command)
        })
        .collect();
    for partner in partners {
        partner.end();
    }
    assert_eq!(text(&store(root.path()).head().unwrap().unwrap().document), "60");
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_counts() {
    if let Some(root) = support::given_root() {
        count_up(&root, 15, &std::env::var(TOKEN).unwrap().parse().unwrap());
    }
}

fn count_up(root: &Path, times: u32, token: &LockToken) {
    let store = store(root);
    for _ in 0..times {
        loop {
            // Others write first and move then, so nothing is current for a while although there are snapshots.
            let old = store.backend().current().unwrap().map(|pointer| pointer.revision);
            let count: u32 = old
                .as_ref()
                .map_or(0, |rev| text(&store.get(rev).unwrap()).parse().unwrap());
            match support::save(&store, &note(count + 1), None, old.as_ref(), token) {
                Ok(_) => break,
                Err(error) => assert!(error.is_current_moved(), "{error:?}"),
            }
        }
    }
}

#[test]
fn deletes_and_moves_together_never_leave_current_dangling() {
    let root = tempfile::tempdir().unwrap();
    let (_lock, token) = lock_and_token(root.path());
    let moving = AtomicBool::new(true);
    let (deleted, refused, read) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let backend = backend(root.path());
            while moving.load(Ordering::SeqCst) {
                for rev in backend.list().unwrap() {
                    match backend.remove(&rev, Some(&token)) {
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
                match store.head() {
                    Ok(head) => read.fetch_add(usize::from(head.is_some()), Ordering::SeqCst),
                    // A pointer to what does not exist is `Damaged`.
                    Err(error) => {
                        assert!(matches!(error.kind(), ErrorKind::PointerLost { .. }), "{error:?}");
                        0
                    }
                };
            }
        });
        let store = store(root.path());
        let mut moves = 0;
        while moves < 100 || deleted.load(Ordering::SeqCst) < 50 || refused.load(Ordering::SeqCst) == 0 {
            match support::save(&store, &note(moves), None, Expect::Anything, &token) {
                Ok(_) => moves += 1,
                Err(error) => assert!(error.is_not_found(), "deleted before the move: {error}"),
            }
        }
        moving.store(false, Ordering::SeqCst);
    });
    assert!(store(root.path()).head().unwrap().is_some());
    assert!(read.into_inner() > 0);
    assert!(support::leftovers(root.path()).is_empty());
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
fn a_damaged_pointer_is_never_none_and_is_repaired() {
    for (damage, make) in damages() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path());
        let old = store.write(&note("old"), None).unwrap();
        make(&stack_directory(root.path()).join("current"));

        let error = store.current().unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Damaged, "{damage}");
        assert!(
            error.to_string().contains("make a revision current"),
            "{damage}: {error}"
        );
        let error = store.delete(&old).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Damaged, "{damage}");
        let (lock, token) = lock_and_token(root.path());
        for expected in [Expect::Nothing, Expect::Revision(&old)] {
            let error = store.backend().set_current(expected, &old, &token).unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::Damaged, "{damage}");
        }
        lock.unlock().unwrap();
        assert_eq!(store.list().unwrap(), [old], "{damage}");

        let new = store.write(&note("new"), None).unwrap();
        store.set_current(&new).unwrap();
        let head = store.head().unwrap().unwrap();
        assert_eq!((head.revision, head.document), (new, note("new")), "{damage}");
        assert!(support::leftovers(root.path()).is_empty(), "{damage}");
    }
}

/// The error said to make a revision current, and that failed. What is in the directory is kept.
#[test]
fn a_directory_in_place_of_the_pointer_is_replaced() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let rev = store.write(&note("new"), None).unwrap();
    let directory = stack_directory(root.path()).join("current");
    for content in [None, Some("precious")] {
        let _ = fs::remove_file(&directory);
        fs::create_dir(&directory).unwrap();
        if let Some(content) = content {
            fs::write(directory.join("file"), content).unwrap();
        }
        assert_eq!(store.current().unwrap_err().kind(), &ErrorKind::Damaged);
        store.set_current(&rev).unwrap();
        assert_eq!(store.current().unwrap().as_ref(), Some(&rev));
        let aside = support::leftovers(&stack_directory(root.path()));
        assert_eq!(aside.len(), usize::from(content.is_some()));
        for name in aside {
            let file = stack_directory(root.path()).join(name).join("file");
            assert_eq!(fs::read_to_string(file).unwrap(), "precious");
        }
    }
}

#[test]
fn blanks_around_the_name_and_a_missing_line_feed_are_accepted() {
    let root = tempfile::tempdir().unwrap();
    create(&backend(root.path()), &nth(1));
    for content in [
        "2026-07-10T12:00:01Z",
        " 2026-07-10T12:00:01Z \r\n",
        "\n2026-07-10T12:00:01Z\n\n",
    ] {
        fs::write(stack_directory(root.path()).join("current"), content).unwrap();
        assert_eq!(current(root.path()), Some(nth(1)), "{content:?}");
    }
    support::point_at(root.path(), &nth(1)).unwrap();
    let content = fs::read(stack_directory(root.path()).join("current")).unwrap();
    assert_eq!(content, b"2026-07-10T12:00:01Z\n");
}

#[test]
fn the_expected_revision_is_compared_and_the_error_names_both() {
    let root = tempfile::tempdir().unwrap();
    let backend = backend(root.path());
    let (one, two) = (nth(1), nth(2));
    create(&backend, &one);
    create(&backend, &two);
    let (_lock, token) = lock_and_token(root.path());
    let expect_moved = |expected: Option<&Revision>, found: Option<&Revision>| {
        let error = backend.set_current(expected.into(), &two, &token).unwrap_err();
        let kind = ErrorKind::CurrentMoved {
            expected: expected.cloned(),
            found: found.cloned(),
        };
        assert_eq!(error.kind(), &kind);
        assert_eq!(current(root.path()).as_ref(), found);
    };
    expect_moved(Some(&one), None);
    let pointer = backend.set_current(Expect::Nothing, &one, &token).unwrap();
    assert_eq!(backend.current().unwrap().as_ref(), Some(&pointer));
    expect_moved(None, Some(&one));
    expect_moved(Some(&two), Some(&one));
    backend
        .set_current(Expect::Pointer(&pointer), &two, &token)
        .unwrap();
    assert_eq!(current(root.path()), Some(two));
    assert_eq!(support::leftovers(root.path()), [""; 0]);
}

#[test]
fn only_an_existing_snapshot_that_is_not_empty_becomes_current() {
    let root = tempfile::tempdir().unwrap();
    create(&backend(root.path()), &nth(1));
    fs::write(support::snapshot_file(root.path(), &nth(2)), "").unwrap();
    symlink(
        support::snapshot_file(root.path(), &nth(1)),
        support::snapshot_file(root.path(), &nth(3)),
    )
    .unwrap();
    fs::create_dir(support::snapshot_file(root.path(), &nth(4))).unwrap();
    for n in 2..6 {
        let error = support::point_at(root.path(), &nth(n)).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::NotFound, "{n}");
    }
    assert_eq!(current(root.path()), None);
    assert!(support::leftovers(root.path()).is_empty());
}

/// A retry after a failed flush was told that nothing has changed, and flushed nothing: a power cut took the move.
#[test]
fn a_move_to_the_current_revision_flushes_it_again() {
    let root = tempfile::tempdir().unwrap();
    create(&backend(root.path()), &nth(1));
    support::point_at(root.path(), &nth(1)).unwrap();
    let command = support::process("pointer::process_that_moves_in_vain", root.path());
    let Some(calls) = support::traced(&command, "fsync", &[]) else {
        return;
    };
    let flushed = |path: &str| {
        calls
            .lines()
            .any(|line| line.contains("fsync(") && line.contains(path))
    };
    assert!(flushed("/network/prod>"), "{calls}");
    assert!(flushed("/network/prod/snapshots>"), "{calls}");
    assert!(flushed("/network/prod/.current."), "{calls}");
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_moves_in_vain() {
    let Some(root) = support::given_root() else { return };
    let lock = store(&root).lock("test", LONG).unwrap();
    backend(&root)
        .set_current(Expect::Revision(&nth(1)), &nth(1), lock.token().unwrap())
        .unwrap();
}
