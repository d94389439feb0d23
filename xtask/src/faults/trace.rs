use super::Trouble;
use super::child::{BEGIN, ChildOptions, END};
use super::operation::Operation;
use super::verdict::{Fault, Unlink};
use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Calls that name a file or a handle. To fail what maps memory or sets up signals would test the allocator.
const TRACED: &str = "trace=%file,%desc,getrandom";
/// The gate's patience is 10 seconds: whatever takes longer than this hangs.
const LONGEST: &str = "30";

/// A call of the operation to the kernel.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) arguments: String,
    /// The how-manieth of that name it is since the process began: what strace counts.
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
    pub(super) fn unlocks(&self) -> bool {
        self.name == "flock" && self.arguments.contains("LOCK_UN")
    }

    /// The flush of a file that has a random name, beginning with a dot, so far.
    pub(super) fn is_flush_of_temporary(&self) -> bool {
        let names = ["/.snapshot.", "/.current.", "/.lock."];
        self.name == "fsync" && names.iter().any(|name| self.arguments.contains(name))
    }

    pub(super) fn is_about_the_boot_id(&self) -> bool {
        self.arguments.contains("/proc/sys/kernel/random/boot_id")
    }
}

/// Whether a process can be traced here and its calls failed; otherwise why not.
pub(super) fn is_possible() -> Result<(), String> {
    let output = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-e",
            "trace=fsync",
            "-e",
            "inject=fsync:error=EIO:when=1",
            "true",
        ])
        .output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "strace may not trace here ({}): allow ptrace, in a container with --cap-add=SYS_PTRACE",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!(
            "strace cannot be started ({error}): install it, for instance with apt-get install strace"
        )),
    }
}

/// Runs the operation and lists its calls.
pub(super) fn calls(operation: Operation, root: &Path, log: &Path) -> Result<Vec<Call>, Trouble> {
    let output = run(operation, root, log, &[])?;
    if !output.status.success() {
        return Err(format!("the operation fails without a fault: {output:?}").into());
    }
    parse(&fs::read_to_string(log)?, operation.change())
}

/// Runs the operation with the fault in it.
pub(super) fn run_failing(fault: &Fault, root: &Path, log: &Path) -> Result<Output, Trouble> {
    let Fault { call, errno, .. } = fault;
    let mut inject = vec![format!(
        "inject={}:error={errno}:when={}",
        call.name, call.ordinal
    )];
    if fault.unlink == Unlink::Fails {
        inject.push("inject=unlinkat:error=EIO".into());
    }
    let output = run(fault.operation, root, log, &inject)?;
    let log = fs::read_to_string(log)?;
    let hit = log.lines().skip_while(|line| !is_marker(line, BEGIN));
    if !hit
        .take_while(|line| !is_marker(line, END))
        .any(|line| line.contains("(INJECTED)"))
    {
        return Err("the fault did not hit the operation: its calls differ from run to run".into());
    }
    Ok(output)
}

fn run(operation: Operation, root: &Path, log: &Path, inject: &[String]) -> Result<Output, Trouble> {
    let options = ChildOptions {
        root: root.into(),
        operation,
    };
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
    for inject in inject {
        command.args(["-e", inject]);
    }
    command
        .arg("-o")
        .arg(log)
        .arg(env::current_exe()?)
        .arg("faults-child")
        .arg("--root")
        .arg(options.root)
        .args(["--operation", &operation.name()]);
    Ok(command.output()?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_calls_of_the_operation_are_failed_and_counted_from_the_start_of_the_process() {
        let log = "7 fsync(3) = 0\n7 write(1<pipe:[1]>, \"begin\\n\", 6) = 6\n7 fsync(4) = 0\n7 linkat(4, \".lock.0\", 4, \"lock\", 0) = 0\n\
                   7 unlinkat(4, \".lock.0\", 0) = 0\n7 write(1<pipe:[1]>, \"end\\n\", 4) = 4\n7 fsync(5) = 0\n";
        let calls = parse(log, Some(("linkat", "\"lock\""))).unwrap();
        let seen: Vec<_> = calls
            .iter()
            .map(|call| (call.name.as_str(), call.ordinal, call.stage))
            .collect();
        assert_eq!(
            seen,
            [
                ("fsync", 2, Stage::Before),
                ("linkat", 1, Stage::Change),
                ("unlinkat", 1, Stage::After)
            ]
        );
        assert!(parse("7 write(1<pipe:[1]>, \"begin\\n\", 6) = 6\n", None).is_err());
    }
}
