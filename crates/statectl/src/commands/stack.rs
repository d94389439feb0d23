use super::stacks::Stacks;
use crate::copying::{self, Copied};
use crate::exit::{FAILED, Failure, MISSING};
use crate::moving;
use crate::output::Answer;
use crate::place::{Place, local};
use crate::settings;
use crate::stack::{Context, Found, Stack};
use crate::text::now;
use crate::trashed::{self, Trashed};
use clap::{Args, Subcommand};
use sdk_state::{Snapshot as _, StackId, State};
use serde::Serialize;
use std::io::{self, Write as _};
use std::path::PathBuf;

/// List, copy, rename and remove whole stacks
#[derive(Debug, Args)]
pub(crate) struct StackCommand {
    #[command(subcommand)]
    command: Whole,
}

#[derive(Debug, Subcommand)]
enum Whole {
    List(Stacks),
    Copy(Copy),
    Rename(Rename),
    Rm(Remove),
    Restore(Restore),
}

/// Copy a stack with its whole history, to another name or another place
///
/// Every revision keeps its name, author, time, message, parent and recipients. It is sealed anew for the copy, because each file
/// is bound to its stack, and each copy is opened and compared. Files of unobin become files of this project. The given keys must
/// open the source, and be able to seal for its recipients.
///
/// If it is interrupted, run it again: it goes on where it was. The copy has no current revision before it is whole.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    statectl stack copy network/prod network/staging\n  \
    statectl stack copy network/prod network/prod --to-root /backup/state")]
struct Copy {
    /// FACTORY/STACK that is copied
    from: String,
    /// FACTORY/STACK that is made: it must not exist yet
    to: String,
    /// The address of the place of the copy, as SCHEME:REST, if it is another one
    #[arg(long = "to", value_name = "ADDRESS")]
    to_address: Option<String>,
    /// The directory of the stacks with the copy; short for --to local:DIR
    #[arg(long, value_name = "DIR", conflicts_with = "to_address")]
    to_root: Option<PathBuf>,
}

/// Give a stack another name, and keep its whole history
///
/// The stack is copied, as by `stack copy`, and then removed under its old name. At each moment one of both is whole and
/// current. Meanwhile readers find the stack under its old name, then under both, then under the new one; nobody can change it.
///
/// If it is interrupted, run it again: it goes on where it was. It refuses if both names have been changed since.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl stack rename network/prod network/production")]
struct Rename {
    /// FACTORY/STACK that exists
    from: String,
    /// FACTORY/STACK that it is called from now on
    to: String,
}

