use crate::{Error, Holder, Lock, LockInfo, LockStatus, LockToken, Revision, StackId};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Stores the sealed snapshots, the pointer and the lock of one stack: the trait that a *backend author* implements.
///
/// A backend never sees plaintext and needs no cipher. A tool calls it through a [`Store`](crate::Store). `Exists` and `Busy`
/// are answers, not errors. Threads share a backend, and several backends, in several processes, may be open on one place.
/// `docs/writing-a-backend.md` explains how to write one.
///
/// # Contract
///
/// Opening a backend and every reading method create nothing and change nothing (READ-04, READ-05). No error changes what is
/// stored, except that it may leave temporary files (READ-06, ERROR-01). A change that a method reports as done is durable
/// and visible through every handle.
///
/// Stacks are kept apart (STACKS-02), even if their names differ only in case (STACKS-03), and every valid name works
/// (STACKS-04). The bytes that a [`Store`](crate::Store) seals come back unchanged (SEALED-01), so a file that was changed or
/// moved does not open (SEALED-02, SEALED-03), and concurrent writers do not disturb each other (SEALED-04).
///
/// **Every change is fenced.** `set_current`, `append` and `replace` take the token of the lock and check it in the same step as
/// the change: once [`try_lock`](Backend::try_lock) has returned, no change of an earlier holder succeeds (GUARD-08).
///
/// **The journal.** A stack has at most one journal: ordered records of the changes of one [`Run`](crate::Run) that no revision
/// holds yet. It belongs to one *base*, the pointer that was current when its first record was written. It is *live* while its
/// base is current; a move of `current` ends it. A *dead* journal is never read. A backend that cannot keep a journal always
/// returns [`Unsupported`](crate::ErrorKind::Unsupported) from `append`, and no records.
///
/// Ids such as CREATE-01, here and at the methods, are rules of the crate `sdk-conformance`, which check these sentences.
/// Letters such as ([W1](crate::guarantees)) refer to the promises of `docs/guarantees.md` that depend on the sentence. No rule
/// covers what only a crash or a power cut shows: test that yourself.
///
/// # Backend errors
///
/// Every method but `id` may also fail with one of these kinds:
///
/// * [`Io`](crate::ErrorKind::Io): the medium failed; the source is its own error. Nothing was changed.
/// * [`Unavailable`](crate::ErrorKind::Unavailable): the backend gave up; nothing was changed, and a later try may succeed.
/// * [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown), from a method that changes something: the answer was lost, and the
///   backend could not find out what became of the change. It may have happened, may happen later, or may not survive a power
///   cut. The error names the revision, if there is one. LOST-01, LOST-02, LOST-03, LOST-04, LOST-05, LOST-06 and
///   LOST-07 lose answers, and compare the reports with what happened.
/// * [`Damaged`](crate::ErrorKind::Damaged): the place contains something that no backend puts there, such as a link in the
///   place of a directory.
/// * [`InvalidName`](crate::ErrorKind::InvalidName), from a method that would create the stack's place: the medium cannot
///   tell the stack's name from the name of another stack.
///
/// Where several kinds apply, such as `NotFound` and `LockLost`, the backend may report any of them.
///
/// # Time
///
/// A backend bounds every call, by default to 30 seconds, and retries within that time after transient failures.
/// [`Store`](crate::Store) does not; only a run repeats a call whose outcome is unknown.
pub trait Backend: Send + Sync {
    /// The stack that the backend was opened for.
    ///
    /// # Contract
    ///
    /// Returns exactly the name that the backend was opened with (STACKS-01), without asking the medium. A store binds every
    /// sealed snapshot to this name: a backend that returns another name makes its snapshots unreadable.
    fn id(&self) -> &StackId;

    /// Stores `sealed` under `rev` if that name is free.
    ///
    /// # Contract
    ///
    /// ([W1, W2, W3](crate::guarantees)) The snapshot appears whole or not at all, replaces nothing, and is durable on return. Of any number
    /// of simultaneous calls for one revision exactly one is [`Created`](Created::Created). `current` does not move.
    ///
    /// The name of a removed snapshot may stay taken.
    ///
    /// The caller passes at least one byte, and at most the limit of its store plus [`OVERHEAD`](crate::envelope::OVERHEAD);
    /// 16 MiB must fit. The backend must not depend on the content.
    ///
    /// CREATE-01 (kept to the byte), CREATE-02 (a taken name), CREATE-03 (many creators), CREATE-04 (whole or not at all),
    /// CREATE-05 (16 MiB), CREATE-06 (names of one moment), CREATE-07 (no moment), CREATE-08 (`current`).
    ///
    /// # Errors
    ///
    /// * [`InvalidName`](crate::ErrorKind::InvalidName) for a `rev` that [is not writable](Revision::is_writable).
    /// * [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) when it is stored but may not be durable: then `set_current` to
    ///   it through this handle fails with the same kind.
    /// * A [backend error](Backend#backend-errors).
    fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error>;

