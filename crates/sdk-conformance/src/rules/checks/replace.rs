use crate::expect::{done, refused};
use crate::medium::Medium;
use crate::place::{Fence, Leaving, NO_LIMIT, create, create_many, lists, nth, open, race_of, reads, sealed};
use crate::violation::{Check, Flaw};
use sdk_state::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How often a snapshot is replaced while others read it.
const TURNS: usize = 16;
/// How many read it.
const READERS: usize = 6;
/// How many are replaced and removed at once.
const PAIRS: usize = 6;

pub(in crate::rules) fn a_snapshot_is_replaced_as_a_whole(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let revs = create_many(&*storage, 2)?;
    for content in [&b"new"[..], b"newer and longer than the first"] {
        done("replacing a snapshot", storage.replace(&revs[0], content))?;
        reads(&*storage, &revs[0], content)?;
        reads(&*open(medium)?, &revs[0], content)?;
    }
    reads(&*storage, &revs[1], &sealed(1))?;
    lists(&*storage, &revs)
}

pub(in crate::rules) fn an_absent_snapshot_is_not_replaced(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let absent = nth(7)?;
    refused(
        "replacing in an empty place",
        storage.replace(&absent, b"new"),
        &ErrorKind::NotFound,
    )?;
    let revs = create_many(&*storage, 1)?;
    refused(
        "replacing what does not exist",
        storage.replace(&absent, b"new"),
        &ErrorKind::NotFound,
    )?;
    lists(&*storage, &revs)
}

pub(in crate::rules) fn a_snapshot_is_old_or_new_while_it_is_replaced(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let rev = nth(0)?;
    let contents = [vec![b'a'; 60_000], vec![b'b'; 20_000]];
    create(&*storage, &rev, &contents[0])?;
    let replacers = AtomicUsize::new(1);
    race_of(1 + READERS, medium, |n, storage| {
        if n == 0 {
            let _done = Leaving(&replacers);
            return (1..=TURNS)
                .try_for_each(|turn| done("replacing", storage.replace(&rev, &contents[turn % 2])));
        }
        loop {
            let found = storage.read(&rev, NO_LIMIT);
            let found = done("reading a snapshot while it is replaced", found)?;
            if !contents.contains(&found) {
                return Err(Flaw::new(
                    "all of the old bytes or all of the new ones",
                    format!("{} bytes that are neither", found.len()),
                ));
            }
            if replacers.load(Ordering::SeqCst) == 0 {
                return Ok(());
            }
        }
    })?;
    Ok(())
}

pub(in crate::rules) fn a_removal_wins_over_a_replacement(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let revs = create_many(&*storage, PAIRS)?;
    let fence = Fence::raise(&*storage)?;
    let held = fence.token();
    race_of(2 * PAIRS, medium, |n, storage| {
        let rev = &revs[n / 2];
        if n % 2 == 1 {
            return done("removing", storage.remove(rev, held));
        }
        match storage.replace(rev, b"new") {
            Err(error) if *error.kind() != ErrorKind::NotFound => Err(Flaw::new(
                "a replacement that is done or refused as NotFound",
                format!("{error:?}"),
            )),
            _ => Ok(()),
        }
    })?;
    for rev in &revs {
        refused(
            "reading what was removed",
            storage.read(rev, NO_LIMIT),
            &ErrorKind::NotFound,
        )?;
    }
    Ok(())
}
