//! Who holds the lock.

use crate::expect::{Check, Flaw, done, equal, holds, hook, refused};
use crate::place::{Held, Place, held_by, holder, lock};
use sdk_state::{Backend, ErrorKind, Liveness, LockInfo, LockStatus, TryLock, Wait};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) fn a_free_lock_is_held_and_names_its_holder(place: &Place) -> Check {
    let (backend, other) = (place.open()?, place.open()?);
    let held = lock(&*backend, "push")?;
    names(held.lock.info(), &held)?;
    equal(
        "who died with a lock that was free",
        &held.lock.took_over(),
        &None,
    )?;
    done("checking a held lock", held.lock.check())?;
    for handle in [&backend, &other, &place.open()?] {
        let status = status(&**handle)?;
        names(&status.info, &held)?;
        holds("a living holder is not Dead", status.liveness != Liveness::Dead)?;
    }
    // Looking does not take it away.
    done("checking a held lock", held.lock.check())?;
    done("unlocking", held.lock.unlock())
}

pub(crate) fn a_held_lock_is_busy_and_names_the_holder(place: &Place) -> Check {
    let (backend, other) = (place.open()?, place.open()?);
    let held = lock(&*backend, "push")?;
    for handle in [&backend, &other, &place.open()?] {
        match done("trying a held lock", handle.try_lock(&holder("pull")))? {
            TryLock::Busy { status, poll } => {
                names(&status.info, &held)?;
                holds("a living holder is not Dead", status.liveness != Liveness::Dead)?;
                holds("there is a pause between two tries", !poll.is_zero())?;
            }
            // Whatever it stands for, dropping it is not what this rule is about.
            TryLock::Held(second) => {
                return Err(Flaw::new(
                    "one holder",
                    format!("a second one: {}", second.info()),
                ));
            }
        }
    }
    done("checking a held lock", held.lock.check())
}

pub(crate) fn unlocking_frees(place: &Place) -> Check {
    frees(place, |held| done("unlocking", held.lock.unlock()))
}

pub(crate) fn dropping_frees(place: &Place) -> Check {
    frees(place, |held| {
        drop(held);
        Ok(())
    })
}

fn frees(place: &Place, give_back: fn(Held) -> Check) -> Check {
    let (backend, other) = (place.open()?, place.open()?);
    for handle in [&backend, &other, &backend] {
        let held = lock(&**handle, "push")?;
        equal(
            "who died with a lock that was given back",
            &held.lock.took_over(),
            &None,
        )?;
        give_back(held)?;
        held_by(&*backend, None)?;
        held_by(&*other, None)?;
    }
    Ok(())
}

pub(crate) fn one_of_many_lockers_gets_it(place: &Place) -> Check {
    // They are brought home, so that nobody gives one back before everybody has asked.
    let held = place.race(
        |_, backend| match done("trying to lock", backend.try_lock(&holder("push")))? {
            TryLock::Held(lock) => Ok(Some(lock)),
            TryLock::Busy { .. } => Ok(None),
        },
    )?;
    equal("the number of holders", &held.iter().flatten().count(), &1)
}

pub(crate) fn holders_never_overlap(place: &Place) -> Check {
    let inside = AtomicUsize::new(0);
    place.race(|_, backend| {
        let wait = Wait::at_most(place.patience());
        let lock = loop {
            match done("trying to lock", backend.try_lock(&holder("push")))? {
                TryLock::Held(lock) => break lock,
                TryLock::Busy { poll, .. } => {
                    if !wait.pause(poll) {
                        return Err(Flaw::new("a turn for everybody", "none within a minute"));
                    }
                }
            }
        };
        let others = inside.fetch_add(1, Ordering::SeqCst);
        std::thread::yield_now();
        inside.fetch_sub(1, Ordering::SeqCst);
        done("unlocking", lock.unlock())?;
        equal("the number of other holders", &others, &0)
    })?;
    Ok(())
}

pub(crate) fn tokens_do_not_repeat(place: &Place) -> Check {
    let backend = place.open()?;
    let mut tokens = HashSet::new();
    for n in 1..=place.turns(20) {
        // However the last one was given back.
        done("force_unlock", backend.force_unlock(None))?;
        tokens.insert(lock(&*backend, "push")?.token);
        equal("the number of different tokens", &tokens.len(), &n)?;
    }
    Ok(())
}

pub(crate) fn a_dead_holder_is_replaced_and_named(place: &Place) -> Check {
    let (backend, other) = (place.open()?, place.open()?);
    // The value that stands for the dead holder goes one way, then the other.
    for is_dropped in [true, false] {
        let dead = lock(&*backend, "push")?;
        place.kill_holder()?;
        held_by(&*other, Some(&dead.token))?;
        let liveness = status(&*other)?.liveness;
        equal("the liveness of a dead holder", &liveness, &Liveness::Dead)?;
        let new = lock(&*other, "push")?;
        let took_over = new.lock.took_over().and_then(|info| info.token.as_ref());
        equal("whose lock was taken over", &took_over, &Some(&dead.token))?;
        holds("the new holder has a token of its own", new.token != dead.token)?;
        if is_dropped {
            drop(dead);
        } else {
            let unlocked = dead.lock.unlock();
            refused("unlocking a dead holder's lock", unlocked, &ErrorKind::LockLost)?;
        }
        held_by(&*backend, Some(&new.token))?;
        done("checking the new holder's lock", new.lock.check())?;
        drop(new);
        // However that went.
        done("force_unlock", backend.force_unlock(None))?;
    }
    Ok(())
}

pub(crate) fn unknown_members_of_a_lock_are_kept(place: &Place) -> Check {
    let backend = place.open()?;
    // The place of the stack exists, and its lock is free.
    drop(lock(&*backend, "push")?);
    done("force_unlock", backend.force_unlock(None))?;
    let text = r#"{"token":"of-a-newer-version","operation":"push","author":"bob","lease-ms":30000,"pool":{"a":[1]}}"#;
    let info: LockInfo =
        serde_json::from_str(text).map_err(|error| Flaw::new("a lock", error.to_string()))?;
    hook("plant_lock", place.fixture.plant_lock(&place.stack, &info))?;
    equal("what is shown of a newer lock", &status(&*backend)?.info, &info)?;
    match done("trying a held lock", backend.try_lock(&holder("pull")))? {
        TryLock::Busy { status, .. } => equal("what a waiter sees of a newer lock", &status.info, &info)?,
        TryLock::Held(_) => return Err(Flaw::new("a held lock", "a free one")),
    }
    let evicted = done("force_unlock", backend.force_unlock(info.token.as_ref()))?;
    equal("what is returned of a newer lock", &evicted, &Some(info))
}

/// Demands that this is what is known of the lock's holder.
pub(crate) fn names(info: &LockInfo, held: &Held) -> Check {
    equal("the holder's token", &info.token.as_ref(), &Some(&held.token))?;
    equal("the holder", &info.holder, &holder("push"))
}

fn status(backend: &dyn Backend) -> Check<LockStatus> {
    done("the status of the lock", backend.lock_status())?
        .ok_or_else(|| Flaw::new("the status of a held lock", "none"))
}
