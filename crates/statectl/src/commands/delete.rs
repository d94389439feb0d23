use crate::context::Context;
use crate::exit::Failure;
use crate::held;
use crate::output::Answer;
use clap::Args;
use sdk_state::{Backend as _, Revision};
use serde::Serialize;
use std::io;

/// Deletes a stored revision, which must not be the current one
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl delete network/prod 2026-07-10T12:00:00.25Z")]
pub(crate) struct Delete {
    /// FACTORY/STACK
    pub(super) stack: String,
    /// The revision to delete; that it does not exist is fine
    rev: String,
}

#[derive(Serialize)]
struct Deleted {
    stack: String,
    revision: String,
    /// Whether it was there.
    existed: bool,
}

impl Delete {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let rev: Revision = self.rev.parse()?;
        let stack = context.keyless(&self.stack)?;
        stack.demand_existing()?;
        let lock = held::take(context, &stack, "delete")?;
        let existed = stack.store().list()?.contains(&rev);
        stack.store().delete(&rev, Some(&*lock))?;
        held::give_back(lock, context.output());
        if !existed {
            context
                .output()
                .notice(format_args!("there was no revision {rev}"));
        }
        context.output().answer(&Deleted {
            stack: self.stack.clone(),
            revision: rev.to_string(),
            existed,
        })
    }
}

impl Answer for Deleted {
    const KIND: &'static str = "deleted";

    /// Nothing: that it is done is said by the exit code.
    fn human(&self, _page: &mut Vec<u8>) -> io::Result<()> {
        Ok(())
    }
}
