//! Everything that must hold before a change lands, as CI runs it: one step after the other, up to the first that fails.

use crate::workspace::{root, starts, target};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// The tasks of this program and their sizes: what shows within minutes that something broke.
const TASKS: [&str; 7] = [
    "instructions",
    "protocol",
    "props --cases 96",
    "crash",
    "faults",
    "torture --minutes 0.3",
    "fuzz --seconds 15",
];
/// The programs that steps use and cargo does not bring. `.ci/tools` installs them, in the versions of `.ci/tools.txt`.
const TOOLS: [&str; 4] = ["cargo-deny", "cargo-hack", "cargo-shear", "typos"];

/// Runs all steps.
pub fn run() -> ExitCode {
    let mut out = io::stdout().lock();
    match run_all(&mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(out, "\nFAILED  {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_all(out: &mut impl Write) -> io::Result<()> {
    let start = Instant::now();
    let path = path()?;
    check_tools(&path)?;
    let mut times = Vec::new();
    for Step { name, mut command } in steps()? {
        let start = Instant::now();
        writeln!(out, "\n== {name}")?;
        out.flush()?;
        let status = command.current_dir(root()).env("PATH", &path).status()?;
        if !status.success() {
            return Err(io::Error::other(name));
        }
        let seconds = start.elapsed().as_secs_f64();
        writeln!(out, "== {seconds:.1} s")?;
        times.push((seconds, name));
    }
    times.sort_by(|one, other| other.0.total_cmp(&one.0));
    writeln!(out, "\nthe longest steps:")?;
    for (seconds, name) in times.iter().take(8) {
        writeln!(out, "{seconds:6.0} s  {name}")?;
    }
    let seconds = start.elapsed().as_secs_f64();
    writeln!(
        out,
        "no step failed ({seconds:.0} s); a step that skipped something says so above"
    )
}

struct Step {
    name: String,
    command: Command,
}

fn steps() -> io::Result<Vec<Step>> {
    let readme = fs::read_to_string(root().join("README.md"))?;
    let mut steps = vec![
        cargo("fmt --all --check"),
        cargo("fmt --manifest-path xtask/fuzz/Cargo.toml --check"),
        Step {
            name: "typos".into(),
            command: Command::new("typos"),
        },
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

/// The advisories of RustSec come from a git server: they are checked where cargo-deny finds a copy of its database.
fn advisories() -> Step {
    let check = "deny --locked --offline --workspace check advisories";
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let databases = home.and_then(|home| fs::read_dir(home.join("advisory-dbs")).ok());
    if databases.is_some_and(|entries| entries.flatten().any(|entry| entry.path().join(".git").exists())) {
        return cargo(check);
    }
    let mut step = shell("echo 'SKIPPED  there is no database: `cargo deny fetch db` brings it'");
    step.name = format!("cargo {check}");
    step
}

fn documentation() -> Step {
    let mut step = cargo("hack doc --locked --workspace --each-feature --no-deps");
    step.command.env("RUSTDOCFLAGS", "--deny warnings");
    step
}

/// Packs every crate that is published, and builds it from its package. The target directory is named, so that the
/// packages share what they build.
///
/// Cargo keeps what it has unpacked of a local registry (`registry/src/-…`) and does not look again while the version is the
/// same: a package would be built against its siblings of an earlier commit.
fn packages() -> Step {
    let package = "cargo package --locked --allow-dirty --workspace --exclude xtask --exclude example-sqlite";
    let mut step = shell(&format!(
        "rm -rf \"${{CARGO_HOME:-$HOME/.cargo}}\"/registry/src/-*/{{sdk-*,localstate,statectl}}-[0-9]*\n{package}"
    ));
    step.name = package.into();
    step.command.env("CARGO_TARGET_DIR", target());
    step
}

/// The session that the README shows, with keys and stacks in a directory of its own.
fn session(readme: &str) -> io::Result<Step> {
    let commands = console_commands(readme)?;
    let mut step = shell(&format!(
        "scratch=$(mktemp -d); trap 'rm -rf \"$scratch\"' EXIT\n\
         export XDG_CONFIG_HOME=$scratch/config STATECTL_ROOT=$scratch/state\n\
         {commands}"
    ));
    step.name = "the session of the README".into();
    // The session names the directory where programs are built.
    step.command.env_remove("CARGO_TARGET_DIR");
    Ok(step)
}

/// The command that the README gives for the tests.
fn test_command(readme: &str) -> io::Result<&str> {
    let mut lines = readme.lines().map(str::trim);
    lines
        .find(|line| line.starts_with("cargo test"))
        .ok_or_else(|| io::Error::other("the README gives no command for the tests"))
}

/// What a reader types in the README's session, without what is printed.
fn console_commands(readme: &str) -> io::Result<String> {
    let (session, _) = readme
        .split_once("```console\n")
        .and_then(|(_, rest)| rest.split_once("\n```"))
        .ok_or_else(|| io::Error::other("the README shows no session"))?;
    let commands: Vec<&str> = session
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .collect();
    Ok(commands.join("\n"))
}

/// Where programs are looked for: first among those of `.ci/tools`.
fn path() -> io::Result<OsString> {
    let installed = root().join("target/tools/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths(std::iter::once(installed).chain(env::split_paths(&path))).map_err(io::Error::other)
}

/// An error that names the missing programs: no step is passed over for want of its program.
fn check_tools(path: &OsString) -> io::Result<()> {
    let missing: Vec<_> = TOOLS
        .into_iter()
        .filter(|tool| !starts(Command::new(tool).env("PATH", path)))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(", ");
    Err(io::Error::other(format!(
        "missing: {missing}. `.ci/tools` installs what CI uses into target/tools; programs of your own in PATH do as well"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_says_how_to_test_and_what_to_try() {
        let readme = include_str!("../../README.md");
        assert_eq!(test_command(readme).unwrap(), "cargo test --workspace");
        let commands = console_commands(readme).unwrap();
        assert!(commands.contains("statectl"), "{commands}");
        assert!(!commands.contains("notice:"), "{commands}");
    }
}
