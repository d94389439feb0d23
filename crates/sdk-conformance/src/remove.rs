//! Removing a snapshot.

use crate::expect::{Check, Flaw, done, refused};
use crate::place::{NO_LIMIT, Place, create, create_many, lists, lock, nth, point, points_at, reads, sealed};
use sdk_state::{ErrorKind, Expect};

pub(crate) fn what_is_removed_is_gone_and_nothing_else(place: &Place) -> Check {
    let (backend, other) = (place.open()?, place.open()?);
    let held = lock(&*backend, "delete")?;
    let mut revs = create_many(&*backend, 3)?;
    lists(&*other, &revs)?;
    let gone = revs.remove(1);
    done("removing a snapshot", backend.remove(&gone, Some(&held.token)))?;
    for handle in [&backend, &other, &place.open()?] {
        lists(&**handle, &revs)?;
        let read = handle.read(&gone, NO_LIMIT);
        refused("reading a removed snapshot", read, &ErrorKind::NotFound)?;
        reads(&**handle, &revs[0], &sealed(0))?;
        reads(&**handle, &revs[1], &sealed(2))?;
    }
    Ok(())
}

pub(crate) fn removing_what_is_absent_succeeds(place: &Place) -> Check {
    let backend = place.open()?;
    match backend.remove(&nth(7)?, None) {
        // Whether a removal needs the lock is for another rule.
        Err(error) if error.kind() == &ErrorKind::Unsupported => {}
        removed => done("removing in an empty place", removed)?,
    }
    let held = lock(&*backend, "delete")?;
    let revs = create_many(&*backend, 2)?;
    for _ in 0..2 {
        let removed = backend.remove(&revs[0], Some(&held.token));
        done("removing, again", removed)?;
    }
    reads(&*backend, &revs[1], &sealed(1))
}

pub(crate) fn the_current_revision_is_not_removed(place: &Place) -> Check {
    let backend = place.open()?;
    let held = lock(&*backend, "delete")?;
    let revs = create_many(&*backend, 2)?;
    point(&*backend, &revs[0], &held.token)?;
    for handle in [&backend, &place.open()?] {
        let removed = handle.remove(&revs[0], Some(&held.token));
        refused(
            "removing the current revision",
            removed,
            &ErrorKind::RevisionIsCurrent,
        )?;
        reads(&**handle, &revs[0], &sealed(0))?;
        lists(&**handle, &revs)?;
    }
    point(&*backend, &revs[1], &held.token)?;
    let removed = backend.remove(&revs[0], Some(&held.token));
    done("removing what was current", removed)?;
    points_at(&*backend, Some(&revs[1]))
}

pub(crate) fn nothing_is_removed_while_the_pointer_is_damaged(place: &Place) -> Check {
    let backend = place.open()?;
    let held = lock(&*backend, "delete")?;
    let revs = create_many(&*backend, 2)?;
    point(&*backend, &revs[0], &held.token)?;
    place.overwrite_pointer(b"")?;
    for rev in &revs {
        let removed = backend.remove(rev, Some(&held.token));
        refused(
            "removing while the pointer is damaged",
            removed,
            &ErrorKind::Damaged,
        )?;
    }
    lists(&*backend, &revs)
}

pub(crate) fn moves_and_removals_never_leave_current_dangling(place: &Place) -> Check {
    let backend = place.open()?;
    let held = lock(&*backend, "push")?;
    let pairs = place.racers() / 2;
    let revs = create_many(&*backend, pairs + 1)?;
    let (start, revs) = (&revs[pairs], &revs[..pairs]);
    point(&*backend, start, &held.token)?;
    // Each revision has one thread that moves `current` to it, and one that removes it.
    place.race(|n, backend| {
        let rev = &revs[n % revs.len()];
        let (what, outcome, other_kind) = if n < revs.len() {
            let moved = backend.set_current(Expect::Anything, rev, &held.token);
            (
                "moving `current` to what is being removed",
                moved.map(drop),
                ErrorKind::NotFound,
            )
        } else {
            let removed = backend.remove(rev, Some(&held.token));
            (
                "removing what `current` is moved to",
                removed,
                ErrorKind::RevisionIsCurrent,
            )
        };
        match outcome {
            Ok(()) => {}
            Err(error) if error.kind() == &other_kind => {}
            Err(error) => {
                return Err(Flaw::new(
                    format!("{what} to be done or {other_kind:?}"),
                    format!("{error:?}"),
                ));
            }
        }
        // Whatever is current now may be moved away and removed a moment later; only one that stays is dangling.
        loop {
            let Some(current) = done("reading the pointer", backend.current())? else {
                return Err(Flaw::new("a current revision", "none"));
            };
            let read = backend.read(&current.revision, NO_LIMIT);
            let now = done("reading the pointer", backend.current())?;
            let stayed = now.is_some_and(|now| now.revision == current.revision);
            match read {
                Err(error) if error.is_not_found() && !stayed => {}
                read => return done("reading what is current", read).map(drop),
            }
        }
    })?;
    Ok(())
}

pub(crate) fn a_handle_does_not_point_at_what_it_created_and_lost(place: &Place) -> Check {
    let (backend, other) = (place.open()?, place.open()?);
    let held = lock(&*backend, "push")?;
    let kept = nth(9)?;
    create(&*backend, &kept, &sealed(9))?;
    // Removed through the handle itself, then through another one; with nothing current, then with something.
    for (n, remover, current) in [
        (0, &backend, None),
        (1, &other, None),
        (2, &backend, Some(&kept)),
        (3, &other, Some(&kept)),
    ] {
        let rev = nth(n)?;
        create(&*backend, &rev, &sealed(n))?;
        if let Some(kept) = current {
            point(&*backend, kept, &held.token)?;
        }
        done(
            "removing what was created",
            remover.remove(&rev, Some(&held.token)),
        )?;
        let moved = backend.set_current(Expect::Anything, &rev, &held.token);
        refused("moving `current` to what is removed", moved, &ErrorKind::NotFound)?;
        points_at(&*backend, current)?;
        points_at(&*other, current)?;
    }
    Ok(())
}
