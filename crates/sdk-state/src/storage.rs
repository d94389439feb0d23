use crate::{Error, Holder, Lock, LockInfo, LockStatus, LockToken, Revision, StackId};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a *backend author* writes: one stack's place on some medium, over sealed bytes.
///
/// It never sees plaintext and needs no cipher; a [`Store`](crate::Store) over it is a whole [`Backend`](crate::Backend).
/// `Exists` and `Busy` are answers, not errors. All methods take `&self`: a storage is shared by threads, and several
/// storages, in several processes, may be open on one place. `docs/writing-a-backend.md` writes one.
///
/// # Contract
///
/// Opening a storage and every reading method create nothing and change nothing (READ-04, READ-05). No error changes
/// what is stored, temporary litter apart (READ-06). What a method reports as done is durable, and seen through every handle.
///
/// A stack is told from every other one (STACKS-02), also where the names differ in case alone (STACKS-03), and every
/// legal name is one (STACKS-04). What a [`Store`](crate::Store) seals comes back as it was (SEALED-01), so that what was
/// changed or moved does not open (SEALED-02, SEALED-03), and writers at once do not disturb each other (SEALED-04).
///
/// Ids such as CREATE-01, here and at the methods, are those of the rules in `sdk-conformance`, which check these
/// sentences. Letters such as (W1) are the promises of `docs/guarantees.md` that rest on the sentence. What only a crash
/// or a power cut shows has no rule: a backend's own tests ask it.
///
/// # The medium's errors
///
/// Every method but `id` may also fail as the medium does, with one of these kinds:
///
/// * [`Io`](crate::ErrorKind::Io): it failed; the source is its own error.
/// * [`Unavailable`](crate::ErrorKind::Unavailable): it did not answer in time, and may the next time.
/// * [`Damaged`](crate::ErrorKind::Damaged): something lies there that no storage puts there, such as a link in the place
///   of a directory.
/// * [`InvalidName`](crate::ErrorKind::InvalidName), from what would create the stack's place: the medium takes the
///   stack's name for that of another one.
///
/// Where several kinds apply, such as `NotFound` and `LockLost`, any of them may be told.
///
/// A timeout is an error like any other: a method fails only when it is sure that nothing has changed, or says
/// [`DurabilityUnknown`](crate::ErrorKind::DurabilityUnknown).
pub trait Storage: Send + Sync {
    /// Whose place this is.
    ///
    /// # Contract
    ///
    /// The stack that the storage was opened for, to the letter (STACKS-01), without asking the medium. A store binds what
    /// it seals to this name: a storage that answers another one makes its snapshots unreadable.
    fn id(&self) -> &StackId;

    /// Stores `sealed` under `rev`, if that name is free.
    ///
    /// # Contract
    ///
    /// (W1, W2, W3) The snapshot appears whole or not at all, replaces nothing, and is durable on return. Of any number
    /// of simultaneous calls for one revision exactly one is [`Created`](Created::Created). `current` does not move.
    ///
    /// The name of a snapshot that was removed may stay taken.
    ///
    /// That `sealed` is not empty is the caller's duty. It may be as long as the store's limit plus
    /// [`OVERHEAD`](crate::envelope::OVERHEAD) bytes; 16 MiB must fit. Nothing may depend on what it holds.
    ///
    /// CREATE-01 (kept to the byte), CREATE-02 (a taken name), CREATE-03 (many creators), CREATE-04 (whole or not at all),
    /// CREATE-05 (16 MiB), CREATE-06 (names of one moment), CREATE-07 (no moment), CREATE-08 (`current`).
    ///
    /// # Errors
    ///
    /// * [`InvalidName`](crate::ErrorKind::InvalidName) for a `rev` that [is not writable](Revision::is_writable).
    /// * [`DurabilityUnknown`](crate::ErrorKind::DurabilityUnknown) when it is stored but perhaps not durably: then
    ///   `set_current` to it through this storage is refused with the same kind.
    /// * [The medium's](Storage#the-mediums-errors), after which it is not stored.
    fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error>;

    /// Replaces the snapshot `rev` by `sealed` as a whole; for re-keying alone, by the holder of the lock.
    ///
    /// # Contract
    ///
    /// (W2) A reader finds the old bytes or the new ones, also after a crash. It never creates: of a replacement and a
    /// removal at the same time, the removal wins.
    ///
    /// It asks for no token, so it is for the holder of the lock to see that it still has it; an eviction does not stop it.
    ///
    /// REPLACE-01 (as a whole), REPLACE-02 (never creates), REPLACE-03 (old or new), REPLACE-04 (a removal wins).
    ///
    /// # Errors
    ///
    /// * [`NotFound`](crate::ErrorKind::NotFound) when there is none.
    /// * [`DurabilityUnknown`](crate::ErrorKind::DurabilityUnknown) as in [`create`](Storage::create).
    /// * [The medium's](Storage#the-mediums-errors), after which the old bytes are there.
    fn replace(&self, rev: &Revision, sealed: &[u8]) -> Result<(), Error>;

