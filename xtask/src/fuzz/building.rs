use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

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

/// Whether libFuzzer can be built.
pub(super) fn has_compiler() -> bool {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| OsString::from("c++"));
    let mut command = Command::new(compiler);
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Builds the targets and returns the directory of their programs.
pub(super) fn build(targets: &[&str]) -> io::Result<PathBuf> {
    let host = host()?;
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["build", "--quiet", "--release", "--manifest-path"])
        .arg(super::directory().join("Cargo.toml"))
        .arg("--target-dir")
        .arg(super::output())
        // A target that is named keeps the flags away from build scripts, which are not linked with libFuzzer.
        .args(["--target", &host])
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    for target in targets {
        command.args(["--bin", target]);
    }
    if !command.status()?.success() {
        return Err(io::Error::other("the targets do not build"));
    }
    Ok(super::output().join(host).join("release"))
}

fn host() -> io::Result<String> {
    let output = Command::new("rustc").arg("-vV").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| io::Error::other("rustc does not say for what it compiles"))
}
