//! The calls of an operation to the kernel, and the errors that each may meet.

use super::operation::{BEGIN, END, Operation, Process};
use crate::place::Place;
use crate::report::Trouble;
use crate::task::Role;
use crate::task::traced;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// The errors with which a call is failed, where it makes sense for the call.
pub(super) const ERRORS: [&str; 5] = ["EIO", "ENOSPC", "EMFILE", "EINTR", "EACCES"];
/// Calls that name a file or a handle. To fail what maps memory or sets up signals would test the allocator.
const TRACED: &str = "trace=%file,%desc,getrandom";
/// The patience of the directory mutex is 10 seconds: whatever takes longer than this hangs.
const LONGEST: &str = "30";

/// A call of the operation to the kernel.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) arguments: String,
    /// Its number among the calls of that name since the process began: what strace counts.
    pub(super) ordinal: usize,
    pub(super) stage: Stage,
}

/// Where a call stands to the one that makes the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Before,
    Change,
    After,
}

impl Call {
    /// The errors that the call may meet; none for calls that are not failed, such as those that only map memory.
    pub(super) fn errors(&self) -> &'static [&'static str] {
        match self.name.as_str() {
            "openat" | "open" if self.names("O_CREAT") => &ERRORS,
            "openat" | "open" => &["EIO", "EMFILE", "EINTR", "EACCES"],
            "mkdir" | "mkdirat" | "rename" | "renameat" | "renameat2" | "link" | "linkat" => {
                &["EIO", "ENOSPC", "EINTR", "EACCES"]
            }
            "unlink" | "unlinkat" | "chmod" | "fchmod" | "fchmodat" | "fchmodat2" => {
                &["EIO", "EINTR", "EACCES"]
            }
            "write" | "pwrite64" | "fsync" | "fdatasync" => &["EIO", "ENOSPC", "EINTR"],
            "stat" | "lstat" | "newfstatat" | "statx" => &["EIO", "EINTR", "EACCES"],
            "fcntl" if self.names("F_DUPFD") => &["EMFILE"],
            // With F_GETFD the standard library checks itself, in debug builds alone.
            "fcntl" if self.names("F_GETFD") => &[],
            "read" | "pread64" | "fstat" | "getdents64" | "fstatfs" | "flock" | "lseek" | "fcntl"
            | "close" | "getrandom" => &["EIO", "EINTR"],
            _ => &[],
        }
    }

    /// Whether it may wait, so that a signal may interrupt it.
    pub(super) fn may_be_interrupted(&self) -> bool {
        [
            "read",
            "write",
            "pread64",
            "pwrite64",
            "fsync",
            "fdatasync",
            "flock",
        ]
        .contains(&self.name.as_str())
    }

    pub(super) fn names(&self, part: &str) -> bool {
        self.arguments.contains(part)
    }

    /// The flush of a file whose name is random and begins with a dot, so far.
    pub(super) fn is_flush_of_temporary(&self) -> bool {
        let names = ["/.snapshot.", "/.current.", "/.lock."];
        self.name == "fsync" && names.iter().any(|name| self.names(name))
    }
}

/// Runs the operation and lists its calls.
pub(super) fn of(operation: Operation, place: &Place, log: &Path) -> Result<Vec<Call>, Trouble> {
    let output = run(operation, place, log, &[])?;
    if !output.status.success() {
        return Err(format!("the operation fails without a fault: {output:?}").into());
    }
    parse(&fs::read_to_string(log)?, operation.change())
}

/// Runs the operation with the faults in it.
pub(super) fn run_with_fault(
    operation: Operation,
    place: &Place,
    log: &Path,
    faults: &[String],
) -> Result<Output, Trouble> {
    let output = run(operation, place, log, faults)?;
    let log = fs::read_to_string(log)?;
    let mut hit = log
        .lines()
        .skip_while(|line| !is_marker(line, BEGIN))
        .take_while(|line| !is_marker(line, END));
    if !hit.any(|line| line.contains("(INJECTED)")) {
        return Err("the fault did not hit the operation: its calls differ from run to run".into());
    }
    Ok(output)
}

fn run(operation: Operation, place: &Place, log: &Path, faults: &[String]) -> Result<Output, Trouble> {
    let mut command = Command::new("timeout");
    command.args([
        LONGEST,
        "strace",
        "-f",
        "-qq",
        "-y",
        "-s",
        "256",
        "-e",
        "signal=none",
        "-e",
        TRACED,
    ]);
    for fault in faults {
        command.args(["-e", fault]);
    }
    let process = Process {
        place: place.clone(),
        operation,
    };
    Ok(traced(command, log, &Role::Operation(process))?.output()?)
}

fn parse(log: &str, change: Option<(&str, &str)>) -> Result<Vec<Call>, Trouble> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let mut calls = Vec::new();
    let mut stage = Stage::Before;
    let mut is_inside = false;
    for line in log.lines() {
        // 4711  openat(AT_FDCWD, "x", O_RDONLY) = 3
        let Some((name, arguments)) = line
            .split_once(' ')
            .and_then(|(_, call)| call.trim().split_once('('))
        else {
            continue;
        };
        let count = counts.entry(name).or_default();
        *count += 1;
        if is_marker(line, END) {
            return Ok(calls);
        }
        if is_inside {
            let is_change = change.is_some_and(|(call, part)| name == call && arguments.contains(part));
            if is_change {
                stage = Stage::Change;
            }
            calls.push(Call {
                name: name.into(),
                arguments: arguments.into(),
                ordinal: *count,
                stage,
            });
            if is_change {
                stage = Stage::After;
            }
        }
        is_inside |= is_marker(line, BEGIN);
    }
    Err("the trace shows no end of the operation".into())
}

fn is_marker(line: &str, marker: &str) -> bool {
    // 4711 write(1<pipe:[4712]>, "begin\n", 6) = 6
    line.contains("write(1<") && line.contains(&format!("\"{marker}\\n\""))
}
