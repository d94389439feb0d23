//! Turns a document into the bytes that are stored, entry by entry: only one entry is in memory at a time.

use super::entry::{Entry, is_object};
use super::member::{Member, object};
use super::{Factory, FormatVersion, State, belongs_to, invalid, read_document, validate_time};
use crate::json::{Problem, Reader, Writer};
use crate::{Error, Json, StackId};
use hashbrown::HashMap;

impl State {
    /// Checks a document that comes from elsewhere, and returns the bytes that a store keeps.
    ///
    /// It is the same as [`decode`](crate::Snapshot::decode), [`check_values`](Self::check_values),
    /// [`check_stack`](crate::Snapshot::check_stack) and [`encode`](crate::Snapshot::encode), in less time and half of their
    /// memory, since no entry is kept. A store writes the bytes as a [`Raw`](crate::Raw).
    ///
    /// ```
    /// use sdk_state::{Raw, Snapshot as _, State};
    ///
    /// # fn main() -> Result<(), sdk_state::Error> {
    /// let text = br#"{ "format-version": 1, "factory": { "name": "network" }, "stack": "prod" }"#;
    /// let document = Raw {
    ///     payload: State::PAYLOAD.into(),
    ///     bytes: State::normalize(text, &"network/prod".parse()?)?,
    /// };
    /// # let state = State::decode(text)?;
    /// # assert_eq!(document.bytes, state.encode()?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](crate::ErrorKind::InvalidSnapshot) if the document breaks a rule of the format, has a value that
    /// does not pass [`Json::check`], or belongs to another stack. Entries are named by their position, from 1.
    pub fn normalize(document: &[u8], id: &StackId) -> Result<Vec<u8>, Error> {
        let (document, bytes) = normalized(document)?;
        belongs_to(&document.factory, &document.stack, id)?;
        Ok(bytes)
    }
}

object! {
    /// A state whose entries have already been written.
    pub(super) struct Document = "a snapshot" {
        required format_version: FormatVersion = "format-version",
        always factory: Factory = "factory",
        always stack: String = "stack",
        always generated_at: String = "generated-at",
        always entries: WrittenEntries = "entries",
        optional outputs: Option<Json> = "outputs",
    }
}

#[derive(Clone, PartialEq)]
pub(super) struct WrittenEntries(String);

pub(super) fn normalized(bytes: &[u8]) -> Result<(Document, Vec<u8>), Error> {
    let mut document: Document = read_document(bytes)?;
    document.check().map_err(|message| invalid(&message))?;
    validate_time(&document.generated_at)?;
    if !is_object(document.outputs.as_ref()) {
        return Err(invalid("outputs: expected an object"));
    }
    // The text around the entries is moved to them, because they are much longer.
    let mut text = std::mem::take(&mut document.entries).0;
    let mut around = Writer::on_one_line(document.length());
    document.write(&mut around);
    let (before, after) = around.split_at_mark();
    text.reserve_exact(before.len() + after.len());
    text.insert_str(0, &before);
    text.push_str(&after);
    Ok((document, text.into_bytes()))
}

impl Default for WrittenEntries {
    fn default() -> Self {
        Self("[]".into())
    }
}

impl Member for WrittenEntries {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Problem> {
        // Only the part that is used takes up memory.
        let mut out = Writer::on_one_line(reader.rest_length());
        let mut positions: HashMap<String, usize> = HashMap::new();
        reader.open(b'[', "a list of entries")?;
        out.open('[');
        let mut is_first = true;
        while reader.next_element(&mut is_first)? {
            let position = positions.len() + 1;
            let entry = Entry::read_checked(reader)
                .and_then(|entry| match entry.check() {
                    Ok(()) => Ok(entry),
                    Err(message) => Err(reader.problem(&message)),
                })
                .map_err(|problem| problem.within(format_args!("entry {position}")))?;
            if let Some(first) = positions.get(&entry.address) {
                let message = format!("entry {position}: address is that of entry {first}");
                return Err(reader.problem(&message));
            }
            out.element();
            entry.write(&mut out);
            positions.insert(entry.address, position);
        }
        out.close(']');
        Ok(Self(out.into_text()))
    }

    fn write(&self, out: &mut Writer) {
        out.mark();
    }

    fn length(&self) -> usize {
        0
    }
}
