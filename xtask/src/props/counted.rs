use sdk_state::{
    Created, Error, Expect, Holder, LockInfo, LockStatus, LockToken, Revision, StackId, Storage, TryLock,
};
use std::sync::atomic::{AtomicU32, Ordering};

/// A storage that counts how often a name is tried.
pub(super) struct Counted<S> {
    inner: S,
    tries: AtomicU32,
}

impl<S> Counted<S> {
    pub(super) fn new(inner: S) -> Self {
        Self {
            inner,
            tries: AtomicU32::new(0),
        }
    }

    pub(super) fn tries(&self) -> u32 {
        self.tries.load(Ordering::SeqCst)
    }
}

impl<S: Storage> Storage for Counted<S> {
    fn id(&self) -> &StackId {
        self.inner.id()
    }

    fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error> {
        self.tries.fetch_add(1, Ordering::SeqCst);
        self.inner.create(rev, sealed)
    }

    fn replace(&self, rev: &Revision, sealed: &[u8]) -> Result<(), Error> {
        self.inner.replace(rev, sealed)
    }

    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
        self.inner.read(rev, limit)
    }

    fn remove(&self, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error> {
        self.inner.remove(rev, held)
    }

    fn list(&self) -> Result<Vec<Revision>, Error> {
        self.inner.list()
    }

    fn current(&self) -> Result<Option<Revision>, Error> {
        self.inner.current()
    }

    fn set_current(&self, expect: Expect<'_>, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error> {
        self.inner.set_current(expect, rev, held)
    }

    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error> {
        self.inner.try_lock(holder)
    }

    fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
        self.inner.lock_status()
    }

    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        self.inner.force_unlock(expected)
    }
}
