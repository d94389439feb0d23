//! What is written, read, listed and deleted.

use super::place::{
    AnyBackend, get, held_by, is_fresh, lists, lock, open, open_many, state, state_of, write,
};
use crate::expect::{done, equal, holds, hook, refused};
use crate::medium::BackendMedium;
use crate::place::{RACERS, id, nth, race_on, stack};
use crate::violation::Check;
use sdk_state::{ErrorKind, Revision, WriteOptions};
use std::collections::HashSet;
use time::OffsetDateTime;

pub(in crate::backend_rules) fn what_is_written_is_read_and_not_current(medium: &dyn BackendMedium) -> Check {
    let (writer, old) = (open(medium)?, open(medium)?);
    let written = state("what is written")?;
    let rev = write(&writer, &written)?;
    for backend in [&writer, &old, &open(medium)?] {
        holds(
            "the snapshot is the one that was written",
            get(backend, &rev)? == written,
        )?;
        is_fresh(backend, 1)?;
    }
    done("making it current", writer.set_current(&rev))?;
    write(&writer, &state("another")?)?;
    equal(
        "the current revision",
        &done("reading it", old.current_rev())?,
        &rev,
    )
}

pub(in crate::backend_rules) fn the_list_is_sorted(medium: &dyn BackendMedium) -> Check {
    let backend = open(medium)?;
    let mut revs = Vec::new();
    for n in 0..20 {
        revs.push(write(&backend, &state(&n.to_string())?)?);
    }
    revs.sort_unstable();
    lists(&backend, &revs)
}

pub(in crate::backend_rules) fn writers_at_once_get_revisions_of_their_own(
    medium: &dyn BackendMedium,
) -> Check {
    get_revisions_of_their_own(&open_many(medium)?)
}

pub(in crate::backend_rules) fn writers_whose_clocks_stand_still_get_revisions_of_their_own(
    medium: &dyn BackendMedium,
) -> Check {
    let id = stack()?;
    let stopped = || hook("open_at", medium.open_at(&id, OffsetDateTime::UNIX_EPOCH));
    get_revisions_of_their_own(&(0..RACERS).map(|_| stopped()).collect::<Check<Vec<_>>>()?)
}

fn get_revisions_of_their_own(backends: &[AnyBackend]) -> Check {
    let revs = race_on(backends, |n, backend| write(backend, &state(&n.to_string())?))?;
    let different: HashSet<&Revision> = revs.iter().collect();
    equal("the number of different revisions", &different.len(), &RACERS)?;
    for (n, rev) in revs.iter().enumerate() {
        let found = get(&backends[0], rev)?.factory.content_revision;
        equal("the snapshot of a writer", &found, &n.to_string())?;
    }
    Ok(())
}

pub(in crate::backend_rules) fn a_write_sorts_after_the_current_revision(
    medium: &dyn BackendMedium,
) -> Check {
    let backend = open(medium)?;
    for n in 0..20 {
        let before = match n {
            0 => None,
            _ => Some(done("reading the current revision", backend.current_rev())?),
        };
        let rev = write(&backend, &state(&n.to_string())?)?;
        holds(
            "a new revision sorts after the current one",
            before.as_ref() < Some(&rev),
        )?;
        done("making it current", backend.set_current(&rev))?;
    }
    Ok(())
}

pub(in crate::backend_rules) fn a_snapshot_of_another_stack_is_not_written(
    medium: &dyn BackendMedium,
) -> Check {
    let backend = open(medium)?;
    for other in [id("conformance", "two")?, id("other", "one")?] {
        let written = backend.write(&state_of(&other, "")?, &WriteOptions::new());
        refused(
            "writing a state of another stack",
            written,
            &ErrorKind::InvalidSnapshot,
        )?;
    }
    lists(&backend, &[])
}

pub(in crate::backend_rules) fn what_does_not_exist_is_not_found(medium: &dyn BackendMedium) -> Check {
    let backend = open(medium)?;
    let absent = nth(0)?;
    for _ in 0..2 {
        refused(
            "getting what does not exist",
            backend.get(&absent),
            &ErrorKind::NotFound,
        )?;
        refused(
            "pointing at what does not exist",
            backend.set_current(&absent),
            &ErrorKind::NotFound,
        )?;
        write(&backend, &state("what is written")?)?;
    }
    is_fresh(&backend, 2)
}

pub(in crate::backend_rules) fn deleting_spares_the_current_revision(medium: &dyn BackendMedium) -> Check {
    let backend = open(medium)?;
    let lock = lock(&backend)?;
    let held = Some(&*lock);
    let revs = [
        write(&backend, &state("first")?)?,
        write(&backend, &state("second")?)?,
    ];
    done("making it current", backend.set_current(&revs[1]))?;
    for _ in 0..2 {
        done("deleting a revision", backend.delete(&revs[0], held))?;
    }
    refused(
        "getting what was deleted",
        backend.get(&revs[0]),
        &ErrorKind::NotFound,
    )?;
    let deleted = backend.delete(&revs[1], held);
    refused(
        "deleting the current revision",
        deleted,
        &ErrorKind::RevisionIsCurrent,
    )?;
    lists(&backend, &revs[1..])?;
    get(&backend, &revs[1]).map(drop)
}

pub(in crate::backend_rules) fn opening_and_reading_create_nothing(medium: &dyn BackendMedium) -> Check {
    let (backend, other) = (open(medium)?, open(medium)?);
    for _ in 0..2 {
        for backend in [&backend, &other] {
            lists(backend, &[])?;
            is_fresh(backend, 0)?;
            refused(
                "getting from an empty place",
                backend.get(&nth(0)?),
                &ErrorKind::NotFound,
            )?;
            held_by(backend, None)?;
        }
    }
    Ok(())
}

pub(in crate::backend_rules) fn a_large_snapshot_is_kept(medium: &dyn BackendMedium) -> Check {
    let backend = open(medium)?;
    // Digits without a pattern, which no compressor makes small.
    let digits = (0..1 << 19).map(|n: u64| format!("{:016x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    let large = state(&digits.collect::<String>())?;
    let rev = write(&backend, &large)?;
    let found = get(&open(medium)?, &rev)?;
    holds("the snapshot is the one that was written", found == large)
}
