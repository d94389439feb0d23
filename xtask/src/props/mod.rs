//! Property tests: random cases, shrunk to a small one when a property fails.

pub(crate) mod locks;
mod model;
mod suffixes;
pub(crate) mod writes;

use clap::Args;
use proptest::test_runner::{Config, FileFailurePersistence, RngAlgorithm, RngSeed, TestRng, TestRunner};
use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitCode;
use std::time::Instant;

#[derive(Args)]
pub(crate) struct Options {
    /// Random cases for each property
    #[arg(long, default_value_t = 64, value_name = "N")]
    cases: u32,
    /// Repeats a run: the seed that it printed
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
}

/// 2026-07-10T12:00:00Z.
const NOON: i64 = 1_783_684_800;

/// A story that is still long after this is long because it must be.
const LONGEST_SHRINK_MILLISECONDS: u32 = 20_000;

type Property = fn(&mut TestRunner) -> Result<(), Box<dyn Error>>;

/// The promise and the sentence that each property tries to break.
const PROPERTIES: [(&str, Property); 5] = [
    (
        "W3 W4 W5 C2: concurrent writers get, in few tries, distinct revisions with their own bytes after current; one moves it on",
        writes::hold,
    ),
    (
        "W4 W5: a write gets the revision that the rules foretell, whatever lies there",
        suffixes::hold,
    ),
    (
        "W4: after 10 000 revisions of one nanosecond, among names that are none, the next one is the next number",
        suffixes::hold_for_ten_thousand,
    ),
    (
        "C2 C3 L1 L4 W5: every call answers what a plain model answers, in memory and in a directory",
        model::hold,
    ),
    (
        "L1 L2 L4: threads, processes and the original get the lock, lose it and take it over as a plain model foretells",
        locks::hold,
    ),
];

pub(crate) fn run(options: &Options) -> ExitCode {
    let seed = options.seed.unwrap_or_else(fresh_seed);
    let mut out = io::stdout().lock();
    match check_all(options.cases, seed, &mut out) {
        Ok(0) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// The number of properties that do not hold.
fn check_all(cases: u32, seed: u64, out: &mut impl io::Write) -> io::Result<usize> {
    writeln!(out, "seed {seed}, {cases} cases a property")?;
    let mut failures = 0;
    for (sentence, property) in PROPERTIES {
        let start = Instant::now();
        let outcome = property(&mut runner(cases, seed));
        let seconds = start.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => writeln!(out, "holds   {sentence} ({seconds:.1} s)")?,
            Err(error) => {
                failures += 1;
                writeln!(out, "BROKEN  {sentence} ({seconds:.1} s)\n{error}")?;
            }
        }
        out.flush()?;
    }
    writeln!(out, "{} passed, {failures} failed", PROPERTIES.len() - failures)?;
    Ok(failures)
}

fn runner(cases: u32, seed: u64) -> TestRunner {
    let config = Config {
        cases,
        // The seed is printed instead.
        failure_persistence: None::<Box<FileFailurePersistence>>.map(|persistence| persistence as _),
        max_shrink_iters: 2000,
        max_shrink_time: LONGEST_SHRINK_MILLISECONDS,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one("a seed")
}

/// A broken property as a test case reports it.
fn broken(problem: impl fmt::Display) -> proptest::test_runner::TestCaseError {
    proptest::test_runner::TestCaseError::fail(problem.to_string())
}
