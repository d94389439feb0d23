use crate::expect::{done, refused};
use crate::medium::Medium;
use crate::place::{NO_LIMIT, create_many, held_by, lists, lock, open, point, points_at, token};
use crate::violation::Check;
use sdk_state::{ErrorKind, Expect};

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
