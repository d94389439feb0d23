//! Many writers at once, in threads and processes, on clocks that stand still, step back and jump.

use super::broken;
use crate::oracle::Oracle;
use crate::place::{Note, Place, after_noon, scratch};
use crate::report::Trouble;
use crate::task::{Role, command};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use sdk_conformance::{Faulty, Method};
use sdk_state::encrypt::Noop;
use sdk_state::{Error, Revision, Store};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::process::{Child, Stdio};
use std::sync::{Arc, Barrier};
use std::time::Duration;

/// A lock that cannot be had for so long is stuck.
const STUCK: Duration = Duration::from_secs(20);
const SECOND: i64 = 1_000_000_000;

/// One random run of several writers on one stack.
#[derive(Debug, Clone)]
struct Case {
    threads: usize,
    processes: usize,
    steps: Vec<Step>,
    /// Every mover evicts the holder of the lock first, so that every move races with evictions.
    evicts: bool,
}

/// A write, and what its writer does after it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Step {
    /// In seconds from noon.
    clock: i64,
    then: Then,
    deletes_last: bool,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Then {
    Leaves,
    /// Makes it current, whatever is current.
    Sets,
    /// Makes it current under the lock, if what was current when the write began still is.
    Moves,
}

/// A process that writes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Writer {
    place: Place,
    name: String,
    steps: Vec<Step>,
    evicts: bool,
}

/// What came of one write.
#[derive(Debug, Serialize, Deserialize)]
struct Outcome {
    revision: String,
    text: String,
    tries: u64,
    /// What was current before this, if it was made current by comparing.
    moved_from: Option<Option<String>>,
    deleted: bool,
}

pub(super) fn hold(runner: &mut TestRunner) -> Result<(), Box<dyn std::error::Error>> {
    let step = (
        prop_oneof![4 => Just(0), 1 => -86_400..0_i64, 1 => 1..86_400_i64],
        prop_oneof![1 => Just(Then::Leaves), 1 => Just(Then::Sets), 2 => Just(Then::Moves)],
        any::<bool>(),
    );
    let step = step.prop_map(|(clock, then, deletes_last)| Step {
        clock,
        then,
        deletes_last,
    });
    // Few who write again and again, or many at once.
    let writers = prop_oneof![3 => (1_usize..12, 0_usize..4), 1 => (32_usize..64, Just(0))];
    let case = (
        writers,
        prop::collection::vec(step, 1..6),
        prop::bool::weighted(0.3),
    );
    let case = case.prop_map(|((threads, processes), steps, evicts)| Case {
        threads,
        processes,
        steps,
        evicts,
    });
    Ok(runner.run(&case, |case| check(&case))?)
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let directory = scratch().map_err(broken)?;
    let place = Place::new(directory.path());
    let outcomes = run_all(case, &place).map_err(broken)?;

    let allowed = most_tries(outcomes.len());
    for outcome in &outcomes {
        prop_assert!(
            outcome.tries <= allowed,
            "more than {} tries: {:?}",
            allowed,
            outcome
        );
    }
    // A name is free again once its revision has been deleted, so only those that are kept must differ.
    let (deleted, kept): (Vec<&Outcome>, Vec<_>) = outcomes.iter().partition(|outcome| outcome.deleted);
    let mut distinct = BTreeMap::new();
    for outcome in &kept {
        if let Some(other) = distinct.insert(&outcome.revision, outcome) {
            return Err(broken(format!("given twice: {other:?} and {outcome:?}")));
        }
    }
    check_moves(&outcomes, &deleted)?;

    let store = place.open().map_err(broken)?;
    for outcome in &kept {
        let rev: Revision = outcome.revision.parse().map_err(broken)?;
        let note = store.get(&rev).map_err(broken)?;
        prop_assert_eq!(&note.0, &outcome.text, "{} holds another writer's bytes", rev);
    }
    let listed = store.list().map_err(broken)?;
    prop_assert_eq!(listed.len(), kept.len(), "lost, or nobody's: {:?}", listed);
    Ok(())
}

/// Of `writes` at once. A write that has drawn from as many names as there are writes meets each further collision with a
/// chance that halves each time: ten more in a row do not happen. One that tried name after name would need up to `writes`.
fn most_tries(writes: usize) -> u64 {
    u64::from(writes.max(1).ilog2()) + 10
}

/// Nobody makes the same revision current twice, so from each one mover can have moved on; unless its name was given again.
fn check_moves(outcomes: &[Outcome], deleted: &[&Outcome]) -> Result<(), TestCaseError> {
    let mut moved = BTreeMap::new();
    for outcome in outcomes {
        let Some(from) = &outcome.moved_from else { continue };
        if deleted
            .iter()
            .any(|deleted| from.as_ref() == Some(&deleted.revision))
        {
            continue;
        }
        if let Some(other) = moved.insert(from, outcome) {
            return Err(broken(format!(
                "two moved current away from {from:?}: {other:?} and {outcome:?}"
            )));
        }
    }
    Ok(())
}

