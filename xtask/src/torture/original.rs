use super::Trouble;
use super::journal::{Entry, Journal};
use super::place::Place;
use super::random::Random;
use super::witness::Witness;
use clap::Args;
use sdk_state::Wait;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::process::{self, ExitCode};
use std::time::Duration;

/// It would starve between processes that look every few milliseconds if it looked every 500 ms, as it really does.
const BETWEEN: Duration = Duration::from_millis(15);
const INSIDE: Duration = Duration::from_millis(3);

/// The name of its journal.
pub(super) const NAME: &str = "original";

/// The arguments of the stand-in of the original.
#[derive(Args)]
pub(crate) struct OriginalOptions {
    #[command(flatten)]
    place: Place,
    #[arg(long)]
    seed: u64,
}

/// Locks as the original does: it creates the marker if there is none, and removes whatever has the name. It is never killed,
/// since nobody may take its marker for a dead one's.
pub(crate) fn run(options: &OriginalOptions) -> ExitCode {
    match lock_by_turns(&options.place, Random::new(options.seed)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn lock_by_turns(place: &Place, mut random: Random) -> Result<(), Trouble> {
    let witness = Witness::open(place)?;
    let mut journal = Journal::open(place, NAME)?;
    while !place.is_over() {
        match File::create_new(place.marker()) {
            Ok(mut file) => {
                writeln!(file, "{}", process::id())?;
                let inside = witness.enter()?;
                journal.note(match inside {
                    Some(_) => &Entry::Section,
                    None => &Entry::Overlap,
                })?;
                Wait::forever().pause(random.time(INSIDE));
                drop(inside);
                if let Err(error) = fs::remove_file(place.marker()) {
                    journal.note(&Entry::Problem(format!("somebody removed its marker: {error}")))?;
                }
            }
            // Held, or nobody has made the directory yet.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound
                ) => {}
            Err(error) => return Err(error.into()),
        }
        Wait::forever().pause(random.time(BETWEEN));
    }
    Ok(())
}
