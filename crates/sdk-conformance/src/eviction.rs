//! What `force_unlock` does to the holder and to those who come next.

use crate::expect::{Check, Flaw, done, equal, holds, refused, refused_where};
use crate::lock::names;
use crate::place::{Leaving, Place, breathe, held_by, lock, names_holder};
use sdk_state::{Backend, ErrorKind, LockToken};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How often the lock is taken while others evict.
const TURNS: usize = 32;
/// How many take it or evict.
const HUNTERS: usize = 4;

pub(crate) fn force_unlock_evicts_the_expected_holder(place: &Place) -> Check {
    let (backend, other) = (place.open()?, place.open()?);
    for is_expected in [true, false] {
        let old = lock(&*backend, "push")?;
        let evicted = other.force_unlock(is_expected.then_some(&old.token));
        match done("force_unlock", evicted)? {
            Some(info) => names(&info, &old)?,
            None => return Err(Flaw::new("who was evicted", "nobody")),
        }
        held_by(&*backend, None)?;
        let new = lock(&*other, "push")?;
        equal(
            "who died with a lock that was freed by force",
            &new.lock.took_over(),
            &None,
        )?;
        drop(old);
        drop(new);
        // Should the drop of the evicted one have gone wrong, the next round must not suffer from it.
        done("force_unlock", backend.force_unlock(None))?;
    }
    Ok(())
}

pub(crate) fn force_unlock_spares_another_holder(place: &Place) -> Check {
    let (backend, other) = (place.open()?, place.open()?);
    let held = lock(&*backend, "push")?;
    let wrong = done("a token", LockToken::generate())?;
    refused_where(
        "force_unlock with another token",
        other.force_unlock(Some(&wrong)),
        "Locked by the holder",
        |kind| names_holder(kind, &held.token),
    )?;
    held_by(&*backend, Some(&held.token))?;
    done("checking a lock that was spared", held.lock.check())
}

pub(crate) fn force_unlock_of_a_free_lock_finds_nobody(place: &Place) -> Check {
    let backend = place.open()?;
    let wrong = done("a token", LockToken::generate())?;
    for expected in [None, Some(&wrong)] {
        let evicted = done("force_unlock of a free lock", backend.force_unlock(expected))?;
        equal("who was evicted", &evicted, &None)?;
    }
    lock(&*backend, "push").map(drop)
}

pub(crate) fn an_evicted_holder_has_lost_the_lock(place: &Place) -> Check {
    let (backend, other) = (place.open()?, place.open()?);
    // With nobody after it, and with somebody.
    for is_followed in [false, true] {
        let old = lock(&*backend, "push")?;
        done("force_unlock", other.force_unlock(None))?;
        let new = is_followed.then(|| lock(&*other, "push")).transpose()?;
        refused("checking an evicted lock", old.lock.check(), &ErrorKind::LockLost)?;
        refused(
            "unlocking an evicted lock",
            old.lock.unlock(),
            &ErrorKind::LockLost,
        )?;
        drop(new);
        // Should that unlock have gone wrong, the next round must not suffer from it.
        done("force_unlock", backend.force_unlock(None))?;
    }
    Ok(())
}

pub(crate) fn a_lock_knows_that_it_is_lost_once_it_has_looked(place: &Place) -> Check {
    let (backend, other) = (place.open()?, place.open()?);
    let held = lock(&*backend, "push")?;
    holds("a held lock is not lost", !held.lock.is_lost())?;
    done("checking a held lock", held.lock.check())?;
    holds("a held lock that was checked is not lost", !held.lock.is_lost())?;
    done("force_unlock", other.force_unlock(None))?;
    // What it answers is for another rule.
    let _ = held.lock.check();
    holds("a lock that found its eviction is lost", held.lock.is_lost())?;
    let _next = lock(&*other, "push")?;
    holds("a lock that is lost stays lost", held.lock.is_lost())
}

pub(crate) fn an_evicted_holder_does_not_touch_the_next_one(place: &Place) -> Check {
    let (backend, other) = (place.open()?, place.open()?);
    for is_unlocked in [true, false] {
        let old = lock(&*backend, "push")?;
        done("force_unlock", other.force_unlock(None))?;
        let new = lock(&*other, "push")?;
        if is_unlocked {
            // What it answers is for another rule.
            let _ = old.lock.unlock();
        } else {
            drop(old);
        }
        held_by(&*backend, Some(&new.token))?;
        done("checking the lock of the next holder", new.lock.check())?;
        drop(new);
        // However that went.
        done("force_unlock", backend.force_unlock(None))?;
    }
    Ok(())
}

pub(crate) fn an_eviction_spares_those_who_came_meanwhile(place: &Place) -> Check {
    let hunters = HUNTERS.min(place.racers());
    let hunt = Hunt {
        prey: Mutex::default(),
        tries: AtomicUsize::new(0),
        holders: AtomicUsize::new(1),
        evictors: AtomicUsize::new(hunters - 1),
    };
    place.race_of(hunters, |n, backend| match n {
        0 => hunt.hold(backend, place.turns(TURNS), hunters - 1),
        _ => hunt.evict(backend),
    })?;
    Ok(())
}

/// One holds the lock again and again, and tells its token only while it holds it; the others evict the holder of the token
/// that they were told.
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

    fn hold(&self, backend: &dyn Backend, turns: usize, tries_a_turn: usize) -> Check {
        let _done = Leaving(&self.holders);
        for _ in 0..turns {
            let held = lock(backend, "push")?;
            let prey = Some(held.token);
            if *self.prey() == prey {
                // A token that repeats is for another rule.
                return Ok(());
            }
            std::thread::yield_now();
            done("checking a lock whose token nobody knows", held.lock.check())?;
            let tries = self.tries.load(Ordering::SeqCst) + tries_a_turn;
            *self.prey() = prey;
            while self.tries.load(Ordering::SeqCst) < tries && self.evictors.load(Ordering::SeqCst) > 0 {
                breathe();
            }
            match held.lock.unlock() {
                Err(error) if !error.is_lock_lost() => {
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

    fn evict(&self, backend: &dyn Backend) -> Check {
        let _done = Leaving(&self.evictors);
        while self.holders.load(Ordering::SeqCst) > 0 {
            breathe();
            let Some(prey) = self.prey().clone() else {
                continue;
            };
            self.tries.fetch_add(1, Ordering::SeqCst);
            // What it answers about a holder who is gone is for other rules.
            if let Ok(Some(info)) = backend.force_unlock(Some(&prey))
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