    /// The bytes of the snapshot `rev`, which may be at most `limit` bytes.
    ///
    /// # Contract
    ///
    /// (J1) The size is compared with `limit` before memory is set aside, and a size that grows meanwhile is not
    /// followed: nobody who can write to the medium decides how much memory a reader uses.
    ///
    /// READ-01 (absent), READ-02 (the limit is exact), READ-03 (empty).
    ///
    /// # Errors
    ///
    /// * [`NotFound`](crate::ErrorKind::NotFound) when there is none.
    /// * [`TooLarge`](crate::ErrorKind::TooLarge) when it has more than `limit` bytes.
    /// * [`Damaged`](crate::ErrorKind::Damaged) when it is empty or no plain blob.
    /// * [The medium's](Storage#the-mediums-errors).
    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error>;

    /// The first bytes of the snapshot `rev`, `most` of them or all that there are, and how long it is: what listings show
    /// stands at the beginning.
    ///
    /// # Contract
    ///
    /// (J1) However long the snapshot is, no more than `most` bytes of memory are set aside. A medium that can only read
    /// the whole does that piece by piece, and forgets the rest.
    ///
    /// READ-07 (the beginning and the length).
    ///
    /// # Errors
    ///
    /// * [`NotFound`](crate::ErrorKind::NotFound) when there is none.
    /// * [`Damaged`](crate::ErrorKind::Damaged) when it is empty or no plain blob.
    /// * [The medium's](Storage#the-mediums-errors).
    fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error>;

    /// Removes the snapshot `rev`; that it does not exist is fine.
    ///
    /// # Contract
    ///
    /// (C1, L4) Checked and done as one step with respect to `set_current`: never the current one, also after a crash.
    /// Where `held` is given, the stack's lock must carry that token.
    ///
    /// REMOVE-01 (gone, and nothing else), REMOVE-02 (absent is fine), REMOVE-03 (the current one), REMOVE-04 (a damaged
    /// pointer), REMOVE-05 (racing `set_current`), GUARD-01, GUARD-03 and GUARD-05 (the token).
    ///
    /// # Errors
    ///
    /// * [`RevisionIsCurrent`](crate::ErrorKind::RevisionIsCurrent) when `current` names it.
    /// * [`Damaged`](crate::ErrorKind::Damaged) when it cannot be known what is current.
    /// * [`LockLost`](crate::ErrorKind::LockLost) when `held` is not the token of the lock.
    /// * [`DurabilityUnknown`](crate::ErrorKind::DurabilityUnknown) when it is gone and may come back in a power cut.
    /// * [`Unsupported`](crate::ErrorKind::Unsupported) without `held` on a medium that cannot do this unguarded.
    /// * [The medium's](Storage#the-mediums-errors), after which it is still there.
    fn remove(&self, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error>;

    /// The stored revisions in any order; none for a stack that does not exist.
    ///
    /// # Contract
    ///
    /// Each once (LIST-01). What is no valid name is left out. It opens no snapshot, so that a damaged one hides no
    /// other (LIST-02) and a list of thousands is quick.
    ///
    /// # Errors
    ///
    /// [The medium's](Storage#the-mediums-errors).
    fn list(&self) -> Result<Vec<Revision>, Error>;

    /// What `current` names, whether that exists or not; `None` when there is no pointer.
    ///
    /// # Contract
    ///
    /// (C1, C3) The value of one moment, never a mixture of two. A pointer that cannot be read is never taken for
    /// `None`: a tool that believes in a fresh start builds everything again.
    ///
    /// POINTER-01 (what it was moved to), POINTER-06 (old or new while it moves), POINTER-07 (damage is never none).
    ///
    /// # Errors
    ///
    /// * [`Damaged`](crate::ErrorKind::Damaged) when the pointer is anything but one valid name:
    ///   [`Revision::from_pointer`] tells.
    /// * [The medium's](Storage#the-mediums-errors).
    fn current(&self) -> Result<Option<Revision>, Error>;

    /// Makes `rev` current, if `current` is what is expected.
    ///
    /// # Contract
    ///
    /// (C1, C2, L4) One step: the existence of `rev`, the token in the lock, the comparison and the move. After a crash
    /// `current` is the old or the new revision, and what it names is readable. Durable on return.
    ///
    /// POINTER-02 (absent), POINTER-03 (compares), POINTER-04 (many movers), POINTER-05 (no lost update), POINTER-08 (the
    /// repair), GUARD-01, GUARD-02 and GUARD-05 (the token), GUARD-04 (racing `force_unlock`).
    ///
    /// # Errors
    ///
    /// * [`NotFound`](crate::ErrorKind::NotFound) when `rev` does not exist or is empty.
    /// * [`CurrentMoved`](crate::ErrorKind::CurrentMoved), with both revisions, when another one than the expected is
    ///   current.
    /// * [`LockLost`](crate::ErrorKind::LockLost) when `held` is not the token of the lock.
    /// * [`Damaged`](crate::ErrorKind::Damaged) when something is expected and the pointer is damaged.
    /// * [`DurabilityUnknown`](crate::ErrorKind::DurabilityUnknown) when `rev`, or the move, may not be durable.
    /// * [`Unsupported`](crate::ErrorKind::Unsupported) for an expectation without `held` on a medium that cannot compare.
    /// * [The medium's](Storage#the-mediums-errors), after which `current` is what it was.
    fn set_current(&self, expect: Expect<'_>, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error>;

    /// Takes the lock if it is free or its holder is provably dead; returns at once.
    ///
    /// # Contract
    ///
    /// (L1, L2) It waits for nobody: [`Store`](crate::Store) does, and looks again after at most
    /// [`poll`](TryLock::Busy::poll). The token of each holding is a [fresh one](LockToken::generate). A holder that may
    /// live is not replaced, however old its lock is. The promises of what it returns are those of [`Lock`](Lock#contract).
    ///
    /// LOCK-01 (free), LOCK-02 (busy), LOCK-05 (many at once), LOCK-06 (no overlap), LOCK-13 (a dead holder).
    ///
    /// # Errors
    ///
    /// [The medium's](Storage#the-mediums-errors), after which the caller does not hold it. That somebody else does is
    /// [`Busy`](TryLock::Busy).
    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error>;

    /// Who holds the lock, `None` when nobody does.
    ///
    /// # Contract
    ///
    /// It changes nothing: a dead holder's lock stays, and is reported as [`Dead`](crate::Liveness::Dead). What the medium
    /// cannot prove is [`Unknown`](crate::Liveness::Unknown).
    ///
    /// LOCK-01 (names the holder), LOCK-03 and LOCK-04 (nobody), LOCK-13 (a dead holder).
    ///
    /// # Errors
    ///
    /// [The medium's](Storage#the-mediums-errors).
    fn lock_status(&self) -> Result<Option<LockStatus>, Error>;

    /// Evicts the holder of the lock, dead or alive, and returns who that was; `None` when nobody held it.
    ///
    /// # Contract
    ///
    /// (L4) The comparison with `expected` and the eviction are one step, so that a holder who came meanwhile is spared.
    /// From then on the evicted token is [`LockLost`](crate::ErrorKind::LockLost) everywhere.
    ///
    /// LOCK-08 (the expected holder), LOCK-09 (another holder), LOCK-10 (nobody), LOCK-14 (who comes meanwhile).
    ///
    /// # Errors
    ///
    /// * [`Locked`](crate::ErrorKind::Locked) with the present holder when it is not the `expected` one.
    /// * [The medium's](Storage#the-mediums-errors), after which the holder still holds it.
    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error>;
}

/// The answer of [`Storage::create`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Created {
    /// It is stored.
    Created,
    /// The name is taken; nothing was changed.
    Exists,
}

/// The answer of [`Storage::read_prefix`].
#[derive(Clone, PartialEq, Eq)]
pub struct Prefix {
    /// The beginning of the snapshot.
    pub bytes: Vec<u8>,
    /// The length of the whole snapshot.
    pub stored_bytes: u64,
}

/// Without the bytes, which may not be encrypted.
impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefix")
            .field("stored_bytes", &self.stored_bytes)
            .finish_non_exhaustive()
    }
}

