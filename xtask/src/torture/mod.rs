//! Processes that write, move `current`, delete and lock, and are killed −9 at random moments.

pub(crate) mod actor;
mod check;
mod journal;
pub(crate) mod original;
mod place;
mod random;
mod tormentor;
mod witness;

use clap::Args;
use place::Place;
use std::error::Error;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Args)]
pub(crate) struct Options {
    /// How long
    #[arg(long, default_value_t = 0.5, value_name = "M")]
    minutes: f64,
    /// Repeats the schedule of a run, as far as the machine does: the seed that it printed
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Processes of ours
    #[arg(long, default_value_t = 6, value_name = "N")]
    processes: u64,
}

type Trouble = Box<dyn Error + Send + Sync>;

pub(crate) fn run(options: &Options) -> ExitCode {
    let mut out = io::stdout().lock();
    match torture(options, &mut out) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(trouble) => {
            // Whoever closed the output wants no answer.
            let _ = writeln!(out, "BROKEN  the harness itself: {trouble}\n0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

fn torture(options: &Options, out: &mut impl Write) -> Result<bool, Trouble> {
    let seed = options
        .seed
        .unwrap_or_else(|| RandomState::new().hash_one("a seed"));
    writeln!(
        out,
        "seed {seed}, {} processes and one of the original, {} minutes",
        options.processes, options.minutes
    )?;
    out.flush()?;
    let directory = tempfile::tempdir()?;
    let place = Place::new(directory.path());
    let time = Duration::try_from_secs_f64(options.minutes * 60.0)?;
    let torment = tormentor::run(&place, seed, options.processes, time)?;
    check::write(&place, &torment, out)
}
