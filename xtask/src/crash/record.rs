//! Runs a script, and where its fate says so disturbs one of its processes at each of many points.

use super::disk::Disk;
use super::log::Call;
use super::points::{self, CallNumber, Density};
use super::script::{Fate, Script};
use super::states::{Tree, without_crash};
use super::strace::{Signal, Traced};
use super::trace::{Trace, Tracer};
use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;
use tempfile::TempDir;

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

/// One recording; or one for each point where the process is killed or overtaken, and a last one without.
pub(super) fn record(script: &Script, density: Density) -> Result<Vec<Recording>, Box<dyn Error>> {
    let undisturbed = run(script, None)?;
    let (points, what) = match script.fate {
        Fate::None => return Ok(vec![undisturbed.recording]),
        Fate::Killed(process) => (points::to_kill(&undisturbed.calls[process], density), "killed at"),
        Fate::Overtaken(process) | Fate::OvertakenByKilled(process, _) => (
            points::to_stop(&undisturbed.calls[process], density),
            "overtaken after",
        ),
    };
    let mut recordings = Vec::new();
    for point in points {
        let mut recording = run(script, Some(&point))?.recording;
        recording.title = format!("{} ({what} {} {})", recording.title, point.name, point.number);
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

fn run(script: &Script, point: Option<&CallNumber>) -> Result<Run, Box<dyn Error>> {
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
        match (point, script.fate) {
            (Some(point), Fate::Killed(victim)) if victim == process => {
                let killed = traced(process, Some(Signal::Kill(point)))?.end()?;
                tracer.run_to_its_end(&killed)?;
                calls.push(killed);
            }
            (Some(point), Fate::Overtaken(victim) | Fate::OvertakenByKilled(victim, _))
                if victim == process =>
            {
                let mut stopped = traced(process, Some(Signal::Stop(point)))?;
                let first = stopped.wait_until_it_is_stopped()?;
                let killed_at = match script.fate {
                    Fate::OvertakenByKilled(_, number) => Some(points::flush(number)),
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
