//! One change of a state, as a journal holds it.
//!
//! Laws: what is read is written as one object, which reads to an equal change and is written the same again. The document
//! that has the change made can be written and read back: a run could not be finished otherwise. Made twice, it changes nothing
//! the second time. No error tells a value of the change (E4).

#![no_main]

use fuzz::ID;
use sdk_state::{
    Binding, Category, Change as _, Entry, EntryKind, ErrorKind, Snapshot as _, State, StateChange,
};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let change = match StateChange::decode(input) {
        Ok(change) => change,
        Err(error) => {
            assert_eq!(error.kind(), &ErrorKind::InvalidSnapshot);
            return fuzz::check_error(&error, input, &[]);
        }
    };
    let bytes = encode(&change);
    let again = StateChange::decode(&bytes).expect("what was written is read");
    assert!(again == change, "not equal after a round trip");
    assert_eq!(encode(&again), bytes);

    let mut state = State::fresh(&ID);
    let binding = Binding::new("aws", "vpc");
    state.upsert(Entry::new(
        "resource.vpc",
        EntryKind::Leaf,
        Category::Resource,
        binding,
    ));
    change.apply(&mut state);
    let document = state.encode().expect("a document with the change is valid");
    assert!(State::decode(&document).expect("it is read back") == state);
    state.check_stack(&ID).expect("it belongs to its stack");
    again.apply(&mut state);
    assert_eq!(state.encode().expect("still valid"), document);
});

fn encode(change: &StateChange) -> Vec<u8> {
    let mut bytes = Vec::new();
    change.encode(&mut bytes).expect("what was read is valid");
    assert!(!bytes.contains(&b'\n'));
    bytes
}
