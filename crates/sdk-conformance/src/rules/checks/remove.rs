use crate::expect::{done, hook, refused};
use crate::medium::Medium;
use crate::place::{
    Fence, NO_LIMIT, RACERS, create_many, lists, nth, open, point, points_at, race, reads, sealed, stack,
};
use crate::violation::{Check, Flaw};
use sdk_state::{ErrorKind, Expect};

pub(in crate::rules) fn what_is_removed_is_gone_and_nothing_else(medium: &dyn Medium) -> Check {
    let (storage, other) = (open(medium)?, open(medium)?);
    let mut revs = create_many(&*storage, 3)?;
    let fence = Fence::raise(&*storage)?;
    lists(&*other, &revs)?;
    let gone = revs.remove(1);
    done("removing a snapshot", storage.remove(&gone, fence.token()))?;
    for handle in [&storage, &other, &open(medium)?] {
        lists(&**handle, &revs)?;
        refused(
            "reading a removed snapshot",
            handle.read(&gone, NO_LIMIT),
            &ErrorKind::NotFound,
        )?;
        reads(&**handle, &revs[0], &sealed(0))?;
        reads(&**handle, &revs[1], &sealed(2))?;
    }
    Ok(())
}

pub(in crate::rules) fn removing_what_is_absent_is_fine(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    match storage.remove(&nth(7)?, None) {
        Err(error) if error.kind() == &ErrorKind::Unsupported => {}
        removed => done("removing in an empty place", removed)?,
    }
    let revs = create_many(&*storage, 2)?;
    let fence = Fence::raise(&*storage)?;
    for _ in 0..2 {
        done("removing, again", storage.remove(&revs[0], fence.token()))?;
    }
    reads(&*storage, &revs[1], &sealed(1))
}

pub(in crate::rules) fn the_current_revision_is_not_removed(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let revs = create_many(&*storage, 2)?;
    let fence = Fence::raise(&*storage)?;
    point(&*storage, &revs[0])?;
    for handle in [&storage, &open(medium)?] {
        let removed = handle.remove(&revs[0], fence.token());
        refused(
            "removing the current revision",
            removed,
            &ErrorKind::RevisionIsCurrent,
        )?;
        reads(&**handle, &revs[0], &sealed(0))?;
        lists(&**handle, &revs)?;
    }
    point(&*storage, &revs[1])?;
    done(
        "removing what was current",
        storage.remove(&revs[0], fence.token()),
    )?;
    points_at(&*storage, Some(&revs[1]))
}

pub(in crate::rules) fn nothing_is_removed_while_the_pointer_is_damaged(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let revs = create_many(&*storage, 2)?;
    let fence = Fence::raise(&*storage)?;
    point(&*storage, &revs[0])?;
    hook("overwrite_pointer", medium.overwrite_pointer(&stack()?, b""))?;
    for rev in &revs {
        let removed = storage.remove(rev, fence.token());
        refused(
            "removing while the pointer is damaged",
            removed,
            &ErrorKind::Damaged,
        )?;
    }
    lists(&*storage, &revs)
}

pub(in crate::rules) fn moving_and_removing_at_once_never_leave_current_dangling(
    medium: &dyn Medium,
) -> Check {
    let storage = open(medium)?;
    let revs = create_many(&*storage, RACERS / 2 + 1)?;
    let fence = Fence::raise(&*storage)?;
    let held = fence.token();
    let (start, revs) = (&revs[RACERS / 2], &revs[..RACERS / 2]);
    point(&*storage, start)?;
    // Each revision has one thread that moves `current` to it, and one that removes it.
    race(medium, |n, storage| {
        let rev = &revs[n % revs.len()];
        let (what, outcome, other_kind) = if n < revs.len() {
            let moved = storage.set_current(Expect::Anything, rev, None);
            (
                "moving `current` to what is being removed",
                moved,
                ErrorKind::NotFound,
            )
        } else {
            let removed = storage.remove(rev, held);
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
            let Some(current) = done("reading the pointer", storage.current())? else {
                return Err(Flaw::new("a current revision", "none"));
            };
            let read = storage.read(&current, NO_LIMIT);
            let stayed = done("reading the pointer", storage.current())?.as_ref() == Some(&current);
            match read {
                Err(error) if error.kind() == &ErrorKind::NotFound && !stayed => {}
                read => return done("reading what is current", read).map(drop),
            }
        }
    })?;
    Ok(())
}
