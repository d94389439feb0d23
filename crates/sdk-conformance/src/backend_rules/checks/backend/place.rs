//! What the checks share: handles, states and a held lock.

use crate::expect::{done, equal, refused};
use crate::medium::BackendMedium;
use crate::place::{RACERS, stack};
use crate::violation::{Check, Flaw};
use sdk_state::{Backend, ErrorKind, Lock, LockToken, Revision, StackId, State, Wait, WriteOptions};
use std::time::Duration;
use time::OffsetDateTime;

pub(super) type AnyBackend = Box<dyn Backend<Snapshot = State>>;

/// What ends much earlier on every backend that is right.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The same among many who wait.
pub(super) const PATIENCE_OF_MANY: Duration = Duration::from_secs(60);

pub(super) fn open(medium: &dyn BackendMedium) -> Check<AnyBackend> {
    open_stack(medium, &stack()?)
}

pub(super) fn open_stack(medium: &dyn BackendMedium, id: &StackId) -> Check<AnyBackend> {
    done("opening a backend", medium.open(id))
}

pub(super) fn open_many(medium: &dyn BackendMedium) -> Check<Vec<AnyBackend>> {
    (0..RACERS).map(|_| open(medium)).collect()
}

pub(super) fn state(content: &str) -> Check<State> {
    state_of(&stack()?, content)
}

pub(super) fn state_of(id: &StackId, content: &str) -> Check<State> {
    done(
        "a state",
        State::new(id, "1", content, OffsetDateTime::UNIX_EPOCH),
    )
}

pub(super) fn count(state: &State) -> Check<usize> {
    let text = &state.factory.content_revision;
    text.parse()
        .map_err(|_| Flaw::new("the counter that was written", text.clone()))
}

pub(super) fn write(backend: &AnyBackend, state: &State) -> Check<Revision> {
    done("writing a snapshot", backend.write(state, &WriteOptions::new()))
}

pub(super) fn get(backend: &AnyBackend, rev: &Revision) -> Check<State> {
    done("getting a snapshot", backend.get(rev))
}

pub(super) fn lock(backend: &AnyBackend) -> Check<Box<dyn Lock>> {
    done("locking", backend.lock("push", &Wait::none()))
}

pub(super) fn lists(backend: &AnyBackend, expected: &[Revision]) -> Check {
    equal("the list", &&*done("listing", backend.list())?, &expected)
}

pub(super) fn held_by(backend: &AnyBackend, expected: Option<&LockToken>) -> Check {
    let status = done("the status of the lock", backend.lock_status())?;
    let found = status.as_ref().map(|status| status.info.token.as_ref());
    equal("the token of the lock's holder", &found, &expected.map(Some))
}

/// That nothing is current, beside so many snapshots.
pub(super) fn is_fresh(backend: &AnyBackend, snapshots: u64) -> Check {
    let kind = ErrorKind::NoCurrent { snapshots };
    refused("head without a current revision", backend.head(), &kind)?;
    refused("current without a current revision", backend.current(), &kind)?;
    refused(
        "current_rev without a current revision",
        backend.current_rev(),
        &kind,
    )
}
