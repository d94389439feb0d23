//! Every call to the kernel failed once: what is stored stays, the error says what to do, and it goes on afterwards. And full
//! disks.
//!
//! `operation` is what is failed, `calls` its calls to the kernel and their errors, `verdict` what may come of a fault, `disk`
//! what fills.

mod calls;
pub(crate) mod disk;
pub(crate) mod operation;
mod verdict;

use crate::place::{Place, scratch};
use crate::report::{Report, Trouble, report};
use crate::task;
use clap::{Args, ValueEnum as _};
use operation::Operation;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use tempfile::TempDir;
use verdict::{Fault, Lasts, Unlink};

/// Options of `cargo xtask faults`.
#[derive(Args)]
pub struct Options {
    /// Only these operations, and no full disk
    #[arg(long, value_name = "NAME")]
    operation: Vec<Operation>,
}

/// Fails every call, and fills disks.
pub fn run(options: &Options) -> ExitCode {
    report(|report| {
        match task::obstacle() {
            Some(obstacle) => report.skips(format_args!("failing every call: {obstacle}")),
            None => {
                let operations = match options.operation.as_slice() {
                    [] => Operation::value_variants(),
                    some => some,
                };
                let mut table = vec![
                    ["operation", "calls"]
                        .into_iter()
                        .chain(calls::ERRORS)
                        .map(String::from)
                        .collect(),
                ];
                for &operation in operations {
                    let ends = fail_each_call(operation, report)
                        .map_err(|trouble| format!("{}: {trouble}", operation.name()))?;
                    table.push(row(operation, &ends));
                }
                print(&table, report);
            }
        }
        if options.operation.is_empty() {
            disk::try_all(report);
        }
        Ok(())
    })
}

/// How often an operation ended how, by the error that its call failed with.
type Ends = BTreeMap<&'static str, BTreeMap<String, usize>>;

/// Two at a time: most of it is waiting for the tracer.
fn fail_each_call(operation: Operation, report: &mut Report<'_>) -> Result<Ends, Trouble> {
    let faults = faults(operation)?;
    let next = AtomicUsize::new(0);
    let tried = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = try_fault(fault);
                    if let Ok(mut tried) = tried.lock() {
                        tried.push((fault, outcome));
                    }
                }
            });
        }
    });
    let mut ends = Ends::new();
    for (fault, outcome) in tried.into_inner().map_err(|_| "a fault was not tried")? {
        let (end, problems) = outcome.unwrap_or_else(|trouble| ("trouble".into(), vec![trouble.to_string()]));
        *ends.entry(fault.error).or_default().entry(end).or_default() += 1;
        match problems.as_slice() {
            [] => report.passes(1),
            some => report.fails(fault, some),
        }
    }
    Ok(ends)
}

fn faults(operation: Operation) -> Result<Vec<Fault>, Trouble> {
    let site = Site::new()?;
    operation.prepare(&site.place)?;
    let calls = calls::of(operation, &site.place, &site.log)?;
    let mut faults = Vec::new();
    for call in calls {
        let fault = |error, unlink| Fault {
            operation,
            call: call.clone(),
            error,
            unlink,
            lasts: Lasts::Once,
        };
        if operation.is_of_a_run() && call.name.ends_with("sync") {
            faults.push(Fault {
                lasts: Lasts::Forever,
                ..fault("EIO", Unlink::Works)
            });
        }
        let errors = call.errors().iter().filter(|error| match **error {
            // What these change is tried with the operations that a run consists of.
            "EMFILE" | "EACCES" => !operation.is_of_a_run(),
            "EINTR" => !operation.is_of_a_run() || call.may_be_interrupted(),
            _ => true,
        });
        faults.extend(errors.map(|&error| fault(error, Unlink::Works)));
        if call.is_flush_of_temporary() && !operation.is_of_a_run() {
            faults.push(fault("EIO", Unlink::Fails));
        }
    }
    Ok(faults)
}

/// How the operation ended, and what is wrong with that.
fn try_fault(fault: &Fault) -> Result<(String, Vec<String>), Trouble> {
    let site = Site::new()?;
    let before = fault.operation.prepare(&site.place)?;
    let output = calls::run_with_fault(fault.operation, &site.place, &site.log, &fault.injections())?;
    let Some(outcomes) = operation::outcomes(&String::from_utf8_lossy(&output.stdout)) else {
        let (status, words) = (output.status, String::from_utf8_lossy(&output.stderr));
        return Ok((
            "died".into(),
            vec![format!("it hung or ended early, {status}: {words}")],
        ));
    };
    let problems = fault.problems(&before, &site.place, &outcomes)?;
    Ok((outcomes.0.word().into(), problems))
}

fn row(operation: Operation, ends: &Ends) -> Vec<String> {
    let calls: usize = ends.values().flat_map(BTreeMap::values).sum();
    let counts = |error| {
        let counts = ends
            .get(error)
            .into_iter()
            .flatten()
            .map(|(end, count)| format!("{count} {end}"));
        counts.collect::<Vec<_>>().join(", ")
    };
    [operation.name(), calls.to_string()]
        .into_iter()
        .chain(calls::ERRORS.map(counts))
        .collect()
}

fn print(table: &[Vec<String>], report: &mut Report<'_>) {
    let width = |column: usize| {
        table
            .iter()
            .map(|row| row[column].len())
            .max()
            .unwrap_or_default()
    };
    for row in table {
        let cells = row
            .iter()
            .enumerate()
            .map(|(column, cell)| format!("{cell:0$}", width(column)));
        report.line(cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// A root that does not exist yet, two levels below what does, and the tracer's log beside it.
struct Site {
    place: Place,
    log: PathBuf,
    _directory: TempDir,
}

impl Site {
    fn new() -> Result<Self, Trouble> {
        let directory = scratch()?;
        Ok(Self {
            place: Place::new(directory.path().join("deep/root")),
            log: directory.path().join("log"),
            _directory: directory,
        })
    }
}
