use crate::expect::{done, refused};
use crate::medium::Medium;
use crate::place::{
    Leaving, NO_LIMIT, breathe, create_many, held_by, id, lists, lock, open, open_stack, point, points_at,
    race_of, token,
};
use crate::violation::{Check, Flaw};
use sdk_state::{ErrorKind, Expect, LockToken};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How often a holder is evicted while it moves.
const EVICTIONS: usize = 8;
/// How many threads move for it.
const MOVERS: usize = 3;

pub(in crate::rules) fn the_holder_moves_and_removes(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let revs = create_many(&*storage, 3)?;
    let lock = lock(&*storage, "push")?;
    let held = Some(token(&*lock)?);
    for (expect, rev) in [
        (Expect::Anything, &revs[0]),
        (Expect::Exactly(Some(&revs[0])), &revs[1]),
    ] {
        done("the holder's move", storage.set_current(expect, rev, held))?;
        points_at(&*storage, Some(rev))?;
    }
    done("the holder's removal", storage.remove(&revs[0], held))?;
    // Through another handle the token is as good.
    done("the holder's removal", open(medium)?.remove(&revs[2], held))?;
    for gone in [&revs[0], &revs[2]] {
        refused(
            "reading what was removed",
            storage.read(gone, NO_LIMIT),
            &ErrorKind::NotFound,
        )?;
    }
    done("checking the lock", lock.check())
}

pub(in crate::rules) fn an_evicted_holder_does_not_move_current(medium: &dyn Medium) -> Check {
    let (storage, other) = (open(medium)?, open(medium)?);
    let revs = create_many(&*storage, 2)?;
    point(&*storage, &revs[0])?;
    let old = lock(&*storage, "push")?;
    let stale = token(&*old)?.clone();
    done("force_unlock", other.force_unlock(None))?;
    let is_refused = || {
        for expect in [Expect::Anything, Expect::Exactly(Some(&revs[0]))] {
            let moved = storage.set_current(expect, &revs[1], Some(&stale));
            refused("an evicted holder's move", moved, &ErrorKind::LockLost)?;
            points_at(&*storage, Some(&revs[0]))?;
        }
        Ok(())
    };
    is_refused()?;
    let new = lock(&*other, "push")?;
    is_refused()?;
    held_by(&*storage, Some(token(&*new)?))
}

pub(in crate::rules) fn an_evicted_holder_does_not_remove(medium: &dyn Medium) -> Check {
    let (storage, other) = (open(medium)?, open(medium)?);
    let revs = create_many(&*storage, 2)?;
    point(&*storage, &revs[0])?;
    let old = lock(&*storage, "push")?;
    let stale = token(&*old)?.clone();
    done("force_unlock", other.force_unlock(None))?;
    let is_refused = || {
        let removed = storage.remove(&revs[1], Some(&stale));
        refused("an evicted holder's removal", removed, &ErrorKind::LockLost)?;
        lists(&*storage, &revs)
    };
    is_refused()?;
    let new = lock(&*other, "push")?;
    is_refused()?;
    held_by(&*storage, Some(token(&*new)?))
}

pub(in crate::rules) fn no_move_of_an_evicted_holder_is_done_later(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let revs = create_many(&*storage, MOVERS)?;
    for _ in 0..EVICTIONS {
        let lock = lock(&*storage, "push")?;
        let held = token(&*lock)?;
        let (movers, moves, is_evicted) = (
            AtomicUsize::new(MOVERS),
            AtomicUsize::new(0),
            AtomicBool::new(false),
        );
        let found = race_of(1 + MOVERS, medium, |n, storage| {
            if n == 0 {
                while moves.load(Ordering::SeqCst) == 0 && movers.load(Ordering::SeqCst) > 0 {
                    breathe();
                }
                done("force_unlock", storage.force_unlock(None))?;
                let current = done("reading the pointer", storage.current())?;
                is_evicted.store(true, Ordering::SeqCst);
                return Ok(current);
            }
            let _done = Leaving(&movers);
            loop {
                let is_late = is_evicted.load(Ordering::SeqCst);
                match storage.set_current(Expect::Anything, &revs[n - 1], Some(held)) {
                    Err(error) if *error.kind() == ErrorKind::LockLost => return Ok(None),
                    Err(error) => return Err(Flaw::new("a move, or LockLost", format!("{error:?}"))),
                    Ok(()) if is_late => {
                        return Err(Flaw::new("LockLost after an eviction", "a move that was done"));
                    }
                    Ok(()) => moves.fetch_add(1, Ordering::SeqCst),
                };
                breathe();
            }
        })?;
        points_at(&*storage, found[0].as_ref())?;
    }
    Ok(())
}

pub(in crate::rules) fn no_other_token_guards(medium: &dyn Medium) -> Check {
    let (storage, other) = (open(medium)?, open(medium)?);
    let revs = create_many(&*storage, 2)?;
    point(&*storage, &revs[0])?;
    let lock_before = lock(&*storage, "push")?;
    let given_back = token(&*lock_before)?.clone();
    done("unlocking", lock_before.unlock())?;
    let elsewhere = open_stack(medium, &id("conformance", "two")?)?;
    let lock_elsewhere = lock(&*elsewhere, "push")?;
    let of_nobody = done("a token", LockToken::generate())?;
    let are_refused = || {
        for held in [&given_back, token(&*lock_elsewhere)?, &of_nobody] {
            let moved = storage.set_current(Expect::Anything, &revs[1], Some(held));
            refused("a move with another token", moved, &ErrorKind::LockLost)?;
            let removed = storage.remove(&revs[1], Some(held));
            refused("a removal with another token", removed, &ErrorKind::LockLost)?;
        }
        points_at(&*storage, Some(&revs[0]))?;
        lists(&*storage, &revs)
    };
    are_refused()?;
    let _held = lock(&*other, "push")?;
    are_refused()
}
