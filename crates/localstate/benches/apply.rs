//! A run of N resources from an empty stack, taking turns with its floor: appending the same bytes and flushing after each, in
//! one thread.
//!
//! With `APPLY=DIRECTORY RESOURCES WORKERS` it is one run and nothing else, to be traced.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on stops, and prints what it finds"
)]

mod support;

use sdk_state::{Entry, Run};
use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::{alternate, report, report_with_floor, rounds, workload};

const FLOOR: &str = "the same bytes, appended and flushed";
const WAIT: Duration = Duration::from_secs(10);

fn main() {
    if let Ok(once) = env::var("APPLY") {
        let words: Vec<&str> = once.split(' ').collect();
        let (resources, workers) = (words[1].parse().unwrap(), words[2].parse().unwrap());
        let entries = entries(resources);
        // What is counted begins here.
        File::open("/dev/null").unwrap();
        apply(Path::new(words[0]), &entries, workers);
        return;
    }
    if !env::args().any(|argument| argument == "--bench") {
        return;
    }
    let (few, many) = if support::is_quick() {
        (100, 500)
    } else {
        (1_000, 5_000)
    };
    let entries = entries(2 * many);
    for (resources, workers) in [(many, 1), (many, 10), (few, 1), (2 * many, 1)] {
        runs(&entries[..resources], workers);
    }
    recovery(0, few);
    recovery(12 * many, many);
    nothing_changed();
}

fn entries(count: usize) -> Vec<Entry> {
    support::state(count).entries().cloned().collect()
}

fn runs(entries: &[Entry], workers: usize) {
    let directory = support::directory();
    let bytes = support::encoded(entries);
    let mut number = 0;
    let mut fresh = || {
        number += 1;
        directory.path().join(number.to_string())
    };
    let floor_at = directory.path().join("floor");
    let (time, floor) = alternate(
        rounds(5, 1),
        || apply(&fresh(), entries, workers),
        || append(&floor_at, &bytes),
    );
    let size = format!(
        "{} resources, {workers} {}",
        entries.len(),
        if workers == 1 { "worker" } else { "workers" }
    );
    report_with_floor("apply", &size, time, FLOOR, floor);
    if workers == 1 {
        report(
            "scale: apply",
            &format!("{} resources", entries.len()),
            "s",
            time.as_secs_f64(),
        );
    }
    let root = directory.path().join("1");
    let kept = fs::read_dir(support::snapshots(&root, workload::STACK))
        .unwrap()
        .count();
    let journal = root.join(workload::FACTORY).join(workload::STACK).join("journal");
    report(
        "revisions left",
        &size,
        "count",
        (kept + usize::from(journal.exists())) as f64,
    );
}

/// One run; each worker records the next resource as soon as the last one is durable.
fn apply(root: &Path, entries: &[Entry], workers: usize) -> Duration {
    let store = support::store(root, workload::STACK);
    let start = Instant::now();
    let run = store.begin("apply", WAIT).unwrap();
    put_all(&run, entries, workers);
    run.finish("applied").unwrap();
    start.elapsed()
}

fn put_all(run: &Run, entries: &[Entry], workers: usize) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(entry) = entries.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run.put(entry.clone()).unwrap();
                }
            });
        }
    });
}

fn append(path: &Path, records: &[Vec<u8>]) -> Duration {
    let mut file = File::create(path).unwrap();
    let start = Instant::now();
    for record in records {
        file.write_all(record).unwrap();
        file.sync_data().unwrap();
    }
    start.elapsed()
}

/// Taking over from a run that died with all its changes in the journal, beside reading the base and saving the folded
/// snapshot. The more the base has, the longer a journal may get.
fn recovery(in_base: usize, changes: usize) {
    let directory = support::directory();
    let size = format!("{changes} changes of {in_base} entries");
    let entries = entries(in_base + changes);
    let (base, changed) = (support::state(in_base), &entries[in_base..]);
    let folded = support::state(in_base + changes);
    let root = directory.path().join("root");
    let floor = support::store(&directory.path().join("floor"), workload::STACK);
    let lock = floor.lock("bench", WAIT).unwrap();
    let floor_base = floor.write(&base, None).unwrap();
    let (time, least) = alternate(
        rounds(6, 1),
        || {
            let run = support::store(&root, workload::STACK)
                .begin("apply", WAIT)
                .unwrap();
            run.save(base.clone(), None).unwrap();
            put_all(&run, changed, 1);
            // As a death does, it leaves the journal.
            drop(run);
            let start = Instant::now();
            let run = support::store(&root, workload::STACK)
                .begin("apply", WAIT)
                .unwrap();
            let time = start.elapsed();
            assert_eq!(run.recovered(), changed.len() as u64);
            time
        },
        || {
            let start = Instant::now();
            floor.get(&floor_base).unwrap();
            support::save(&floor, &folded, lock.token().unwrap());
            start.elapsed()
        },
    );
    let floor_is = "reading the base and saving the folded snapshot";
    report_with_floor("begin after a death", &size, time, floor_is, least);
}

/// A run that changes nothing, beside its lock alone.
fn nothing_changed() {
    let directory = support::directory();
    let root = directory.path().join("root");
    apply(&root, &entries(10), 1);
    let store = support::store(&root, workload::STACK);
    let (time, floor) = alternate(
        rounds(50, 2),
        || {
            let start = Instant::now();
            store.begin("plan", WAIT).unwrap().finish(None).unwrap();
            start.elapsed()
        },
        || {
            let start = Instant::now();
            store.lock("plan", WAIT).unwrap().unlock().unwrap();
            start.elapsed()
        },
    );
    report_with_floor(
        "run without a change",
        "10 entries",
        time,
        "the lock alone",
        floor,
    );
}
