use crate::envelope::journal::{self, Digest};
use crate::envelope::{self, Mark, Origin, Place, Subject, UnverifiedHeader, Zstd};
use crate::recovery::is_transient;
use crate::replay;
use crate::{
    Backend, Created, Error, ErrorKind, Expect, Holder, Lock, LockInfo, LockStatus, LockToken, Provenance,
    Revision, Snapshot, StackId, State, TryLock, Wait,
};
use rand::TryRng as _;
use rand::rngs::SysRng;
use sdk_encrypt::{Keyring, LegacyCipher, Recipient};
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use time::OffsetDateTime;

/// Longer than a header with a few recipients and a short message.
const USUAL_HEADER_BYTES: usize = 8 << 10;
/// How much of a snapshot is read before its size is trusted; most snapshots are shorter.
const FIRST_READ_BYTES: usize = 64 << 10;
/// A first run that dies leaves one genesis. With more revisions than this and no pointer, none is looked at.
const MAX_GENESES: usize = 16;
/// After this many collisions, the range that the next suffix is drawn from no longer grows: 2^20.
const MAX_SPREAD_BITS: u32 = 20;

/// The state of one stack, over any [`Backend`]: the type that a *tool* uses. It seals and opens documents, chooses revisions
/// and waits for locks.
///
/// A store is a handle: clones share one backend, and threads share a store. Several stores, in several processes, may be
/// open on one place; only the backend coordinates them. The backend retries requests, within a bounded time.
///
/// A tool that changes something [`begin`](Store::begin)s a [`Run`](crate::Run); everybody else reads the
/// [`head`](Store::head).
///
/// ```
/// use sdk_state::encrypt::Noop;
/// use sdk_state::{Binding, Category, Entry, EntryKind, MemoryBackend, Store};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), sdk_state::Error> {
/// let store = Store::new(MemoryBackend::new("network/prod".parse()?), Noop);
/// let run = store.begin("apply", Duration::from_secs(60))?;
/// // … after every resource that changed:
/// run.put(Entry::new("resource.vpc", EntryKind::Leaf, Category::Resource, Binding::new("aws", "vpc")))?;
/// // … at the end:
/// let revision = run.finish("made the network")?;
/// assert_eq!(store.current()?, revision);
/// # Ok(())
/// # }
/// ```
pub struct Store<D = State> {
    inner: Arc<Inner>,
    document: PhantomData<fn() -> D>,
}

#[derive(Clone)]
struct Inner {
    backend: Arc<dyn Backend>,
    keyring: Keyring,
    provenance: Provenance,
    clock: Arc<dyn Fn() -> OffsetDateTime + Send + Sync>,
    limit: u64,
    envelope: EnvelopeVersion,
    recipients: Option<Arc<[Recipient]>>,
    zstd: Arc<OnceLock<Zstd>>,
}

/// The current revision and its document.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Head<D> {
    /// The revision.
    pub revision: Revision,
    /// The document, with every change that a run had made durable when it was read.
    pub document: D,
    /// The changes in it that no revision holds yet.
    pub unfinished: Option<Unfinished>,
}

/// Changes that a run has not committed yet. If the run died, the next command that takes the lock commits them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unfinished {
    /// The number of changes.
    pub changes: u64,
    /// Who made them; its time is when the journal began.
    pub by: Holder,
    /// The token of the lock under which they were made. If the [lock](Store::lock_status) still carries it and its holder is
    /// alive, the run goes on.
    pub token: Option<LockToken>,
}

/// A revision that was stored.
pub(crate) struct Written {
    pub(crate) revision: Revision,
    pub(crate) digest: Digest,
    pub(crate) sealed_bytes: u64,
    pub(crate) recipients: Option<Vec<Recipient>>,
}

/// A revision that was opened.
pub(crate) struct Stored<D> {
    pub(crate) document: D,
    pub(crate) mark: Mark,
    /// Version 1 has none.
    pub(crate) recipients: Option<Vec<Recipient>>,
}

/// The data that a single write records beside the document, unencrypted. A text converts to a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteOptions {
    /// Why the write was made, shown in lists: at most 4096 bytes, unencrypted, so put no secret here.
    pub message: Option<String>,
}

