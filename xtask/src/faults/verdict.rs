//! What may come of a fault.

use super::calls::{Call, Stage};
use super::operation::{AGAIN, BEFORE, Operation, Outcome, TEXTS, WRITTEN};
use crate::place::{Line, Note, Place, save};
use crate::report::Trouble;
use sdk_state::{Error, Expect, Liveness, Revision, Store};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(2);

/// One call of one operation, failed with one error.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) operation: Operation,
    pub(super) call: Call,
    pub(super) error: &'static str,
    pub(super) unlink: Unlink,
    pub(super) lasts: Lasts,
}

/// Which calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lasts {
    Once,
    /// The call, and every later one of its name.
    Forever,
}

/// Whether the operation can remove what it made before the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unlink {
    Works,
    /// A second fault: nothing can be removed.
    Fails,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Call {
            name, ordinal, stage, ..
        } = &self.call;
        let (operation, error, unlink) = (self.operation.name(), self.error, self.unlink);
        write!(
            f,
            "{operation}: {name} no. {ordinal} fails with {error} ({stage:?}, {:?}, unlink {unlink:?}): ",
            self.lasts
        )?;
        f.write_str(&self.call.arguments)
    }
}

impl Fault {
    /// The options of strace.
    pub(super) fn injections(&self) -> Vec<String> {
        let Self { call, error, .. } = self;
        let mut injections = vec![format!(
            "inject={}:error={error}:when={}{}",
            call.name,
            call.ordinal,
            if self.lasts == Lasts::Forever { "+" } else { "" }
        )];
        if self.unlink == Unlink::Fails {
            injections.push("inject=unlinkat:error=EIO".into());
        }
        injections
    }

