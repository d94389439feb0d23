//! The oldest Rust that builds this is the one that `Cargo.toml` states.
//!
//! No dependency may state a newer one. When the toolchain at hand is the stated one, every other check builds with it; when
//! it is newer and rustup has the stated one, that one builds here.

use crate::workspace::{exit, metadata, published, root, run as run_command};
use cargo_metadata::semver::Version;
use std::io;
use std::process::{Command, ExitCode, Stdio};

pub(crate) fn run() -> ExitCode {
    exit(check(&mut io::stdout().lock()))
}

fn check(out: &mut impl io::Write) -> io::Result<()> {
    let metadata = metadata()?;
    let stated = stated(&metadata)?;
    let mut newer = Vec::new();
    for package in &metadata.packages {
        if let Some(version) = &package.rust_version
            && *version > stated
        {
            newer.push(format!(
                "{} {} needs Rust {version}",
                package.name, package.version
            ));
        }
    }
    if !newer.is_empty() {
        return Err(io::Error::other(format!(
            "{}, and Cargo.toml states {stated}",
            newer.join(", ")
        )));
    }
    writeln!(
        out,
        "none of {} packages needs more than Rust {stated}",
        metadata.packages.len()
    )?;

    let here = toolchain()?;
    if (here.major, here.minor) == (stated.major, stated.minor) {
        return writeln!(
            out,
            "this is Rust {here}: whatever is built is built with the stated one"
        );
    }
    build(&stated, out)
}

/// What all published crates state.
fn stated(metadata: &cargo_metadata::Metadata) -> io::Result<Version> {
    let mut stated: Vec<_> = published(metadata)
        .iter()
        .map(|package| package.rust_version.clone())
        .collect();
    stated.dedup();
    match stated.as_slice() {
        [Some(version)] => Ok(version.clone()),
        _ => Err(io::Error::other(
            "the crates do not all state the same Rust version",
        )),
    }
}

fn toolchain() -> io::Result<Version> {
    let output = Command::new("rustc")
        .arg("--version")
        .current_dir(root())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.split(' ')
        .nth(1)
        .and_then(|version| Version::parse(version).ok())
        .ok_or_else(|| io::Error::other("rustc does not say its version"))
}

fn build(stated: &Version, out: &mut impl io::Write) -> io::Result<()> {
    let toolchain = stated.to_string();
    let mut known = Command::new("rustup");
    known.args(["run", &toolchain, "rustc", "--version"]);
    known.stdout(Stdio::null()).stderr(Stdio::null());
    if !known.status().is_ok_and(|status| status.success()) {
        return writeln!(
            out,
            "not built with it: `rustup toolchain install {toolchain}` brings it"
        );
    }
    let mut command = Command::new("rustup");
    command.args([
        "run",
        &toolchain,
        "cargo",
        "check",
        "--locked",
        "--workspace",
        "--all-features",
    ]);
    run_command(command.current_dir(root()))
}
