//! A state's document, split into its entries without decoding them.

use memchr::memmem;
use sdk_state::{Error, ErrorKind, Snapshot as _, State};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::ops::Range;

/// So many entries may be missing from a document that is split like another one, before entries are parsed that both have.
const LOOK_AHEAD: usize = 16;
/// How an encoded document begins.
const BEGINNING: &str = "{\"format-version\":1,\"factory\":{\"name\":";
/// How an encoded entry begins.
const ADDRESS: &str = "{\"address\":\"";

/// The encoded document of a state, in the layout of this project, and where its entries and its other members are.
///
/// Two revisions differ in few entries, and equal entries have equal texts. So they are compared as texts, and only what differs
/// is decoded.
#[derive(Default)]
pub(crate) struct Document {
    text: String,
    entries: Vec<Place>,
    /// The members beside the entries.
    others: Vec<(String, Range<usize>)>,
}

/// The text of a document, for [`candidates`].
pub(crate) fn text_in_layout(bytes: Vec<u8>) -> Result<String, Error> {
    let text = text_of(bytes)?;
    match text.starts_with(BEGINNING) {
        true => Ok(text),
        // Another tool may have written it in another layout.
        false => text_of(State::decode(text.as_bytes())?.encode()?),
    }
}

fn text_of(bytes: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8"))
}

/// The texts of what may be the entry with this address, in an encoded document that is not split. An object inside of another
/// entry may look the same.
pub(crate) fn candidates<'t>(text: &'t str, address: &str) -> Vec<&'t str> {
    let address = serde_json::Value::from(address).to_string();
    let beginning = format!("{{\"address\":{address},\"entry-kind\":");
    memmem::find_iter(text.as_bytes(), &beginning)
        .filter_map(|at| {
            let rest = text.get(at..)?;
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
            values.next()?.ok().map(RawValue::get)
        })
        .collect()
}

/// Where an entry is.
struct Place {
    entry: Range<usize>,
    address: Address,
}

/// An address as the document has it, or, if it has escapes, as it is.
enum Address {
    At(Range<usize>),
    Decoded(String),
}

impl Document {
    /// Splits a state's document.
    pub(crate) fn split(bytes: Vec<u8>) -> Result<Self, Error> {
        Self::split_like(bytes, &Self::default())
    }

    /// The same, faster if the document resembles `other`: an entry that both have is not parsed again.
    pub(crate) fn split_like(bytes: Vec<u8>, other: &Self) -> Result<Self, Error> {
        let mut text = text_of(bytes)?;
        let mut parts = Parts::read(&text, other);
        if parts.is_err() {
            // Another tool may have written it in another layout.
            text = text_of(State::decode(text.as_bytes())?.encode()?)?;
            parts = Parts::read(&text, other);
        }
        let Parts { entries, others } = parts?;
        Ok(Self {
            text,
            entries,
            others,
        })
    }

    /// The text of the entry with this address. Looks at every entry, because a document is seldom asked for more than one.
    pub(crate) fn find(&self, address: &str) -> Option<&str> {
        let index = (0..self.len()).find(|index| self.address(*index) == address)?;
        Some(self.entry(index))
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The text of an entry.
    pub(crate) fn entry(&self, index: usize) -> &str {
        &self.text[self.entries[index].entry.clone()]
    }

    pub(crate) fn address(&self, index: usize) -> &str {
        self.entries[index].address(&self.text)
    }

    /// The entries that are not equal on both sides: the positions of both, or of the one that only one side has.
    pub(crate) fn unequal(&self, after: &Self) -> Vec<(Option<usize>, Option<usize>)> {
        let is_same = |pair: &(usize, usize)| self.entry(pair.0) == after.entry(pair.1);
        let (old, new) = (self.len(), after.len());
        let start = (0..old).zip(0..new).take_while(is_same).count();
        let end = (start..old)
            .rev()
            .zip((start..new).rev())
            .take_while(is_same)
            .count();
        let (old, new) = (start..old - end, start..new - end);
        let mut in_new: HashMap<&str, usize> =
            new.clone().map(|index| (after.address(index), index)).collect();
        let mut unequal: Vec<_> = old
            .filter_map(|index| match in_new.remove(self.address(index)) {
                Some(there) if is_same(&(index, there)) => None,
                there => Some((Some(index), there)),
            })
            .collect();
        let rest = new.filter(|index| in_new.contains_key(after.address(*index)));
        unequal.extend(rest.map(|index| (None, Some(index))));
        unequal
    }

    /// The members beside the entries, with the texts of their values.
    pub(crate) fn others(&self) -> impl Iterator<Item = (&str, &str)> {
        self.others
            .iter()
            .map(|(name, value)| (name.as_str(), &self.text[value.clone()]))
    }
}

/// Where everything is in a document.
struct Parts {
    entries: Vec<Place>,
    others: Vec<(String, Range<usize>)>,
}

impl Parts {
    fn read(text: &str, other: &Document) -> Result<Self, Error> {
        let mut cursor = Cursor { text, at: 0 };
        let mut entries = None;
        let mut others = Vec::new();
        cursor.skip("{")?;
        while !cursor.is_at("}") {
            let name = cursor.value()?;
            let name: String =
                serde_json::from_str(&text[name]).map_err(|_| invalid("a member has no name"))?;
            cursor.skip(":")?;
            match name.as_str() {
                "entries" if entries.is_some() => return Err(invalid("entries are there twice")),
                "entries" => entries = Some(cursor.entries(other)?),
                _ => {
                    let value = cursor.value()?;
                    // The two that are the same in every document of a stack.
                    if name != "format-version" && name != "stack" {
                        others.push((name, value));
                    }
                }
            }
            cursor.end_element("}")?;
        }
        cursor.skip("}")?;
        if cursor.at < text.len() {
            return Err(invalid("something follows it"));
        }
        Ok(Self {
            entries: entries.unwrap_or_default(),
            others,
        })
    }
}

/// Reads a document in the layout of this project, which has no white space between the members of the document and its entries.
struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl Cursor<'_> {
    fn is_at(&self, what: &str) -> bool {
        self.text[self.at..].starts_with(what)
    }

