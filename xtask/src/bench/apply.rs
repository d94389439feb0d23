//! Runs of a tool against their floor: what `cargo xtask bench apply` prints.

use super::figure::{Figure, Unit};
use super::{Trouble, cargo, lines};
use serde_json::json;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The runs that are traced, too: how many flushes they need, and how many bytes they write.
const TRACED: [(usize, usize); 2] = [(5_000, 1), (5_000, 10)];

/// What the benchmark measures, and what a trace of it counts.
pub(super) fn run(directory: &Path, is_quick: bool) -> Result<Vec<Figure>, Trouble> {
    let mut figures = lines("apply", is_quick, directory)?;
    for (resources, workers) in TRACED {
        let resources = if is_quick { resources / 10 } else { resources };
        figures.extend(traced(directory, resources, workers)?);
    }
    Ok(figures)
}

/// Prints one object for each run.
pub(super) fn print_json(figures: &[Figure], out: &mut impl Write) -> Result<(), Trouble> {
    for applied in figures.iter().filter(|figure| figure.what == "apply") {
        let of_run = |what: &str| {
            let found = figures.iter().find(|figure| figure.is(what, &applied.size));
            found.map(|figure| figure.value)
        };
        let count = |what: &str| of_run(what).map(|value| value as u64);
        let mut numbers = applied
            .size
            .split(' ')
            .filter_map(|word| word.parse::<u64>().ok());
        let row = json!({
            "resources": numbers.next(),
            "workers": numbers.next(),
            "wall_over_floor": applied.ratio(),
            "bytes_over_changes": of_run("bytes written over changes"),
            "flushes": count("flushes"),
            "revisions_left": count("revisions left"),
        });
        writeln!(out, "{row}")?;
    }
    Ok(())
}

/// Counts the flushes and the bytes of one run under strace.
fn traced(directory: &Path, resources: usize, workers: usize) -> Result<Vec<Figure>, Trouble> {
    let program = cargo::bench_program("localstate", "apply")?;
    let directory = tempfile::tempdir_in(directory)?;
    let (root, log) = (directory.path().join("root"), directory.path().join("log"));
    let status = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-s",
            "0",
            "-e",
            "trace=openat,write,pwrite64,fsync,fdatasync",
            "-o",
        ])
        .arg(&log)
        .arg(program)
        .env("APPLY", format!("{} {resources} {workers}", root.display()))
        .stdout(Stdio::null())
        .status()?;
    if !status.success() {
        return Err("strace could not run the benchmark".into());
    }
    let log = fs::read_to_string(log)?;
    let (_, calls) = log.split_once("/dev/null").ok_or("the run did not begin")?;
    let flushes = calls
        .lines()
        .filter(|call| is_call(call, &["fsync", "fdatasync"]))
        .count();
    let written: u64 = calls
        .lines()
        .filter(|call| {
            is_call(call, &["write", "pwrite64"])
                || call.contains("write resumed>")
                || call.contains("pwrite64 resumed>")
        })
        .filter_map(|call| call.rsplit_once("= ")?.1.trim().parse::<u64>().ok())
        .sum();
    let size = format!(
        "{resources} resources, {workers} {}",
        if workers == 1 { "worker" } else { "workers" }
    );
    let changes = super::programs::entry_bytes()? * resources;
    let figure = |what: &str, unit, value| Figure {
        what: what.into(),
        size: size.clone(),
        unit,
        value,
        floor: None,
    };
    Ok([
        figure("flushes", Unit::Count, flushes as f64),
        figure(
            "bytes written over changes",
            Unit::Ratio,
            written as f64 / changes as f64,
        ),
    ]
    .into())
}

/// Whether a line of strace begins one of these calls.
fn is_call(line: &str, names: &[&str]) -> bool {
    let call = line.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == ' ');
    names
        .iter()
        .any(|name| call.strip_prefix(name).is_some_and(|rest| rest.starts_with('(')))
}
