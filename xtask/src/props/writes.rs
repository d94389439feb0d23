use super::{NOON, broken};
use crate::note::Note;
use clap::{Args, ValueEnum};
use localstate::LocalStorage;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use sdk_conformance::{Faulty, Method};
use sdk_state::encrypt::Noop;
use sdk_state::{Backend as _, ErrorKind, Expect, Revision, StackId, Store, WriteOptions};
use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Barrier;
use time::OffsetDateTime;

/// One random run of several actors over one stack.
#[derive(Debug, Clone)]
struct Case {
    threads: usize,
    processes: usize,
    script: Script,
}

/// What each actor does, write by write.
#[derive(Debug, Clone)]
struct Script {
    /// The clock at each write, in seconds from noon: standing still, stepping back, jumping.
    clock: Vec<i64>,
    /// After each write: whether it becomes current, and whether the write before it is deleted.
    then: Vec<(Then, bool)>,
}

/// What a writer does with `current` after a write.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Then {
    Leaves,
    /// Whatever is current.
    Sets,
    /// If what was current when the write began still is.
    Moves,
}

pub(super) fn hold(runner: &mut TestRunner) -> Result<(), Box<dyn Error>> {
    let step = prop_oneof![4 => Just(0), 1 => -86_400..0_i64, 1 => 1..86_400_i64];
    let script = (1_usize..6).prop_flat_map(move |writes| {
        let then = prop_oneof![1 => Just(Then::Leaves), 1 => Just(Then::Sets), 2 => Just(Then::Moves)];
        let then = (then, any::<bool>());
        (
            prop::collection::vec(step.clone(), writes),
            prop::collection::vec(then, writes),
        )
    });
    // Few who write again and again, or many at once.
    let actors = prop_oneof![3 => (1_usize..12, 0_usize..4), 1 => (32_usize..64, Just(0))];
    let case = (actors, script).prop_map(|((threads, processes), (clock, then))| Case {
        threads,
        processes,
        script: Script { clock, then },
    });
    Ok(runner.run(&case, |case| check(&case))?)
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let directory = tempfile::tempdir().map_err(broken)?;
    let root = directory.path();
    let outcomes = run_all(case, root).map_err(broken)?;

    check_tries(&outcomes)?;
    // A name is free again once its revision has been deleted, so only those that are kept must differ.
    let (deleted, kept): (Vec<&Outcome>, Vec<_>) = outcomes.iter().partition(|outcome| outcome.deleted);
    check_names(&kept)?;
    check_moves(&outcomes, &deleted)?;

    let store = open(root, || NOON).map_err(broken)?;
    for outcome in &kept {
        let note = store.get(&outcome.revision).map_err(broken)?;
        prop_assert_eq!(
            &note.0,
            &outcome.text,
            "{} holds another writer's bytes",
            outcome.revision
        );
    }
    let listed = store.list().map_err(broken)?;
    prop_assert_eq!(listed.len(), kept.len(), "lost, or nobody's: {:?}", listed);
    Ok(())
}

fn check_tries(outcomes: &[Outcome]) -> Result<(), TestCaseError> {
    let allowed = most_tries(outcomes.len());
    for outcome in outcomes {
        prop_assert!(
            outcome.tries <= allowed,
            "more than {} tries for {} writes: {:?}",
            allowed,
            outcomes.len(),
            outcome
        );
    }
    Ok(())
}

/// Of `writes` at once. A write that has drawn from as many names as there are writes meets each further collision with a
/// chance that halves each time: ten more in a row do not happen. One that tried name after name would need up to `writes`.
fn most_tries(writes: usize) -> u64 {
    u64::from(writes.max(1).ilog2()) + 10
}

fn check_names(kept: &[&Outcome]) -> Result<(), TestCaseError> {
    let mut distinct = BTreeMap::new();
    for outcome in kept {
        if let Some(other) = distinct.insert(&outcome.revision, outcome) {
            return Err(broken(format!(
                "{} was given twice: {other:?} and {outcome:?}",
                outcome.revision
            )));
        }
    }
    Ok(())
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

/// What became of one write.
#[derive(Debug)]
struct Outcome {
    revision: Revision,
    text: String,
    tries: u64,
    /// What was current before this, if it was made current by comparing.
    moved_from: Option<Option<Revision>>,
    deleted: bool,
}

fn run_all(case: &Case, root: &Path) -> Result<Vec<Outcome>, Box<dyn Error>> {
    let children: Vec<Child> = (0..case.processes)
        .map(|process| start_writer(process, &case.script, root))
        .collect::<io::Result<_>>()?;
    let barrier = Barrier::new(case.threads);
    let mut outcomes = std::thread::scope(|scope| {
        let actors: Vec<_> = (0..case.threads)
            .map(|thread| {
                let (barrier, script) = (&barrier, &case.script);
                scope.spawn(move || {
                    barrier.wait();
                    act(root, &format!("thread {thread}"), script)
                })
            })
            .collect();
        let mut outcomes = Vec::new();
        for actor in actors {
            outcomes.extend(actor.join().map_err(|_| "a writer panicked")??);
        }
        Ok::<_, String>(outcomes)
    })?;
    for child in children {
        outcomes.extend(outcomes_of(child)?);
    }
    Ok(outcomes)
}

/// One actor's whole script. Broken promises that it alone can see are its errors.
fn act(root: &Path, name: &str, script: &Script) -> Result<Vec<Outcome>, String> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (turn, (&offset, &(then, deletes_last))) in script.clock.iter().zip(&script.then).enumerate() {
        let explain = |error: sdk_state::Error| format!("{name}, write {turn}: {error}");
        let store = open(root, move || NOON + offset).map_err(explain)?;
        let text = format!("{name}, write {turn}");
        let revision = store
            .write(&Note(text.clone()), &WriteOptions::new())
            .map_err(explain)?;
        // What was current when this write began, as the write itself saw it: others move `current` meanwhile, also back.
        let current = store.header(&revision).map_err(explain)?.parent;
        if current.as_ref().is_some_and(|current| *current >= revision) {
            return Err(format!(
                "{text} got {revision}, which does not sort after the current {current:?}"
            ));
        }
        let now = Revision::at(moment(NOON + offset)).map_err(explain)?;
        let latest = current.clone().map_or(now.clone(), |current| current.max(now));
        if !revision.same_moment(&latest) {
            return Err(format!(
                "{text} got {revision}, whose moment is not that of {latest}"
            ));
        }
        let mut moved_from = None;
        match then {
            Then::Leaves => {}
            Then::Sets => store.set_current(&revision).map_err(explain)?,
            Then::Moves => {
                match store.compare_and_set_current(Expect::Exactly(current.as_ref()), &revision, None) {
                    Ok(()) => moved_from = Some(current),
                    Err(error) if matches!(error.kind(), ErrorKind::CurrentMoved { .. }) => {}
                    Err(error) => return Err(explain(error)),
                }
            }
        }
        if deletes_last && let Some(last) = outcomes.last_mut() {
            match store.delete(&last.revision, None) {
                Ok(()) => last.deleted = true,
                Err(error) if error.kind() == &ErrorKind::RevisionIsCurrent => {}
                Err(error) => return Err(explain(error)),
            }
        }
        outcomes.push(Outcome {
            revision,
            text,
            tries: store.storage().calls(Method::Create),
            moved_from,
            deleted: false,
        });
    }
    Ok(outcomes)
}

