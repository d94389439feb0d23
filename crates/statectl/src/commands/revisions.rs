use super::log::Query;
use crate::diff::{Counts, EntryChange};
use crate::exit::Failure;
use crate::held;
use crate::history::{Node, Step};
use crate::output::Answer;
use crate::selector::RevisionArgument;
use crate::settings::{Pin, Settings};
use crate::stack::{Context, Stack};
use crate::text::{first_line, plain};
use clap::Args;
use sdk_state::encrypt::Recipient;
use sdk_state::envelope::UnverifiedHeader;
use serde::Serialize;
use std::io;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// List every stored revision, newest first; * marks the current one
///
/// This is `log --all` without the changes, so it needs no key: it shows what each file says about itself. None of that is
/// verified: anybody who can write to the store can forge authors, messages and times.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl snapshots network/prod")]
pub(crate) struct Snapshots {
    /// FACTORY/STACK
    pub(super) stack: String,
}

/// Delete a stored revision, which must not be the current one
///
/// It is not an error if the revision does not exist. This also works on a full disk, to free space.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl delete network/prod 2026-07-10T12:00:00.25Z")]
pub(crate) struct Delete {
    /// FACTORY/STACK
    pub(super) stack: String,
    #[command(flatten)]
    rev: RevisionArgument,
}

#[derive(Serialize)]
struct Deleted {
    stack: String,
    revision: String,
    /// Whether the revision existed.
    existed: bool,
}

/// One stored file, as far as it can be read without a key.
#[derive(Serialize, Default)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Row {
    pub(super) revision: String,
    pub(super) current: bool,
    /// Whether the current revision does not follow it.
    abandoned: bool,
    /// How many entries it changed.
    pub(super) changes: Option<Counts>,
    /// What it changed in the entry that was asked for.
    pub(super) entry: Option<EntryChange>,
    written_at: Option<String>,
    pub(super) stored_bytes: Option<u64>,
    length: Option<u64>,
    envelope_version: Option<u32>,
    parent: Option<String>,
    sealed_for: Vec<String>,
    author: Option<String>,
    host: Option<String>,
    tool: Option<String>,
    run: Option<String>,
    message: Option<String>,
    pin: Option<Pin>,
    /// Since when it is in the trash.
    trashed: Option<String>,
    /// What is wrong with the file.
    problem: Option<String>,
    #[serde(skip)]
    pub(super) time: Option<OffsetDateTime>,
    /// The empty document with which the first run of a stack begins.
    #[serde(skip)]
    is_genesis: bool,
}

impl Snapshots {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let everything = Query {
            stack: &self.stack,
            address: None,
            is_everything: true,
            is_compared: false,
            limit: usize::MAX,
            since: None,
            author: None,
        };
        everything.run(context)
    }
}

impl Delete {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let stack = context.keyless(&self.stack)?;
        let rev = stack.select(&self.rev)?;
        stack.demand_snapshot()?;
        let existed = stack.store().list()?.contains(&rev);
        match held::join(&stack)? {
            Some(held) => stack.store().backend().remove(&rev, Some(held.token()))?,
            None => match stack.store().delete(&rev) {
                Err(error) if error.is_locked() && !context.options().wait.is_zero() => {
                    let held = held::take(&stack, "delete")?;
                    stack.store().backend().remove(&rev, Some(held.token()))?;
                    held.give_back_after_change(&stack);
                }
                result => result?,
            },
        }
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

    /// Nothing: the exit code says it.
    fn human(&self, _page: &mut Vec<u8>) -> io::Result<()> {
        Ok(())
    }
}

impl Row {
    pub(super) fn of(stack: &Stack<'_>, node: Node, is_current: bool) -> Self {
        let Step {
            revision: rev,
            header,
        } = node.step;
        let row = Self {
            revision: rev.to_string(),
            current: is_current,
            abandoned: node.is_abandoned,
            time: rev.time(),
            ..Self::default()
        };
        let row = match stack.store().backend().read_prefix(&rev, 0) {
            Ok(stored) => Self {
                stored_bytes: Some(stored.stored_bytes),
                ..row
            },
            Err(error) => return row.with_problem(&error),
        };
        match header {
            Ok(header) => row.with_header(stack, header),
            Err(error) => row.with_problem(&error),
        }
    }

    fn with_header(self, stack: &Stack<'_>, header: UnverifiedHeader) -> Self {
        let elsewhere = match (&header.stack, &header.revision) {
            (Some(other), _) if *other != stack.id().to_string() => Some(format!("sealed for stack {other}")),
            (_, Some(other)) if *other != self.revision => Some(format!("sealed for revision {other}")),
            _ => None,
        };
        let time = header.written_at.or(self.time);
        Self {
            written_at: time.and_then(|time| time.format(&Rfc3339).ok()),
            length: header.length,
            envelope_version: Some(header.version),
            parent: header.parent.map(|parent| parent.to_string()),
            sealed_for: header.recipients.iter().map(Recipient::describe).collect(),
            author: header.provenance.author,
            host: header.provenance.host,
            tool: header.provenance.tool,
            run: header.provenance.run,
            message: header.message,
            problem: elsewhere,
            time,
            is_genesis: header.is_genesis,
            ..self
        }
    }

    fn with_problem(self, error: &sdk_state::Error) -> Self {
        Self {
            problem: Some(error.to_string()),
            ..self
        }
    }

    pub(super) fn author_and_host(&self) -> String {
        match (&self.author, &self.host) {
            (Some(author), Some(host)) => format!("{}@{}", first_line(author), first_line(host)),
            (Some(name), None) | (None, Some(name)) => first_line(name),
            (None, None) => "-".into(),
        }
    }

    /// Notes what the settings say about it.
    pub(super) fn mark(&mut self, settings: &Settings) {
        self.pin = settings.pins.get(&self.revision).cloned();
        let trashed = settings.trash.get(&self.revision);
        self.trashed = trashed.and_then(|trashed| trashed.since.format(&Rfc3339).ok());
    }

    /// The message after what is noted about the revision, or what is wrong.
    pub(super) fn text(&self) -> String {
        let text = match (&self.problem, self.envelope_version) {
            (Some(problem), _) => return format!("! {}", plain(problem)),
            (None, Some(1)) => "(envelope version 1)".into(),
            _ if self.is_genesis => "(empty: the first run began here)".into(),
            _ => first_line(self.message.as_deref().unwrap_or_default()),
        };
        let notes = [
            self.abandoned.then(|| "abandoned".to_owned()),
            self.trashed.as_ref().map(|_| "in the trash".to_owned()),
            self.pin.as_ref().map(|pin| plain(&pin.describe())),
        ];
        match notes.into_iter().flatten().collect::<Vec<_>>() {
            notes if notes.is_empty() => text,
            notes => format!("({}) {text}", notes.join(", ")).trim_end().to_owned(),
        }
    }
}
