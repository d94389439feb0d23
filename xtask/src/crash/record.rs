//! Runs a script, and where its fate says so disturbs one of its processes at each of its flushes.

use super::disk::Disk;
use super::log::Call;
use super::script::{Fate, Script};
use super::states::{Tree, without_crash};
use super::strace::{CallNumber, Signal, Traced};
use super::trace::{Trace, Tracer};
use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;
use tempfile::TempDir;

/// What std calls for `File::sync_all`.
const FLUSH: &str = "fsync";

/// One run of a script.
pub(super) struct Recording {
    pub(super) title: String,
    pub(super) trace: Trace,
}

/// A directory in memory where the machine has one: nothing here depends on what a flush does.
pub(super) fn scratch() -> io::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir())
}

/// One recording; or one for each flush of the process that is killed or overtaken, and a last one without.
pub(super) fn record(script: &Script) -> Result<Vec<Recording>, Box<dyn Error>> {
    let undisturbed = run(script, None)?;
    let (process, what) = match script.fate {
        Fate::None => return Ok(vec![undisturbed.recording]),
        Fate::Killed(process) => (process, "killed"),
        Fate::Overtaken(process) | Fate::OvertakenByKilled(process, _) => (process, "overtaken"),
    };
    let mut recordings = Vec::new();
    for (number, at) in flushes(&undisturbed.calls[process]).into_iter().enumerate() {
        let mut recording = run(script, Some(at))?.recording;
        recording.title = format!("{} ({what} at its flush {})", recording.title, number + 1);
        recordings.push(recording);
    }
    recordings.push(undisturbed.recording);
    Ok(recordings)
}

struct Run {
    recording: Recording,
    /// What each process did.
    calls: Vec<Vec<Call>>,
}

/// A flush, and the call before it.
struct FlushAt {
    flush: CallNumber,
    before: CallNumber,
}

fn flushes(calls: &[Call]) -> Vec<FlushAt> {
    let number = |at: usize| CallNumber {
        name: calls[at].name.clone(),
        number: calls[..=at]
            .iter()
            .filter(|call| call.name == calls[at].name)
            .count(),
    };
    (1..calls.len())
        .filter(|&at| calls[at].name == FLUSH)
        .map(|at| FlushAt {
            flush: number(at),
            before: number(at - 1),
        })
        .collect()
}

fn run(script: &Script, disturbed_at: Option<FlushAt>) -> Result<Run, Box<dyn Error>> {
    let place = scratch()?;
    let base = place.path().join("base");
    fs::create_dir(&base)?;
    let traced = |process: usize, signal: Option<Signal<'_>>| {
        let log = place.path().join(process.to_string());
        Traced::start(&base, &log, script.processes[process], signal)
            .map_err(|problem| format!("{}: {problem}", script.sentence))
    };
    let mut tracer = Tracer::new(&base);
    let mut calls = Vec::new();
    while calls.len() < script.processes.len() {
        let process = calls.len();
        match (&disturbed_at, script.fate) {
            (Some(at), Fate::Killed(victim)) if victim == process => {
                let killed = traced(process, Some(Signal::Kill(&at.flush)))?.end()?;
                tracer.run_to_its_end(&killed)?;
                calls.push(killed);
            }
            (Some(at), Fate::Overtaken(victim) | Fate::OvertakenByKilled(victim, _)) if victim == process => {
                let mut stopped = traced(process, Some(Signal::Stop(&at.before)))?;
                let first = stopped.wait_until_it_is_stopped()?;
                let killed_at = match script.fate {
                    Fate::OvertakenByKilled(_, number) => Some(CallNumber {
                        name: FLUSH.into(),
                        number,
                    }),
                    _ => None,
                };
                let between = traced(process + 1, killed_at.as_ref().map(Signal::Kill))?.end()?;
                let all = stopped.end()?;
                let mut overtaken = tracer.start();
                tracer.run(&mut overtaken, &all[..first])?;
                tracer.run_to_its_end(&between)?;
                tracer.run(&mut overtaken, &all[first..])?;
                tracer.end();
                calls.extend([all, between]);
            }
            _ => {
                let all = traced(process, None)?.end()?;
                tracer.run_to_its_end(&all)?;
                calls.push(all);
            }
        }
    }
    let trace = tracer.finish();
    demand_that_nothing_was_overlooked(&trace, &base)?;
    let title = script.sentence.into();
    Ok(Run {
        recording: Recording { title, trace },
        calls,
    })
}

/// Without a crash the model must hold what really lies there, name by name and byte by byte.
fn demand_that_nothing_was_overlooked(trace: &Trace, base: &Path) -> Result<(), Box<dyn Error>> {
    let mut disk = Disk::new(trace);
    for op in &trace.ops {
        disk.apply(op);
    }
    if without_crash(&disk) != Tree::read(base)? {
        return Err("the model does not hold what the script has left: a system call was overlooked".into());
    }
    Ok(())
}
