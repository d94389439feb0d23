//! What the tests of the store share.

use sdk_state::encrypt::{Encrypter as _, EnvKey, MasterKey};
use sdk_state::{Backend, Change, Depth, Error, ErrorKind, Revision, Run, Snapshot, StackId, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use time::OffsetDateTime;

/// A document of bytes: the store must not care what it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note(pub(crate) String);

/// Appends a text to a note.
#[derive(Debug, Clone)]
pub(crate) struct Append(pub(crate) String);

impl Change<Note> for Append {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        Note::decode(bytes).map(|note| Self(note.0))
    }

    fn apply(self, note: &mut Note) {
        note.0.push_str(&self.0);
    }
}

impl Snapshot for Note {
    const PAYLOAD: &'static str = "note";
    type Change = Append;

    fn fresh(_: &StackId) -> Self {
        Self(String::new())
    }

    fn encode(&self) -> Result<Vec<u8>, Error> {
        Ok(self.0.clone().into_bytes())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        match str::from_utf8(bytes) {
            Ok(text) => Ok(Self(text.into())),
            Err(error) => Err(Error::new(ErrorKind::InvalidSnapshot, "not UTF-8").with_source(error)),
        }
    }
}

pub(crate) fn add(text: &str) -> Append {
    Append(text.into())
}

pub(crate) fn note(text: &str) -> Note {
    Note(text.into())
}

pub(crate) fn id() -> StackId {
    "network/prod".parse().unwrap()
}

/// Always the same key for the same seed.
pub(crate) fn key(seed: u8) -> EnvKey {
    EnvKey::new(
        "STATE_KEY",
        MasterKey::from_base64(&base64_of([seed; 32])).unwrap(),
    )
}

pub(crate) fn base64_of(bytes: [u8; 32]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

pub(crate) fn store(backend: &(impl Backend + Clone + 'static)) -> Store<Note> {
    Store::new(backend.clone(), key(1)).document()
}

/// Seals a revision anew, under another data key, for the same recipient.
pub(crate) fn reseal(run: &Run<Note>, rev: &Revision) -> Result<(), Error> {
    run.reseal(rev, &[key(1).recipient().clone()], Depth::Body)
}

/// A clock that a test moves; it stands still otherwise.
#[derive(Clone, Default)]
pub(crate) struct HandClock(Arc<AtomicI64>);

impl HandClock {
    pub(crate) fn at(seconds: i64) -> Self {
        Self(Arc::new(AtomicI64::new(seconds)))
    }

    pub(crate) fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::SeqCst);
    }

    pub(crate) fn reader(&self) -> impl Fn() -> OffsetDateTime + Send + Sync + 'static {
        let clock = self.clone();
        move || OffsetDateTime::from_unix_timestamp(clock.0.load(Ordering::SeqCst)).unwrap()
    }
}
