use crate::exit::Failure;
use crate::output::Answer;
use crate::rules::Rules;
use crate::selector::{RevisionArgument, SELECTORS, Selector};
use crate::settings::{self, Editor, Pin, Settings};
use crate::stack::{Context, Stack};
use crate::text::{now, whole_seconds};
use crate::unfinished;
use clap::Args;
use sdk_state::{Error, Provenance, Revision};
use serde::Serialize;
use std::io::{self, Write as _};

/// Keep a revision, whatever `prune` is told
///
/// The reason is encrypted like a snapshot. A pin takes the revision out of the trash. `delete` deletes it all the same.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl pin network/prod @ -m 'before the migration'")]
pub(crate) struct PinCommand {
    /// FACTORY/STACK
    pub(super) stack: String,
    #[command(flatten)]
    rev: RevisionArgument,
    /// Why it must stay
    #[arg(short, long, value_name = "WHY")]
    message: Option<String>,
}

/// Let `prune` decide about a revision again
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl unpin network/prod 2026-07-10T12:00:00.25Z")]
pub(crate) struct Unpin {
    /// FACTORY/STACK
    pub(super) stack: String,
    #[command(flatten)]
    rev: RevisionArgument,
}

/// Take revisions out of the trash
///
/// The next prune decides about them anew: to keep a revision for longer, pin it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl restore network/prod 2026-07-10T12:00:00.25Z")]
pub(crate) struct Restore {
    /// FACTORY/STACK
    pub(super) stack: String,
    #[arg(required = true, value_name = "REV", help = "The revisions", long_help = SELECTORS)]
    revs: Vec<Selector>,
}

/// Show, store or remove the rules of a stack's `prune`
///
/// With rules, they replace those that are stored. The policy applies where `prune` is given no rules.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  statectl policy network/prod --keep-last 10 --keep-daily 14 --keep-monthly 12"
)]
pub(crate) struct Policy {
    /// FACTORY/STACK
    pub(super) stack: String,
    /// Remove the policy
    #[arg(long)]
    clear: bool,
    #[command(flatten)]
    rules: Rules,
}

/// The pin of a revision, after a change.
#[derive(Serialize)]
struct PinAnswer {
    stack: String,
    revision: String,
    pin: Option<Pin>,
}

#[derive(Serialize)]
struct Restored {
    stack: String,
    /// Those that were in the trash.
    revisions: Vec<String>,
}

#[derive(Serialize)]
struct PolicyAnswer {
    stack: String,
    rules: Option<Rules>,
}

impl PinCommand {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let pin = Pin {
            since: whole_seconds(now()),
            author: Provenance::of_this_process().author,
            message: self.message.clone(),
        };
        let stack = open(context, &self.stack)?;
        // What `@` means is known once nothing is unfinished.
        let rev = change(&stack, "pin", |settings, stored| {
            let rev = stack.select(&self.rev)?;
            demand_stored(&rev, stored)?;
            settings.take_out(&rev);
            settings.pins.insert(rev.to_string(), pin.clone());
            Ok(rev)
        })?;
        context.output().answer(&PinAnswer {
            stack: self.stack.clone(),
            revision: rev.to_string(),
            pin: Some(pin),
        })
    }
}

impl Unpin {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let stack = open(context, &self.stack)?;
        let rev = stack.select(&self.rev)?;
        let pinned = change_existing(&stack, "unpin", |settings| {
            settings.pins.remove(&rev.to_string()).is_some()
        })?;
        if !pinned.unwrap_or_default() {
            let notice = format!("{rev} was not pinned");
            context.output().notice(notice);
        }
        context.output().answer(&PinAnswer {
            stack: self.stack.clone(),
            revision: rev.to_string(),
            pin: None,
        })
    }
}

