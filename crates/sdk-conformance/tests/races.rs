//! What goes wrong in the middle of a race ends it: nobody waits for a thread that will not come.

use crate::support::Memory;
use sdk_conformance::{Fault, Faulty, Fixture, Method, RULES};
use sdk_state::{Backend, Error, ErrorKind, StackId};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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

impl Fixture for Failing {
    fn open(&self, id: &StackId) -> Result<Box<dyn Backend>, Error> {
        let backend = Faulty::new(self.memory.open(id)?);
        if !(self.has_fault)(self.opened.fetch_add(1, Ordering::SeqCst)) {
            return Ok(Box::new(backend));
        }
        let failing = (1..=ALL).fold(backend, |backend, nth| {
            backend.with(self.method, nth, (self.fault)())
        });
        Ok(Box::new(failing))
    }
}

fn found(rule: &str, method: Method, has_fault: fn(usize) -> bool, fault: fn() -> Fault) -> String {
    let fixture = Failing {
        memory: Memory::default(),
        opened: AtomicUsize::new(0),
        method,
        has_fault,
        fault,
    };
    let rule = RULES.iter().find(|known| known.id == rule).unwrap();
    rule.check(Arc::new(fixture)).unwrap_err().found().to_owned()
}

fn panics() -> Fault {
    Fault::First(Box::new(|| panic!("in the middle of a race")))
}

#[test]
fn readers_do_not_wait_for_a_creator_that_panicked() {
    assert_eq!(
        found("CREATE-04", Method::Create, |_| true, panics),
        "a panic: in the middle of a race"
    );
}

#[test]
fn readers_do_not_wait_for_movers_that_panicked() {
    assert_eq!(
        found("POINTER-06", Method::SetCurrent, |handle| handle > 0, panics),
        "a panic: in the middle of a race"
    );
}

#[test]
fn lockers_do_not_wait_for_one_that_panicked() {
    assert_eq!(
        found("LOCK-05", Method::TryLock, |handle| handle == 7, panics),
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
        found("POINTER-05", Method::SetCurrent, |handle| handle > 0, never_moves),
        "32 that were refused as CurrentMoved"
    );
}
