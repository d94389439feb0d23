//! The operations whose calls to the kernel are failed, and the process that calls one of them.

use crate::place::{Line, Note, Place};
use crate::report::Trouble;
use clap::ValueEnum;
use sdk_state::{Error, ErrorKind, Expect, Lock, Revision, Run, Store, Wait};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write as _};

pub(super) const BEGIN: &str = "begin";
pub(super) const END: &str = "end";
pub(super) const TEXTS: [&str; 3] = ["the first", "the second", "the third"];
pub(super) const WRITTEN: &str = "what the operation writes";
/// What a run has put before the operation.
pub(super) const BEFORE: &str = "what was acknowledged before";
/// What the same store or run writes after the operation, whatever came of that.
pub(super) const AGAIN: &str = "what is written after it";

/// Longer than the zeros at the end of a journal.
const LARGE: usize = 300_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(super) enum Operation {
    FirstWrite,
    Write,
    SetCurrent,
    CompareAndSet,
    Replace,
    Delete,
    Lock,
    Adopt,
    Unlock,
    ForceUnlock,
    LockStatus,
    List,
    Get,
    Head,
    /// The first put on a fresh stack.
    FirstPut,
    /// The first put of a run, which begins the journal.
    Put,
    NextPut,
    /// A put for which the journal is extended.
    LargePut,
    Finish,
    /// The begin of a run after one that died.
    Recover,
}

/// The process whose calls are failed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(super) place: Place,
    pub(super) operation: Operation,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Outcome {
    Ok(String),
    Failed {
        /// The first word of the kind.
        kind: String,
        revision: Option<String>,
        message: String,
    },
}

impl Operation {
    pub(super) fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The call that makes the change, by its name and a part of its arguments: what fails up to it must change nothing,
    /// and what fails after it cannot undo it.
    pub(super) fn change(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::FirstWrite | Self::Write => Some(("renameat2", ".json.enc\"")),
            Self::SetCurrent | Self::CompareAndSet => Some(("renameat", "\"current\"")),
            Self::Replace => Some(("renameat", ".json.enc\"")),
            Self::Delete => Some(("unlinkat", ".json.enc\"")),
            Self::Lock => Some(("linkat", "\"lock\"")),
            Self::Adopt => Some(("renameat2", "\"lock\"")),
            Self::Unlock | Self::ForceUnlock => Some(("unlinkat", "\"lock\"")),
            Self::FirstPut | Self::Put => Some(("renameat", "\"journal\"")),
            Self::NextPut | Self::LargePut => Some(("pwrite64", "/journal>")),
            Self::Finish | Self::Recover => Some(("renameat", "\"current\"")),
            Self::LockStatus | Self::List | Self::Get | Self::Head => None,
        }
    }

    pub(super) fn puts(self) -> bool {
        matches!(self, Self::FirstPut | Self::Put | Self::NextPut | Self::LargePut)
    }

    pub(super) fn is_of_a_run(self) -> bool {
        self.puts() || matches!(self, Self::Finish | Self::Recover)
    }

    /// The line that it puts.
    pub(super) fn line(self) -> String {
        match self {
            Self::LargePut => "x".repeat(LARGE),
            _ => WRITTEN.into(),
        }
    }

    pub(super) fn writes(self) -> bool {
        matches!(self, Self::FirstWrite | Self::Write)
    }

    pub(super) fn moves(self) -> bool {
        matches!(self, Self::SetCurrent | Self::CompareAndSet)
    }

    /// Makes what the operation finds, without any fault: three snapshots, the first of them current; none where the first is
    /// written.
    pub(super) fn prepare(self, place: &Place) -> Result<Vec<Revision>, Error> {
        if matches!(self, Self::FirstWrite | Self::FirstPut) {
            return Ok(Vec::new());
        }
        let store = place.open()?;
        if self.is_of_a_run() {
            let run = store.begin("prepare", Wait::none())?;
            run.apply(Line(TEXTS[0].into()))?;
            let revision = run.finish(None)?;
            if self == Self::Recover {
                store.begin("killed", Wait::none())?.apply(Line(BEFORE.into()))?;
            }
            return Ok(revision.into_iter().collect());
        }
        let written: Result<Vec<Revision>, Error> = TEXTS
            .iter()
            .map(|text| store.write(&Note((*text).into()), None))
            .collect();
        let revisions = written?;
        store.set_current(&revisions[0])?;
        if matches!(self, Self::Adopt | Self::ForceUnlock | Self::LockStatus) {
            // A marker as a killed holder leaves it: whole, and flocked by nobody.
            let lock = store.lock("killed", Wait::none())?;
            let io_error = |error: io::Error| Error::new(ErrorKind::Io, error.to_string());
            let marker = fs::read(place.lock()).map_err(io_error)?;
            lock.unlock()?;
            fs::write(place.lock(), marker).map_err(io_error)?;
        }
        Ok(revisions)
    }

    /// What a reading operation has to answer, where it answers.
    pub(super) fn answer(self, revisions: &[Revision]) -> Option<String> {
        match self {
            Self::List => Some(join(revisions)),
            Self::Get => Some(TEXTS[1].into()),
            Self::Head => Some(format!("{} {}", revisions[0], TEXTS[0])),
            Self::LockStatus => Some("killed Dead".into()),
            _ => None,
        }
    }
}

