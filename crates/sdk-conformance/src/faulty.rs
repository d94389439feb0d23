use sdk_state::{
    Created, Error, ErrorKind, Expect, Holder, LockInfo, LockStatus, LockToken, Prefix, Revision, StackId,
    Storage, TryLock, Wait,
};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

mod fault;

pub use fault::Fault;

/// A storage of which chosen calls go wrong, to test what stands above it.
///
/// Which call is a matter of counting, so that a test fails the same way each time; threads that share one `Faulty`
/// count together.
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
    faults: BTreeMap<(Method, u64), Fault>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    calls: BTreeMap<Method, u64>,
    /// The last list that was not stale.
    listed: Vec<Revision>,
}

/// A method of [`Storage`] that can go wrong.
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
}

impl<S: Storage> Faulty<S> {
    /// A storage of which nothing goes wrong yet.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            faults: BTreeMap::new(),
            seen: Mutex::default(),
        }
    }

    /// Lets the `nth` call of `method`, counted from 1, go wrong.
    #[must_use]
    pub fn with(mut self, method: Method, nth: u64, fault: Fault) -> Self {
        self.faults.insert((method, nth), fault);
        self
    }

    /// How often `method` was called.
    pub fn calls(&self, method: Method) -> u64 {
        self.seen().calls.get(&method).copied().unwrap_or_default()
    }

    /// The storage underneath, of which nothing goes wrong.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn call<T>(&self, method: Method, run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        Self::run(method, self.next(method), run)
    }

    fn run<T>(
        method: Method,
        fault: Option<&Fault>,
        run: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        match fault {
            Some(Fault::FailBefore(kind)) => Err(injected(method, kind.clone())),
            Some(Fault::FailAfter(kind)) => {
                // A lock must not be given back by being dropped; the rest is a few bytes of a test.
                std::mem::forget(run());
                Err(injected(method, kind.clone()))
            }
            Some(Fault::Delay(delay)) => {
                Wait::forever().pause(*delay);
                run()
            }
            Some(Fault::First(first)) => {
                first();
                run()
            }
            Some(Fault::Stale) | None => run(),
        }
    }

    /// Counts a call, and tells its fault.
    fn next(&self, method: Method) -> Option<&Fault> {
        let mut seen = self.seen();
        let calls = seen.calls.entry(method).or_default();
        *calls += 1;
        self.faults.get(&(method, *calls))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Storage> Storage for Faulty<S> {
    fn id(&self) -> &StackId {
        self.inner.id()
    }

    fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error> {
        self.call(Method::Create, || self.inner.create(rev, sealed))
    }

    fn replace(&self, rev: &Revision, sealed: &[u8]) -> Result<(), Error> {
        self.call(Method::Replace, || self.inner.replace(rev, sealed))
    }

    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
        self.call(Method::Read, || self.inner.read(rev, limit))
    }

    fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
        self.call(Method::ReadPrefix, || self.inner.read_prefix(rev, most))
    }

    fn remove(&self, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error> {
        self.call(Method::Remove, || self.inner.remove(rev, held))
    }

    fn list(&self) -> Result<Vec<Revision>, Error> {
        let fault = self.next(Method::List);
        if matches!(fault, Some(Fault::Stale)) {
            return Ok(self.seen().listed.clone());
        }
        let listed = Self::run(Method::List, fault, || self.inner.list())?;
        self.seen().listed.clone_from(&listed);
        Ok(listed)
    }

    fn current(&self) -> Result<Option<Revision>, Error> {
        self.call(Method::Current, || self.inner.current())
    }

    fn set_current(&self, expect: Expect<'_>, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error> {
        self.call(Method::SetCurrent, || self.inner.set_current(expect, rev, held))
    }

    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error> {
        self.call(Method::TryLock, || self.inner.try_lock(holder))
    }

    fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
        self.call(Method::LockStatus, || self.inner.lock_status())
    }

    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        self.call(Method::ForceUnlock, || self.inner.force_unlock(expected))
    }
}

fn injected(method: Method, kind: ErrorKind) -> Error {
    Error::new(kind, format!("a fault was injected into {method:?}"))
}
