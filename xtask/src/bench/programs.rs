use super::figure::{Figure, Floor, Unit};
use super::{Trouble, cargo};
use sdk_state::encrypt::{MasterKey, Noop};
use sdk_state::{Snapshot as _, StackId, State};
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use time::OffsetDateTime;

#[path = "../../../crates/sdk-state/benches/workload/mod.rs"]
mod workload;

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
    Ok([
        with_floor("statectl --version", "", &mut versions, "`true`", floor),
        with_floor("statectl current", "", &mut currents, "`true`", floor),
    ]
    .into())
}

/// Pushing a changed snapshot, and pulling it into nothing, taking turns with Python's reading the same file: three processes,
/// from start to end.
pub(super) fn push_and_pull(directory: &Path, is_quick: bool) -> Result<Vec<Figure>, Trouble> {
    const LOAD: &str = "import json, sys; json.load(open(sys.argv[1]))";

    let entries = if is_quick { 1_000 } else { 10_000 };
    let statectl = cargo::release_program("statectl")?;
    let directory = tempfile::tempdir_in(directory)?;
    let key = MasterKey::generate()?.to_base64();
    let stack = format!("{}/{}", workload::FACTORY, workload::STACK);
    let run = |command: &str, arguments: &[&Path]| {
        let mut process = Command::new(&statectl);
        process
            .args([command, &stack])
            .args(arguments)
            .args(["--encrypter", "env-key:BENCH_KEY", "--root"])
            .arg(directory.path().join("root"))
            .env("BENCH_KEY", &*key)
            .stderr(Stdio::null());
        seconds(&mut process)
    };
    let document = workload::document(entries);
    let files = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"].map(|time| {
        let path = directory.path().join(format!("{time}.json"));
        (path, document.replacen("2026-01-01T00:00:00Z", time, 1))
    });
    for (path, text) in &files {
        fs::write(path, text)?;
    }
    let (mut pushes, mut pulls, mut loads) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..if is_quick { 4 } else { 30 } {
        let (file, _) = &files[round % 2];
        let pushed = run("push", &[file])?;
        let pulled = run("pull", &[])?;
        let loaded = seconds(Command::new("python3").args(["-c", LOAD]).arg(file))?;
        // The first two warm up.
        if round >= 2 {
            pushes.push(pushed);
            pulls.push(pulled);
            loads.push(loaded);
        }
    }
    let floor = median(&mut loads);
    let size = format!("{entries} entries");
    let is = "Python with `json.load`";
    let per_entry = |what: &str, bytes: u64| Figure {
        what: what.into(),
        size: size.clone(),
        unit: Unit::Bytes,
        value: bytes as f64 / entries as f64,
        floor: None,
    };
    let json = State::decode(document.as_bytes())?.encode()?;
    let snapshots = directory
        .path()
        .join("root")
        .join(workload::FACTORY)
        .join(workload::STACK)
        .join("snapshots");
    let stored = fs::read_dir(snapshots)?.next().ok_or("push left no snapshot")??;
    Ok([
        with_floor("statectl push", &size, &mut pushes, is, floor),
        with_floor("statectl pull", &size, &mut pulls, is, floor),
        per_entry("JSON of an entry", json.len() as u64),
        per_entry("stored bytes of an entry", stored.metadata()?.len()),
    ]
    .into())
}

/// The JSON of an entry, on average.
pub(super) fn entry_bytes() -> Result<usize, Trouble> {
    const ENTRIES: usize = 1_000;
    let document = workload::document(ENTRIES);
    Ok(State::decode(document.as_bytes())?.encode()?.len() / ENTRIES)
}

fn with_floor(what: &str, size: &str, times: &mut [f64], is: &str, floor: f64) -> Figure {
    Figure {
        what: what.into(),
        size: size.into(),
        unit: Unit::Seconds,
        value: median(times),
        floor: Some(Floor {
            is: is.into(),
            value: floor,
        }),
    }
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