    /// Returns the bytes of the snapshot `rev`, which may be at most `limit` bytes.
    ///
    /// # Contract
    ///
    /// ([J1](crate::guarantees)) The size is compared with `limit` before memory is reserved, and growth after that is ignored: nobody who can
    /// write to the medium decides how much memory a reader uses.
    ///
    /// READ-01 (absent), READ-02 (the limit is exact), READ-03 (empty).
    ///
    /// # Errors
    ///
    /// * [`NotFound`](crate::ErrorKind::NotFound) when there is none.
    /// * [`TooLarge`](crate::ErrorKind::TooLarge) when it has more than `limit` bytes.
    /// * [`Damaged`](crate::ErrorKind::Damaged) when it is empty or not a plain blob.
    /// * A [backend error](Backend#backend-errors).
    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error>;

    /// Returns the first `most` bytes of the snapshot `rev`, or all of them if it has fewer, and its length; lists need only
    /// the header at the beginning.
    ///
    /// # Contract
    ///
    /// ([J1](crate::guarantees)) However long the snapshot is, at most `most` bytes of memory are reserved.
    ///
    /// READ-07 (the beginning and the length).
    ///
    /// # Errors
    ///
    /// * [`NotFound`](crate::ErrorKind::NotFound) when there is none.
    /// * [`Damaged`](crate::ErrorKind::Damaged) when it is empty or not a plain blob.
    /// * A [backend error](Backend#backend-errors).
    fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error>;

    /// Replaces the snapshot `rev` with `sealed` as a whole, for re-keying.
    ///
    /// # Contract
    ///
    /// ([W2, L4](crate::guarantees)) The check of the token and the replacement are one step. A reader finds the old bytes or the new ones, even
    /// after a crash. It never creates a snapshot: if a replacement and a removal happen at the same time, the removal wins.
    ///
    /// REPLACE-01 (as a whole), REPLACE-02 (never creates), REPLACE-03 (old or new), REPLACE-04 (a removal wins), GUARD-01 and
    /// GUARD-06 (the token).
    ///
    /// # Errors
    ///
    /// * [`NotFound`](crate::ErrorKind::NotFound) when there is none.
    /// * [`LockLost`](crate::ErrorKind::LockLost) when `token` is not the token of the lock.
    /// * [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) as in [`create`](Backend::create).
    /// * A [backend error](Backend#backend-errors).
    fn replace(&self, rev: &Revision, sealed: &[u8], token: &LockToken) -> Result<(), Error>;

    /// Removes the snapshot `rev`. It is not an error if it does not exist.
    ///
    /// Without a token, it works while nobody holds the lock, so that space can be freed on a full disk, where no lock can be
    /// written.
    ///
    /// # Contract
    ///
    /// ([C1, L4](crate::guarantees)) The checks and the removal are one step with respect to `set_current` and `try_lock`: it checks that the lock
    /// carries the token, or that nobody holds the lock, and that `rev` is not current. `current` never names a removed
    /// revision, even after a crash.
    ///
    /// REMOVE-01 (gone, and nothing else), REMOVE-02 (absent), REMOVE-03 (the current one), REMOVE-04 (a damaged
    /// pointer), REMOVE-05 (racing `set_current`), REMOVE-06 (not pointed at afterwards), GUARD-01, GUARD-03 and GUARD-05 (the
    /// token), GUARD-07 (without one).
    ///
    /// # Errors
    ///
    /// * [`RevisionIsCurrent`](crate::ErrorKind::RevisionIsCurrent) when `current` names it.
    /// * [`Damaged`](crate::ErrorKind::Damaged) when the backend cannot tell which revision is current.
    /// * [`LockLost`](crate::ErrorKind::LockLost) when `token` is not the token of the lock.
    /// * [`Locked`](crate::ErrorKind::Locked) without a token while somebody who is not provably dead holds the lock.
    /// * [`Unsupported`](crate::ErrorKind::Unsupported) without a token where that cannot be checked in one step.
    /// * [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) when it was removed, but may come back after a power cut.
    /// * A [backend error](Backend#backend-errors).
    fn remove(&self, rev: &Revision, token: Option<&LockToken>) -> Result<(), Error>;