    /// How the operation may end.
    ///
    /// Up to the change: `Io`, with nothing changed. After it: the change is there, so the operation succeeds, unless the
    /// flush fails: then nobody knows the result. The exceptions are courtesies, and calls with an alternative.
    fn may_end(&self) -> &'static [&'static str] {
        let Self {
            operation,
            call,
            error,
            ..
        } = self;
        // A signal is no reason to give up anything.
        if *error == "EINTR" {
            return &["Ok"];
        }
        if operation.is_of_a_run() {
            return self.may_end_in_a_run();
        }
        match (call.name.as_str(), call.stage) {
            // Nothing depends on it: a handle that is closed is not used again, and the next holder of a lock is let in
            // when the handle goes.
            ("close", _) => &["Ok"],
            ("flock", _) if call.names("LOCK_UN") => &["Ok"],
            // A look at the marker that proves nobody dead: then the holder may live.
            ("flock", Stage::Before) if *operation == Operation::Adopt && call.names("/lock>") => &["Locked"],
            ("flock", Stage::Before) if *operation == Operation::LockStatus => &["Ok"],
            // A look whether the call exists at all; otherwise the numbers come from a device.
            ("getrandom", _) if call.arguments.starts_with("\"\", 0") => &["Ok"],
            ("getrandom", _) => &["Io", "Unavailable"],
            // The marker tells it where it is known.
            _ if call.names("/proc/sys/kernel/random/boot_id") => &["Ok"],
            // A process that cannot tell who it is does not act as the holder.
            _ if call.names("/proc/self/ns/pid") => &["LockLost", "Ok"],
            // The backend compares a kept handle with what its path leads to, and may ask again.
            ("fstat", Stage::Before) if call.names("S_IFDIR") => &["Ok", "Io"],
            // A parent that this process may not read cannot be flushed: the process that made it could.
            ("open", Stage::Before) if *error == "EACCES" && !call.names("/root\"") => &["Ok", "Io"],
            // If a write does not know the pointer before it, the move to its revision flushes once more.
            ("openat", Stage::Before) if operation.writes() && call.names("\"current\"") => &["Ok", "Io"],
            // Locking does not depend on its turn.
            ("openat", Stage::Before) if call.names("/snapshots>, \".\"") => &["Ok", "Io"],
            ("flock", Stage::Before) if call.names("/snapshots>") => &["Ok"],
            // `set_current` takes the lock first: the removal of its temporary's name is a courtesy.
            ("unlinkat", Stage::Before) if *operation == Operation::SetCurrent && call.names("\".lock.") => {
                &["Ok"]
            }
            // The revision itself may not be durable: then nothing is made to point at it.
            ("fsync", Stage::Before) if operation.moves() && call.names("/snapshots>") => &["OutcomeUnknown"],
            ("fsync", Stage::After) if operation.writes() || operation.moves() => &["OutcomeUnknown"],
            // The revision is gone, and may come back in a power cut: to delete it again is right, and does no harm.
            ("fsync", Stage::After) if matches!(operation, Operation::Delete | Operation::Replace) => {
                &["OutcomeUnknown"]
            }
            // It asks after the change whether the directories are still at their paths, and gets no answer.
            ("newfstatat" | "fstat", Stage::After) if operation.writes() => &["OutcomeUnknown", "Ok"],
            // So does a change of what is there, and it looks once more at the lock and at what is current.
            ("newfstatat" | "fstat" | "openat" | "read", Stage::After)
                if operation.moves() || matches!(operation, Operation::Delete | Operation::Replace) =>
            {
                &["OutcomeUnknown", "Ok"]
            }
            ("newfstatat" | "fstat", Stage::After) if *operation == Operation::Unlock => &["Io", "Ok"],
            // If it cannot see whose lock it is, it gives the lock back, and the next holder takes it over.
            ("newfstatat" | "fstat", Stage::After) if *operation == Operation::Adopt => &["Io", "Ok"],
            (_, Stage::Before | Stage::Change) => &["Io"],
            // The removal of a temporary's name, cleaning, and giving back the lock that `set_current` took.
            (_, Stage::After) => &["Ok"],
        }
    }

    /// The same for the operations of a run.
    fn may_end_in_a_run(&self) -> &'static [&'static str] {
        let Self { operation, call, .. } = self;
        match (call.name.as_str(), call.stage) {
            ("close", _) => &["Ok"],
            ("flock", _) if call.names("LOCK_UN") => &["Ok"],
            ("getrandom", _) if call.arguments.starts_with("\"\", 0") => &["Ok"],
            ("getrandom", _) => &["Io", "Unavailable"],
            // A process that cannot tell who it is does not act as the holder.
            _ if call.names("/proc/self/ns/pid") => &["LockLost", "Ok"],
            // An acknowledgement would be a lie.
            ("fsync" | "fdatasync", Stage::Change | Stage::After) if operation.puts() => &["OutcomeUnknown"],
            // Giving back the lock, after everything is committed.
            (_, Stage::After) if *operation == Operation::Finish => &["OutcomeUnknown", "Ok", "Io"],
            (_, Stage::After) => &["OutcomeUnknown", "Ok"],
            (_, Stage::Before | Stage::Change) => match operation {
                Operation::Put | Operation::NextPut | Operation::LargePut => &["Io"],
                // They write a revision first, of which the outcome may be unknown, and look whether there is anything to do.
                _ => &["Io", "OutcomeUnknown", "Ok"],
            },
        }
    }

    /// What is wrong with how an operation of a run ended, and with what the next run finds. Whatever was acknowledged is there;
    /// a change that was delayed is there once a later one is; nothing is there twice.
    fn problems_in_a_run(
        &self,
        before: &[Revision],
        place: &Place,
        (outcome, again): &(Outcome, Outcome),
    ) -> Result<Vec<String>, Trouble> {
        let mut problems = Vec::new();
        if !self.may_end().contains(&outcome.word()) {
            problems.push(format!(
                "it ended with {outcome}, and may end with {:?}",
                self.may_end()
            ));
        }
        let (is_done, goes_on) = (matches!(outcome, Outcome::Ok(_)), matches!(again, Outcome::Ok(_)));
        let is_flush = self.call.name.ends_with("sync");
        let has_ended = ["OutcomeUnknown", "LockLost"].contains(&outcome.word())
            || self.operation == Operation::Finish && self.call.stage == Stage::After;
        if !goes_on && !is_flush && !has_ended {
            problems.push(format!("afterwards the run ended with {again}"));
        }
        if goes_on
            && self.operation.puts()
            && outcome.word() == "OutcomeUnknown"
            && self.call.stage != Stage::Before
        {
            problems.push("the run goes on after an unknown outcome".into());
        }
        let line = self.operation.line();
        let mut acknowledged = Vec::new();
        if !before.is_empty() {
            acknowledged.push(TEXTS[0]);
        }
        if !matches!(self.operation, Operation::FirstPut | Operation::Put) {
            acknowledged.push(BEFORE);
        }
        if self.operation.puts() && (is_done || goes_on) {
            acknowledged.push(&line);
        }
        if self.operation != Operation::Finish && goes_on {
            acknowledged.push(AGAIN);
        }
        let store = place.open()?;
        let head = store.head()?.map(|head| head.document.0).unwrap_or_default();
        let run = store.begin("go on", SOON)?;
        let found = run.state().0.clone();
        if found != head {
            problems.push("the next run does not find what the head shows".into());
        }
        let mut left: Vec<&str> = found.lines().collect();
        for line in acknowledged {
            match left.iter().position(|found| *found == line) {
                Some(at) => drop(left.remove(at)),
                None => problems.push(format!("{line:.40} was acknowledged and is lost")),
            }
        }
        left.retain(|found| (*found != line || is_done) && *found != AGAIN);
        if !left.is_empty() {
            problems.push(format!("{} lines are there twice, or from nowhere", left.len()));
        }
        run.apply(Line("the next".into()))?;
        run.finish(None)?;
        // Of the one before, of the dead one, of the operation, of the next, and one that nobody knew whether to point at.
        let kept = store.list()?.len();
        let of_the_dead = usize::from(self.operation == Operation::Recover);
        if kept > before.len() + of_the_dead + 3 {
            problems.push(format!("{kept} revisions stay"));
        }
        problems.extend(place.clean()?);
        Ok(problems)
    }

    /// What is wrong with how the operation ended and with what lies there now.
    pub(super) fn problems(
        &self,
        before: &[Revision],
        place: &Place,
        (outcome, again): &(Outcome, Outcome),
    ) -> Result<Vec<String>, Trouble> {
        let operation = self.operation;
        if operation.is_of_a_run() {
            return self.problems_in_a_run(before, place, &(outcome.clone(), again.clone()));
        }
        let mut problems = Vec::new();
        if !self.may_end().contains(&outcome.word()) {
            problems.push(format!(
                "it ended with {outcome}, and may end with {:?}",
                self.may_end()
            ));
        }

        let mut expected = Contents {
            stored: before
                .iter()
                .cloned()
                .zip(TEXTS.map(|text| text.as_bytes().to_vec()))
                .collect(),
            current: before.first().cloned(),
        };
        let is_done = matches!(outcome, Outcome::Ok(_));
        let is_unknown = outcome.word() == "OutcomeUnknown";
        if operation.writes() {
            match outcome {
                Outcome::Ok(rev) => drop(expected.stored.insert(rev.parse()?, WRITTEN.into())),
                // An unknown outcome names the revision that is stored, durably or not.
                Outcome::Failed {
                    revision: Some(rev), ..
                } if is_unknown => {
                    expected.stored.insert(rev.parse()?, WRITTEN.into());
                }
                Outcome::Failed { .. } if is_unknown => problems.push(format!("{outcome} names no revision")),
                Outcome::Failed { .. } => {}
            }
        }
        if operation.moves() {
            let target = &before[1];
            if is_done || is_unknown && self.call.stage == Stage::After {
                expected.current = Some(target.clone());
            }
            if let Outcome::Failed { revision, .. } = outcome
                && is_unknown
                && revision.as_ref() != Some(&target.to_string())
            {
                problems.push(format!("{outcome} does not name {target}"));
            }
        }
        if operation == Operation::Delete && (is_done || self.call.stage == Stage::After) {
            expected.stored.remove(&before[2]);
        }
        match again {
            Outcome::Ok(rev) => {
                if expected.stored.insert(rev.parse()?, AGAIN.into()).is_some() {
                    problems.push(format!("the write after it replaced {rev}"));
                }
            }
            Outcome::Failed { .. } => problems.push(format!("the write after it ended with {again}")),
        }
        if let (Outcome::Ok(answer), Some(right)) = (outcome, operation.answer(before))
            && *answer != right
            // Unless a look at the lock proves nobody dead.
            && !(operation == Operation::LockStatus && answer == "killed Unknown" && self.call.name == "flock")
        {
            problems.push(format!("it answered {answer:?} instead of {right:?}"));
        }

        let store = place.open()?;
        let get = |rev: &Revision| store.get(rev).map(|note| note.0.into_bytes());
        problems.extend(expected.differences(store.list(), store.backend().current(), get));
        if is_done {
            problems.extend(wrong_lock(operation, &store)?);
        }
        problems.extend(self.leftovers(place)?);
        problems.extend(
            goes_on(&store)
                .err()
                .map(|error| format!("it does not go on: {error}")),
        );
        Ok(problems)
    }

    /// A temporary may stay where it was its removal that failed, until it is old.
    fn leftovers(&self, place: &Place) -> Result<Vec<String>, Trouble> {
        let mut problems = Vec::new();
        let stay = place.leftovers()?;
        if !stay.is_empty() && self.call.name != "unlinkat" && self.unlink == Unlink::Works {
            problems.push(format!("it left {stay:?}"));
        }
        if stay.is_empty() && self.unlink == Unlink::Fails {
            problems.push("the second fault did not hit".into());
        }
        problems.extend(place.clean()?);
        Ok(problems)
    }
}

