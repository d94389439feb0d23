//! Counts the instructions of encode, decode, seal and open under callgrind and compares them with the figures that are
//! checked in. A rise that is meant, and every larger fall, is recorded with `--bless`.
//!
//! Callgrind is started on a plain program. Gungraun would have to build its runner in every clean checkout (three
//! minutes), and its macros make public items that `missing_docs` refuses.

use crate::bench::cargo;
use crate::workspace::root;
use clap::Args;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

#[derive(Args)]
pub(crate) struct Options {
    /// Records today's figures as the ones to compare with
    #[arg(long)]
    bless: bool,
}

const OPERATIONS: [&str; 4] = ["encode", "decode", "seal", "open"];
/// In percent. Counts of one build differ by less than 0.1 from run to run.
const TOLERANCE: f64 = 5.0;

type Counts = BTreeMap<String, u64>;

pub(crate) fn run(options: &Options) -> ExitCode {
    let mut out = io::stdout().lock();
    match check(options, &mut out) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(out, "BROKEN  the harness itself: {error}\n0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

/// The number of operations that need a look.
fn check(options: &Options, out: &mut impl io::Write) -> io::Result<usize> {
    if !has_valgrind() {
        writeln!(out, "SKIPPED  no valgrind here: apt-get install valgrind")?;
        writeln!(out, "0 passed, 0 failed, {} skipped", OPERATIONS.len())?;
        return Ok(0);
    }
    let program = cargo::bench_program("sdk-state", "instructions")?;
    let scratch = tempfile::tempdir()?;
    let mut counts = Counts::new();
    for operation in OPERATIONS {
        counts.insert(operation.into(), count(&program, operation, scratch.path())?);
    }
    if options.bless {
        let text = serde_json::to_string_pretty(&counts).map_err(io::Error::other)?;
        fs::write(recorded_in(), text + "\n")?;
    }
    let recorded: Counts =
        serde_json::from_str(&fs::read_to_string(recorded_in())?).map_err(io::Error::other)?;
    let mut failed = 0;
    for (operation, &count) in &counts {
        let verdict = recorded
            .get(operation)
            .map_or(Verdict::Unknown, |&recorded| Verdict::of(recorded, count));
        failed += usize::from(verdict != Verdict::Held);
        writeln!(
            out,
            "{}{operation}: {count} instructions{}",
            verdict.word(),
            verdict.explanation()
        )?;
    }
    writeln!(out, "{} passed, {failed} failed", counts.len() - failed)?;
    Ok(failed)
}

fn count(program: &Path, operation: &str, scratch: &Path) -> io::Result<u64> {
    let report = scratch.join(operation);
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*instructions::counted*"])
        .arg(format!("--callgrind-out-file={}", report.display()))
        .arg(program)
        .arg(operation)
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr)));
    }
    fs::read_to_string(&report)?
        .lines()
        .find_map(|line| line.strip_prefix("totals: ")?.parse().ok())
        // None at all: the name of the counted function has changed.
        .filter(|&total| total > 0)
        .ok_or_else(|| io::Error::other(format!("callgrind counted nothing of {operation}")))
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Held,
    Risen(f64),
    Fallen(f64),
    Unknown,
}

impl Verdict {
    fn of(recorded: u64, count: u64) -> Self {
        let percent = (count.abs_diff(recorded) * 100) as f64 / recorded as f64;
        if percent <= TOLERANCE {
            Self::Held
        } else if count > recorded {
            Self::Risen(percent)
        } else {
            Self::Fallen(percent)
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Held => "holds   ",
            _ => "BROKEN  ",
        }
    }

    fn explanation(&self) -> String {
        match self {
            Self::Held => String::new(),
            Self::Risen(percent) => {
                format!(", {percent:.1} % more than recorded: make it faster, or say why and use --bless")
            }
            Self::Fallen(percent) => format!(", {percent:.1} % less than recorded: keep that with --bless"),
            Self::Unknown => ", never recorded: use --bless".into(),
        }
    }
}

fn has_valgrind() -> bool {
    Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn recorded_in() -> PathBuf {
    root().join("crates/sdk-state/benches/instructions.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_five_percent_either_way_needs_a_look() {
        assert_eq!(Verdict::of(1000, 1050), Verdict::Held);
        assert_eq!(Verdict::of(1000, 950), Verdict::Held);
        assert!(matches!(Verdict::of(1000, 1051), Verdict::Risen(_)));
        assert!(matches!(Verdict::of(1000, 949), Verdict::Fallen(_)));
    }
}