    /// Returns the stored revisions in any order; an empty list for a stack that does not exist.
    ///
    /// # Contract
    ///
    /// Each revision appears once (LIST-01). Invalid names are left out. It opens no snapshot, so a damaged one does not hide
    /// the others (LIST-02), and listing thousands is quick.
    ///
    /// # Errors
    ///
    /// A [backend error](Backend#backend-errors).
    fn list(&self) -> Result<Vec<Revision>, Error>;

    /// Returns what is irregular in the place of the stack and shows in no other answer, for an operator who checks a store.
    ///
    /// # Contract
    ///
    /// A damaged snapshot or a dead holder's lock is not listed, because the other methods report it. Nothing is listed for a
    /// stack that does not exist, nor for one that only this backend has changed, unless a process died while it did
    /// (LIST-03). It opens no snapshot. A medium that has room for nothing else, such as a table, always returns an empty list.
    ///
    /// # Errors
    ///
    /// A [backend error](Backend#backend-errors).
    fn inspect(&self) -> Result<Vec<Irregularity>, Error>;

    /// Returns the pointer, whether or not the revision that it names exists; `None` when there is no pointer.
    ///
    /// # Contract
    ///
    /// ([C1, C3](crate::guarantees)) Returns the value of one moment, never a mixture of two values. A pointer that cannot be read is never
    /// `None`: a tool that takes the stack for a fresh one builds everything again. The value may not be durable yet: another
    /// process may have moved it a moment ago.
    ///
    /// POINTER-01 (what it was moved to), POINTER-06 (old or new while it moves), POINTER-07 (damage is never none).
    ///
    /// # Errors
    ///
    /// * [`Damaged`](crate::ErrorKind::Damaged) when the pointer is anything but one valid name; use
    ///   [`Revision::from_pointer`].
    /// * A [backend error](Backend#backend-errors).
    fn current(&self) -> Result<Option<Pointer>, Error>;

