use super::{Fault, Method};
use sdk_state::{Error, ErrorKind, Revision, Wait};
use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is to go wrong, and how far that has come: of a storage and all of its locks.
#[derive(Debug, Default)]
pub(super) struct Plan(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    faults: BTreeMap<(Method, u64), Arc<Fault>>,
    calls: BTreeMap<Method, u64>,
    /// The last list that was not stale.
    listed: Vec<Revision>,
}

impl Plan {
    pub(super) fn add(&self, method: Method, nth: u64, fault: Fault) {
        self.state().faults.insert((method, nth), Arc::new(fault));
    }

    pub(super) fn calls(&self, method: Method) -> u64 {
        self.state().calls.get(&method).copied().unwrap_or_default()
    }

    /// Counts a call, and lets it go the way that is planned.
    pub(super) fn call<T>(&self, method: Method, run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        go(method, self.next(method).as_deref(), run)
    }

    /// The same for a list, which may be stale.
    pub(super) fn list(
        &self,
        run: impl FnOnce() -> Result<Vec<Revision>, Error>,
    ) -> Result<Vec<Revision>, Error> {
        let fault = self.next(Method::List);
        if matches!(fault.as_deref(), Some(Fault::Stale)) {
            return Ok(self.state().listed.clone());
        }
        let listed = go(Method::List, fault.as_deref(), run)?;
        self.state().listed.clone_from(&listed);
        Ok(listed)
    }

    /// Counts a call, and tells its fault.
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

fn go<T>(method: Method, fault: Option<&Fault>, run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    match fault {
        Some(Fault::FailBefore(kind)) => Err(injected(method, kind.clone())),
        Some(Fault::FailAfter(kind)) => {
            // A lock must not be given back by being dropped; the rest is a few bytes of a test.
            let _ = ManuallyDrop::new(run());
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

fn injected(method: Method, kind: ErrorKind) -> Error {
    Error::new(kind, format!("a fault was injected into {method:?}"))
}
