//! Waiting for the lock (L2, L4, L5).

use crate::support::{Note, id, key, note, store};
use sdk_state::{Cancel, ErrorKind, Liveness, LockToken, MemoryBackend, Provenance, Store, Wait};
use std::time::{Duration, Instant};

#[test]
fn a_held_lock_names_its_holder() {
    let backend = MemoryBackend::new(id());
    let provenance = Provenance::new()
        .with_author("alice")
        .with_host("build-7")
        .with_tool("apply 1.0");
    let holder: Store<Note> = Store::new(backend.clone(), key(1))
        .with_provenance(provenance)
        .document();
    let lock = holder.lock("apply", Wait::none()).unwrap();
    let error = store(&backend).lock("push", Wait::none()).unwrap_err();
    let ErrorKind::Locked(info) = error.kind() else {
        panic!("{error}")
    };
    assert_eq!(&**info, lock.info());
    assert!(error.to_string().contains("alice on build-7 (apply)"), "{error}");
    lock.unlock().unwrap();
    drop(store(&backend).lock("push", Wait::none()).unwrap());
}

#[test]
fn a_waiter_gets_the_lock_when_its_holder_drops_it() {
    let backend = MemoryBackend::new(id());
    let held = store(&backend).lock("apply", Wait::none()).unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            store(&backend)
                .lock("push", Wait::forever())
                .map(|lock| lock.took_over().cloned())
        });
        drop(held);
        assert_eq!(waiter.join().unwrap().unwrap(), None);
    });
}

#[test]
fn a_wait_ends_at_its_deadline_and_when_it_is_cancelled() {
    let backend = MemoryBackend::new(id());
    let _held = store(&backend).lock("apply", Wait::none()).unwrap();
    let start = Instant::now();
    let error = store(&backend)
        .lock("push", Wait::at_most(Duration::from_millis(20)))
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Locked(_)));
    assert!(start.elapsed() >= Duration::from_millis(20));

    let cancel = Cancel::new();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            store(&backend)
                .lock("push", Wait::forever().unless(&cancel))
                .map(|_| ())
        });
        cancel.cancel();
        assert_eq!(waiter.join().unwrap().unwrap_err().kind(), &ErrorKind::Cancelled);
    });
}

#[test]
fn a_dead_holders_lock_is_taken_over_and_the_dead_is_named() {
    let backend = MemoryBackend::new(id());
    let dead = store(&backend).lock("apply", Wait::none()).unwrap();
    backend.kill_holder();
    assert_eq!(
        store(&backend).lock_status().unwrap().unwrap().liveness,
        Liveness::Dead
    );
    let lock = store(&backend).lock("push", Wait::none()).unwrap();
    assert_eq!(lock.took_over(), Some(dead.info()));
    assert_eq!(dead.check().unwrap_err().kind(), &ErrorKind::LockLost);
    drop(dead);
    lock.check().unwrap();
}

#[test]
fn only_the_holder_that_was_meant_is_evicted() {
    let store = store(&MemoryBackend::new(id()));
    assert_eq!(store.force_unlock(None).unwrap(), None);
    let lock = store.lock("apply", Wait::none()).unwrap();
    let other = LockToken::generate().unwrap();
    let error = store.force_unlock(Some(&other)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Locked(info) if &**info == lock.info()));
    let evicted = store.force_unlock(Some(lock.token().unwrap())).unwrap();
    assert_eq!(evicted.as_ref(), Some(lock.info()));
    assert_eq!(store.lock_status().unwrap(), None);
}

#[test]
fn a_child_joins_the_lock_of_its_parent() {
    let backend = MemoryBackend::new(id());
    let held = store(&backend).lock("apply", Wait::none()).unwrap();
    let token = held.token().unwrap();
    let joined = store(&backend).join("child", token.clone()).unwrap();
    assert_eq!(joined.token(), token);
    let revision = joined.save(note("one"), "child").unwrap();
    assert_eq!(store(&backend).current().unwrap(), Some(revision.clone()));
    assert_eq!(joined.finish("child").unwrap(), Some(revision));
    held.check().unwrap();
}

#[test]
fn nobody_joins_a_lock_that_is_lost() {
    let backend = MemoryBackend::new(id());
    let held = store(&backend).lock("apply", Wait::none()).unwrap();
    let token = held.token().unwrap().clone();
    let joined = store(&backend).join("child", token.clone()).unwrap();
    store(&backend).force_unlock(None).unwrap();
    assert!(joined.save(note("one"), "child").unwrap_err().is_lock_lost());
    assert!(joined.check().unwrap_err().is_lock_lost());
    let _other = store(&backend).lock("push", Wait::none()).unwrap();
    let refused = store(&backend).join("child", token);
    assert!(refused.unwrap_err().is_lock_lost());
}
