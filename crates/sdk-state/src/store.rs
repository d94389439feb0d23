use crate::envelope::{self, Origin, Subject, UnverifiedHeader, Zstd};
use crate::{
    Backend, Created, Error, ErrorKind, Expect, Holder, Lock, LockInfo, LockStatus, LockToken, Provenance,
    Revision, Snapshot, StackId, State, Storage, TryLock, Wait, WriteOptions,
};
use rand::TryRng as _;
use rand::rngs::SysRng;
use sdk_encrypt::{Keyring, LegacyCipher};
use std::fmt;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::time::Duration;
use time::OffsetDateTime;

/// The pause after the first look at a held lock; it doubles up to what suits the medium.
const FIRST_PAUSE: Duration = Duration::from_micros(500);
/// Longer than headers are that have a few recipients and a short message.
const USUAL_HEADER_BYTES: usize = 8 << 10;
/// After so many collisions the range that the next suffix is drawn from no longer grows: 2^20.
const MAX_SPREAD_BITS: u32 = 20;

/// The one implementation of [`Backend`] over any [`Storage`]: it seals and opens, chooses revisions, waits for locks.
///
/// It is shared by threads through a reference. Several stores, in several processes, may be open on one place; what ties
/// them together is the storage alone.
///
/// ```
/// use sdk_state::encrypt::Noop;
/// use sdk_state::{Backend as _, MemoryStorage, Store, WriteOptions};
/// # use sdk_state::State;
///
/// # fn main() -> Result<(), sdk_state::Error> {
/// let store: Store<_> = Store::new(MemoryStorage::new("network/prod".parse()?), Noop);
/// # let state = State::new(&"network/prod".parse()?, "v1", "8c1f", time::OffsetDateTime::UNIX_EPOCH)?;
/// let revision = store.write(&state, &WriteOptions::new().with_message("first"))?;
/// store.set_current(&revision)?;
/// assert_eq!(store.current_rev()?, revision);
/// # Ok(())
/// # }
/// ```
pub struct Store<S, T = State> {
    storage: S,
    keyring: Keyring,
    provenance: Provenance,
    clock: Box<dyn Fn() -> OffsetDateTime + Send + Sync>,
    limit: u64,
    envelope: EnvelopeVersion,
    zstd: OnceLock<Zstd>,
    snapshot: PhantomData<fn() -> T>,
}

/// Which envelope a store writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnvelopeVersion {
    /// The original's, which binds a file to nothing: for stacks that the original must still read. It is not compressed
    /// and, in base64, a third longer than the snapshot, which may have three quarters of the limit.
    V1,
    /// Bound to its stack and revision.
    #[default]
    V2,
}

impl<S: Storage, T: Snapshot> Store<S, T> {
    /// A store that seals for the recipients of `keyring` and opens with all its keys. Creates nothing.
    pub fn new(storage: S, keyring: impl Into<Keyring>) -> Self {
        Self {
            storage,
            keyring: keyring.into(),
            provenance: Provenance::default(),
            #[expect(clippy::disallowed_methods, reason = "the default that with_clock replaces")]
            clock: Box::new(OffsetDateTime::now_utc),
            limit: envelope::DEFAULT_LIMIT,
            envelope: EnvelopeVersion::V2,
            zstd: OnceLock::new(),
            snapshot: PhantomData,
        }
    }

    /// Records this with every write, and who, host and tool with every lock.
    #[must_use]
    pub fn with_provenance(mut self, provenance: Provenance) -> Self {
        self.provenance = provenance;
        self
    }

    /// Takes the time from `clock`, for tests and replays. It may stand still or step back; a year that has not four digits
    /// makes writes [`InvalidName`](ErrorKind::InvalidName).
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> OffsetDateTime + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Reads and writes snapshots of up to `bytes` bytes before compression, [1 GiB](envelope::DEFAULT_LIMIT) by default.
    /// A larger one is [`TooLarge`](ErrorKind::TooLarge), on reading before memory is set aside for it.
    #[must_use]
    pub fn with_limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Writes envelopes of this version. Without a ring that [accepts](Keyring::accept_v1) version 1, writing that is
    /// [`Unsupported`](ErrorKind::Unsupported). What is read is the ring's affair alone.
    #[must_use]
    pub fn with_envelope(mut self, version: EnvelopeVersion) -> Self {
        self.envelope = version;
        self
    }

