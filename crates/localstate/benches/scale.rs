//! What many revisions, many stacks and one large snapshot cost, and a stack that grows resource by resource. Each case is
//! a process of its own, so that its memory is its own.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on stops, and prints what it finds"
)]

mod support;

use localstate::LocalCatalog;
use sdk_state::{Catalog as _, Expect, Snapshot as _, State, Wait};
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use support::{report, rounds, workload};
use time::OffsetDateTime;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["revisions", number] => many_revisions(number.parse().unwrap()),
        ["stacks", number] => many_stacks(number.parse().unwrap()),
        ["entries", number] => many_entries(number.parse().unwrap()),
        ["create", number] => create(number.parse().unwrap(), true),
        ["create-untimed", number] => create(number.parse().unwrap(), false),
        _ if arguments.contains(&"--bench") => {
            // Each also at a tenth: ten times as much must take about ten times as long where all of it is touched, and
            // the same where it is not.
            for (case, full) in [("revisions", 100_000), ("stacks", 5_000), ("entries", 200_000)] {
                run(case, rounds(full / 10, full / 100));
                run(case, rounds(full, full / 10));
            }
            for resources in [50, 200, 1_000, 5_000] {
                if resources <= rounds(5_000, 200) {
                    run("create", resources);
                    count_flushes(resources);
                }
            }
        }
        _ => {}
    }
}

fn run(case: &str, number: usize) {
    let status = Command::new(env::current_exe().unwrap())
        .args([case, &number.to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "{case} {number}");
}

fn report_time<T>(what: &str, size: &str, operation: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = operation();
    report(what, size, "s", start.elapsed().as_secs_f64());
    result
}

fn report_peak(size: &str) {
    if let Some(bytes) = support::peak_memory() {
        report("scale: peak memory", size, "bytes", bytes);
    }
}

/// All but one are copies of it that were not flushed: only their names count.
fn many_revisions(number: usize) {
    let directory = support::directory();
    let size = format!("{number} revisions");
    let store = support::store(directory.path(), workload::STACK);
    let state = support::state(10);
    let first = store.write(&state, None).unwrap();
    store.set_current(&first).unwrap();
    let snapshots = support::snapshots(directory.path(), workload::STACK);
    let revisions = support::multiply(&snapshots, number);
    // Else the first flush that is measured writes all of them.
    rustix::fs::sync();

    assert_eq!(
        report_time("scale: list", &size, || store.list().unwrap()).len(),
        number
    );
    let second = median("scale: write", &size, |_| store.write(&state, None).unwrap());
    let lock = store.lock("bench", Wait::none()).unwrap();
    let token = lock.token().unwrap();
    median("scale: set_current", &size, |_| {
        store
            .backend()
            .set_current(Expect::Anything, &second, token)
            .unwrap();
    });
    lock.unlock().unwrap();
    median("scale: read current", &size, |_| store.head().unwrap());
    median("scale: delete one", &size, |turn| {
        store.delete(&revisions[turn * 7]).unwrap();
    });
    report_peak(&size);
}

/// Reports the median of 21 and gives what the last one gave.
fn median<T>(what: &str, size: &str, mut operation: impl FnMut(usize) -> T) -> T {
    let mut times = Vec::new();
    let mut last = None;
    for turn in 0..21 {
        let start = Instant::now();
        last = Some(operation(turn));
        times.push(start.elapsed());
    }
    report(what, size, "s", support::percentile(&mut times, 50).as_secs_f64());
    last.unwrap()
}

/// The directories of all but one are empty and were not flushed.
fn many_stacks(number: usize) {
    let directory = support::directory();
    let size = format!("{number} stacks");
    let state = support::state(10);
    let store = support::store(directory.path(), workload::STACK);
    let revision = store.write(&state, None).unwrap();
    store.set_current(&revision).unwrap();
    for number in 1..number {
        let stack = format!("s{number}");
        fs::create_dir_all(support::snapshots(directory.path(), &stack)).unwrap();
    }
    rustix::fs::sync();

    let catalog = LocalCatalog::new(directory.path());
    assert_eq!(
        report_time("scale: list stacks", &size, || catalog.stacks().unwrap()).len(),
        number
    );
    median("scale: open and read one", &size, |_| {
        support::store(directory.path(), workload::STACK).head().unwrap()
    });
    median("scale: write to a stack", &size, |_| {
        store.write(&state, None).unwrap()
    });
    report_peak(&size);
}

fn many_entries(number: usize) {
    let directory = support::directory();
    let size = format!("{number} entries");
    let mut state = support::state(number);
    let store = support::store(directory.path(), workload::STACK);
    let json = report_time("scale: encode", &size, || state.encode().unwrap());
    report_time("scale: decode", &size, || State::decode(&json).unwrap());
    report("scale: JSON", &size, "bytes", json.len() as f64);
    drop(json);
    let revision = report_time("scale: write", &size, || store.write(&state, None).unwrap());
    store.set_current(&revision).unwrap();
    report_time("scale: read current", &size, || store.head().unwrap());
    let addresses: Vec<String> = (0..number).step_by(2).map(workload::address).collect();
    report_time("scale: remove every other entry", &size, || {
        for address in &addresses {
            state.remove(address).unwrap();
        }
    });
    assert_eq!(state.len(), number / 2);
    report_peak(&size);
}

/// A run of a tool: the lock, and a write and a move of `current` after each resource.
fn create(resources: usize, is_timed: bool) {
    let directory = support::directory();
    let size = format!("{resources} resources");
    let source = support::state(resources);
    let id = format!("{}/{}", workload::FACTORY, workload::STACK)
        .parse()
        .unwrap();
    let mut state = State::new(&id, "v1", "abc", OffsetDateTime::UNIX_EPOCH).unwrap();
    let store = support::store(directory.path(), workload::STACK);
    let before = bytes_written();
    let start = Instant::now();
    let lock = store.lock("bench", Wait::none()).unwrap();
    for entry in source.entries() {
        state.upsert(entry.clone());
        support::save(&store, &state, lock.token().unwrap());
    }
    lock.unlock().unwrap();
    let time = start.elapsed();
    if is_timed {
        report("create: time", &size, "s", time.as_secs_f64());
        if let (Some(before), Some(after)) = (before, bytes_written()) {
            report("create: bytes written", &size, "bytes", after - before);
        }
        report(
            "create: files",
            &size,
            "count",
            count_files(directory.path()) as f64,
        );
    }
}

/// What this process has handed to the kernel to write.
fn bytes_written() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/io").ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("wchar: "))?
        .parse()
        .ok()
}

fn count_files(directory: &Path) -> usize {
    let entries = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .map(|path| if path.is_dir() { count_files(&path) } else { 1 })
        .sum()
}

/// In a run of its own, since counting takes time.
fn count_flushes(resources: usize) {
    let directory = support::directory();
    let log = directory.path().join("log");
    let traced = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "--seccomp-bpf",
            "-e",
            "trace=fsync,fdatasync,sync_file_range,syncfs,sync",
            "-o",
        ])
        .arg(&log)
        .arg(env::current_exe().unwrap())
        .args(["create-untimed", &resources.to_string()])
        .stderr(Stdio::null())
        .status();
    if traced.is_ok_and(|status| status.success()) {
        let calls = fs::read_to_string(&log).unwrap();
        let flushes = calls
            .lines()
            .filter(|line| line.contains("sync") && !line.contains("resumed"))
            .count();
        report(
            "create: flushes",
            &format!("{resources} resources"),
            "count",
            flushes as f64,
        );
    }
}
