//! What becomes of a run when the backend fails (R1, R3, L4).

use crate::support::{Note, add, key, note, reseal, store};
use crate::watched::{Fault, Method, Watched};
use sdk_state::encrypt::{self, Encrypter, EnvKey, Keyring, Noop, Recipient, Zeroizing};
use sdk_state::{Backend as _, ErrorKind, Expect, Revision, Run, Store, Wait};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

fn begin(watched: &Watched) -> Run<Note> {
    store(watched).begin("apply", Wait::none()).unwrap()
}

fn head(watched: &Watched) -> Note {
    store(&watched.backend).head().unwrap().unwrap().document
}

/// A stack with one revision, and its name.
fn one() -> (Watched, Revision) {
    let watched = Watched::fresh();
    let revision = store(&watched.backend).write(&note("1"), "").unwrap();
    store(&watched.backend).set_current(&revision).unwrap();
    (watched, revision)
}

/// Fails one call in a run of two changes: nothing is lost or doubled, and one revision is left.
#[test]
fn a_transient_error_delays_a_change_and_loses_nothing() {
    for kind in [ErrorKind::Unavailable, ErrorKind::Io] {
        for method in [Method::Create, Method::SetCurrent, Method::Append, Method::Remove] {
            for nth in 1..=3 {
                let watched = Watched::fresh();
                watched.fail(method, nth, Fault::Before(kind.clone()));
                let run = begin(&watched);
                for text in ["a", "b"] {
                    if let Err(error) = run.apply(add(text)) {
                        assert_eq!(error.kind(), &kind, "{method:?} {nth}");
                    }
                    run.check().unwrap();
                }
                let finished = run.finish("both").or_else(|error| {
                    assert_eq!(error.kind(), &kind, "{method:?} {nth}");
                    run.finish("both")
                });
                let revision = finished.unwrap().unwrap();
                assert_eq!(head(&watched), note("ab"), "{method:?} {nth}");
                assert_eq!(
                    (run.orphan(), store(&watched).lock_status().unwrap()),
                    (None, None)
                );
                // What could not be removed is removed by the next run.
                drop(begin(&watched));
                assert_eq!(store(&watched).list().unwrap(), [revision], "{method:?} {nth}");
            }
        }
    }
}

/// A revision names only one that it replaces, so the next run would find only the last leftover.
#[test]
fn what_could_not_be_removed_is_removed_at_the_end() {
    let watched = Watched::fresh();
    watched.hook(|method, nth| {
        let fails = method == Method::Remove && nth <= 3;
        fails.then_some(Fault::Before(ErrorKind::Unavailable))
    });
    let run = begin(&watched);
    run.save(note("1"), "").unwrap();
    run.save(note("2"), "").unwrap();
    let revision = run.finish("").unwrap();
    assert_eq!(store(&watched).list().unwrap(), Vec::from_iter(revision));
}

/// V14: a longer record under the same number would use its nonce twice.
#[test]
fn a_delayed_record_is_repeated_with_identical_bytes() {
    let watched = Watched::fresh();
    watched.fail(Method::Append, 1, Fault::Before(ErrorKind::Unavailable));
    let run = begin(&watched);
    assert!(run.apply(add("a")).unwrap_err().is_unavailable());
    run.apply(add("b")).unwrap();
    let records = watched.records();
    assert_eq!(records.len(), 3);
    assert_eq!(records[0], records[1]);
    assert_eq!(head(&watched), note("ab"));
}

/// V6: a call whose answer is lost is repeated unchanged, whether or not it had its effect.
#[test]
fn a_lost_answer_is_found_by_the_identical_call() {
    let faults = [Fault::Before as fn(_) -> _, Fault::After];
    for fault in faults {
        for (method, nth) in [
            (Method::Append, 1),
            (Method::Append, 2),
            (Method::SetCurrent, 1),
            (Method::SetCurrent, 2),
        ] {
            let watched = Watched::fresh();
            watched.fail(method, nth, fault(ErrorKind::OutcomeUnknown));
            let run = begin(&watched);
            run.apply(add("a")).unwrap();
            run.apply(add("b")).unwrap();
            assert_eq!(store(&watched).unfinished().unwrap().unwrap().changes, 2);
            let revision = run.finish("").unwrap().unwrap();
            assert_eq!((head(&watched), run.orphan()), (note("ab"), None));
            assert_eq!(store(&watched).list().unwrap(), [revision]);
            if method == Method::Append {
                let records = watched.records();
                assert_eq!((records.len(), &records[nth - 1]), (3, &records[nth]));
            }
        }
    }
}

