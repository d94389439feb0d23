//! The fencing token: no change without the lock.

use crate::expect::{Check, Flaw, done, refused, refused_where};
use crate::place::{
    Held, Leaving, NO_LIMIT, Place, breathe, create_many, held_by, id, lists, lock, names_holder, point,
    points_at, reads, sealed,
};
use sdk_state::{Backend, Error, ErrorKind, Expect, LockToken, Revision};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How often a holder loses its lock while it moves.
const TURNS: usize = 8;
/// How many threads change something for it, and one that takes the lock from it.
const RACERS: usize = 4;

pub(crate) fn the_holder_moves_replaces_and_removes(place: &Place) -> Check {
    let (backend, other) = (place.open()?, place.open()?);
    let revs = create_many(&*backend, 3)?;
    let held = lock(&*backend, "push")?;
    for (expect, rev) in [
        (Expect::Anything, &revs[0]),
        (Expect::Revision(&revs[0]), &revs[1]),
    ] {
        let moved = backend.set_current(expect, rev, &held.token);
        done("the holder's move", moved)?;
        points_at(&*backend, Some(rev))?;
    }
    // Through another handle the token is as good.
    for (handle, gone, content) in [(&backend, &revs[0], "new"), (&other, &revs[2], "newer")] {
        let replaced = handle.replace(&revs[1], content.as_bytes(), &held.token);
        done("the holder's replacement", replaced)?;
        reads(&**handle, &revs[1], content.as_bytes())?;
        done("the holder's removal", handle.remove(gone, Some(&held.token)))?;
        let read = handle.read(gone, NO_LIMIT);
        refused("reading what was removed", read, &ErrorKind::NotFound)?;
    }
    let moved = other.set_current(Expect::Anything, &revs[1], &held.token);
    done("the holder's move through another handle", moved)?;
    done("checking the lock", held.lock.check())
}

pub(crate) fn an_evicted_holder_does_not_move_current(place: &Place) -> Check {
    is_fenced(place, |backend, revs, token| {
        for expect in [Expect::Anything, Expect::Revision(&revs[0])] {
            let moved = backend.set_current(expect, &revs[1], token);
            refused("an evicted holder's move", moved, &ErrorKind::LockLost)?;
            points_at(backend, Some(&revs[0]))?;
        }
        Ok(())
    })
}

pub(crate) fn an_evicted_holder_does_not_remove(place: &Place) -> Check {
    is_fenced(place, |backend, revs, token| {
        let removed = backend.remove(&revs[1], Some(token));
        refused("an evicted holder's removal", removed, &ErrorKind::LockLost)?;
        lists(backend, revs)
    })
}

pub(crate) fn an_evicted_holder_does_not_replace(place: &Place) -> Check {
    is_fenced(place, |backend, revs, token| {
        let replaced = backend.replace(&revs[1], b"new", token);
        refused("an evicted holder's replacement", replaced, &ErrorKind::LockLost)?;
        reads(backend, &revs[1], &sealed(1))
    })
}

/// Demands that `are_refused` holds for the token of an evicted holder, while nobody holds the lock and while somebody does.
/// Of two revisions the first is current.
fn is_fenced(place: &Place, are_refused: fn(&dyn Backend, &[Revision], &LockToken) -> Check) -> Check {
    let (backend, other) = (place.open()?, place.open()?);
    let revs = create_many(&*backend, 2)?;
    let old = lock(&*backend, "push")?;
    point(&*backend, &revs[0], &old.token)?;
    done("force_unlock", other.force_unlock(None))?;
    are_refused(&*backend, &revs, &old.token)?;
    let new = lock(&*other, "push")?;
    are_refused(&*backend, &revs, &old.token)?;
    held_by(&*backend, Some(&new.token))
}

pub(crate) fn no_move_of_an_evicted_holder_is_done_later(place: &Place) -> Check {
    no_move_is_done_later(place, |backend, _| {
        done("force_unlock", backend.force_unlock(None))?;
        Ok(None)
    })
}

pub(crate) fn no_move_is_done_once_the_next_holder_has_the_lock(place: &Place) -> Check {
    no_move_is_done_later(place, |backend, held| {
        done("unlocking", held.lock.unlock())?;
        lock(backend, "next").map(Some)
    })
}

