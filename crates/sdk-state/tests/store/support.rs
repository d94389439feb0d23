//! What the tests of the store share.

use sdk_state::encrypt::{EnvKey, MasterKey};
use sdk_state::{
    Appended, Backend, Change, Created, Error, ErrorKind, Expect, Holder, LockInfo, LockStatus, LockToken,
    MemoryBackend, Pointer, Prefix, Revision, Snapshot, StackId, Store, TryLock,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
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

pub(crate) fn store(backend: &MemoryBackend) -> Store<Note> {
    Store::new(backend.clone(), key(1)).document()
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

/// Counts what a store asks of a backend in memory.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) backend: MemoryBackend,
    creates: Arc<AtomicUsize>,
    reads: Arc<AtomicUsize>,
    refusal: Option<ErrorKind>,
}

impl Watched {
    pub(crate) fn over(backend: MemoryBackend) -> Self {
        Self {
            backend,
            creates: Arc::default(),
            reads: Arc::default(),
            refusal: None,
        }
    }

    /// Lets every creation fail with this kind, and name the revision.
    pub(crate) fn refuse_creating(&mut self, kind: ErrorKind) {
        self.refusal = Some(kind);
    }

    /// The number of tries to create a snapshot.
    pub(crate) fn creates(&self) -> usize {
        self.creates.load(Ordering::SeqCst)
    }

    /// How often a whole snapshot was read.
    pub(crate) fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

impl Backend for Watched {
    fn id(&self) -> &StackId {
        self.backend.id()
    }
    fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error> {
        self.creates.fetch_add(1, Ordering::SeqCst);
        if let Some(kind) = &self.refusal {
            return Err(Error::new(kind.clone(), "refused").at_revision(rev));
        }
        self.backend.create(rev, sealed)
    }
    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.backend.read(rev, limit)
    }
    fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
        self.backend.read_prefix(rev, most)
    }
    fn replace(&self, rev: &Revision, sealed: &[u8], token: &LockToken) -> Result<(), Error> {
        self.backend.replace(rev, sealed, token)
    }
    fn remove(&self, rev: &Revision, token: Option<&LockToken>) -> Result<(), Error> {
        self.backend.remove(rev, token)
    }
    fn list(&self) -> Result<Vec<Revision>, Error> {
        self.backend.list()
    }
    fn current(&self) -> Result<Option<Pointer>, Error> {
        self.backend.current()
    }
    fn set_current(&self, expect: Expect<'_>, rev: &Revision, token: &LockToken) -> Result<Pointer, Error> {
        self.backend.set_current(expect, rev, token)
    }
    fn append(
        &self,
        base: &Pointer,
        index: u64,
        record: &[u8],
        token: &LockToken,
    ) -> Result<Appended, Error> {
        self.backend.append(base, index, record, token)
    }

    fn read_journal(&self, base: &Pointer, from: u64, most: usize) -> Result<Vec<Vec<u8>>, Error> {
        self.backend.read_journal(base, from, most)
    }

    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error> {
        self.backend.try_lock(holder)
    }
    fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
        self.backend.lock_status()
    }
    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        self.backend.force_unlock(expected)
    }
}