/// V6: the second answer says only that the second call changed nothing. The first call may still arrive, so the run must not
/// continue from the old revision.
#[test]
fn a_transient_error_does_not_settle_an_unknown_outcome() {
    let (watched, _) = one();
    let run = begin(&watched);
    run.apply(add("a")).unwrap();
    watched.hook(|method, nth| {
        let kind = match nth {
            1 => ErrorKind::OutcomeUnknown,
            _ => ErrorKind::Unavailable,
        };
        (method == Method::SetCurrent).then_some(Fault::Before(kind))
    });
    assert!(run.commit("").unwrap_err().is_outcome_unknown());
    watched.without_faults();
    assert!(run.apply(add("b")).unwrap_err().is_outcome_unknown());
    assert_eq!(head(&watched), note("1a"));
}

#[test]
fn a_run_ends_when_an_outcome_stays_unknown() {
    for fault in [Fault::Before as fn(_) -> _, Fault::After] {
        for method in [Method::Append, Method::SetCurrent] {
            let (watched, base) = one();
            watched.fail_all(method, fault(ErrorKind::OutcomeUnknown));
            let run = begin(&watched);
            let ended = run.apply(add("a")).and_then(|()| run.commit("").map(drop));
            let error = ended.unwrap_err();
            assert!(error.is_outcome_unknown());
            let calls = watched.count(method);
            for again in [
                run.check().unwrap_err(),
                run.apply(add("b")).unwrap_err(),
                run.submit(add("b")).wait().unwrap_err(),
                run.commit("").unwrap_err(),
                run.set_current(&base).unwrap_err(),
                run.finish("kept").unwrap_err(),
            ] {
                assert_eq!(again.to_string(), error.to_string());
            }
            assert_eq!(watched.count(method), calls);
            let orphan = run.orphan().unwrap();
            assert_eq!(store(&watched).get(&orphan).unwrap(), note("1a"));
            drop(run);
            watched.without_faults();
            let next = begin(&watched);
            // The record, or the move, may have been made.
            let is_there = next.state().0 == "1a";
            assert_eq!(is_there, method == Method::SetCurrent || next.recovered() == 1);
        }
    }
}

#[test]
fn an_evicted_run_ends_and_saves_an_orphan() {
    let (watched, _) = one();
    let run = begin(&watched);
    run.apply(add("a")).unwrap();
    store(&watched).force_unlock(None).unwrap();
    assert!(run.apply(add("b")).unwrap_err().is_lock_lost());
    assert!(run.apply(add("c")).unwrap_err().is_lock_lost());
    assert_eq!(run.orphan(), None);
    assert!(run.finish("kept").unwrap_err().is_lock_lost());
    let orphan = run.orphan().unwrap();
    assert_eq!(store(&watched).get(&orphan).unwrap(), note("1ab"));
    let header = store(&watched).header(&orphan).unwrap();
    assert_eq!(header.message.as_deref(), Some("kept"));
    // Once.
    assert!(run.finish("again").unwrap_err().is_lock_lost());
    assert_eq!(run.orphan(), Some(orphan.clone()));
    let next = begin(&watched);
    drop(run);
    assert_eq!((next.recovered(), next.state().0.as_str()), (1, "1a"));
    next.finish("").unwrap();
    assert_eq!(store(&watched).get(&orphan).unwrap(), note("1ab"));
}

/// Only the orphan tells what the run built, so the stack must not look fresh.
#[test]
fn an_orphan_of_a_first_run_is_no_fresh_stack() {
    let watched = Watched::fresh();
    let run = begin(&watched);
    store(&watched).force_unlock(None).unwrap();
    assert!(run.apply(add("a")).unwrap_err().is_lock_lost());
    assert!(run.finish("kept").unwrap_err().is_lock_lost());
    let orphan = run.orphan().unwrap();
    let refused = store(&watched).begin("apply", Wait::none()).unwrap_err();
    assert!(
        matches!(refused.kind(), ErrorKind::PointerLost { .. }),
        "{refused}"
    );
    store(&watched).set_current(&orphan).unwrap();
    assert_eq!(begin(&watched).state().0, "a");
}

/// V1: the next holder has committed the journal, and removed it.
#[test]
fn an_evicted_run_appends_to_nothing() {
    let (watched, _) = one();
    let run = begin(&watched);
    run.apply(add("a")).unwrap();
    store(&watched).force_unlock(None).unwrap();
    let next = begin(&watched);
    next.apply(add("n")).unwrap();
    assert!(run.apply(add("b")).unwrap_err().is_lock_lost());
    drop(run);
    next.check().unwrap();
    next.finish("").unwrap();
    assert_eq!(head(&watched), note("1an"));
}