    /// The storage underneath.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// What the stored file of a revision says of itself, without a key and not to be trusted. Reads no more than the
    /// beginning of the file, unless it is of version 1.
    ///
    /// # Errors
    ///
    /// * [`NotFound`](ErrorKind::NotFound) when there is no such revision.
    /// * [`Damaged`](ErrorKind::Damaged) when it is empty or no sealed file, or has a header that breaks a rule.
    /// * [`Refused`](ErrorKind::Refused) when it is of a newer version.
    /// * [`TooLarge`](ErrorKind::TooLarge) when its header is larger than 1 MiB, or it is of version 1 and larger than the
    ///   limit allows.
    /// * [The medium's](Storage#the-mediums-errors).
    pub fn header(&self, rev: &Revision) -> Result<UnverifiedHeader, Error> {
        let mut sealed = self.storage.read_prefix(rev, USUAL_HEADER_BYTES)?.bytes;
        match envelope::bytes_for_header(&sealed) {
            Some(bytes) if bytes <= sealed.len() => {}
            Some(bytes) => sealed = self.storage.read_prefix(rev, bytes)?.bytes,
            None => sealed = self.read(rev)?,
        }
        envelope::header(&sealed).map_err(|error| error.at_revision(rev))
    }

    fn read(&self, rev: &Revision) -> Result<Vec<u8>, Error> {
        self.storage
            .read(rev, self.limit.saturating_add(envelope::OVERHEAD))
    }

    fn subject<'a>(&'a self, revision: &'a Revision) -> Subject<'a> {
        Subject {
            payload: T::PAYLOAD,
            id: self.storage.id(),
            revision,
        }
    }

    /// The snapshot's bytes, once every rule that needs no storage has been checked.
    fn encode(&self, snapshot: &T) -> Result<Vec<u8>, Error> {
        snapshot.check_stack(self.storage.id())?;
        let mut plaintext = Vec::new();
        snapshot.encode(&mut plaintext)?;
        if plaintext.len() as u64 > self.limit {
            return Err(envelope::too_large(plaintext.len() as u64, self.limit));
        }
        Ok(plaintext)
    }

    fn legacy_cipher(&self) -> Result<&LegacyCipher, Error> {
        self.keyring.legacy().ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                "envelope version 1 is written with the env-key or noop of a ring that accepts version 1",
            )
        })
    }

    fn zstd(&self) -> Result<&Zstd, Error> {
        if let Some(zstd) = self.zstd.get() {
            return Ok(zstd);
        }
        let zstd = Zstd::new()?;
        Ok(self.zstd.get_or_init(|| zstd))
    }

    /// Stores what `seal` makes for a revision under the first one that is free, beginning with `candidate`.
    ///
    /// Writers in turn get dense suffixes, since the first collision moves to the one after the largest. Of n writers
    /// that collide at once each needs O(log n) tries, since each further collision doubles the range to draw from.
    fn create<B: AsRef<[u8]>>(
        &self,
        mut candidate: Revision,
        seal: impl Fn(&Revision) -> Result<B, Error>,
    ) -> Result<Revision, Error> {
        let mut spread_bits = 0;
        loop {
            let sealed = seal(&candidate)?;
            let sealed = sealed.as_ref();
            // A reader would refuse it. Version 1 adds a third in base64.
            if sealed.len() as u64 > self.limit.saturating_add(envelope::OVERHEAD) {
                return Err(envelope::too_large(sealed.len() as u64, self.limit));
            }
            match self.storage.create(&candidate, sealed)? {
                Created::Created => return Ok(candidate),
                Created::Exists => {
                    let largest = self
                        .storage
                        .list()?
                        .into_iter()
                        .filter(|taken| taken.same_moment(&candidate))
                        .chain([candidate.clone()])
                        .max();
                    let taken = largest.and_then(|largest| largest.suffix()).unwrap_or_default();
                    let skip = random_bits()? & ((1 << spread_bits) - 1);
                    let next = candidate.with_suffix(u64::from(taken) + 1 + u64::from(skip))?;
                    // Where the numbers are used up the next moment begins with its own: nobody has collided there yet.
                    spread_bits = match next.same_moment(&candidate) {
                        true => (spread_bits + 1).min(MAX_SPREAD_BITS),
                        false => 0,
                    };
                    candidate = next;
                }
            }
        }
    }

    fn no_current(&self) -> Result<Error, Error> {
        let snapshots = self.storage.list()?.len() as u64;
        let message = match snapshots {
            0 => format!("{} has no snapshot yet: write the first one", self.storage.id()),
            count => format!(
                "{} has {count} snapshots and none is current: the pointer was lost, choose a revision with set_current",
                self.storage.id()
            ),
        };
        Ok(Error::new(ErrorKind::NoCurrent { snapshots }, message))
    }
}

impl<S: Storage, T: Snapshot> Backend for Store<S, T> {
    type Snapshot = T;

    fn id(&self) -> &StackId {
        self.storage.id()
    }

