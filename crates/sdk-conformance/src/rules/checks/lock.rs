use crate::expect::{done, equal, hook, refused};
use crate::medium::Medium;
use crate::place::{held_by, holder, lock, open, race, stack, token};
use crate::violation::{Check, Flaw};
use sdk_state::{ErrorKind, Liveness, Lock, LockInfo, Storage, TryLock, Wait};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

mod eviction;

pub(in crate::rules) use eviction::*;

/// How long a thread may wait for its turn among all others.
const TURN: Duration = Duration::from_secs(60);

pub(in crate::rules) fn a_free_lock_is_held_and_says_by_whom(medium: &dyn Medium) -> Check {
    let (storage, other) = (open(medium)?, open(medium)?);
    let lock = lock(&*storage, "push")?;
    is_named(lock.info(), &*lock)?;
    equal(
        "whose dead lock a free one was",
        &lock.took_over().is_some(),
        &false,
    )?;
    done("checking a held lock", lock.check())?;
    for handle in [&storage, &other, &open(medium)?] {
        match done("the status of the lock", handle.lock_status())? {
            Some(status) => {
                is_named(&status.info, &*lock)?;
                let is_dead = status.liveness == Liveness::Dead;
                equal("whether a living holder is Dead", &is_dead, &false)?;
            }
            None => return Err(Flaw::new("the status of a held lock", "none")),
        }
    }
    // Looking does not take it away.
    done("checking a held lock", lock.check())?;
    done("unlocking", lock.unlock())
}

pub(in crate::rules) fn a_held_lock_is_busy_and_names_the_holder(medium: &dyn Medium) -> Check {
    let (storage, other) = (open(medium)?, open(medium)?);
    let lock = lock(&*storage, "push")?;
    for handle in [&storage, &other, &open(medium)?] {
        match done("trying a held lock", handle.try_lock(&holder("pull")))? {
            TryLock::Busy { info, poll } => {
                is_named(&info, &*lock)?;
                equal(
                    "whether there is a pause between two looks",
                    &!poll.is_zero(),
                    &true,
                )?;
            }
            TryLock::Held(second) => {
                // Whatever it stands for, dropping it is not what this rule is about.
                return Err(Flaw::new(
                    "one holder",
                    format!("a second one: {}", second.info()),
                ));
            }
        }
    }
    done("checking a held lock", lock.check())
}

pub(in crate::rules) fn unlocking_frees(medium: &dyn Medium) -> Check {
    let (storage, other) = (open(medium)?, open(medium)?);
    for handle in [&storage, &other, &storage] {
        let lock = lock(&**handle, "push")?;
        done("unlocking", lock.unlock())?;
        held_by(&*storage, None)?;
        held_by(&*other, None)?;
    }
    Ok(())
}

pub(in crate::rules) fn dropping_frees(medium: &dyn Medium) -> Check {
    let (storage, other) = (open(medium)?, open(medium)?);
    for handle in [&storage, &other, &storage] {
        drop(lock(&**handle, "push")?);
        held_by(&*storage, None)?;
        held_by(&*other, None)?;
    }
    Ok(())
}

pub(in crate::rules) fn one_of_many_lockers_gets_it(medium: &dyn Medium) -> Check {
    // They are brought home, so that nobody gives one back before everybody has asked.
    let held = race(medium, |_, storage| {
        match done("trying to lock", storage.try_lock(&holder("push")))? {
            TryLock::Held(lock) => Ok(Some(lock)),
            TryLock::Busy { .. } => Ok(None),
        }
    })?;
    equal("the number of holders", &held.iter().flatten().count(), &1)
}

pub(in crate::rules) fn holders_never_overlap(medium: &dyn Medium) -> Check {
    let inside = AtomicUsize::new(0);
    race(medium, |_, storage| {
        let lock = wait_for_lock(storage)?;
        let others = inside.fetch_add(1, Ordering::SeqCst);
        std::thread::yield_now();
        inside.fetch_sub(1, Ordering::SeqCst);
        done("unlocking", lock.unlock())?;
        equal("the number of other holders", &others, &0)
    })?;
    Ok(())
}

pub(in crate::rules) fn tokens_do_not_repeat(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let mut tokens = HashSet::new();
    for n in 1..=20 {
        // However the last one was given back.
        done("force_unlock", storage.force_unlock(None))?;
        let lock = lock(&*storage, "push")?;
        tokens.insert(token(&*lock)?.clone());
        equal("the number of different tokens", &tokens.len(), &n)?;
    }
    Ok(())
}

pub(in crate::rules) fn a_dead_holder_is_replaced_and_named(medium: &dyn Medium) -> Check {
    let (storage, other) = (open(medium)?, open(medium)?);
    // The value that stands for the dead holder goes one way, then the other.
    for is_dropped in [true, false] {
        let dead = lock(&*storage, "push")?;
        let dead_token = token(&*dead)?.clone();
        hook("kill_holder", medium.kill_holder(&stack()?))?;
        held_by(&*other, Some(&dead_token))?;
        let status = done("the status of the lock", other.lock_status())?;
        let liveness = status.map(|status| status.liveness);
        equal("the liveness of a dead holder", &liveness, &Some(Liveness::Dead))?;
        let new = lock(&*other, "push")?;
        let took_over = new.took_over().and_then(|info| info.token.as_ref());
        equal("whose dead lock was taken over", &took_over, &Some(&dead_token))?;
        let is_own = token(&*new)? != &dead_token;
        equal("whether the new holder has a token of its own", &is_own, &true)?;
        if is_dropped {
            drop(dead);
        } else {
            refused(
                "unlocking a dead holder's lock",
                dead.unlock(),
                &ErrorKind::LockLost,
            )?;
        }
        held_by(&*storage, Some(token(&*new)?))?;
        done("checking the new holder's lock", new.check())?;
        drop(new);
        // However that went.
        done("force_unlock", storage.force_unlock(None))?;
    }
    Ok(())
}

/// That this is what is known of the lock's holder.
fn is_named(info: &LockInfo, lock: &dyn Lock) -> Check {
    equal("the holder's token", &info.token.as_ref(), &Some(token(lock)?))?;
    equal("the holder's user", &info.user.as_deref(), &Some("alice"))?;
    equal("the holder's host", &info.host.as_deref(), &Some("build-7"))?;
    equal("the holder's tool", &info.tool.as_deref(), &Some("conformance"))?;
    equal(
        "the holder's operation",
        &info.operation.as_deref(),
        &Some("push"),
    )?;
    equal("since when it is held", &info.since, &Some(holder("push").since))
}

fn wait_for_lock(storage: &dyn Storage) -> Check<Box<dyn Lock>> {
    let wait = Wait::at_most(TURN);
    loop {
        match done("trying to lock", storage.try_lock(&holder("push")))? {
            TryLock::Held(lock) => return Ok(lock),
            TryLock::Busy { poll, .. } => {
                if !wait.pause(poll) {
                    return Err(Flaw::new("a turn for everybody", "none within a minute"));
                }
            }
        }
    }
}
