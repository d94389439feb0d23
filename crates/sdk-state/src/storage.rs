use crate::{Error, Holder, Lock, LockInfo, LockStatus, LockToken, Revision, StackId};
use std::sync::Arc;
use std::time::Duration;

/// What a *backend author* writes: one stack's place on some medium, over sealed bytes.
///
/// It never sees plaintext and needs no cipher; a [`Store`](crate::Store) over it is a whole backend. `Exists` and
/// `Busy` are answers, not errors. All methods take `&self`: a storage is shared by threads.
///
/// # Contract
///
/// Opening a storage and every reading method create nothing and change nothing. No error changes what is stored,
/// temporary litter apart. What a method reports as done is durable.
pub trait Storage: Send + Sync {
    /// Whose place this is.
    fn id(&self) -> &StackId;

    /// Stores `sealed` under `rev`, if that name is free.
    ///
    /// # Contract
    ///
    /// (W1, W2, W3) The snapshot appears whole or not at all, replaces nothing, and is durable on return. Of any number
    /// of simultaneous calls for one revision exactly one is [`Created`](Created::Created). `rev`
    /// [is writable](Revision::is_writable) and `sealed` is not empty.
    ///
    /// # Errors
    ///
    /// [`DurabilityUnknown`](crate::ErrorKind::DurabilityUnknown) when it is stored but perhaps not durably: then
    /// `set_current` to it through this storage is refused with the same kind. After every other error it is not stored.
    fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error>;

    /// Replaces the snapshot `rev` by `sealed` as a whole; for re-keying alone, by the holder of the lock.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is none,
    /// [`DurabilityUnknown`](crate::ErrorKind::DurabilityUnknown) as in `create`.
    fn replace(&self, rev: &Revision, sealed: &[u8]) -> Result<(), Error>;

    /// The bytes of the snapshot `rev`.
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
    /// # Errors
    ///
    /// [`RevisionIsCurrent`](crate::ErrorKind::RevisionIsCurrent), [`Damaged`](crate::ErrorKind::Damaged) when it
    /// cannot be known what is current, [`LockLost`](crate::ErrorKind::LockLost),
    /// [`DurabilityUnknown`](crate::ErrorKind::DurabilityUnknown) when it is gone and may come back in a power cut,
    /// [`Unsupported`](crate::ErrorKind::Unsupported) without `held` on a medium that cannot do this unguarded.
    fn remove(&self, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error>;

    /// The stored revisions in any order. What is no valid name is left out. Opens no snapshot.
    ///
    /// # Errors
    ///
    /// The medium's.
    fn list(&self) -> Result<Vec<Revision>, Error>;

    /// What `current` names, whether that exists or not; `None` when there is no pointer.
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
    /// # Errors
    ///
    /// The medium's. That somebody else holds it is [`Busy`](TryLock::Busy).
    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error>;

    /// Who holds the lock, `None` when nobody does.
    ///
    /// # Errors
    ///
    /// The medium's.
    fn lock_status(&self) -> Result<Option<LockStatus>, Error>;

    /// Evicts the holder of the lock, dead or alive, and returns who that was; `None` when nobody held it.
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
