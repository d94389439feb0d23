//! What `Cargo.toml` and `docs/dependencies.md` state about versions and dependencies, compared with what is so.

use crate::workspace::{exit, metadata, published, root, run, target, unstable_cargo};
use cargo_metadata::semver::Version;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::process::{Command, ExitCode, Stdio};

const PAGE: &str = "docs/dependencies.md";
/// The platform is named: others need other packages.
const TREE: &str = "tree -p sdk-state --no-default-features -e normal --target x86_64-unknown-linux-gnu --locked --prefix none --format {lib}";

/// `docs/dependencies.md` lists everything that `sdk-state` pulls in without its default features.
pub fn tree() -> ExitCode {
    exit(check_tree())
}

fn check_tree() -> io::Result<()> {
    let mut command = Command::new(env!("CARGO"));
    let output = command.args(TREE.split(' ')).current_dir(root()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr)));
    }
    let tree = String::from_utf8_lossy(&output.stdout);
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    let names: BTreeSet<&str> = names
        .filter(|name| !name.is_empty() && *name != "sdk_state")
        .collect();
    let page = fs::read_to_string(root().join(PAGE))?;
    let listed = page
        .split("\n```text\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    if listed.is_some_and(|listed| listed.split_whitespace().eq(names.iter().copied())) {
        return Ok(());
    }
    let names = names.into_iter().collect::<Vec<_>>().join(" ");
    Err(io::Error::other(format!(
        "{names}\n{PAGE} lists other packages than these of `cargo {TREE}`. If the new dependency is worth it, list it there"
    )))
}

/// Builds the crates and their tests with the oldest direct dependencies that `Cargo.toml` allows.
///
/// `direct-minimal-versions` leaves what those depend on at its newest. With `minimal-versions`, another crate's higher
/// bound for a dependency of ours would hide that our bound is too low.
pub fn minimal_versions() -> ExitCode {
    let lock_file = target().join("minimal-versions/Cargo.lock");
    let cargo = |arguments: &str| {
        let mut command = unstable_cargo();
        command.args(["-Zlockfile-path", "-Zdirect-minimal-versions"]);
        command.env("CARGO_RESOLVER_LOCKFILE_PATH", &lock_file);
        run(command.args(arguments.split(' ')))
    };
    exit(
        fs::create_dir_all(target().join("minimal-versions"))
            .and_then(|()| cargo("generate-lockfile"))
            .and_then(|()| cargo("check --locked --workspace --exclude xtask --all-features --all-targets")),
    )
}

/// The Rust version that `Cargo.toml` states is enough.
///
/// No dependency may state a newer one. If the toolchain at hand is the stated one, every other check builds with it; if
/// it is newer and rustup has the stated one, that one builds here.
pub fn msrv() -> ExitCode {
    exit(check_msrv(&mut io::stdout().lock()))
}

fn check_msrv(out: &mut impl Write) -> io::Result<()> {
    let metadata = metadata()?;
    let stated = stated(&metadata)?;
    let newer: Vec<_> = metadata
        .packages
        .iter()
        .filter(|package| {
            package
                .rust_version
                .as_ref()
                .is_some_and(|version| *version > stated)
        })
        .map(|package| package.name.to_string())
        .collect();
    if !newer.is_empty() {
        let newer = newer.join(", ");
        return Err(io::Error::other(format!(
            "newer than Rust {stated}, which Cargo.toml states: {newer}"
        )));
    }
    let count = metadata.packages.len();
    writeln!(out, "none of {count} packages needs more than Rust {stated}")?;

    let here = toolchain()?;
    if (here.major, here.minor) == (stated.major, stated.minor) {
        return writeln!(out, "this is Rust {here}: every check builds with the stated one");
    }
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
    command.args(["run", &toolchain]);
    command.args(["cargo", "check", "--locked", "--workspace", "--all-features"]);
    run(command.current_dir(root()))
}

/// What all published crates state.
fn stated(metadata: &cargo_metadata::Metadata) -> io::Result<Version> {
    let versions = published(metadata)
        .into_iter()
        .map(|package| package.rust_version.clone());
    let mut stated: Vec<_> = versions.collect();
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
    let version = text
        .split(' ')
        .nth(1)
        .and_then(|version| Version::parse(version).ok());
    version.ok_or_else(|| io::Error::other("rustc does not say its version"))
}
