//! What goes wrong in the middle of a race ends it: nobody waits for a thread that will not come.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a helper of a test may panic")]

mod support;

use sdk_conformance::{Fault, Faulty, Medium, Method, Violation, create, lock, pointer};
use sdk_state::{Error, ErrorKind, StackId, Storage};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::Memory;

/// A place in memory of which some handles, numbered from 0, have a fault in all calls of a method.
struct Failing {
    memory: Memory,
    opened: AtomicUsize,
    method: Method,
    has_fault: fn(usize) -> bool,
    fault: fn() -> Fault,
}

/// More calls than a race has of any handle.
const ALL: u64 = 100;

impl Medium for Failing {
    fn open(&self, id: &StackId) -> Result<Box<dyn Storage>, Error> {
        let storage = Faulty::new(self.memory.open(id)?);
        if !(self.has_fault)(self.opened.fetch_add(1, Ordering::SeqCst)) {
            return Ok(Box::new(storage));
        }
        let failing = (1..=ALL).fold(storage, |storage, nth| {
            storage.with(self.method, nth, (self.fault)())
        });
        Ok(Box::new(failing))
    }
}

fn found(
    rule: fn(Arc<dyn Medium>) -> Result<(), Violation>,
    method: Method,
    has_fault: fn(usize) -> bool,
    fault: fn() -> Fault,
) -> String {
    let medium = Failing {
        memory: Memory::default(),
        opened: AtomicUsize::new(0),
        method,
        has_fault,
        fault,
    };
    rule(Arc::new(medium)).unwrap_err().found().to_owned()
}

fn panics() -> Fault {
    Fault::First(Box::new(|| panic!("in the middle of a race")))
}

#[test]
fn readers_do_not_wait_for_a_creator_that_panicked() {
    let rule = create::a_snapshot_appears_whole_or_not_at_all;
    assert_eq!(
        found(rule, Method::Create, |_| true, panics),
        "a panic: in the middle of a race"
    );
}

#[test]
fn readers_do_not_wait_for_movers_that_panicked() {
    let rule = pointer::current_is_old_or_new_while_it_moves;
    assert_eq!(
        found(rule, Method::SetCurrent, |handle| handle > 0, panics),
        "a panic: in the middle of a race"
    );
}

#[test]
fn lockers_do_not_wait_for_one_that_panicked() {
    let rule = lock::one_of_many_lockers_gets_it;
    assert_eq!(
        found(rule, Method::TryLock, |handle| handle == 7, panics),
        "a panic: in the middle of a race"
    );
}

#[test]
fn nobody_tries_to_move_for_ever() {
    let never_moves = || {
        Fault::FailBefore(ErrorKind::CurrentMoved {
            expected: None,
            found: None,
        })
    };
    assert_eq!(
        found(
            pointer::no_update_is_lost,
            Method::SetCurrent,
            |handle| handle > 0,
            never_moves
        ),
        "32 that were refused as CurrentMoved"
    );
}