impl From<&str> for WriteOptions {
    fn from(message: &str) -> Self {
        Some(message.to_owned()).into()
    }
}

impl From<String> for WriteOptions {
    fn from(message: String) -> Self {
        Some(message).into()
    }
}

impl From<Option<String>> for WriteOptions {
    fn from(message: Option<String>) -> Self {
        Self { message }
    }
}

/// The version of the envelope that a store writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnvelopeVersion {
    /// Unobin's envelope, which does not bind a file to its stack and revision: for stacks that unobin must still read. It is
    /// not compressed and, because of base64, a third longer than the document, which may have three quarters of the limit.
    /// It records no provenance and no message.
    V1,
    /// This project's envelope, bound to its stack and revision.
    #[default]
    V2,
}

impl Store<State> {
    /// Makes a store that seals for the recipients of `keys` and opens with all its keys. Creates nothing.
    pub fn new(backend: impl Backend + 'static, keys: impl Into<Keyring>) -> Self {
        Self::of(Inner {
            backend: Arc::new(backend),
            keyring: keys.into(),
            provenance: Provenance::default(),
            #[expect(clippy::disallowed_methods, reason = "the default that with_clock replaces")]
            clock: Arc::new(OffsetDateTime::now_utc),
            limit: envelope::DEFAULT_LIMIT,
            envelope: EnvelopeVersion::V2,
            recipients: None,
            zstd: Arc::default(),
        })
    }
}

impl<D: Snapshot> Store<D> {
    /// Returns a store with the same place, keys and options for documents of another type.
    pub fn document<E: Snapshot>(&self) -> Store<E> {
        Store {
            inner: Arc::clone(&self.inner),
            document: PhantomData,
        }
    }

    /// Records this provenance with every write and every lock.
    #[must_use]
    pub fn with_provenance(mut self, provenance: Provenance) -> Self {
        self.options().provenance = provenance;
        self
    }

