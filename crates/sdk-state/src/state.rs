mod change;
mod entries;
mod entry;
mod member;
mod normalize;

use crate::json::{Problem, Reader, Writer};
use crate::stack_id::Excerpt;
use crate::{Error, ErrorKind, Json, Snapshot, StackId};
use entries::Entries;
use entry::is_object;
use member::{Member, Unknown, object};
use std::fmt;
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use change::StateChange;
pub use entry::{Binding, Category, Entry, EntryKind};

object! {
    /// The state of one stack at one moment: what the factory believes exists.
    ///
    /// Its entries keep their order, and are found, replaced and removed by address in constant time. Numbers and strings in
    /// inputs and outputs are kept byte for byte, and so are members that this version does not know. The rules of the format
    /// are checked when a state is written or read.
    ///
    /// ```
    /// use sdk_state::{Binding, Category, Entry, EntryKind, State};
    ///
    /// # fn main() -> Result<(), sdk_state::Error> {
    /// # let now = time::OffsetDateTime::UNIX_EPOCH;
    /// let mut state = State::new(&"network/prod".parse()?, "v1.2.0", "8c1f", now)?;
    /// let binding = Binding::new("aws", "vpc");
    /// state.upsert(Entry::new("resource.vpc", EntryKind::Leaf, Category::Resource, binding));
    /// assert!(state.find("resource.vpc").is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub struct State = "a snapshot" {
        required format_version: FormatVersion = "format-version",
        /// The program that made the state.
        always pub factory: Factory = "factory",
        /// The stack's name.
        always pub stack: String = "stack",
        /// When the state was made, in RFC 3339, or empty.
        always pub generated_at: String = "generated-at",
        always entries: Entries = "entries",
        /// The values that the stack provides to others: an object. An empty object is not written, and is read as `None`.
        optional pub outputs: Option<Json> = "outputs",
    }
}

object! {
    /// The program that made a state.
    #[derive(Default)]
    pub struct Factory = "a factory" {
        /// Its name.
        always pub name: String = "name",
        /// Its version.
        always pub version: String = "version",
        /// The revision of its own content.
        always pub content_revision: String = "content-revision",
    }
}

/// The only version.
#[derive(Clone, PartialEq)]
struct FormatVersion;

impl State {
    /// Makes a state without entries.
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](ErrorKind::InvalidSnapshot) if RFC 3339 cannot express `generated_at`: the year does not have four
    /// digits, or the offset has seconds.
    pub fn new(
        id: &StackId,
        version: impl Into<String>,
        content_revision: impl Into<String>,
        generated_at: OffsetDateTime,
    ) -> Result<Self, Error> {
        let mut state = Self::fresh(id);
        state.factory.version = version.into();
        state.factory.content_revision = content_revision.into();
        state.set_generated_at(generated_at)?;
        Ok(state)
    }

    /// Records when the state was made.
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](ErrorKind::InvalidSnapshot) if RFC 3339 cannot express the time: the year does not have four
    /// digits, or the offset has seconds.
    pub fn set_generated_at(&mut self, time: OffsetDateTime) -> Result<(), Error> {
        self.generated_at = time.format(&Rfc3339).map_err(|_| {
            invalid("generated-at: RFC 3339 knows the years 0 to 9999 and whole minutes of offset")
        })?;
        Ok(())
    }

    /// Returns the entries in the order of the document.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the entry with this address.
    pub fn find(&self, address: &str) -> Option<&Entry> {
        self.entries.find(address).map(|entry| &**entry)
    }

    pub(crate) fn find_shared(&self, address: &str) -> Option<Arc<Entry>> {
        self.entries.find(address).cloned()
    }

    /// Replaces the entry with the same address and returns the old one, or adds `entry` at the end.
    pub fn upsert(&mut self, entry: Entry) -> Option<Entry> {
        self.entries.upsert(entry)
    }

    /// Removes and returns the entry with this address; the others keep their order.
    pub fn remove(&mut self, address: &str) -> Option<Entry> {
        self.entries.remove(address)
    }

    /// Runs [`Json::check`] on every raw value. Call it for a document that comes from elsewhere.
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](ErrorKind::InvalidSnapshot), naming the entry by its position, from 1.
    pub fn check_values(&self) -> Result<(), Error> {
        self.check().map_err(|message| invalid(&message))
    }

    /// Returns the document for people to read: indented by two spaces, without a final newline. `decode` accepts it too.
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](ErrorKind::InvalidSnapshot) if the state breaks a rule of the format.
    pub fn to_indented(&self) -> Result<String, Error> {
        self.validate()?;
        let mut out = Writer::indented(self.length() * 3 / 2);
        self.write(&mut out);
        Ok(out.into_text())
    }

    fn validate(&self) -> Result<(), Error> {
        self.validate_document()?;
        for (position, entry) in (1..).zip(self.entries()) {
            if let Some(rule) = entry.broken_rule() {
                return Err(invalid(&format!("entry {position}: {rule}")));
            }
        }
        Ok(())
    }

    /// The rules beside those of the entries.
    fn validate_document(&self) -> Result<(), Error> {
        validate_time(&self.generated_at)?;
        match is_object(self.outputs.as_ref()) {
            true => Ok(()),
            false => Err(invalid("outputs: expected an object")),
        }
    }
}

