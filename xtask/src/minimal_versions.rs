//! Builds the crates and their tests with the oldest dependencies that `Cargo.toml` allows: a lower bound that is too low
//! does not build.
//!
//! Those that are named there are exactly the oldest, and what they depend on in turn is the newest
//! (`direct-minimal-versions`). With `minimal-versions`, which makes those old too, another crate's higher bound for a
//! dependency of ours would hide that ours is too low.

use crate::workspace::{exit, run as run_command, target, unstable_cargo};
use std::fs;
use std::io;
use std::process::{Command, ExitCode};

pub(crate) fn run() -> ExitCode {
    exit(resolve().and_then(|()| build()))
}

fn resolve() -> io::Result<()> {
    fs::create_dir_all(target().join("minimal-versions"))?;
    run_command(cargo().args(["-Zdirect-minimal-versions", "generate-lockfile"]))
}

fn build() -> io::Result<()> {
    let mut command = cargo();
    command.args(["check", "--locked", "--workspace", "--exclude", "xtask"]);
    run_command(command.args(["--all-features", "--all-targets"]))
}

/// A cargo with a lock file of its own.
fn cargo() -> Command {
    let mut command = unstable_cargo();
    command.arg("-Zlockfile-path");
    command.env(
        "CARGO_RESOLVER_LOCKFILE_PATH",
        target().join("minimal-versions/Cargo.lock"),
    );
    command
}
