//! Runs that die at each call of the backend in turn (R1, R3, R4).

use crate::recovery::{begin, dead_run, kill, two};
use crate::support::{Append, add, id, note, store};
use crate::watched::{Fault, Watched};
use sdk_state::{ErrorKind, MemoryBackend, Revision, Wait};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A recovery that dies, or fails, is done again.
#[test]
fn a_recovery_that_dies_is_done_again() {
    for fault in [Fault::Before as fn(_) -> _, Fault::After] {
        for nth in 1.. {
            let (backend, [first, second]) = dead_run(2);
            let watched = Watched::over(backend.clone());
            let calls = crash_at(&watched, nth, fault);
            let begun = store(&watched).begin("apply", Wait::none());
            let has_crashed = calls.load(Ordering::SeqCst) >= nth;
            if let Ok(begun) = begun {
                kill(&backend, begun);
            }
            let next = begin(&store(&backend));
            assert_eq!(next.state().0, "1aa", "call {nth}");
            let mut list: BTreeSet<Revision> = store(&backend).list().unwrap().into_iter().collect();
            assert!(list.remove(&first) && list.remove(&second) && list.remove(&next.base().unwrap()));
            assert!(list.len() <= 1, "call {nth}: {list:?}");
            if !has_crashed {
                break;
            }
        }
    }
}

/// Kills the process at call number `nth`: from there on no call has an effect, except call `nth` itself if `fault` says so.
fn crash_at(watched: &Watched, nth: usize, fault: fn(ErrorKind) -> Fault) -> Arc<AtomicUsize> {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    watched.hook(move |_, _| {
        let count = counter.fetch_add(1, Ordering::SeqCst) + 1;
        match count.cmp(&nth) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => Some(fault(ErrorKind::Io)),
            std::cmp::Ordering::Greater => Some(Fault::Before(ErrorKind::Io)),
        }
    });
    calls
}

enum Step {
    Apply(Append),
    Commit,
    Save(&'static str),
    /// To the first revision of the stack.
    GoBack,
    Finish,
}

/// Kills a run at each call of the backend in turn.
///
/// The next run finds every acknowledged change, nothing needs a repair, and few revisions are left.
fn kill_at_each_call(
    stack: fn() -> (MemoryBackend, Vec<Revision>),
    steps: impl Fn() -> Vec<Step>,
    leftovers: usize,
) {
    for fault in [Fault::Before as fn(_) -> _, Fault::After] {
        for nth in 1.. {
            let (backend, existing) = stack();
            let watched = Watched::over(backend.clone());
            let calls = crash_at(&watched, nth, fault);
            let mut possible = vec![
                store(&backend)
                    .head()
                    .unwrap()
                    .map_or_else(String::new, |head| head.document.0),
            ];
            let run = store(&watched).begin("apply", Wait::none());
            if let Ok(run) = &run {
                for step in steps() {
                    let before = run.state().0.clone();
                    let (after, answer) = match step {
                        Step::Apply(change) => (before + &change.0, run.apply(change)),
                        Step::Commit => (before, run.commit("").map(drop)),
                        Step::Save(text) => (text.into(), run.save(note(text), "").map(drop)),
                        Step::GoBack => ("1".into(), run.set_current(&existing[0])),
                        Step::Finish => (before, run.finish("done").map(drop)),
                    };
                    if answer.is_ok() {
                        possible.clear();
                    }
                    possible.push(after);
                    if answer.is_err() {
                        break;
                    }
                }
            }
            let has_crashed = calls.load(Ordering::SeqCst) >= nth;
            if has_crashed {
                backend.kill_holder();
            }
            let next = begin(&store(&backend));
            let found = next.state().0.clone();
            assert!(possible.contains(&found), "call {nth}: {} bytes", found.len());
            drop(run);
            next.check().unwrap();
            next.apply(add("!")).unwrap();
            let last = next.finish("next").unwrap().unwrap();
            let list = store(&backend).list().unwrap();
            assert_eq!(list.last(), Some(&last));
            let new = list
                .iter()
                .filter(|revision| !existing.contains(revision))
                .count();
            assert!(new <= 1 + leftovers, "call {nth}: {new} revisions");
            let is_genesis = |revision| store(&backend).header(revision).unwrap().is_genesis;
            assert!(!list.iter().any(is_genesis), "call {nth}");
            if !has_crashed {
                break;
            }
        }
    }
}

fn long(text: &str) -> Step {
    Step::Apply(add(&text.repeat(600 << 10)))
}

/// R4: the stack is whole, or it is fresh.
#[test]
fn a_first_run_that_dies_loses_neither_pointer_nor_change() {
    let steps = || {
        vec![
            Step::Apply(add("a")),
            Step::Apply(add("b")),
            Step::Commit,
            Step::Apply(add("c")),
            long("x"),
            long("y"),
            Step::Apply(add("d")),
            Step::Commit,
            Step::Save("saved"),
            Step::Apply(add("e")),
            Step::Finish,
        ]
    };
    // The run keeps one revision. One that `save` stored when nothing was in the journal, and that was never current, cannot
    // be told from the orphan of an evicted run, and stays.
    kill_at_each_call(|| (MemoryBackend::new(id()), Vec::new()), steps, 2);
}

#[test]
fn a_run_that_dies_loses_no_change_of_an_old_stack() {
    let steps = || {
        vec![
            Step::Apply(add("a")),
            long("x"),
            long("y"),
            Step::Apply(add("b")),
            Step::GoBack,
            Step::Apply(add("c")),
            Step::Finish,
        ]
    };
    let stack = || {
        let (backend, written) = two();
        (backend, written.into())
    };
    // The run makes a revision before it goes back, too.
    kill_at_each_call(stack, steps, 2);
}
