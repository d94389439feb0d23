use crate::expect::{done, equal, hook, refused, same_bytes};
use crate::medium::Medium;
use crate::place::{
    NO_LIMIT, create_many, held_by, lists, nth, open, point, points_at, reads, revision, sealed, stack,
};
use crate::violation::Check;
use sdk_state::{ErrorKind, Expect, Storage};

pub(in crate::rules) fn an_absent_snapshot_is_not_found(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let absent = nth(7)?;
    refused(
        "reading in an empty place",
        storage.read(&absent, NO_LIMIT),
        &ErrorKind::NotFound,
    )?;
    create_many(&*storage, 1)?;
    refused(
        "reading what does not exist",
        storage.read(&absent, NO_LIMIT),
        &ErrorKind::NotFound,
    )
}

pub(in crate::rules) fn the_limit_is_exact(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let rev = &create_many(&*storage, 1)?[0];
    let bytes = sealed(0).len() as u64;
    let found = done("reading as much as the limit", storage.read(rev, bytes))?;
    equal("the number of bytes", &(found.len() as u64), &bytes)?;
    for limit in [bytes - 1, 1, 0] {
        refused(
            "reading more than the limit",
            storage.read(rev, limit),
            &ErrorKind::TooLarge,
        )?;
    }
    done("reading without a limit", storage.read(rev, u64::MAX)).map(drop)
}

pub(in crate::rules) fn an_empty_snapshot_is_damaged(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let revs = create_many(&*storage, 2)?;
    point(&*storage, &revs[1])?;
    hook(
        "overwrite_snapshot",
        medium.overwrite_snapshot(&stack()?, &revs[0], b""),
    )?;
    refused(
        "reading an empty snapshot",
        storage.read(&revs[0], NO_LIMIT),
        &ErrorKind::Damaged,
    )?;
    refused(
        "reading the beginning of an empty snapshot",
        storage.read_prefix(&revs[0], 1),
        &ErrorKind::Damaged,
    )?;
    let moved = storage.set_current(Expect::Anything, &revs[0], None);
    refused("pointing at an empty snapshot", moved, &ErrorKind::NotFound)?;
    points_at(&*storage, Some(&revs[1]))?;
    reads(&*storage, &revs[1], &sealed(1))
}

pub(in crate::rules) fn an_untouched_place_is_empty(medium: &dyn Medium) -> Check {
    let (storage, other) = (open(medium)?, open(medium)?);
    for _ in 0..2 {
        is_empty(&*storage)?;
        is_empty(&*other)?;
    }
    Ok(())
}

pub(in crate::rules) fn opening_and_reading_create_nothing(medium: &dyn Medium) -> Check {
    let nothing = |after: &str| is_absent(medium, after);
    nothing("nothing at all")?;
    let storage = open(medium)?;
    nothing("opening")?;
    // What they answer is for other rules.
    let _ = storage.list();
    nothing("list")?;
    let _ = storage.current();
    nothing("current")?;
    let _ = storage.lock_status();
    nothing("lock_status")?;
    let _ = storage.read(&nth(0)?, NO_LIMIT);
    nothing("read")?;
    let _ = storage.read_prefix(&nth(0)?, 0);
    nothing("read_prefix")
}

pub(in crate::rules) fn a_refused_change_creates_nothing(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let rev = nth(0)?;
    // A change that is done instead breaks another rule, and leaves nothing to look for here.
    if storage.create(&revision("not-a-moment")?, b"sealed").is_ok() {
        return Ok(());
    }
    is_absent(medium, "creating under a name that is no moment")?;
    if storage.replace(&rev, b"sealed").is_ok() {
        return Ok(());
    }
    is_absent(medium, "replacing what is absent")?;
    if storage.set_current(Expect::Anything, &rev, None).is_ok() {
        return Ok(());
    }
    is_absent(medium, "moving `current` to what is absent")?;
    let _ = storage.remove(&rev, None);
    is_absent(medium, "removing what is absent")?;
    let _ = storage.force_unlock(None);
    is_absent(medium, "force_unlock of a free lock")
}

pub(in crate::rules) fn a_beginning_comes_with_the_length_of_the_whole(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let rev = &create_many(&*storage, 1)?[0];
    let whole = sealed(0);
    for most in [0, 1, whole.len() - 1, whole.len(), whole.len() + 1, usize::MAX] {
        let prefix = done("reading the beginning", storage.read_prefix(rev, most))?;
        let expected = &whole[..most.min(whole.len())];
        same_bytes("the beginning of a snapshot", &prefix.bytes, expected)?;
        equal(
            "the length of the snapshot",
            &prefix.stored_bytes,
            &(whole.len() as u64),
        )?;
    }
    refused(
        "reading the beginning of what does not exist",
        storage.read_prefix(&nth(7)?, 1),
        &ErrorKind::NotFound,
    )
}

fn is_absent(medium: &dyn Medium, after: &str) -> Check {
    let exists = hook("exists", medium.exists(&stack()?))?;
    equal(
        &format!("whether the stack exists after {after}"),
        &exists,
        &false,
    )
}

fn is_empty(storage: &dyn Storage) -> Check {
    lists(storage, &[])?;
    points_at(storage, None)?;
    held_by(storage, None)
}
