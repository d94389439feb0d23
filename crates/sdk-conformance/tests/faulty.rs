//! The n-th call goes wrong, and no other.

use sdk_conformance::{Fault, Faulty, Method};
use sdk_state::{Backend as _, Created, ErrorKind, Holder, Lock, MemoryBackend, Revision, TryLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn faulty() -> Faulty<MemoryBackend> {
    Faulty::new(MemoryBackend::new("network/prod".parse().unwrap()))
}

fn rev(n: u8) -> Revision {
    format!("2026-07-10T12:00:0{n}Z").parse().unwrap()
}

#[test]
fn only_the_counted_call_fails_and_before_its_effect() {
    let backend = faulty().with(Method::Create, 2, Fault::FailBefore(ErrorKind::Io));
    assert_eq!(backend.create(&rev(1), b"x").unwrap(), Created::Created);
    let error = backend.create(&rev(2), b"x").unwrap_err();
    assert_eq!((error.kind(), error.revision()), (&ErrorKind::Io, Some(&rev(2))));
    assert_eq!(backend.create(&rev(3), b"x").unwrap(), Created::Created);
    assert_eq!(backend.list().unwrap(), [rev(3), rev(1)]);
    assert_eq!(backend.calls(Method::Create), 3);
}

#[test]
fn a_lock_whose_answer_is_lost_stays_held() {
    let backend = faulty().with(Method::TryLock, 1, Fault::FailAfter(ErrorKind::Unavailable));
    let holder = Holder::new("test");
    assert!(backend.try_lock(&holder).is_err());
    assert!(matches!(backend.try_lock(&holder).unwrap(), TryLock::Busy { .. }));
}

fn take(backend: &Faulty<MemoryBackend>) -> Option<Box<dyn Lock>> {
    match backend.try_lock(&Holder::new("test")).unwrap() {
        TryLock::Held(lock) => Some(lock),
        TryLock::Busy { .. } => None,
    }
}

#[test]
fn a_failed_unlock_frees_or_not_as_the_fault_says() {
    let backend = faulty()
        .with(Method::Unlock, 1, Fault::FailAfter(ErrorKind::Unavailable))
        .with(Method::Unlock, 2, Fault::FailBefore(ErrorKind::Io));
    let lock = take(&backend).unwrap();
    assert_eq!(lock.unlock().unwrap_err().kind(), &ErrorKind::Unavailable);
    let lock = take(&backend).unwrap();
    assert_eq!(lock.unlock().unwrap_err().kind(), &ErrorKind::Io);
    assert!(take(&backend).is_none());
}

#[test]
fn the_calls_of_all_locks_are_counted_together() {
    let backend = faulty().with(Method::Check, 3, Fault::FailBefore(ErrorKind::Unavailable));
    for _ in 0..2 {
        let lock = take(&backend).unwrap();
        lock.check().unwrap();
        lock.unlock().unwrap();
    }
    let lock = take(&backend).unwrap();
    assert_eq!(lock.check().unwrap_err().kind(), &ErrorKind::Unavailable);
    lock.check().unwrap();
    assert!(lock.token().is_ok());
    assert_eq!(
        (backend.calls(Method::Check), backend.calls(Method::Token)),
        (4, 1)
    );
}

#[test]
#[should_panic(expected = "counted from 1")]
fn there_is_no_call_before_the_first() {
    let _ = faulty().with(Method::List, 0, Fault::Stale);
}

#[test]
fn a_stale_list_is_the_one_before() {
    let backend = faulty()
        .with(Method::List, 1, Fault::Stale)
        .with(Method::List, 3, Fault::Stale);
    assert_eq!(backend.create(&rev(1), b"x").unwrap(), Created::Created);
    assert_eq!(backend.list().unwrap(), []);
    assert_eq!(backend.list().unwrap(), [rev(1)]);
    assert_eq!(backend.create(&rev(2), b"x").unwrap(), Created::Created);
    assert_eq!(backend.list().unwrap(), [rev(1)]);
    assert_eq!(backend.list().unwrap().len(), 2);
}

#[test]
fn something_else_can_happen_just_before_a_call() {
    let happened = Arc::new(AtomicBool::new(false));
    let happens = Arc::clone(&happened);
    let first = Fault::First(Box::new(move || happens.store(true, Ordering::SeqCst)));
    let backend = faulty().with(Method::Current, 2, first).with(
        Method::Current,
        1,
        Fault::Delay(Duration::from_micros(1)),
    );
    assert_eq!(backend.current().unwrap(), None);
    assert!(!happened.load(Ordering::SeqCst));
    assert_eq!(backend.current().unwrap(), None);
    assert!(happened.load(Ordering::SeqCst));
}
