use crate::workspace::root;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root());
    command
}

/// Builds a benchmark as `cargo bench` does, and says where it is.
pub(crate) fn bench_program(package: &str, name: &str) -> io::Result<PathBuf> {
    let mut build = command();
    build.args([
        "bench",
        "--locked",
        "--no-run",
        "--message-format=json",
        "-p",
        package,
        "--bench",
        name,
    ]);
    built(build, name)
}

/// Builds a program optimised, and says where it is.
pub(super) fn release_program(package: &str) -> io::Result<PathBuf> {
    let mut build = command();
    build.args([
        "build",
        "--locked",
        "--release",
        "--message-format=json",
        "-p",
        package,
    ]);
    built(build, package)
}

fn built(mut build: Command, name: &str) -> io::Result<PathBuf> {
    let output = build.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("cargo cannot build {name}")));
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| io::Error::other(format!("cargo built no program {name}")))
}