/// Demands that no move that was begun under a lock is done after `end` has ended that lock.
fn no_move_is_done_later(place: &Place, end: fn(&dyn Backend, Held) -> Check<Option<Held>>) -> Check {
    let backend = place.open()?;
    let racers = RACERS.min(place.racers());
    let revs = create_many(&*backend, racers)?;
    for _ in 0..place.turns(TURNS) {
        let held = lock(&*backend, "push")?;
        let token = held.token.clone();
        let held = Mutex::new(Some(held));
        let (movers, moves, is_over) = (
            AtomicUsize::new(racers - 1),
            AtomicUsize::new(0),
            AtomicBool::new(false),
        );
        let found = place.race_of(racers, |n, backend| {
            if n == 0 {
                while moves.load(Ordering::SeqCst) == 0 && movers.load(Ordering::SeqCst) > 0 {
                    breathe();
                }
                let held = held.lock().ok().and_then(|mut held| held.take());
                let next = held.map(|held| end(backend, held)).transpose()?;
                let current = done("reading the pointer", backend.current())?;
                is_over.store(true, Ordering::SeqCst);
                return Ok(Some((current, next.flatten())));
            }
            let _done = Leaving(&movers);
            loop {
                let is_late = is_over.load(Ordering::SeqCst);
                match backend.set_current(Expect::Anything, &revs[n], &token) {
                    Err(error) if error.is_lock_lost() => return Ok(None),
                    Err(error) => return Err(Flaw::new("a move, or LockLost", format!("{error:?}"))),
                    Ok(_) if is_late => {
                        return Err(Flaw::new(
                            "LockLost once the lock is lost",
                            "a move that was done",
                        ));
                    }
                    Ok(_) => moves.fetch_add(1, Ordering::SeqCst),
                };
                breathe();
            }
        })?;
        let Some((current, _next)) = found.into_iter().flatten().next() else {
            return Err(Flaw::new("what is current", "nobody who looked"));
        };
        points_at(&*backend, current.as_ref().map(|pointer| &pointer.revision))?;
        // However that went.
        done("force_unlock", backend.force_unlock(None))?;
    }
    Ok(())
}

pub(crate) fn no_other_token_guards(place: &Place) -> Check {
    let (backend, other) = (place.open()?, place.open()?);
    let revs = create_many(&*backend, 2)?;
    let before = lock(&*backend, "push")?;
    point(&*backend, &revs[0], &before.token)?;
    done("unlocking", before.lock.unlock())?;
    let elsewhere = place.open_stack(&id("conformance", "two")?)?;
    let held_elsewhere = lock(&*elsewhere, "push")?;
    let of_nobody = done("a token", LockToken::generate())?;
    let are_refused = || {
        for token in [&before.token, &held_elsewhere.token, &of_nobody] {
            let answers: [(&str, Result<(), Error>); 3] = [
                (
                    "a move with another token",
                    backend.set_current(Expect::Anything, &revs[1], token).map(drop),
                ),
                (
                    "a replacement with another token",
                    backend.replace(&revs[1], b"new", token),
                ),
                (
                    "a removal with another token",
                    backend.remove(&revs[1], Some(token)),
                ),
            ];
            for (what, answer) in answers {
                refused(what, answer, &ErrorKind::LockLost)?;
            }
        }
        points_at(&*backend, Some(&revs[0]))?;
        reads(&*backend, &revs[1], &sealed(1))
    };
    are_refused()?;
    let _held = lock(&*other, "push")?;
    are_refused()
}

pub(crate) fn a_removal_without_a_token_respects_the_lock(place: &Place) -> Check {
    let (backend, other) = (place.open()?, place.open()?);
    let revs = create_many(&*backend, 3)?;
    let is_removed = |when: &str, rev: &Revision| {
        done(&format!("removing while {when}"), backend.remove(rev, None))?;
        refused(
            "reading what was removed",
            other.read(rev, NO_LIMIT),
            &ErrorKind::NotFound,
        )
    };
    is_removed("nobody holds the lock", &revs[0])?;
    let held = lock(&*other, "push")?;
    for handle in [&backend, &other] {
        refused_where(
            "removing while somebody holds the lock",
            handle.remove(&revs[1], None),
            "Locked by the holder",
            |kind| names_holder(kind, &held.token),
        )?;
        reads(&**handle, &revs[1], &sealed(1))?;
    }
    done("checking the lock", held.lock.check())?;
    // Whatever becomes of a lock that is given back.
    done("force_unlock", backend.force_unlock(None))?;
    is_removed("nobody holds the lock", &revs[1])?;
    let _dead = lock(&*other, "push")?;
    if place.fixture.kill_holder(&place.stack).is_some() {
        is_removed("the holder is dead", &revs[2])?;
    }
    Ok(())
}
