//! Counts the instructions of encode, decode, seal and open under callgrind and compares them with the figures that are
//! checked in. A rise that is meant, and every larger fall, is recorded with `--bless`.
//!
//! Callgrind is started on a plain program. Gungraun would have to build its runner in every clean checkout (three
//! minutes), and its macros make public items that `missing_docs` refuses.

use crate::bench::cargo;
use crate::report::{Report, Trouble, report};
use crate::workspace::{root, starts};
use clap::Args;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Options of `cargo xtask instructions`.
#[derive(Args)]
pub struct Options {
    /// Records today's figures as the ones to compare with
    #[arg(long)]
    bless: bool,
}

const OPERATIONS: [&str; 4] = ["encode", "decode", "seal", "open"];
/// In percent. Counts of one build differ by less than 0.1 from run to run.
const TOLERANCE: f64 = 5.0;

type Counts = BTreeMap<String, u64>;

/// Counts, and compares or records.
pub fn run(options: &Options) -> ExitCode {
    report(|report| check(options, report))
}

fn check(options: &Options, report: &mut Report<'_>) -> Result<(), Trouble> {
    if !starts(&mut Command::new("valgrind")) {
        report.skips("no valgrind here: apt-get install valgrind");
        return Ok(());
    }
    let program = cargo::bench_program("sdk-state", "instructions")?;
    let scratch = tempfile::tempdir()?;
    let mut counts = Counts::new();
    for operation in OPERATIONS {
        counts.insert(operation.into(), count(&program, operation, scratch.path())?);
    }
    if options.bless {
        fs::write(recorded_in(), serde_json::to_string_pretty(&counts)? + "\n")?;
    }
    let recorded: Counts = serde_json::from_str(&fs::read_to_string(recorded_in())?)?;
    for (operation, &count) in &counts {
        let difference = difference(recorded.get(operation).copied(), count);
        report.check(
            format_args!("{operation}: {count} instructions"),
            difference.as_slice(),
        );
    }
    Ok(())
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

/// What to do about a count that differs from the recorded one.
fn difference(recorded: Option<u64>, count: u64) -> Option<String> {
    let Some(recorded) = recorded else {
        return Some("it was never recorded: use --bless".into());
    };
    let percent = (count.abs_diff(recorded) * 100) as f64 / recorded as f64;
    if percent <= TOLERANCE {
        return None;
    }
    Some(match count > recorded {
        true => format!("{percent:.1} % more than recorded: make it faster, or say why and use --bless"),
        false => format!("{percent:.1} % less than recorded: keep that with --bless"),
    })
}

fn recorded_in() -> PathBuf {
    root().join("crates/sdk-state/benches/instructions.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_five_percent_either_way_needs_a_look() {
        assert_eq!(difference(Some(1000), 1050), None);
        assert_eq!(difference(Some(1000), 950), None);
        assert!(difference(Some(1000), 1051).unwrap().contains("more"));
        assert!(difference(Some(1000), 949).unwrap().contains("less"));
        assert!(difference(None, 1000).is_some());
    }
}
