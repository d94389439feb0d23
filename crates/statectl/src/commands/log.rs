use super::push::keep_large_blocks;
use super::revisions::Row;
use crate::comparing;
use crate::exit::{Failure, NOT_OPENED};
use crate::history::{self, Node, Way};
use crate::output::Answer;
use crate::progress::Progress;
use crate::selector::parse_time;
use crate::settings::Settings;
use crate::stack::{Context, Stack};
use crate::table::{MARK, Table};
use crate::text::{age, now, plain, size};
use crate::unfinished::UnfinishedDocument;
use clap::Args;
use sdk_state::Revision;
use serde::Serialize;
use std::io;
use time::OffsetDateTime;

/// Show the history of a stack, or of one entry: who changed it, when, why, and how much, newest first
///
/// It begins with the current revision and goes back along the parents. +2 ~1 −0 means that two entries were added, one changed
/// and none removed. With an address, only the revisions are shown that changed this entry, each with what it changed.
///
/// Without a key, everything is shown but the changes. Authors, messages and times are what each file says about itself: anybody
/// who can write to the store can forge them.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    statectl log network/prod -n 10\n  \
    statectl log network/prod resource.database      # who changed it, and how\n  \
    statectl log network/prod --since '2 days ago' --author alice")]
pub(crate) struct Log {
    /// FACTORY/STACK
    pub(super) stack: String,
    /// Only what happened to the entry with this address
    address: Option<String>,
    /// Every stored revision, also those that the current one does not follow, and those in the trash
    #[arg(long, conflicts_with = "address")]
    all: bool,
    /// At most so many revisions
    #[arg(short = 'n', long, value_name = "COUNT")]
    limit: Option<usize>,
    /// Only revisions that were written since then: '2026-11-24 09:00' in UTC, or '2 days ago'
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<OffsetDateTime>,
    /// Only revisions whose author's name contains this
    #[arg(long, value_name = "TEXT")]
    author: Option<String>,
}

/// So many revisions are compared before they are printed.
const PAGE: usize = 64;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct History {
    stack: String,
    address: Option<String>,
    current: Option<String>,
    /// A reminder for programs: no header is authenticated.
    headers: &'static str,
    unfinished: Option<UnfinishedDocument>,
    revisions: Vec<Row>,
}

/// Which revisions are shown, and whether they are compared.
pub(super) struct Query<'a> {
    pub(super) stack: &'a str,
    pub(super) address: Option<&'a str>,
    pub(super) is_everything: bool,
    pub(super) is_compared: bool,
    pub(super) limit: usize,
    pub(super) since: Option<OffsetDateTime>,
    pub(super) author: Option<&'a str>,
}

impl Log {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let query = Query {
            stack: &self.stack,
            address: self.address.as_deref(),
            is_everything: self.all,
            is_compared: true,
            limit: self.limit.unwrap_or(usize::MAX),
            since: self.since,
            author: self.author.as_deref(),
        };
        query.run(context)
    }
}

