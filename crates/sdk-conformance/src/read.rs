//! Reading and listing.

use crate::expect::{Check, done, equal, hook, refused, same_bytes};
use crate::place::{
    NO_LIMIT, Place, create, create_many, held_by, lists, lock, nth, point, points_at, reads, revision,
    sealed,
};
use sdk_state::{Backend, ErrorKind, Expect, LockToken, Pointer};

pub(crate) fn an_absent_snapshot_is_not_found(place: &Place) -> Check {
    let backend = place.open()?;
    let absent = nth(7)?;
    let read = || backend.read(&absent, NO_LIMIT);
    refused("reading in an empty place", read(), &ErrorKind::NotFound)?;
    create_many(&*backend, 1)?;
    refused("reading what does not exist", read(), &ErrorKind::NotFound)
}

pub(crate) fn the_limit_is_exact(place: &Place) -> Check {
    let backend = place.open()?;
    let rev = &create_many(&*backend, 1)?[0];
    let bytes = sealed(0).len() as u64;
    let found = done("reading as much as the limit", backend.read(rev, bytes))?;
    equal("the number of bytes", &(found.len() as u64), &bytes)?;
    for limit in [bytes - 1, 1, 0] {
        let read = backend.read(rev, limit);
        refused("reading more than the limit", read, &ErrorKind::TooLarge)?;
    }
    done("reading without a limit", backend.read(rev, u64::MAX)).map(drop)
}

pub(crate) fn an_empty_snapshot_is_damaged(place: &Place) -> Check {
    let backend = place.open()?;
    let held = lock(&*backend, "push")?;
    let revs = create_many(&*backend, 2)?;
    point(&*backend, &revs[1], &held.token)?;
    place.overwrite_snapshot(&revs[0], b"")?;
    let read = backend.read(&revs[0], NO_LIMIT);
    refused("reading an empty snapshot", read, &ErrorKind::Damaged)?;
    let read = backend.read_prefix(&revs[0], 1);
    refused(
        "reading the beginning of an empty snapshot",
        read,
        &ErrorKind::Damaged,
    )?;
    let moved = backend.set_current(Expect::Anything, &revs[0], &held.token);
    refused("pointing at an empty snapshot", moved, &ErrorKind::NotFound)?;
    points_at(&*backend, Some(&revs[1]))?;
    reads(&*backend, &revs[1], &sealed(1))
}

pub(crate) fn an_untouched_place_is_empty(place: &Place) -> Check {
    let (backend, other) = (place.open()?, place.open()?);
    for _ in 0..2 {
        is_empty(&*backend)?;
        is_empty(&*other)?;
    }
    Ok(())
}

pub(crate) fn opening_and_reading_create_nothing(place: &Place) -> Check {
    is_absent(place, "nothing at all")?;
    let backend = place.open()?;
    is_absent(place, "opening")?;
    // What they answer is for other rules.
    let _ = backend.list();
    is_absent(place, "list")?;
    let _ = backend.inspect();
    is_absent(place, "inspect")?;
    let _ = backend.current();
    is_absent(place, "current")?;
    let _ = backend.lock_status();
    is_absent(place, "lock_status")?;
    let _ = backend.read(&nth(0)?, NO_LIMIT);
    is_absent(place, "read")?;
    let _ = backend.read_prefix(&nth(0)?, 0);
    is_absent(place, "read_prefix")?;
    let _ = backend.read_journal(&Pointer::new(nth(0)?, 0), 0, 0);
    is_absent(place, "read_journal")
}

pub(crate) fn a_refused_change_creates_nothing(place: &Place) -> Check {
    let backend = place.open()?;
    let rev = nth(0)?;
    let nobody = done("a token", LockToken::generate())?;
    // A change that is done instead breaks another rule, and leaves nothing to look for here.
    if backend.create(&revision("not-a-moment")?, b"sealed").is_ok() {
        return Ok(());
    }
    is_absent(place, "creating under a name that is no moment")?;
    if backend.replace(&rev, b"sealed", &nobody).is_ok() {
        return Ok(());
    }
    is_absent(place, "replacing what is absent")?;
    if backend.set_current(Expect::Anything, &rev, &nobody).is_ok() {
        return Ok(());
    }
    is_absent(place, "moving `current` to what is absent")?;
    let base = Pointer::new(rev.clone(), 0);
    if backend.append(&base, 0, b"record", &nobody).is_ok() {
        return Ok(());
    }
    is_absent(place, "a record where nothing is current")?;
    let _ = backend.remove(&rev, None);
    is_absent(place, "removing what is absent")?;
    let _ = backend.force_unlock(None);
    is_absent(place, "force_unlock of a free lock")
}

pub(crate) fn a_prefix_comes_with_the_whole_length(place: &Place) -> Check {
    let backend = place.open()?;
    let rev = &create_many(&*backend, 1)?[0];
    let whole = sealed(0);
    for most in [0, 1, whole.len() - 1, whole.len(), whole.len() + 1, usize::MAX] {
        let prefix = done("reading the beginning", backend.read_prefix(rev, most))?;
        let expected = &whole[..most.min(whole.len())];
        same_bytes("the beginning of a snapshot", &prefix.bytes, expected)?;
        let length = whole.len() as u64;
        equal("the length of the snapshot", &prefix.stored_bytes, &length)?;
    }
    let read = backend.read_prefix(&nth(7)?, 1);
    refused(
        "reading the beginning of what does not exist",
        read,
        &ErrorKind::NotFound,
    )
}

pub(crate) fn everything_is_listed_once_in_whatever_order(place: &Place) -> Check {
    let backend = place.open()?;
    let mut revs = Vec::new();
    // 7 and 100 have no common divisor: each number comes once, in neither direction.
    for n in (0..100).map(|n| n * 7 % 100) {
        let rev = nth(n)?;
        create(&*backend, &rev, &sealed(n))?;
        revs.push(rev);
    }
    lists(&*backend, &revs)?;
    lists(&*place.open()?, &revs)
}

pub(crate) fn a_damaged_snapshot_hides_no_other(place: &Place) -> Check {
    let backend = place.open()?;
    let revs = create_many(&*backend, 3)?;
    for content in [&b"damaged"[..], b""] {
        place.overwrite_snapshot(&revs[1], content)?;
        lists(&*backend, &revs)?;
        lists(&*place.open()?, &revs)?;
    }
    Ok(())
}

pub(crate) fn nothing_of_its_own_is_irregular(place: &Place) -> Check {
    let backend = place.open()?;
    let is_regular = |when: &str| {
        let found = done("inspecting", backend.inspect())?;
        equal(&format!("what is irregular {when}"), &found, &Vec::new())
    };
    is_regular("in an empty place")?;
    let held = lock(&*backend, "push")?;
    let revs = create_many(&*backend, 3)?;
    point(&*backend, &revs[0], &held.token)?;
    point(&*backend, &revs[1], &held.token)?;
    is_regular("under a lock")?;
    done("removing a revision", backend.remove(&revs[0], Some(&held.token)))?;
    done("unlocking", held.lock.unlock())?;
    is_regular("after moves and a removal")
}

fn is_absent(place: &Place, after: &str) -> Check {
    let exists = hook("exists", place.fixture.exists(&place.stack))?;
    equal(
        &format!("whether the stack exists after {after}"),
        &exists,
        &false,
    )
}

pub(crate) fn is_empty(backend: &dyn Backend) -> Check {
    lists(backend, &[])?;
    points_at(backend, None)?;
    held_by(backend, None)
}