    /// Makes `rev` current if `current` is as expected, and returns the new pointer.
    ///
    /// # Contract
    ///
    /// ([C1, C2, L4](crate::guarantees)) The checks that `rev` exists, that the lock carries the token and that `current` is as expected, and the
    /// move, are one step. After a crash `current` is the old or the new revision, and the revision that it names is
    /// readable. On return the move and `rev` are durable, even if `rev` was already current; such a move leaves the journal
    /// alone.
    ///
    /// ([R1, R2](crate::guarantees)) Any other move ends, in the same step, the journal of the revision that it moves away from. `rev`
    /// becomes current without a journal: one left from an earlier time as current is cleared first. After a crash a journal is
    /// there if its base is current, and dead otherwise.
    ///
    /// While the pointer is damaged or lost, it may have named the base of a journal. If the backend knows that base and it exists, only a
    /// move to it succeeds, which keeps the journal (JOURNAL-15); a move elsewhere would discard acknowledged changes.
    ///
    /// POINTER-02 (absent), POINTER-03 (compares), POINTER-04 (many movers), POINTER-05 (no lost update), POINTER-08 (the
    /// repair), POINTER-09 and POINTER-10 (the version), GUARD-01, GUARD-02 and GUARD-05 (the token), GUARD-04 (racing
    /// `force_unlock`), GUARD-08 (racing the next holder), JOURNAL-06 (the journal ends), JOURNAL-08 (and stays if nothing
    /// moves), JOURNAL-10 (racing `append`).
    ///
    /// # Errors
    ///
    /// * [`NotFound`](crate::ErrorKind::NotFound) when `rev` does not exist or is empty.
    /// * [`CurrentMoved`](crate::ErrorKind::CurrentMoved), with both revisions, when `current` is not what was expected.
    /// * [`LockLost`](crate::ErrorKind::LockLost) when `token` is not the token of the lock.
    /// * [`Damaged`](crate::ErrorKind::Damaged) when the pointer is damaged or lost, and `expect` needs it, or a journal has changes to
    ///   another revision, which the error names.
    /// * [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) when `rev`, or the move, may not be durable.
    /// * A [backend error](Backend#backend-errors).
    fn set_current(&self, expect: Expect<'_>, rev: &Revision, token: &LockToken) -> Result<Pointer, Error>;

    /// Adds `record` to the journal of `base` as record number `index`, counted from 0.
    ///
    /// # Contract
    ///
    /// ([R1, L4](crate::guarantees)) The checks that the lock carries the token, that `current` is exactly `base`, and that exactly `index` records
    /// are in the journal of `base`, and the addition, are one step. The record is durable on return, and so is `base`. With
    /// `index` 0 the record begins the journal and replaces a dead one.
    ///
    /// Returns [`Taken`](Appended::Taken) when another number of records is there, but [`Appended`](Appended::Appended) again when
    /// the last record is number `index` and has exactly these bytes. So a call whose answer was lost can be repeated.
    ///
    /// The caller passes 1 to [`MAX_RECORD_BYTES`](crate::MAX_RECORD_BYTES) bytes. The backend must not depend on the content.
    /// After `OutcomeUnknown`, the whole record may appear later; a later `append` of this handle succeeds only if it follows or
    /// repeats that record.
    ///
    /// JOURNAL-01 (kept to the byte, in order), JOURNAL-02 (16 MiB), JOURNAL-03 (another number), JOURNAL-04 (a repeat),
    /// JOURNAL-05 (another base), JOURNAL-07 (after a move), JOURNAL-09 (many appenders), JOURNAL-10 (racing `set_current`),
    /// JOURNAL-11 (the token), JOURNAL-12 (racing the next holder), JOURNAL-15 (a damaged pointer), JOURNAL-16 (a backend
    /// without a journal).
    ///
    /// # Errors
    ///
    /// * [`LockLost`](crate::ErrorKind::LockLost) when `token` is not the token of the lock.
    /// * [`CurrentMoved`](crate::ErrorKind::CurrentMoved), with both revisions, when `current` is not `base`.
    /// * [`Damaged`](crate::ErrorKind::Damaged) when the pointer or the journal is damaged.
    /// * [`Unsupported`](crate::ErrorKind::Unsupported) when this backend keeps no journal here.
    /// * [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) when the record may not be durable.
    /// * A [backend error](Backend#backend-errors).
    fn append(&self, base: &Pointer, index: u64, record: &[u8], token: &LockToken)
    -> Result<Appended, Error>;

    /// Returns records of the journal of `base` in order, beginning with number `from`: at least one if there is one, and then up to
    /// `most` bytes of further records.
    ///
    /// # Contract
    ///
    /// ([J1, R2](crate::guarantees)) Returns nothing at the end of the journal, and when `current` is not `base` or has no journal.
    /// Records come back unchanged; a partial record that was never acknowledged is left out. Every length is checked against
    /// [`MAX_RECORD_BYTES`](crate::MAX_RECORD_BYTES) before memory is reserved.
    ///
    /// Several calls are not one step: a reader of several pages finally reads `current` and record 0 again.
    ///
    /// JOURNAL-01 (through every handle), JOURNAL-05 and JOURNAL-06 (empty), JOURNAL-13 (pages), JOURNAL-14 (racing `append`),
    /// JOURNAL-15 (a damaged pointer).
    ///
    /// # Errors
    ///
    /// * [`Damaged`](crate::ErrorKind::Damaged) when the pointer or the journal is damaged.
    /// * A [backend error](Backend#backend-errors).
    fn read_journal(&self, base: &Pointer, from: u64, most: usize) -> Result<Vec<Vec<u8>>, Error>;

    /// Takes the lock if it is free or its holder is provably dead; returns at once.
    ///
    /// # Contract
    ///
    /// ([L1, L2](crate::guarantees)) It waits for nobody: [`Store`](crate::Store) does, and tries again after at most
    /// [`poll`](TryLock::Busy::poll). Each lock gets a [fresh token](LockToken::generate). A holder that may
    /// live is not replaced, however old its lock is, unless the lock is a lease that [expired](crate::Liveness::Expired). A
    /// lock whose record cannot be read is held by somebody [unknown](crate::Liveness::Unknown): `Busy`, until
    /// `force_unlock` without an expectation removes it.
    /// The promises of what it returns are those of [`Lock`](Lock#contract).
    ///
    /// LOCK-01 (free), LOCK-02 (busy), LOCK-05 (many at once), LOCK-06 (no overlap), LOCK-13 (a dead holder), LOCK-16 (members
    /// that this version does not know).
    ///
    /// # Errors
    ///
    /// A [backend error](Backend#backend-errors), after which the caller does not hold the lock. If somebody else holds it,
    /// the answer is [`Busy`](TryLock::Busy), not an error.
    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error>;

    /// Returns who holds the lock; `None` when nobody does.
    ///
    /// # Contract
    ///
    /// It changes nothing, and makes no `try_lock` fail: a dead holder's lock stays and is reported as
    /// [`Dead`](crate::Liveness::Dead). If the backend cannot prove whether the holder lives, the answer is
    /// [`Unknown`](crate::Liveness::Unknown).
    ///
    /// LOCK-01 (names the holder), LOCK-03 and LOCK-04 (nobody), LOCK-13 (a dead holder).
    ///
    /// # Errors
    ///
    /// A [backend error](Backend#backend-errors).
    fn lock_status(&self) -> Result<Option<LockStatus>, Error>;

    /// Evicts the holder of the lock, dead or alive, and returns who that was; `None` when nobody held it.
    ///
    /// # Contract
    ///
    /// ([L4](crate::guarantees)) The comparison with `expected` and the eviction are one step, so a new holder is spared. From then on, every use
    /// of the evicted token fails with [`LockLost`](crate::ErrorKind::LockLost).
    ///
    /// LOCK-08 (the expected holder), LOCK-09 (another holder), LOCK-10 (nobody), LOCK-14 (a new holder).
    ///
    /// # Errors
    ///
    /// * [`Locked`](crate::ErrorKind::Locked) with the present holder when it is not the `expected` one.
    /// * A [backend error](Backend#backend-errors), after which the holder still holds it.
    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error>;
}

/// The answer of [`Backend::create`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Created {
    /// The snapshot is stored.
    Created,
    /// The name is taken; nothing was changed.
    Exists,
}

