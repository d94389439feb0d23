//! The transaction: commits whose answer is lost, and files that belong to somebody else.

use crate::kit::{Sqlite, lost};
use sdk_state::{Backend, Catalog as _, Created, Expect, Revision, TryLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn rev() -> Revision {
    "2026-07-10T12:00:00Z".parse().unwrap()
}

fn open(place: &Sqlite) -> Box<dyn Backend> {
    place.catalog().open(&"network/prod".parse().unwrap()).unwrap()
}

/// Nothing is known where the look has no answer either. The error names the revision.
#[test]
fn two_lost_answers_leave_the_outcome_unknown() {
    for is_made in [true, false] {
        let place = Sqlite::new();
        let catalog = place.catalog().with_commit(Arc::new(move |tx| {
            if is_made {
                tx.commit()?;
            }
            Err(lost())
        }));
        let backend = catalog.open(&"network/prod".parse().unwrap()).unwrap();
        let error = backend.create(&rev(), b"sealed").unwrap_err();
        assert!(error.is_outcome_unknown(), "{error:?}");
        assert_eq!(error.revision(), Some(&rev()));
        assert_eq!(open(&place).list().unwrap().len(), usize::from(is_made));
    }
}

/// The move happened, and somebody else has moved `current` since: what the backend looks for is its own change.
#[test]
fn a_lost_move_is_found_after_another_move() {
    let place = Sqlite::new();
    let other = open(&place);
    let revs: [Revision; 2] = [rev(), "2026-07-10T12:00:01Z".parse().unwrap()];
    for rev in &revs {
        assert_eq!(other.create(rev, b"sealed").unwrap(), Created::Created);
    }
    let TryLock::Held(lock) = other.try_lock(&sdk_state::Holder::new("test")).unwrap() else {
        panic!("nobody else locks");
    };
    let token = lock.token().unwrap().clone();

    let (first, between) = (AtomicBool::new(true), open(&place));
    let (to, stale) = (revs[1].clone(), token.clone());
    let catalog = place.catalog().with_commit(Arc::new(move |tx| {
        tx.commit()?;
        if !first.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        let moved = between.set_current(Expect::Anything, &to, &stale);
        assert_eq!(moved.unwrap().revision, to);
        Err(lost())
    }));
    let backend = catalog.open(&"network/prod".parse().unwrap()).unwrap();
    let moved = backend.set_current(Expect::Nothing, &revs[0], &token).unwrap();
    let now = other.current().unwrap().unwrap();
    assert_eq!((&moved.revision, &now.revision), (&revs[0], &revs[1]));
    assert!(moved.version < now.version);
}

/// An eviction is no change of the database: no commit can fail after the holder has lost its lock.
#[test]
fn an_eviction_commits_nothing() {
    let place = Sqlite::new();
    let id = "network/prod".parse().unwrap();
    let TryLock::Held(lock) = open(&place).try_lock(&sdk_state::Holder::new("test")).unwrap() else {
        panic!("nobody else locks");
    };
    let evictor = place
        .catalog()
        .with_commit(Arc::new(|_| Err(lost())))
        .open(&id)
        .unwrap();
    assert!(evictor.force_unlock(None).unwrap().is_some());
    assert!(lock.check().unwrap_err().is_lock_lost());
}

/// Somebody mistyped the address and named the database of another program.
#[test]
fn reading_changes_no_database_of_another_program() {
    let place = Sqlite::new();
    let foreign = rusqlite::Connection::open(place.file()).unwrap();
    foreign.execute_batch("CREATE TABLE users (name TEXT)").unwrap();
    let before = std::fs::read(place.file()).unwrap();
    let (catalog, backend) = (place.catalog(), open(&place));
    assert_eq!(catalog.stacks().unwrap(), []);
    assert_eq!(backend.list().unwrap(), []);
    assert_eq!(backend.current().unwrap(), None);
    backend.remove(&rev(), None).unwrap();
    assert_eq!(std::fs::read(place.file()).unwrap(), before);
}
