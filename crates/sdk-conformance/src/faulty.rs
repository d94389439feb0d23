use sdk_state::{
    Appended, Backend, Created, Error, ErrorKind, Expect, Holder, Irregularity, Lock, LockInfo, LockStatus,
    LockToken, Pointer, Prefix, Revision, StackId, TryLock, Wait,
};
use std::collections::BTreeMap;
use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A backend in which chosen calls fail, also those of its locks, to test the code that uses it.
///
/// A call is chosen by counting, so a test fails the same way each time. Threads that share one `Faulty` count together, and
/// so do all of its locks.
///
/// ```
/// use sdk_conformance::{Fault, Faulty, Method};
/// use sdk_state::{Backend as _, ErrorKind, MemoryBackend, Revision};
///
/// # fn main() -> Result<(), sdk_state::Error> {
/// let backend = Faulty::new(MemoryBackend::new("network/prod".parse()?))
///     .with(Method::Create, 1, Fault::FailAfter(ErrorKind::OutcomeUnknown));
/// let rev: Revision = "2026-07-10T12:00:00Z".parse()?;
/// // The answer was lost, and the snapshot is there.
/// assert!(backend.create(&rev, b"sealed").is_err_and(|error| error.is_outcome_unknown()));
/// assert_eq!(backend.list()?, [rev]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Faulty<B> {
    inner: B,
    plan: Arc<Plan>,
}

/// A method of [`Backend`] or [`Lock`] that can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Method {
    /// [`Backend::create`].
    Create,
    /// [`Backend::replace`].
    Replace,
    /// [`Backend::read`].
    Read,
    /// [`Backend::read_prefix`].
    ReadPrefix,
    /// [`Backend::remove`].
    Remove,
    /// [`Backend::list`].
    List,
    /// [`Backend::current`].
    Current,
    /// [`Backend::set_current`].
    SetCurrent,
    /// [`Backend::append`].
    Append,
    /// [`Backend::read_journal`].
    ReadJournal,
    /// [`Backend::try_lock`].
    TryLock,
    /// [`Backend::lock_status`].
    LockStatus,
    /// [`Backend::force_unlock`].
    ForceUnlock,
    /// [`Lock::token`].
    Token,
    /// [`Lock::check`].
    Check,
    /// [`Lock::share_with_children`].
    ShareWithChildren,
    /// [`Lock::unlock`].
    Unlock,
}

/// How a call fails.
#[non_exhaustive]
pub enum Fault {
    /// The call fails and has no effect. A lock that is not released because of this stays held.
    FailBefore(ErrorKind),
    /// The call has its effect and fails nevertheless: the answer is lost. A lock that was taken this way stays held, and one
    /// that was released this way is free.
    FailAfter(ErrorKind),
    /// The call takes this much longer, and succeeds.
    Delay(Duration),
    /// This function runs first, then the call goes on as usual: a test makes something else happen just before.
    First(Box<dyn Fn() + Send + Sync>),
    /// A list returns the same as the list before, or nothing if there was none.
    Stale,
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailBefore(kind) => f.debug_tuple("FailBefore").field(kind).finish(),
            Self::FailAfter(kind) => f.debug_tuple("FailAfter").field(kind).finish(),
            Self::Delay(delay) => f.debug_tuple("Delay").field(delay).finish(),
            Self::First(_) => f.write_str("First(..)"),
            Self::Stale => f.write_str("Stale"),
        }
    }
}

impl<B: Backend> Faulty<B> {
    /// Makes a backend without faults.
    pub fn new(inner: B) -> Self {
        Self {
            inner,
            plan: Arc::default(),
        }
    }

    /// Makes the `nth` call of `method`, counted from 1, meet `fault`; a later fault for the same call replaces an earlier
    /// one.
    ///
    /// # Panics
    ///
    /// When `nth` is 0, and for a [`Stale`](Fault::Stale) answer of another method than [`List`](Method::List).
    #[must_use]
    pub fn with(self, method: Method, nth: u64, fault: Fault) -> Self {
        assert!(nth > 0, "calls are counted from 1");
        let is_stale = matches!(fault, Fault::Stale);
        assert!(!is_stale || method == Method::List, "only a list is stale");
        self.plan.state().faults.insert((method, nth), Arc::new(fault));
        self
    }

    /// Returns how often `method` was called.
    pub fn calls(&self, method: Method) -> u64 {
        self.plan.state().calls.get(&method).copied().unwrap_or_default()
    }

    /// Returns the backend underneath, which has no faults.
    pub fn inner(&self) -> &B {
        &self.inner
    }
}

impl<B: Backend> Backend for Faulty<B> {
    fn id(&self) -> &StackId {
        self.inner.id()
    }

    fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error> {
        self.plan
            .call(Method::Create, Some(rev), || self.inner.create(rev, sealed))
    }

    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
        self.plan
            .call(Method::Read, Some(rev), || self.inner.read(rev, limit))
    }

    fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
        let read = || self.inner.read_prefix(rev, most);
        self.plan.call(Method::ReadPrefix, Some(rev), read)
    }

    fn replace(&self, rev: &Revision, sealed: &[u8], token: &LockToken) -> Result<(), Error> {
        let replace = || self.inner.replace(rev, sealed, token);
        self.plan.call(Method::Replace, Some(rev), replace)
    }

    fn remove(&self, rev: &Revision, token: Option<&LockToken>) -> Result<(), Error> {
        self.plan
            .call(Method::Remove, Some(rev), || self.inner.remove(rev, token))
    }

    fn list(&self) -> Result<Vec<Revision>, Error> {
        let fault = self.plan.next(Method::List);
        if matches!(fault.as_deref(), Some(Fault::Stale)) {
            return Ok(self.plan.state().listed.clone());
        }
        let listed = go(Method::List, fault.as_deref(), None, || self.inner.list())?;
        self.plan.state().listed.clone_from(&listed);
        Ok(listed)
    }

    fn inspect(&self) -> Result<Vec<Irregularity>, Error> {
        self.inner.inspect()
    }

    fn current(&self) -> Result<Option<Pointer>, Error> {
        self.plan.call(Method::Current, None, || self.inner.current())
    }

    fn set_current(&self, expect: Expect<'_>, rev: &Revision, token: &LockToken) -> Result<Pointer, Error> {
        let set = || self.inner.set_current(expect, rev, token);
        self.plan.call(Method::SetCurrent, Some(rev), set)
    }

    fn append(
        &self,
        base: &Pointer,
        index: u64,
        record: &[u8],
        token: &LockToken,
    ) -> Result<Appended, Error> {
        let append = || self.inner.append(base, index, record, token);
        self.plan.call(Method::Append, None, append)
    }

    fn read_journal(&self, base: &Pointer, from: u64, most: usize) -> Result<Vec<Vec<u8>>, Error> {
        let read = || self.inner.read_journal(base, from, most);
        self.plan.call(Method::ReadJournal, None, read)
    }

    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error> {
        let answer = self
            .plan
            .call(Method::TryLock, None, || self.inner.try_lock(holder))?;
        Ok(match answer {
            TryLock::Held(inner) => TryLock::Held(Box::new(FaultyLock {
                inner,
                plan: Arc::clone(&self.plan),
            })),
            TryLock::Busy { .. } => answer,
        })
    }

    fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
        self.plan
            .call(Method::LockStatus, None, || self.inner.lock_status())
    }

    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        let force = || self.inner.force_unlock(expected);
        self.plan.call(Method::ForceUnlock, None, force)
    }
}

/// The lock of a faulty backend.
#[derive(Debug)]
struct FaultyLock {
    inner: Box<dyn Lock>,
    plan: Arc<Plan>,
}

impl Lock for FaultyLock {
    fn info(&self) -> &LockInfo {
        self.inner.info()
    }

    fn token(&self) -> Result<&LockToken, Error> {
        self.plan.call(Method::Token, None, || self.inner.token())
    }

    fn took_over(&self) -> Option<&LockInfo> {
        self.inner.took_over()
    }

    fn check(&self) -> Result<(), Error> {
        self.plan.call(Method::Check, None, || self.inner.check())
    }

    fn is_lost(&self) -> bool {
        self.inner.is_lost()
    }

    fn share_with_children(&self) -> Result<(), Error> {
        let share = || self.inner.share_with_children();
        self.plan.call(Method::ShareWithChildren, None, share)
    }

    fn unlock(self: Box<Self>) -> Result<(), Error> {
        let Self { inner, plan } = *self;
        // Where it fails before its effect the lock stays held: it must not be given back by being dropped.
        let inner = ManuallyDrop::new(inner);
        plan.call(Method::Unlock, None, || ManuallyDrop::into_inner(inner).unlock())
    }
}

/// The planned faults of a backend and all of its locks, and the calls counted so far.
#[derive(Debug, Default)]
struct Plan(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    faults: BTreeMap<(Method, u64), Arc<Fault>>,
    calls: BTreeMap<Method, u64>,
    /// The last list that was not stale.
    listed: Vec<Revision>,
}

impl Plan {
    /// Counts a call, and runs it with its planned fault, if any.
    fn call<T>(
        &self,
        method: Method,
        rev: Option<&Revision>,
        run: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        go(method, self.next(method).as_deref(), rev, run)
    }

    /// Counts a call, and returns its fault.
    fn next(&self, method: Method) -> Option<Arc<Fault>> {
        let mut state = self.state();
        let calls = state.calls.entry(method).or_default();
        *calls += 1;
        let nth = *calls;
        state.faults.get(&(method, nth)).cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn go<T>(
    method: Method,
    fault: Option<&Fault>,
    rev: Option<&Revision>,
    run: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let injected = |kind: &ErrorKind| {
        let error = Error::new(kind.clone(), format!("a fault was injected into {method:?}"));
        rev.into_iter().fold(error, Error::at_revision)
    };
    match fault {
        Some(Fault::FailBefore(kind)) => Err(injected(kind)),
        Some(Fault::FailAfter(kind)) => {
            // A lock must not be given back by being dropped; the rest is a few bytes of a test.
            let _ = ManuallyDrop::new(run());
            Err(injected(kind))
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