/// Calls the operation between two lines that the trace shows, and prints how it ended, a line each for the operation and
/// for a write through the same store after it.
pub(crate) fn run(process: &Process) -> Result<(), Trouble> {
    let store = process.place.open()?;
    let results = match process.operation.is_of_a_run() {
        true => perform_in_a_run(process.operation, &store),
        false => {
            let result = perform(process.operation, &store);
            let again = store.write(&Note(AGAIN.into()), None).map(|rev| rev.to_string());
            [result, again]
        }
    };
    for result in results {
        say(&serde_json::to_string(&Outcome::from(result))?);
    }
    Ok(())
}

/// Everything that the operation needs happens before the first line, so no fault hits it.
///
/// A lock that is held at the end stays held until the process is gone: then its holder is dead.
fn perform(operation: Operation, store: &Store<Note>) -> Result<String, Error> {
    let listed = store.list()?;
    let nth = |number: usize| {
        listed
            .get(number)
            .cloned()
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "not prepared"))
    };
    let held = match operation {
        Operation::CompareAndSet | Operation::Replace | Operation::Unlock => {
            Some(store.lock("prepare", Wait::none())?)
        }
        _ => None,
    };
    let done = |result: Result<(), Error>| result.map(|()| "-".to_owned());
    let keep = |lock: Box<dyn Lock>| std::mem::forget(lock);
    let target = nth(1).or_else(|_| nth(0));
    let third = nth(2);
    let sealed = nth(1).and_then(|rev| store.backend().read(&rev, u64::MAX));
    say(BEGIN);
    let result = match (operation, held) {
        (Operation::FirstWrite | Operation::Write, _) => store
            .write(&Note(WRITTEN.into()), None)
            .map(|rev| rev.to_string()),
        (Operation::SetCurrent, _) => done(store.set_current(&target?)),
        (Operation::CompareAndSet, Some(lock)) => {
            let expect = listed.first().map_or(Expect::Nothing, Expect::Revision);
            let token = lock.token().cloned();
            let moved = token.and_then(|token| store.backend().set_current(expect, &target?, &token));
            keep(lock);
            done(moved.map(drop))
        }
        // By the same bytes: whatever comes of it, they must be there.
        (Operation::Replace, Some(lock)) => {
            let token = lock.token().cloned();
            let replaced = token.and_then(|token| store.backend().replace(&target?, &sealed?, &token));
            keep(lock);
            done(replaced)
        }
        (Operation::Delete, _) => done(store.delete(&third?)),
        (Operation::Lock | Operation::Adopt, _) => done(store.lock("operation", Wait::none()).map(keep)),
        (Operation::Unlock, Some(lock)) => done(lock.unlock()),
        (Operation::ForceUnlock, _) => done(store.force_unlock(None).map(drop)),
        (Operation::LockStatus, _) => store.lock_status().map(|status| {
            status.map_or("nobody".into(), |status| {
                format!("{} {:?}", status.info.holder.operation, status.liveness)
            })
        }),
        (Operation::List, _) => store.list().map(|revisions| join(&revisions)),
        (Operation::Get, _) => store.get(&target?).map(|note| note.0),
        (Operation::Head, _) => store.head().map(|head| {
            head.map_or("nothing".into(), |head| {
                format!("{} {}", head.revision, head.document.0)
            })
        }),
        _ => Ok("-".into()),
    };
    say(END);
    result
}