    /// Takes the time from `clock`, for tests and replays. The clock may stand still or step back; if its year does not have
    /// four digits, writes fail with [`InvalidName`](ErrorKind::InvalidName).
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> OffsetDateTime + Send + Sync + 'static) -> Self {
        self.options().clock = Arc::new(clock);
        self
    }

    /// Reads and writes documents of at most `bytes` bytes before compression, [1 GiB](envelope::DEFAULT_LIMIT) by default. A
    /// larger one is [`TooLarge`](ErrorKind::TooLarge); on reading, this is checked before memory is reserved. The changes of a
    /// run are not compared with it before they are committed: if the document has outgrown it, raise it to commit them.
    #[must_use]
    pub fn with_limit(mut self, bytes: u64) -> Self {
        self.options().limit = bytes;
        self
    }

    /// Writes envelopes of this version. Unless the keyring [accepts](Keyring::accept_v1) version 1, writing version 1 is
    /// [`Unsupported`](ErrorKind::Unsupported). The keyring alone decides which versions are read.
    #[must_use]
    pub fn with_envelope(mut self, version: EnvelopeVersion) -> Self {
        self.options().envelope = version;
        self
    }

    /// Opens and seals with these keys.
    #[must_use]
    pub fn with_keys(mut self, keys: impl Into<Keyring>) -> Self {
        self.options().keyring = keys.into();
        self
    }

    /// Seals what is written for these recipients, in place of those that the stack has. Opens with the keyring as before.
    ///
    /// A holder of a key that is not among them can no longer read the stack, so this is for stores that start anew: a
    /// stack whose keys are lost, or a copy. [`Run::reseal`](crate::Run::reseal) changes the recipients of what is stored.
    #[must_use]
    pub fn with_recipients(mut self, recipients: impl Into<Arc<[Recipient]>>) -> Self {
        self.options().recipients = Some(recipients.into());
        self
    }

    /// Returns the name of the stack.
    pub fn id(&self) -> &StackId {
        self.inner.backend.id()
    }

    /// Returns the backend, for guarded changes that a store has no method for, such as [`set_current`](Backend::set_current)
    /// with an expectation.
    ///
    /// The backend does not read journals: a move discards [unfinished](Store::unfinished) changes, and a
    /// [replacement](Backend::replace) of the current revision makes them unreadable. A [`Run`](crate::Run) commits them first.
    pub fn backend(&self) -> &dyn Backend {
        &*self.inner.backend
    }

    /// Reads the current revision and its document, which match even while others change them; `None` for a fresh stack.
    ///
    /// ([R2](crate::guarantees)) It never waits for a run. The document contains every change that was durable when the call began,
    /// including those of an unfinished run. ([C1, C3](crate::guarantees)) `None` means only that no run has changed anything yet.
    /// The result may not be durable yet if another process wrote it a moment ago.
    ///
    /// # Errors
    ///
    /// * [`PointerLost`](ErrorKind::PointerLost) when nothing is current and snapshots exist.
    /// * [`Damaged`](ErrorKind::Damaged) when `current` is damaged or names a revision that does not exist.
    /// * Those of [`get`](Store::get), except [`NotFound`](ErrorKind::NotFound).
    pub fn head(&self) -> Result<Option<Head<D>>, Error> {
        Ok(self.load()?.map(|loaded| Head {
            revision: loaded.pointer.revision,
            document: loaded.document,
            unfinished: loaded.journal.map(|journal| journal.unfinished()),
        }))
    }

    /// Returns what the journal says about unfinished changes, without a key; do not trust it. `None` if there are none.
    ///
    /// # Errors
    ///
    /// * [`Damaged`](ErrorKind::Damaged) when `current` or the journal is damaged.
    /// * [`TooLarge`](ErrorKind::TooLarge) when the journal is larger than the limit allows.
    /// * A [backend error](Backend#backend-errors).
    pub fn unfinished(&self) -> Result<Option<Unfinished>, Error> {
        match self.backend().current()? {
            Some(pointer) => replay::unverified(self.backend(), &pointer, self.journal_limit()),
            None => Ok(None),
        }
    }

    /// Reads which revision is current, and checks that it exists; `None` for a fresh stack. Needs no key.
    ///
    /// # Errors
    ///
    /// * [`PointerLost`](ErrorKind::PointerLost) when nothing is current and snapshots exist.
    /// * [`Damaged`](ErrorKind::Damaged) when `current` is damaged or names a revision that does not exist.
    /// * A [backend error](Backend#backend-errors).
    pub fn current(&self) -> Result<Option<Revision>, Error> {
        let found = self.at_current(|rev| match self.backend().read_prefix(rev, 0) {
            // It exists; opening it will report what is wrong with it.
            Err(error) if error.is_damaged() => Ok(()),
            result => result.map(drop),
        })?;
        Ok(found.map(|(revision, ())| revision))
    }

    /// Reads the document of a revision.
    ///
    /// ([E1, E2, E3](crate::guarantees)) Every byte that is returned was authenticated, with a key of the keyring, as this revision of this stack.
    ///
    /// # Errors
    ///
    /// * [`NotFound`](ErrorKind::NotFound) when there is no such revision.
    /// * [`Damaged`](ErrorKind::Damaged) when the stored file was changed, cut short or emptied.
    /// * [`WrongKey`](ErrorKind::WrongKey) when none of the keys opens it.
    /// * [`Misplaced`](ErrorKind::Misplaced) when it was sealed for another stack or revision.
    /// * [`OtherPayload`](ErrorKind::OtherPayload) when it holds a document of another type.
    /// * [`Refused`](ErrorKind::Refused) when it is of version 1, of a newer version, or not encrypted, and the keyring does
    ///   not accept that; or when it is encrypted and the keyring is plain.
    /// * [`TooLarge`](ErrorKind::TooLarge) when it is larger than the limit.
    /// * [`InvalidSnapshot`](ErrorKind::InvalidSnapshot) when the document breaks a rule of its format.
    /// * [`Unavailable`](ErrorKind::Unavailable) when a key service does not answer,
    ///   [`Unsupported`](ErrorKind::Unsupported) when an encrypter fails in another way.
    /// * A [backend error](Backend#backend-errors).
    pub fn get(&self, rev: &Revision) -> Result<D, Error> {
        let sealed = self.read(rev)?;
        self.open(rev, sealed).map(|stored| stored.document)
    }

    /// Reads what the stored file of a revision says about itself, without a key; do not trust it. Reads only the beginning
    /// of the file, unless it is of version 1.
    ///
    /// # Errors
    ///
    /// * [`NotFound`](ErrorKind::NotFound) when there is no such revision.
    /// * [`Damaged`](ErrorKind::Damaged) when it is empty or no sealed file, or has a header that breaks a rule.
    /// * [`Refused`](ErrorKind::Refused) when it is of a newer version.
    /// * [`TooLarge`](ErrorKind::TooLarge) when its header is larger than 1 MiB, or it is of version 1 and larger than the
    ///   limit allows.
    /// * A [backend error](Backend#backend-errors).
    pub fn header(&self, rev: &Revision) -> Result<UnverifiedHeader, Error> {
        let mut sealed = self.beginning(rev)?;
        if envelope::bytes_for_header(&sealed).is_none() {
            sealed = self.backend().read(rev, self.sealed_limit())?;
        }
        envelope::header(&sealed).map_err(|error| error.at_revision(rev))
    }

    /// Returns every stored revision, oldest first; an empty list for a stack that does not exist.
    ///
    /// The last one is not always the current one: revisions that were never made current are listed too, and `current` may
    /// have been moved back.
    ///
    /// # Errors
    ///
    /// A [backend error](Backend#backend-errors).
    pub fn list(&self) -> Result<Vec<Revision>, Error> {
        let mut revisions = self.backend().list()?;
        revisions.sort_unstable();
        Ok(revisions)
    }

    /// Stores a document as a new revision and returns its name. The revision does not become current.
    ///
    /// It needs no lock. ([W1](crate::guarantees)) It is durable on return. ([W3](crate::guarantees)) It replaces nothing.
    /// ([W4](crate::guarantees)) It does not fail because others write too. ([W5](crate::guarantees)) The revision sorts after the one
    /// that was current when the write began, if that one's name is a time. A damaged `current` does not prevent a write. An
    /// evicted holder can still save its document this way.
    ///
    /// ([E6](crate::guarantees)) It is sealed for the recipients of the current revision; if that cannot be read, for those of the
    /// newest that can; in an empty stack, for those of the keyring.
    ///
    /// # Errors
    ///
    /// * [`InvalidSnapshot`](ErrorKind::InvalidSnapshot) when it breaks a rule of its format or belongs to another stack.
    /// * [`TooLarge`](ErrorKind::TooLarge) when it is larger than the limit, or a text of its provenance or the message is
    ///   longer than 4 KiB.
    /// * [`InvalidName`](ErrorKind::InvalidName) when the year of the clock does not have four digits.
    /// * [`MissingKey`](ErrorKind::MissingKey) when the stack has a recipient that the keyring cannot seal for.
    /// * [`WrongKey`](ErrorKind::WrongKey) or [`Refused`](ErrorKind::Refused) when the keyring does not open the stack, and
    ///   [`Damaged`](ErrorKind::Damaged) when no revision tells its recipients.
    /// * [`Unsupported`](ErrorKind::Unsupported) when two recipients are the same key, an encrypter refuses, or version 1 is
    ///   to be written with a keyring that does not accept it.
    /// * [`Unavailable`](ErrorKind::Unavailable) when a key service does not answer.
    /// * A [backend error](Backend#backend-errors). After every error but `OutcomeUnknown`, which names the revision, no
    ///   revision was added.
    pub fn write(&self, document: &D, options: impl Into<WriteOptions>) -> Result<Revision, Error> {
        let WriteOptions { message } = options.into();
        loop {
            let current = match self.backend().current() {
                Err(error) if error.is_damaged() => None,
                current => current?.map(|pointer| pointer.revision),
            };
            let recipients = self.recipients_to_follow(current.as_ref())?;
            let origin = Origin {
                message: message.as_deref(),
                parent: current.as_ref(),
                recipients: recipients.as_deref(),
                ..Origin::new(&self.inner.provenance, self.now())
            };
            let rev = self.write_as(document, &origin)?.revision;
            // Somebody who changed the recipients meanwhile, without this revision, must not find it sealed for the old ones.
            if !self.has_other_recipients(recipients.as_deref()) || self.backend().remove(&rev, None).is_err()
            {
                return Ok(rev);
            }
        }
    }

    /// Makes a revision current, whatever was current before: this also repairs a damaged or lost pointer. It takes the lock for
    /// the duration of the call and does not wait for it.
    ///
    /// ([R1](crate::guarantees)) It first commits a dead run's unfinished changes, as a revision of that run, which needs the keys.
    /// Moving to what is current changes nothing, and leaves unfinished changes to the next run.
    ///
    /// Choose the revision with care: the newest of [`list`](Store::list) may never have been current. The
    /// [`header`](Store::header) of each names its parent, its author and its message.
    ///
    /// ([C1](crate::guarantees)) Durable on return, and so is `rev`.
    ///
    /// # Errors
    ///
    /// * [`Locked`](ErrorKind::Locked) while somebody else holds the lock.
    /// * [`NotFound`](ErrorKind::NotFound) when there is no such revision.
    /// * [`Damaged`](ErrorKind::Damaged) when a dead run's changes are damaged: see [`salvage`](Store::salvage). Also when the pointer
    ///   is damaged or lost, and unfinished changes stand on another revision, which the error names: make that one current first.
    /// * [`OutcomeUnknown`](ErrorKind::OutcomeUnknown) when `rev`, or the move, may be gone after a power cut.
    /// * Those of [`begin`](Store::begin) when a dead run left changes, and a [backend error](Backend#backend-errors).
    pub fn set_current(&self, rev: &Revision) -> Result<(), Error> {
        let lock = self.lock("set-current", Wait::none())?;
        let token = lock.token()?;
        match self.backend().current() {
            Ok(Some(pointer)) if pointer.revision == *rev => {}
            Ok(Some(pointer)) if !self.backend().read_journal(&pointer, 0, 0)?.is_empty() => {
                self.recover(&*lock)?;
            }
            Err(error) if !error.is_damaged() => return Err(error),
            _ => {}
        }
        // The move has been made, whatever becomes of the lock.
        self.backend().set_current(Expect::Anything, rev, token).map(drop)
    }

    /// Deletes a revision. It is not an error if it does not exist.
    ///
    /// ([C1](crate::guarantees)) `current` never names a deleted revision, whoever moves it meanwhile, even after a crash. If the
    /// backend can tell that nobody holds the lock, it writes no lock, so this works on a full disk.
    ///
    /// # Errors
    ///
    /// * [`RevisionIsCurrent`](ErrorKind::RevisionIsCurrent) when it is the current one.
    /// * [`Locked`](ErrorKind::Locked) while somebody else holds the lock.
    /// * [`Damaged`](ErrorKind::Damaged) when the backend cannot tell which revision is current.
    /// * [`OutcomeUnknown`](ErrorKind::OutcomeUnknown) when it was deleted, but may come back after a power cut.
    /// * A [backend error](Backend#backend-errors).
    pub fn delete(&self, rev: &Revision) -> Result<(), Error> {
        match self.backend().remove(rev, None) {
            Err(error) if error.kind() == &ErrorKind::Unsupported => {
                let lock = self.lock("delete", Wait::none())?;
                self.backend().remove(rev, Some(lock.token()?))
            }
            result => result,
        }
    }

    /// Takes the lock, waiting for it if necessary. `wait` is a [`Wait`], or a [`Duration`], the longest time to wait.
    ///
    /// ([L1, L2](crate::guarantees)) Nobody else holds the lock then. A holder that is provably dead is replaced at once: see
    /// [`took_over`](Lock::took_over).
    ///
    /// # Errors
    ///
    /// * [`Locked`](ErrorKind::Locked) with the holder when the wait is over.
    /// * [`Cancelled`](ErrorKind::Cancelled) when the wait was cancelled.
    /// * A [backend error](Backend#backend-errors).
    pub fn lock(&self, operation: &str, wait: impl Into<Wait>) -> Result<Box<dyn Lock>, Error> {
        let wait = wait.into();
        let holder = Holder::new(operation)
            .with_provenance(self.inner.provenance.clone())
            .with_since((self.inner.clock)());
        let mut pause = Duration::ZERO;
        loop {
            if wait.is_cancelled() {
                return Err(Error::new(
                    ErrorKind::Cancelled,
                    format!("waiting for the lock of {} was cancelled", self.id()),
                ));
            }
            match self.backend().try_lock(&holder)? {
                TryLock::Held(lock) => return Ok(lock),
                TryLock::Busy { status, poll } => {
                    // About an eighth of the time waited so far: a lock that is held for a short time is found soon.
                    pause = (pause * 9 / 8).clamp(poll / 8, poll);
                    if !wait.pause(jittered(pause)?) {
                        let message = format!("{} is locked by {}", self.id(), status.info);
                        return Err(Error::new(ErrorKind::Locked(Box::new(status.info)), message));
                    }
                }
            }
        }
    }

    /// Returns who holds the lock; `None` when nobody does. It changes nothing, a dead holder's lock included.
    ///
    /// # Errors
    ///
    /// A [backend error](Backend#backend-errors).
    pub fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
        self.backend().lock_status()
    }

    /// Evicts the holder of the lock, dead or alive, and returns who that was; `None` when nobody held it.
    ///
    /// With `expected`, only that holder is evicted, so that a new holder is spared. ([L4](crate::guarantees)) The evicted holder
    /// can neither release the next holder's lock nor move `current`, but its work on the infrastructure goes on.
    ///
    /// # Errors
    ///
    /// * [`Locked`](ErrorKind::Locked) with the present holder when it is not the expected one.
    /// * A [backend error](Backend#backend-errors), after which the holder still holds it.
    pub fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        self.backend().force_unlock(expected)
    }
}

