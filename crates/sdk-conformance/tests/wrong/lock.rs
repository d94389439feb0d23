//! The lock of a wrong storage.

use crate::fault::Fault;
use crate::place::{Place, Stack};
use crate::storage::{Wrong, error};
use sdk_state::{Error, ErrorKind, Holder, Liveness, Lock, LockInfo, LockStatus, LockToken, TryLock};
use std::sync::Arc;
use std::time::Duration;

impl Wrong {
    pub(crate) fn take_lock(&self, holder: &Holder) -> Result<TryLock, Error> {
        let mut gate = self.place.enter();
        let stack = gate.entry(self.key.clone()).or_default();
        let mut previous = None;
        if let Some(status) = &stack.lock {
            if status.liveness == Liveness::Dead && !self.has(Fault::DeadHolderStays) {
                previous = Some(status.info.clone());
                stack.dead.clone_from(&status.info.token);
            } else if !self.has(Fault::LockAdmitsAll) {
                let info = if self.has(Fault::BusyIsAnonymous) {
                    LockInfo::default()
                } else {
                    status.info.clone()
                };
                return Ok(TryLock::Busy {
                    info: Box::new(info),
                    poll: Duration::from_millis(1),
                });
            }
        }
        let token = match self.place.fault {
            Fault::TokenRepeats => "always-this-one".parse()?,
            _ => LockToken::generate()?,
        };
        let info = LockInfo::of(holder, token.clone());
        let is_double = matches!(self.place.fault, Fault::LockAdmitsAll | Fault::CheckThenLock);
        stack.seen.lockers += 1;
        let turn = stack.seen.lockers;
        // The first one finds it free, lets the second one take it, and takes it too; only then do both go on.
        if is_double && self.place.is_race() && turn == 1 {
            gate = self.place.meet(&self.key, gate, |stack| stack.lock.is_some());
        }
        let stack = gate.entry(self.key.clone()).or_default();
        stack.lock = Some(LockStatus::new(info.clone(), Liveness::Alive));
        stack.lock_handle = self.number;
        if is_double && self.place.is_race() && turn == 2 {
            let is_lost = |stack: &Stack| {
                stack
                    .lock
                    .as_ref()
                    .is_none_or(|lock| lock.info.token.as_ref() != Some(&token))
            };
            drop(self.place.meet(&self.key, gate, is_lost));
        } else {
            self.place.tell();
        }
        Ok(TryLock::Held(Box::new(WrongLock {
            place: Arc::clone(&self.place),
            key: self.key.clone(),
            token,
            info,
            previous,
        })))
    }

    pub(crate) fn see_lock(&self) -> Result<Option<LockStatus>, Error> {
        let gate = self.place.enter();
        let mut status = gate.get(&self.key).and_then(|stack| stack.lock.clone());
        if let Some(status) = &mut status {
            match self.place.fault {
                Fault::StatusIsAnonymous => status.info.user = None,
                Fault::DeadIsUnknown => status.liveness = Liveness::Unknown,
                _ => {}
            }
        }
        Ok(status)
    }

    pub(crate) fn evict(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        let mut gate = self.place.enter();
        let is_expected = |stack: &Stack| {
            let holder = stack.lock.as_ref().map(|lock| lock.info.token.as_ref());
            holder.is_some() && (expected.is_none() || holder == Some(expected))
        };
        let mut was_expected = gate.get(&self.key).is_some_and(is_expected);
        if self.has(Fault::CompareThenEvict)
            && self.place.is_contended()
            && expected.is_some()
            && was_expected
        {
            let stack = gate.entry(self.key.clone()).or_default();
            stack.seen.evictors += 1;
            // Once, until the next holder has come.
            if stack.seen.evictors == 1 {
                gate = self.place.meet(&self.key, gate, |stack| {
                    stack.lock.is_some() && !is_expected(stack)
                });
            }
        }
        was_expected |= self.has(Fault::ForceIgnoresToken) && !self.place.is_contended();
        let lock = gate.get_mut(&self.key).and_then(|stack| stack.lock.take());
        let Some(status) = lock else {
            return match expected {
                Some(_) if self.has(Fault::ForceNeedsAHolder) => Err(error(ErrorKind::LockLost)),
                _ => Ok(None),
            };
        };
        if !was_expected {
            let info = status.info.clone();
            gate.entry(self.key.clone()).or_default().lock = Some(status);
            return Err(Error::other_holder(info));
        }
        let stack = gate.entry(self.key.clone()).or_default();
        stack.evicted.extend(status.info.token.clone());
        self.place.tell();
        Ok(Some(status.info).filter(|_| !self.has(Fault::ForceIsSilent)))
    }

    pub(crate) fn demand_lock(
        &self,
        stack: &Stack,
        held: Option<&LockToken>,
        ignored: Fault,
    ) -> Result<(), Error> {
        let holder = stack.lock.as_ref().map(|lock| lock.info.token.as_ref());
        let is_held = match held {
            None => true,
            Some(_) if self.has(ignored) => true,
            Some(_) if self.has(Fault::AnyHolderWillDo) => holder.is_some(),
            Some(token) if self.has(Fault::RefusesTheEvicted) => !stack.evicted.contains(token),
            Some(_) if self.has(Fault::TokenOfOneHandle) && stack.lock_handle != self.number => false,
            Some(token) => holder == Some(Some(token)),
        };
        if is_held {
            Ok(())
        } else {
            Err(error(ErrorKind::LockLost))
        }
    }
}

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
        if let Some(stack) = gate.get_mut(&self.key) {
            let is_of_the_dead =
                self.place.has(Fault::DeadDropFrees) && stack.dead.as_ref() == Some(&self.token);
            stack.lock.take_if(|lock| {
                self.place.has(Fault::UnlocksAnyones)
                    || is_of_the_dead
                    || lock.info.token.as_ref() == Some(&self.token)
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
        if !self.place.has(Fault::UnlockKeeps) || self.place.is_contended() {
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
