//! Coverage-guided fuzzing: inputs grow from those that reach new code, and each target checks laws beside "no panic".
//!
//! libFuzzer, by the `libfuzzer-sys` crate, is built from source with the targets, so nothing is installed for it: the
//! code that counts what is reached is put in by LLVM, which a stable rustc asks for with `-C passes`. `cargo-fuzz` does
//! the same and wants a nightly compiler for its sanitizers, AFL++ wants its own compiler driver, and honggfuzz its own
//! build of the tools. No sanitizer is on: the workspace forbids `unsafe`, and what libFuzzer bounds without one, memory
//! and time, is what can go wrong here. What stays unchecked that way is the C of zstd.
//!
//! The targets lie in `xtask/fuzz/src/bin`, one a file, inputs that once failed in `xtask/fuzz/regressions/TARGET`: they
//! are read at the start of each run. What a run finds stays in the target directory and begins the next one.

use crate::report::{Trouble, report};
use crate::workspace::{root, starts, target};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Instant;

/// Options of `cargo xtask fuzz`.
#[derive(Args)]
pub struct Options {
    /// One of envelope_v2, envelope_v1, snapshot, revision, current, lock_marker, change, journal_file,
    /// journal_records, key_text, store; all of them by default
    #[arg(value_parser = TARGETS)]
    target: Option<String>,
    /// How long each target runs; 0 only repeats what earlier runs found
    #[arg(long, default_value_t = 20, value_name = "S")]
    seconds: u64,
}

const TARGETS: [&str; 11] = [
    "envelope_v2",
    "envelope_v1",
    "snapshot",
    "revision",
    "current",
    "lock_marker",
    "change",
    "journal_file",
    "journal_records",
    "key_text",
    "store",
];
/// What `cargo-fuzz` passes, without a sanitizer. All of it is stable.
const FLAGS: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    // Tells libFuzzer what the code compares its input with.
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    // Two conditions that are folded into one branch would count as one.
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "--cfg=fuzzing",
];
/// 32 KiB hold every seed. More memory than half a GiB, and more time, than any input of that length has a reason to take.
const LIMITS: [&str; 3] = ["-max_len=32768", "-rss_limit_mb=512", "-timeout=10"];
/// How much of the log is printed with a failure.
const LINES_OF_LOG: usize = 24;

/// Builds the targets and runs them.
pub fn run(options: &Options) -> ExitCode {
    let is_chosen = |target: &&str| options.target.as_deref().is_none_or(|chosen| chosen == *target);
    let targets: Vec<&'static str> = TARGETS.into_iter().filter(is_chosen).collect();
    report(|report| {
        let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
        if !starts(&mut Command::new(compiler)) {
            report.skips("no C++ compiler builds libFuzzer here: apt-get install g++, or set CXX");
            return Ok(());
        }
        let start = Instant::now();
        let programs = build(&targets)?;
        report.line(format_args!("built in {:.0} s", start.elapsed().as_secs_f64()));
        // One for each core of a small machine.
        for pair in targets.chunks(2) {
            let outcomes = thread::scope(|scope| {
                let programs = &programs;
                let run = |target: &&'static str| {
                    let target = *target;
                    scope.spawn(move || run_one(target, programs, options.seconds))
                };
                let running: Vec<_> = pair.iter().map(run).collect();
                let outcomes = running.into_iter().map(|one| one.join());
                outcomes.collect::<Result<Vec<_>, _>>()
            });
            for outcome in outcomes.map_err(|_| "a target was not run")? {
                let (sentence, problems) = outcome?;
                report.check(sentence, &problems);
            }
        }
        Ok(())
    })
}

/// Builds the targets and returns the directory of their programs.
fn build(targets: &[&str]) -> Result<PathBuf, Trouble> {
    let version = Command::new("rustc").arg("-vV").output()?;
    let version = String::from_utf8_lossy(&version.stdout);
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or("rustc does not say for what it compiles")?;
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["build", "--quiet", "--release", "--manifest-path"])
        .arg(directory().join("Cargo.toml"))
        .arg("--target-dir")
        .arg(output())
        // A target that is named keeps the flags away from build scripts, which are not linked with libFuzzer.
        .args(["--target", host])
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    for target in targets {
        command.args(["--bin", target]);
    }
    match command.status()?.success() {
        true => Ok(output().join(host).join("release")),
        false => Err("the targets do not build".into()),
    }
}

