use super::push::read;
use crate::diff::Diff;
use crate::document::Document;
use crate::exit::Failure;
use crate::output::Answer;
use crate::progress::Progress;
use crate::selector::{SELECTORS, Selector};
use crate::stack::Context;
use crate::unfinished::UnfinishedDocument;
use clap::Args;
use sdk_state::State;
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};

/// The exit code of --exit-code.
const DIFFERENT: u8 = 1;

/// Show what differs between two revisions, by entry and field
///
/// Without a revision, the current one is compared with its parent. Unfinished changes count as part of the current revision,
/// unless it is named as @. Sensitive values are compared, but not shown.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    statectl diff network/prod                       # the last change\n  \
    statectl diff network/prod @-3 --stat\n  \
    statectl diff network/prod --file state.json     # what a push would change")]
pub(crate) struct DiffCommand {
    /// FACTORY/STACK
    pub(super) stack: String,
    /// The revision that is compared, by default @-
    #[arg(value_name = "A", long_help = SELECTORS)]
    before: Option<Selector>,
    /// The revision that it is compared with, by default the current one
    #[arg(value_name = "B", long_help = SELECTORS)]
    after: Option<Selector>,
    /// Compare A, by default the current revision, with the snapshot in this file; - is standard input
    #[arg(long, conflicts_with = "after")]
    file: Option<PathBuf>,
    /// Show how many fields differ, not which
    #[arg(long)]
    stat: bool,
    /// Exit with 1 if anything differs
    #[arg(long)]
    exit_code: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown {
    stack: String,
    before: String,
    /// None if it is a file.
    after: Option<String>,
    unfinished: Option<UnfinishedDocument>,
    diff: Diff,
    #[serde(skip)]
    is_stat: bool,
}

impl DiffCommand {
    pub(super) fn run(&self, context: &Context) -> Result<u8, Failure> {
        let shown = match &self.file {
            Some(file) => self.with_file(context, file)?,
            None => self.between_revisions(context)?,
        };
        let is_different = !shown.diff.is_empty();
        if !is_different {
            context.output().notice("nothing differs");
        }
        context.output().answer(&shown)?;
        Ok(match self.exit_code && is_different {
            true => DIFFERENT,
            false => 0,
        })
    }

    fn between_revisions(&self, context: &Context) -> Result<Shown, Failure> {
        let stack = context.keyless(&self.stack)?;
        let parent = Selector::Current { back: 1 };
        let before = stack.resolve(self.before.as_ref().unwrap_or(&parent))?;
        let after = self.after.as_ref().map(|after| stack.resolve(after));
        let after = after.transpose()?;
        let stack = context.readable(&self.stack, Some(&before))?;
        let _progress = Progress::of_steps("comparing");
        let before = stack.opened(Some(&before))?;
        let after = stack.opened(after.as_ref())?;
        Ok(Shown {
            stack: self.stack.clone(),
            diff: Diff::between(&before.document, &after.document),
            before: before.revision.to_string(),
            after: Some(after.revision.to_string()),
            unfinished: after.unfinished,
            is_stat: self.stat,
        })
    }

    fn with_file(&self, context: &Context, file: &Path) -> Result<Shown, Failure> {
        let stack = context.keyless(&self.stack)?;
        let before = self.before.as_ref().map(|before| stack.resolve(before));
        let before = before.transpose()?;
        let stack = context.readable(&self.stack, before.as_ref())?;
        let (bytes, _progress) = read(file)?;
        let after = Document::split(State::normalize(&bytes, stack.id())?)?;
        drop(bytes);
        let before = stack.opened(before.as_ref())?;
        Ok(Shown {
            stack: self.stack.clone(),
            diff: Diff::between(&before.document, &after),
            before: before.revision.to_string(),
            after: None,
            unfinished: before.unfinished,
            is_stat: self.stat,
        })
    }
}

impl Answer for Shown {
    const KIND: &'static str = "diff";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        match self.is_stat {
            _ if self.diff.is_empty() => Ok(()),
            true => self.diff.human_stat(page),
            false => self.diff.human(page),
        }
    }
}