    fn skip(&mut self, what: &str) -> Result<(), Error> {
        match self.is_at(what) {
            true => self.at += what.len(),
            false => return Err(invalid(&format!("expected {what} at byte {}", self.at + 1))),
        }
        Ok(())
    }

    /// Skips the comma after an element or a member, unless the end is next.
    fn end_element(&mut self, end: &str) -> Result<(), Error> {
        match self.is_at(end) {
            true => Ok(()),
            false => self.skip(","),
        }
    }

    /// The JSON value that is next.
    fn value(&mut self) -> Result<Range<usize>, Error> {
        let rest = &self.text[self.at..];
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
        let value = values.next().and_then(Result::ok);
        let value = value.ok_or_else(|| invalid(&format!("expected a value at byte {}", self.at + 1)))?;
        let start = self.at;
        self.at += value.get().len();
        match rest.starts_with(value.get()) {
            true => Ok(start..self.at),
            false => Err(invalid("it is in another layout")),
        }
    }

    fn entries(&mut self, other: &Document) -> Result<Vec<Place>, Error> {
        self.skip("[")?;
        let mut entries = Vec::with_capacity(other.len());
        // Where in the other document the next entry may be.
        let mut near = 0;
        while !self.is_at("]") {
            let same = other.entries.get(near).filter(|place| {
                let text = &other.text[place.entry.clone()];
                self.is_at(text) && self.text[self.at + text.len()..].starts_with([',', ']'])
            });
            let place = match same {
                Some(place) => {
                    let start = self.at;
                    self.at += place.entry.len();
                    near += 1;
                    place.moved_to(start)
                }
                None => {
                    let entry = self.value()?;
                    let place = Place::of(self.text, entry)?;
                    let address = place.address(self.text);
                    let ahead = (near..other.len()).take(LOOK_AHEAD);
                    if let Some(found) = { ahead }.find(|index| other.address(*index) == address) {
                        near = found + 1;
                    }
                    place
                }
            };
            entries.push(place);
            self.end_element("]")?;
        }
        self.skip("]")?;
        Ok(entries)
    }
}

impl Place {
    fn of(text: &str, entry: Range<usize>) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Addressed {
            address: String,
        }

        let encoded = &text[entry.clone()];
        let simple = encoded.strip_prefix(ADDRESS).and_then(|rest| {
            let end = rest.find(['"', '\\'])?;
            rest[end..].starts_with('"').then_some(end)
        });
        let address = match simple {
            Some(length) => {
                let start = entry.start + ADDRESS.len();
                Address::At(start..start + length)
            }
            None => {
                let addressed: Addressed =
                    serde_json::from_str(encoded).map_err(|_| invalid("an entry has no address"))?;
                Address::Decoded(addressed.address)
            }
        };
        Ok(Self { entry, address })
    }

    fn address<'t>(&'t self, text: &'t str) -> &'t str {
        match &self.address {
            Address::At(range) => &text[range.clone()],
            Address::Decoded(address) => address,
        }
    }

    /// The place of the same entry in another document.
    fn moved_to(&self, start: usize) -> Self {
        Self {
            entry: start..start + self.entry.len(),
            address: match &self.address {
                Address::At(range) => {
                    let start = start + range.start - self.entry.start;
                    Address::At(start..start + range.len())
                }
                Address::Decoded(address) => Address::Decoded(address.clone()),
            },
        }
    }
}

