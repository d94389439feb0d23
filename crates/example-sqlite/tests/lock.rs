//! The lock beside the database: nobody waits for the database to get it, and an evicted holder changes nothing, however the
//! eviction and its change overlap.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic")]

use example_sqlite::SqliteRoot;
use rusqlite::{Connection, TransactionBehavior};
use sdk_state::{Created, ErrorKind, Expect, Holder, Revision, Storage, TryLock};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

fn open(file: &Path) -> Box<dyn Storage> {
    let root = SqliteRoot::open_address(file.to_str().unwrap()).unwrap();
    root.open(&"network/prod".parse().unwrap()).unwrap()
}

fn holder() -> Holder {
    Holder::new("test", time::OffsetDateTime::UNIX_EPOCH)
}

/// Had it not waited, it could have come between the look at the lock and the commit of a change.
#[test]
fn an_eviction_waits_for_the_change_that_is_under_way() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state.db");
    let storage = open(&file);
    // The first thing that ever happens here: an eviction must be a transaction even so.
    let TryLock::Held(lock) = storage.try_lock(&holder()).unwrap() else {
        panic!("nobody else locks");
    };
    let token = lock.token().unwrap();

    let mut other = Connection::open(&file).unwrap();
    let change = other
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .unwrap();
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let evictor = open(&file);
        scope.spawn(move || tell.send(evictor.force_unlock(None)).unwrap());
        let early = told.recv_timeout(Duration::from_millis(300));
        assert!(matches!(early, Err(RecvTimeoutError::Timeout)), "{early:?}");
        lock.check().unwrap();
        change.commit().unwrap();
        let evicted = told.recv_timeout(Duration::from_secs(60)).unwrap().unwrap();
        assert_eq!(evicted.and_then(|info| info.token).as_ref(), Some(token));
    });

    let rev: Revision = "2026-07-10T12:00:00Z".parse().unwrap();
    assert_eq!(storage.create(&rev, b"sealed").unwrap(), Created::Created);
    let moved = storage.set_current(Expect::Anything, &rev, Some(token));
    assert_eq!(moved.unwrap_err().kind(), &ErrorKind::LockLost);
    assert_eq!(storage.current().unwrap(), None);
}

/// It made sure of the database by a transaction, and so waited for whoever was writing, for up to a minute.
#[test]
fn a_free_lock_is_got_at_once_while_somebody_else_writes() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state.db");
    let storage = open(&file);
    // The first lock makes the database.
    assert!(matches!(storage.try_lock(&holder()).unwrap(), TryLock::Held(_)));
    let mut other = Connection::open(&file).unwrap();
    let _change = other
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .unwrap();
    let begun = Instant::now();
    assert!(matches!(storage.try_lock(&holder()).unwrap(), TryLock::Held(_)));
    assert!(begun.elapsed() < Duration::from_secs(20));
}
