//! Crashes of the machine. It traces scripts of store calls, makes every state that a power cut could leave, opens each with
//! the real library, and compares what it finds with the promises.
//!
//! | file | is |
//! |---|---|
//! | `script` | the calls, the traced process, and the marks that it leaves in the log |
//! | `record` | runs it under strace, and kills or stops one of its processes |
//! | `trace` | the log as changes of files and directories |
//! | `disk` | the durable and the pending changes, and what a crash can leave |
//! | `promises` | what the library must find, and what it finds |
//! | `explore` | a crash after every operation |
//! | `mutants` | edits of the trace that must be noticed |

mod disk;
mod explore;
mod mutants;
mod promises;
mod record;
pub(crate) mod script;
mod trace;

use crate::report::{Report, Trouble, report};
use crate::task;
use clap::Args;
use disk::Bounds;
use explore::{Explorer, Thoroughness};
use mutants::{MUTANTS, Mutant};
use record::{Density, Recording};
use script::Script;
use std::process::ExitCode;
use trace::{Op, Trace};

const QUICK: Bounds = Bounds {
    changes: 12,
    sectors: 4,
    combinations: 4096,
    random: 500,
};
const FULL: Bounds = Bounds {
    changes: 16,
    sectors: 6,
    combinations: 65_536,
    random: 10_000,
};

/// Options of `cargo xtask crash`.
#[derive(Args)]
pub struct Options {
    /// Decides which states are tried where there are too many for all
    #[arg(long, default_value_t = 1, value_name = "S")]
    seed: u64,
    /// Tries more of them, and disturbs processes at each call and not only at each flush: some minutes
    #[arg(long)]
    full: bool,
}

/// Opens every state, and shows that each mutant breaks a promise.
pub fn run(options: &Options) -> ExitCode {
    report(|report| {
        if let Some(obstacle) = task::obstacle() {
            report.skips(format_args!("no crash was simulated: {obstacle}"));
            return Ok(());
        }
        report.line(format_args!("seed {}", options.seed));
        let (bounds, density) = match options.full {
            true => (FULL, Density::Calls),
            false => (QUICK, Density::Flushes),
        };
        explore_all(Explorer::new(bounds, options.seed), density, report)
    })
}

fn explore_all(mut explorer: Explorer, density: Density, report: &mut Report<'_>) -> Result<(), Trouble> {
    let mut recordings = Vec::new();
    for script in script::scripts() {
        let runs = record::record(&script, density)?;
        check(&script, &runs, &mut explorer, report)?;
        recordings.extend(runs);
    }
    let is_call = |op: &&Op| !matches!(op, Op::Mark(_));
    let calls = |recording: &Recording| recording.trace.ops.iter().filter(is_call).count();
    report.line(format_args!(
        "{} system calls in {} runs, {} crash points ({} of them sampled), {} crashes, {} distinct states",
        recordings.iter().map(calls).sum::<usize>(),
        recordings.len(),
        explorer.crash_points,
        explorer.samples,
        explorer.crashes,
        explorer.distinct_states()
    ));
    let mut caught = 0;
    for mutant in MUTANTS {
        caught += usize::from(is_caught(mutant, &recordings, &mut explorer, report)?);
    }
    report.line(format_args!("{caught} of {} mutants caught", MUTANTS.len()));
    Ok(())
}

fn check(
    script: &Script,
    runs: &[Recording],
    explorer: &mut Explorer,
    report: &mut Report<'_>,
) -> Result<(), Trouble> {
    let mut problems = Vec::new();
    for run in runs {
        for (violation, crash) in explorer.explore(&run.trace, Thoroughness::All)? {
            problems.push(format!("{violation}\n    {crash}\n    in: {}", run.title));
        }
    }
    report.check(
        format_args!("{} ({} runs)", script.sentence, runs.len()),
        &problems,
    );
    Ok(())
}

fn is_caught(
    (sentence, edit): Mutant,
    recordings: &[Recording],
    explorer: &mut Explorer,
    report: &mut Report<'_>,
) -> Result<bool, Trouble> {
    let mut why = "there is nothing to edit";
    for recording in recordings {
        let edited = Trace {
            ops: edit(&recording.trace),
            inodes: recording.trace.inodes.clone(),
        };
        if edited == recording.trace {
            continue;
        }
        why = "nothing notices it";
        if let Some((violation, _)) = explorer.explore(&edited, Thoroughness::UntilOneIsFound)?.first() {
            report.passes(1);
            report.line(format_args!("caught  {}: {}", sentence, violation));
            return Ok(true);
        }
    }
    report.fails(sentence, &[format!("not caught: {why}")]);
    Ok(false)
}