impl Snapshot for State {
    const PAYLOAD: &'static str = "state";
    type Change = StateChange;

    /// A state without entries, versions and time.
    fn fresh(id: &StackId) -> Self {
        Self {
            format_version: FormatVersion,
            factory: Factory {
                name: id.factory().into(),
                ..Factory::default()
            },
            stack: id.stack().into(),
            generated_at: String::new(),
            entries: Entries::default(),
            outputs: None,
            unknown: Unknown::default(),
        }
    }

    fn encode(&self) -> Result<Vec<u8>, Error> {
        self.validate()?;
        let mut out = Writer::on_one_line(self.length());
        self.write(&mut out);
        Ok(out.into_text().into_bytes())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let state: Self = read_document(bytes)?;
        state.validate_document()?;
        Ok(state)
    }

    fn check_stack(&self, id: &StackId) -> Result<(), Error> {
        belongs_to(&self.factory, &self.stack, id)
    }
}

/// The whole document.
fn read_document<T: Member>(bytes: &[u8]) -> Result<T, Error> {
    // Checking the encoding once here saves checking it for each string.
    let text = str::from_utf8(bytes)
        .map_err(|error| invalid(&format!("not UTF-8 at byte {}", error.valid_up_to() + 1)))?;
    let mut reader = Reader::new(text);
    let document = T::read(&mut reader).and_then(|document| reader.end().map(|()| document));
    document.map_err(|problem| invalid(&problem.describe(text)))
}

fn validate_time(generated_at: &str) -> Result<(), Error> {
    match generated_at.is_empty() || OffsetDateTime::parse(generated_at, &Rfc3339).is_ok() {
        true => Ok(()),
        false => Err(invalid("generated-at: expected a time in RFC 3339")),
    }
}

fn belongs_to(factory: &Factory, stack: &str, id: &StackId) -> Result<(), Error> {
    if factory.name == id.factory() && stack == id.stack() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidSnapshot,
        format!(
            "the snapshot belongs to {}, not to \"{id}\"",
            Excerpt(&format!("{}/{stack}", factory.name))
        ),
    ))
}

impl Member for FormatVersion {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Problem> {
        match reader.integer()? {
            1 => Ok(Self),
            _ => Err(reader.problem("expected 1, the only version that is known here")),
        }
    }

    fn write(&self, out: &mut Writer) {
        out.integer(1);
    }

    fn length(&self) -> usize {
        1
    }
}

/// The message names a place and a rule, and quotes no value.
fn invalid(message: &str) -> Error {
    // The list of entries needs no name beside that of an entry.
    let message = message.strip_prefix("entries: ").unwrap_or(message);
    Error::new(
        ErrorKind::InvalidSnapshot,
        format!("the snapshot is not valid: {message}"),
    )
}

/// Omits all values: states hold passwords.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("entries", &self.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Factory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Factory").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