/// Remove a stack: it stays in the trash for 7 days
///
/// It is refused while the stack records resources, because they would go on to exist without anybody knowing. The trash is
/// another name, which `stack list --all` shows and `stack restore` gives back. What is in the trash for longer is removed by
/// the next `stack rm` or `prune --all`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl stack rm network/old --yes")]
struct Remove {
    /// FACTORY/STACK
    stack: String,
    /// Remove it although it records resources, or cannot be read
    #[arg(long)]
    force: bool,
    /// Remove it at once, and not to the trash
    #[arg(long)]
    now: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

/// Give a stack in the trash its name back
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    statectl stack restore network/old\n  \
    statectl stack restore network/old.trash-20260710T120000Z")]
struct Restore {
    /// FACTORY/STACK that it had, or its name in the trash
    stack: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct CopiedStack {
    from: String,
    stack: String,
    /// The address of the copy.
    place: String,
    current: String,
    revisions: usize,
    copied: usize,
    settings: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Renamed {
    from: String,
    stack: String,
    current: String,
    revisions: usize,
    settings: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Removed {
    stack: String,
    /// Its name in the trash; none if it was removed at once.
    trash: Option<String>,
    revisions: usize,
    /// What was in the trash for too long.
    expired: Vec<String>,
}

impl StackCommand {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        match &self.command {
            Whole::List(command) => command.run(context),
            Whole::Copy(command) => command.run(context),
            Whole::Rename(command) => command.run(context),
            Whole::Rm(command) => command.run(context),
            Whole::Restore(command) => command.run(context),
        }
    }

    pub(super) fn stack(&self) -> Option<&str> {
        match &self.command {
            Whole::List(_) => None,
            Whole::Copy(command) => Some(&command.from),
            Whole::Rename(command) => Some(&command.from),
            Whole::Rm(command) => Some(&command.stack),
            Whole::Restore(command) => Some(&command.stack),
        }
    }
}

impl Copy {
    fn run(&self, context: &Context) -> Result<(), Failure> {
        let to: StackId = self.to.parse()?;
        demand_free_name(&to)?;
        let place = self.place(context)?;
        let from = existing(context, &self.from)?;
        settings::demand_none(&from)?;
        let to = from.elsewhere(place, &to)?;
        if to.id() == from.id() && to.place().catalog.name() == from.place().catalog.name() {
            return Err(same_name(from.id()));
        }
        let copied = copying::copy(&from, &to, "stack copy")?;
        context.output().answer(&CopiedStack {
            from: from.id().to_string(),
            stack: to.id().to_string(),
            place: to.place().catalog.name(),
            current: copied.current.to_string(),
            revisions: copied.revisions,
            copied: copied.new,
            settings: copied.settings,
        })
    }

    fn place(&self, context: &Context) -> Result<Place, Failure> {
        match (&self.to_address, &self.to_root) {
            (Some(address), _) => context.place_at(address),
            (None, Some(root)) => context.place_at(&local(root)?),
            (None, None) => context.place(),
        }
    }
}

impl Rename {
    fn run(&self, context: &Context) -> Result<(), Failure> {
        let to: StackId = self.to.parse()?;
        demand_free_name(&to)?;
        let from = existing(context, &self.from)?;
        settings::demand_none(&from)?;
        if to == *from.id() {
            return Err(same_name(&to));
        }
        rename(context, &from, &to, "stack rename")
    }
}

impl Restore {
    fn run(&self, context: &Context) -> Result<(), Failure> {
        let id: StackId = self.stack.parse()?;
        let trashed = match Trashed::parse(&id) {
            Some(_) => id,
            None => only_one_in_the_trash(&context.place()?, &id)?,
        };
        let name = Trashed::parse(&trashed).map_or_else(|| trashed.clone(), |trashed| trashed.name);
        let from = existing(context, &trashed.to_string())?;
        rename(context, &from, &name, "stack restore")
    }
}

impl Remove {
    fn run(&self, context: &Context) -> Result<(), Failure> {
        let stack = context.keyless(&self.stack)?;
        settings::demand_none(&stack)?;
        // An interrupted removal may have left the settings alone.
        if settings::beside(stack.place(), stack.id())?.is_none() {
            stack.demand_known()?;
        }
        if Trashed::parse(stack.id()).is_some() && !self.now {
            return Err(Failure::usage(format!("{} is in the trash already", stack.id()))
                .hint("--now removes it at once; `statectl stack restore STACK` gives it its name back"));
        }
        let revisions = stack.store().list()?.len();
        self.confirm(context, revisions)?;
        let trash = match (revisions, self.now) {
            (0, _) => {
                moving::remove_unmarked(&stack)?;
                None
            }
            (_, true) => {
                self.remove_now(context, &stack)?;
                None
            }
            (_, false) => Some(self.put_in_trash(context, &stack)?),
        };
        if let Some(trash) = &trash {
            context.output().notice(format_args!(
                "`statectl stack restore {trash}` gives it its name back within {} days",
                trashed::DAYS
            ));
        }
        let expired = trashed::remove_expired(&context.place()?, now())?;
        context.output().answer(&Removed {
            stack: self.stack.clone(),
            trash: trash.map(|id| id.to_string()),
            revisions,
            expired: expired.iter().map(StackId::to_string).collect(),
        })
    }

    fn confirm(&self, context: &Context, revisions: usize) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        let whereto = match self.now {
            true => "at once, with its whole history".to_owned(),
            false => format!("to the trash, where it stays for {} days", trashed::DAYS),
        };
        let count = match revisions {
            1 => "1 revision".to_owned(),
            count => format!("{count} revisions"),
        };
        let question = format!("remove {} ({count}) {whereto}?", self.stack);
        let hint = "pass --yes to remove the stack";
        context.output().confirm(&question, hint, "nothing was removed")
    }

    fn put_in_trash(&self, context: &Context, keyless: &Stack<'_>) -> Result<StackId, Failure> {
        let at_once = "--now --force removes the stack at once, without opening it";
        let current = keyless.store().current();
        let hinted = |failure: Failure| failure.extend_hint(at_once);
        let stack = existing(context, &self.stack).map_err(hinted)?;
        let trash = trashed::name_for(&stack, now())?;
        moving::rename(&stack, &trash, "stack rm", |stack| match self.force {
            true => Ok(()),
            false => demand_no_resources(stack),
        })
        .map_err(|failure| match current {
            Err(_) => hinted(failure),
            Ok(_) => failure,
        })?;
        Ok(trash.id().clone())
    }

    fn remove_now(&self, context: &Context, keyless: &Stack<'_>) -> Result<(), Failure> {
        if self.force {
            return moving::remove_unmarked(keyless);
        }
        let unlooked = "--force removes the stack without looking";
        let stack = existing(context, &self.stack).map_err(|failure| failure.extend_hint(unlooked))?;
        let held = moving::take_alone(&stack, "stack rm")?;
        let current = stack.current().map_err(|failure| failure.extend_hint(unlooked))?;
        if !moving::is_being_removed(&stack, &current)? {
            demand_no_resources(&stack)?;
            // So that no run begins once the lock is free.
            moving::mark(&stack, &held, &current, None)?;
        }
        held.give_back(&stack);
        moving::remove(&stack)
    }
}

/// A stack that exists, with the keys.
fn existing<'a>(context: &'a Context, name: &str) -> Result<Stack<'a>, Failure> {
    context.keyless(name)?.demand_known()?;
    context.readable(name, None)
}

