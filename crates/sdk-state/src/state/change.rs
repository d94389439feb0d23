use super::entry::is_object;
use super::member::Member;
use super::{Entry, Factory, State, invalid, validate_time};
use crate::json::{Problem, Reader, Writer};
use crate::{Change, Error, ErrorKind, Json};
use std::fmt;

/// One change of a [`State`].
#[derive(Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly every change puts an entry")]
#[non_exhaustive]
pub enum StateChange {
    /// Adds the entry, or replaces the one with the same address.
    Put(Entry),
    /// Removes the entry with this address, if there is one.
    Remove(String),
    /// Replaces the outputs of the stack.
    SetOutputs(Option<Json>),
    /// Replaces the record of the factory that makes the state, except its name.
    SetFactory(Factory),
    /// Replaces the time when the state was made: RFC 3339, or empty.
    SetGeneratedAt(String),
}

impl Change<State> for StateChange {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.validate()?;
        let (name, length) = match self {
            Self::Put(entry) => ("\"put\":", entry.length()),
            Self::Remove(address) => ("\"remove\":", address.length()),
            Self::SetOutputs(outputs) => ("\"set-outputs\":", outputs.length()),
            Self::SetFactory(factory) => ("\"set-factory\":", factory.length()),
            Self::SetGeneratedAt(time) => ("\"set-generated-at\":", time.length()),
        };
        let mut text = Writer::on_one_line(name.len() + length + 8);
        text.open('{');
        text.member(name);
        match self {
            Self::Put(entry) => entry.write(&mut text),
            Self::Remove(text_of_address) => text_of_address.write(&mut text),
            Self::SetOutputs(None) => text.raw("null"),
            Self::SetOutputs(outputs) => outputs.write(&mut text),
            Self::SetFactory(factory) => factory.write(&mut text),
            Self::SetGeneratedAt(time) => time.write(&mut text),
        }
        text.close('}');
        out.extend_from_slice(text.into_text().as_bytes());
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let text = str::from_utf8(bytes).map_err(|_| invalid("the change is not UTF-8"))?;
        let mut reader = Reader::new(text);
        let change = Self::read(&mut reader).map_err(|problem| invalid(&problem.describe(text)))?;
        change.validate()?;
        Ok(change)
    }

    fn apply(self, state: &mut State) {
        match self {
            Self::Put(entry) => drop(state.upsert(entry)),
            Self::Remove(address) => drop(state.remove(&address)),
            Self::SetOutputs(outputs) => state.outputs = outputs,
            Self::SetFactory(factory) => {
                let name = std::mem::take(&mut state.factory.name);
                state.factory = Factory { name, ..factory };
            }
            Self::SetGeneratedAt(time) => state.generated_at = time,
        }
    }
}

