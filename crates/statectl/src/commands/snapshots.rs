use crate::clock;
use crate::context::Context;
use crate::exit::Failure;
use crate::keys::name_of;
use crate::output::Answer;
use crate::progress;
use crate::stack::Stack;
use crate::table::{MARK, Table};
use crate::words::{age, first_line, plain, size};
use clap::Args;
use sdk_state::envelope::UnverifiedHeader;
use sdk_state::{Backend as _, Revision, Storage as _};
use serde::Serialize;
use std::io;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Lists every revision, oldest first, the current one marked with *
///
/// No key is needed: what is shown is what each file says of itself. Nothing of it is verified; whoever can write to the
/// store can make up authors, messages and times.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl snapshots network/prod")]
pub(crate) struct Snapshots {
    /// FACTORY/STACK
    pub(super) stack: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Listing {
    stack: String,
    current: Option<String>,
    /// A reminder for programs: no header is authenticated.
    headers: &'static str,
    snapshots: Vec<Row>,
    #[serde(skip)]
    now: OffsetDateTime,
}

/// One stored file, as far as it can be told without a key.
#[derive(Serialize, Default)]
#[serde(rename_all = "kebab-case")]
struct Row {
    revision: String,
    current: bool,
    written_at: Option<String>,
    stored_bytes: Option<u64>,
    length: Option<u64>,
    envelope_version: Option<u32>,
    parent: Option<String>,
    sealed_for: Vec<String>,
    who: Option<String>,
    host: Option<String>,
    tool: Option<String>,
    run: Option<String>,
    message: Option<String>,
    /// Why the file cannot be what it should be.
    problem: Option<String>,
    #[serde(skip)]
    time: Option<OffsetDateTime>,
}

impl Snapshots {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let stack = context.keyless(&self.stack)?;
        stack.demand_existing()?;
        // Whoever repairs a damaged `current` needs this list.
        let current = match stack.current_rev() {
            Ok(rev) => Some(rev),
            Err(Failure::Told(told)) => {
                context.output().warning(&told.message);
                None
            }
            Err(Failure::Quiet) => None,
        };
        let revisions = stack.store().list()?;
        context.output().answer(&Listing {
            stack: self.stack.clone(),
            current: current.as_ref().map(Revision::to_string),
            headers: "unverified",
            snapshots: progress::each("revisions", revisions, |rev| {
                Row::of(&stack, &rev, current.as_ref() == Some(&rev))
            }),
            now: clock::now(),
        })
    }
}

impl Row {
    fn of(stack: &Stack<'_>, rev: &Revision, is_current: bool) -> Self {
        let row = Self {
            revision: rev.to_string(),
            current: is_current,
            time: rev.time(),
            ..Self::default()
        };
        let row = match stack.store().storage().read_prefix(rev, 0) {
            Ok(stored) => Self {
                stored_bytes: Some(stored.stored_bytes),
                ..row
            },
            Err(error) => return row.with_problem(&error),
        };
        match stack.store().header(rev) {
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
            sealed_for: header.recipients.iter().map(name_of).collect(),
            who: header.provenance.who,
            host: header.provenance.host,
            tool: header.provenance.tool,
            run: header.provenance.run,
            message: header.message,
            problem: elsewhere,
            time,
            ..self
        }
    }

    fn with_problem(self, error: &sdk_state::Error) -> Self {
        Self {
            problem: Some(error.to_string()),
            ..self
        }
    }

    fn author(&self) -> String {
        match (&self.who, &self.host) {
            (Some(who), Some(host)) => format!("{}@{}", first_line(who), first_line(host)),
            (Some(name), None) | (None, Some(name)) => first_line(name),
            (None, None) => "-".into(),
        }
    }

    /// The message, or what is wrong.
    fn text(&self) -> String {
        match (&self.problem, self.envelope_version) {
            (Some(problem), _) => format!("! {}", plain(problem)),
            (None, Some(1)) => "(version 1, says nothing of itself)".into(),
            _ => first_line(self.message.as_deref().unwrap_or_default()),
        }
    }
}

impl Answer for Listing {
    const KIND: &'static str = "snapshots";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        let mut table = Table::new(["", "REVISION", "AGE", "SIZE", "AUTHOR", "MESSAGE"]);
        for row in &self.snapshots {
            table.row([
                if row.current { MARK.into() } else { String::new() },
                plain(&row.revision),
                row.time.map_or("-".into(), |time| age(time, self.now)),
                row.stored_bytes.map_or("-".into(), size),
                row.author(),
                row.text(),
            ]);
        }
        table.align_right(3);
        table.print(page)
    }
}
