use crate::exit::Failure;
use crate::held;
use crate::output::Answer;
use crate::stack::{Context, Stack};
use crate::unfinished::{self, changes};
use clap::Args;
use sdk_state::Revision;
use serde::Serialize;
use std::io::{self, Write as _};

/// Commit the unfinished changes of a dead run; print the revision that holds them
///
/// `push`, `set-current` and a tool's next run also do this first. The revision holds every change that the run reported as done,
/// and names the run's author.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl recover network/prod")]
pub(crate) struct Recover {
    /// FACTORY/STACK
    pub(super) stack: String,
    /// Commit the changes before the first that is damaged or whose key is lost, and discard the others for good
    #[arg(long)]
    discard_damaged: bool,
}

#[derive(Serialize)]
struct Recovered {
    stack: String,
    /// The revision that holds the changes; none if nothing was unfinished.
    revision: Option<String>,
    changes: u64,
    /// Why further changes were discarded.
    lost: Option<String>,
}

impl Recover {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let stack = context.readable(&self.stack, None)?;
        stack.demand_snapshot()?;
        let recovered = match self.discard_damaged {
            true => self.salvage(&stack)?,
            false => self.commit(&stack)?,
        };
        if recovered.revision.is_none() {
            let notice = format!("{} has no unfinished changes", self.stack);
            context.output().notice(notice);
        }
        context.output().answer(&recovered)
    }

    fn commit(&self, stack: &Stack<'_>) -> Result<Recovered, Failure> {
        let held = held::take(stack, "recover")?;
        let committed = unfinished::commit(stack, &held, "recover")?;
        held.give_back_after_change(stack);
        Ok(match committed {
            Some(committed) => self.answer(committed.revision.as_ref(), committed.changes, None),
            None => self.answer(None, 0, None),
        })
    }

    fn salvage(&self, stack: &Stack<'_>) -> Result<Recovered, Failure> {
        // The salvage takes the lock itself, without waiting for it.
        let held = held::take(stack, "recover")?;
        if held.is_joined() {
            return Err(Failure::usage(
                "--discard-damaged does not work under `statectl lock`",
            ));
        }
        held.give_back(stack);
        let salvaged = stack.store().salvage().map_err(|error| stack.explain(error))?;
        let Some(salvaged) = salvaged else {
            return Ok(self.answer(None, 0, None));
        };
        let output = stack.context().output();
        output.revision(
            &salvaged.revision,
            format_args!("committed {} as {}", changes(salvaged.changes), salvaged.revision),
        );
        let lost = salvaged.lost.map(|error| error.to_string());
        if let Some(lost) = &lost {
            output.warning(format_args!("the other changes are lost: {lost}"));
        }
        Ok(self.answer(Some(&salvaged.revision), salvaged.changes, lost))
    }

    fn answer(&self, revision: Option<&Revision>, changes: u64, lost: Option<String>) -> Recovered {
        Recovered {
            stack: self.stack.clone(),
            revision: revision.map(Revision::to_string),
            changes,
            lost,
        }
    }
}

impl Answer for Recovered {
    const KIND: &'static str = "recovered";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        match &self.revision {
            Some(rev) => writeln!(page, "{rev}"),
            None => Ok(()),
        }
    }
}