/// The answer of [`Backend::append`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Appended {
    /// The record is in the journal.
    Appended,
    /// Another number of records is there; nothing was changed.
    Taken,
}

/// The longest record of a journal: 16 MiB. A [`Run`](crate::Run) whose next change is larger writes a revision instead.
pub const MAX_RECORD_BYTES: usize = 16 << 20;

/// The answer of [`Backend::read_prefix`].
#[derive(Clone, PartialEq, Eq)]
pub struct Prefix {
    /// The beginning of the snapshot.
    pub bytes: Vec<u8>,
    /// The length of the whole snapshot in bytes.
    pub stored_bytes: u64,
}

/// Omits the bytes, which may not be encrypted.
impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefix")
            .field("stored_bytes", &self.stored_bytes)
            .finish_non_exhaustive()
    }
}

/// Something in the place of a stack that is not as the backend leaves it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Irregularity {
    /// What is wrong with it.
    pub kind: IrregularityKind,
    /// The file or object, for messages, without secrets.
    pub name: String,
}

impl Irregularity {
    /// Makes an irregularity.
    pub fn new(kind: IrregularityKind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
        }
    }
}

/// What is wrong with an [`Irregularity`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IrregularityKind {
    /// A process that died left it, and nobody will use it. It may be removed by hand.
    Leftover,
    /// It is not part of the store: somebody else put it there.
    Foreign,
    /// Other users than its owner may read or write it.
    Exposed,
    /// It belongs to another user than the stack, whose owner may be unable to read or replace it.
    OtherOwner,
}

/// Which revision is current, and by which move.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pointer {
    /// The revision.
    pub revision: Revision,
    /// The number of the move, different after each move, so that two moves to the same revision can be told apart. Always 0
    /// where no request can arrive late, as in a local directory.
    pub version: u64,
}

impl Pointer {
    /// Makes a pointer.
    pub fn new(revision: Revision, version: u64) -> Self {
        Self { revision, version }
    }
}

