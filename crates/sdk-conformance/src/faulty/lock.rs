use super::Method;
use super::plan::Plan;
use sdk_state::{Error, Lock, LockInfo, LockToken};
use std::mem::ManuallyDrop;
use std::sync::Arc;

/// The lock of a faulty storage.
#[derive(Debug)]
struct FaultyLock {
    inner: Box<dyn Lock>,
    plan: Arc<Plan>,
}

pub(super) fn faulty(inner: Box<dyn Lock>, plan: &Arc<Plan>) -> Box<dyn Lock> {
    let plan = Arc::clone(plan);
    Box::new(FaultyLock { inner, plan })
}

impl Lock for FaultyLock {
    fn info(&self) -> &LockInfo {
        self.inner.info()
    }

    fn token(&self) -> Result<&LockToken, Error> {
        self.plan.call(Method::Token, || self.inner.token())
    }

    fn took_over(&self) -> Option<&LockInfo> {
        self.inner.took_over()
    }

    fn check(&self) -> Result<(), Error> {
        self.plan.call(Method::Check, || self.inner.check())
    }

    fn share_with_children(&self) -> Result<(), Error> {
        self.plan
            .call(Method::ShareWithChildren, || self.inner.share_with_children())
    }

    fn unlock(self: Box<Self>) -> Result<(), Error> {
        let Self { inner, plan } = *self;
        // Where it fails before its effect the lock stays held: it must not be given back by being dropped.
        let inner = ManuallyDrop::new(inner);
        plan.call(Method::Unlock, || ManuallyDrop::into_inner(inner).unlock())
    }
}
