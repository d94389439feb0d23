//! Property tests: random cases, shrunk to a small one when a property fails.

mod histories;
mod process;
pub(crate) mod writes;

pub(crate) use process::obey;

use crate::report::report;
use clap::Args;
use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, RngSeed, TestCaseError, TestRng, TestRunner,
};
use std::error::Error;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::process::ExitCode;
use std::time::Instant;

/// Options of `cargo xtask props`.
#[derive(Args)]
pub struct Options {
    /// Random cases for each property
    #[arg(long, default_value_t = 64, value_name = "N")]
    cases: u32,
    /// Repeats a run: the seed that it printed
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
}

/// A case that is still long after this is long because it must be.
const LONGEST_SHRINK_MILLISECONDS: u32 = 20_000;

type Property = fn(&mut TestRunner) -> Result<(), Box<dyn Error>>;

/// The promises and the sentence that each property tries to break.
const PROPERTIES: [(&str, Property); 4] = [
    (
        "L1 W3 W4 W5 C2: writers at once get, in few tries, distinct revisions with their own bytes; one at a time moves current",
        writes::hold,
    ),
    (
        "W4 W5: a write gets the revision that the model gives it, whatever lies there",
        histories::hold_for_suffixes,
    ),
    (
        "W4: after 10 000 revisions of one nanosecond, among foreign names, the next write gets the next number",
        histories::hold_for_ten_thousand,
    ),
    (
        "C2 C3 E1 E2 L1 L2 L4 W5: threads, processes and unobin get the answers of the model, in memory and in a directory",
        histories::hold,
    ),
];

/// Runs all properties.
pub fn run(options: &Options) -> ExitCode {
    let seed = options.seed.unwrap_or_else(fresh_seed);
    report(|report| {
        report.line(format_args!("seed {seed}, {} cases a property", options.cases));
        for (sentence, property) in PROPERTIES {
            let start = Instant::now();
            let broken = property(&mut runner(options.cases, seed)).err();
            let seconds = start.elapsed().as_secs_f64();
            report.check(format_args!("{sentence} ({seconds:.1} s)"), broken.as_slice());
        }
        Ok(())
    })
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
    TestRunner::new_with_rng(config, random(seed))
}

/// The same numbers for the same seed.
pub(crate) fn random(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

pub(crate) fn fresh_seed() -> u64 {
    RandomState::new().hash_one("a seed")
}

/// A broken property as a test case reports it.
fn broken(problem: impl fmt::Display) -> TestCaseError {
    TestCaseError::fail(problem.to_string())
}
