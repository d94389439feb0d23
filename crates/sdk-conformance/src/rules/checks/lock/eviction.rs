//! What `force_unlock` does, to the holder and to whoever comes next.

use super::is_named;
use crate::expect::{done, equal, refused, refused_where};
use crate::medium::Medium;
use crate::place::{held_by, lock, open, token};
use crate::violation::{Check, Flaw};
use sdk_state::{ErrorKind, LockToken};

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