fn open(
    root: &Path,
    clock: impl Fn() -> i64 + Send + Sync + 'static,
) -> Result<Store<Faulty<LocalStorage>, Note>, sdk_state::Error> {
    let storage = LocalStorage::new(root, StackId::new("props", "writes")?);
    Ok(Store::new(Faulty::new(storage), Noop).with_clock(move || moment(clock())))
}

fn moment(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// The arguments of a writing process.
#[derive(Args)]
pub(crate) struct WriterOptions {
    #[arg(long)]
    root: PathBuf,
    #[arg(long)]
    name: String,
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true)]
    clock: Vec<i64>,
    #[arg(long, value_delimiter = ',', value_enum)]
    then: Vec<Then>,
    #[arg(long, value_delimiter = ',')]
    deletes_last: Vec<bool>,
}

fn start_writer(process: usize, script: &Script, root: &Path) -> io::Result<Child> {
    let list = |values: Vec<String>| values.join(",");
    Command::new(env::current_exe()?)
        .arg("props-writer")
        .arg("--root")
        .arg(root)
        .args(["--name", &format!("process {process}")])
        .arg(format!(
            "--clock={}",
            list(script.clock.iter().map(ToString::to_string).collect())
        ))
        .arg(format!(
            "--then={}",
            list(
                script
                    .then
                    .iter()
                    .map(|then| format!("{:?}", then.0).to_lowercase())
                    .collect()
            )
        ))
        .arg(format!(
            "--deletes-last={}",
            list(script.then.iter().map(|then| then.1.to_string()).collect())
        ))
        .stdout(Stdio::piped())
        .spawn()
}

/// In the place of the revision from which a writing process moved `current`.
const NOT_MOVED: &str = "-";
const FROM_NOTHING: &str = "*";

/// Prints an outcome a line: the revision, the tries, from where it was made current, whether it was deleted, the text.
pub(crate) fn run_writer(options: &WriterOptions) -> ExitCode {
    let script = Script {
        clock: options.clock.clone(),
        then: options
            .then
            .iter()
            .copied()
            .zip(options.deletes_last.iter().copied())
            .collect(),
    };
    let mut out = io::stdout().lock();
    match act(&options.root, &options.name, &script) {
        Ok(outcomes) => {
            for Outcome {
                revision,
                text,
                tries,
                moved_from,
                deleted,
            } in outcomes
            {
                let moved_from = match moved_from {
                    None => NOT_MOVED.into(),
                    Some(None) => FROM_NOTHING.into(),
                    Some(Some(from)) => from.to_string(),
                };
                if writeln!(out, "{revision} {tries} {moved_from} {deleted} {text}").is_err() {
                    return ExitCode::FAILURE;
                }
            }
            ExitCode::SUCCESS
        }
        Err(problem) => {
            // The parent reports what it finds on the last line.
            let _ = writeln!(out, "{problem}");
            ExitCode::FAILURE
        }
    }
}

fn outcomes_of(child: Child) -> Result<Vec<Outcome>, Box<dyn Error>> {
    let output = child.wait_with_output()?;
    let text = String::from_utf8(output.stdout)?;
    if !output.status.success() {
        return Err(text.into());
    }
    text.lines()
        .map(|line| {
            let mut fields = line.splitn(5, ' ');
            let mut next = || fields.next().ok_or("a writing process printed half a line");
            Ok(Outcome {
                revision: next()?.parse()?,
                tries: next()?.parse()?,
                moved_from: match next()? {
                    NOT_MOVED => None,
                    FROM_NOTHING => Some(None),
                    from => Some(Some(from.parse()?)),
                },
                deleted: next()?.parse()?,
                text: next()?.into(),
            })
        })
        .collect()
}
