use super::figure::{Figure, Floor, Unit};
use super::{Trouble, cargo};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const STARTS: usize = 201;

/// Starting `statectl`, taking turns with a program that does nothing.
pub(super) fn start() -> Result<Vec<Figure>, Trouble> {
    let statectl = cargo::release_program("statectl")?;
    let (mut times, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        times.push(seconds(Command::new(&statectl).arg("--version"))?);
        floors.push(seconds(&mut Command::new("true"))?);
    }
    Ok(vec![Figure {
        what: "start of statectl".into(),
        size: "--version".into(),
        unit: Unit::Seconds,
        value: median(&mut times),
        floor: Some(Floor {
            is: "`true`".into(),
            value: median(&mut floors),
        }),
    }])
}

/// A release build in an empty directory, everything fetched before.
pub(super) fn compile(directory: &Path) -> Result<Vec<Figure>, Trouble> {
    let mut figures = Vec::new();
    for package in ["statectl", "sdk-state"] {
        let target = tempfile::tempdir_in(directory)?;
        let mut build = cargo::command();
        build
            .args([
                "build",
                "--locked",
                "--offline",
                "--release",
                "--quiet",
                "-p",
                package,
            ])
            .env("CARGO_TARGET_DIR", target.path())
            // A compiler that remembers builds nothing.
            .env_remove("RUSTC_WRAPPER");
        figures.push(Figure {
            what: format!("compile {package}"),
            size: "release, clean".into(),
            unit: Unit::Seconds,
            value: seconds(&mut build)?,
            floor: None,
        });
    }
    Ok(figures)
}

fn seconds(command: &mut Command) -> io::Result<f64> {
    let start = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    let time = start.elapsed();
    match status.success() {
        true => Ok(time.as_secs_f64()),
        false => Err(io::Error::other(format!(
            "{} failed",
            command.get_program().display()
        ))),
    }
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    samples[samples.len() / 2]
}
