//! The snapshot document.
//!
//! Laws: what is read is written on one line, which reads to an equal state and is written the same again. The indented
//! form reads to the same values. Every value stands in the input as it stands in the state: no number and no string
//! changes (J2). The checks of depth and of repeated members are those of a simple recursive reader (J1).

#![no_main]

use fuzz::contains;
use sdk_state::{ErrorKind, Json, Snapshot as _, State};
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::fmt;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let state = match State::decode(input) {
        Ok(state) => state,
        Err(error) => {
            assert_eq!(error.kind(), &ErrorKind::InvalidSnapshot);
            return fuzz::check_error(&error, input, &[]);
        }
    };
    let bytes = encode(&state);
    assert!(!bytes.contains(&b'\n'));
    let again = State::decode(&bytes).expect("what was written is read");
    assert!(again == state, "not equal after a round trip");
    assert_eq!(encode(&again), bytes);

    let indented = state.to_indented().expect("a valid state");
    let read = State::decode(indented.as_bytes()).expect("an indented document is read");
    assert_eq!(encode(&read), compact(&bytes));
    assert_eq!(read.to_indented().expect("a valid state"), indented);

    check_values(&state, &compact(input));
    for entry in state.entries() {
        assert!(state.find(&entry.address) == Some(entry), "an entry is found");
    }
    assert_eq!(state.entries().count(), state.len());
});

fn encode(state: &State) -> Vec<u8> {
    state.encode().expect("what was read is valid")
}

fn check_values(state: &State, input: &[u8]) {
    let of_entries = state.entries().flat_map(|entry| [&entry.inputs, &entry.outputs]);
    let mut every_one_passes = true;
    for value in of_entries.chain([&state.outputs]).flatten() {
        assert!(
            contains(input, &compact(value.as_str().as_bytes())),
            "a value changed"
        );
        let passes = value.check().is_ok();
        assert_eq!(
            passes,
            is_plain(value.as_str(), Json::MAX_DEPTH),
            "{}",
            value.as_str()
        );
        assert_eq!(value.to::<IgnoredAny>().is_ok(), passes);
        every_one_passes &= passes;
        let indented = Json::parse(value.to_indented()).expect("an indented value is one");
        assert_eq!(indented.as_str().as_bytes(), compact(value.as_str().as_bytes()));
    }
    if let Err(error) = state.check_values() {
        fuzz::check_error(&error, input, &[]);
    } else {
        assert!(every_one_passes);
    }
}

/// Without white space outside of strings.
fn compact(json: &[u8]) -> Vec<u8> {
    let (mut in_string, mut escaped) = (false, false);
    let keep = |byte: &u8| {
        let is_kept = in_string || !b" \t\r\n".contains(byte);
        let is_quote = *byte == b'"' && !escaped;
        escaped = in_string && *byte == b'\\' && !escaped;
        in_string ^= is_quote;
        is_kept
    };
    json.iter().copied().filter(keep).collect()
}

/// Whether a value has no more levels than `depth`, and no member twice.
fn is_plain(text: &str, depth: usize) -> bool {
    struct Members(Vec<Box<RawValue>>);

    impl<'de> Deserialize<'de> for Members {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Once;

            impl<'de> Visitor<'de> for Once {
                type Value = Members;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("an object")
                }

                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                    let mut names = BTreeSet::new();
                    let mut values = Vec::new();
                    while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                        if !names.insert(name) {
                            return Err(A::Error::custom("twice"));
                        }
                        values.push(value);
                    }
                    Ok(Members(values))
                }
            }

            deserializer.deserialize_map(Once)
        }
    }

    let members = match text.as_bytes().first() {
        Some(b'{') => serde_json::from_str(text).map(|Members(values)| values),
        Some(b'[') => serde_json::from_str(text),
        _ => return true,
    };
    depth > 0 && members.is_ok_and(|values| values.iter().all(|value| is_plain(value.get(), depth - 1)))
}
