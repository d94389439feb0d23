//! Coverage-guided fuzzing: inputs grow from those that reach new code, and each target checks laws beside "no panic".
//!
//! libFuzzer, by the `libfuzzer-sys` crate, is built from source with the targets, so nothing is installed for it: the
//! code that counts what is reached is put in by LLVM, which a stable rustc asks for with `-C passes`. `cargo-fuzz` does
//! the same and wants a nightly compiler for its sanitizers, AFL++ wants its own compiler driver, and honggfuzz its own
//! build of the tools. No sanitizer is on: the workspace forbids `unsafe`, and what libFuzzer bounds without one, memory
//! and time, is what can go wrong here. What stays unchecked that way is the C of zstd.
//!
//! The targets lie in `xtask/fuzz/src/bin`, one a file, inputs that once failed in `xtask/fuzz/regressions/TARGET`: they
//! are read at the start of each run. Whatever a run finds stays in the target directory and begins the next one.

mod building;
mod running;
mod seeds;

use clap::Args;
use running::{Outcome, Statistics};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

#[derive(Args)]
pub(crate) struct Options {
    /// One of envelope_v2, envelope_v1, snapshot, revision, current, lock_marker, store; all of them by default
    #[arg(value_parser = TARGETS)]
    target: Option<String>,
    /// How long each target runs; 0 only repeats what earlier runs found
    #[arg(long, default_value_t = 20, value_name = "S")]
    seconds: u64,
}

const TARGETS: [&str; 7] = [
    "envelope_v2",
    "envelope_v1",
    "snapshot",
    "revision",
    "current",
    "lock_marker",
    "store",
];

pub(crate) fn run(options: &Options) -> ExitCode {
    let chosen = TARGETS
        .iter()
        .filter(|target| options.target.as_deref().is_none_or(|chosen| chosen == **target));
    let mut out = io::stdout().lock();
    match run_all(&chosen.copied().collect::<Vec<_>>(), options.seconds, &mut out) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            // Standard output may be what failed.
            let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("cannot fuzz: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

/// The number of targets that failed.
fn run_all(targets: &[&str], seconds: u64, out: &mut impl io::Write) -> io::Result<usize> {
    let count = targets.len();
    if !building::has_compiler() {
        writeln!(
            out,
            "SKIPPED: libFuzzer is built by a C++ compiler, and there is none.\n\
             Install g++ (apt-get install g++) or set CXX, and run this again.\n\
             0 passed, 0 failed, {count} skipped"
        )?;
        return Ok(0);
    }
    let start = Instant::now();
    let programs = building::build(targets)?;
    writeln!(out, "built in {:.0} s", start.elapsed().as_secs_f64())?;
    out.flush()?;

    let mut failures = 0;
    for target in targets {
        let start = Instant::now();
        let outcome = running::run(target, &programs, seconds)?;
        let seconds = start.elapsed().as_secs_f64();
        failures += usize::from(outcome.failure.is_some());
        report(target, &outcome, seconds, out)?;
        out.flush()?;
    }
    writeln!(out, "{} passed, {failures} failed, 0 skipped", count - failures)?;
    Ok(failures)
}

fn report(target: &str, outcome: &Outcome, seconds: f64, out: &mut impl io::Write) -> io::Result<()> {
    let word = if outcome.failure.is_none() {
        "holds "
    } else {
        "BROKEN"
    };
    let Statistics {
        executions,
        edges,
        corpus,
    } = outcome.statistics;
    let crashes = outcome.inputs.len();
    writeln!(
        out,
        "{word}  {target}: {executions} executions, {edges} edges, {corpus} inputs kept, {crashes} crashes ({seconds:.1} s)"
    )?;
    let Some(failure) = &outcome.failure else {
        return Ok(());
    };
    writeln!(out, "{failure}")?;
    for input in &outcome.inputs {
        writeln!(
            out,
            "the input:    {}\nreproduce:    {} {0}\nonce mended:  cp {0} {}",
            input.display(),
            outcome.program.display(),
            directory().join("regressions").join(target).display()
        )?;
    }
    writeln!(out, "the whole log: {}", outcome.log.display())
}

/// The package of the targets.
fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// Where everything goes that is not kept in the tree.
fn output() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"))
        .join("fuzz")
}