impl Query<'_> {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let stack = context.keyless(self.stack)?;
        stack.demand_snapshot()?;
        let current = match stack.current() {
            Ok(rev) => Some(rev),
            // The repair of a damaged `current` begins with this list.
            Err(Failure::Told(told)) if self.is_everything => {
                context.output().warning(&told.message);
                None
            }
            Err(failure) => return Err(failure),
        };
        let unfinished = current.as_ref().and_then(|_| stack.unfinished());
        let opener = self.opener(context)?;
        let settings = opener
            .as_ref()
            .map_or_else(Settings::default, settings_for_display);
        let is_hidden = |node: &Node| !self.is_everything && settings.trashed(&node.step.revision).is_some();
        keep_large_blocks();
        let nodes: Box<dyn Iterator<Item = Node>> = match &current {
            Some(current) if !self.is_everything => Box::new(Way::back_from(stack.store(), current.clone())?),
            current => Box::new(history::all(stack.store(), current.as_ref())?),
        };
        let mut nodes = nodes.filter(|node| self.wants(node) && !is_hidden(node));
        let mut history = History {
            stack: self.stack.to_owned(),
            address: self.address.map(str::to_owned),
            current: current.as_ref().map(Revision::to_string),
            headers: "unverified",
            unfinished,
            revisions: Vec::new(),
        };
        let mut lines = Lines::new(self, now());
        let mut unknown = Unknown::default();
        let mut left = self.limit;
        while left > 0 {
            let size = if self.address.is_some() {
                PAGE
            } else {
                PAGE.min(left)
            };
            let progress = Progress::of_steps("reading the history");
            let page: Vec<Node> = nodes.by_ref().take(size).collect();
            if page.is_empty() {
                break;
            }
            let mut rows = self.rows(&stack, opener.as_ref(), page, current.as_ref(), &mut unknown);
            drop(progress);
            rows.truncate(left);
            rows.iter_mut().for_each(|row| row.mark(&settings));
            left -= rows.len();
            match context.output().is_json() {
                true => history.revisions.extend(rows),
                false => context.output().part(|page| lines.print(page, &rows))?,
            }
        }
        if left == self.limit && left > 0 {
            let output = context.output();
            match self.address {
                Some(address) => output.notice(format_args!("no revision changed an entry {address:?}")),
                None => output.notice("no revision matches"),
            }
        }
        unknown.warn(context);
        match context.output().is_json() {
            true => context.output().answer(&history),
            false => Ok(()),
        }
    }

    /// The stack with its keys, if revisions are to be opened and there are keys. Only the history of an entry needs them.
    fn opener<'a>(&self, context: &'a Context) -> Result<Option<Stack<'a>>, Failure> {
        if !self.is_compared {
            return Ok(None);
        }
        match context.readable(self.stack, None) {
            Ok(stack) => Ok(Some(stack)),
            Err(Failure::Told(told)) if told.code == NOT_OPENED && self.address.is_none() => {
                context
                    .output()
                    .notice(format_args!("changes are not shown: {}", told.message));
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    fn wants(&self, node: &Node) -> bool {
        let is_recent = self
            .since
            .is_none_or(|since| node.step.time().is_some_and(|time| time >= since));
        let author = node.step.header.as_ref().ok();
        let author = author.and_then(|header| header.provenance.author.as_deref());
        is_recent
            && self
                .author
                .is_none_or(|wanted| author.is_some_and(|author| author.contains(wanted)))
    }

    /// The rows to be shown of these revisions.
    fn rows(
        &self,
        stack: &Stack<'_>,
        opener: Option<&Stack<'_>>,
        page: Vec<Node>,
        current: Option<&Revision>,
        unknown: &mut Unknown,
    ) -> Vec<Row> {
        let is_current = |node: &Node| current == Some(&node.step.revision);
        let row = |node: Node| {
            let is_current = is_current(&node);
            Row::of(stack, node, is_current)
        };
        match (opener, self.address) {
            (None, _) => page.into_iter().map(row).collect(),
            (Some(opener), None) => {
                let counts = comparing::counts(opener, &page);
                let rows = page.into_iter().zip(counts);
                rows.map(|(node, counts)| {
                    let changes = unknown.known(&node, counts).flatten();
                    let mut row = row(node);
                    row.changes = changes;
                    row
                })
                .collect()
            }
            (Some(opener), Some(address)) => {
                let changes = comparing::changes_of(opener, &page, address);
                let rows = page.into_iter().zip(changes);
                rows.filter_map(|(node, change)| {
                    let change = unknown.known(&node, change).flatten().flatten()?;
                    let mut row = row(node);
                    row.entry = Some(change);
                    Some(row)
                })
                .collect()
            }
        }
    }
}

/// The settings of the stack, or none with a warning.
pub(super) fn settings_for_display(stack: &Stack<'_>) -> Settings {
    Settings::of(stack).unwrap_or_else(|failure| {
        if let Failure::Told(told) = failure {
            let output = stack.context().output();
            output.warning(format_args!("pins and the trash are not shown: {}", told.message));
        }
        Settings::default()
    })
}

/// The revisions that could not be compared.
#[derive(Default)]
struct Unknown {
    count: usize,
    first: Option<String>,
}

impl Unknown {
    fn known<T>(&mut self, node: &Node, compared: Result<T, Failure>) -> Option<T> {
        match compared {
            Ok(known) => Some(known),
            Err(Failure::Told(told)) => {
                self.count += 1;
                self.first
                    .get_or_insert_with(|| format!("{}: {}", node.step.revision, told.message));
                None
            }
            Err(Failure::Quiet) => None,
        }
    }

    fn warn(&self, context: &Context) {
        if let Some(first) = &self.first {
            let revisions = match self.count {
                1 => "1 revision".to_owned(),
                count => format!("{count} revisions"),
            };
            context
                .output()
                .warning(format_args!("the changes of {revisions} are not known: {first}"));
        }
    }
}

/// Prints rows under each other, in columns that keep their widths from one part to the next.
struct Lines {
    now: OffsetDateTime,
    columns: Columns,
    widths: [usize; 5],
    has_begun: bool,
}

/// What is shown of a revision.
#[derive(Clone, Copy, PartialEq)]
enum Columns {
    /// How much it changed.
    Changes,
    /// How large its file is.
    Size,
    /// What it changed, in lines of their own.
    Entry,
}

impl Lines {
    fn new(query: &Query<'_>, now: OffsetDateTime) -> Self {
        Self {
            now,
            columns: match (query.address, query.is_compared) {
                (Some(_), _) => Columns::Entry,
                (None, true) => Columns::Changes,
                (None, false) => Columns::Size,
            },
            widths: [0; 5],
            has_begun: false,
        }
    }

    fn print(&mut self, page: &mut Vec<u8>, rows: &[Row]) -> io::Result<()> {
        match self.columns {
            Columns::Entry => rows.iter().try_for_each(|row| {
                self.table(page, std::slice::from_ref(row))?;
                row.entry
                    .as_ref()
                    .map_or(Ok(()), |entry| entry.human(page, "    "))
            }),
            _ => self.table(page, rows),
        }
    }

    fn table(&mut self, page: &mut Vec<u8>, rows: &[Row]) -> io::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let number = match self.columns {
            Columns::Changes => "CHANGES",
            Columns::Size => "SIZE",
            Columns::Entry => "",
        };
        let headings = ["", "REVISION", "AGE", number, "AUTHOR", "MESSAGE"];
        let mut table = match std::mem::replace(&mut self.has_begun, true) || self.columns == Columns::Entry {
            true => Table::without_headings::<6>(),
            false => Table::new(headings),
        };
        let cells: Vec<[String; 5]> = rows.iter().map(|row| self.cells(row)).collect();
        for row in &cells {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for (row, [mark, revision, age, number, author]) in rows.iter().zip(cells) {
            let [_, wide_revision, wide_age, wide_number, wide_author] = self.widths;
            table.row([
                mark,
                format!("{revision:wide_revision$}"),
                format!("{age:wide_age$}"),
                format!("{number:>wide_number$}"),
                format!("{author:wide_author$}"),
                row.text(),
            ]);
        }
        table.align_right(3);
        table.print(page)
    }

    fn cells(&self, row: &Row) -> [String; 5] {
        [
            if row.current { MARK.into() } else { String::new() },
            plain(&row.revision),
            row.time.map_or("-".into(), |time| age(time, self.now)),
            match self.columns {
                Columns::Changes => row.changes.map_or("?".into(), |changes| changes.to_string()),
                Columns::Size => row.stored_bytes.map_or("-".into(), size),
                Columns::Entry => String::new(),
            },
            row.author_and_host(),
        ]
    }
}

impl Answer for History {
    const KIND: &'static str = "log";

    /// Nothing: people were shown the revisions while they were read.
    fn human(&self, _page: &mut Vec<u8>) -> io::Result<()> {
        Ok(())
    }
}