#[test]
fn a_run_ends_when_current_was_moved_under_it() {
    let (watched, base) = one();
    let other = store(&watched).write(&note("2"), "").unwrap();
    let run = begin(&watched);
    let (backend, token) = (&watched.backend, run.token());
    backend
        .set_current(Expect::Revision(&base), &other, token)
        .unwrap();
    assert!(run.apply(add("a")).unwrap_err().is_current_moved());
    assert!(run.finish("").unwrap_err().is_current_moved());
    assert_eq!(store(&watched).get(&run.orphan().unwrap()).unwrap(), note("1a"));
    assert_eq!(head(&watched), note("2"));
}

/// The revision that could not become current is the orphan; no second one is written.
#[test]
fn a_commit_that_loses_leaves_one_orphan() {
    let (watched, _) = one();
    let run = begin(&watched);
    run.apply(add("a")).unwrap();
    store(&watched).force_unlock(None).unwrap();
    let error = run.finish("kept").unwrap_err();
    assert!(error.is_lock_lost());
    assert_eq!(error.revision(), run.orphan().as_ref());
    assert_eq!(store(&watched).list().unwrap().len(), 2);
}

/// The run recorded the digest of bytes that were never stored, so its later records could not be read.
#[test]
fn a_failed_replacement_leaves_the_base_as_it_was() {
    let (watched, base) = one();
    let run = begin(&watched);
    watched.fail_all(Method::Replace, Fault::Before(ErrorKind::Io));
    assert_eq!(reseal(&run, &base).unwrap_err().kind(), &ErrorKind::Io);
    run.apply(add("a")).unwrap();
    assert_eq!(head(&watched), note("1a"));
}

/// The old and the new bytes have different digests, so nothing can be appended for the base.
#[test]
fn an_unknown_replacement_of_the_base_loses_no_change() {
    for fault in [Fault::Before as fn(_) -> _, Fault::After] {
        let (watched, base) = one();
        let run = begin(&watched);
        watched.fail_all(Method::Replace, fault(ErrorKind::OutcomeUnknown));
        assert!(reseal(&run, &base).unwrap_err().is_outcome_unknown());
        if run.apply(add("a")).is_ok() {
            assert_eq!(head(&watched), note("1a"));
        } else {
            assert_eq!(head(&watched), note("1"));
        }
    }
}

#[test]
fn a_backend_without_a_journal_is_asked_once() {
    let watched = Watched::fresh();
    watched.fail_all(Method::Append, Fault::Before(ErrorKind::Unsupported));
    let run = begin(&watched);
    for (text, expected) in [("a", "a"), ("b", "ab"), ("c", "abc")] {
        run.apply(add(text)).unwrap();
        assert_eq!(head(&watched), note(expected));
        let list = store(&watched).list().unwrap();
        assert_eq!(list, [run.base().unwrap()]);
    }
    assert_eq!(watched.count(Method::Append), 1);
    let revision = run.finish("three").unwrap().unwrap();
    let header = store(&watched).header(&revision).unwrap();
    assert_eq!(header.message.as_deref(), Some("three"));
    assert_eq!(store(&watched).list().unwrap(), [revision]);
}

/// A change that waits for the panicking thread would wait for ever.
#[test]
fn a_panic_ends_the_run_and_wakes_all_who_wait() {
    let (watched, _) = one();
    let gate = Arc::new(Barrier::new(2));
    let open = Arc::clone(&gate);
    watched.hook(move |method, _| {
        (method == Method::Append).then(|| {
            open.wait();
            Fault::Panic
        })
    });
    let run = begin(&watched);
    let answers: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| run.apply(add("x")))).collect();
        while run.state().0.len() < 5 {
            thread::yield_now();
        }
        gate.wait();
        threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 1);
    for answer in answers.into_iter().flatten() {
        assert!(answer.unwrap_err().is_outcome_unknown());
    }
    assert!(run.finish("kept").unwrap_err().is_outcome_unknown());
    assert_eq!(
        store(&watched).get(&run.orphan().unwrap()).unwrap(),
        note("1xxxx")
    );
}

#[test]
fn a_panic_in_any_method_ends_the_run() {
    type Call = fn(&Run<Note>, &Revision);
    let calls: [(Method, Call); 4] = [
        (Method::Create, |run, _| drop(run.save(note("2"), ""))),
        (Method::SetCurrent, |run, rev| drop(run.set_current(rev))),
        (Method::Replace, |run, rev| drop(reseal(run, rev))),
        (Method::SetCurrent, |run, _| drop(run.save(note("2"), ""))),
    ];
    for (method, call) in calls {
        let (watched, _) = one();
        let other = store(&watched).write(&note("other"), "").unwrap();
        let run = begin(&watched);
        watched.fail_all(method, Fault::Panic);
        let panicked = thread::scope(|scope| scope.spawn(|| call(&run, &other)).join());
        assert!(panicked.is_err());
        watched.without_faults();
        assert!(run.check().unwrap_err().is_outcome_unknown(), "{method:?}");
        assert!(run.apply(add("a")).unwrap_err().is_outcome_unknown());
        drop(run);
        begin(&watched).finish("").unwrap();
    }
}

