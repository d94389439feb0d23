//! How the members of the document's objects are read and written. `object!` lists the members of one object, once.

use crate::Json;
use crate::json::without_values;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::io;
use std::marker::PhantomData;

/// A value of a member. Messages name members and quote no value.
pub(super) trait Member: Sized {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;

    fn write<W: io::Write>(&self, out: &mut Buffer<W>);

    /// Whether an optional member with this value is left out.
    fn is_empty(&self) -> bool;

    /// Checks every raw value inside.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A JSON object with known members and, after them, unknown ones; see [`object!`].
pub(super) trait Object: Sized {
    const WHAT: &'static str;

    fn read_members<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error>;

    fn write_members<W: io::Write>(&self, out: &mut Buffer<W>);

    fn check_members(&self) -> Result<(), String>;
}

/// Defines an object by its members in the order of the document, each as
/// `presence visibility field: Type = "name-in-the-document"`. The presence is one of
///
/// * `required`: reading fails without it; always written,
/// * `always`: reading takes the default without it; always written,
/// * `optional`: reading takes the default without it; left out when empty.
///
/// `null` is the same as absent. A repeated member is an error. Nothing here prints a value, `Debug` included.
macro_rules! object {
    (
        $(#[$attribute:meta])*
        pub struct $name:ident = $what:literal {
            $( $(#[$doc:meta])* $presence:ident $vis:vis $field:ident: $type:ty = $member:literal, )*
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, PartialEq)]
        pub struct $name {
            $( $(#[$doc])* $vis $field: $type, )*
            unknown: crate::state::member::Unknown,
        }

        impl crate::state::member::Object for $name {
            const WHAT: &'static str = $what;

            fn read_members<'de, A: serde::de::MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
                use crate::state::member::{Name, Read, Unknown, twice, within};
                $( let mut $field: Option<Option<Read<$type>>> = None; )*
                let mut unknown = Unknown::default();
                while let Some(Name(name)) = map.next_key()? {
                    match &*name {
                        $( $member => {
                            if $field.is_some() {
                                return Err(twice($member));
                            }
                            $field = Some(map.next_value().map_err(|error| within($member, &error))?);
                        } )*
                        _ => unknown.push(name.into_owned(), map.next_value()?),
                    }
                }
                unknown.refuse_repeated()?;
                Ok(Self {
                    $( $field: match $field.flatten() {
                        Some(Read(value)) => value,
                        None => object!(@absent $presence $member),
                    }, )*
                    unknown,
                })
            }

            fn write_members<W: std::io::Write>(&self, out: &mut crate::state::member::Buffer<W>) {
                use crate::state::member::Member;
                $( if object!(@is_written $presence self.$field) {
                    out.text.push_str(concat!("\"", $member, "\":"));
                    self.$field.write(out);
                    out.text.push(',');
                } )*
                self.unknown.write_members(out);
            }

            fn check_members(&self) -> Result<(), String> {
                use crate::state::member::Member;
                $( self.$field.check().map_err(|message| format!(concat!($member, ": {}"), message))?; )*
                self.unknown.check()
            }
        }
    };
    (@absent required $member:literal) => { return Err(crate::state::member::missing($member)) };
    (@absent $presence:ident $member:literal) => { Default::default() };
    (@is_written optional $value:expr) => { !$value.is_empty() };
    (@is_written $presence:ident $value:expr) => { true };
}
pub(super) use object;

impl<T: Object> Member for T {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Object> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::WHAT)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::read_members(map)
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }

    fn write<W: io::Write>(&self, out: &mut Buffer<W>) {
        out.text.push('{');
        self.write_members(out);
        out.close('}');
    }

    fn is_empty(&self) -> bool {
        false
    }

    fn check(&self) -> Result<(), String> {
        self.check_members()
    }
}

impl Member for String {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }

    fn write<W: io::Write>(&self, out: &mut Buffer<W>) {
        out.string(self);
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

impl Member for Vec<String> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }

    fn write<W: io::Write>(&self, out: &mut Buffer<W>) {
        out.text.push('[');
        for text in self {
            out.string(text);
            out.text.push(',');
        }
        out.close(']');
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

impl Member for i64 {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }

    fn write<W: io::Write>(&self, out: &mut Buffer<W>) {
        out.text.push_str(&self.to_string());
    }

    fn is_empty(&self) -> bool {
        false
    }
}

impl Member for Json {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(Self::from_raw)
    }

    fn write<W: io::Write>(&self, out: &mut Buffer<W>) {
        out.text.push_str(self.as_str());
    }

    fn is_empty(&self) -> bool {
        self.is_empty_object()
    }

    fn check(&self) -> Result<(), String> {
        crate::json::check(self.as_str(), Self::MAX_DEPTH).map_err(|flaw| flaw.to_string())
    }
}

impl<T: Member> Member for Option<T> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(|value| Some(value).filter(|value| !value.is_empty()))
    }

    fn write<W: io::Write>(&self, out: &mut Buffer<W>) {
        if let Some(value) = self {
            value.write(out);
        }
    }

    fn is_empty(&self) -> bool {
        self.as_ref().is_none_or(T::is_empty)
    }

    fn check(&self) -> Result<(), String> {
        self.as_ref().map_or(Ok(()), T::check)
    }
}