/// What the mover of `current` takes for granted: the precondition of a compare-and-set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect<'a> {
    /// Nothing: move it whatever it is, even damaged. This is the repair.
    Anything,
    /// That exactly this revision is current, or none.
    Exactly(Option<&'a Revision>),
}

/// The answer of [`Storage::try_lock`].
#[derive(Debug)]
#[must_use]
pub enum TryLock {
    /// The caller holds it.
    Held(Box<dyn Lock>),
    /// Somebody else does.
    Busy {
        /// Who, as far as is known.
        info: Box<LockInfo>,
        /// The longest pause between two looks that suits the medium, never nothing: milliseconds where a look is cheap. A
        /// store begins with shorter ones, and varies each by a quarter.
        poll: Duration,
    },
}

macro_rules! forward_storage {
    ($($pointer:ty),*) => {$(
        impl<S: Storage + ?Sized> Storage for $pointer {
            fn id(&self) -> &StackId {
                (**self).id()
            }
            fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error> {
                (**self).create(rev, sealed)
            }
            fn replace(&self, rev: &Revision, sealed: &[u8]) -> Result<(), Error> {
                (**self).replace(rev, sealed)
            }
            fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
                (**self).read(rev, limit)
            }
            fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
                (**self).read_prefix(rev, most)
            }
            fn remove(&self, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error> {
                (**self).remove(rev, held)
            }
            fn list(&self) -> Result<Vec<Revision>, Error> {
                (**self).list()
            }
            fn current(&self) -> Result<Option<Revision>, Error> {
                (**self).current()
            }
            fn set_current(&self, expect: Expect<'_>, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error> {
                (**self).set_current(expect, rev, held)
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

forward_storage!(Box<S>, Arc<S>);
