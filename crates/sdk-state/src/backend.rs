use crate::{Error, Expect, Lock, LockInfo, LockStatus, LockToken, Revision, Snapshot, StackId, Wait};

/// What a *tool* calls: the snapshots of one stack, which of them is current, and the lock.
///
/// [`Store`](crate::Store) implements it over any [`Storage`](crate::Storage); an author who needs full control
/// implements it directly. It is object-safe: `Box<dyn Backend<Snapshot = State>>`.
///
/// A tool's run is: [`lock`](Backend::lock), read [`head`](Backend::head), then after every change
/// [`write`](Backend::write) and [`compare_and_set_current`](Backend::compare_and_set_current) with the lock, and
/// [`unlock`](Lock::unlock) at the end.
///
/// # Contract
///
/// Opening and reading create nothing (BACKEND-12). No error changes what is stored, but for
/// [`DurabilityUnknown`](crate::ErrorKind::DurabilityUnknown), which names the revision concerned (W6).
///
/// Ids such as BACKEND-01, here and at the methods, are those of the rules in `sdk-conformance`, which check these
/// sentences. Letters such as (W1) are the promises of `docs/guarantees.md` that rest on the sentence.
pub trait Backend: Send + Sync {
    /// The document that is kept.
    type Snapshot: Snapshot;

    /// Which stack this is.
    ///
    /// # Contract
    ///
    /// The stack that the backend was opened for, without asking the medium. Nothing that is done here is seen by another
    /// one, however alike the names (BACKEND-25).
    fn id(&self) -> &StackId;

    /// The name of the factory.
    ///
    /// # Contract
    ///
    /// That of [`id`](Backend::id): there is no reason to implement it.
    fn factory(&self) -> &str {
        self.id().factory()
    }

    /// The name of the stack.
    ///
    /// # Contract
    ///
    /// That of [`id`](Backend::id): there is no reason to implement it.
    fn stack(&self) -> &str {
        self.id().stack()
    }

    /// The current revision and its snapshot, which belong together even while others move `current`.
    ///
    /// # Contract
    ///
    /// (C1, C3) A revision that was moved away from and deleted between the two reads is no error: the new one is read.
    ///
    /// BACKEND-03 (belong together), BACKEND-02 (nothing current), BACKEND-20 (a damaged pointer).
    ///
    /// # Errors
    ///
    /// * [`NoCurrent`](crate::ErrorKind::NoCurrent) when nothing is current: a fresh start only if it counts no snapshots.
    /// * [`Damaged`](crate::ErrorKind::Damaged) when `current` is damaged or names what does not exist.
    /// * Those of [`get`](Backend::get) but [`NotFound`](crate::ErrorKind::NotFound).
    fn head(&self) -> Result<(Revision, Self::Snapshot), Error>;

    /// The current snapshot.
    ///
    /// # Contract
    ///
    /// What [`head`](Backend::head) reads: BACKEND-03, BACKEND-02. Whoever will move `current` afterwards needs the
    /// revision too, and calls `head`.
    ///
    /// # Errors
    ///
    /// Those of [`head`](Backend::head).
    fn current(&self) -> Result<Self::Snapshot, Error>;

    /// The current revision.
    ///
    /// # Contract
    ///
    /// It opens no snapshot and needs no key; what it names may not exist.
    ///
    /// BACKEND-03, BACKEND-02, BACKEND-20.
    ///
    /// # Errors
    ///
    /// * [`NoCurrent`](crate::ErrorKind::NoCurrent) when nothing is current, with the number of snapshots that exist all the same.
    /// * [`Damaged`](crate::ErrorKind::Damaged) when the pointer is anything but one valid name.
    /// * [The medium's](crate::Storage#the-mediums-errors).
    fn current_rev(&self) -> Result<Revision, Error>;

    /// The snapshot of a revision.
    ///
    /// # Contract
    ///
    /// (E1, E2, E3) Nothing is returned that was not authenticated with a key of the ring as this revision of this stack.
    ///
    /// BACKEND-01 (what was written), BACKEND-08 (absent), BACKEND-21 (damaged), BACKEND-22 (misplaced).
    ///
    /// # Errors
    ///
    /// * [`NotFound`](crate::ErrorKind::NotFound) when there is no such revision.
    /// * [`Damaged`](crate::ErrorKind::Damaged) when the stored file was changed, cut short or emptied.
    /// * [`WrongKey`](crate::ErrorKind::WrongKey) when none of the keys opens it.
    /// * [`Misplaced`](crate::ErrorKind::Misplaced) when it was sealed for another stack, revision or payload.
    /// * [`Refused`](crate::ErrorKind::Refused) when it is of version 1, of a newer version, or not encrypted, and that is not accepted; or
    ///   encrypted, and the ring is plain.
    /// * [`TooLarge`](crate::ErrorKind::TooLarge) when it is larger than the limit.
    /// * [`InvalidSnapshot`](crate::ErrorKind::InvalidSnapshot) when the document breaks a rule of its format.
    /// * [`Unavailable`](crate::ErrorKind::Unavailable) when the holder of a key does not answer, [`Unsupported`](crate::ErrorKind::Unsupported) when an encrypter fails in
    ///   another way.
    /// * [The medium's](crate::Storage#the-mediums-errors).
    fn get(&self, rev: &Revision) -> Result<Self::Snapshot, Error>;

