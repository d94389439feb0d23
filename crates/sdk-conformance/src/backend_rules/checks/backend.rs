use crate::expect::{done, equal, holds, refused, refused_where};
use crate::medium::BackendMedium;
use crate::place::{RACERS, id, nth, race_on, stack, token, won};
use crate::violation::{Check, Flaw};
use sdk_state::{
    Backend, Cancel, ErrorKind, Expect, Lock, LockToken, Revision, StackId, State, Wait, WriteOptions,
};
use std::collections::HashSet;
use std::time::Duration;
use time::OffsetDateTime;

/// What ends much earlier on every backend that is right.
const PATIENCE: Duration = Duration::from_secs(10);

type AnyBackend = Box<dyn Backend<Snapshot = State>>;

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
    let backends = open_many(medium)?;
    let revs = race_on(&backends, |n, backend| write(backend, &state(&n.to_string())?))?;
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
        loop {
            let (rev, snapshot) = done("reading the head", backend.head())?;
            let next = write(backend, &state(&(count(&snapshot)? + 1).to_string())?)?;
            let expect = Expect::Exactly(Some(&rev));
            let moved = match backend.compare_and_set_current(expect, &next, None) {
                // A medium that cannot compare without the lock.
                Err(error) if error.kind() == &ErrorKind::Unsupported => {
                    let lock = done("locking", backend.lock("push", &Wait::at_most(PATIENCE)))?;
                    won(backend.compare_and_set_current(expect, &next, Some(&*lock)))?
                }
                moved => won(moved)?,
            };
            if moved {
                return Ok(());
            }
        }
    })?;
    let found = count(&done("reading the current snapshot", backend.current())?)?;
    equal("the counter that every thread incremented once", &found, &RACERS)
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

pub(in crate::backend_rules) fn a_held_lock_is_not_got_and_names_the_holder(
    medium: &dyn BackendMedium,
) -> Check {
    let (backend, other) = (open(medium)?, open(medium)?);
    let lock = lock(&backend)?;
    let holder = token(&*lock)?;
    for wait in [Wait::none(), Wait::at_most(Duration::from_millis(20))] {
        refused_where(
            "locking what is held",
            other.lock("pull", &wait),
            "Locked by the holder",
            |kind| {
                matches!(kind, ErrorKind::Locked(info)
                if info.token.as_ref() == Some(holder) && info.operation.as_deref() == Some("push"))
            },
        )?;
    }
    held_by(&backend, Some(holder))
}

pub(in crate::backend_rules) fn a_waiter_gets_the_lock_when_it_is_free(medium: &dyn BackendMedium) -> Check {
    let (backend, other) = (open(medium)?, open(medium)?);
    let lock = lock(&backend)?;
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let lock = done(
                "waiting for the lock",
                other.lock("pull", &Wait::at_most(PATIENCE)),
            )?;
            done("checking it", lock.check())
        });
        let unlocked = done("unlocking", lock.unlock());
        let waited = waiter
            .join()
            .unwrap_or_else(|panic| Err(crate::rule::panicked(panic.as_ref())));
        unlocked.and(waited)
    })
}

pub(in crate::backend_rules) fn a_wait_that_is_cancelled_ends(medium: &dyn BackendMedium) -> Check {
    let (backend, other) = (open(medium)?, open(medium)?);
    let lock = lock(&backend)?;
    let cancel = Cancel::new();
    let wait = Wait::at_most(PATIENCE).unless(&cancel);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            refused(
                "a cancelled wait",
                other.lock("pull", &wait),
                &ErrorKind::Cancelled,
            )
        });
        cancel.cancel();
        waiter
            .join()
            .unwrap_or_else(|panic| Err(crate::rule::panicked(panic.as_ref())))
    })?;
    held_by(&backend, Some(token(&*lock)?))
}

