use super::lock_status::HolderOf;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::Answer;
use crate::progress;
use crate::stack::Stack;
use crate::table::Table;
use crate::words::{plain, size};
use clap::Args;
use sdk_state::{Backend as _, Storage as _};
use serde::Serialize;
use std::io;

/// Lists every stack: how many revisions, the current one and its size, who holds the lock
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl --root .unobin/state stacks")]
pub(crate) struct Stacks {}

#[derive(Serialize)]
struct Listing {
    stacks: Vec<Row>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    stack: String,
    snapshots: usize,
    current: Option<String>,
    /// The size of the current snapshot's file.
    stored_bytes: Option<u64>,
    lock: Option<HolderOf>,
    /// Why this stack cannot be used as it is.
    problem: Option<String>,
}

impl Stacks {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let ids = context.root()?.stacks()?;
        if ids.is_empty() {
            context.output().notice(format_args!(
                "there is no stack in {}",
                context.options().address()?
            ));
        }
        let stacks = progress::each("stacks", ids, |id| {
            context.keyless(&id.to_string()).map(|stack| Row::of(&stack))
        });
        let stacks = stacks.into_iter().collect::<Result<_, _>>()?;
        context.output().answer(&Listing { stacks })
    }
}

impl Row {
    /// What is wrong with one stack does not hide the others.
    fn of(stack: &Stack<'_>) -> Self {
        let mut problem = None;
        let mut note = |failure: Failure| {
            if let Failure::Told(told) = failure {
                problem.get_or_insert(told.message);
            }
        };
        let snapshots = stack
            .store()
            .list()
            .map_err(|error| note(error.into()))
            .unwrap_or_default()
            .len();
        let current = match stack.current_rev() {
            Ok(rev) => Some(rev),
            // Locked or opened before anything was written: nothing is wrong with it.
            Err(_) if snapshots == 0 => None,
            Err(failure) => {
                note(failure);
                None
            }
        };
        let stored = current
            .as_ref()
            .map(|rev| stack.store().storage().read_prefix(rev, 0));
        let stored = stored.and_then(|stored| stored.map_err(|error| note(error.into())).ok());
        let lock = stack
            .store()
            .lock_status()
            .map_err(|error| note(error.into()))
            .ok()
            .flatten();
        Self {
            stack: stack.id().to_string(),
            snapshots,
            current: current.map(|rev| rev.to_string()),
            stored_bytes: stored.map(|stored| stored.stored_bytes),
            lock: lock.map(HolderOf::from),
            problem,
        }
    }

    fn notes(&self) -> String {
        let problem = self
            .problem
            .as_ref()
            .map(|problem| format!("! {}", plain(problem)));
        let lock = self.lock.as_ref().map(HolderOf::in_short);
        [lock, problem]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl Answer for Listing {
    const KIND: &'static str = "stacks";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        if self.stacks.is_empty() {
            return Ok(());
        }
        let mut table = Table::new(["STACK", "REVISIONS", "CURRENT", "SIZE", "LOCK"]);
        for row in &self.stacks {
            table.row([
                row.stack.clone(),
                row.snapshots.to_string(),
                plain(row.current.as_deref().unwrap_or("-")),
                row.stored_bytes.map_or("-".into(), size),
                row.notes(),
            ]);
        }
        table.align_right(1);
        table.align_right(3);
        table.print(page)
    }
}
