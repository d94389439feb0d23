//! A state's document, split into its entries without decoding them.

use crate::members::Members;
use memchr::memmem;
use sdk_state::{Error, ErrorKind};
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

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

pub(crate) fn text_of(bytes: Vec<u8>) -> Result<String, Error> {
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
    /// Splits the bytes of [`State::encode`](sdk_state::Snapshot::encode).
    pub(crate) fn split(bytes: Vec<u8>) -> Result<Self, Error> {
        let text = text_of(bytes)?;
        let (entries, others) = {
            let parts: Parts<'_> =
                serde_json::from_str(&text).map_err(|_| invalid("it is no such object"))?;
            let start = text.as_ptr() as usize;
            let range = |part: &str| {
                let at = part.as_ptr() as usize - start;
                at..at + part.len()
            };
            let entries = parts.entries.into_iter().map(|entry| {
                let entry = range(entry.get());
                let address = Address::of(&text, &entry)?;
                Ok(Place { entry, address })
            });
            let entries: Vec<Place> = entries.collect::<Result<_, Error>>()?;
            let others = parts.others.0.into_iter();
            let others = others.map(|(name, value)| (name, range(value.get())));
            (entries, others.collect())
        };
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
        match &self.entries[index].address {
            Address::At(range) => &self.text[range.clone()],
            Address::Decoded(address) => address,
        }
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

impl Address {
    fn of(text: &str, entry: &Range<usize>) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Addressed {
            address: String,
        }

        let encoded = &text[entry.clone()];
        let simple = encoded.strip_prefix(ADDRESS).and_then(|rest| {
            let end = rest.find(['"', '\\'])?;
            rest[end..].starts_with('"').then_some(end)
        });
        if let Some(length) = simple {
            let start = entry.start + ADDRESS.len();
            return Ok(Self::At(start..start + length));
        }
        let addressed: Addressed =
            serde_json::from_str(encoded).map_err(|_| invalid("an entry has no address"))?;
        Ok(Self::Decoded(addressed.address))
    }
}

/// The entries, and the other members.
struct Parts<'a> {
    entries: Vec<&'a RawValue>,
    others: Members<'a>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Parts<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Parts<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = None;
                let mut others = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "entries" if entries.is_some() => return Err(de::Error::duplicate_field("entries")),
                        "entries" => entries = Some(map.next_value()?),
                        "format-version" | "stack" => drop(map.next_value::<IgnoredAny>()?),
                        _ => others.push((name, map.next_value()?)),
                    }
                }
                Ok(Parts {
                    entries: entries.unwrap_or_default(),
                    others: Members(others),
                })
            }
        }

        deserializer.deserialize_map(Object)
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
