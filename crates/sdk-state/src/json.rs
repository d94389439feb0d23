mod check;
mod layout;

use crate::{Error, ErrorKind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::fmt;

pub(crate) use check::check;
pub(crate) use layout::indent;

/// One JSON value, kept as its text: no number loses a digit and no string changes its spelling.
///
/// Only a value that spans several lines changes on the way in: it loses the white space between its tokens, so that an
/// indented file and a compact one hold the same values. Two values are equal when their texts are.
///
/// ```
/// use sdk_state::Json;
///
/// # fn main() -> Result<(), sdk_state::Error> {
/// let ports = Json::parse("[80, 18446744073709551616]")?;
/// assert_eq!(ports.as_str(), "[80, 18446744073709551616]");
/// assert_eq!(Json::from_value(&[80, 443])?.to::<Vec<u16>>()?, [80, 443]);
/// # Ok(())
/// # }
/// ```
// Invariant: exactly one JSON value by the grammar, without white space around it and without a line feed.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Box<str>);

impl Json {
    /// How deeply lists and objects may nest for [`check`](Self::check) and [`to`](Self::to).
    pub const MAX_DEPTH: usize = 128;

    /// A value from its text.
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](ErrorKind::InvalidSnapshot) unless `text` is exactly one JSON value.
    pub fn parse(text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        match serde_json::from_str::<&RawValue>(&text) {
            Ok(raw) => Ok(Self::from_raw(raw)),
            Err(error) => Err(invalid(format!("not one JSON value: {error}"))),
        }
    }

    /// A value from anything that serde can serialize.
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](ErrorKind::InvalidSnapshot) if `value` refuses, or has a map whose keys are no strings.
    pub fn from_value<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        match serde_json::to_string(value) {
            Ok(text) => Ok(Self(layout::on_one_line(text))),
            // The message is the type's own, and may quote the value.
            Err(_) => Err(invalid(
                "the value cannot be written as JSON: check its Serialize",
            )),
        }
    }

    /// The text of the value.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value as people read it: indented by two spaces for each level down to [`MAX_DEPTH`](Self::MAX_DEPTH).
    pub fn to_indented(&self) -> String {
        indent(&self.0)
    }

    /// The value as a type of the caller's, after a [`check`](Self::check).
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](ErrorKind::InvalidSnapshot) if it fails the check or does not fit the type.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.check()?;
        let mut deserializer = serde_json::Deserializer::from_str(&self.0);
        deserializer.disable_recursion_limit();
        T::deserialize(&mut deserializer).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let message = error.to_string();
            let expectation = expectation(&message).map(str::to_owned);
            invalid(format!(
                "the value does not fit the type that was asked for: {}",
                expectation.unwrap_or_else(|| format!("see line {line} column {column}"))
            ))
        })
    }

    /// Whether the value can be given to other programs: it nests at most [`MAX_DEPTH`](Self::MAX_DEPTH) deep, and no
    /// object in it has a member twice, however the names are escaped.
    ///
    /// Storing a value does not need this; typed access runs it by itself.
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](ErrorKind::InvalidSnapshot).
    pub fn check(&self) -> Result<(), Error> {
        check(&self.0, Self::MAX_DEPTH).map_err(|flaw| invalid(format!("the value has {flaw}")))
    }

    pub(crate) fn from_raw(raw: &RawValue) -> Self {
        Self(layout::on_one_line(raw.get()))
    }

    pub(crate) fn is_object(&self) -> bool {
        self.0.starts_with('{')
    }

    pub(crate) fn is_empty_object(&self) -> bool {
        let inside = self.0.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        inside.is_some_and(|inside| inside.bytes().all(layout::is_white))
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Json({} bytes)", self.0.len())
    }
}

/// A message of serde without the value that it quotes.
///
/// Every other message that serde_json makes up by itself, and every one of this crate, is fixed text.
pub(crate) fn without_values(message: &str) -> &str {
    expectation(message).unwrap_or(message)
}

/// The `expected a string at line 1 column 2` of `invalid type: integer `1`, expected a string at line 1 column 2`.
///
/// The value comes before it and may contain anything, so the last place counts.
fn expectation(message: &str) -> Option<&str> {
    let quotes_a_value = ["invalid type: ", "invalid value: ", "invalid length "]
        .iter()
        .any(|start| message.starts_with(start));
    let at = message.rfind(", expected ").filter(|_| quotes_a_value)?;
    Some(&message[at + 2..])
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidSnapshot, message)
}