    /// Stores a snapshot as a new revision and returns its name. It does not become current.
    ///
    /// # Contract
    ///
    /// (W1) It is durable on return. (W3) It replaces nothing. (W4) It does not fail because others write too. (W5) The
    /// revision sorts after the one that was current when the write began. A damaged `current` does not keep anybody from
    /// writing.
    ///
    /// BACKEND-01 (read back, and not current), BACKEND-05 (many writers), BACKEND-06 (the order), BACKEND-07 (a snapshot
    /// of another stack), BACKEND-19 (a clock that stands still), BACKEND-24 (8 MiB).
    ///
    /// # Errors
    ///
    /// * [`InvalidSnapshot`](crate::ErrorKind::InvalidSnapshot) when it breaks a rule of its format or belongs to another stack.
    /// * [`TooLarge`](crate::ErrorKind::TooLarge) when it is larger than the limit, or a text of its provenance or the message than 4 KiB.
    /// * [`DurabilityUnknown`](crate::ErrorKind::DurabilityUnknown) when it was added and may be gone after a power cut.
    /// * [`InvalidName`](crate::ErrorKind::InvalidName) when the clock is in no year of four digits.
    /// * [`Unsupported`](crate::ErrorKind::Unsupported) when two recipients are the same key, an encrypter refuses, or version 1 is to be written with
    ///   a ring that does not accept it.
    /// * [`Unavailable`](crate::ErrorKind::Unavailable) when the holder of a key does not answer.
    /// * [The medium's](crate::Storage#the-mediums-errors).
    ///
    /// After every one but `DurabilityUnknown` no revision was added.
    fn write(&self, snapshot: &Self::Snapshot, options: &WriteOptions) -> Result<Revision, Error>;

    /// Makes a revision current, whatever was current before and whoever holds the lock: the repair of a damaged pointer.
    ///
    /// # Contract
    ///
    /// (C1) Durable on return, and `rev` is too. Nothing is compared: a tool in a run calls
    /// [`compare_and_set_current`](Backend::compare_and_set_current).
    ///
    /// BACKEND-03, BACKEND-08 (absent), BACKEND-18 (racing a deletion), BACKEND-20 (the repair).
    ///
    /// # Errors
    ///
    /// * [`NotFound`](crate::ErrorKind::NotFound) when there is no such revision.
    /// * [`DurabilityUnknown`](crate::ErrorKind::DurabilityUnknown) when `rev`, or the move, may be gone after a power cut.
    /// * [The medium's](crate::Storage#the-mediums-errors), after which `current` is what it was.
    fn set_current(&self, rev: &Revision) -> Result<(), Error>;

    /// Makes a revision current if `current` is what is expected and, where a lock is given, that is still held: one
    /// step, so that of two movers with the same expectation one gets an error.
    ///
    /// # Contract
    ///
    /// (C2, L4) The comparison, the look at the lock and the move are one step with respect to every other mover.
    ///
    /// BACKEND-09 (compares), BACKEND-10 (no lost update), BACKEND-16 (an evicted holder).
    ///
    /// # Errors
    ///
    /// * [`CurrentMoved`](crate::ErrorKind::CurrentMoved), with both revisions, when another one is current: read again and start over.
    /// * [`LockLost`](crate::ErrorKind::LockLost) when `held` was evicted, or belongs to another process.
    /// * [`NotFound`](crate::ErrorKind::NotFound) when there is no such revision.
    /// * [`Damaged`](crate::ErrorKind::Damaged) when something is expected and the pointer is damaged.
    /// * [`DurabilityUnknown`](crate::ErrorKind::DurabilityUnknown) when `rev`, or the move, may be gone after a power cut.
    /// * [`Unsupported`](crate::ErrorKind::Unsupported) for an expectation without a lock on some media, such as a network filesystem.
    /// * [The medium's](crate::Storage#the-mediums-errors), after which `current` is what it was.
    fn compare_and_set_current(
        &self,
        expect: Expect<'_>,
        rev: &Revision,
        held: Option<&dyn Lock>,
    ) -> Result<(), Error>;

