use crate::{Error, Expect, Lock, LockInfo, LockStatus, LockToken, Revision, Snapshot, StackId, Wait};

/// What a *tool* calls: the snapshots of one stack, which of them is current, and the lock.
///
/// [`Store`](crate::Store) implements it over any [`Storage`](crate::Storage); an author who needs full control
/// implements it directly. It is object-safe: `Box<dyn Backend<Snapshot = State>>`.
///
/// A tool's run is: lock, read `current`, then after every change `write` and `compare_and_set_current` with the lock,
/// and unlock at the end.
///
/// # Contract
///
/// Opening and reading create nothing (BACKEND-12). The ids, here and at the methods, are those of the rules in
/// `sdk-conformance`, which check these sentences.
pub trait Backend: Send + Sync {
    /// The document that is kept.
    type Snapshot: Snapshot;

    /// Which stack this is.
    fn id(&self) -> &StackId;

    /// The name of the factory.
    fn factory(&self) -> &str {
        self.id().factory()
    }

    /// The name of the stack.
    fn stack(&self) -> &str {
        self.id().stack()
    }

    /// The current revision and its snapshot, which belong together even while others move `current`.
    ///
    /// # Contract
    ///
    /// BACKEND-03 (belong together), BACKEND-02 (nothing current).
    ///
    /// # Errors
    ///
    /// [`NoCurrent`](crate::ErrorKind::NoCurrent), [`Damaged`](crate::ErrorKind::Damaged) when `current` is damaged or
    /// names what does not exist, and those of [`get`](Backend::get).
    fn head(&self) -> Result<(Revision, Self::Snapshot), Error>;

    /// The current snapshot.
    ///
    /// # Contract
    ///
    /// BACKEND-03, BACKEND-02.
    ///
    /// # Errors
    ///
    /// Those of [`head`](Backend::head).
    fn current(&self) -> Result<Self::Snapshot, Error>;

    /// The current revision.
    ///
    /// # Contract
    ///
    /// BACKEND-03, BACKEND-02.
    ///
    /// # Errors
    ///
    /// [`NoCurrent`](crate::ErrorKind::NoCurrent), [`Damaged`](crate::ErrorKind::Damaged).
    fn current_rev(&self) -> Result<Revision, Error>;

    /// The snapshot of a revision.
    ///
    /// # Contract
    ///
    /// BACKEND-01 (what was written), BACKEND-08 (absent).
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Damaged`](crate::ErrorKind::Damaged),
    /// [`WrongKey`](crate::ErrorKind::WrongKey), [`Misplaced`](crate::ErrorKind::Misplaced),
    /// [`Refused`](crate::ErrorKind::Refused), [`TooLarge`](crate::ErrorKind::TooLarge),
    /// [`InvalidSnapshot`](crate::ErrorKind::InvalidSnapshot).
    fn get(&self, rev: &Revision) -> Result<Self::Snapshot, Error>;

    /// Stores a snapshot as a new revision and returns its name. It does not become current.
    ///
    /// # Contract
    ///
    /// (W1) It is durable on return. (W3) It replaces nothing. (W4) It does not fail because others write too. (W5) The
    /// revision sorts after the one that was current when the write began.
    ///
    /// BACKEND-01 (read back, and not current), BACKEND-05 (many writers), BACKEND-06 (the order), BACKEND-07 (a snapshot
    /// of another stack).
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](crate::ErrorKind::InvalidSnapshot), [`TooLarge`](crate::ErrorKind::TooLarge),
    /// [`DurabilityUnknown`](crate::ErrorKind::DurabilityUnknown), and the medium's: then no revision was added.
    fn write(&self, snapshot: &Self::Snapshot, options: &WriteOptions) -> Result<Revision, Error>;

    /// Makes a revision current, whatever was current before and whoever holds the lock: the repair of a damaged pointer.
    ///
    /// # Contract
    ///
    /// BACKEND-03, BACKEND-08 (absent).
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound), [`DurabilityUnknown`](crate::ErrorKind::DurabilityUnknown).
    fn set_current(&self, rev: &Revision) -> Result<(), Error>;

    /// Makes a revision current if `current` is what is expected and, where a lock is given, that is still held: one
    /// step, so that of two movers with the same expectation one gets an error.
    ///
    /// # Contract
    ///
    /// BACKEND-09 (compares), BACKEND-10 (no lost update), BACKEND-16 (an evicted holder).
    ///
    /// # Errors
    ///
    /// [`CurrentMoved`](crate::ErrorKind::CurrentMoved), [`LockLost`](crate::ErrorKind::LockLost),
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Damaged`](crate::ErrorKind::Damaged),
    /// [`DurabilityUnknown`](crate::ErrorKind::DurabilityUnknown).
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
    /// BACKEND-04.
    ///
    /// # Errors
    ///
    /// The medium's.
    fn list(&self) -> Result<Vec<Revision>, Error>;

    /// Deletes a revision; that it does not exist is fine. Where a lock is given, it must still be held.
    ///
    /// # Contract
    ///
    /// BACKEND-11 (gone, again, the current one), BACKEND-16 (an evicted holder).
    ///
    /// # Errors
    ///
    /// [`RevisionIsCurrent`](crate::ErrorKind::RevisionIsCurrent), [`Damaged`](crate::ErrorKind::Damaged) when it
    /// cannot be known what is current, [`LockLost`](crate::ErrorKind::LockLost),
    /// [`DurabilityUnknown`](crate::ErrorKind::DurabilityUnknown) when it is gone and may come back in a power cut,
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without a lock on some media.
    fn delete(&self, rev: &Revision, held: Option<&dyn Lock>) -> Result<(), Error>;

    /// Takes the lock for `operation`, waiting for it as `wait` says.
    ///
    /// # Contract
    ///
    /// BACKEND-13 (the deadline), BACKEND-14 (a turn), BACKEND-15 (cancelled).
    ///
    /// # Errors
    ///
    /// [`Locked`](crate::ErrorKind::Locked) when the time is up, [`Cancelled`](crate::ErrorKind::Cancelled).
    fn lock(&self, operation: &str, wait: &Wait) -> Result<Box<dyn Lock>, Error>;

    /// Who holds the lock, `None` when nobody does.
    ///
    /// # Contract
    ///
    /// BACKEND-13.
    ///
    /// # Errors
    ///
    /// The medium's.
    fn lock_status(&self) -> Result<Option<LockStatus>, Error>;

    /// Evicts the holder of the lock, dead or alive, and returns who that was; `None` when nobody held it.
    ///
    /// With `expected` only that holding is evicted, so that a holder who came meanwhile is not.
    ///
    /// # Contract
    ///
    /// BACKEND-17.
    ///
    /// # Errors
    ///
    /// [`Locked`](crate::ErrorKind::Locked) with the present holder when it is not the expected one.
    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error>;
}

/// What a single write records beside the snapshot, in clear.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteOptions {
    /// Why, for whoever reads the list; at most 4 KiB.
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