impl<D: Snapshot> Store<D> {
    fn options(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.inner)
    }

    pub(crate) fn keyring(&self) -> &Keyring {
        &self.inner.keyring
    }

    pub(crate) fn provenance(&self) -> &Provenance {
        &self.inner.provenance
    }

    pub(crate) fn shared_backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.inner.backend)
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        (self.inner.clock)()
    }

    pub(crate) fn limit(&self) -> u64 {
        self.inner.limit
    }

    /// Whether revisions are written as version 1, whose header has no room for a run's mark.
    pub(crate) fn writes_v1(&self) -> bool {
        self.inner.envelope == EnvelopeVersion::V1
    }

    /// Opens the sealed bytes of a revision. A genesis is the fresh document of every type.
    pub(crate) fn open(&self, rev: &Revision, sealed: Vec<u8>) -> Result<Stored<D>, Error> {
        let inner = &self.inner;
        let place = Place {
            id: self.id(),
            revision: rev,
        };
        envelope::open_any(self.zstd()?, &inner.keyring, place, sealed, inner.limit)
            .and_then(|opened| {
                let document = match (opened.mark.is_genesis, &opened.payload) {
                    (true, _) => D::fresh(self.id()),
                    (false, Some(payload)) => D::decode_payload(payload, opened.plaintext)?,
                    // Old files of version 1 do not say what they hold.
                    (false, None) => D::decode_payload(D::PAYLOAD, opened.plaintext)?,
                };
                Ok(Stored {
                    document,
                    mark: opened.mark,
                    recipients: opened.recipients,
                })
            })
            .map_err(|error| error.at_revision(rev))
    }

    /// Whether what is written does not get the recipients of what it follows.
    pub(crate) fn chooses_recipients(&self) -> bool {
        self.inner.recipients.is_some() || self.writes_v1()
    }

    /// The recipients of what is written after a revision with these.
    pub(crate) fn recipients_after<'a>(&'a self, base: Option<&'a [Recipient]>) -> Option<&'a [Recipient]> {
        self.inner.recipients.as_deref().or(base)
    }

    /// Makes every check of a document that needs no backend.
    pub(crate) fn check(&self, document: &D) -> Result<(), Error> {
        envelope::check_payload_type(document.payload())?;
        self.encode(document).map(drop)
    }

    /// Stores a document as a new revision, after `origin.after`, or else `origin.parent`.
    pub(crate) fn write_as(&self, document: &D, origin: &Origin<'_>) -> Result<Written, Error> {
        let inner = &*self.inner;
        let origin = &Origin {
            recipients: self.recipients_after(origin.recipients),
            ..*origin
        };
        origin.provenance.check(origin.message)?;
        let plaintext = self.encode(document)?;
        let candidate = Revision::first_candidate(origin.written_at, origin.after.or(origin.parent))?;
        match inner.envelope {
            EnvelopeVersion::V1 => {
                let file = envelope::seal_v1(self.legacy_cipher()?, document.payload(), plaintext)?;
                self.create(candidate, None, |_| Ok(&file))
            }
            EnvelopeVersion::V2 => {
                let payload = self.zstd()?.compress(&plaintext)?;
                drop(plaintext);
                self.create(candidate, origin.recipients, |rev| {
                    let subject = Subject {
                        payload: document.payload(),
                        id: self.id(),
                        revision: rev,
                    };
                    envelope::seal_v2(&inner.keyring, subject, origin, &payload)
                })
            }
        }
    }

    /// Seals a document under one name.
    pub(crate) fn seal(
        &self,
        subject: Subject<'_>,
        origin: &Origin<'_>,
        document: &D,
    ) -> Result<Vec<u8>, Error> {
        let payload = self.zstd()?.compress(&self.encode(document)?)?;
        envelope::seal_v2(&self.inner.keyring, subject, origin, &payload)
    }

    /// Returns the current revision and the result of `read` for it; `None` for a fresh stack.
    fn at_current<T>(
        &self,
        read: impl Fn(&Revision) -> Result<T, Error>,
    ) -> Result<Option<(Revision, T)>, Error> {
        let mut last = None;
        loop {
            let Some(pointer) = self.backend().current()? else {
                return self.demand_fresh().map(|_| None);
            };
            if last.as_ref() == Some(&pointer) {
                return Err(replay::dangling(&pointer));
            }
            match read(&pointer.revision) {
                Ok(value) => return Ok(Some((pointer.revision, value))),
                // Moved and deleted since the pointer was read? Then the pointer has another value now.
                Err(error) if error.is_not_found() => last = Some(pointer),
                Err(error) => return Err(error),
            }
        }
    }

    /// Checks that no run has changed anything yet, and returns what a first run that died may have left.
    pub(crate) fn demand_fresh(&self) -> Result<Vec<Revision>, Error> {
        let revisions = self.backend().list()?;
        let is_genesis = |rev| match self.header(rev) {
            Err(error) if is_transient(&error) => Err(error),
            header => Ok(header.is_ok_and(|header| header.is_genesis)),
        };
        let mut are_geneses = revisions.len() <= MAX_GENESES;
        for rev in &revisions {
            are_geneses = are_geneses && is_genesis(rev)?;
        }
        if are_geneses {
            return Ok(revisions);
        }
        // Another process may have written the first one and made it current since the pointer was read.
        if self.backend().current()?.is_some() {
            return Ok(Vec::new());
        }
        let snapshots = revisions.len() as u64;
        Err(Error::new(
            ErrorKind::PointerLost { snapshots },
            format!(
                "{} has {snapshots} {} and none is current: the pointer was lost, make one of them current",
                self.id(),
                if snapshots == 1 { "snapshot" } else { "snapshots" }
            ),
        ))
    }

    /// The beginning of the sealed bytes, with the whole header unless they are of version 1.
    pub(crate) fn beginning(&self, rev: &Revision) -> Result<Vec<u8>, Error> {
        let beginning = self.backend().read_prefix(rev, USUAL_HEADER_BYTES)?.bytes;
        match envelope::bytes_for_header(&beginning) {
            Some(bytes) if bytes > beginning.len() => Ok(self.backend().read_prefix(rev, bytes)?.bytes),
            _ => Ok(beginning),
        }
    }

    /// The sealed bytes. Of a file that is not sealed, such as an empty disk image of a gigabyte, only the beginning is read.
    pub(crate) fn read(&self, rev: &Revision) -> Result<Vec<u8>, Error> {
        let beginning = self.backend().read_prefix(rev, FIRST_READ_BYTES)?;
        if beginning.stored_bytes == beginning.bytes.len() as u64 {
            return Ok(beginning.bytes);
        }
        envelope::check_beginning(&self.inner.keyring, &beginning.bytes)
            .map_err(|error| error.at_revision(rev))?;
        drop(beginning);
        self.backend().read(rev, self.sealed_limit())
    }

    /// The most bytes of a sealed file: what a reader refuses is not written.
    pub(crate) fn sealed_limit(&self) -> u64 {
        self.inner.limit.saturating_add(envelope::OVERHEAD)
    }

    /// Returns the document's bytes, after checking every rule that needs no backend.
    fn encode(&self, document: &D) -> Result<Vec<u8>, Error> {
        document.check_stack(self.id())?;
        let plaintext = document.encode()?;
        if plaintext.len() as u64 > self.inner.limit {
            return Err(envelope::too_large(plaintext.len() as u64, self.inner.limit));
        }
        Ok(plaintext)
    }

    fn legacy_cipher(&self) -> Result<&LegacyCipher, Error> {
        self.inner.keyring.legacy().ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                "envelope version 1 can be written only with the env-key or noop of a keyring that accepts version 1",
            )
        })
    }

    fn zstd(&self) -> Result<&Zstd, Error> {
        if let Some(zstd) = self.inner.zstd.get() {
            return Ok(zstd);
        }
        let zstd = Zstd::new()?;
        Ok(self.inner.zstd.get_or_init(|| zstd))
    }

    /// Seals with `seal` and stores under the first free revision, beginning with `candidate`.
    ///
    /// Writers in turn get dense suffixes, since the first collision moves to the one after the largest. Of n writers
    /// that collide at once each needs O(log n) tries, since each further collision doubles the range to draw from.
    fn create<B: AsRef<[u8]>>(
        &self,
        mut candidate: Revision,
        recipients: Option<&[Recipient]>,
        seal: impl Fn(&Revision) -> Result<B, Error>,
    ) -> Result<Written, Error> {
        let mut spread_bits = 0;
        loop {
            let sealed = seal(&candidate)?;
            let sealed = sealed.as_ref();
            // A reader would refuse such a file. Version 1 adds a third in base64.
            if sealed.len() as u64 > self.sealed_limit() {
                return Err(envelope::too_large(sealed.len() as u64, self.inner.limit));
            }
            let created = self.backend().create(&candidate, sealed).map_err(|error| {
                // A caller that finds a revision in the error looks for the document there.
                match error.is_outcome_unknown() {
                    true => error.at_revision(&candidate),
                    false => error.without_revision(),
                }
            });
            match created? {
                Created::Created => {
                    return Ok(Written {
                        revision: candidate,
                        digest: journal::digest(sealed),
                        sealed_bytes: sealed.len() as u64,
                        recipients: recipients.map(<[Recipient]>::to_vec),
                    });
                }
                Created::Exists => {
                    let largest = self
                        .backend()
                        .list()?
                        .into_iter()
                        .filter(|taken| taken.same_moment(&candidate))
                        .chain([candidate.clone()])
                        .max();
                    let taken = largest.and_then(|largest| largest.suffix()).unwrap_or_default();
                    let skip = random_bits()? & ((1 << spread_bits) - 1);
                    let next = candidate.with_suffix(u64::from(taken) + 1 + u64::from(skip))?;
                    // When the numbers are used up, the next moment begins with numbers of its own: nobody has collided there
                    // yet.
                    spread_bits = match next.same_moment(&candidate) {
                        true => (spread_bits + 1).min(MAX_SPREAD_BITS),
                        false => 0,
                    };
                    candidate = next;
                }
            }
        }
    }
}

impl<D> Store<D> {
    fn of(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
            document: PhantomData,
        }
    }
}

impl<D> Clone for Store<D> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            document: PhantomData,
        }
    }
}

impl<D> fmt::Debug for Store<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("id", self.inner.backend.id())
            .field("keyring", &self.inner.keyring)
            .field("envelope", &self.inner.envelope)
            .finish_non_exhaustive()
    }
}

/// Up to a quarter more or less, so that waiters do not look at the same time.
fn jittered(pause: Duration) -> Result<Duration, Error> {
    Ok(pause * 3 / 4 + pause / 2 * (random_bits()? >> 22) / 1024)
}

fn random_bits() -> Result<u32, Error> {
    SysRng.try_next_u32().map_err(|source| {
        Error::new(
            ErrorKind::Unavailable,
            "the operating system gives no random bytes",
        )
        .with_source(source)
    })
}
