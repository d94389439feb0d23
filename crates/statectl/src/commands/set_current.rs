use super::current::CurrentRevision;
use super::{Expected, parsed};
use crate::context::Context;
use crate::exit::Failure;
use crate::held;
use clap::Args;
use sdk_state::{Backend as _, Error, ErrorKind, Expect, Revision};

/// Makes a stored revision the current one
///
/// Without --expect it does so whatever was current before: this repairs a damaged or dangling `current`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl set-current network/prod 2026-07-10T12:00:00.25Z")]
pub(crate) struct SetCurrent {
    /// FACTORY/STACK
    pub(super) stack: String,
    /// The revision that becomes current
    rev: String,
    /// The revision that must be current now; none: there must be no current one
    #[arg(long, value_name = "REV|none")]
    expect: Option<String>,
}

impl SetCurrent {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let rev: Revision = self.rev.parse()?;
        let expected: Option<Expected> = parsed(self.expect.as_deref())?;
        let stack = context.keyless(&self.stack)?;
        if !stack.store().list()?.contains(&rev) {
            return Err(Error::new(ErrorKind::NotFound, "there is no such revision")
                .at_revision(&rev)
                .into());
        }
        let lock = held::take(context, &stack, "set-current")?;
        let expect = match &expected {
            Some(Expected(rev)) => Expect::Exactly(rev.as_ref()),
            None => Expect::Anything,
        };
        stack
            .store()
            .compare_and_set_current(expect, &rev, Some(&*lock))?;
        held::give_back(lock, context.output());
        context.output().answer(&CurrentRevision {
            stack: self.stack.clone(),
            revision: rev.to_string(),
        })
    }
}
