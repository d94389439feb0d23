//! What a store shows of a snapshot without its key costs its beginning, however long the snapshot is.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic")]

use localstate::LocalStorage;
use sdk_conformance::{Faulty, Method};
use sdk_state::encrypt::{EnvKey, Keyring, MasterKey, Noop};
use sdk_state::{Backend as _, EnvelopeVersion, Provenance, Revision, State, Store, WriteOptions};
use std::path::Path;
use time::OffsetDateTime;

type Counted = Store<Faulty<LocalStorage>>;

fn store(root: &Path) -> Counted {
    let storage = LocalStorage::new(root, "network/prod".parse().unwrap());
    let key = EnvKey::new("STATE_KEY", MasterKey::generate().unwrap());
    Store::new(Faulty::new(storage), key)
}

fn write(store: &Counted, options: &WriteOptions) -> Revision {
    let state = State::new(store.id(), "v1", "abc", OffsetDateTime::UNIX_EPOCH).unwrap();
    store.write(&state, options).unwrap()
}

/// How often a snapshot was read whole, and how often its beginning.
fn reads(store: &Counted) -> (u64, u64) {
    let calls = |method| store.storage().calls(method);
    (calls(Method::Read), calls(Method::ReadPrefix))
}

#[test]
fn a_header_costs_one_look_at_the_beginning() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let rev = write(&store, &WriteOptions::new().with_message("short"));
    assert_eq!(store.header(&rev).unwrap().message.as_deref(), Some("short"));
    assert_eq!(reads(&store), (0, 1));
}

/// With every text as long as it may be the header is longer than what is read first.
#[test]
fn a_long_header_is_shown_whole_and_costs_a_second_look() {
    let root = tempfile::tempdir().unwrap();
    let long = "x".repeat(4096);
    let provenance = Provenance::new()
        .with_who(&*long)
        .with_host(&*long)
        .with_tool(&*long);
    let store = store(root.path()).with_provenance(provenance.clone());
    let rev = write(&store, &WriteOptions::new().with_message(&*long));
    let header = store.header(&rev).unwrap();
    assert_eq!((header.provenance, header.message), (provenance, Some(long)));
    assert_eq!(reads(&store), (0, 2));
}

/// What version 1 says of itself is spread over the file.
#[test]
fn a_header_of_version_1_costs_the_whole_file() {
    let root = tempfile::tempdir().unwrap();
    let storage = LocalStorage::new(root.path(), "network/prod".parse().unwrap());
    let store: Counted = Store::new(Faulty::new(storage), Keyring::from(Noop).accept_v1(Noop).unwrap())
        .with_envelope(EnvelopeVersion::V1);
    let rev = write(&store, &WriteOptions::new());
    assert_eq!(store.header(&rev).unwrap().version, 1);
    assert_eq!(reads(&store), (1, 1));
}