/// The operation, and what comes of the run afterwards: it puts one more line and finishes.
fn perform_in_a_run(operation: Operation, store: &Store<Note>) -> [Result<String, Error>; 2] {
    let done = || Ok("-".to_owned());
    let go_on = |run: &Run<Note>| {
        run.apply(Line(AGAIN.into()))?;
        run.finish(None)?;
        done()
    };
    let begin = || store.begin("operation", Wait::none());
    if operation == Operation::Recover {
        say(BEGIN);
        let begun = begin();
        say(END);
        let result = begun
            .as_ref()
            .map(|run| run.state().0.clone())
            .map_err(Clone::clone);
        let again = begun.or_else(|_| begin()).and_then(|run| go_on(&run));
        return [result, again];
    }
    let prepared = begin().and_then(|run| {
        if !matches!(operation, Operation::FirstPut | Operation::Put) {
            run.apply(Line(BEFORE.into()))?;
        }
        Ok(run)
    });
    let run = match prepared {
        Ok(run) => run,
        Err(error) => return [Err(error.clone()), Err(error)],
    };
    let line = operation.line();
    say(BEGIN);
    let result = match operation {
        Operation::Finish => run.finish(None).map(drop),
        _ => run.apply(Line(line)),
    };
    say(END);
    let again = match (operation, &result) {
        (Operation::Finish, Ok(())) => done(),
        (Operation::Finish, Err(_)) => run.finish(None).and_then(|_| done()),
        _ => go_on(&run),
    };
    // As if it were killed.
    std::mem::forget(run);
    [result.and_then(|()| done()), again]
}

/// The two outcomes in what the process printed; `None` when it ended early.
pub(super) fn outcomes(printed: &str) -> Option<(Outcome, Outcome)> {
    let mut lines = printed.lines().skip_while(|line| *line != END).skip(1);
    let mut next = || serde_json::from_str(lines.next()?).ok();
    Some((next()?, next()?))
}

impl From<Result<String, Error>> for Outcome {
    fn from(result: Result<String, Error>) -> Self {
        match result {
            Ok(answer) => Self::Ok(answer),
            Err(error) => Self::Failed {
                kind: format!("{:?}", error.kind())
                    .chars()
                    .take_while(char::is_ascii_alphanumeric)
                    .collect(),
                revision: error.revision().map(Revision::to_string),
                message: error.to_string(),
            },
        }
    }
}

impl Outcome {
    /// `Ok`, or the kind of the error.
    pub(super) fn word(&self) -> &str {
        match self {
            Self::Ok(_) => "Ok",
            Self::Failed { kind, .. } => kind,
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ok(answer) => write!(f, "Ok ({answer})"),
            Self::Failed { kind, message, .. } => write!(f, "{kind} ({message})"),
        }
    }
}

fn say(line: &str) {
    // The parent notices that a line is missing.
    let mut out = io::stdout().lock();
    let _ = out
        .write_all(format!("{line}\n").as_bytes())
        .and_then(|()| out.flush());
}

fn join(revisions: &[Revision]) -> String {
    revisions
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",")
}
