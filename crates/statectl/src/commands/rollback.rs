use super::push::{after_storing, demand_short, warn_if_lost};
use crate::diff::Diff;
use crate::exit::Failure;
use crate::held;
use crate::output::Answer;
use crate::progress::Progress;
use crate::selector::RevisionArgument;
use crate::stack::{Context, Found, Stack};
use crate::unfinished;
use clap::Args;
use sdk_state::{Error, Raw, Revision};
use serde::Serialize;
use std::io::{self, Write as _};

/// Store an older revision's content as a new revision and make it current; print the new revision
///
/// The history stays as it is: the new revision follows the current one. It first shows what differs, and asks at the terminal.
/// Nothing in the infrastructure is changed. A dead run's unfinished changes are committed first, as a revision.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl rollback network/prod @- -m 'the new subnets were a mistake'")]
pub(crate) struct Rollback {
    /// FACTORY/STACK
    pub(super) stack: String,
    #[command(flatten)]
    rev: RevisionArgument,
    /// Why, for the history; stored unencrypted
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct RolledBack {
    stack: String,
    /// What is current now.
    revision: String,
    /// The revision with the same content.
    to: String,
    /// False if the content was current already.
    written: bool,
    diff: Diff,
}

impl Rollback {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        demand_short(self.message.as_deref())?;
        let keyless = context.keyless(&self.stack)?;
        keyless.demand_snapshot()?;
        let rev = keyless.select(&self.rev)?;
        let stack = context.readable(&self.stack, Some(&rev))?;
        let progress = Progress::of_steps("comparing with the current revision");
        let current = stack.document(None)?;
        let wanted = stack.document(Some(&rev))?;
        let wanted = stack.canonical(&rev, wanted.document)?;
        let before = stack.split(&current.revision, current.document.clone())?;
        let diff = Diff::between(&before, &stack.split(&rev, wanted.clone())?);
        drop((before, progress));
        let is_same = stack.canonical(&current.revision, current.document.clone())? == wanted;
        // Unfinished changes would be committed after all.
        if is_same && current.unfinished.is_none() {
            context.output().notice(format_args!(
                "{rev} has the content that is current, so nothing was stored"
            ));
            return self.answer(context, &current.revision, &rev, false, diff);
        }
        self.confirm(context, &rev, &diff)?;
        let stored = self.store(&stack, &rev, current, wanted)?;
        self.answer(context, &stored, &rev, true, diff)
    }

    fn confirm(&self, context: &Context, rev: &Revision, diff: &Diff) -> Result<(), Failure> {
        let output = context.output();
        output.preview(|page| diff.human(page))?;
        if self.yes {
            return Ok(());
        }
        let hint = "look with `statectl diff STACK @ REV`, then pass --yes";
        output.confirm(&format!("go back to {rev}?"), hint, "nothing was changed")
    }

    /// Stores what was wanted, if what was compared with it is still current.
    fn store(
        &self,
        stack: &Stack<'_>,
        rev: &Revision,
        compared: Found<Raw>,
        wanted: Raw,
    ) -> Result<Revision, Failure> {
        let held = held::take(stack, "rollback")?;
        unfinished::commit(stack, &held, "rollback")?;
        let run = held
            .begin::<Raw>(stack, "rollback")
            .map_err(|error| stack.explain_head(error))?;
        if run.state().bytes != compared.document.bytes {
            return Err(Error::current_moved(Some(compared.revision), run.base()).into());
        }
        let message = match &self.message {
            Some(message) => message.clone(),
            None => format!("rolled back to {rev}"),
        };
        warn_if_lost(stack, self.message.as_deref());
        let stored = run.save(wanted, message).map_err(after_storing)?;
        drop(run);
        held.give_back_after_change(stack);
        Ok(stored)
    }

    fn answer(
        &self,
        context: &Context,
        current: &Revision,
        rev: &Revision,
        written: bool,
        diff: Diff,
    ) -> Result<(), Failure> {
        context.output().answer(&RolledBack {
            stack: self.stack.clone(),
            revision: current.to_string(),
            to: rev.to_string(),
            written,
            diff,
        })
    }
}

impl Answer for RolledBack {
    const KIND: &'static str = "rolled-back";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        writeln!(page, "{}", self.revision)
    }
}
