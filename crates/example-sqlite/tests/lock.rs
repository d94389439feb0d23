//! The lock beside the database: changes and locks that overlap.

use crate::kit::Sqlite;
use rusqlite::{Connection, TransactionBehavior};
use sdk_state::{Backend, Catalog as _, Created, Error, ErrorKind, Expect, Holder, Lock, Revision, TryLock};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

fn open(place: &Sqlite) -> Box<dyn Backend> {
    place.catalog().open(&"network/prod".parse().unwrap()).unwrap()
}

fn lock(backend: &dyn Backend) -> Box<dyn Lock> {
    match backend.try_lock(&Holder::new("test")).unwrap() {
        TryLock::Held(lock) => lock,
        TryLock::Busy { .. } => panic!("nobody else locks"),
    }
}

/// Whether `act` does not end before a change that is under way has ended.
fn waits_for_a_change<T: Send>(place: &Sqlite, act: impl FnOnce() -> Result<T, Error> + Send) -> T {
    let mut other = Connection::open(place.file()).unwrap();
    let change = other
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .unwrap();
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        scope.spawn(move || tell.send(act()).unwrap());
        let early = told.recv_timeout(Duration::from_millis(300));
        assert!(matches!(early, Err(RecvTimeoutError::Timeout)), "it did not wait");
        change.commit().unwrap();
        told.recv_timeout(Duration::from_secs(60)).unwrap().unwrap()
    })
}

/// It could come between a change's look at the lock and its commit.
#[test]
fn an_eviction_waits_for_the_change_that_is_under_way() {
    let place = Sqlite::new();
    let (backend, evictor) = (open(&place), open(&place));
    // The first thing that ever happens here: an eviction must be a transaction even so.
    let held = lock(&*backend);
    let token = held.token().unwrap();
    let evicted = waits_for_a_change(&place, || evictor.force_unlock(None));
    assert_eq!(evicted.and_then(|info| info.token).as_ref(), Some(token));

    let rev: Revision = "2026-07-10T12:00:00Z".parse().unwrap();
    assert_eq!(backend.create(&rev, b"sealed").unwrap(), Created::Created);
    let moved = backend.set_current(Expect::Anything, &rev, token);
    assert_eq!(moved.unwrap_err().kind(), &ErrorKind::LockLost);
    assert_eq!(backend.current().unwrap(), None);
}

/// A removal without a token, or a change under an earlier lock, could commit after the next holder has the lock.
#[test]
fn a_lock_waits_for_the_change_that_is_under_way() {
    let place = Sqlite::new();
    let (backend, next) = (open(&place), open(&place));
    lock(&*backend).unlock().unwrap();
    let held = waits_for_a_change(&place, || next.try_lock(&Holder::new("next")));
    assert!(matches!(held, TryLock::Held(_)));
}