fn run_all(case: &Case, place: &Place) -> Result<Vec<Outcome>, Trouble> {
    let writer = |name: String| Writer {
        place: place.clone(),
        name,
        steps: case.steps.clone(),
        evicts: case.evicts,
    };
    let mut children = Vec::new();
    for process in 0..case.processes {
        children.push(start(writer(format!("process {process}")))?);
    }
    let oracle = oracle(place)?;
    let barrier = Barrier::new(case.threads);
    let mut outcomes = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..case.threads)
            .map(|thread| {
                let (barrier, oracle, writer) = (&barrier, &oracle, writer(format!("thread {thread}")));
                scope.spawn(move || {
                    barrier.wait();
                    write_all(&writer, oracle)
                })
            })
            .collect();
        let mut outcomes = Vec::new();
        for thread in threads {
            outcomes.extend(thread.join().map_err(|_| "a writer panicked")??);
        }
        Ok::<_, Trouble>(outcomes)
    })?;
    for child in children {
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        outcomes.extend(serde_json::from_slice::<Vec<Outcome>>(&output.stdout)?);
    }
    Ok(outcomes)
}

fn oracle(place: &Place) -> io::Result<Oracle> {
    Oracle::open(&place.root().join("oracle"))
}

fn start(writer: Writer) -> io::Result<Child> {
    let mut command = command(&Role::Write(writer))?;
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// The process: prints its outcomes.
pub(crate) fn run_writer(writer: &Writer) -> Result<(), Trouble> {
    let outcomes = write_all(writer, &oracle(&writer.place)?)?;
    Ok(io::stdout().write_all(&serde_json::to_vec(&outcomes)?)?)
}

/// All steps of one writer. Broken promises that it alone can see are its errors.
fn write_all(writer: &Writer, oracle: &Oracle) -> Result<Vec<Outcome>, Trouble> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (turn, step) in writer.steps.iter().enumerate() {
        let text = format!("{}, write {turn}", writer.name);
        let now = after_noon(step.clock * SECOND);
        let backend = Arc::new(Faulty::new(writer.place.backend()?));
        let store: Store<Note> = Store::new(Arc::clone(&backend), Noop)
            .with_clock(move || now)
            .document();
        let revision = store.write(&Note(text.clone()), None)?;
        // What was current when this write began, as the write itself saw it: others move `current` meanwhile, also back.
        let current = store.header(&revision)?.parent;
        let now = Revision::at(now)?;
        let latest = current.clone().map_or(now.clone(), |current| current.max(now));
        let is_after = current.as_ref().is_none_or(|current| *current < revision);
        if !is_after || !revision.same_moment(&latest) {
            return Err(format!("{text} got {revision}, while {current:?} was current").into());
        }
        let last = outcomes.last_mut().filter(|_| step.deletes_last);
        let is_evicted = |error: &Error| writer.evicts && error.is_lock_lost();
        let mut moved_from = None;
        match step.then {
            Then::Leaves => delete_last(last, |last| store.delete(last))?,
            Then::Sets => {
                match store.set_current(&revision) {
                    Err(error) if !error.is_locked() && !is_evicted(&error) => return Err(error.into()),
                    _ => {}
                }
                delete_last(last, |last| store.delete(last))?;
            }
            Then::Moves => {
                if writer.evicts {
                    store.force_unlock(None)?;
                }
                let lock = store.lock("props", STUCK)?;
                let inside = match writer.evicts {
                    true => None,
                    false => Some(oracle.enter()?.ok_or("two writers hold the lock at once")?),
                };
                match store
                    .backend()
                    .set_current(current.as_ref().into(), &revision, lock.token()?)
                {
                    Ok(_) => moved_from = Some(current.map(|current| current.to_string())),
                    Err(error) if error.is_current_moved() || is_evicted(&error) => {}
                    Err(error) => return Err(error.into()),
                }
                delete_last(last, |last| store.backend().remove(last, Some(lock.token()?)))?;
                drop(inside);
                match lock.unlock() {
                    Err(error) if !is_evicted(&error) => return Err(error.into()),
                    _ => {}
                }
            }
        }
        outcomes.push(Outcome {
            revision: revision.to_string(),
            text,
            tries: backend.calls(Method::Create),
            moved_from,
            deleted: false,
        });
    }
    Ok(outcomes)
}

/// Unless it is current, or somebody else holds the lock by now.
fn delete_last(
    last: Option<&mut Outcome>,
    delete: impl FnOnce(&Revision) -> Result<(), Error>,
) -> Result<(), Error> {
    let Some(last) = last else { return Ok(()) };
    match delete(&last.revision.parse()?) {
        Ok(()) => last.deleted = true,
        Err(error) if error.is_locked() || error.is_lock_lost() => {}
        Err(error) if error.kind() == &sdk_state::ErrorKind::RevisionIsCurrent => {}
        Err(error) => return Err(error),
    }
    Ok(())
}
