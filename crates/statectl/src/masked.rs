//! Inputs and outputs as commands show them: some of them masked.

use crate::exit::Failure;
use crate::members::Members;
use crate::sensitive::MASK;
use crate::table::fields;
use crate::text::plain;
use sdk_state::Json;
use serde::ser::{Error as _, Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;
use std::io;

/// One input or output; a masked one has no value.
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) value: Option<Json>,
}

/// The members of an object; an absent one has none.
pub(crate) fn members(
    object: Option<&Json>,
    is_masked: impl Fn(&str) -> bool,
) -> Result<Vec<Field>, Failure> {
    let text = object.map_or("{}", Json::as_str);
    let members: Members<'_> = serde_json::from_str(text).map_err(io::Error::from)?;
    let mut fields = Vec::new();
    for (name, value) in members.0 {
        let is_shown = !is_masked(&name);
        fields.push(Field {
            name,
            value: is_shown.then(|| Json::parse(value.get())).transpose()?,
        });
    }
    Ok(fields)
}

/// The object that has these members, where a masked value is a text; `None` for no members.
pub(crate) fn object(fields: &[Field]) -> Result<Option<Json>, Failure> {
    match fields {
        [] => Ok(None),
        fields => Ok(Some(Json::from_value(&Object(fields))?)),
    }
}

/// Prints each name with its value.
pub(crate) fn print(page: &mut Vec<u8>, members: &[Field]) -> io::Result<()> {
    let names: Vec<String> = members.iter().map(|field| plain(&field.name)).collect();
    let lines: Vec<(&str, String)> = names
        .iter()
        .map(String::as_str)
        .zip(members.iter().map(Field::text))
        .collect();
    fields(page, &lines)
}

impl Field {
    /// The value for people to read.
    pub(crate) fn text(&self) -> String {
        match &self.value {
            Some(value) => value
                .to_indented()
                .lines()
                .map(plain)
                .collect::<Vec<_>>()
                .join("\n"),
            None => format!("{MASK}, --reveal shows it"),
        }
    }
}

struct Object<'a>(&'a [Field]);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for field in self.0 {
            match &field.value {
                Some(value) => {
                    let value: &RawValue = serde_json::from_str(value.as_str()).map_err(S::Error::custom)?;
                    map.serialize_entry(&field.name, value)?;
                }
                None => map.serialize_entry(&field.name, MASK)?,
            }
        }
        map.end()
    }
}
