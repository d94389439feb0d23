//! Writing: whole or not at all, never over another one, always after the current one, whatever the clock does.

use crate::support::{
    self, Partner, Watched, backend, frozen, lock_and_token, moment, note, revision, store, store_over,
};
use sdk_state::{Backend as _, Expect, Revision};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

const NOON: &str = "2026-07-10T12:00:00Z";

#[test]
fn a_write_is_read_by_others_and_leaves_nothing_beside_it() {
    let root = tempfile::tempdir().unwrap();
    let rev = frozen(root.path(), NOON).write(&note("hello"), None).unwrap();
    assert_eq!(store(root.path()).get(&rev).unwrap(), note("hello"));
    assert_eq!(
        support::names_below(root.path()),
        [
            "network",
            "network/prod",
            "network/prod/snapshots",
            "network/prod/snapshots/2026-07-10T12:00:00Z.json.enc"
        ]
    );
}

#[test]
fn readers_see_a_snapshot_whole_or_not_at_all() {
    const BYTES: usize = 100_000;
    let root = tempfile::tempdir().unwrap();
    let writers_at_work = AtomicUsize::new(2);
    let reads = AtomicUsize::new(0);
    thread::scope(|scope| {
        for writer in 0..2 {
            let (root, writers_at_work) = (root.path(), &writers_at_work);
            scope.spawn(move || {
                let backend = backend(root);
                for n in 0..50 {
                    let rev = support::nth(writer * 50 + n);
                    let _ = backend.create(&rev, &vec![n as u8; BYTES]).unwrap();
                }
                writers_at_work.fetch_sub(1, Ordering::SeqCst);
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                let backend = backend(root.path());
                while writers_at_work.load(Ordering::SeqCst) > 0 {
                    for rev in backend.list().unwrap() {
                        let bytes = backend.read(&rev, u64::MAX).unwrap();
                        assert_eq!(bytes.len(), BYTES, "{rev}");
                        assert!(bytes.iter().all(|&byte| byte == bytes[0]), "{rev}");
                        reads.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert!(reads.into_inner() > 0);
    assert_eq!(backend(root.path()).list().unwrap().len(), 100);
}

#[test]
fn a_thousand_threads_on_a_frozen_clock_need_few_tries() {
    const WRITERS: usize = 1000;
    let root = tempfile::tempdir().unwrap();
    let tries = AtomicUsize::new(0);
    let start = Barrier::new(WRITERS);
    let written: Vec<(Revision, usize)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (root, start, tries) = (root.path(), &start, &tries);
                scope.spawn(move || {
                    let now = moment(NOON);
                    let watched = Watched::new(root);
                    let store = store_over(Arc::clone(&watched)).with_clock(move || now);
                    start.wait();
                    let rev = store.write(&note(writer), None).unwrap();
                    tries.fetch_add(watched.creates.load(Ordering::SeqCst), Ordering::SeqCst);
                    (rev, writer)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_all_own(root.path(), &written, WRITERS);
    // Each collision doubles the range: log2(1000) is 10. One more than linear probing would need 500.
    let mean = tries.into_inner() as f64 / WRITERS as f64;
    println!("{mean:.1} tries a write");
    assert!(mean < 20.0, "{mean} tries a write");
}

#[test]
fn eight_processes_on_a_frozen_clock_get_own_revisions() {
    let root = tempfile::tempdir().unwrap();
    let mut partners: Vec<_> = (0..8)
        .map(|process| {
            let mut command = support::process("writes::process_of_writers", root.path());
            command.env("FIRST_WRITER", (process * 125).to_string());
            Partner::start(command)
        })
        .collect();
    for partner in &mut partners {
        partner.expect("ready");
    }
    for partner in &mut partners {
        partner.tell();
    }
    let mut written = Vec::new();
    for mut partner in partners {
        while let Some(line) = partner.hear() {
            let (rev, writer) = line.split_once(' ').unwrap();
            written.push((revision(rev), writer.parse().unwrap()));
        }
        partner.end();
    }
    assert_all_own(root.path(), &written, 1000);
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_of_writers() {
    let Some(root) = support::given_root() else { return };
    let first: usize = std::env::var("FIRST_WRITER").unwrap().parse().unwrap();
    let start = Barrier::new(126);
    thread::scope(|scope| {
        for writer in first..first + 125 {
            let (root, start) = (&root, &start);
            scope.spawn(move || {
                let store = frozen(root, NOON);
                start.wait();
                let rev = store.write(&note(writer), None).unwrap();
                support::tell(format!("{rev} {writer}"));
            });
        }
        support::tell("ready");
        support::hear();
        start.wait();
    });
}

/// Every revision was returned once, and holds what its own writer wrote.
fn assert_all_own(root: &std::path::Path, written: &[(Revision, usize)], count: usize) {
    let distinct: BTreeSet<_> = written.iter().map(|(rev, _)| rev.clone()).collect();
    assert_eq!((written.len(), distinct.len()), (count, count));
    let store = store(root);
    for (rev, writer) in written {
        assert_eq!(store.get(rev).unwrap(), note(writer), "{rev}");
    }
    assert_eq!(store.list().unwrap(), Vec::from_iter(distinct));
    assert!(support::leftovers(root).is_empty());
}

#[test]
fn writers_in_turn_on_a_frozen_clock_get_dense_suffixes() {
    let root = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..12)
        .map(|n| {
            let store = frozen(root.path(), NOON);
            store.write(&note(n), None).unwrap().to_string()
        })
        .collect();
    let mut expected = vec![NOON.to_owned()];
    expected.extend((1..12).map(|suffix| format!("{NOON}_{suffix}")));
    assert_eq!(names, expected);
}

#[test]
fn a_write_sorts_after_current_when_the_clock_steps_back() {
    let root = tempfile::tempdir().unwrap();
    let today = frozen(root.path(), NOON);
    let current = today.write(&note("today"), None).unwrap();
    today.set_current(&current).unwrap();
    let yesterday = frozen(root.path(), "2026-07-09T12:00:00Z");
    for suffix in 1..4 {
        let rev = yesterday.write(&note(suffix), None).unwrap();
        assert_eq!(rev.to_string(), format!("{NOON}_{suffix}"));
        yesterday.set_current(&rev).unwrap();
    }
}

#[test]
fn a_deleted_name_below_current_is_not_given_again() {
    let root = tempfile::tempdir().unwrap();
    let store = frozen(root.path(), NOON);
    let write = |text: &str| store.write(&note(text), None).unwrap();
    let first = write("first");
    let second = write("second");
    store.set_current(&second).unwrap();
    store.delete(&first).unwrap();
    assert_eq!(write("third").to_string(), format!("{NOON}_2"));
    assert_eq!(store.head().unwrap().unwrap().document, note("second"));
}

#[test]
fn deletes_make_no_write_fail_or_repeat_a_name() {
    let root = tempfile::tempdir().unwrap();
    let (_lock, token) = lock_and_token(root.path());
    let writing = AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            let backend = backend(root.path());
            while writing.load(Ordering::SeqCst) {
                for rev in backend.list().unwrap() {
                    // That it is current is the one reason to refuse.
                    if let Err(error) = backend.remove(&rev, Some(&token)) {
                        assert_eq!(error.kind(), &sdk_state::ErrorKind::RevisionIsCurrent);
                    }
                }
            }
        });
        let store = frozen(root.path(), NOON);
        let mut newest: Option<Revision> = None;
        while newest.as_ref().and_then(Revision::suffix) < Some(20) {
            let rev = store.write(&note("x"), None).unwrap();
            assert!(Some(&rev) > newest.as_ref(), "{rev} after {newest:?}");
            // It may be deleted before it becomes current.
            if store
                .backend()
                .set_current(Expect::Anything, &rev, &token)
                .is_ok()
            {
                newest = Some(rev);
            }
        }
        writing.store(false, Ordering::SeqCst);
    });
}
