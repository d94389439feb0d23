use crate::{Error, Holder, Lock, LockInfo, LockStatus, LockToken, Revision, StackId};
use std::sync::Arc;
use std::time::Duration;

/// What a *backend author* writes: one stack's place on some medium, over sealed bytes.
///
/// It never sees plaintext and needs no cipher; a [`Store`](crate::Store) over it is a whole backend. `Exists` and
/// `Busy` are answers, not errors. All methods take `&self`: a storage is shared by threads. `docs/writing-a-backend.md`
/// writes one.
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
/// The ids, here and at the methods, are those of the rules in `sdk-conformance`, which check these sentences.
pub trait Storage: Send + Sync {
    /// Whose place this is: the stack that it was opened for (STACKS-01).
    fn id(&self) -> &StackId;

    /// Stores `sealed` under `rev`, if that name is free.
    ///
    /// # Contract
    ///
    /// (W1, W2, W3) The snapshot appears whole or not at all, replaces nothing, and is durable on return. Of any number
    /// of simultaneous calls for one revision exactly one is [`Created`](Created::Created). `rev`
    /// [is writable](Revision::is_writable) and `sealed` is not empty. `current` does not move.
    ///
    /// CREATE-01 (kept to the byte), CREATE-02 (a taken name), CREATE-03 (many creators), CREATE-04 (whole or not at all),
    /// CREATE-05 (16 MiB), CREATE-06 (names of one moment), CREATE-07 (no moment), CREATE-08 (`current`).
    ///
    /// # Errors
    ///
    /// [`DurabilityUnknown`](crate::ErrorKind::DurabilityUnknown) when it is stored but perhaps not durably: then
    /// `set_current` to it through this storage is refused with the same kind. After every other error it is not stored.
    /// [`InvalidName`](crate::ErrorKind::InvalidName) for a `rev` that is not writable.
    fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error>;

    /// Replaces the snapshot `rev` by `sealed` as a whole; for re-keying alone, by the holder of the lock.
    ///
    /// # Contract
    ///
    /// REPLACE-01 (as a whole), REPLACE-02 (never creates).
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is none,
    /// [`DurabilityUnknown`](crate::ErrorKind::DurabilityUnknown) as in `create`.
    fn replace(&self, rev: &Revision, sealed: &[u8]) -> Result<(), Error>;

    /// The bytes of the snapshot `rev`.
    ///
    /// # Contract
    ///
    /// READ-01 (absent), READ-02 (the limit is exact), READ-03 (empty).
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound), [`TooLarge`](crate::ErrorKind::TooLarge) when it has more than `limit`
    /// bytes (found out before they are read), [`Damaged`](crate::ErrorKind::Damaged) when it is empty or no plain blob.
    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error>;

    /// Removes the snapshot `rev`; that it does not exist is fine.
    ///
    /// # Contract
    ///
    /// (C1) Checked and done as one step with respect to `set_current`: never the current one, also after a crash.
    /// Where `held` is given, the stack's lock must carry that token.
    ///
    /// REMOVE-01 (gone, and nothing else), REMOVE-02 (absent is fine), REMOVE-03 (the current one), REMOVE-04 (a damaged
    /// pointer), REMOVE-05 (racing `set_current`), GUARD-01 and GUARD-03 (the token).
    ///
    /// # Errors
    ///
    /// [`RevisionIsCurrent`](crate::ErrorKind::RevisionIsCurrent), [`Damaged`](crate::ErrorKind::Damaged) when it
    /// cannot be known what is current, [`LockLost`](crate::ErrorKind::LockLost),
    /// [`DurabilityUnknown`](crate::ErrorKind::DurabilityUnknown) when it is gone and may come back in a power cut,
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without `held` on a medium that cannot do this unguarded.
    fn remove(&self, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error>;

    /// The stored revisions in any order. What is no valid name is left out. Opens no snapshot.
    ///
    /// # Contract
    ///
    /// LIST-01 (each once).
    ///
    /// # Errors
    ///
    /// The medium's.
    fn list(&self) -> Result<Vec<Revision>, Error>;

    /// What `current` names, whether that exists or not; `None` when there is no pointer.
    ///
    /// # Contract
    ///
    /// POINTER-01 (what it was moved to), POINTER-06 (old or new while it moves), POINTER-07 (damage is never none).
    ///
    /// # Errors
    ///
    /// [`Damaged`](crate::ErrorKind::Damaged) when the pointer is anything but one valid name (C3).
    fn current(&self) -> Result<Option<Revision>, Error>;

    /// Makes `rev` current, if `current` is what is expected.
    ///
    /// # Contract
    ///
    /// (C1, C2, L4) One step: the existence of `rev`, the token in the lock, the comparison and the move. After a crash
    /// `current` is the old or the new revision, and what it names is readable.
    ///
    /// POINTER-02 (absent), POINTER-03 (compares), POINTER-04 (many movers), POINTER-05 (no lost update), POINTER-08 (the
    /// repair), GUARD-01 and GUARD-02 (the token).
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) when `rev` does not exist,
    /// [`CurrentMoved`](crate::ErrorKind::CurrentMoved), [`LockLost`](crate::ErrorKind::LockLost) when `held` is not
    /// the token of the lock, [`Damaged`](crate::ErrorKind::Damaged) when something is expected and the pointer is
    /// damaged, [`DurabilityUnknown`](crate::ErrorKind::DurabilityUnknown) when `rev`, or the move, may not be durable,
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for an expectation without `held` on a medium that cannot compare.
    fn set_current(&self, expect: Expect<'_>, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error>;

    /// Takes the lock if it is free or its holder is provably dead; returns at once.
    ///
    /// # Contract
    ///
    /// LOCK-01 (free), LOCK-02 (busy), LOCK-05 (many at once), LOCK-06 (no overlap), LOCK-13 (a dead holder). The promises
    /// of what it returns are those of [`Lock`](Lock#contract).
    ///
    /// # Errors
    ///
    /// The medium's. That somebody else holds it is [`Busy`](TryLock::Busy).
    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error>;

    /// Who holds the lock, `None` when nobody does.
    ///
    /// # Contract
    ///
    /// LOCK-01 (names the holder), LOCK-03 and LOCK-04 (nobody), LOCK-13 (a dead holder).
    ///
    /// # Errors
    ///
    /// The medium's.
    fn lock_status(&self) -> Result<Option<LockStatus>, Error>;

    /// Evicts the holder of the lock, dead or alive, and returns who that was; `None` when nobody held it.
    ///
    /// # Contract
    ///
    /// LOCK-08 (the expected holder), LOCK-09 (another holder), LOCK-10 (nobody).
    ///
    /// # Errors
    ///
    /// [`Locked`](crate::ErrorKind::Locked) with the present holder when it is not the `expected` one.
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

/// What the mover of `current` takes for granted.
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
        /// Who.
        info: Box<LockInfo>,
        /// The longest pause between two looks that suits the medium.
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
