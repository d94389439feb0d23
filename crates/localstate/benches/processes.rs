//! What needs more than one process: handing the lock over, what a waiter costs, and what a new process pays.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on stops, and prints what it finds"
)]

mod support;

use rustix::fs::FlockOperation;
use rustix::time::{ClockId, clock_gettime};
use sdk_state::Wait;
use std::env;
use std::fs::File;
use std::hint::black_box;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::{floor, percentile, report, report_with_floor, rounds, workload};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["take-turns", exclusion, root, hold, pause, until] => take_turns(
            Exclusion::named(exclusion),
            Path::new(root),
            milliseconds(hold),
            milliseconds(pause),
            Duration::from_nanos(until.parse().unwrap()),
        ),
        ["wait", exclusion, root, stack] => wait(Exclusion::named(exclusion), Path::new(root), stack),
        ["read", root] => read_first(Path::new(root)),
        ["write", root, entries] => write_first(Path::new(root), entries.parse().unwrap()),
        _ if arguments.contains(&"--bench") => {
            hand_over(1);
            hand_over(20);
            after_a_long_wait();
            for entries in [10, 1_000, 10_000] {
                new_processes(entries);
            }
        }
        _ => {}
    }
}

/// What the processes exclude each other with: the lock of the store, or as the floor an flock that the kernel hands over.
#[derive(Clone, Copy)]
enum Exclusion {
    Lock,
    Flock,
}

impl Exclusion {
    const BOTH: [Self; 2] = [Self::Lock, Self::Flock];

    fn name(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Flock => "flock",
        }
    }

    fn named(name: &str) -> Self {
        *Self::BOTH
            .iter()
            .find(|exclusion| exclusion.name() == name)
            .unwrap()
    }

    /// Waits for it. What is called in the end gives it back.
    fn acquire(self, root: &Path, stack: &str) -> Box<dyn FnOnce()> {
        match self {
            Self::Lock => {
                let store = support::store(root, stack);
                let lock = store.lock("bench", Wait::forever()).unwrap();
                Box::new(move || lock.unlock().unwrap())
            }
            Self::Flock => {
                let file = File::options()
                    .create(true)
                    .append(true)
                    .open(root.join(stack))
                    .unwrap();
                rustix::fs::flock(&file, FlockOperation::LockExclusive).unwrap();
                Box::new(move || drop(file))
            }
        }
    }
}

/// The clock that all processes share.
fn now() -> Duration {
    clock(ClockId::Monotonic)
}

fn clock(id: ClockId) -> Duration {
    let time = clock_gettime(id);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn milliseconds(text: &str) -> Duration {
    Duration::from_millis(text.parse().unwrap())
}

fn pause(time: Duration) {
    Wait::forever().pause(time);
}

fn spawn(arguments: &[&str]) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The numbers that a child prints, a line each.
fn answers(child: Child) -> Vec<Vec<u64>> {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| line.split(' ').map(|number| number.parse().unwrap()).collect())
        .collect()
}

/// A child: holds, lets go and comes again, and prints when it came, when it got it and when it let go.
fn take_turns(exclusion: Exclusion, root: &Path, hold: Duration, rest: Duration, until: Duration) {
    let mut turns = Vec::new();
    while now() < until {
        let came = now();
        let release = exclusion.acquire(root, workload::STACK);
        let got = now();
        pause(hold);
        let let_go = now();
        release();
        turns.push((came, got, let_go));
        // Without a pause the process that lets go would find it free again before the others do.
        pause(rest);
    }
    for (came, got, let_go) in turns {
        println!("{} {} {}", came.as_nanos(), got.as_nanos(), let_go.as_nanos());
    }
}

/// From letting go to somebody else's having it, with so many others waiting.
fn hand_over(waiters: usize) {
    let seconds = rounds(6, 1) as u64;
    let mut found = Exclusion::BOTH.map(|exclusion| {
        let directory = support::directory();
        let root = directory.path().to_str().unwrap();
        let until = (now() + Duration::from_secs(seconds)).as_nanos().to_string();
        let (hold, rest) = if waiters == 1 { ("15", "5") } else { ("3", "2") };
        let children: Vec<Child> = (0..=waiters)
            .map(|_| spawn(&["take-turns", exclusion.name(), root, hold, rest, &until]))
            .collect();
        let mut turns: Vec<Vec<u64>> = children.into_iter().flat_map(answers).collect();
        turns.sort_unstable_by_key(|turn| turn[1]);
        turns
            .windows(2)
            // A process that came after it was free has not waited for it.
            .filter(|turns| turns[1][0] < turns[0][2])
            .map(|turns| Duration::from_nanos(turns[1][1].saturating_sub(turns[0][2])))
            .collect::<Vec<_>>()
    });
    let [times, floors] = &mut found;
    let size = if waiters == 1 {
        "1 waiter".into()
    } else {
        format!("{waiters} waiters")
    };
    for (name, percent) in [("median", 50), ("99 of 100", 99)] {
        let (time, floor) = (percentile(times, percent), percentile(floors, percent));
        report_with_floor(
            &format!("hand-over, {name}"),
            &size,
            time,
            "a blocking flock",
            floor,
        );
    }
}