/// Unfinished changes are visible without the keys, but a move of `current` needs the keys, so that nothing is dropped unread.
#[test]
fn a_move_needs_the_key_of_unfinished_changes() {
    let (watched, base) = one();
    let other = store(&watched).write(&note("2"), "").unwrap();
    let run = begin(&watched);
    run.apply(add("a")).unwrap();
    watched.backend.kill_holder();
    let stranger = Store::new(watched.clone(), Noop).document::<Note>();
    assert_eq!(stranger.unfinished().unwrap().unwrap().changes, 1);
    assert_eq!(
        stranger.set_current(&other).unwrap_err().kind(),
        &ErrorKind::Refused
    );
    assert_eq!(store(&watched).current().unwrap(), Some(base));
    assert_eq!(head(&watched), note("1a"));
}

/// A key in a service that does not answer for a while.
struct Remote {
    key: EnvKey,
    is_silent: Arc<AtomicBool>,
}

impl Encrypter for Remote {
    fn describe(&self) -> String {
        self.key.describe()
    }

    fn recipient(&self) -> &Recipient {
        self.key.recipient()
    }

    fn wrap(
        &self,
        recipient: &Recipient,
        data_key: &[u8],
        bound_to: &[u8],
    ) -> Result<Option<Vec<u8>>, encrypt::Error> {
        match self.is_silent.load(Ordering::SeqCst) {
            true => Err(encrypt::Error::new(encrypt::ErrorKind::Unavailable, "no answer")),
            false => self.key.wrap(recipient, data_key, bound_to),
        }
    }

    fn unwrap(
        &self,
        recipient: &Recipient,
        wrapped: &[u8],
        bound_to: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, encrypt::Error> {
        self.key.unwrap(recipient, wrapped, bound_to)
    }
}

/// The first change needs the key, for the journal, and so does the end, for the revision.
#[test]
fn a_run_outlasts_a_silent_holder_of_the_key() {
    let (watched, _) = one();
    let is_silent = Arc::new(AtomicBool::new(true));
    let remote = Remote {
        key: key(1),
        is_silent: Arc::clone(&is_silent),
    };
    let store: Store<Note> = Store::new(watched.clone(), Keyring::from(remote)).document();
    let run = store.begin("apply", Wait::none()).unwrap();
    assert!(run.apply(add("a")).unwrap_err().is_unavailable());
    is_silent.store(false, Ordering::SeqCst);
    run.apply(add("b")).unwrap();
    assert_eq!(head(&watched), note("1ab"));
    is_silent.store(true, Ordering::SeqCst);
    run.apply(add("c")).unwrap();
    assert!(run.finish("done").unwrap_err().is_unavailable());
    is_silent.store(false, Ordering::SeqCst);
    run.finish("done").unwrap();
    assert_eq!(head(&watched), note("1abc"));

    // A journal that should be folded grows instead: an early fold is not necessary.
    let run = store.begin("apply", Wait::none()).unwrap();
    run.apply(add("d")).unwrap();
    is_silent.store(true, Ordering::SeqCst);
    for _ in 0..4 {
        run.apply(add(&"e".repeat(1 << 20))).unwrap();
    }
    assert_eq!(head(&watched).0.len(), 5 + (4 << 20));
    is_silent.store(false, Ordering::SeqCst);
    run.finish("done").unwrap();
    assert_eq!(head(&watched).0.len(), 5 + (4 << 20));
}

/// A destructor that runs while its thread unwinds records what became of a resource. It ended the run of everybody.
#[test]
fn a_change_that_a_destructor_makes_does_not_end_the_run() {
    struct Record<'a>(&'a Run<Note>);
    impl Drop for Record<'_> {
        fn drop(&mut self) {
            self.0.apply(add("failed")).unwrap();
        }
    }
    let (watched, _) = one();
    let run = begin(&watched);
    let panicked = thread::scope(|scope| {
        let executor = scope.spawn(|| {
            let _record = Record(&run);
            panic!("the resource cannot be made");
        });
        executor.join()
    });
    assert!(panicked.is_err());
    run.apply(add(", and gone on")).unwrap();
    run.finish("").unwrap();
    assert_eq!(head(&watched), note("1failed, and gone on"));
}