fn invalid(what: &str) -> Error {
    Error::new(
        ErrorKind::InvalidSnapshot,
        format!("the snapshot is not valid: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_is_split_into_entries_and_other_members() {
        let text = r#"{"format-version":1,"factory":{"name":"demo"},"stack":"prod","generated-at":"","entries":[{"address":"a.b","x":[1]},{"address":"\"q\""}],"outputs":{"o":1},"new":2}"#;
        let document = Document::split(text.into()).unwrap();
        assert_eq!(document.len(), 2);
        assert_eq!(document.address(0), "a.b");
        assert_eq!(document.entry(0), r#"{"address":"a.b","x":[1]}"#);
        assert_eq!(document.address(1), "\"q\"");
        assert_eq!(document.find("a.b"), Some(document.entry(0)));
        assert_eq!(document.find("a"), None);
        assert_eq!(
            document.others().collect::<Vec<_>>(),
            [
                ("factory", r#"{"name":"demo"}"#),
                ("generated-at", "\"\""),
                ("outputs", r#"{"o":1}"#),
                ("new", "2")
            ]
        );
    }

    #[test]
    fn candidates_contain_the_entry_and_no_other() {
        let entry =
            |address: &str| format!(r#"{{"address":{address},"entry-kind":"leaf","inputs":{{"a":"}}"}}}}"#);
        let text = format!("{{\"entries\":[{},{}]}}", entry("\"a\""), entry(r#""q\"""#));
        assert_eq!(candidates(&text, "a"), [entry("\"a\"")]);
        assert_eq!(candidates(&text, "q\""), [entry(r#""q\"""#)]);
        assert!(candidates(&text, "q").is_empty());
    }

    #[test]
    fn document_is_split_the_same_way_whatever_it_resembles() {
        let document = |entries: &[(&str, u8)]| {
            let entries: Vec<String> = entries
                .iter()
                .map(|(address, value)| format!(r#"{{"address":"{address}","n":[{value}]}}"#))
                .collect();
            format!(r#"{{"entries":[{}],"outputs":{{}}}}"#, entries.join(","))
        };
        let documents = [
            document(&[]),
            document(&[("a", 1), ("b", 1), ("c", 1), (r#"\"d"#, 1), ("e", 1)]),
            document(&[("a", 1), ("b", 2), ("c", 1), (r#"\"d"#, 1), ("e", 1)]),
            document(&[("new", 1), ("a", 1), ("c", 1), (r#"\"d"#, 1)]),
            document(&[("e", 1), (r#"\"d"#, 1), ("a", 1), ("b", 11)]),
        ];
        for text in &documents {
            let alone = Document::split(text.clone().into()).unwrap();
            for other in &documents {
                let other = Document::split(other.clone().into()).unwrap();
                let split = Document::split_like(text.clone().into(), &other).unwrap();
                assert_eq!(split.len(), alone.len());
                for index in 0..split.len() {
                    assert_eq!(split.entry(index), alone.entry(index));
                    assert_eq!(split.address(index), alone.address(index));
                }
                assert!(split.others().eq(alone.others()));
            }
        }
    }

    #[test]
    fn document_in_another_layout_is_split_too() {
        let text = r#"{ "format-version": 1, "factory": {"name": "demo"}, "stack": "prod",
            "entries": [ { "entry-kind": "leaf", "category": "resource", "address": "a",
                "binding": {"alias": "aws", "kind": "vm"} } ] }"#;
        let document = Document::split(text.into()).unwrap();
        assert_eq!((document.len(), document.address(0)), (1, "a"));
        let text = text_in_layout(text.into()).unwrap();
        assert!(text.starts_with(BEGINNING));
        assert_eq!(candidates(&text, "a"), [document.entry(0)]);
    }

    #[test]
    fn what_is_no_document_is_an_error() {
        for text in [
            "",
            "[]",
            "{",
            r#"{"entries":[{}]}"#,
            r#"{"entries":[],"entries":[]}"#,
            r#"{"entries":{}}"#,
        ] {
            assert!(Document::split(text.into()).is_err(), "{text}");
        }
    }
}
