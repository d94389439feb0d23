use super::{Method, Plan, call};
use sdk_state::{Error, Lock, LockInfo, LockToken};
use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex};

/// The lock of a faulty storage.
#[derive(Debug)]
struct FaultyLock {
    inner: Box<dyn Lock>,
    plan: Arc<Mutex<Plan>>,
}

pub(super) fn faulty(inner: Box<dyn Lock>, plan: &Arc<Mutex<Plan>>) -> Box<dyn Lock> {
    let plan = Arc::clone(plan);
    Box::new(FaultyLock { inner, plan })
}

impl Lock for FaultyLock {
    fn info(&self) -> &LockInfo {
        self.inner.info()
    }

    fn token(&self) -> Result<&LockToken, Error> {
        call(&self.plan, Method::Token, || self.inner.token())
    }

    fn took_over(&self) -> Option<&LockInfo> {
        self.inner.took_over()
    }

    fn check(&self) -> Result<(), Error> {
        call(&self.plan, Method::Check, || self.inner.check())
    }

    fn share_with_children(&self) -> Result<(), Error> {
        call(&self.plan, Method::ShareWithChildren, || {
            self.inner.share_with_children()
        })
    }

    fn unlock(self: Box<Self>) -> Result<(), Error> {
        let Self { inner, plan } = *self;
        // Where it fails before its effect the lock stays held: it must not be given back by being dropped.
        let inner = ManuallyDrop::new(inner);
        call(&plan, Method::Unlock, || ManuallyDrop::into_inner(inner).unlock())
    }
}
