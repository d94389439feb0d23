//! One operation on a snapshot of 1 000 entries, once, for callgrind to count: `cargo xtask instructions` runs it and compares
//! with `instructions.json`. Unlike times, instructions hardly depend on the machine and on what else it does.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on stops"
)]

#[path = "workload/mod.rs"]
mod workload;

use sdk_state::encrypt::{EnvKey, Keyring, MasterKey};
use sdk_state::envelope::{self, DEFAULT_LIMIT, Origin, Subject};
use sdk_state::{Provenance, Snapshot as _, StackId, State};
use std::env;
use std::hint::black_box;
use time::OffsetDateTime;

const ENTRIES: usize = 1_000;
/// The same in each run.
const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

fn main() {
    // `cargo bench` gives no operation, and has nothing to measure here.
    let Some(operation) = env::args().nth(1).filter(|argument| !argument.starts_with('-')) else {
        return;
    };
    let state = State::decode(workload::document(ENTRIES).as_bytes()).unwrap();
    let encoded = state.encode().unwrap();

    let ring = Keyring::from(EnvKey::new("STATE_KEY", MasterKey::from_base64(KEY).unwrap()));
    let id = StackId::new(workload::FACTORY, workload::STACK).unwrap();
    let revision = "2026-01-01T00:00:00Z".parse().unwrap();
    let subject = Subject {
        payload: State::PAYLOAD,
        id: &id,
        revision: &revision,
    };
    let provenance = Provenance::new();
    let origin = Origin::new(&provenance, OffsetDateTime::UNIX_EPOCH);
    let seal = || envelope::seal(&ring, subject, &origin, black_box(&encoded)).unwrap();

    match operation.as_str() {
        "encode" => assert_eq!(counted(|| black_box(&state).encode().unwrap()), encoded),
        "decode" => assert!(counted(|| State::decode(black_box(&encoded)).unwrap()) == state),
        "seal" => assert!(counted(seal).len() < encoded.len()),
        "open" => {
            let sealed = seal();
            let opened = counted(|| envelope::open(&ring, subject, sealed, DEFAULT_LIMIT).unwrap());
            assert_eq!(opened, encoded);
        }
        other => panic!("no operation {other}"),
    }
}

/// Callgrind counts while this runs, by its name.
#[inline(never)]
fn counted<T>(operation: impl FnOnce() -> T) -> T {
    operation()
}
