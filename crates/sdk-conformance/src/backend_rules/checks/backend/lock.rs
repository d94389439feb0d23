//! Who holds the lock, waits for it and loses it.

use super::place::{PATIENCE, get, held_by, lock, open, state, write};
use crate::expect::{done, equal, holds, hook, refused, refused_where};
use crate::medium::BackendMedium;
use crate::place::{stack, token};
use crate::rule::panicked;
use crate::violation::Check;
use sdk_state::{Cancel, ErrorKind, Expect, LockToken, Wait};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

/// How long somebody is left waiting. A backend that is right passes whatever this is; one that does not wait, or not
/// for a cancellation, shows it much earlier.
const A_WHILE: Duration = Duration::from_millis(200);

pub(in crate::backend_rules) fn a_held_lock_is_not_got_and_names_the_holder(
    medium: &dyn BackendMedium,
) -> Check {
    let (backend, other) = (open(medium)?, open(medium)?);
    let lock = lock(&backend)?;
    let holder = token(&*lock)?;
    for wait in [Wait::none(), Wait::at_most(Duration::from_millis(20))] {
        let begun = Instant::now();
        refused_where(
            "locking what is held",
            other.lock("pull", &wait),
            "Locked by the holder",
            |kind| {
                matches!(kind, ErrorKind::Locked(info)
                if info.token.as_ref() == Some(holder) && info.operation.as_deref() == Some("push"))
            },
        )?;
        holds(
            "who waits does so up to the deadline",
            !wait.pause(Duration::ZERO),
        )?;
        holds(
            "a wait ends soon after its deadline",
            begun.elapsed() < PATIENCE / 2,
        )?;
    }
    held_by(&backend, Some(holder))
}

pub(in crate::backend_rules) fn a_waiter_gets_the_lock_when_it_is_free(medium: &dyn BackendMedium) -> Check {
    let (backend, other) = (open(medium)?, open(medium)?);
    let lock = lock(&backend)?;
    let wait = Wait::at_most(PATIENCE);
    let waiter = || {
        let lock = done("waiting for the lock", other.lock("pull", &wait))?;
        done("checking it", lock.check())
    };
    while_it_waits(waiter, || done("unlocking", lock.unlock()))
}

pub(in crate::backend_rules) fn a_wait_that_is_cancelled_ends(medium: &dyn BackendMedium) -> Check {
    let (backend, other) = (open(medium)?, open(medium)?);
    let lock = lock(&backend)?;
    let cancel = Cancel::new();
    let wait = Wait::at_most(PATIENCE).unless(&cancel);
    let begun = Instant::now();
    let waiter = || {
        let waited = other.lock("pull", &wait);
        refused("a cancelled wait", waited, &ErrorKind::Cancelled)?;
        holds("it ends long before its deadline", begun.elapsed() < PATIENCE / 2)
    };
    while_it_waits(waiter, || {
        cancel.cancel();
        Ok(())
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

pub(in crate::backend_rules) fn a_dead_holder_is_replaced_and_named(medium: &dyn BackendMedium) -> Check {
    let (backend, other) = (open(medium)?, open(medium)?);
    let dead = lock(&backend)?;
    let dead_token = token(&*dead)?.clone();
    hook("kill_holder", medium.kill_holder(&stack()?))?;
    let new = done(
        "locking what a dead holder left",
        other.lock("push", &Wait::at_most(10 * A_WHILE)),
    )?;
    let took_over = new.took_over().and_then(|info| info.token.as_ref());
    equal("whose dead lock was taken over", &took_over, &Some(&dead_token))?;
    drop(dead);
    held_by(&backend, Some(token(&*new)?))
}

/// Does something once a `waiter` has waited for a while, or has given up.
fn while_it_waits(waiter: impl FnOnce() -> Check + Send, act: impl FnOnce() -> Check) -> Check {
    let (begun, waiting) = channel();
    thread::scope(|scope| {
        let waiter = scope.spawn(move || {
            // The other end outlives this thread.
            let _ = begun.send(());
            let waited = waiter();
            drop(begun);
            waited
        });
        // That it has begun; then that it has ended, or still lasts.
        let _ = waiting.recv();
        let _ = waiting.recv_timeout(A_WHILE);
        let acted = act();
        let waited = waiter
            .join()
            .unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
        acted.and(waited)
    })
}
