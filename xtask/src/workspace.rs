//! This workspace as cargo sees it.

use cargo_metadata::{Metadata, MetadataCommand, Package};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// The directory of the workspace.
pub(crate) fn root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// Where everything goes that is not kept in the tree.
pub(crate) fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    root().join(target.as_deref().map_or(Path::new("target"), Path::new))
}

/// All packages of `Cargo.lock`.
pub(crate) fn metadata() -> io::Result<Metadata> {
    let mut command = MetadataCommand::new();
    command.cargo_path(env!("CARGO")).current_dir(root());
    command.other_options(["--locked".into(), "--all-features".into()]);
    command.exec().map_err(io::Error::other)
}

/// The crates of this workspace that are published.
pub(crate) fn published(metadata: &Metadata) -> Vec<&Package> {
    let mut packages = metadata.workspace_packages();
    // `publish = false` is an empty list of registries.
    packages.retain(|package| package.publish.is_none());
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    packages
}

/// A cargo that takes unstable options. Compilers are asked in the same way, and what they make differs from what a stable
/// one does, so it has a directory of its own.
pub(crate) fn unstable_cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root());
    command.env("RUSTC_BOOTSTRAP", "1");
    command.env("CARGO_TARGET_DIR", target().join("unstable"));
    command
}

/// An error unless `command` succeeds. It prints what is wrong itself.
pub(crate) fn run(command: &mut Command) -> io::Result<()> {
    if command.status()?.success() {
        return Ok(());
    }
    let arguments: Vec<_> = command
        .get_args()
        .map(|argument| argument.to_string_lossy())
        .collect();
    Err(io::Error::other(format!("cargo {} fails", arguments.join(" "))))
}

/// Ends a task, whose error goes to standard error.
pub(crate) fn exit(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether a program can be started. Not every one knows the option.
pub(crate) fn starts(command: &mut Command) -> bool {
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok()
}