impl Restore {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let stack = open(context, &self.stack)?;
        let revs: Vec<Revision> = self
            .revs
            .iter()
            .map(|rev| stack.resolve(rev))
            .collect::<Result<_, _>>()?;
        let stored = stack.store().list()?;
        revs.iter().try_for_each(|rev| demand_stored(rev, &stored))?;
        let restored = change_existing(&stack, "restore", |settings| {
            let in_trash = |rev: &&Revision| settings.trashed(rev).is_some();
            let restored: Vec<Revision> = revs.iter().filter(in_trash).cloned().collect();
            restored.iter().for_each(|rev| settings.take_out(rev));
            restored
        })?;
        let restored = restored.unwrap_or_default();
        for rev in revs.iter().filter(|rev| !restored.contains(rev)) {
            context
                .output()
                .notice(format_args!("{rev} was not in the trash"));
        }
        context.output().answer(&Restored {
            stack: self.stack.clone(),
            revisions: restored.iter().map(Revision::to_string).collect(),
        })
    }
}

impl Policy {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        if self.clear && !self.rules.is_empty() {
            return Err(Failure::usage("--clear removes the policy, so it takes no rules"));
        }
        let stack = open(context, &self.stack)?;
        let rules = if self.clear {
            change_existing(&stack, "policy", |settings| settings.policy = None)?;
            None
        } else if self.rules.is_empty() {
            Settings::of(&stack)?.policy
        } else {
            change(&stack, "policy", |settings, _| {
                settings.policy = Some(self.rules.clone());
                Ok(())
            })?;
            Some(self.rules.clone())
        };
        if rules.is_none() {
            let notice = format!("{} has no policy", self.stack);
            context.output().notice(notice);
        }
        context.output().answer(&PolicyAnswer {
            stack: self.stack.clone(),
            rules,
        })
    }
}

/// The stack, which must have a current revision and no other stack's settings.
pub(super) fn open<'a>(context: &'a Context, name: &str) -> Result<Stack<'a>, Failure> {
    let stack = context.readable(name, None)?;
    stack.demand_snapshot()?;
    settings::demand_none(&stack)?;
    Ok(stack)
}

/// Changes the settings under the lock of the stack, once nothing is unfinished. Gets the revisions that are stored.
fn change<T>(
    stack: &Stack<'_>,
    operation: &str,
    change: impl FnOnce(&mut Settings, &[Revision]) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (held, run) = unfinished::begin_settled(stack, operation)?;
    let mut editor = Editor::begin(stack, &held, operation)?;
    let stored = stack.store().list()?;
    editor.settings.retain(&stored);
    let changed = change(&mut editor.settings, &stored)?;
    editor.finish(operation)?;
    drop(run);
    held.give_back_after_change(stack);
    Ok(changed)
}

/// The same, if the stack has settings: a command that takes something out of them makes none.
fn change_existing<T>(
    stack: &Stack<'_>,
    operation: &str,
    take_out: impl FnOnce(&mut Settings) -> T,
) -> Result<Option<T>, Failure> {
    match Settings::exist(stack)? {
        true => change(stack, operation, |settings, _| Ok(take_out(settings))).map(Some),
        false => Ok(None),
    }
}

fn demand_stored(rev: &Revision, stored: &[Revision]) -> Result<(), Failure> {
    match stored.contains(rev) {
        true => Ok(()),
        false => Err(Error::not_found(rev).into()),
    }
}

impl Answer for PinAnswer {
    const KIND: &'static str = "pin";

    /// Nothing: the exit code says it.
    fn human(&self, _page: &mut Vec<u8>) -> io::Result<()> {
        Ok(())
    }
}

impl Answer for Restored {
    const KIND: &'static str = "restored";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        self.revisions.iter().try_for_each(|rev| writeln!(page, "{rev}"))
    }
}

impl Answer for PolicyAnswer {
    const KIND: &'static str = "policy";

    /// The options that store the same policy.
    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        match &self.rules {
            Some(rules) => writeln!(page, "{rules}"),
            None => Ok(()),
        }
    }
}
