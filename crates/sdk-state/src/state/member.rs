//! Reads and writes the members of the document's objects. `object!` lists the members of one object, once.

use crate::Json;
use crate::json::{Problem, Reader, Writer};

/// A value of a member. Messages name members and quote no value.
pub(super) trait Member: Sized {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Problem>;

    fn write(&self, out: &mut Writer);

    /// Whether an optional member with this value is left out.
    fn is_empty(&self) -> bool {
        false
    }

    /// Checks every raw value inside.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// The most bytes that the value takes on one line, not counting escapes.
    fn length(&self) -> usize;
}

/// Defines an object by its members in the order of the document, each as
/// `presence visibility field: Type = "name-in-the-document"`. The presence is one of
///
/// * `required`: reading fails without it; always written,
/// * `always`: reading takes the default without it; always written,
/// * `optional`: reading takes the default without it; left out when empty.
///
/// `null` is the same as absent. Unknown members are kept, after the known ones. A repeated member is an error. Nothing here
/// prints a value, not even `Debug`.
macro_rules! object {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident = $what:literal {
            $( $(#[$doc:meta])* $presence:ident $vis:vis $field:ident: $type:ty = $member:literal, )*
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, PartialEq)]
        $visibility struct $name {
            $( $(#[$doc])* $vis $field: $type, )*
            unknown: crate::state::member::Unknown,
        }

        impl crate::state::member::Member for $name {
            fn read(reader: &mut crate::json::Reader<'_>) -> Result<Self, crate::json::Problem> {
                use crate::state::member::{Unknown, known};
                $( let mut $field: Option<Option<$type>> = None; )*
                let mut unknown = Unknown::default();
                reader.open(b'{', $what)?;
                let mut is_first = true;
                while let Some(name) = reader.next_name(&mut is_first)? {
                    match &*name {
                        $( $member => known(reader, $member, &mut $field)?, )*
                        _ => unknown.read(reader, name.into_owned())?,
                    }
                }
                unknown.refuse_repeated(reader)?;
                Ok(Self {
                    $( $field: match $field.flatten() {
                        Some(value) => value,
                        None => object!(@absent $presence reader $member),
                    }, )*
                    unknown,
                })
            }

            fn write(&self, out: &mut crate::json::Writer) {
                out.open('{');
                $( if object!(@is_written $presence self.$field) {
                    out.member(concat!("\"", $member, "\":"));
                    self.$field.write(out);
                } )*
                self.unknown.write(out);
                out.close('}');
            }

            fn check(&self) -> Result<(), String> {
                $( self.$field.check().map_err(|message| format!(concat!($member, ": {}"), message))?; )*
                self.unknown.check()
            }

            fn length(&self) -> usize {
                // The braces, and of each member the quotation marks, the colon and the comma.
                let mut length = 2 + self.unknown.length();
                $( if object!(@is_written $presence self.$field) {
                    length += $member.len() + 4 + self.$field.length();
                } )*
                length
            }
        }
    };
    (@absent required $reader:ident $member:literal) => {
        return Err($reader.problem(concat!($member, " is missing")))
    };
    (@absent $presence:ident $reader:ident $member:literal) => { Default::default() };
    (@is_written optional $value:expr) => { !$value.is_empty() };
    (@is_written $presence:ident $value:expr) => { true };
}
pub(super) use object;

/// Reads a known member for the first time; `null` gives nothing.
pub(super) fn known<T: Member>(
    reader: &mut Reader<'_>,
    name: &'static str,
    member: &mut Option<Option<T>>,
) -> Result<(), Problem> {
    if member.is_some() {
        return Err(reader.problem(&format!("{name} is there twice")));
    }
    let value = match reader.null() {
        true => None,
        false => Some(T::read(reader).map_err(|problem| problem.within(name))?),
    };
    *member = Some(value);
    Ok(())
}

impl Member for String {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Problem> {
        reader.string().map(Into::into)
    }

    fn write(&self, out: &mut Writer) {
        out.string(self);
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn length(&self) -> usize {
        self.len() + 2
    }
}

impl Member for Vec<String> {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Problem> {
        let mut list = Self::new();
        reader.open(b'[', "a list of strings")?;
        let mut is_first = true;
        while reader.next_element(&mut is_first)? {
            list.push(String::read(reader)?);
        }
        Ok(list)
    }

    fn write(&self, out: &mut Writer) {
        out.open('[');
        for text in self {
            out.element();
            out.string(text);
        }
        out.close(']');
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn length(&self) -> usize {
        self.iter().map(|text| text.length() + 1).sum::<usize>() + 2
    }
}

impl Member for i64 {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Problem> {
        reader.integer()
    }

    fn write(&self, out: &mut Writer) {
        out.integer(*self);
    }

    fn length(&self) -> usize {
        20
    }
}

impl Member for Json {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Problem> {
        Self::read(reader)
    }

    fn write(&self, out: &mut Writer) {
        out.raw(self.as_str());
    }

    fn is_empty(&self) -> bool {
        self.is_empty_object()
    }

    fn check(&self) -> Result<(), String> {
        self.defect().map_or(Ok(()), Err)
    }

    fn length(&self) -> usize {
        self.as_str().len()
    }
}

impl<T: Member> Member for Option<T> {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Problem> {
        T::read(reader).map(|value| Some(value).filter(|value| !value.is_empty()))
    }

    fn write(&self, out: &mut Writer) {
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

    fn length(&self) -> usize {
        self.as_ref().map_or(0, T::length)
    }
}

/// Members that this version does not know, in their order.
#[derive(Clone, PartialEq, Default)]
pub(super) struct Unknown(Vec<(String, Json)>);

impl Unknown {
    pub(super) fn read(&mut self, reader: &mut Reader<'_>, name: String) -> Result<(), Problem> {
        self.0.push((name, Json::read(reader)?));
        Ok(())
    }

    pub(super) fn refuse_repeated(&self, reader: &Reader<'_>) -> Result<(), Problem> {
        if self.0.len() < 2 {
            return Ok(());
        }
        // Sorted, since a hostile file may have very many.
        let mut names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        match names.windows(2).any(|pair| pair[0] == pair[1]) {
            true => Err(reader.problem("an unknown member is there twice")),
            false => Ok(()),
        }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        for (name, value) in &self.0 {
            out.any_member(name);
            value.write(out);
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let mut values = self.0.iter().map(|(_, value)| value.check());
        values
            .try_for_each(|checked| checked)
            .map_err(|message| format!("an unknown member: {message}"))
    }

    pub(super) fn length(&self) -> usize {
        self.0
            .iter()
            .map(|(name, value)| name.len() + 4 + value.length())
            .sum()
    }
}