impl StateChange {
    fn validate(&self) -> Result<(), Error> {
        let broken = match self {
            Self::Put(entry) => entry.broken_rule(),
            Self::SetOutputs(outputs) if !is_object(outputs.as_ref()) => Some("outputs: expected an object"),
            Self::SetGeneratedAt(time) => return validate_time(time),
            Self::Remove(_) | Self::SetOutputs(_) | Self::SetFactory(_) => None,
        };
        broken.map_or(Ok(()), |rule| {
            Err(Error::new(
                ErrorKind::InvalidSnapshot,
                format!("the change is not valid: {rule}"),
            ))
        })
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Problem> {
        reader.open(b'{', "a change")?;
        let mut is_first = true;
        let name = reader.next_name(&mut is_first)?;
        let change = match name.as_deref() {
            Some("put") => Self::Put(Entry::read(reader)?),
            Some("remove") => Self::Remove(String::read(reader)?),
            Some("set-outputs") if reader.null() => Self::SetOutputs(None),
            Some("set-outputs") => Self::SetOutputs(Option::read(reader)?),
            Some("set-factory") => Self::SetFactory(Factory::read(reader)?),
            Some("set-generated-at") => Self::SetGeneratedAt(String::read(reader)?),
            _ => return Err(reader.problem("expected the name of a change")),
        };
        match reader.next_name(&mut is_first)? {
            None => reader.end().map(|()| change),
            Some(_) => Err(reader.problem("expected one change")),
        }
    }
}

/// Omits all values: states hold passwords.
impl fmt::Debug for StateChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Put(_) => "Put",
            Self::Remove(_) => "Remove",
            Self::SetOutputs(_) => "SetOutputs",
            Self::SetFactory(_) => "SetFactory",
            Self::SetGeneratedAt(_) => "SetGeneratedAt",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Binding, Category, EntryKind, Snapshot as _};

    fn entry(address: &str, outputs: &str) -> Entry {
        let mut entry = Entry::new(
            address,
            EntryKind::Leaf,
            Category::Resource,
            Binding::new("aws", "vpc"),
        );
        entry.outputs = Some(Json::parse(outputs).unwrap());
        entry
    }

    fn encoded(change: &StateChange) -> Vec<u8> {
        let mut bytes = Vec::new();
        change.encode(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_change_is_read_back_as_it_was() {
        let id = "network/prod".parse().unwrap();
        let factory = State::new(&id, "v2", "8c1f", time::OffsetDateTime::UNIX_EPOCH)
            .unwrap()
            .factory;
        for (change, text) in [
            (
                StateChange::Put(entry("a", r#"{"n":1.0000000000000000001}"#)),
                r#"{"put":{"address":"a","entry-kind":"leaf","category":"resource","binding":{"alias":"aws","kind":"vpc"},"outputs":{"n":1.0000000000000000001}}}"#,
            ),
            (StateChange::Remove("a\"b".into()), r#"{"remove":"a\"b"}"#),
            (StateChange::SetOutputs(None), r#"{"set-outputs":null}"#),
            (
                StateChange::SetOutputs(Some(Json::parse(r#"{"x":[]}"#).unwrap())),
                r#"{"set-outputs":{"x":[]}}"#,
            ),
            (
                StateChange::SetFactory(factory),
                r#"{"set-factory":{"name":"network","version":"v2","content-revision":"8c1f"}}"#,
            ),
            (
                StateChange::SetGeneratedAt(String::new()),
                r#"{"set-generated-at":""}"#,
            ),
        ] {
            let bytes = encoded(&change);
            assert_eq!(str::from_utf8(&bytes).unwrap(), text);
            assert_eq!(StateChange::decode(&bytes).unwrap(), change);
        }
    }

    #[test]
    fn a_change_that_breaks_a_rule_is_refused() {
        let changes = [
            StateChange::Put(entry("", "{}")),
            StateChange::Put(entry("a", "[]")),
            StateChange::SetOutputs(Some(Json::parse("7").unwrap())),
            StateChange::SetGeneratedAt("yesterday".into()),
        ];
        for change in changes {
            assert!(change.encode(&mut Vec::new()).is_err(), "{change:?}");
        }
        for text in [
            "",
            "{}",
            "7",
            r#"{"put":{}}"#,
            r#"{"remove":"a","remove":"b"}"#,
            r#"{"other":1}"#,
        ] {
            assert!(StateChange::decode(text.as_bytes()).is_err(), "{text}");
        }
        assert!(StateChange::decode(b"\xff").is_err());
    }

    #[test]
    fn changes_make_the_same_document_whoever_applies_them() {
        let mut state = State::fresh(&"network/prod".parse().unwrap());
        let mut replayed = state.clone();
        for change in [
            StateChange::Put(entry("a", r#"{"v":1}"#)),
            StateChange::Put(entry("b", "{}")),
            StateChange::Put(entry("a", r#"{"v":2}"#)),
            StateChange::Remove("b".into()),
            StateChange::Remove("nothing".into()),
        ] {
            StateChange::decode(&encoded(&change))
                .unwrap()
                .apply(&mut replayed);
            change.apply(&mut state);
        }
        assert_eq!(state.encode().unwrap(), replayed.encode().unwrap());
        assert_eq!(state.len(), 1);
    }
}
