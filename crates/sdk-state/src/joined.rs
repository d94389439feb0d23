use crate::{Backend, Error, ErrorKind, Liveness, Lock, LockInfo, LockToken};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A parent's lock, used by one of its children. Unlocking or dropping it does not release the lock.
pub(crate) struct JoinedLock {
    backend: Arc<dyn Backend>,
    token: LockToken,
    info: LockInfo,
    is_lost: AtomicBool,
}

impl JoinedLock {
    pub(crate) fn new(backend: Arc<dyn Backend>, token: LockToken) -> Result<Self, Error> {
        Ok(Self {
            info: joined(&*backend, &token)?,
            backend,
            token,
            is_lost: AtomicBool::new(false),
        })
    }
}

/// The holder of the lock with this token, unless the holder is dead.
fn joined(backend: &dyn Backend, token: &LockToken) -> Result<LockInfo, Error> {
    match backend.lock_status()? {
        Some(status) if status.info.token.as_ref() == Some(token) && status.liveness != Liveness::Dead => {
            Ok(status.info)
        }
        _ => Err(Error::new(
            ErrorKind::LockLost,
            format!(
                "the lock of {} that a parent process shared is no longer held",
                backend.id()
            ),
        )),
    }
}

impl Lock for JoinedLock {
    fn info(&self) -> &LockInfo {
        &self.info
    }

    fn token(&self) -> Result<&LockToken, Error> {
        Ok(&self.token)
    }

    fn took_over(&self) -> Option<&LockInfo> {
        None
    }

    fn check(&self) -> Result<(), Error> {
        let held = joined(&*self.backend, &self.token).map(drop);
        if held.as_ref().is_err_and(Error::is_lock_lost) {
            self.is_lost.store(true, Ordering::Relaxed);
        }
        held
    }

    fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }

    fn share_with_children(&self) -> Result<(), Error> {
        // This process inherited the handle from its parent, and its children inherit it too.
        Ok(())
    }

    fn unlock(self: Box<Self>) -> Result<(), Error> {
        Ok(())
    }
}

impl fmt::Debug for JoinedLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinedLock")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}