fn rename(context: &Context, from: &Stack<'_>, to: &StackId, operation: &str) -> Result<(), Failure> {
    let to = from.beside(to)?;
    let Copied {
        current,
        revisions,
        settings,
        ..
    } = moving::rename(from, &to, operation, |_| Ok(()))?;
    context.output().answer(&Renamed {
        from: from.id().to_string(),
        stack: to.id().to_string(),
        current: current.to_string(),
        revisions,
        settings,
    })
}

fn only_one_in_the_trash(place: &Place, name: &StackId) -> Result<StackId, Failure> {
    let found = trashed::of_name(place, name)?;
    match &found[..] {
        [one] => Ok(one.clone()),
        [] => Err(Failure::new(
            MISSING,
            "no-such-stack",
            format!("there is no {name} in the trash of {}", place.catalog.name()),
        )
        .hint("`statectl stack list --all` shows what is in the trash")),
        several => {
            let names: Vec<String> = several.iter().map(StackId::to_string).collect();
            Err(Failure::usage(format!(
                "{name} is in the trash several times: {}",
                names.join(", ")
            ))
            .hint("name one of them"))
        }
    }
}

/// Fails if the current document records anything, or may do so.
fn demand_no_resources(stack: &Stack<'_>) -> Result<(), Failure> {
    let anyway = "--force removes the stack all the same";
    let Found {
        revision, document, ..
    } = stack
        .document(None)
        .map_err(|failure| failure.extend_hint(anyway))?;
    if document.payload != State::PAYLOAD {
        let what = format!(
            "{} may record resources: its current document is of type {}",
            stack.id(),
            document.payload
        );
        return Err(Failure::new(FAILED, "has-resources", what).hint(anyway));
    }
    let state = State::decode(&document.bytes)
        .map_err(|error| stack.explain(error.at_revision(&revision)).extend_hint(anyway))?;
    let Some(first) = state.entries().next() else {
        return Ok(());
    };
    let what = match state.len() {
        1 => format!("{} still records {}", stack.id(), first.address),
        count => format!(
            "{} still records {count} entries, {} among them",
            stack.id(),
            first.address
        ),
    };
    Err(Failure::new(FAILED, "has-resources", what).hint(
        "nothing was removed: destroy the resources with the tool that made them, or let go of them with --force",
    ))
}

/// Fails for a name that means something else.
fn demand_free_name(id: &StackId) -> Result<(), Failure> {
    if Trashed::parse(id).is_some() {
        return Err(Failure::usage(format!("{id} is a name in the trash"))
            .hint("choose another name; `statectl stack rm` puts a stack in the trash"));
    }
    match settings::owner_of(id) {
        Some(owner) => Err(
            Failure::usage(format!("{id} is the name of the settings of {owner}"))
                .hint("choose another name: the settings go along with their stack"),
        ),
        None => Ok(()),
    }
}

fn same_name(id: &StackId) -> Failure {
    Failure::usage(format!("both names are {id}")).hint("name another stack, or another place")
}

impl Answer for CopiedStack {
    const KIND: &'static str = "stack-copied";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        writeln!(
            page,
            "{} in {}: {}",
            self.stack,
            self.place,
            revisions(self.revisions)
        )
    }
}

impl Answer for Renamed {
    const KIND: &'static str = "stack-renamed";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        writeln!(page, "{}: {}", self.stack, revisions(self.revisions))
    }
}

impl Answer for Removed {
    const KIND: &'static str = "stack-removed";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        if let Some(trash) = &self.trash {
            writeln!(page, "{trash}")?;
        }
        for expired in &self.expired {
            writeln!(
                page,
                "{expired} was removed: it was in the trash for more than {} days",
                trashed::DAYS
            )?;
        }
        Ok(())
    }
}

fn revisions(count: usize) -> String {
    match count {
        1 => "1 revision".into(),
        count => format!("{count} revisions"),
    }
}
