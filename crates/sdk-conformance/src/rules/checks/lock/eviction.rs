//! What `force_unlock` does, to the holder and to whoever comes next.

use super::is_named;
use crate::expect::{done, equal, refused, refused_where};
use crate::medium::Medium;
use crate::place::{Leaving, breathe, held_by, lock, open, race_of, token};
use crate::violation::{Check, Flaw};
use sdk_state::{ErrorKind, LockToken, Storage};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How often the lock is taken while others evict.
const TURNS: usize = 32;
/// How many evict.
const EVICTORS: usize = 3;

pub(in crate::rules) fn force_unlock_evicts_the_expected_holder(medium: &dyn Medium) -> Check {
    let (storage, other) = (open(medium)?, open(medium)?);
    for is_expected in [true, false] {
        let old = lock(&*storage, "push")?;
        let old_token = token(&*old)?.clone();
        let evicted = other.force_unlock(is_expected.then_some(&old_token));
        match done("force_unlock", evicted)? {
            Some(info) => is_named(&info, &*old)?,
            None => return Err(Flaw::new("who was evicted", "nobody")),
        }
        held_by(&*storage, None)?;
        let new = lock(&*other, "push")?;
        drop(old);
        drop(new);
        // Should the drop of the evicted one have gone wrong, the next round must not suffer from it.
        done("force_unlock", storage.force_unlock(None))?;
    }
    Ok(())
}

pub(in crate::rules) fn force_unlock_spares_another_holder(medium: &dyn Medium) -> Check {
    let (storage, other) = (open(medium)?, open(medium)?);
    let lock = lock(&*storage, "push")?;
    let holder = token(&*lock)?;
    let wrong = done("a token", LockToken::generate())?;
    let forced = other.force_unlock(Some(&wrong));
    refused_where(
        "force_unlock with another token",
        forced,
        "Locked by the holder",
        |kind| matches!(kind, ErrorKind::Locked(info) if info.token.as_ref() == Some(holder)),
    )?;
    held_by(&*storage, Some(holder))?;
    done("checking a lock that was spared", lock.check())
}

pub(in crate::rules) fn force_unlock_of_a_free_lock_finds_nobody(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let wrong = done("a token", LockToken::generate())?;
    for expected in [None, Some(&wrong)] {
        let evicted = done("force_unlock of a free lock", storage.force_unlock(expected))?;
        equal("who was evicted", &evicted, &None)?;
    }
    let _lock = lock(&*storage, "push")?;
    Ok(())
}

pub(in crate::rules) fn an_evicted_holder_has_lost_the_lock(medium: &dyn Medium) -> Check {
    let (storage, other) = (open(medium)?, open(medium)?);
    // With nobody after it, and with somebody.
    for is_followed in [false, true] {
        let old = lock(&*storage, "push")?;
        done("force_unlock", other.force_unlock(None))?;
        let new = is_followed.then(|| lock(&*other, "push")).transpose()?;
        refused("checking an evicted lock", old.check(), &ErrorKind::LockLost)?;
        refused("unlocking an evicted lock", old.unlock(), &ErrorKind::LockLost)?;
        drop(new);
        // Should that unlock have gone wrong, the next round must not suffer from it.
        done("force_unlock", storage.force_unlock(None))?;
    }
    Ok(())
}

pub(in crate::rules) fn an_evicted_holder_does_not_touch_the_next_one(medium: &dyn Medium) -> Check {
    let (storage, other) = (open(medium)?, open(medium)?);
    for is_unlocked in [true, false] {
        let old = lock(&*storage, "push")?;
        done("force_unlock", other.force_unlock(None))?;
        let new = lock(&*other, "push")?;
        if is_unlocked {
            // What it answers is for another rule.
            let _ = old.unlock();
        } else {
            drop(old);
        }
        held_by(&*storage, Some(token(&*new)?))?;
        done("checking the lock of the next holder", new.check())?;
        drop(new);
        // However that went.
        done("force_unlock", storage.force_unlock(None))?;
    }
    Ok(())
}

pub(in crate::rules) fn an_eviction_spares_who_came_meanwhile(medium: &dyn Medium) -> Check {
    let hunt = Hunt {
        prey: Mutex::default(),
        tries: AtomicUsize::new(0),
        holders: AtomicUsize::new(1),
        evictors: AtomicUsize::new(EVICTORS),
    };
    race_of(1 + EVICTORS, medium, |n, storage| match n {
        0 => hunt.hold(storage),
        _ => hunt.evict(storage),
    })?;
    Ok(())
}

/// One holds the lock again and again, and tells its token only while it holds it; the others evict whom they were told.
struct Hunt {
    prey: Mutex<Option<LockToken>>,
    tries: AtomicUsize,
    holders: AtomicUsize,
    evictors: AtomicUsize,
}

impl Hunt {
    fn prey(&self) -> MutexGuard<'_, Option<LockToken>> {
        self.prey.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, storage: &dyn Storage) -> Check {
        let _done = Leaving(&self.holders);
        for _ in 0..TURNS {
            let lock = lock(storage, "push")?;
            let prey = Some(token(&*lock)?.clone());
            if *self.prey() == prey {
                // A token that repeats is for another rule.
                return Ok(());
            }
            std::thread::yield_now();
            done("checking a lock whose token nobody knows", lock.check())?;
            let tries = self.tries.load(Ordering::SeqCst) + EVICTORS;
            *self.prey() = prey;
            while self.tries.load(Ordering::SeqCst) < tries && self.evictors.load(Ordering::SeqCst) > 0 {
                breathe();
            }
            match lock.unlock() {
                Err(error) if *error.kind() != ErrorKind::LockLost => {
                    return Err(Flaw::new(
                        "a lock that is given back or lost",
                        format!("{error:?}"),
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn evict(&self, storage: &dyn Storage) -> Check {
        let _done = Leaving(&self.evictors);
        while self.holders.load(Ordering::SeqCst) > 0 {
            breathe();
            let Some(prey) = self.prey().clone() else {
                continue;
            };
            self.tries.fetch_add(1, Ordering::SeqCst);
            // What it answers to one who is gone is for other rules.
            if let Ok(Some(info)) = storage.force_unlock(Some(&prey))
                && info.token.as_ref() != Some(&prey)
            {
                return Err(Flaw::new(
                    "the eviction of the expected holder",
                    format!("that of {info}"),
                ));
            }
        }
        Ok(())
    }
}
