use super::member::{Member, Unknown, object};
use crate::Json;
use crate::json::{Problem, Reader, Writer};
use std::fmt;

object! {
    /// One entry of a state: the record of one thing that the factory manages, ran or read.
    ///
    /// Members that this version does not know are kept.
    ///
    /// ```
    /// use sdk_state::{Binding, Category, Entry, EntryKind, Json};
    ///
    /// # fn main() -> Result<(), sdk_state::Error> {
    /// let binding = Binding::new("aws", "vpc");
    /// let mut vpc = Entry::new("resource.vpc", EntryKind::Leaf, Category::Resource, binding);
    /// vpc.outputs = Some(Json::parse(r#"{"id":"vpc-1"}"#)?);
    /// # Ok(())
    /// # }
    /// ```
    pub struct Entry = "an entry" {
        /// The name, unique in the snapshot and not empty.
        required pub address: String = "address",
        /// What the entry stands for.
        required pub entry_kind: EntryKind = "entry-kind",
        /// The category of the thing; only for library calls does the entry kind leave a choice.
        required pub category: Category = "category",
        /// The library that provides it.
        required pub binding: Binding = "binding",
        /// The version of the provider's schema that `inputs` and `outputs` follow.
        optional pub schema_version: Option<i64> = "schema-version",
        /// The names of the inputs that are secret.
        optional pub sensitive_inputs: Vec<String> = "sensitive-inputs",
        /// The names of the outputs that are secret.
        optional pub sensitive_outputs: Vec<String> = "sensitive-outputs",
        /// What an action ran for last; empty for none.
        optional pub trigger_hash: String = "trigger-hash",
        /// The values that it was made from: an object. An empty object is not written, and is read as `None`.
        optional pub inputs: Option<Json> = "inputs",
        /// The values that resulted: an object. An empty object is not written, and is read as `None`.
        optional pub outputs: Option<Json> = "outputs",
        /// The addresses of the entries that it needs. They may name entries that do not exist.
        optional pub depends_on: Vec<String> = "depends-on",
    }
}

object! {
    /// The library that provides an entry.
    pub struct Binding = "a binding" {
        /// The library's name in the factory, not empty.
        required pub alias: String = "alias",
        /// Where the library comes from; empty for a built-in one.
        optional pub library_path: String = "library-path",
        /// Its name in the library, not empty.
        required pub kind: String = "kind",
    }
}

/// What an entry stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// A resource.
    Leaf,
    /// A call of a library, which consists of other entries.
    LibraryCall,
    /// An action that ran.
    Action,
    /// Something that was read.
    DataSource,
}

/// The category of the thing that an entry stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Category {
    /// A thing that exists.
    Resource,
    /// A thing that was read.
    DataSource,
    /// A thing that ran.
    Action,
}

impl Entry {
    /// Makes an entry with the members that every entry has.
    pub fn new(
        address: impl Into<String>,
        entry_kind: EntryKind,
        category: Category,
        binding: Binding,
    ) -> Self {
        Self {
            address: address.into(),
            entry_kind,
            category,
            binding,
            schema_version: None,
            sensitive_inputs: Vec::new(),
            sensitive_outputs: Vec::new(),
            trigger_hash: String::new(),
            inputs: None,
            outputs: None,
            depends_on: Vec::new(),
            unknown: Unknown::default(),
        }
    }

    /// An entry that breaks no rule.
    pub(super) fn read_checked(reader: &mut Reader<'_>) -> Result<Self, Problem> {
        let entry = Self::read(reader)?;
        match entry.broken_rule() {
            Some(rule) => Err(reader.problem(rule)),
            None => Ok(entry),
        }
    }

    /// Returns the rule that the entry breaks, if any.
    pub(super) fn broken_rule(&self) -> Option<&'static str> {
        let category_fits = match self.entry_kind {
            EntryKind::Leaf => self.category == Category::Resource,
            EntryKind::LibraryCall => true,
            EntryKind::Action => self.category == Category::Action,
            EntryKind::DataSource => self.category == Category::DataSource,
        };
        [
            (!self.address.is_empty(), "address is missing"),
            (category_fits, "category does not fit entry-kind"),
            (!self.binding.alias.is_empty(), "binding: alias is missing"),
            (!self.binding.kind.is_empty(), "binding: kind is missing"),
            (is_object(self.inputs.as_ref()), "inputs: expected an object"),
            (is_object(self.outputs.as_ref()), "outputs: expected an object"),
        ]
        .into_iter()
        .find_map(|(holds, message)| (!holds).then_some(message))
    }
}

impl Binding {
    /// Makes the binding to `kind` of the library that the factory calls `alias`.
    pub fn new(alias: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            alias: alias.into(),
            library_path: String::new(),
            kind: kind.into(),
            unknown: Unknown::default(),
        }
    }
}

impl EntryKind {
    const ALL: [Self; 4] = [Self::Leaf, Self::LibraryCall, Self::Action, Self::DataSource];

    /// As in the document: `leaf`, `library-call`, `action` or `data-source`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leaf => "leaf",
            Self::LibraryCall => "library-call",
            Self::Action => "action",
            Self::DataSource => "data-source",
        }
    }
}

impl Category {
    const ALL: [Self; 3] = [Self::Resource, Self::DataSource, Self::Action];

    /// As in the document: `resource`, `data-source` or `action`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::DataSource => "data-source",
            Self::Action => "action",
        }
    }
}

/// Whether an optional raw value is absent or an object.
pub(super) fn is_object(value: Option<&Json>) -> bool {
    value.is_none_or(Json::is_object)
}

impl Member for EntryKind {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Problem> {
        one_of(
            reader,
            Self::ALL,
            Self::as_str,
            "expected leaf, library-call, action or data-source",
        )
    }

    fn write(&self, out: &mut Writer) {
        out.string(self.as_str());
    }

    fn length(&self) -> usize {
        self.as_str().len() + 2
    }
}

impl Member for Category {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Problem> {
        one_of(
            reader,
            Self::ALL,
            Self::as_str,
            "expected resource, data-source or action",
        )
    }

    fn write(&self, out: &mut Writer) {
        out.string(self.as_str());
    }

    fn length(&self) -> usize {
        self.as_str().len() + 2
    }
}

/// The one with this name.
fn one_of<T: Copy, const N: usize>(
    reader: &mut Reader<'_>,
    all: [T; N],
    name: impl Fn(T) -> &'static str,
    expected: &'static str,
) -> Result<T, Problem> {
    let text = reader.string()?;
    let found = all.into_iter().find(|one| name(*one) == text);
    found.ok_or_else(|| reader.problem(expected))
}

/// Omits all values: even an address may reveal too much.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").finish_non_exhaustive()
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding").finish_non_exhaustive()
    }
}
