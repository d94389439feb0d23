use super::{Expected, parsed};
use crate::exit::{Failure, MISSING, NOT_OPENED};
use crate::held::{self, Held};
use crate::output::Answer;
use crate::selector::RevisionArgument;
use crate::stack::{Context, Found, Stack};
use crate::unfinished::{self, UnfinishedDocument};
use clap::Args;
use sdk_state::encrypt::Recipient;
use sdk_state::{Error, Expect, Revision, Snapshot as _, State};
use serde::Serialize;
use std::io::{self, Write as _};

/// Print the current revision
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl current network/prod")]
pub(crate) struct Current {
    /// FACTORY/STACK
    pub(super) stack: String,
}

/// Make a stored revision the current one
///
/// The revision is opened first, so that what becomes current can be read. Without --expect, it replaces whatever is current:
/// this repairs a damaged or lost `current`. It first commits a dead run's unfinished changes, as a revision. If `current` is
/// damaged or lost, the revision that the changes stand on must be made current first, and the error names it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl set-current network/prod 2026-07-10T12:00:00.25Z")]
pub(crate) struct SetCurrent {
    /// FACTORY/STACK
    pub(super) stack: String,
    #[command(flatten)]
    rev: RevisionArgument,
    /// The revision that must be current now, or none if no revision may be current
    #[arg(long, value_name = "REV|none")]
    expect: Option<String>,
    /// Repair without the key: do not open the revision first, and discard unfinished changes
    #[arg(long)]
    unchecked: bool,
}

/// The current revision, also after a change.
#[derive(Serialize)]
struct CurrentRevision {
    stack: String,
    revision: String,
    unfinished: Option<UnfinishedDocument>,
}

impl Current {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let stack = context.keyless(&self.stack)?;
        let rev = stack.current()?;
        answer(context, &self.stack, &rev, stack.unfinished())
    }
}

impl SetCurrent {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let expected: Option<Expected> = parsed(self.expect.as_deref())?;
        let rev = context.keyless(&self.stack)?.select(&self.rev)?;
        let stack = match self.unchecked {
            true => context.keyless(&self.stack)?,
            false => self.checked(context, &rev)?,
        };
        stack.demand_snapshot()?;
        if !stack.store().list()?.contains(&rev) {
            return Err(Error::not_found(&rev).into());
        }
        let expect = match &expected {
            Some(Expected(rev)) => Expect::from(rev.as_ref()),
            None => Expect::Anything,
        };
        let held = held::take(&stack, "set-current")?;
        let damage = stack.store().backend().current().err().filter(Error::is_damaged);
        if damage.is_none() {
            self.end_journal(&stack, &held, &rev)?;
        }
        warn_of_other_recipients(&stack, &rev);
        let moved = stack.store().backend().set_current(expect, &rev, held.token());
        moved.map_err(|error| explain_repair(error, &rev))?;
        let unfinished = damage.and_then(|damage| unfinished::after_repair(&stack, &damage));
        held.give_back_after_change(&stack);
        answer(context, &self.stack, &rev, unfinished)
    }

    /// Commits unfinished changes, or says that the move discards them.
    fn end_journal(&self, stack: &Stack<'_>, held: &Held, rev: &Revision) -> Result<(), Failure> {
        if self.unchecked {
            unfinished::warn_of_loss(stack, rev);
            return Ok(());
        }
        let committed = unfinished::commit(stack, held, "set-current");
        committed.map(drop).map_err(|failure| match failure.code() {
            NOT_OPENED => failure.extend_hint("--unchecked discards all unfinished changes"),
            _ => failure,
        })
    }

    /// The stack, once the revision has been opened.
    fn checked<'a>(&self, context: &'a Context, rev: &Revision) -> Result<Stack<'a>, Failure> {
        let advice = "pass --unchecked to make it current although it was not opened";
        let stack = context
            .readable(&self.stack, Some(rev))
            .map_err(|failure| match failure.code() {
                NOT_OPENED => failure.extend_hint(advice),
                _ => failure,
            })?;
        let opened = stack.document(Some(rev)).and_then(|Found { document, .. }| {
            if document.payload == State::PAYLOAD {
                State::decode(&document.bytes).map_err(|error| stack.explain(error.at_revision(rev)))?;
            }
            Ok(())
        });
        match opened {
            Ok(()) => Ok(stack),
            Err(failure) if failure.code() == MISSING => Err(failure),
            Err(failure) => Err(failure.extend_hint(advice)),
        }
    }
}

/// A damaged `current` may be moved only to the revision that unfinished changes stand on.
fn explain_repair(error: Error, rev: &Revision) -> Failure {
    match error.revision() {
        Some(base) if error.is_damaged() && base != rev => {
            let hint = format!(
                "`statectl set-current STACK {base}` keeps the changes, and `statectl recover STACK` then commits them"
            );
            Failure::from(error).hint(hint)
        }
        _ => error.into(),
    }
}

/// Says that what follows is sealed for others. Keys that open only one of both, or none, cannot tell.
fn warn_of_other_recipients(stack: &Stack<'_>, rev: &Revision) {
    let store = stack.store();
    let Ok(Some(current)) = store.current() else {
        return;
    };
    if let (Ok(before), Ok(after)) = (store.recipients(&current), store.recipients(rev))
        && (before
            .iter()
            .any(|one| !after.iter().any(|other| other.is_same_key(one)))
            || before.len() != after.len())
    {
        let after: Vec<String> = after.iter().map(Recipient::describe).collect();
        stack.context().output().warning(format_args!(
            "later snapshots are sealed for the recipients of {rev}, not for those of {current}: {}",
            after.join(", ")
        ));
    }
}

fn answer(
    context: &Context,
    stack: &str,
    rev: &Revision,
    unfinished: Option<UnfinishedDocument>,
) -> Result<(), Failure> {
    context.output().answer(&CurrentRevision {
        stack: stack.into(),
        revision: rev.to_string(),
        unfinished,
    })
}

impl Answer for CurrentRevision {
    const KIND: &'static str = "current";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        writeln!(page, "{}", self.revision)
    }
}