/// A child: waits once, and prints when it got it, how long that took and how much processor time.
fn wait(exclusion: Exclusion, root: &Path, stack: &str) {
    let (came, used) = (now(), clock(ClockId::ProcessCPUTime));
    let release = exclusion.acquire(root, stack);
    let got = now();
    let used = clock(ClockId::ProcessCPUTime) - used;
    release();
    println!(
        "{} {} {}",
        got.as_nanos(),
        (got - came).as_nanos(),
        used.as_nanos()
    );
}

fn after_a_long_wait() {
    let stacks: Vec<String> = (0..rounds(10, 2)).map(|number| format!("s{number}")).collect();
    let mut busy = Vec::new();
    let mut found = Exclusion::BOTH.map(|exclusion| {
        let directory = support::directory();
        let root = directory.path();
        let waiting: Vec<_> = stacks
            .iter()
            .map(|stack| {
                let release = exclusion.acquire(root, stack);
                let child = spawn(&["wait", exclusion.name(), root.to_str().unwrap(), stack]);
                (release, child)
            })
            .collect();
        pause(Duration::from_secs(rounds(5, 1) as u64));
        let mut times = Vec::new();
        for (release, child) in waiting {
            let let_go = now();
            release();
            let answer = &answers(child)[0];
            times.push(Duration::from_nanos(
                answer[0].saturating_sub(let_go.as_nanos() as u64),
            ));
            if matches!(exclusion, Exclusion::Lock) {
                busy.push(answer[2] as f64 * 100.0 / answer[1] as f64);
            }
        }
        times
    });
    let [times, floors] = &mut found;
    for (name, percent) in [("median", 50), ("longest", 100)] {
        let (time, floor) = (percentile(times, percent), percentile(floors, percent));
        report_with_floor(
            &format!("hand-over, {name}"),
            "a waiter of 5 s",
            time,
            "a blocking flock",
            floor,
        );
    }
    busy.sort_unstable_by(f64::total_cmp);
    report(
        "a waiter's share of a core",
        "a waiter of 5 s",
        "%",
        busy[busy.len() / 2],
    );
}

/// A child: reads what is current, then the bytes of the same file, and prints both times and the memory at its peak.
fn read_first(root: &Path) {
    let store = support::store(root, workload::STACK);
    let start = Instant::now();
    let state = black_box(store.head().unwrap());
    let time = start.elapsed();
    let peak = support::peak_memory().unwrap_or_default();
    drop(state);
    let file = support::only_file(&support::snapshots(root, workload::STACK));
    let start = Instant::now();
    black_box(floor::read(&file));
    println!("{} {} {peak}", time.as_nanos(), start.elapsed().as_nanos());
}

/// A child: makes a state, writes it and points at it, and prints the memory at its peak.
fn write_first(root: &Path, entries: usize) {
    let state = support::state(entries);
    let store = support::store(root, workload::STACK);
    let lock = store.lock("bench", Wait::none()).unwrap();
    support::save(&store, &state, lock.token().unwrap());
    println!("{}", support::peak_memory().unwrap_or_default());
}

fn new_processes(entries: usize) {
    let size = format!("{entries} entries");
    let directory = support::directory();
    let root = directory.path().to_str().unwrap();
    let written = answers(spawn(&["write", root, &entries.to_string()]));
    report("peak memory, write", &size, "bytes", written[0][0] as f64);
    let runs: Vec<Vec<u64>> = (0..rounds(11, 3))
        .flat_map(|_| answers(spawn(&["read", root])))
        .collect();
    let [mut times, mut floors] = [0, 1].map(|column| {
        runs.iter()
            .map(|run| Duration::from_nanos(run[column]))
            .collect::<Vec<_>>()
    });
    let (time, floor) = (percentile(&mut times, 50), percentile(&mut floors, 50));
    report_with_floor(
        "first read of a process",
        &size,
        time,
        "the same file's bytes",
        floor,
    );
    let peak = runs.iter().map(|run| run[2]).max().unwrap_or_default();
    report("peak memory, read", &size, "bytes", peak as f64);
}