pub(in crate::backend_rules) fn an_evicted_holder_changes_nothing(medium: &dyn BackendMedium) -> Check {
    let (backend, other) = (open(medium)?, open(medium)?);
    let revs = [
        write(&backend, &state("first")?)?,
        write(&backend, &state("second")?)?,
    ];
    done("making it current", backend.set_current(&revs[0]))?;
    let old = lock(&backend)?;
    done("force_unlock", other.force_unlock(None))?;
    let new = lock(&other)?;
    for expect in [Expect::Anything, Expect::Exactly(Some(&revs[0]))] {
        let moved = backend.compare_and_set_current(expect, &revs[1], Some(&*old));
        refused("an evicted holder's move", moved, &ErrorKind::LockLost)?;
    }
    let deleted = backend.delete(&revs[1], Some(&*old));
    refused("an evicted holder's deletion", deleted, &ErrorKind::LockLost)?;
    equal(
        "the current revision",
        &done("reading it", backend.current_rev())?,
        &revs[0],
    )?;
    get(&backend, &revs[1])?;
    drop(old);
    held_by(&backend, Some(token(&*new)?))
}

pub(in crate::backend_rules) fn force_unlock_compares(medium: &dyn BackendMedium) -> Check {
    let (backend, other) = (open(medium)?, open(medium)?);
    let lock = lock(&backend)?;
    let holder = token(&*lock)?;
    let wrong = done("a token", LockToken::generate())?;
    let forced = other.force_unlock(Some(&wrong));
    refused_where(
        "force_unlock of another holder",
        forced,
        "Locked by the holder",
        |kind| matches!(kind, ErrorKind::Locked(info) if info.token.as_ref() == Some(holder)),
    )?;
    held_by(&backend, Some(holder))?;
    let evicted = done("force_unlock", other.force_unlock(Some(holder)))?;
    equal(
        "who was evicted",
        &evicted.and_then(|info| info.token).as_ref(),
        &Some(holder),
    )?;
    held_by(&backend, None)?;
    let evicted = done("force_unlock of a free lock", other.force_unlock(None))?;
    equal("who was evicted", &evicted, &None)
}

fn open(medium: &dyn BackendMedium) -> Check<AnyBackend> {
    done("opening a backend", medium.open(&stack()?))
}

fn open_many(medium: &dyn BackendMedium) -> Check<Vec<AnyBackend>> {
    (0..RACERS).map(|_| open(medium)).collect()
}

fn state(content: &str) -> Check<State> {
    state_of(&stack()?, content)
}

fn state_of(id: &StackId, content: &str) -> Check<State> {
    done(
        "a state",
        State::new(id, "1", content, OffsetDateTime::UNIX_EPOCH),
    )
}

fn count(state: &State) -> Check<usize> {
    let text = &state.factory.content_revision;
    text.parse()
        .map_err(|_| Flaw::new("the counter that was written", text.clone()))
}

fn write(backend: &AnyBackend, state: &State) -> Check<Revision> {
    done("writing a snapshot", backend.write(state, &WriteOptions::new()))
}

fn get(backend: &AnyBackend, rev: &Revision) -> Check<State> {
    done("getting a snapshot", backend.get(rev))
}

fn lock(backend: &AnyBackend) -> Check<Box<dyn Lock>> {
    done("locking", backend.lock("push", &Wait::none()))
}

fn lists(backend: &AnyBackend, expected: &[Revision]) -> Check {
    equal("the list", &&*done("listing", backend.list())?, &expected)
}

fn held_by(backend: &AnyBackend, expected: Option<&LockToken>) -> Check {
    let status = done("the status of the lock", backend.lock_status())?;
    let found = status.as_ref().map(|status| status.info.token.as_ref());
    equal("the token of the lock's holder", &found, &expected.map(Some))
}

/// That nothing is current, beside so many snapshots.
fn is_fresh(backend: &AnyBackend, snapshots: u64) -> Check {
    let kind = ErrorKind::NoCurrent { snapshots };
    refused("head without a current revision", backend.head(), &kind)?;
    refused("current without a current revision", backend.current(), &kind)?;
    refused(
        "current_rev without a current revision",
        backend.current_rev(),
        &kind,
    )
}