    /// Every stored revision, oldest first; none for a stack that does not exist.
    ///
    /// # Contract
    ///
    /// BACKEND-04 (each once, sorted), BACKEND-21 (damaged ones too).
    ///
    /// The last one is not always the current one: a revision that was never made current is listed too, and `current` may
    /// have been moved back.
    ///
    /// # Errors
    ///
    /// [The medium's](crate::Storage#the-mediums-errors).
    fn list(&self) -> Result<Vec<Revision>, Error>;

    /// Deletes a revision; that it does not exist is fine. Where a lock is given, it must still be held.
    ///
    /// # Contract
    ///
    /// (C1) `current` never names a deleted revision, whoever moves it meanwhile, also after a crash.
    ///
    /// BACKEND-11 (gone, again, the current one), BACKEND-16 (an evicted holder), BACKEND-18 (racing `set_current`).
    ///
    /// # Errors
    ///
    /// * [`RevisionIsCurrent`](crate::ErrorKind::RevisionIsCurrent) when it is the current one.
    /// * [`Damaged`](crate::ErrorKind::Damaged) when it cannot be known what is current.
    /// * [`LockLost`](crate::ErrorKind::LockLost) when `held` was evicted, or belongs to another process.
    /// * [`DurabilityUnknown`](crate::ErrorKind::DurabilityUnknown) when it is gone and may come back in a power cut.
    /// * [`Unsupported`](crate::ErrorKind::Unsupported) without a lock on some media, such as a network filesystem.
    /// * [The medium's](crate::Storage#the-mediums-errors), after which it is still there.
    fn delete(&self, rev: &Revision, held: Option<&dyn Lock>) -> Result<(), Error>;

    /// Takes the lock for `operation`, waiting for it as `wait` says.
    ///
    /// `operation` is what others are shown, such as `apply`; no secret belongs in it.
    ///
    /// # Contract
    ///
    /// (L1, L2) One holder at a time; a dead one is replaced, and [`took_over`](Lock::took_over) names it. (L5) A wait that
    /// ends without the lock leaves nothing behind. Waiters get it in no particular order. There is always one try, unless
    /// the wait is cancelled already.
    ///
    /// BACKEND-13 (the deadline), BACKEND-14 (a turn), BACKEND-15 (cancelled), BACKEND-23 (a dead holder).
    ///
    /// # Errors
    ///
    /// * [`Locked`](crate::ErrorKind::Locked) with the holder when the time is up.
    /// * [`Cancelled`](crate::ErrorKind::Cancelled) when the caller gave up.
    /// * [The medium's](crate::Storage#the-mediums-errors), and [`Unavailable`](crate::ErrorKind::Unavailable) when the operating system gives no random bytes.
    fn lock(&self, operation: &str, wait: &Wait) -> Result<Box<dyn Lock>, Error>;

    /// Who holds the lock, `None` when nobody does.
    ///
    /// # Contract
    ///
    /// BACKEND-13 (names the holder). It changes nothing, a dead holder's lock included.
    ///
    /// # Errors
    ///
    /// [The medium's](crate::Storage#the-mediums-errors).
    fn lock_status(&self) -> Result<Option<LockStatus>, Error>;

    /// Evicts the holder of the lock, dead or alive, and returns who that was; `None` when nobody held it.
    ///
    /// With `expected` only that holding is evicted, so that a holder who came meanwhile is not.
    ///
    /// # Contract
    ///
    /// BACKEND-17 (compares). (L4) The evicted holder can neither unlock the next one nor move `current` through its lock.
    /// It is not stopped: what it does to the infrastructure goes on.
    ///
    /// # Errors
    ///
    /// * [`Locked`](crate::ErrorKind::Locked) with the present holder when it is not the expected one.
    /// * [The medium's](crate::Storage#the-mediums-errors), after which the holder still holds it.
    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error>;
}

/// What a single write records beside the snapshot, in clear.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteOptions {
    /// Why, for whoever reads the list: at most 4096 bytes, in clear, so no secret belongs in it.
    pub message: Option<String>,
    /// From which revision the snapshot was made; by default the one that is current when the write begins.
    pub parent: Option<Revision>,
}

impl WriteOptions {
    /// Nothing to record.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a message.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// With the revision that the snapshot was made from.
    #[must_use]
    pub fn with_parent(mut self, parent: Revision) -> Self {
        self.parent = Some(parent);
        self
    }
}
