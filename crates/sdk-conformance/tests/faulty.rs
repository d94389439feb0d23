//! The n-th call goes wrong, and no other.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic")]

use sdk_conformance::{Fault, Faulty, Method};
use sdk_state::{Created, ErrorKind, Holder, MemoryStorage, Revision, Storage as _, TryLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use time::OffsetDateTime;

fn faulty() -> Faulty<MemoryStorage> {
    Faulty::new(MemoryStorage::new("network/prod".parse().unwrap()))
}

fn rev(n: u8) -> Revision {
    format!("2026-07-10T12:00:0{n}Z").parse().unwrap()
}

#[test]
fn only_the_counted_call_fails_and_before_its_effect() {
    let storage = faulty().with(Method::Create, 2, Fault::FailBefore(ErrorKind::Io));
    assert_eq!(storage.create(&rev(1), b"x").unwrap(), Created::Created);
    assert_eq!(storage.create(&rev(2), b"x").unwrap_err().kind(), &ErrorKind::Io);
    assert_eq!(storage.create(&rev(3), b"x").unwrap(), Created::Created);
    assert_eq!(storage.list().unwrap(), [rev(3), rev(1)]);
    assert_eq!(storage.calls(Method::Create), 3);
}

#[test]
fn a_lock_whose_acknowledgement_is_lost_stays_held() {
    let storage = faulty().with(Method::TryLock, 1, Fault::FailAfter(ErrorKind::Unavailable));
    let holder = Holder::new("test", OffsetDateTime::UNIX_EPOCH);
    assert!(storage.try_lock(&holder).is_err());
    assert!(matches!(storage.try_lock(&holder).unwrap(), TryLock::Busy { .. }));
}

#[test]
fn a_stale_list_is_the_one_before() {
    let storage = faulty()
        .with(Method::List, 1, Fault::Stale)
        .with(Method::List, 3, Fault::Stale);
    assert_eq!(storage.create(&rev(1), b"x").unwrap(), Created::Created);
    assert_eq!(storage.list().unwrap(), []);
    assert_eq!(storage.list().unwrap(), [rev(1)]);
    assert_eq!(storage.create(&rev(2), b"x").unwrap(), Created::Created);
    assert_eq!(storage.list().unwrap(), [rev(1)]);
    assert_eq!(storage.list().unwrap().len(), 2);
}

#[test]
fn something_else_can_happen_just_before_a_call() {
    let happened = Arc::new(AtomicBool::new(false));
    let happens = Arc::clone(&happened);
    let first = Fault::First(Box::new(move || happens.store(true, Ordering::SeqCst)));
    let storage = faulty().with(Method::Current, 2, first).with(
        Method::Current,
        1,
        Fault::Delay(Duration::from_micros(1)),
    );
    assert_eq!(storage.current().unwrap(), None);
    assert!(!happened.load(Ordering::SeqCst));
    assert_eq!(storage.current().unwrap(), None);
    assert!(happened.load(Ordering::SeqCst));
}