/// A value on its way in. Members do not implement serde's trait themselves: it would be public with their types, and
/// raw values work with no format but JSON.
pub(super) struct Read<T>(pub(super) T);

impl<'de, T: Member> Deserialize<'de> for Read<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Self)
    }
}

/// A string that is only compared: borrowed unless it has escapes.
pub(super) struct Name<'de>(pub(super) Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(text.into()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(text.to_owned().into()))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// Members that this version does not know, in their order.
#[derive(Clone, PartialEq, Default)]
pub(super) struct Unknown(Vec<(String, Json)>);

impl Unknown {
    pub(super) fn push(&mut self, name: String, Read(value): Read<Json>) {
        self.0.push((name, value));
    }

    pub(super) fn refuse_repeated<E: Error>(&self) -> Result<(), E> {
        // Sorted, since a hostile file may have very many.
        let mut names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        match names.windows(2).any(|pair| pair[0] == pair[1]) {
            true => Err(E::custom("an unknown member is there twice")),
            false => Ok(()),
        }
    }

    pub(super) fn write_members<W: io::Write>(&self, out: &mut Buffer<W>) {
        for (name, value) in &self.0 {
            out.string(name);
            out.text.push(':');
            value.write(out);
            out.text.push(',');
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let mut values = self.0.iter().map(|(_, value)| value.check());
        values
            .try_for_each(|checked| checked)
            .map_err(|message| format!("an unknown member: {message}"))
    }
}

/// Text on its way out. Whoever writes much empties it from time to time with [`flush`](Self::flush).
pub(super) struct Buffer<W> {
    pub(super) text: String,
    out: W,
    failure: Option<io::Error>,
}

impl<W: io::Write> Buffer<W> {
    pub(super) fn new(out: W) -> Self {
        Self {
            text: String::new(),
            out,
            failure: None,
        }
    }

    pub(super) fn string(&mut self, text: &str) {
        // A fold looks at every byte, which is faster than stopping early: it is done on many bytes at once.
        let needs_escape = |found: bool, byte: u8| found | (byte < 0x20) | (byte == b'"') | (byte == b'\\');
        if text.bytes().fold(false, needs_escape) {
            match serde_json::to_string(text) {
                Ok(escaped) => self.text.push_str(&escaped),
                Err(error) => self.failure = Some(error.into()),
            }
        } else {
            self.text.push('"');
            self.text.push_str(text);
            self.text.push('"');
        }
    }

    /// Ends a list or an object, in which a comma follows each member.
    pub(super) fn close(&mut self, bracket: char) {
        if self.text.ends_with(',') {
            self.text.pop();
        }
        self.text.push(bracket);
    }

    pub(super) fn flush(&mut self) {
        if self.failure.is_none() {
            self.failure = self.out.write_all(self.text.as_bytes()).err();
        }
        self.text.clear();
    }

    /// The first failure, if there was one.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush();
        match self.failure {
            Some(failure) => Err(failure),
            None => self.out.flush(),
        }
    }
}

/// The same error, about this member or entry. A value that serde quoted is gone.
pub(super) fn within<E: Error>(place: impl fmt::Display, error: &E) -> E {
    E::custom(format_args!("{place}: {}", without_values(&error.to_string())))
}

pub(super) fn missing<E: Error>(member: &'static str) -> E {
    E::custom(format_args!("{member} is missing"))
}

pub(super) fn twice<E: Error>(member: &'static str) -> E {
    E::custom(format_args!("{member} is there twice"))
}
