use super::Trouble;
use super::child::{AGAIN, Outcome};
use super::operation::{Before, Operation, TEXTS, WRITTEN, open, stack_directory};
use super::trace::{Call, Stage};
use crate::note::Note;
use localstate::LocalStore;
use sdk_state::{Backend as _, Liveness, Revision, Wait, WriteOptions};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longer than a temporary has to lie there before it is cleaned.
const OLD: Duration = Duration::from_secs(2 * 3600);
const SOON: Duration = Duration::from_secs(2);

/// One call of one operation, failed with one error.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) operation: Operation,
    pub(super) call: Call,
    pub(super) errno: &'static str,
    pub(super) unlink: Unlink,
}

/// Whether the operation can remove what it has made before the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unlink {
    Works,
    /// A second fault: nothing can be removed.
    Fails,
}

impl Fault {
    /// How the operation may end.
    ///
    /// Up to the change: `Io`, with nothing changed. After it: the change is there, so the operation succeeds, unless it is
    /// the flush that fails, which nobody can know the result of. Exceptions are what is done out of courtesy, or what
    /// there is another way for.
    pub(super) fn may_end(&self) -> &'static [&'static str] {
        let Self {
            operation,
            call,
            errno,
            ..
        } = self;
        let names = |part: &str| call.arguments.contains(part);
        // A signal is no reason to give up anything.
        if *errno == "EINTR" {
            return &["Ok"];
        }
        match (call.name.as_str(), call.stage) {
            // Nothing depends on it: a handle that is closed is not used again, and the next holder of a lock is let in
            // when the handle goes.
            ("close", _) => &["Ok"],
            ("flock", _) if call.unlocks() => &["Ok"],
            // A look whether the call exists at all; otherwise the numbers come from a device.
            ("getrandom", _) if call.arguments.starts_with("\"\", 0") => &["Ok"],
            ("getrandom", _) => &["Io", "Unavailable"],
            // The marker tells it where it is known.
            _ if call.is_about_the_boot_id() => &["Ok"],
            // Whether a kept handle is that of a directory which somebody has removed.
            ("fstat", Stage::Before) if names("S_IFDIR") => &["Ok"],
            // A parent that may not be read cannot be flushed: whoever made it could.
            ("open", Stage::Before) if *errno == "EACCES" && !names("/root\"") => &["Ok", "Io"],
            // The revision itself may not be durable: then nothing is made to point at it.
            ("fsync", Stage::Before) if operation.moves() && names("/snapshots>") => &["DurabilityUnknown"],
            ("fsync", Stage::After) if operation.writes() || operation.moves() => &["DurabilityUnknown"],
            // The revision is gone, and may come back in a power cut: to delete it again is right, and does no harm.
            ("fsync", Stage::After) if *operation == Operation::Delete => &["DurabilityUnknown"],
            // Whose lock it is could not be seen: it is given back, and the next one takes it over.
            ("newfstatat" | "fstat", Stage::After) if *operation == Operation::Adopt => &["Io", "Ok"],
            (_, Stage::Before | Stage::Change) => &["Io"],
            // The removal of a temporary's name, and cleaning.
            (_, Stage::After) => &["Ok"],
        }
    }

    /// What is wrong with how the operation ended and with what lies there now: nothing, if all is well.
    pub(super) fn problems(
        &self,
        before: &Before,
        root: &Path,
        (outcome, again): &(Outcome, Outcome),
    ) -> Result<Vec<String>, Trouble> {
        let operation = self.operation;
        let mut problems = Vec::new();
        if !self.may_end().contains(&outcome.word()) {
            problems.push(format!(
                "it ended with {outcome}, and may end with {:?}",
                self.may_end()
            ));
        }

        let mut expected: BTreeMap<Revision, &str> = before.revisions.iter().cloned().zip(TEXTS).collect();
        let mut current = before.revisions.first();
        let is_done = matches!(outcome, Outcome::Ok(_));
        if operation.writes()
            && let Some(rev) = outcome.revision()
        {
            expected.insert(rev.parse()?, WRITTEN);
        }
        if operation.moves() {
            let target = &before.revisions[1];
            match outcome {
                Outcome::Ok(_) => current = Some(target),
                _ if outcome.word() == "DurabilityUnknown" => {
                    if self.call.stage == Stage::After {
                        current = Some(target);
                    }
                    if outcome.revision() != Some(&target.to_string()) {
                        problems.push(format!("{outcome} does not name {target}"));
                    }
                }
                _ => {}
            }
        }
        if operation == Operation::Delete && (is_done || self.call.stage == Stage::After) {
            expected.remove(&before.revisions[2]);
        }
        match again {
            Outcome::Ok(rev) => {
                if expected.insert(rev.parse()?, AGAIN).is_some() {
                    problems.push(format!("the write after it replaced {rev}"));
                }
            }
            Outcome::Failed { .. } => problems.push(format!("the write after it ended with {again}")),
        }
        if let (Outcome::Ok(answer), Some(right)) = (outcome, operation.answer(before))
            && *answer != right
        {
            problems.push(format!("it answered {answer:?} instead of {right:?}"));
        }

        let store = open(root)?;
        problems.extend(differences(&store, &expected, current));
        if is_done {
            problems.extend(wrong_lock(operation, &store)?);
        }
        problems.extend(self.litter(root)?);
        problems.extend(
            not_going_on(&store)
                .err()
                .map(|error| format!("it does not go on: {error}")),
        );
        Ok(problems)
    }

    /// A temporary may stay where it was its removal that failed, until it is old.
    fn litter(&self, root: &Path) -> Result<Vec<String>, Trouble> {
        let mut problems = Vec::new();
        let stay = temporaries(root)?;
        if !stay.is_empty() && self.call.name != "unlinkat" && self.unlink == Unlink::Works {
            problems.push(format!("it left {stay:?}"));
        }
        if stay.is_empty() && self.unlink == Unlink::Fails {
            problems.push("the second fault did not hit".into());
        }
        // The lock once more, so that a second name of a marker that has been taken over is nobody's any longer.
        if let Err(error) = open(root)?
            .lock("look", &Wait::at_most(SOON))
            .and_then(sdk_state::Lock::unlock)
        {
            problems.push(format!("the lock is stuck: {error}"));
        }
        for path in &stay {
            let file = File::options().write(true).open(path)?;
            file.set_modified(file.metadata()?.modified()? - OLD)?;
        }
        if let Err(error) = open(root)?
            .lock("clean", &Wait::at_most(SOON))
            .and_then(sdk_state::Lock::unlock)
        {
            problems.push(format!("the lock is stuck: {error}"));
        }
        let still = temporaries(root)?;
        if !still.is_empty() {
            problems.push(format!("it left what is never cleaned: {still:?}"));
        }
        Ok(problems)
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

    /// The revision that was written, durably or perhaps not.
    fn revision(&self) -> Option<&String> {
        match self {
            Self::Ok(rev) => Some(rev),
            Self::Failed { kind, rev, .. } if kind == "DurabilityUnknown" => Some(rev),
            Self::Failed { .. } => None,
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

/// What is stored and should not be, or the other way round.
pub(super) fn differences(
    store: &LocalStore<Note>,
    expected: &BTreeMap<Revision, &str>,
    current: Option<&Revision>,
) -> Vec<String> {
    let mut problems = Vec::new();
    match store.list() {
        Ok(listed) if listed.iter().eq(expected.keys()) => {}
        Ok(listed) => problems.push(format!("{listed:?} are stored instead of {:?}", expected.keys())),
        Err(error) => problems.push(format!("what is stored cannot be listed: {error}")),
    }
    for (rev, text) in expected {
        match store.get(rev) {
            Ok(note) if note.0 == *text => {}
            Ok(note) => problems.push(format!("{rev} holds {:?} instead of {text:?}", note.0)),
            Err(error) => problems.push(format!("{rev} cannot be read: {error}")),
        }
    }
    match (store.current_rev(), current) {
        (Ok(found), Some(current)) if found == *current => {}
        (Err(error), None) if matches!(error.kind(), sdk_state::ErrorKind::NoCurrent { .. }) => {}
        (found, current) => problems.push(format!("current is {found:?} instead of {current:?}")),
    }
    problems
}

fn wrong_lock(operation: Operation, store: &LocalStore<Note>) -> Result<Option<String>, Trouble> {
    let status = store.lock_status()?;
    let is_right = match operation {
        // Held, by the process that is gone by now.
        Operation::Lock | Operation::Adopt => status.as_ref().is_some_and(|status| {
            status.liveness == Liveness::Dead && status.info.operation.as_deref() == Some("operation")
        }),
        Operation::Unlock | Operation::ForceUnlock => status.is_none(),
        _ => true,
    };
    Ok((!is_right).then(|| format!("the lock is {status:?}")))
}

/// A whole run of a tool, after the trouble.
fn not_going_on(store: &LocalStore<Note>) -> Result<(), sdk_state::Error> {
    let lock = store.lock("go on", &Wait::at_most(SOON))?;
    let rev = store.write(&Note("the next".into()), &WriteOptions::new())?;
    store.set_current(&rev)?;
    lock.unlock()
}

fn temporaries(root: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let mut found = Vec::new();
    let stack = stack_directory(root);
    for directory in [stack.join("snapshots"), stack] {
        if directory.exists() {
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                if entry.file_name().as_encoded_bytes().starts_with(b".") {
                    found.push(entry.path());
                }
            }
        }
    }
    Ok(found)
}