    fn head(&self) -> Result<(Revision, T), Error> {
        let mut rev = self.current_rev()?;
        loop {
            match self.get(&rev) {
                Ok(snapshot) => return Ok((rev, snapshot)),
                Err(error) if error.kind() == &ErrorKind::NotFound => {
                    // Moved and deleted since the pointer was read? Then the pointer has another value now.
                    let now = self.current_rev()?;
                    if now == rev {
                        return Err(Error::new(
                            ErrorKind::Damaged,
                            "`current` names this revision, which does not exist: \
                             choose an existing one with set_current",
                        )
                        .at_revision(&rev)
                        .with_source(error));
                    }
                    rev = now;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn current(&self) -> Result<T, Error> {
        self.head().map(|(_, snapshot)| snapshot)
    }

    fn current_rev(&self) -> Result<Revision, Error> {
        match self.storage.current()? {
            Some(rev) => Ok(rev),
            None => Err(self.no_current()?),
        }
    }

    fn get(&self, rev: &Revision) -> Result<T, Error> {
        let sealed = self.read(rev)?;
        envelope::open_with(self.zstd()?, &self.keyring, self.subject(rev), sealed, self.limit)
            .and_then(|plaintext| T::decode(&plaintext))
            .map_err(|error| error.at_revision(rev))
    }

    fn write(&self, snapshot: &T, options: &WriteOptions) -> Result<Revision, Error> {
        self.provenance.check(options.message.as_deref())?;
        let plaintext = self.encode(snapshot)?;
        let current = match self.storage.current() {
            Err(error) if error.kind() == &ErrorKind::Damaged => None,
            current => current?,
        };
        let now = (self.clock)();
        let candidate = Revision::first_candidate(now, current.as_ref())?;
        match self.envelope {
            EnvelopeVersion::V1 => {
                let file = envelope::seal_v1(self.legacy_cipher()?, T::PAYLOAD, plaintext)?;
                self.create(candidate, |_| Ok(&file))
            }
            EnvelopeVersion::V2 => {
                let payload = self.zstd()?.compress(&plaintext)?;
                drop(plaintext);
                let origin = Origin {
                    provenance: &self.provenance,
                    written_at: now,
                    message: options.message.as_deref(),
                    parent: options.parent.as_ref().or(current.as_ref()),
                };
                self.create(candidate, |rev| {
                    envelope::seal_v2(&self.keyring, self.subject(rev), &origin, &payload)
                })
            }
        }
    }

    fn set_current(&self, rev: &Revision) -> Result<(), Error> {
        self.storage.set_current(Expect::Anything, rev, None)
    }

    fn compare_and_set_current(
        &self,
        expect: Expect<'_>,
        rev: &Revision,
        held: Option<&dyn Lock>,
    ) -> Result<(), Error> {
        let token = held.map(Lock::token).transpose()?;
        self.storage.set_current(expect, rev, token)
    }

    fn list(&self) -> Result<Vec<Revision>, Error> {
        let mut revisions = self.storage.list()?;
        revisions.sort_unstable();
        Ok(revisions)
    }

    fn delete(&self, rev: &Revision, held: Option<&dyn Lock>) -> Result<(), Error> {
        let token = held.map(Lock::token).transpose()?;
        self.storage.remove(rev, token)
    }

    fn lock(&self, operation: &str, wait: &Wait) -> Result<Box<dyn Lock>, Error> {
        let mut holder = Holder::new(operation, (self.clock)());
        holder.user.clone_from(&self.provenance.who);
        holder.host.clone_from(&self.provenance.host);
        holder.tool.clone_from(&self.provenance.tool);

        let mut pause = FIRST_PAUSE;
        loop {
            if wait.is_cancelled() {
                return Err(Error::new(
                    ErrorKind::Cancelled,
                    format!("waiting for the lock of {} was cancelled", self.id()),
                ));
            }
            match self.storage.try_lock(&holder)? {
                TryLock::Held(lock) => return Ok(lock),
                TryLock::Busy { info, poll } => {
                    if !wait.pause(jittered(pause.min(poll))?) {
                        return Err(Error::new(
                            ErrorKind::Locked(info.clone()),
                            format!(
                                "{} is locked by {info}: wait for it, or force-unlock if that holder is surely gone",
                                self.id()
                            ),
                        ));
                    }
                    pause = (pause * 2).min(poll.max(FIRST_PAUSE));
                }
            }
        }
    }

    fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
        self.storage.lock_status()
    }

    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        self.storage.force_unlock(expected)
    }
}

impl<S: Storage, T> fmt::Debug for Store<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("id", self.storage.id())
            .field("keyring", &self.keyring)
            .field("envelope", &self.envelope)
            .finish_non_exhaustive()
    }
}

/// Up to a quarter more or less, so that waiters do not look in step.
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
