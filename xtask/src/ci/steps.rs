use super::readme::{console_commands, test_command};
use crate::workspace::root;
use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

/// The tasks of this program and their sizes: what shows within minutes that something broke. Larger runs are for whoever
/// looks for faults.
const TASKS: [&str; 6] = [
    "instructions",
    "props --cases 24",
    "crash",
    "faults",
    "torture --minutes 0.3",
    "fuzz --seconds 15",
];

pub(super) struct Step {
    pub(super) name: String,
    pub(super) command: Command,
}

pub(super) fn steps() -> io::Result<Vec<Step>> {
    let readme = fs::read_to_string(root().join("README.md"))?;
    let mut steps = vec![
        cargo("fmt --all --check"),
        cargo("fmt --manifest-path xtask/fuzz/Cargo.toml --check"),
        typos(),
        cargo("deny --locked --workspace check licenses bans sources"),
        cargo("deny --locked --manifest-path xtask/fuzz/Cargo.toml check licenses bans sources"),
        advisories(),
        cargo("shear --locked --deny-warnings"),
        cargo("shear --locked --deny-warnings xtask/fuzz"),
        cargo("xtask msrv"),
        cargo("xtask tree"),
        cargo("clippy --locked --workspace --all-targets --all-features -- --deny warnings"),
        // Each crate by itself: no other one turns its features on.
        cargo("hack clippy --locked --ignore-private --workspace --each-feature -- --deny warnings"),
        cargo("hack test --locked -p sdk-encrypt -p sdk-state --each-feature --exclude-all-features"),
        shell(test_command(&readme)?),
        documentation(),
        cargo("xtask public-api"),
        cargo("xtask minimal-versions"),
        packages(),
    ];
    steps.extend(TASKS.iter().map(|task| cargo(&format!("xtask {task}"))));
    steps.push(session(&readme)?);
    Ok(steps)
}

fn cargo(arguments: &str) -> Step {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments.split(' '));
    Step {
        name: format!("cargo {arguments}"),
        command,
    }
}

fn shell(script: &str) -> Step {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]);
    Step {
        name: script.into(),
        command,
    }
}

fn typos() -> Step {
    Step {
        name: "typos".into(),
        command: Command::new("typos"),
    }
}

/// The advisories of RustSec come from a git server: they are checked where somebody has fetched them.
fn advisories() -> Step {
    let check = "deny --locked --offline --workspace check advisories";
    if has_advisories() {
        return cargo(check);
    }
    let mut step = shell("echo 'not checked, since there is no database: `cargo deny fetch db` brings it'");
    step.name = format!("cargo {check}");
    step
}

/// Whether cargo-deny has a database where it keeps them.
fn has_advisories() -> bool {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let entries = home.and_then(|home| fs::read_dir(home.join("advisory-dbs")).ok());
    entries.is_some_and(|entries| entries.flatten().any(|entry| entry.path().join(".git").exists()))
}

fn documentation() -> Step {
    let mut step = cargo("hack doc --locked --workspace --each-feature --no-deps");
    step.command.env("RUSTDOCFLAGS", "--deny warnings");
    step
}

/// Packs every crate that is published, and builds it from its package. The target directory is named, so that the
/// packages share what they build.
fn packages() -> Step {
    let mut step =
        cargo("package --locked --allow-dirty --workspace --exclude xtask --exclude example-sqlite");
    step.command.env("CARGO_TARGET_DIR", crate::workspace::target());
    step
}

/// The session that the README shows, with keys and stacks in a place of its own.
fn session(readme: &str) -> io::Result<Step> {
    let commands = console_commands(readme)?;
    let script = format!(
        "scratch=$(mktemp -d); trap 'rm -rf \"$scratch\"' EXIT\n\
         export XDG_CONFIG_HOME=$scratch/config STATECTL_ROOT=$scratch/state\n\
         {commands}"
    );
    let mut step = shell(&script);
    step.name = "the session of the README".into();
    // It says where programs are built.
    step.command.env_remove("CARGO_TARGET_DIR");
    Ok(step)
}
