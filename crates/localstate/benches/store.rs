//! Write, set_current, read and list, each taking turns with its floor on the same disk.
//!
//! No harness that measures one thing after the other: the time of a flush drifts by more than the ratios that are wanted.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on stops, and prints what it finds"
)]

mod support;

use sdk_state::{Expect, Revision, Wait};
use std::env;
use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};
use support::{alternate, floor, report_with_floor, rounds, workload};

fn main() {
    if !env::args().any(|argument| argument == "--bench") {
        return;
    }
    for (entries, times) in [(10, 300), (1_000, 100), (10_000, 40)] {
        snapshots(entries, rounds(times, 5));
    }
    list(rounds(10_000, 1_000), rounds(50, 5));
}

/// How long `operation` takes, with what it gives.
fn timed<T>(operation: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = black_box(operation());
    (start.elapsed(), result)
}

fn snapshots(entries: usize, rounds: usize) {
    let directory = support::directory();
    let root = directory.path().join("root");
    let size = format!("{entries} entries");
    let state = support::state(entries);
    let store = support::store(&root, workload::STACK);
    let lock = store.lock("bench", Wait::none()).unwrap();
    let token = lock.token().unwrap();
    let set_current = |revision: &Revision| {
        store
            .backend()
            .set_current(Expect::Anything, revision, token)
            .unwrap();
    };
    let revision = support::save(&store, &state, token);
    let file = support::only_file(&support::snapshots(&root, workload::STACK));
    let sealed = fs::read(&file).unwrap();

    // What the floor writes lies beside the store, in directories of the same shape.
    let floor_snapshots = directory.path().join("floor/snapshots");
    fs::create_dir_all(&floor_snapshots).unwrap();
    let floor_snapshots = floor::open_directory(&floor_snapshots);
    let floor_stack = floor::open_directory(&directory.path().join("floor"));
    let pointer = format!("{revision}\n");
    let mut names = (0..).map(|number| format!("{revision}_{number}.json.enc"));
    let mut next_name = || names.next().unwrap_or_default();

    let (time, least) = alternate(
        rounds,
        || timed(|| store.write(&state, None).unwrap()).0,
        || {
            let name = next_name();
            timed(|| floor::write(&floor_snapshots, &name, &sealed)).0
        },
    );
    report_with_floor("write", &size, time, "the same file, rename and flushes", least);

    let written: Vec<Revision> = store.list().unwrap();
    let mut turn = written.iter().cycle();
    let (time, least) = alternate(
        rounds,
        || {
            let revision = turn.next().unwrap_or(&revision);
            timed(|| set_current(revision)).0
        },
        || timed(|| floor::replace(&floor_stack, "current", pointer.as_bytes())).0,
    );
    report_with_floor(
        "set_current",
        &size,
        time,
        "the same file, rename and flushes",
        least,
    );

    let (time, least) = alternate(
        rounds,
        || timed(|| support::save(&store, &state, token)).0,
        || {
            let name = next_name();
            timed(|| {
                floor::write(&floor_snapshots, &name, &sealed);
                floor::replace(&floor_stack, "current", pointer.as_bytes());
            })
            .0
        },
    );
    report_with_floor(
        "write + set_current",
        &size,
        time,
        "the same files, renames and flushes",
        least,
    );

    let (time, least) = alternate(
        rounds * 2,
        || timed(|| store.head().unwrap()).0,
        || timed(|| floor::read(&file)).0,
    );
    report_with_floor("read current", &size, time, "the same file's bytes", least);
    support::report("snapshot on disk", &size, "bytes", sealed.len() as f64);
}

fn list(revisions: usize, rounds: usize) {
    let directory = support::directory();
    let store = support::store(directory.path(), workload::STACK);
    store.write(&support::state(10), None).unwrap();
    let snapshots = support::snapshots(directory.path(), workload::STACK);
    support::multiply(&snapshots, revisions);
    assert_eq!(store.list().unwrap().len(), revisions);
    let (time, least) = alternate(
        rounds,
        || timed(|| store.list().unwrap()).0,
        || timed(|| floor::list(&snapshots)).0,
    );
    report_with_floor(
        "list",
        &format!("{revisions} revisions"),
        time,
        "the directory's names",
        least,
    );
}
