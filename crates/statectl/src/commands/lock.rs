use crate::context::Context;
use crate::exit::Failure;
use crate::{held, inherited};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use sdk_state::ErrorKind;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus};

/// As shells have it: the command was found and could not be run.
const NOT_EXECUTABLE: u8 = 126;
/// As shells have it: there is no such command.
const NO_SUCH_COMMAND: u8 = 127;
/// As shells have it: this much and the number of the signal that ended the command.
const KILLED: i32 = 128;

/// Runs a command while holding the lock; its exit code is passed on
///
/// A statectl below the command uses this lock instead of waiting for it. If statectl is killed, the lock lasts until the
/// command and what it started have ended.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl lock network/prod -- ./apply.sh --all")]
pub(crate) struct LockCommand {
    /// FACTORY/STACK
    pub(super) stack: String,
    /// The command and its arguments, after --
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl LockCommand {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        let output = context.output();
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(Failure::usage("a command is missing after --"));
        };
        let stack = context.keyless(&self.stack)?;
        let lock = held::take(context, &stack, "lock")?;
        match lock.share_with_children() {
            Err(error) if error.kind() == &ErrorKind::Unsupported => {
                output.warning("this backend's lock cannot be shared: it ends with this process");
            }
            result => result?,
        }
        // From here on a signal does not end this process before the command.
        let mut signals = Signals::new(handled_signals())
            .map_err(|source| Failure::io("cannot listen for signals", &source))?;
        let child = Command::new(program)
            .args(arguments)
            .env(
                inherited::VARIABLE,
                inherited::announce(stack.id(), lock.token()?),
            )
            .spawn();
        let ended = match child {
            Ok(mut child) => wait_for(&mut child, &mut signals)
                .map_err(|source| Failure::io("cannot wait for the command", &source)),
            Err(source) => Err(cannot_start(program, &source)),
        };
        held::give_back(lock, output);
        ended.map(exit_code)
    }
}

/// What this process does not leave to the system. What its parent wants ignored, as `nohup` does, stays ignored.
fn handled_signals() -> impl Iterator<Item = i32> {
    let ignored = ignored_signals();
    [SIGINT, SIGTERM, SIGHUP]
        .into_iter()
        .filter(move |signal| ignored & (1 << (signal - 1)) == 0)
        .chain([SIGCHLD])
}

/// One bit a signal, where the system tells.
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default()
}

/// An interrupt is left to the command: a terminal sends it to both. What ends a single process is passed on.
fn wait_for(child: &mut Child, signals: &mut Signals) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        // The child is not reaped before the next turn, so its number is nobody else's.
        for signal in signals.wait() {
            if matches!(signal, SIGTERM | SIGHUP)
                && let Some(signal) = Signal::from_named_raw(signal)
            {
                // It may have ended just now.
                let _ = kill_process(Pid::from_child(child), signal);
            }
        }
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| KILLED + signal));
    code.and_then(|code| code.try_into().ok()).unwrap_or(u8::MAX)
}

fn cannot_start(program: &OsString, source: &io::Error) -> Failure {
    let code = match source.kind() {
        io::ErrorKind::NotFound => NO_SUCH_COMMAND,
        _ => NOT_EXECUTABLE,
    };
    Failure::io(format!("cannot start {}", program.display()), source).with_code(code)
}
