//! What is current, and how it is moved.

use super::place::{AnyBackend, PATIENCE_OF_MANY, count, is_fresh, lock, open, open_many, state, write};
use crate::expect::{done, equal, holds};
use crate::medium::BackendMedium;
use crate::place::{RACERS, never_won, race_on, won};
use crate::violation::{Check, Flaw};
use sdk_state::{Error, ErrorKind, Expect, Revision, Wait};

pub(in crate::backend_rules) fn nothing_current_is_told_from_a_lost_pointer(
    medium: &dyn BackendMedium,
) -> Check {
    let backend = open(medium)?;
    is_fresh(&backend, 0)?;
    for n in 1..=3 {
        write(&backend, &state("what is written")?)?;
        is_fresh(&backend, n)?;
    }
    Ok(())
}

pub(in crate::backend_rules) fn head_is_the_current_revision_and_its_snapshot(
    medium: &dyn BackendMedium,
) -> Check {
    let backend = open(medium)?;
    let states = [state("first")?, state("second")?];
    let revs = [write(&backend, &states[0])?, write(&backend, &states[1])?];
    for n in [0, 1, 0] {
        done("making it current", backend.set_current(&revs[n]))?;
        for backend in [&backend, &open(medium)?] {
            let (rev, snapshot) = done("reading the head", backend.head())?;
            equal("the revision of the head", &rev, &revs[n])?;
            equal(
                "the current revision",
                &done("reading it", backend.current_rev())?,
                &revs[n],
            )?;
            let current = done("reading the current snapshot", backend.current())?;
            holds(
                "head and current are the snapshot",
                snapshot == states[n] && current == states[n],
            )?;
        }
    }
    Ok(())
}

pub(in crate::backend_rules) fn a_compared_move_compares(medium: &dyn BackendMedium) -> Check {
    let backend = open(medium)?;
    let lock = lock(&backend)?;
    let revs = [
        write(&backend, &state("first")?)?,
        write(&backend, &state("second")?)?,
    ];
    let moved = |expected: Option<&Revision>, rev: &Revision| {
        won(backend.compare_and_set_current(Expect::Exactly(expected), rev, Some(&*lock)))
    };
    holds(
        "an expectation of a revision where there is none fails",
        !moved(Some(&revs[0]), &revs[1])?,
    )?;
    is_fresh(&backend, 2)?;
    holds("an expectation of nothing succeeds", moved(None, &revs[0])?)?;
    holds("an expectation of nothing fails", !moved(None, &revs[1])?)?;
    holds(
        "an expectation of another revision fails",
        !moved(Some(&revs[1]), &revs[1])?,
    )?;
    equal(
        "the current revision",
        &done("reading it", backend.current_rev())?,
        &revs[0],
    )?;
    holds(
        "an expectation of the current one succeeds",
        moved(Some(&revs[0]), &revs[1])?,
    )?;
    equal(
        "the current revision",
        &done("reading it", backend.current_rev())?,
        &revs[1],
    )
}

pub(in crate::backend_rules) fn no_update_is_lost(medium: &dyn BackendMedium) -> Check {
    let backend = open(medium)?;
    let zero = write(&backend, &state("0")?)?;
    done("making it current", backend.set_current(&zero))?;
    race_on(&open_many(medium)?, |_, backend| {
        for _ in 0..RACERS {
            let (rev, snapshot) = done("reading the head", backend.head())?;
            let next = write(backend, &state(&(count(&snapshot)? + 1).to_string())?)?;
            let expect = Expect::Exactly(Some(&rev));
            let moved = match backend.compare_and_set_current(expect, &next, None) {
                // A medium that cannot compare without the lock.
                Err(error) if error.kind() == &ErrorKind::Unsupported => {
                    let lock = done("locking", backend.lock("push", &Wait::at_most(PATIENCE_OF_MANY)))?;
                    won(backend.compare_and_set_current(expect, &next, Some(&*lock)))?
                }
                moved => won(moved)?,
            };
            if moved {
                return Ok(());
            }
        }
        Err(never_won())
    })?;
    let found = count(&done("reading the current snapshot", backend.current())?)?;
    equal("the counter that every thread incremented once", &found, &RACERS)
}

pub(in crate::backend_rules) fn moving_and_deleting_at_once_never_leave_current_dangling(
    medium: &dyn BackendMedium,
) -> Check {
    let backend = open(medium)?;
    let revs: Vec<Revision> = (0..=RACERS / 2)
        .map(|n| write(&backend, &state(&n.to_string())?))
        .collect::<Check<_>>()?;
    let (start, revs) = (&revs[RACERS / 2], &revs[..RACERS / 2]);
    done("making it current", backend.set_current(start))?;
    race_on(&open_many(medium)?, |n, backend| {
        let rev = &revs[n % revs.len()];
        let (outcome, other_kind) = if n < revs.len() {
            (backend.set_current(rev), ErrorKind::NotFound)
        } else {
            (delete(backend, rev)?, ErrorKind::RevisionIsCurrent)
        };
        match outcome {
            Err(error) if *error.kind() != other_kind => Err(Flaw::new(
                format!("a move or a deletion to be done, or refused as {other_kind:?}"),
                format!("{error:?}"),
            )),
            _ => Ok(()),
        }
    })?;
    done("reading what is current", backend.head()).map(drop)
}

/// Under the lock on a medium that does not delete without.
fn delete(backend: &AnyBackend, rev: &Revision) -> Check<Result<(), Error>> {
    match backend.delete(rev, None) {
        Err(error) if error.kind() == &ErrorKind::Unsupported => {
            let lock = done("locking", backend.lock("push", &Wait::at_most(PATIENCE_OF_MANY)))?;
            Ok(backend.delete(rev, Some(&*lock)))
        }
        outcome => Ok(outcome),
    }
}
