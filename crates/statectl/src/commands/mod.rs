//! The command line, and its commands.

mod addresses;
mod check;
mod completions;
mod current;
mod diff;
mod edit;
mod entries;
mod graph;
mod key;
mod keygen;
mod lock;
mod lock_status;
mod log;
mod marks;
mod outputs;
mod prune;
mod pull;
mod push;
mod recover;
mod revisions;
mod rollback;
mod stack;
mod stacks;

use crate::exit::Failure;
use crate::stack::{Context, Options};
use clap::{Parser, Subcommand};
use sdk_state::{Error, Revision};
use std::str::FromStr;

/// Keep infrastructure state: encrypted, versioned snapshots under an exclusive lock
///
/// A stack is named FACTORY/STACK. Its snapshots are kept in .unobin/state in the working directory, or in the nearest
/// directory above it that has one, unless --root or --backend says otherwise.
///
/// Standard output carries only the answer; notices, warnings and errors go to standard error.
#[derive(Debug, Parser)]
#[command(
    name = "statectl",
    version,
    after_help = "Example:\n  \
        statectl push network/prod state.json --message 'first'\n  \
        statectl list network/prod",
    after_long_help = "Exit codes:\n  \
        0    done\n  \
        1    failed\n  \
        2    usage\n  \
        3    no such stack, revision or entry, or no current revision\n  \
        4    somebody else holds the lock\n  \
        5    cannot be opened: wrong or missing key, damaged, moved, too large, refused, another type\n  \
        6    `current` was moved meanwhile\n  \
        7    invalid snapshot or name\n  \
        125  of `statectl lock`: the lock was lost while the command ran\n\n\
        Example:\n  \
        statectl push network/prod state.json --message 'first'\n  \
        statectl list network/prod"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) options: Options,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Push(push::Push),
    Pull(pull::Pull),
    Current(current::Current),
    Snapshots(revisions::Snapshots),
    List(entries::List),
    Show(entries::Show),
    Output(outputs::Outputs),
    Edit(edit::Edit),
    Mv(addresses::Mv),
    Rm(addresses::Rm),
    Log(log::Log),
    Diff(diff::DiffCommand),
    Graph(graph::GraphCommand),
    Check(check::CheckCommand),
    SetCurrent(current::SetCurrent),
    Rollback(rollback::Rollback),
    Recover(recover::Recover),
    Delete(revisions::Delete),
    Prune(prune::Prune),
    Pin(marks::PinCommand),
    Unpin(marks::Unpin),
    Restore(marks::Restore),
    Policy(marks::Policy),
    Stack(stack::StackCommand),
    Stacks(stacks::Stacks),
    Lock(lock::LockCommand),
    LockStatus(lock_status::LockStatusCommand),
    ForceUnlock(lock_status::ForceUnlock),
    Key(key::Key),
    Rekey(key::Rekey),
    Keygen(keygen::Keygen),
    Completions(completions::Completions),
}

impl Command {
    /// Runs it. The exit code is 0, except that of a command under `lock`, of `diff --exit-code`, and of a `check` that found an error.
    pub(crate) fn run(&self, context: &Context) -> Result<u8, Failure> {
        match self {
            Self::Push(command) => command.run(context),
            Self::Pull(command) => command.run(context),
            Self::Current(command) => command.run(context),
            Self::Snapshots(command) => command.run(context),
            Self::List(command) => command.run(context),
            Self::Show(command) => command.run(context),
            Self::Output(command) => command.run(context),
            Self::Edit(command) => command.run(context),
            Self::Mv(command) => command.run(context),
            Self::Rm(command) => command.run(context),
            Self::Log(command) => command.run(context),
            Self::Diff(command) => return command.run(context),
            Self::Graph(command) => command.run(context),
            Self::Check(command) => return command.run(context),
            Self::SetCurrent(command) => command.run(context),
            Self::Rollback(command) => command.run(context),
            Self::Recover(command) => command.run(context),
            Self::Delete(command) => command.run(context),
            Self::Prune(command) => command.run(context),
            Self::Pin(command) => command.run(context),
            Self::Unpin(command) => command.run(context),
            Self::Restore(command) => command.run(context),
            Self::Policy(command) => command.run(context),
            Self::Stack(command) => command.run(context),
            Self::Stacks(command) => command.run(context),
            Self::Lock(command) => return command.run(context),
            Self::LockStatus(command) => command.run(context),
            Self::ForceUnlock(command) => command.run(context),
            Self::Key(command) => command.run(context),
            Self::Rekey(command) => command.run(context),
            Self::Keygen(command) => command.run(context),
            Self::Completions(command) => command.run(context),
        }?;
        Ok(0)
    }

    /// The stack that the command is about.
    pub(crate) fn stack(&self) -> Option<&str> {
        match self {
            Self::Push(command) => Some(&command.stack),
            Self::Pull(command) => Some(&command.stack),
            Self::Current(command) => Some(&command.stack),
            Self::Snapshots(command) => Some(&command.stack),
            Self::List(command) => Some(&command.stack),
            Self::Show(command) => Some(&command.stack),
            Self::Output(command) => Some(&command.stack),
            Self::Edit(command) => Some(&command.stack),
            Self::Mv(command) => Some(&command.stack),
            Self::Rm(command) => Some(&command.stack),
            Self::Log(command) => Some(&command.stack),
            Self::Diff(command) => Some(&command.stack),
            Self::Graph(command) => Some(&command.stack),
            Self::Check(command) => command.stack(),
            Self::SetCurrent(command) => Some(&command.stack),
            Self::Rollback(command) => Some(&command.stack),
            Self::Recover(command) => Some(&command.stack),
            Self::Delete(command) => Some(&command.stack),
            Self::Pin(command) => Some(&command.stack),
            Self::Unpin(command) => Some(&command.stack),
            Self::Restore(command) => Some(&command.stack),
            Self::Policy(command) => Some(&command.stack),
            Self::Prune(command) => match &command.stacks[..] {
                [stack] => Some(stack),
                _ => None,
            },
            Self::Lock(command) => Some(&command.stack),
            Self::LockStatus(command) => Some(&command.stack),
            Self::ForceUnlock(command) => Some(&command.stack),
            Self::Key(command) => command.stack(),
            Self::Stack(command) => command.stack(),
            Self::Rekey(_) | Self::Stacks(_) | Self::Keygen(_) | Self::Completions(_) => None,
        }
    }
}

/// The argument of `--expect`: a revision, or `none`.
#[derive(Debug, PartialEq)]
struct Expected(Option<Revision>);

impl FromStr for Expected {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "none" => Ok(Self(None)),
            revision => Ok(Self(Some(revision.parse()?))),
        }
    }
}

/// Parses an optional revision, expectation or token. An invalid name is not a usage error, so that it has the same exit code
/// as the invalid name of a stack.
fn parsed<T: FromStr<Err = Error>>(text: Option<&str>) -> Result<Option<T>, Failure> {
    Ok(text.map(str::parse).transpose()?)
}
