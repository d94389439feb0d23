//! Every call to the kernel failed once: what is stored stays, the error says what to do, and it goes on afterwards.

pub(crate) mod child;
pub(crate) mod disk;
mod errno;
mod operation;
mod report;
mod trace;
mod verdict;

use clap::{Args, ValueEnum as _};
use operation::Operation;
use report::Report;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use tempfile::TempDir;
use verdict::{Fault, Unlink};

#[derive(Args)]
pub(crate) struct Options {
    /// Only these operations, and no full disk
    #[arg(long, value_name = "NAME")]
    operation: Vec<Operation>,
}

/// Something that is wrong with the harness or the machine, not with the library.
pub(crate) type Trouble = Box<dyn Error + Send + Sync>;

pub(crate) fn run(options: &Options) -> ExitCode {
    let mut out = io::stdout().lock();
    match report::write(&mut out, |report| run_all(options, report)) {
        Ok(true) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn run_all(options: &Options, report: &mut Report) {
    match trace::is_possible() {
        Ok(()) => {
            let operations = match options.operation.as_slice() {
                [] => Operation::value_variants(),
                some => some,
            };
            for &operation in operations {
                if let Err(trouble) = fail_each_call(operation, report) {
                    report.fail(format!("{}: {trouble}", operation.name()));
                }
            }
        }
        Err(reason) => report.skip(format!("failing every call: {reason}")),
    }
    if options.operation.is_empty() {
        disk::try_all(report);
    }
}

/// Two at a time: most of it is waiting for the tracer.
fn fail_each_call(operation: Operation, report: &mut Report) -> Result<(), Trouble> {
    let faults = faults(operation)?;
    let next = AtomicUsize::new(0);
    let report = Mutex::new(report);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let tried = try_fault(fault);
                    if let Ok(mut report) = report.lock() {
                        report.add(fault, tried);
                    }
                }
            });
        }
    });
    Ok(())
}

fn faults(operation: Operation) -> Result<Vec<Fault>, Trouble> {
    let place = Place::new()?;
    operation.prepare(&place.root)?;
    let calls = trace::calls(operation, &place.root, &place.log)?;
    let mut faults = Vec::new();
    for call in calls {
        let fault = |errno, unlink| Fault {
            operation,
            call: call.clone(),
            errno,
            unlink,
        };
        let errors = errno::of(&call.name, &call.arguments);
        faults.extend(errors.iter().map(|&errno| fault(errno, Unlink::Works)));
        if call.is_flush_of_temporary() {
            faults.push(fault("EIO", Unlink::Fails));
        }
    }
    Ok(faults)
}

/// How the operation ended, and what is wrong with that.
fn try_fault(fault: &Fault) -> Result<(String, Vec<String>), Trouble> {
    let place = Place::new()?;
    let before = fault.operation.prepare(&place.root)?;
    let output = trace::run_failing(fault, &place.root, &place.log)?;
    let Some(outcomes) = child::outcomes(&String::from_utf8_lossy(&output.stdout)) else {
        let story = match output.status.code() {
            Some(124) => "it hung".to_owned(),
            _ => format!(
                "it ended early, {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            ),
        };
        return Ok(("died".into(), vec![story]));
    };
    let problems = fault.problems(&before, &place.root, &outcomes)?;
    Ok((outcomes.0.word().into(), problems))
}

/// A root that does not exist yet, two levels below what does, and the tracer's log beside it.
struct Place {
    root: PathBuf,
    log: PathBuf,
    _directory: TempDir,
}

impl Place {
    /// In memory, where there is such a filesystem: what is tested is not the disk.
    fn new() -> Result<Self, Trouble> {
        let memory = Path::new("/dev/shm");
        let directory = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir())?;
        Ok(Self {
            root: directory.path().join("deep/root"),
            log: directory.path().join("log"),
            _directory: directory,
        })
    }
}
