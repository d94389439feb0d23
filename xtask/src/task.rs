//! Processes of our own that a task starts, traced or not: what they do is their only argument, as JSON.

use crate::{crash, faults, props, report::Trouble, torture};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::env;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode};

/// Options of the hidden `cargo xtask child`.
#[derive(Args)]
pub struct Options {
    role: String,
}

/// What a process is for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Runs the calls of a script under strace.
    Script(crash::script::Process),
    /// Calls one operation, whose calls to the kernel are failed.
    Operation(faults::operation::Process),
    /// Runs out of space.
    FullDisk(faults::disk::Process),
    /// Obeys its standard input.
    Obey,
    /// Writes beside others.
    Write(props::writes::Writer),
    /// Is killed sooner or later.
    Tormented(torture::worker::Process),
    /// Locks as unobin does.
    Unobin(torture::worker::Process),
    /// Makes runs until it is killed.
    Executing(torture::executor::Process),
    /// Reads beside them.
    Reading(torture::executor::Process),
}

/// The words of the command line that starts such a process.
pub(crate) fn words(role: &Role) -> io::Result<[OsString; 3]> {
    let role = serde_json::to_string(role)?;
    Ok([env::current_exe()?.into(), "child".into(), role.into()])
}

pub(crate) fn command(role: &Role) -> io::Result<Command> {
    let [program, arguments @ ..] = words(role)?;
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

/// Plays the role; its trouble goes to standard error.
pub fn run(options: &Options) -> ExitCode {
    let played = serde_json::from_str(&options.role)
        .map_err(Trouble::from)
        .and_then(|role| match role {
            Role::Script(process) => crash::script::run(&process),
            Role::Operation(process) => faults::operation::run(&process),
            Role::FullDisk(process) => faults::disk::run(&process),
            Role::Obey => props::obey(),
            Role::Write(writer) => props::writes::run_writer(&writer),
            Role::Tormented(process) => torture::worker::run(&process),
            Role::Unobin(process) => torture::worker::run_unobin(&process),
            Role::Executing(process) => torture::executor::run(&process),
            Role::Reading(process) => torture::executor::read(&process),
        });
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            let _ = writeln!(io::stderr(), "{trouble}");
            ExitCode::FAILURE
        }
    }
}

/// Why nothing can be traced here, and what to do; `None` when it can.
pub(crate) fn obstacle() -> Option<String> {
    let mut command = Command::new("strace");
    command.args([
        "-qq",
        "-e",
        "inject=fsync:error=EIO:when=1",
        "-o",
        "/dev/null",
        "true",
    ]);
    match command.output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!(
            "strace may not trace here (allow ptrace, in a container with --cap-add=SYS_PTRACE): {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Some(format!(
            "strace does not start ({error}): install it, on Debian and Ubuntu with apt-get install strace"
        )),
    }
}

/// Adds the log and the process that is traced to a command that ends with strace and its options.
pub(crate) fn traced(mut strace: Command, log: &Path, role: &Role) -> io::Result<Command> {
    strace.arg("-o").arg(log).args(words(role)?);
    Ok(strace)
}
