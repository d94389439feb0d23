use super::parsed;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::Answer;
use crate::table::Table;
use crate::words::plain;
use clap::Args;
use sdk_state::{Entry, Revision, State};
use serde::Serialize;
use std::io;

/// Lists the entries of a snapshot
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl list network/prod")]
pub(crate) struct List {
    /// FACTORY/STACK
    pub(super) stack: String,
    /// This revision instead of the current one
    #[arg(long)]
    rev: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Entries {
    stack: String,
    revision: String,
    entries: Vec<Row>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    address: String,
    entry_kind: &'static str,
    category: &'static str,
    /// Alias and kind of the binding.
    r#type: String,
    library_path: Option<String>,
    depends_on: Vec<String>,
    /// Which of these are not in the snapshot.
    missing: Vec<String>,
    has_sensitive: bool,
}

impl List {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let rev: Option<Revision> = parsed(self.rev.as_deref())?;
        let stack = context.readable(&self.stack, rev.as_ref())?;
        let (rev, state) = stack.snapshot(rev.as_ref())?;
        if state.is_empty() {
            context.output().notice(format_args!("{rev} has no entries"));
        }
        context.output().answer(&Entries {
            stack: self.stack.clone(),
            revision: rev.to_string(),
            entries: state.entries().map(|entry| Row::of(entry, &state)).collect(),
        })
    }
}

impl Row {
    fn of(entry: &Entry, state: &State) -> Self {
        let library_path = Some(entry.binding.library_path.clone());
        let missing = entry
            .depends_on
            .iter()
            .filter(|address| state.find(address).is_none());
        Self {
            address: entry.address.clone(),
            entry_kind: entry.entry_kind.as_str(),
            category: entry.category.as_str(),
            r#type: format!("{}.{}", entry.binding.alias, entry.binding.kind),
            library_path: library_path.filter(|path| !path.is_empty()),
            missing: missing.cloned().collect(),
            depends_on: entry.depends_on.clone(),
            has_sensitive: !(entry.sensitive_inputs.is_empty() && entry.sensitive_outputs.is_empty()),
        }
    }

    fn needs(&self) -> String {
        match self.depends_on.len() {
            0 => "-".into(),
            count => count.to_string(),
        }
    }

    fn notes(&self) -> String {
        let mut notes = Vec::new();
        if self.has_sensitive {
            notes.push("sensitive".to_owned());
        }
        if !self.missing.is_empty() {
            notes.push(format!(
                "! needs {}, which is not here",
                plain(&self.missing.join(", "))
            ));
        }
        notes.join(", ")
    }
}

impl Answer for Entries {
    const KIND: &'static str = "entries";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let mut table = Table::new(["ADDRESS", "KIND", "TYPE", "NEEDS", "NOTES"]);
        for row in &self.entries {
            table.row([
                plain(&row.address),
                row.entry_kind.into(),
                plain(&row.r#type),
                row.needs(),
                row.notes(),
            ]);
        }
        table.align_right(3);
        table.print(page)
    }
}
