//! The lock is beside the database, and nobody waits for the database to get it.

use example_sqlite::SqliteRoot;
use rusqlite::{Connection, TransactionBehavior};
use sdk_state::{Holder, StackId, TryLock};
use std::time::{Duration, Instant};

/// It made sure of the database by a transaction, and so waited for whoever was writing, for up to a minute.
#[test]
fn a_free_lock_is_got_at_once_while_somebody_else_writes() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state.db");
    let root = SqliteRoot::open_address(file.to_str().unwrap()).unwrap();
    let id: StackId = "network/prod".parse().unwrap();
    let storage = root.open(&id).unwrap();
    let holder = Holder::new("test", time::OffsetDateTime::UNIX_EPOCH);
    // The first lock makes the database.
    assert!(matches!(storage.try_lock(&holder).unwrap(), TryLock::Held(_)));
    let mut other = Connection::open(&file).unwrap();
    let _change = other
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .unwrap();
    let begun = Instant::now();
    assert!(matches!(storage.try_lock(&holder).unwrap(), TryLock::Held(_)));
    assert!(begun.elapsed() < Duration::from_secs(20));
}
