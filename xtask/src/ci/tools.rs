//! The programs that steps use and cargo does not bring. `.ci/tools` installs them, in the versions of `.ci/tools.txt`.

use crate::workspace::root;
use std::env;
use std::ffi::OsString;
use std::io;
use std::process::{Command, Stdio};

const TOOLS: [&str; 4] = ["cargo-deny", "cargo-hack", "cargo-shear", "typos"];

/// Where programs are looked for: first among those of `.ci/tools`.
pub(super) fn path() -> io::Result<OsString> {
    let installed = root().join("target/tools/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths(std::iter::once(installed).chain(env::split_paths(&path))).map_err(io::Error::other)
}

/// An error that says which are missing: no step is passed over for want of its program.
pub(super) fn check() -> io::Result<()> {
    let path = path()?;
    let starts = |tool: &&str| {
        let mut command = Command::new(tool);
        command.arg("--version").env("PATH", &path);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // Not every one of them knows the option: that it starts is enough.
        command.status().is_ok()
    };
    let missing: Vec<_> = TOOLS.into_iter().filter(|tool| !starts(tool)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(", ");
    Err(io::Error::other(format!(
        "missing: {missing}. `.ci/tools` installs what CI uses into target/tools; programs of your own in PATH do as well"
    )))
}
