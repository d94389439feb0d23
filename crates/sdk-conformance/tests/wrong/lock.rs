//! The lock of a wrong storage.

use crate::fault::Fault;
use crate::place::Place;
use sdk_state::{Error, ErrorKind, Lock, LockInfo, LockToken};
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct WrongLock {
    pub(crate) place: Arc<Place>,
    pub(crate) key: String,
    pub(crate) token: LockToken,
    pub(crate) info: LockInfo,
    pub(crate) previous: Option<LockInfo>,
}

impl WrongLock {
    fn is_held(&self) -> bool {
        let gate = self.place.enter();
        let lock = gate.get(&self.key).and_then(|stack| stack.lock.as_ref());
        lock.is_some_and(|lock| lock.info.token.as_ref() == Some(&self.token))
    }

    fn free(&self) {
        let mut gate = self.place.enter();
        let lock = gate.get_mut(&self.key).map(|stack| &mut stack.lock);
        if let Some(lock) = lock {
            lock.take_if(|lock| {
                self.place.has(Fault::UnlocksAnyones) || lock.info.token.as_ref() == Some(&self.token)
            });
        }
    }
}

impl Lock for WrongLock {
    fn info(&self) -> &LockInfo {
        &self.info
    }

    fn token(&self) -> Result<&LockToken, Error> {
        Ok(&self.token)
    }

    fn took_over(&self) -> Option<&LockInfo> {
        self.previous.as_ref()
    }

    fn check(&self) -> Result<(), Error> {
        if self.is_held() {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::LockLost, "as told by a wrong lock"))
        }
    }

    fn share_with_children(&self) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Unsupported, "a lock in memory"))
    }

    fn unlock(self: Box<Self>) -> Result<(), Error> {
        let checked = match self.place.fault {
            Fault::UnlocksAnyones => Ok(()),
            _ => self.check(),
        };
        // In a race nobody else would ever get it.
        if !self.place.has(Fault::UnlockKeeps) || self.place.is_race() {
            self.free();
        }
        // Dropping it too would free a second time: perhaps the lock of the next holder, if the fault is in the token.
        std::mem::forget(self);
        checked
    }
}

impl Drop for WrongLock {
    fn drop(&mut self) {
        if !self.place.has(Fault::DropKeeps) {
            self.free();
        }
    }
}
