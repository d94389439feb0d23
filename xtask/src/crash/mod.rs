//! What a crash of the machine can leave: a script of store calls is traced, every state that a power cut could leave
//! is made and opened with the real library, and the promises are held against what it finds.
//!
//! | file | is |
//! |---|---|
//! | `script` | the calls that are traced, and the traced process |
//! | `mark` | what that process says of itself in the log |
//! | `record` | runs it, and kills or stops one of its processes |
//! | `points` | where it is killed or stopped |
//! | `strace` | one process under strace |
//! | `log` | the log, line by line |
//! | `trace` | what the log does to files and directories |
//! | `disk` | what of it is durable and what is pending |
//! | `states` | what a crash can leave of that |
//! | `observe` | what the library finds there |
//! | `promises` | what it must find |
//! | `explore` | all of that, at every crash point |
//! | `mutants` | edits of the trace that must be noticed |

mod disk;
mod explore;
mod log;
mod mark;
mod mutants;
mod observe;
mod points;
mod promises;
mod record;
pub(crate) mod script;
mod states;
mod strace;
mod trace;

use clap::Args;
use explore::{Explorer, Thoroughness};
use mutants::{MUTANTS, Mutant};
use points::Density;
use record::Recording;
use script::{SCRIPTS, Script};
use states::Bounds;
use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::time::Instant;
use trace::{Op, Trace};

const QUICK: Bounds = Bounds {
    changes: 12,
    combinations: 4096,
    random: 500,
};
const FULL: Bounds = Bounds {
    changes: 16,
    combinations: 65_536,
    random: 10_000,
};
/// More stories of one script tell nothing new.
const STORIES: usize = 5;

#[derive(Args)]
pub(crate) struct Options {
    /// Decides which states are tried where there are too many for all
    #[arg(long, default_value_t = 1, value_name = "S")]
    seed: u64,
    /// Tries more of them, and disturbs processes at each call and not only at each flush: some minutes
    #[arg(long)]
    full: bool,
}

pub(crate) fn run(options: &Options) -> ExitCode {
    let mut out = io::stdout().lock();
    match check_all(options, &mut out) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(problem) => {
            let _ = io::Write::write_fmt(&mut out, format_args!("FAILED  {problem}\n"));
            ExitCode::FAILURE
        }
    }
}

/// The number of scripts that break a promise and of mutants that nobody notices.
fn check_all(options: &Options, out: &mut impl io::Write) -> Result<usize, Box<dyn Error>> {
    if let Some(obstacle) = strace::obstacle() {
        writeln!(out, "SKIPPED  no crash was simulated: {obstacle}")?;
        writeln!(out, "0 passed, 0 failed, 1 skipped")?;
        return Ok(0);
    }
    let start = Instant::now();
    writeln!(out, "seed {}", options.seed)?;
    let (bounds, density) = match options.full {
        true => (FULL, Density::Calls),
        false => (QUICK, Density::Flushes),
    };
    let mut explorer = Explorer::new(bounds, options.seed);
    let mut recordings = Vec::new();
    let mut failed = 0;
    for script in &SCRIPTS {
        let runs = record::record(script, density)?;
        failed += usize::from(!holds(script, &runs, &mut explorer, out)?);
        recordings.extend(runs);
    }
    let system_calls: usize = recordings.iter().map(|recording| calls(&recording.trace)).sum();
    writeln!(
        out,
        "{system_calls} system calls in {} runs, {} crash points ({} of them sampled), {} crashes, {} distinct states",
        recordings.len(),
        explorer.crash_points,
        explorer.samples,
        explorer.crashes,
        explorer.distinct_states()
    )?;
    let mut caught = 0;
    for mutant in &MUTANTS {
        caught += usize::from(is_caught(mutant, &recordings, &mut explorer, out)?);
    }
    failed += MUTANTS.len() - caught;
    writeln!(
        out,
        "{caught} of {} mutants caught; {} distinct states in all; {:.1} s",
        MUTANTS.len(),
        explorer.distinct_states(),
        start.elapsed().as_secs_f64()
    )?;
    let passed = SCRIPTS.len() + MUTANTS.len() - failed;
    writeln!(out, "{passed} passed, {failed} failed")?;
    Ok(failed)
}

fn holds(
    script: &Script,
    runs: &[Recording],
    explorer: &mut Explorer,
    out: &mut impl io::Write,
) -> io::Result<bool> {
    let mut stories = Vec::new();
    for run in runs {
        for story in explorer.explore(&run.trace, Thoroughness::All)? {
            stories.push((&run.title, story));
        }
    }
    match stories.len() {
        0 if runs.len() == 1 => writeln!(out, "holds   {}", script.sentence)?,
        0 => writeln!(out, "holds   {} ({} runs)", script.sentence, runs.len())?,
        count => writeln!(out, "BROKEN  {}: {count} violations", script.sentence)?,
    }
    for (title, story) in stories.iter().take(STORIES) {
        writeln!(out, "  {story}\n    in: {title}")?;
    }
    out.flush()?;
    Ok(stories.is_empty())
}

fn is_caught(
    mutant: &Mutant,
    recordings: &[Recording],
    explorer: &mut Explorer,
    out: &mut impl io::Write,
) -> io::Result<bool> {
    let mut is_edited = false;
    for recording in recordings {
        let edited = Trace {
            ops: (mutant.edit)(&recording.trace),
            inodes: recording.trace.inodes.clone(),
        };
        if edited == recording.trace {
            continue;
        }
        is_edited = true;
        if let Some(story) = explorer.explore(&edited, Thoroughness::UntilOneIsFound)?.first() {
            writeln!(out, "caught  {}: {}", mutant.sentence, story.violation)?;
            return Ok(true);
        }
    }
    let why = match is_edited {
        true => "nothing notices it",
        false => "there is nothing to edit",
    };
    writeln!(out, "MISSED  {}: {why}", mutant.sentence)?;
    Ok(false)
}

fn calls(trace: &Trace) -> usize {
    let is_call = |op: &&Op| !matches!(op, Op::Mark(_));
    trace.ops.iter().filter(is_call).count()
}
