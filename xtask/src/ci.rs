//! Everything that must hold before a change lands, as CI runs it: one step after the other, up to the first that fails.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

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

pub(crate) fn run() -> ExitCode {
    let mut out = io::stdout().lock();
    match run_all(&mut out) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(failed)) => {
            let _ = writeln!(out, "\nFAILED  {failed}");
            ExitCode::FAILURE
        }
        Err(error) => {
            let _ = writeln!(out, "\nFAILED  {error}");
            ExitCode::FAILURE
        }
    }
}

/// The name of the step that failed.
fn run_all(out: &mut impl io::Write) -> io::Result<Option<String>> {
    let start = Instant::now();
    let steps = steps()?;
    for Step { name, mut command } in steps {
        let start = Instant::now();
        writeln!(out, "\n== {name}")?;
        out.flush()?;
        if !command.current_dir(root()).status()?.success() {
            return Ok(Some(name));
        }
        writeln!(out, "== {:.1} s", start.elapsed().as_secs_f64())?;
    }
    writeln!(out, "\neverything holds ({:.0} s)", start.elapsed().as_secs_f64())?;
    Ok(None)
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
        cargo("clippy --locked --workspace --all-targets --all-features -- --deny warnings"),
        cargo("clippy --locked -p sdk-encrypt -p sdk-state -p localstate -- --deny warnings"),
        shell(test_command(&readme)?),
        documentation(),
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

fn documentation() -> Step {
    let mut step = cargo("doc --locked --workspace --all-features --no-deps");
    step.command.env("RUSTDOCFLAGS", "--deny warnings");
    step
}

fn shell(script: &str) -> Step {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]);
    Step {
        name: script.into(),
        command,
    }
}

/// The session that the README shows, with keys and stacks in a place of its own: what users read is what runs.
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

/// The command that the README gives for the tests.
fn test_command(readme: &str) -> io::Result<&str> {
    let mut lines = readme.lines().map(str::trim);
    lines
        .find(|line| line.starts_with("cargo test"))
        .ok_or_else(|| io::Error::other("the README gives no command for the tests"))
}

/// What is typed in the README's session, without what is printed.
fn console_commands(readme: &str) -> io::Result<String> {
    let block = readme
        .split_once("```console\n")
        .and_then(|(_, rest)| rest.split_once("\n```"))
        .ok_or_else(|| io::Error::other("the README shows no session"))?;
    let commands: Vec<&str> = block
        .0
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .collect();
    Ok(commands.join("\n"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_says_how_to_test_and_what_to_try() {
        let readme = include_str!("../../README.md");
        assert_eq!(test_command(readme).unwrap(), "cargo test --workspace");
        let commands = console_commands(readme).unwrap();
        assert!(commands.starts_with("cargo run "), "{commands}");
        assert!(
            commands.lines().count() > 5 && !commands.contains("notice:"),
            "{commands}"
        );
    }
}
