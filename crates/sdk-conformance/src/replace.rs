//! Replacing a snapshot.

use crate::expect::{Check, Flaw, done, refused};
use crate::place::{Leaving, NO_LIMIT, Place, create, create_many, lists, lock, nth, reads, sealed};
use sdk_state::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How often a snapshot is replaced while others read it.
const TURNS: usize = 16;
/// How many read it.
const READERS: usize = 6;
/// How many are replaced and removed at once.
const PAIRS: usize = 6;

pub(crate) fn a_snapshot_is_replaced_as_a_whole(place: &Place) -> Check {
    let backend = place.open()?;
    let held = lock(&*backend, "push")?;
    let revs = create_many(&*backend, 2)?;
    for content in [&b"new"[..], b"newer and longer than the first"] {
        let replaced = backend.replace(&revs[0], content, &held.token);
        done("replacing a snapshot", replaced)?;
        reads(&*backend, &revs[0], content)?;
        reads(&*place.open()?, &revs[0], content)?;
    }
    reads(&*backend, &revs[1], &sealed(1))?;
    lists(&*backend, &revs)
}

pub(crate) fn an_absent_snapshot_is_not_replaced(place: &Place) -> Check {
    let backend = place.open()?;
    let held = lock(&*backend, "push")?;
    let absent = nth(7)?;
    let replace = || backend.replace(&absent, b"new", &held.token);
    refused("replacing in an empty place", replace(), &ErrorKind::NotFound)?;
    let revs = create_many(&*backend, 1)?;
    refused("replacing what does not exist", replace(), &ErrorKind::NotFound)?;
    lists(&*backend, &revs)
}

pub(crate) fn readers_see_old_or_new_during_a_replacement(place: &Place) -> Check {
    let backend = place.open()?;
    let held = lock(&*backend, "push")?;
    let rev = nth(0)?;
    let contents = [vec![b'a'; 60_000], vec![b'b'; 20_000]];
    create(&*backend, &rev, &contents[0])?;
    let replacers = AtomicUsize::new(1);
    place.race_of(1 + READERS, |n, backend| {
        if n == 0 {
            let _done = Leaving(&replacers);
            return (1..=place.turns(TURNS)).try_for_each(|turn| {
                let replaced = backend.replace(&rev, &contents[turn % 2], &held.token);
                done("replacing", replaced)
            });
        }
        loop {
            let is_last = replacers.load(Ordering::SeqCst) == 0;
            let found = backend.read(&rev, NO_LIMIT);
            let found = done("reading a snapshot while it is replaced", found)?;
            if !contents.contains(&found) {
                return Err(Flaw::new(
                    "all of the old bytes or all of the new ones",
                    format!("{} bytes that are neither", found.len()),
                ));
            }
            if is_last {
                return Ok(());
            }
        }
    })?;
    Ok(())
}

pub(crate) fn a_removal_wins_over_a_replacement(place: &Place) -> Check {
    let backend = place.open()?;
    let held = lock(&*backend, "push")?;
    let revs = create_many(&*backend, PAIRS)?;
    let raced = place.race_of(2 * PAIRS, |n, backend| {
        let rev = &revs[n / 2];
        if n % 2 == 1 {
            return done("removing", backend.remove(rev, Some(&held.token)));
        }
        match backend.replace(rev, b"new", &held.token) {
            Err(error) if !error.is_not_found() => Err(Flaw::new(
                "a replacement that is done or refused as NotFound",
                format!("{error:?}"),
            )),
            _ => Ok(()),
        }
    })?;
    for rev in &revs[..raced.len() / 2] {
        let read = backend.read(rev, NO_LIMIT);
        refused("reading what was removed", read, &ErrorKind::NotFound)?;
    }
    Ok(())
}