/// What should be stored.
#[derive(Debug, Clone)]
pub(super) struct Contents {
    pub(super) stored: BTreeMap<Revision, Vec<u8>>,
    pub(super) current: Option<Revision>,
}

impl Contents {
    /// How what was found differs.
    pub(super) fn differences(
        &self,
        listed: Result<Vec<Revision>, Error>,
        current: Result<Option<sdk_state::Pointer>, Error>,
        read: impl Fn(&Revision) -> Result<Vec<u8>, Error>,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        match listed {
            Ok(mut listed) => {
                listed.sort();
                if !listed.iter().eq(self.stored.keys()) {
                    problems.push(format!(
                        "{listed:?} are stored instead of {:?}",
                        self.stored.keys()
                    ));
                }
            }
            Err(error) => problems.push(format!("it cannot be listed: {error}")),
        }
        for (rev, bytes) in &self.stored {
            match read(rev) {
                Ok(read) if read == *bytes => {}
                Ok(_) => problems.push(format!("{rev} was changed")),
                Err(error) => problems.push(format!("{rev} cannot be read: {error}")),
            }
        }
        match current.map(|pointer| pointer.map(|pointer| pointer.revision)) {
            Ok(current) if current == self.current => {}
            current => problems.push(format!("current is {current:?} instead of {:?}", self.current)),
        }
        problems
    }
}

fn wrong_lock(operation: Operation, store: &Store<Note>) -> Result<Option<String>, Error> {
    let status = store.lock_status()?;
    let is_right = match operation {
        // Held, by the process that is gone by now.
        Operation::Lock | Operation::Adopt => status.as_ref().is_some_and(|status| {
            status.liveness == Liveness::Dead && status.info.holder.operation == "operation"
        }),
        Operation::Unlock | Operation::ForceUnlock => status.is_none(),
        // Whatever becomes of the lock that it took, it keeps nobody out.
        Operation::SetCurrent => status
            .as_ref()
            .is_none_or(|status| status.liveness == Liveness::Dead),
        _ => true,
    };
    Ok((!is_right).then(|| format!("the lock is {status:?}")))
}

/// A whole run of a tool, after the trouble.
fn goes_on(store: &Store<Note>) -> Result<(), Error> {
    let lock = store.lock("go on", SOON)?;
    save(store, "the next", Expect::Anything, lock.token()?)?;
    lock.unlock()
}