/// Runs one target, from what earlier runs kept, the seeds and the inputs that once failed. Returns what it did, and what
/// failed.
fn run_one(target: &str, programs: &Path, seconds: u64) -> Result<(String, Vec<String>), Trouble> {
    let start = Instant::now();
    let kept = output().join("corpus").join(target);
    let made = output().join("seeds").join(target);
    let crashes = output().join("crashes").join(target);
    let log = output().join("logs").join(format!("{target}.log"));
    let regressions = directory().join("regressions").join(target);
    let written = directory().join("seeds").join(target);
    for made in [&made, &crashes] {
        empty(made)?;
    }
    for needed in [&kept, &output().join("logs")] {
        fs::create_dir_all(needed)?;
    }
    for (number, seed) in seeds(target)?.into_iter().enumerate() {
        fs::write(made.join(format!("{number:03}")), seed)?;
    }

    // In memory where there is such a place, since the local backend flushes files.
    let scratch = crate::place::scratch()?;
    let program = programs.join(target);
    let file = File::create(&log)?;
    let directories = [&made, &written, &regressions];
    let status = Command::new(&program)
        .arg(&kept)
        .args(directories.into_iter().filter(|directory| directory.is_dir()))
        .arg(format!("-artifact_prefix={}/", crashes.display()))
        .arg(format!("-dict={}", directory().join("words.dict").display()))
        .args(LIMITS)
        .arg("-print_final_stats=1")
        .arg(match seconds {
            // Only what is there already.
            0 => "-runs=0".into(),
            seconds => format!("-max_total_time={seconds}"),
        })
        .env("TMPDIR", scratch.path())
        .env("RUST_BACKTRACE", "1")
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()?;

    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let mut problems = Vec::new();
    for entry in fs::read_dir(&crashes)? {
        let input = entry?.path();
        // A slow input is kept there as well, and is no failure.
        if !input.to_string_lossy().contains("/slow-unit-") {
            problems.push(format!(
                "reproduce: {} {1}\n    once mended: cp {1} {2}",
                program.display(),
                input.display(),
                regressions.display()
            ));
        }
    }
    // For a stack overflow there is no input, since libFuzzer does not hear of it.
    if !status.success() || !problems.is_empty() {
        problems.push(format!(
            "it ended with {status}, see {}\n{}",
            log.display(),
            end(&text)
        ));
    }
    let [executions, edges, corpus] = statistics(&text);
    let seconds = start.elapsed().as_secs_f64();
    let sentence =
        format!("{target}: {executions} executions, {edges} edges, {corpus} inputs kept ({seconds:.1} s)");
    Ok((sentence, problems))
}

/// The executions, the edges and the inputs kept, from libFuzzer's log: `#4096 pulse cov: 12 ft: 13 corp: 7/90b …` and, at the
/// end, `stat::…`.
fn statistics(log: &str) -> [u64; 3] {
    ["stat::number_of_executed_units:", " cov:", " corp:"].map(|name| {
        let rest = log.rsplit_once(name).map_or("", |(_, rest)| rest.trim_start());
        let digits = rest.split(|sign: char| !sign.is_ascii_digit()).next();
        digits.and_then(|digits| digits.parse().ok()).unwrap_or_default()
    })
}

/// The panic and what follows, which tell more than the statistics at the very end.
fn end(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let panic = lines.iter().rposition(|line| line.contains("panicked at"));
    let from = panic.unwrap_or(lines.len().saturating_sub(LINES_OF_LOG));
    let until = lines.len().min(from + LINES_OF_LOG);
    lines[from..until].join("\n")
}

/// First inputs that already lead far into the code: the published vectors and the files of the tests. What is small and
/// can be read lies in `xtask/fuzz/seeds` instead.
fn seeds(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let states = "crates/localstate/tests/unobin/state";
    match target {
        // Most of them are not to open.
        "envelope_v2" => {
            let text = fs::read(root().join("crates/sdk-state/tests/vectors.json"))?;
            let file: serde_json::Value = serde_json::from_slice(&text)?;
            let vectors = file["vectors"].as_array().into_iter().flatten();
            Ok(vectors
                .filter_map(|vector| STANDARD.decode(vector["sealed"].as_str()?).ok())
                .collect())
        }
        "envelope_v1" => files(states, "enc"),
        "snapshot" => {
            let plain = files(&format!("{states}/network/dev"), "enc")?;
            let documents = plain.iter().filter_map(|file| plaintext(file));
            Ok(documents
                .chain(files("crates/statectl/examples", "json")?)
                .collect())
        }
        _ => Ok(Vec::new()),
    }
}

/// What a file of version 1 holds that is not encrypted.
fn plaintext(file: &[u8]) -> Option<Vec<u8>> {
    let envelope: serde_json::Value = serde_json::from_slice(file).ok()?;
    STANDARD.decode(envelope["ciphertext"].as_str()?).ok()
}

/// Every file with this ending under a directory of the tree.
fn files(directory: &str, ending: &str) -> io::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let mut directories = vec![root().join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                found.push(fs::read(path)?);
            }
        }
    }
    Ok(found)
}

fn empty(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(directory)
}

/// The package of the targets.
fn directory() -> PathBuf {
    root().join("xtask/fuzz")
}

fn output() -> PathBuf {
    target().join("fuzz")
}
