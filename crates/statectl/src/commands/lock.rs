use crate::child::{handled_signals, wait_for};
use crate::exit::{Failure, LOCK_LOST};
use crate::held::{self, GivenBack};
use crate::stack::Context;
use clap::{Args, ValueHint};
use signal_hook::iterator::Signals;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};

/// As in shells: the command was found but could not be run.
const NOT_EXECUTABLE: u8 = 126;
/// As in shells: there is no such command.
const NO_SUCH_COMMAND: u8 = 127;
/// As in shells: this plus the number of the signal that ended the command.
const KILLED: i32 = 128;

/// Run a command while holding the lock, and pass on its exit code
///
/// A statectl that the command starts joins this lock instead of waiting for it. The lock ends when the command ends. If
/// statectl is killed, the lock lasts until the last process that inherited it has ended; a process that closes inherited
/// files, as subprocesses of Python do, does not keep the lock.
///
/// The exit code is 125 if the lock is lost while the command runs, 126 if the command cannot be run, 127 if it does not
/// exist, and 128 plus the number of the signal that ended it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl lock network/prod -- ./apply.sh --all")]
pub(crate) struct LockCommand {
    /// FACTORY/STACK
    pub(super) stack: String,
    /// Also lock a stack that does not exist yet, and make its directory
    #[arg(long)]
    create: bool,
    /// The command and its arguments, after --
    #[arg(last = true, required = true, value_name = "CMD", value_hint = ValueHint::AnyPath)]
    command: Vec<OsString>,
}

impl LockCommand {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(Failure::usage("a command is missing after --"));
        };
        let stack = context.keyless(&self.stack)?;
        if !self.create {
            stack
                .demand_known()
                .map_err(|failure| failure.extend_hint("--create locks a stack that does not exist yet"))?;
        }
        let held = held::take(&stack, "lock")?;
        let (variable, locks) = held.share(&stack)?;
        // From here on a signal does not end this process before the command.
        let mut signals = Signals::new(handled_signals())
            .map_err(|source| Failure::io("cannot listen for signals", &source))?;
        let child = Command::new(program).args(arguments).env(variable, locks).spawn();
        let ended = match child {
            Ok(mut child) => wait_for(&mut child, &mut signals)
                .map_err(|source| Failure::io("cannot wait for the command", &source)),
            Err(source) => Err(cannot_start(program, &source)),
        };
        let given_back = held.give_back(&stack);
        let code = exit_code(ended?);
        match given_back {
            GivenBack::Held => Ok(code),
            GivenBack::Lost => Err(Failure::new(
                LOCK_LOST,
                "lock-lost",
                format!(
                    "the lock of {} was lost while the command ran; the command ended with exit code {code}",
                    self.stack
                ),
            )
            .hint(
                "somebody evicted this command: check what it did after that, and who else was working meanwhile",
            )),
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
