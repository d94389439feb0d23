//! The header of a snapshot costs its beginning, however long the snapshot is.

use crate::support::Watched;
use sdk_state::encrypt::{EnvKey, Keyring, MasterKey, Noop};
use sdk_state::{EnvelopeVersion, Provenance, Revision, State, Store, WriteOptions};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use time::OffsetDateTime;

fn store(root: &Path, keys: impl Into<Keyring>) -> (Store, Arc<Watched>) {
    let watched = Watched::new(root);
    (Store::new(Arc::clone(&watched), keys), watched)
}

fn key() -> EnvKey {
    EnvKey::new("STATE_KEY", MasterKey::generate().unwrap())
}

fn write(store: &Store, options: impl Into<WriteOptions>) -> Revision {
    let state = State::new(store.id(), "v1", "abc", OffsetDateTime::UNIX_EPOCH).unwrap();
    store.write(&state, options).unwrap()
}

/// How often a snapshot was read whole, and how often its beginning.
fn reads(watched: &Watched) -> (usize, usize) {
    (
        watched.reads.load(Ordering::SeqCst),
        watched.prefixes.load(Ordering::SeqCst),
    )
}

#[test]
fn a_header_costs_one_look_at_the_beginning() {
    let root = tempfile::tempdir().unwrap();
    let (store, watched) = store(root.path(), key());
    let rev = write(&store, "short");
    assert_eq!(store.header(&rev).unwrap().message.as_deref(), Some("short"));
    assert_eq!(reads(&watched), (0, 1));
}

/// With every text as long as it may be the header is longer than what is read first.
#[test]
fn a_long_header_is_shown_whole_and_costs_a_second_look() {
    let root = tempfile::tempdir().unwrap();
    let long = "x".repeat(4096);
    let provenance = Provenance::new()
        .with_author(&*long)
        .with_host(&*long)
        .with_tool(&*long);
    let (store, watched) = store(root.path(), key());
    let store = store.with_provenance(provenance.clone());
    let rev = write(&store, &*long);
    let header = store.header(&rev).unwrap();
    assert_eq!((header.provenance, header.message), (provenance, Some(long)));
    assert_eq!(reads(&watched), (0, 2));
}

/// What version 1 says of itself is spread over the file.
#[test]
fn a_header_of_version_1_costs_the_whole_file() {
    let root = tempfile::tempdir().unwrap();
    let (store, watched) = store(root.path(), Keyring::from(Noop).accept_v1(Noop).unwrap());
    let store = store.with_envelope(EnvelopeVersion::V1);
    let rev = write(&store, None);
    let (whole, beginnings) = reads(&watched);
    assert_eq!(store.header(&rev).unwrap().version, 1);
    assert!(reads(&watched) > (whole, beginnings));
}
