use super::figure::{Figure, Floor, Unit};
use super::{Trouble, cargo};
use sdk_state::encrypt::Noop;
use sdk_state::{StackId, State};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use time::OffsetDateTime;

const STARTS: usize = 201;
const STACK: &str = "demo/prod";

/// Starting `statectl`, alone and for the shortest of its answers, taking turns with a program that does nothing.
pub(super) fn start(directory: &Path) -> Result<Vec<Figure>, Trouble> {
    let statectl = cargo::release_program("statectl")?;
    let root = tempfile::tempdir_in(directory)?;
    write_a_snapshot(root.path())?;
    let version = || {
        let mut command = Command::new(&statectl);
        command.arg("--version");
        command
    };
    let current = || {
        let mut command = Command::new(&statectl);
        command.args(["current", STACK, "--root"]).arg(root.path());
        command
    };
    let (mut versions, mut currents, mut floors) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS {
        versions.push(seconds(&mut version())?);
        currents.push(seconds(&mut current())?);
        floors.push(seconds(&mut Command::new("true"))?);
    }
    let floor = median(&mut floors);
    Ok([("--version", versions), ("current", currents)]
        .map(|(arguments, mut times)| Figure {
            what: "start of statectl".into(),
            size: arguments.into(),
            unit: Unit::Seconds,
            value: median(&mut times),
            floor: Some(Floor {
                is: "`true`".into(),
                value: floor,
            }),
        })
        .into())
}

fn write_a_snapshot(root: &Path) -> Result<(), Trouble> {
    let id: StackId = STACK.parse()?;
    let store = localstate::open(root, id.factory(), id.stack(), Noop)?;
    let state = State::new(&id, "v1", "abc", OffsetDateTime::UNIX_EPOCH)?;
    store.set_current(&store.write(&state, None)?)?;
    Ok(())
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
