//! `docs/dependencies.md` shows everything that `sdk-state` pulls in without its default features, so a dependency more is a
//! change of that page.

use crate::workspace::{exit, root};
use std::fs;
use std::io;
use std::process::{Command, ExitCode};

const PAGE: &str = "docs/dependencies.md";
/// The platform is named: others have another tree.
const COMMAND: &str = "tree -p sdk-state --no-default-features -e normal --target x86_64-unknown-linux-gnu --locked --format {lib}";

pub(crate) fn run() -> ExitCode {
    exit(check())
}

fn check() -> io::Result<()> {
    let output = Command::new(env!("CARGO"))
        .args(COMMAND.split(' '))
        .current_dir(root())
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ));
    }
    let tree = String::from_utf8_lossy(&output.stdout);
    if fs::read_to_string(root().join(PAGE))?.contains(&format!("\n```text\n{tree}```\n")) {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{tree}\n{PAGE} shows another tree than this one of `cargo {COMMAND}`. Is what came worth it? Then show it there"
    )))
}
