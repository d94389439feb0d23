mod reader;
mod scan;
mod writer;

use crate::{Error, ErrorKind};
use reader::{Defect, RawText};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::io;

pub(crate) use reader::{Problem, Reader, check};
pub(crate) use writer::Writer;

/// One JSON value (RFC 8259), kept as its text: no number loses a digit and no string changes its spelling ([J2](crate::guarantees)).
///
/// Only a value that spans several lines changes when it is read: it loses the white space between its tokens, so that an
/// indented file and a compact one hold the same values. Two values are equal if their texts are equal.
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
// Invariant: the text is exactly one JSON value by the grammar, without white space around it and without a line feed, and
// the defect is that of the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Json {
    text: Box<str>,
    defect: Option<Defect>,
}

impl Json {
    /// How deeply lists and objects may nest for [`check`](Self::check) and [`to`](Self::to).
    pub const MAX_DEPTH: usize = reader::MAX_DEPTH;

    /// Makes a value from its text.
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](ErrorKind::InvalidSnapshot) unless `text` is exactly one JSON value.
    pub fn parse(text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        let refused = |problem: Problem| invalid(format!("not one JSON value: {}", problem.describe(&text)));
        let mut reader = Reader::new(&text);
        let RawText { text: value, defect } = reader.value().map_err(refused)?;
        // A compact text, as most large ones are, is not copied.
        let copy = (value.len() < text.len()).then(|| value.into());
        reader.end().map_err(refused)?;
        Ok(Self {
            text: copy.unwrap_or_else(|| text.into()),
            defect,
        })
    }

    /// Makes a value from anything that serde can serialize.
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](ErrorKind::InvalidSnapshot) if `value` cannot be serialised, or has a map whose keys are not
    /// strings.
    pub fn from_value<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        match serde_json::to_string(value) {
            Ok(text) => Self::parse(text),
            // The message comes from the type, and may quote the value.
            Err(_) => Err(invalid(
                "the value cannot be written as JSON: check its Serialize",
            )),
        }
    }

    /// Returns the text of the value.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the value for people to read: indented by two spaces for each level down to [`MAX_DEPTH`](Self::MAX_DEPTH).
    pub fn to_indented(&self) -> String {
        let mut out = Writer::indented(self.text.len() * 3 / 2);
        out.raw(&self.text);
        out.into_text()
    }

    /// Writes the value as [`to_indented`](Self::to_indented) returns it, piece by piece: a large text is never in memory as
    /// a whole.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write_indented(&self, mut out: impl io::Write) -> io::Result<()> {
        let mut out = Writer::indented_to(&mut out);
        out.raw(&self.text);
        out.finish()
    }

    /// Converts the value to a type of the caller's, after a [`check`](Self::check).
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](ErrorKind::InvalidSnapshot) if it fails the check or does not fit the type. The message says
    /// where, or what was expected, and does not quote the value.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.check()?;
        let mut deserializer = serde_json::Deserializer::from_str(&self.text);
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

    /// Checks that the value can be given to other programs: it nests at most [`MAX_DEPTH`](Self::MAX_DEPTH) deep, and no
    /// object in it has a member twice, however the names are escaped.
    ///
    /// Storing a value does not need this check; [`to`](Self::to) runs it by itself. The answer is known as soon as the value
    /// is made.
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](ErrorKind::InvalidSnapshot) if it breaks one of these rules; the message names the rule and quotes
    /// no value.
    pub fn check(&self) -> Result<(), Error> {
        match self.defect() {
            None => Ok(()),
            Some(defect) => Err(invalid(format!("the value has {defect}"))),
        }
    }

    /// The value that is next.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Problem> {
        let RawText { text, defect } = reader.value()?;
        Ok(Self {
            text: text.into(),
            defect,
        })
    }

    /// What [`check`](Self::check) refuses, in words.
    pub(crate) fn defect(&self) -> Option<String> {
        self.defect.map(|defect| defect.describe(Self::MAX_DEPTH))
    }

    pub(crate) fn is_object(&self) -> bool {
        self.text.starts_with('{')
    }

    pub(crate) fn is_empty_object(&self) -> bool {
        let inside = self
            .text
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        inside.is_some_and(|inside| inside.bytes().all(scan::is_white))
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Json({} bytes)", self.text.len())
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn nested(levels: usize) -> String {
        "[".repeat(levels) + &"]".repeat(levels)
    }

    #[test]
    fn a_value_keeps_every_byte_of_its_numbers_and_strings() {
        for text in [
            "9007199254740993",
            "18446744073709551616",
            "1e400",
            "123456789012345678901234567890",
            "-0",
            "1.10",
            "1E+2",
            r#""\u0061\/\ud83d\ude80 \ud83d <b>""#,
            r#"{"b": 1,  "a": [ ], "b": 2}"#,
        ] {
            assert_eq!(Json::parse(text).unwrap().as_str(), text);
            assert_eq!(Json::parse(format!(" \n{text}\t")).unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_value_on_several_lines_is_stored_on_one() {
        let json = Json::parse("{\n  \"a\": \"x \\n y\",\n  \"b\": [1.10, 2]\n}").unwrap();
        assert_eq!(json.as_str(), r#"{"a":"x \n y","b":[1.10,2]}"#);
        let wrapped = [serde_json::value::RawValue::from_string("[\n1\n]".into()).unwrap()];
        assert_eq!(Json::from_value(&wrapped).unwrap().as_str(), "[[1]]");
    }

    #[test]
    fn anything_but_one_value_is_refused() {
        for text in [
            "",
            " ",
            "1 2",
            "{} x",
            "{",
            "[1,]",
            "{\"a\"}",
            "01",
            "+1",
            "1.",
            ".5",
            "NaN",
            "nul",
            "'a'",
            "\"a",
            "\"\n\"",
            "\"\\x\"",
            "[1 /* one */]",
            "\u{feff}1",
        ] {
            let error = Json::parse(text).unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::InvalidSnapshot, "{text:?}");
        }
    }

    #[test]
    fn typed_access_reads_values_of_up_to_128_levels() {
        let json = Json::parse(r#"{"ports":[80,443]}"#).unwrap();
        let ports: BTreeMap<String, Vec<u16>> = json.to().unwrap();
        assert_eq!(ports["ports"], [80, 443]);

        let deepest = Json::parse(nested(Json::MAX_DEPTH)).unwrap();
        assert!(deepest.to::<serde_json::Value>().is_ok());
        for text in [nested(Json::MAX_DEPTH + 1), r#"[{"a":1,"\u0061":1}]"#.into()] {
            let json = Json::parse(text).unwrap();
            assert_eq!(json.check().unwrap_err().kind(), &ErrorKind::InvalidSnapshot);
            let error = json.to::<serde_json::Value>().unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::InvalidSnapshot);
        }
    }

    #[test]
    fn a_million_levels_are_kept_and_refused_by_the_check() {
        let json = Json::parse(nested(1_000_000)).unwrap();
        assert_eq!(json.as_str().len(), 2_000_000);
        assert!(json.check().unwrap_err().to_string().contains("128 levels"));
        assert!(Json::parse("[".repeat(1_000_000)).is_err());
        assert!(Json::parse("{\"a\":".repeat(1_000_000)).is_err());
    }

    #[test]
    fn only_an_object_without_members_is_an_empty_object() {
        for (text, expected) in [
            ("{}", true),
            ("{ \t}", true),
            ("{\n}", true),
            ("[]", false),
            ("{\"\":{}}", false),
            ("\"{}\"", false),
        ] {
            assert_eq!(Json::parse(text).unwrap().is_empty_object(), expected, "{text}");
        }
    }

    #[test]
    fn neither_debug_nor_an_error_tells_what_a_value_holds() {
        struct Refuses;
        impl Serialize for Refuses {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("hunter2"))
            }
        }
        #[derive(Debug, serde::Deserialize)]
        enum Choice {
            First,
        }
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}

        let secret = Json::parse(r#""x, expected hunter2""#).unwrap();
        let member = Json::parse(r#"{"hunter2":"hunter2"}"#).unwrap();
        assert_eq!(format!("{secret:?}"), "Json(21 bytes)");
        let errors = [
            secret.to::<u64>().unwrap_err(),
            secret.to::<Vec<String>>().unwrap_err(),
            secret.to::<Choice>().unwrap_err(),
            secret.to::<char>().unwrap_err(),
            secret.to::<std::net::IpAddr>().unwrap_err(),
            member.to::<Nothing>().unwrap_err(),
            member.to::<BTreeMap<u8, String>>().unwrap_err(),
            member.to::<BTreeMap<String, bool>>().unwrap_err(),
            Json::parse(r#"{"hunter2": hunter2}"#).unwrap_err(),
            Json::parse(r#"{"hunter2":1,"hunter2":2}"#)
                .unwrap()
                .check()
                .unwrap_err(),
            Json::from_value(&Refuses).unwrap_err(),
        ];
        for error in errors {
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
            assert!(std::error::Error::source(&error).is_none());
        }
        let message = secret.to::<u64>().unwrap_err().to_string();
        assert!(
            message.ends_with(": expected u64 at line 1 column 21"),
            "{message}"
        );
    }
}
