use crate::exit::{Failure, MISSING};
use crate::masked::{self, Field};
use crate::nearest::nearest;
use crate::output::Answer;
use crate::selector::RevisionOption;
use crate::sensitive::is_sensitive;
use crate::stack::Context;
use crate::table::{Table, fields};
use crate::text::{HEADING, plain};
use crate::unfinished::UnfinishedDocument;
use clap::Args;
use sdk_state::{Entry, Json, Revision, Snapshot as _, State};
use serde_json::value::RawValue;
use std::io::{self, Write as _};
use time::OffsetDateTime;

/// List the entries of a snapshot
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl list network/prod")]
pub(crate) struct List {
    /// FACTORY/STACK
    pub(super) stack: String,
    #[command(flatten)]
    revision: RevisionOption,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "kebab-case")]
struct Entries {
    stack: String,
    revision: String,
    unfinished: Option<UnfinishedDocument>,
    entries: Vec<Row>,
}

#[derive(serde::Serialize)]
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
        let (stack, rev) = context.readable_at(&self.stack, &self.revision)?;
        let found = stack.snapshot(rev.as_ref())?;
        let (rev, state) = (found.revision, found.document);
        if state.is_empty() {
            context.output().notice(format_args!("{rev} has no entries"));
        }
        context.output().answer(&Entries {
            stack: self.stack.clone(),
            revision: rev.to_string(),
            unfinished: found.unfinished,
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

/// Show one entry, with sensitive fields masked
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl show network/prod resource.database --reveal")]
pub(crate) struct Show {
    /// FACTORY/STACK
    pub(super) stack: String,
    /// The entry's address
    address: String,
    #[command(flatten)]
    revision: RevisionOption,
    /// Show sensitive fields too
    #[arg(long)]
    reveal: bool,
}

#[derive(serde::Serialize)]
struct Shown {
    stack: String,
    revision: String,
    unfinished: Option<UnfinishedDocument>,
    /// The names of the members that are masked.
    masked: Vec<String>,
    entry: Box<RawValue>,
    #[serde(skip)]
    parts: Parts,
}

/// An entry as people read it.
struct Parts {
    facts: Vec<(&'static str, String)>,
    inputs: Vec<Field>,
    outputs: Vec<Field>,
}

impl Show {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let (stack, rev) = context.readable_at(&self.stack, &self.revision)?;
        let found = stack.snapshot(rev.as_ref())?;
        let (rev, state) = (found.revision, found.document);
        let Some(entry) = state.find(&self.address) else {
            return Err(no_entry(&self.stack, &self.address, &rev, &state));
        };
        let inputs = self.members(entry.inputs.as_ref(), &entry.sensitive_inputs)?;
        let outputs = self.members(entry.outputs.as_ref(), &entry.sensitive_outputs)?;
        let masked = [("inputs", &inputs), ("outputs", &outputs)].map(|(part, fields)| {
            let masked = fields.iter().filter(|field| field.value.is_none());
            masked.map(move |field| format!("{part}.{}", field.name))
        });
        context.output().answer(&Shown {
            stack: self.stack.clone(),
            revision: rev.to_string(),
            unfinished: found.unfinished,
            masked: masked.into_iter().flatten().collect(),
            entry: document(entry, &inputs, &outputs)?,
            parts: Parts {
                facts: facts(entry),
                inputs,
                outputs,
            },
        })
    }

    fn members(&self, object: Option<&Json>, sensitive: &[String]) -> Result<Vec<Field>, Failure> {
        masked::members(object, |name| !self.reveal && is_sensitive(name, sensitive))
    }
}

/// The failure for an address that no entry has, with the address that may have been meant.
pub(super) fn no_entry(stack: &str, address: &str, rev: &Revision, state: &State) -> Failure {
    let known = || state.entries().map(|entry| entry.address.as_str());
    let ending = format!(".{address}");
    let meant = nearest(address, known()).or_else(|| known().find(|known| known.ends_with(&ending)));
    let hint = match meant {
        Some(near) => format!("did you mean {near}? `statectl list STACK` shows the entries"),
        None => "`statectl list STACK` shows the entries".into(),
    };
    let message = format!("{stack} has no entry {address:?} at {rev}");
    Failure::new(MISSING, "not-found", message).hint(hint)
}

/// The entry as the snapshot's document has it, with these members as its inputs and outputs.
fn document(entry: &Entry, inputs: &[Field], outputs: &[Field]) -> Result<Box<RawValue>, Failure> {
    #[derive(serde::Deserialize)]
    struct Document<'a> {
        #[serde(borrow)]
        entries: [&'a RawValue; 1],
    }

    let mut entry = entry.clone();
    entry.inputs = masked::object(inputs)?;
    entry.outputs = masked::object(outputs)?;
    let mut alone = State::new(&"only/entry".parse()?, "", "", OffsetDateTime::UNIX_EPOCH)?;
    alone.upsert(entry);
    let bytes = alone.encode()?;
    let document: Document<'_> = serde_json::from_slice(&bytes).map_err(io::Error::from)?;
    Ok(document.entries[0].to_owned())
}

fn facts(entry: &Entry) -> Vec<(&'static str, String)> {
    let kind = match entry.entry_kind.as_str() {
        kind if kind == entry.category.as_str() => kind.into(),
        kind => format!("{kind} ({})", entry.category.as_str()),
    };
    let binding = &entry.binding;
    let depends_on: Vec<String> = entry.depends_on.iter().map(|address| plain(address)).collect();
    let mut facts = vec![
        ("kind", kind),
        ("type", plain(&format!("{}.{}", binding.alias, binding.kind))),
        ("library", plain(&binding.library_path)),
        (
            "schema",
            entry
                .schema_version
                .map(|version| version.to_string())
                .unwrap_or_default(),
        ),
        ("trigger", plain(&entry.trigger_hash)),
        ("depends on", depends_on.join("\n")),
    ];
    facts.retain(|(_, value)| !value.is_empty());
    facts.insert(0, ("address", plain(&entry.address)));
    facts
}

impl Answer for Shown {
    const KIND: &'static str = "entry";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        let facts: Vec<(&str, String)> = self.parts.facts.clone();
        fields(page, &facts)?;
        for (heading, members) in [("inputs", &self.parts.inputs), ("outputs", &self.parts.outputs)] {
            if members.is_empty() {
                continue;
            }
            writeln!(page, "{HEADING}{heading}{HEADING:#}")?;
            masked::print(page, members)?;
        }
        Ok(())
    }
}
