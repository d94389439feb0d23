//! The lock of a mutant.

use super::backend::Mutant;
use super::mutation::Mutation;
use super::place::{Place, Stack, Transport, error};
use sdk_conformance::Method;
use sdk_state::{Error, ErrorKind, Holder, Liveness, Lock, LockInfo, LockStatus, LockToken, TryLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What the place answers to a request for the lock.
enum Taken {
    Held { took_over: Option<LockInfo> },
    Busy(LockStatus),
}

impl Mutant {
    pub(crate) fn lock(&self, holder: &Holder) -> Result<TryLock, Error> {
        let token = match self.place.mutation {
            Mutation::TokenRepeats => "always-this-one".parse()?,
            _ => LockToken::generate()?,
        };
        let info = LockInfo::new(holder, token.clone());
        let request = || self.take_lock(&info, &token);
        let taken = match self.send(Method::TryLock, request) {
            Some(answer) => answer?,
            None => self.take_lost_lock(&info, &token, request)?,
        };
        Ok(match taken {
            Taken::Held { took_over } => TryLock::Held(Box::new(MutantLock {
                place: Arc::clone(&self.place),
                transport: Arc::clone(&self.transport),
                key: self.key.clone(),
                token,
                info,
                took_over,
                is_lost: AtomicBool::new(false),
            })),
            Taken::Busy(status) => TryLock::Busy {
                status: Box::new(status),
                poll: Duration::from_millis(1),
            },
        })
    }

    fn take_lost_lock(
        &self,
        info: &LockInfo,
        token: &LockToken,
        request: impl Fn() -> Result<Taken, Error>,
    ) -> Result<Taken, Error> {
        let found = self.see_lock()?;
        let is_own = |found: &LockStatus| found.info.token.as_ref() == Some(token);
        match self.place.mutation {
            Mutation::LostLockIsRetriedBlindly => request(),
            Mutation::LostLockIsUnavailable => Err(error(ErrorKind::Unavailable)),
            // It takes a lock of the same person on the same machine for one that a crash of its own left.
            Mutation::LostLockIsTakenOver
                if found
                    .as_ref()
                    .is_some_and(|found| found.info.holder == info.holder) =>
            {
                Ok(Taken::Held {
                    took_over: found.map(|found| found.info),
                })
            }
            _ if found.as_ref().is_some_and(is_own) => Ok(Taken::Held {
                took_over: self.with_stack(|stack| stack.dead.clone()),
            }),
            _ => request(),
        }
    }

    fn take_lock(&self, info: &LockInfo, token: &LockToken) -> Result<Taken, Error> {
        let mut stacks = self.place.enter();
        let stack = stacks.entry(self.key.clone()).or_default();
        stack.dead = None;
        let mut took_over = None;
        if let Some(status) = &stack.lock {
            if status.liveness == Liveness::Dead && !self.has(Mutation::DeadHolderStays) {
                took_over = Some(status.info.clone());
                stack.dead.clone_from(&took_over);
            } else if !self.has(Mutation::LockAdmitsAll) {
                let mut status = status.clone();
                if self.has(Mutation::BusyIsAnonymous) {
                    status.info = LockInfo::default();
                }
                return Ok(Taken::Busy(status));
            }
        }
        if self.has(Mutation::TakesOverTheGivenBack) {
            took_over = took_over.or(stack.given_back.take());
        }
        let is_double = matches!(
            self.place.mutation,
            Mutation::LockAdmitsAll | Mutation::CheckThenLock
        );
        stack.seen.lockers += 1;
        let turn = stack.seen.lockers;
        // The first one finds it free, lets the second one take it, and takes it too; only then do both go on.
        if is_double && self.place.is_race() && turn == 1 {
            stacks = self.place.meet(&self.key, stacks, |stack| stack.lock.is_some());
        }
        let stack = stacks.entry(self.key.clone()).or_default();
        stack.lock = Some(LockStatus::new(info.clone(), Liveness::Alive));
        stack.lock_handle = self.number;
        if is_double && self.place.is_race() && turn == 2 {
            let is_lost = |stack: &Stack| {
                let found = stack.lock.as_ref().map(|lock| lock.info.token.as_ref());
                found != Some(Some(token))
            };
            drop(self.place.meet(&self.key, stacks, is_lost));
        } else {
            self.place.tell();
        }
        Ok(Taken::Held { took_over })
    }

    pub(crate) fn see_lock(&self) -> Result<Option<LockStatus>, Error> {
        let stacks = self.place.enter();
        let mut status = stacks.get(&self.key).and_then(|stack| stack.lock.clone());
        if let Some(status) = &mut status {
            match self.place.mutation {
                Mutation::StatusIsAnonymous => status.info.holder.provenance.author = None,
                Mutation::DeadIsUnknown => status.liveness = Liveness::Unknown,
                _ => {}
            }
        }
        Ok(status)
    }

    pub(crate) fn evict(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        let mut stacks = self.place.enter();
        let is_expected = |stack: &Stack| {
            let holder = stack.lock.as_ref().map(|lock| lock.info.token.as_ref());
            holder.is_some() && (expected.is_none() || holder == Some(expected))
        };
        let mut was_expected = stacks.get(&self.key).is_some_and(is_expected);
        if self.has(Mutation::CompareThenEvict)
            && self.place.is_contended()
            && expected.is_some()
            && was_expected
        {
            let stack = stacks.entry(self.key.clone()).or_default();
            stack.seen.evictors += 1;
            // Once, until the next holder has come.
            if stack.seen.evictors == 1 {
                stacks = self.place.meet(&self.key, stacks, |stack| {
                    stack.lock.is_some() && !is_expected(stack)
                });
            }
        }
        was_expected |= self.has(Mutation::ForceIgnoresToken) && !self.place.is_contended();
        let lock = stacks.get_mut(&self.key).and_then(|stack| stack.lock.take());
        let Some(status) = lock else {
            return match expected {
                Some(_) if self.has(Mutation::ForceNeedsAHolder) => Err(error(ErrorKind::LockLost)),
                _ => Ok(None),
            };
        };
        if !was_expected {
            let info = status.info.clone();
            stacks.entry(self.key.clone()).or_default().lock = Some(status);
            return Err(Error::locked(info));
        }
        let stack = stacks.entry(self.key.clone()).or_default();
        stack.evicted.extend(status.info.token.clone());
        self.place.tell();
        Ok(Some(status.info).filter(|_| !self.has(Mutation::ForceIsSilent)))
    }

    pub(crate) fn demand_token(
        &self,
        stack: &Stack,
        token: &LockToken,
        ignores: Mutation,
    ) -> Result<(), Error> {
        let holder = stack.lock.as_ref().map(|lock| lock.info.token.as_ref());
        let is_held = match self.place.mutation {
            mutation if mutation == ignores => true,
            Mutation::AnyHolderWillDo => holder.is_some(),
            Mutation::RefusesTheEvicted => !stack.evicted.contains(token),
            Mutation::TokenOfOneHandle if !self.place.is_contended() && stack.lock_handle != self.number => {
                false
            }
            _ => holder == Some(Some(token)),
        };
        match is_held {
            true => Ok(()),
            false => Err(error(ErrorKind::LockLost)),
        }
    }

    pub(crate) fn demand_nobody(&self, stack: &Stack) -> Result<(), Error> {
        match &stack.lock {
            _ if self.has(Mutation::RemoveIgnoresTheLock) => Ok(()),
            _ if self.has(Mutation::RemoveNeedsTheLock) => Err(error(ErrorKind::Unsupported)),
            Some(status) if status.liveness != Liveness::Dead => Err(Error::locked(status.info.clone())),
            _ => Ok(()),
        }
    }
}

#[derive(Debug)]
struct MutantLock {
    place: Arc<Place>,
    transport: Arc<Transport>,
    key: String,
    token: LockToken,
    info: LockInfo,
    took_over: Option<LockInfo>,
    is_lost: AtomicBool,
}

impl MutantLock {
    fn is_held(&self) -> bool {
        let stacks = self.place.enter();
        let lock = stacks.get(&self.key).and_then(|stack| stack.lock.as_ref());
        lock.is_some_and(|lock| lock.info.token.as_ref() == Some(&self.token))
    }

    fn free(&self) {
        let mut stacks = self.place.enter();
        if let Some(stack) = stacks.get_mut(&self.key) {
            let dead = stack.dead.as_ref().and_then(|dead| dead.token.as_ref());
            let is_of_the_dead = self.place.has(Mutation::DeadDropFrees) && dead == Some(&self.token);
            let freed = stack.lock.take_if(|lock| {
                self.place.has(Mutation::UnlocksAnyones)
                    || is_of_the_dead
                    || lock.info.token.as_ref() == Some(&self.token)
            });
            stack.given_back = freed.map(|lock| lock.info);
        }
        self.place.tell();
    }

    fn give_back(&self) -> Result<(), Error> {
        let checked = match self.place.mutation {
            Mutation::UnlocksAnyones => Ok(()),
            _ => self.check(),
        };
        // In a race nobody else would ever get it.
        if !self.place.has(Mutation::UnlockKeeps) || self.place.is_contended() {
            self.free();
        }
        checked
    }
}

impl Lock for MutantLock {
    fn info(&self) -> &LockInfo {
        &self.info
    }

    fn token(&self) -> Result<&LockToken, Error> {
        Ok(&self.token)
    }

    fn took_over(&self) -> Option<&LockInfo> {
        self.took_over.as_ref()
    }

    fn check(&self) -> Result<(), Error> {
        if self.is_held() {
            return Ok(());
        }
        self.is_lost.store(true, Ordering::Relaxed);
        Err(error(ErrorKind::LockLost))
    }

    fn is_lost(&self) -> bool {
        match self.place.mutation {
            Mutation::IsNeverLost => false,
            Mutation::IsAlwaysLost => true,
            _ => self.is_lost.load(Ordering::Relaxed),
        }
    }

    fn share_with_children(&self) -> Result<(), Error> {
        Err(error(ErrorKind::Unsupported))
    }

    fn unlock(self: Box<Self>) -> Result<(), Error> {
        let sent = self
            .transport
            .send(&self.place, Method::Unlock, || self.give_back());
        let answer = sent.unwrap_or_else(|| match self.place.mutation {
            Mutation::LostUnlockIsRetriedBlindly => self.give_back(),
            Mutation::LostUnlockIsDone => Ok(()),
            _ if self.is_held() => self.give_back(),
            _ => Ok(()),
        });
        // Dropping it too would free a second time: perhaps the lock of the next holder, if that is the mutation.
        std::mem::forget(self);
        answer
    }
}

impl Drop for MutantLock {
    fn drop(&mut self) {
        if !self.place.has(Mutation::DropKeeps) {
            self.free();
        }
    }
}