/// The precondition of a move of `current`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect<'a> {
    /// Any value, even a damaged one: for repairs.
    Anything,
    /// No revision is current.
    Nothing,
    /// This revision is current.
    Revision(&'a Revision),
    /// This revision is current, through exactly this move.
    Pointer(&'a Pointer),
}

impl<'a> Expect<'a> {
    /// Checks the precondition against the pointer that a backend reads in the same step as the move.
    ///
    /// # Errors
    ///
    /// [`CurrentMoved`](crate::ErrorKind::CurrentMoved), with both revisions, when it is not what was expected.
    ///
    /// ```
    /// # use sdk_state::{Error, Expect, Pointer};
    /// # fn pointer() -> Result<Option<Pointer>, Error> { Ok(None) }
    /// # let expect = Expect::Nothing;
    /// if expect.reads_pointer() {
    ///     expect.check(pointer()?.as_ref())?;
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    pub fn check(self, found: Option<&Pointer>) -> Result<(), Error> {
        let is_met = match self {
            Self::Anything => true,
            Self::Nothing => found.is_none(),
            Self::Revision(expected) => found.is_some_and(|found| found.revision == *expected),
            Self::Pointer(expected) => found == Some(expected),
        };
        if is_met {
            return Ok(());
        }
        Err(Error::current_moved(
            self.revision().cloned(),
            found.map(|found| found.revision.clone()),
        ))
    }

    /// Whether a damaged pointer is an error: [`Anything`](Expect::Anything) does not depend on it. A backend still reads it, to
    /// see whether it names the target already.
    pub fn reads_pointer(self) -> bool {
        self != Self::Anything
    }

    fn revision(self) -> Option<&'a Revision> {
        match self {
            Self::Anything | Self::Nothing => None,
            Self::Revision(revision) => Some(revision),
            Self::Pointer(pointer) => Some(&pointer.revision),
        }
    }
}

impl<'a> From<Option<&'a Revision>> for Expect<'a> {
    fn from(revision: Option<&'a Revision>) -> Self {
        revision.map_or(Self::Nothing, Self::Revision)
    }
}

impl<'a> From<&'a Revision> for Expect<'a> {
    fn from(revision: &'a Revision) -> Self {
        Self::Revision(revision)
    }
}

impl<'a> From<&'a Pointer> for Expect<'a> {
    fn from(pointer: &'a Pointer) -> Self {
        Self::Pointer(pointer)
    }
}

/// The answer of [`Backend::try_lock`].
#[derive(Debug)]
#[must_use]
pub enum TryLock {
    /// The caller holds the lock.
    Held(Box<dyn Lock>),
    /// Somebody else holds the lock.
    Busy {
        /// The holder, as far as it is known.
        status: Box<LockStatus>,
        /// The longest pause between two tries that suits the backend, never zero: milliseconds if a try is cheap. A store
        /// begins with an eighth of it, and varies each pause by a quarter.
        poll: Duration,
    },
}

macro_rules! forward_backend {
    ($($pointer:ty),*) => {$(
        impl<B: Backend + ?Sized> Backend for $pointer {
            fn id(&self) -> &StackId {
                (**self).id()
            }
            fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error> {
                (**self).create(rev, sealed)
            }
            fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
                (**self).read(rev, limit)
            }
            fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
                (**self).read_prefix(rev, most)
            }
            fn replace(&self, rev: &Revision, sealed: &[u8], token: &LockToken) -> Result<(), Error> {
                (**self).replace(rev, sealed, token)
            }
            fn remove(&self, rev: &Revision, token: Option<&LockToken>) -> Result<(), Error> {
                (**self).remove(rev, token)
            }
            fn list(&self) -> Result<Vec<Revision>, Error> {
                (**self).list()
            }
            fn inspect(&self) -> Result<Vec<Irregularity>, Error> {
                (**self).inspect()
            }
            fn current(&self) -> Result<Option<Pointer>, Error> {
                (**self).current()
            }
            fn set_current(&self, expect: Expect<'_>, rev: &Revision, token: &LockToken) -> Result<Pointer, Error> {
                (**self).set_current(expect, rev, token)
            }
            fn append(&self, base: &Pointer, index: u64, record: &[u8], token: &LockToken) -> Result<Appended, Error> {
                (**self).append(base, index, record, token)
            }
            fn read_journal(&self, base: &Pointer, from: u64, most: usize) -> Result<Vec<Vec<u8>>, Error> {
                (**self).read_journal(base, from, most)
            }
            fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error> {
                (**self).try_lock(holder)
            }
            fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
                (**self).lock_status()
            }
            fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
                (**self).force_unlock(expected)
            }
        }
    )*};
}

forward_backend!(Box<B>, Arc<B>);
