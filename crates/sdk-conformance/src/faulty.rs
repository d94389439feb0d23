use sdk_state::{
    Created, Error, Expect, Holder, LockInfo, LockStatus, LockToken, Prefix, Revision, StackId, Storage,
    TryLock,
};
use std::sync::Arc;

mod fault;
mod lock;
mod plan;

pub use fault::Fault;
use plan::Plan;

/// A storage of which chosen calls go wrong, and those of the locks that it gives, to test what stands above it.
///
/// Which call is a matter of counting, so that a test fails the same way each time; threads that share one `Faulty`
/// count together, and so do all locks.
///
/// ```
/// use sdk_conformance::{Fault, Faulty, Method};
/// use sdk_state::{ErrorKind, MemoryStorage, Revision, Storage as _};
///
/// # fn main() -> Result<(), sdk_state::Error> {
/// let storage = Faulty::new(MemoryStorage::new("network/prod".parse()?))
///     .with(Method::Create, 1, Fault::FailAfter(ErrorKind::Unavailable));
/// let rev: Revision = "2026-07-10T12:00:00Z".parse()?;
/// // The acknowledgement was lost, and the snapshot is there.
/// assert_eq!(storage.create(&rev, b"sealed").unwrap_err().kind(), &ErrorKind::Unavailable);
/// assert_eq!(storage.list()?, [rev]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Faulty<S> {
    inner: S,
    plan: Arc<Plan>,
}

/// A method of [`Storage`] or [`Lock`](sdk_state::Lock) that can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Method {
    /// [`Storage::create`].
    Create,
    /// [`Storage::replace`].
    Replace,
    /// [`Storage::read`].
    Read,
    /// [`Storage::read_prefix`].
    ReadPrefix,
    /// [`Storage::remove`].
    Remove,
    /// [`Storage::list`].
    List,
    /// [`Storage::current`].
    Current,
    /// [`Storage::set_current`].
    SetCurrent,
    /// [`Storage::try_lock`].
    TryLock,
    /// [`Storage::lock_status`].
    LockStatus,
    /// [`Storage::force_unlock`].
    ForceUnlock,
    /// [`Lock::token`](sdk_state::Lock::token).
    Token,
    /// [`Lock::check`](sdk_state::Lock::check).
    Check,
    /// [`Lock::share_with_children`](sdk_state::Lock::share_with_children).
    ShareWithChildren,
    /// [`Lock::unlock`](sdk_state::Lock::unlock).
    Unlock,
}

impl<S: Storage> Faulty<S> {
    /// A storage of which nothing goes wrong yet.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            plan: Arc::default(),
        }
    }

    /// Lets the `nth` call of `method`, counted from 1, go wrong, in the way that was named last for it.
    ///
    /// # Panics
    ///
    /// When `nth` is 0, since no call has that number, and for a [`Stale`](Fault::Stale) answer of another method than
    /// [`List`](Method::List).
    #[must_use]
    pub fn with(self, method: Method, nth: u64, fault: Fault) -> Self {
        assert!(nth > 0, "calls are counted from 1");
        let is_stale = matches!(fault, Fault::Stale);
        assert!(!is_stale || method == Method::List, "only a list is stale");
        self.plan.add(method, nth, fault);
        self
    }

    /// How often `method` was called.
    pub fn calls(&self, method: Method) -> u64 {
        self.plan.calls(method)
    }

    /// The storage underneath, of which nothing goes wrong.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S: Storage> Storage for Faulty<S> {
    fn id(&self) -> &StackId {
        self.inner.id()
    }

    fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error> {
        self.plan.call(Method::Create, || self.inner.create(rev, sealed))
    }

    fn replace(&self, rev: &Revision, sealed: &[u8]) -> Result<(), Error> {
        self.plan
            .call(Method::Replace, || self.inner.replace(rev, sealed))
    }

    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
        self.plan.call(Method::Read, || self.inner.read(rev, limit))
    }

    fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
        self.plan
            .call(Method::ReadPrefix, || self.inner.read_prefix(rev, most))
    }

    fn remove(&self, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error> {
        self.plan.call(Method::Remove, || self.inner.remove(rev, held))
    }

    fn list(&self) -> Result<Vec<Revision>, Error> {
        self.plan.list(|| self.inner.list())
    }

    fn current(&self) -> Result<Option<Revision>, Error> {
        self.plan.call(Method::Current, || self.inner.current())
    }

    fn set_current(&self, expect: Expect<'_>, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error> {
        self.plan
            .call(Method::SetCurrent, || self.inner.set_current(expect, rev, held))
    }

    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error> {
        let answer = self.plan.call(Method::TryLock, || self.inner.try_lock(holder))?;
        Ok(match answer {
            TryLock::Held(lock) => TryLock::Held(lock::faulty(lock, &self.plan)),
            TryLock::Busy { .. } => answer,
        })
    }

    fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
        self.plan.call(Method::LockStatus, || self.inner.lock_status())
    }

    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        self.plan
            .call(Method::ForceUnlock, || self.inner.force_unlock(expected))
    }
}
