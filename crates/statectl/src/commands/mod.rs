//! One command a file.

mod completions;
mod current;
mod delete;
mod force_unlock;
mod keygen;
mod list;
mod lock;
mod lock_status;
mod pull;
mod push;
mod set_current;
mod show;
mod snapshots;
mod stacks;

use crate::context::Context;
use crate::exit::Failure;
use clap::Subcommand;
use sdk_state::{Error, Revision};
use std::str::FromStr;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Push(push::Push),
    Pull(pull::Pull),
    Current(current::Current),
    Snapshots(snapshots::Snapshots),
    List(list::List),
    Show(show::Show),
    SetCurrent(set_current::SetCurrent),
    Delete(delete::Delete),
    Stacks(stacks::Stacks),
    Lock(lock::LockCommand),
    LockStatus(lock_status::LockStatusCommand),
    ForceUnlock(force_unlock::ForceUnlock),
    Keygen(keygen::Keygen),
    Completions(completions::Completions),
}

impl Command {
    /// Runs it. The exit code is 0, except that of a command under `lock`.
    pub(crate) fn run(&self, context: &Context) -> Result<u8, Failure> {
        match self {
            Self::Push(command) => command.run(context),
            Self::Pull(command) => command.run(context),
            Self::Current(command) => command.run(context),
            Self::Snapshots(command) => command.run(context),
            Self::List(command) => command.run(context),
            Self::Show(command) => command.run(context),
            Self::SetCurrent(command) => command.run(context),
            Self::Delete(command) => command.run(context),
            Self::Stacks(command) => command.run(context),
            Self::Lock(command) => return command.run(context),
            Self::LockStatus(command) => command.run(context),
            Self::ForceUnlock(command) => command.run(context),
            Self::Keygen(command) => command.run(context),
            Self::Completions(command) => command.run(context),
        }?;
        Ok(0)
    }

    /// The stack that it is about.
    pub(crate) fn stack(&self) -> Option<&str> {
        match self {
            Self::Push(command) => Some(&command.stack),
            Self::Pull(command) => Some(&command.stack),
            Self::Current(command) => Some(&command.stack),
            Self::Snapshots(command) => Some(&command.stack),
            Self::List(command) => Some(&command.stack),
            Self::Show(command) => Some(&command.stack),
            Self::SetCurrent(command) => Some(&command.stack),
            Self::Delete(command) => Some(&command.stack),
            Self::Lock(command) => Some(&command.stack),
            Self::LockStatus(command) => Some(&command.stack),
            Self::ForceUnlock(command) => Some(&command.stack),
            Self::Stacks(_) | Self::Keygen(_) | Self::Completions(_) => None,
        }
    }
}

/// What `--expect` says: a revision, or `none`.
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

/// A revision or an expectation that may have been given. A name that is not allowed is no matter of usage, so that it
/// has the same exit code as a stack's.
fn parsed<T: FromStr<Err = Error>>(text: Option<&str>) -> Result<Option<T>, Failure> {
    Ok(text.map(str::parse).transpose()?)
}
