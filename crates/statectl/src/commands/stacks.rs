use crate::exit::Failure;
use crate::holder::HolderDocument;
use crate::output::Answer;
use crate::progress;
use crate::stack::Context;
use crate::table::Table;
use crate::text::{plain, size};
use crate::trashed;
use crate::unfinished::UnfinishedDocument;
use clap::Args;
use sdk_state::encrypt::Noop;
use sdk_state::{Error, Store};
use serde::Serialize;
use std::io;
use time::format_description::well_known::Rfc3339;

/// List every stack: number of revisions, current revision and its size, holder of the lock
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl --root .unobin/state stack list")]
pub(crate) struct Stacks {
    /// Also list the stacks in the trash
    #[arg(long)]
    all: bool,
}

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
    lock: Option<HolderDocument>,
    unfinished: Option<UnfinishedDocument>,
    /// Since when it is in the trash.
    trashed: Option<String>,
    /// Why this stack cannot be used as it is.
    problem: Option<String>,
}

impl Stacks {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let place = context.place()?;
        let mut ids = trashed::stacks(&place)?;
        ids.retain(|(_, trashed)| self.all || trashed.is_none());
        if ids.is_empty() {
            context.output().notice(match place.searched() {
                Some(directory) => format!(
                    "there is no store here: neither {} nor a directory above it has .unobin/state",
                    directory.display()
                ),
                None => format!("there is no stack in {}", place.catalog.name()),
            });
        }
        let stacks = progress::each("stacks", ids, |(id, trashed)| {
            let row = Row::of(&Store::new(place.catalog.open(&id)?, Noop));
            let since = trashed.and_then(|trashed| trashed.since.format(&Rfc3339).ok());
            Ok(Row {
                trashed: since,
                ..row
            })
        });
        let stacks = stacks.into_iter().collect::<Result<_, Error>>()?;
        context.output().answer(&Listing { stacks })
    }
}

impl Row {
    /// A problem of one stack does not hide the others.
    fn of(store: &Store) -> Self {
        let mut problem = None;
        let mut note = |error: Error| {
            if let Failure::Told(told) = error.into() {
                problem.get_or_insert(told.message);
            }
        };
        let snapshots = store.list().map_err(&mut note).unwrap_or_default().len();
        // Nothing is wrong with a stack that was locked before anything was written.
        let current = store.current().map_err(&mut note).ok().flatten();
        let stored = current.as_ref().and_then(|rev| {
            let stored = store.backend().read_prefix(rev, 0).map_err(&mut note).ok()?;
            Some(stored.stored_bytes)
        });
        let lock = store.lock_status().map_err(&mut note).ok().flatten();
        // Of a damaged pointer it is said above.
        let unfinished = current
            .as_ref()
            .and_then(|_| UnfinishedDocument::of(store).map_err(&mut note).ok().flatten());
        Self {
            stack: store.id().to_string(),
            snapshots,
            current: current.map(|rev| rev.to_string()),
            stored_bytes: stored,
            lock: lock.map(HolderDocument::from),
            unfinished,
            trashed: None,
            problem,
        }
    }

    fn notes(&self) -> String {
        let problem = self
            .problem
            .as_ref()
            .map(|problem| format!("! {}", plain(problem)));
        let lock = self.lock.as_ref().map(HolderDocument::in_short);
        let unfinished = self.unfinished.as_ref().map(UnfinishedDocument::in_short);
        let trashed = self
            .trashed
            .as_ref()
            .map(|since| format!("in the trash since {since}"));
        [trashed, lock, unfinished, problem]
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
