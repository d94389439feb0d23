//! The traced processes: they call the store, and leave marks in the log.

use crate::place::{FACTORY, Line, Note, Place, STACK};
use crate::report::Trouble;
use sdk_state::{Expect, Lock, Revision, Run, Store, Wait};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// From the base to the root. None of it exists when a script begins.
pub(super) const ROOT: &str = "absent/too/root";

/// Processes that do their steps one after the other, each with a handle of its own, and end without giving back a lock.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) sentence: &'static str,
    pub(super) processes: Vec<Vec<&'static str>>,
    pub(super) fate: Fate,
}

/// The fate of one process, given by its place, at one of its flushes: in each run at another flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// All processes are left alone.
    None,
    /// It is killed before the flush.
    Killed(usize),
    /// It is stopped before the flush until the process after it has ended.
    Overtaken(usize),
    /// The same, and the process after it is killed before this flush of its own, if it comes so far.
    OvertakenByKilled(usize, usize),
}

/// A sentence, and a line for each process. A snapshot is named by its text; `newest` is the last one that is listed.
/// A step after `try` may fail. `move` and `replace` show the lock that the process holds, and so does `delete` if it holds
/// one; `set_current` takes it for the moment.
///
/// From `begin` to `finish` or the end of the process there is a run. A line that it puts ends in `~` if it is as long as a few
/// sectors, and in `*` if the journal is folded for it; a document is the lines with `+` between them.
const SCRIPTS: &str = "
the first write makes the root and what is above it
write A, set_current A

the pointer moves, and what it has left is deleted
write A, set_current A, write B, lock, move A B, unlock, delete A, write C, set_current C, delete B

writes on a clock that stands still, and a name that is given again
write A, write B, write C, set_current B, write D, delete D, delete C, write E

a run under the lock, twice
lock, write A, move none A, unlock, lock, write B, move A B, delete A, unlock

locks that are given back, of which nothing is flushed but the markers
lock, unlock, lock, unlock, lock, unlock, lock, write A

a lock whose holder has died is taken over
lock, write A, move none A
lock, write B, move A B
lock, unlock

a holder is evicted, and another one locks
lock, write A, move none A, force_unlock, lock, write B, move A B, unlock

the first writer is killed, and another one goes on with what it has made
killed: write A
write B, set_current B

a mover is killed, and what it has moved the pointer away from is deleted
write A, set_current A, write B
killed: set_current B
try delete A, write C

a writer is killed, and another process points at the newest revision
write A, set_current A
killed: write B
set_current newest, try delete A

a deleter is killed, and another process writes
write A, write B, set_current B, write C
killed: delete C
write D, set_current D

a holder is killed in its run, and the next one takes over
write A, set_current A
killed: lock, write B, move A B, unlock
lock, write C, move any C, unlock

the first holder is killed, and the next one goes on with what it has made
killed: lock
lock, unlock, write A, set_current A

a holder that takes over is killed, and the next one takes over from it
lock, write A, move none A
killed: lock, write B
lock, move A newest, unlock

a mover is evicted by a process that deletes what the pointer has left
write A, set_current A, write B
overtaken: try set_current B
try delete A, try force_unlock, try delete A, write C

a mover is evicted by a process that deletes what it moves to
write A, set_current A, write B
overtaken: try set_current B
try delete B, try force_unlock, try delete B, write C

a deleter is overtaken by a process that moves the pointer to what it deletes
write A, write B, set_current B
overtaken: try delete A
try set_current A

a writer is overtaken by a process that points at the newest revision and deletes the others
write A, set_current A
overtaken: write B
set_current newest, try delete A, write C

the first writer is overtaken by another one
overtaken: write A
write B, set_current B

a mover is evicted by another one with the same expectation
write A, set_current A, write B, write C
overtaken: try lock, try move A B
try force_unlock, try lock, try move A C, try delete A

a process that takes the lock is overtaken
write A, set_current A
overtaken: try lock, write B
try lock, write C, try move A C

a mover is evicted by a killed process that has deleted the revision and given its name to another one
write A, set_current A
overtaken: write B, try set_current B
killed at flush 8: try force_unlock, try delete B, write C

another handle's mover is evicted by a killed process that has given the name to another revision
write A, set_current A, write B
overtaken: try set_current B
killed at flush 8: try force_unlock, try delete B, write C

a process that replaces a snapshot is killed, and another one deletes it
write A, write B, set_current B, lock, replace B, unlock
killed: lock, replace A
delete A, write C

a process that replaces a snapshot is evicted by another that points at it and deletes the other
write A, write B, set_current B
overtaken: try lock, try replace A
try force_unlock, set_current A, delete B

runs that commit and go on, from a fresh stack
begin, put a, put b~, commit, put c, finish
begin, put d, put e~, put f, commit, put g, finish

a run folds a journal that has become too large
begin, put a, put b*, put c, finish
begin, put d, finish

runs that die, or end without a commit
begin, put a, put b~
begin, put c, drop
begin, put d, commit, put e
begin, put f, finish

the first run is killed, and the next one goes on
killed: begin, put a, put b
begin, put c, finish

a run is killed, and the next one goes on
begin, put a, finish
killed: begin, put b, put c~, commit, put d, finish
begin, put e, finish

a run is killed while it recovers what a dead one has left
begin, put a, put b
killed: begin, put c
begin, put d, finish

a run is killed, and the next one goes back to where it began
begin, put a, finish
killed: begin, put b, finish
begin, rollback a, put c, finish

a run is killed while it goes back, and the next one goes on
begin, put a, finish
begin, put b, finish
killed: begin, put c, rollback a, put d
begin, put e, finish

a mover is killed that goes back from what a dead run has left
begin, put a, finish
begin, put b, commit, put c
killed: rollback a
begin, put d, finish

a run is evicted by another one
begin, put a, finish
overtaken: try begin, try put b, try put c~, try finish
try force_unlock, try begin, try put d, try finish

a run that goes back is evicted by another one
begin, put a, finish
begin, put b, finish
overtaken: try begin, try rollback a, try put c
try force_unlock, try begin, try put d, try commit, try put e
";

/// A line as long as a few sectors, and one that is longer than a journal becomes.
const LONG: usize = 1500;
const HUGE: usize = 1_100_000;

/// The line that a script calls so.
fn line(word: &str) -> String {
    match (word.strip_suffix('~'), word.strip_suffix('*')) {
        (Some(letter), _) => letter.repeat(LONG),
        (_, Some(letter)) => letter.repeat(HUGE),
        _ => word.into(),
    }
}

/// What a script calls the document.
pub(super) fn words_of(note: &Note) -> String {
    let word = |line: &str| match line.len() {
        HUGE => format!("{}*", &line[..1]),
        LONG => format!("{}~", &line[..1]),
        _ => line.into(),
    };
    note.0.lines().map(word).collect::<Vec<_>>().join("+")
}

/// The lines of a document, as scripts call them.
pub(super) fn lines(document: &str) -> impl Iterator<Item = String> {
    let lines = document.split('+').filter(|line| !line.is_empty());
    lines.map(String::from)
}

pub(super) fn scripts() -> Vec<Script> {
    SCRIPTS.trim().split("\n\n").map(script).collect()
}

fn script(text: &'static str) -> Script {
    let mut lines = text.lines();
    let mut script = Script {
        sentence: lines.next().unwrap_or_default(),
        processes: Vec::new(),
        fate: Fate::None,
    };
    for line in lines {
        let process = script.processes.len();
        let (fate, steps) = line.split_once(": ").unwrap_or(("", line));
        script.fate = match (fate, script.fate) {
            ("killed", _) => Fate::Killed(process),
            ("overtaken", _) => Fate::Overtaken(process),
            ("", fate) => fate,
            (words, _) => {
                let number = words.rsplit(' ').next().and_then(|number| number.parse().ok());
                Fate::OvertakenByKilled(process - 1, number.unwrap_or_default())
            }
        };
        script.processes.push(steps.split(", ").collect());
    }
    script
}

/// A message of a traced process in the log, by a system call that does nothing: the process reads a link that does not
/// exist, and the path is the message. Revisions are kept by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Mark {
    /// What follows is done by this process. Comes from the recorder, not from the log.
    Runs(usize),
    /// It has ended, or was killed. Comes from the recorder, too.
    Ended,
    Begins(Request),
    /// It has returned without an error: with its revision, and a begin with the document that it found.
    Returned(Option<String>),
    /// It has returned with an error.
    Failed,
}

/// A call of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Request {
    /// With the text.
    Write(String),
    Move(String),
    Delete(String),
    Replace(String),
    Lock,
    Unlock,
    ForceUnlock,
    Begin,
    /// With the line.
    Put(String),
    Commit,
    Finish,
    Drop,
    /// Makes a revision of a run current, with its document.
    Rollback(String),
}

const PREFIX: &str = "/crash-mark/";

impl Mark {
    /// Puts it in the log.
    fn leave(&self) -> Result<(), Trouble> {
        // That there is no such link is what is expected.
        let _ = fs::read_link(format!("{PREFIX}{}", serde_json::to_string(self)?));
        Ok(())
    }

    /// The mark that reading the link `path` leaves; `None` for any other link.
    pub(super) fn read(path: &[u8]) -> Option<Self> {
        serde_json::from_slice(path.strip_prefix(PREFIX.as_bytes())?).ok()
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(super) place: Place,
    pub(super) steps: Vec<String>,
}

pub(super) fn place(base: &Path) -> Place {
    Place::new(base.join(ROOT))
}

/// From the base to a name in the stack's directory.
pub(super) fn path_to(name: &str) -> Vec<&str> {
    ROOT.split('/').chain([FACTORY, STACK, name]).collect()
}

/// Does the steps, and leaves marks in the log.
pub(crate) fn run(process: &Process) -> Result<(), Trouble> {
    let mut hands = Hands {
        store: process.place.open_at_noon()?,
        locks: Vec::new(),
        run: None,
    };
    for step in &process.steps {
        take(&mut hands, step).map_err(|problem| format!("{step}: {problem}"))?;
    }
    // As if it were killed.
    std::mem::forget(hands);
    Ok(())
}

/// What a process holds.
struct Hands {
    store: Store<Note>,
    locks: Vec<Box<dyn Lock>>,
    run: Option<Run<Note>>,
}

impl Hands {
    fn run(&self) -> Result<&Run<Note>, Trouble> {
        self.run.as_ref().ok_or_else(|| "there is no run".into())
    }
}

fn take(hands: &mut Hands, step: &str) -> Result<(), Trouble> {
    let begin = |request| Mark::Begins(request).leave();
    let store = &hands.store;
    let held = || hands.locks.last().map(|lock| lock.token()).transpose();
    let mut answer = None;
    match step.split(' ').collect::<Vec<_>>().as_slice() {
        ["try", words @ ..] => {
            if take(hands, &words.join(" ")).is_err() {
                Mark::Failed.leave()?;
            }
            return Ok(());
        }
        ["write", text] => {
            begin(Request::Write((*text).into()))?;
            answer = Some(store.write(&Note((*text).into()), None)?.to_string());
        }
        ["set_current", text] => {
            let rev = named(store, text)?;
            begin(Request::Move(rev.to_string()))?;
            store.set_current(&rev)?;
        }
        ["move", from, text] => {
            let from = match *from {
                "any" | "none" => None,
                from => Some(named(store, from)?),
            };
            let expect = if step.starts_with("move any ") {
                Expect::Anything
            } else {
                from.as_ref().into()
            };
            let rev = named(store, text)?;
            let token = held()?.ok_or("nothing is locked")?;
            begin(Request::Move(rev.to_string()))?;
            store.backend().set_current(expect, &rev, token)?;
        }
        ["delete", text] => {
            let rev = named(store, text)?;
            let token = held()?;
            begin(Request::Delete(rev.to_string()))?;
            store.backend().remove(&rev, token)?;
        }
        // By the same bytes, as rotating keys does with others.
        ["replace", text] => {
            let rev = named(store, text)?;
            let token = held()?.ok_or("nothing is locked")?;
            begin(Request::Replace(rev.to_string()))?;
            store
                .backend()
                .replace(&rev, &store.backend().read(&rev, u64::MAX)?, token)?;
        }
        ["lock"] => {
            begin(Request::Lock)?;
            let lock = store.lock("crash", Wait::none())?;
            hands.locks.push(lock);
        }
        ["unlock"] => {
            begin(Request::Unlock)?;
            hands.locks.pop().ok_or("nothing is locked")?.unlock()?;
        }
        ["force_unlock"] => {
            begin(Request::ForceUnlock)?;
            store.force_unlock(None)?.ok_or("nothing was locked")?;
        }
        ["begin"] => {
            begin(Request::Begin)?;
            let run = store.begin("crash", Wait::none())?;
            answer = Some(words_of(&run.state()));
            hands.run = Some(run);
        }
        ["put", word] => {
            let run = hands.run()?;
            begin(Request::Put((*word).into()))?;
            run.apply(Line(line(word)))?;
        }
        ["commit"] => {
            let run = hands.run()?;
            begin(Request::Commit)?;
            answer = run.commit(None)?.map(|rev| rev.to_string());
        }
        ["finish"] => {
            let run = hands.run()?;
            begin(Request::Finish)?;
            answer = run.finish(None)?.map(|rev| rev.to_string());
        }
        ["drop"] => {
            begin(Request::Drop)?;
            hands.run = None;
        }
        ["rollback", document] => {
            let rev = named(store, document)?;
            begin(Request::Rollback((*document).into()))?;
            match &hands.run {
                Some(run) => run.set_current(&rev)?,
                None => store.set_current(&rev)?,
            }
        }
        _ => return Err("there is no such step".into()),
    }
    Mark::Returned(answer).leave()
}

fn named(store: &Store<Note>, text: &str) -> Result<Revision, Trouble> {
    let mut listed = store.list()?;
    if text == "newest" {
        return listed.pop().ok_or_else(|| "there is none".into());
    }
    for rev in listed {
        if words_of(&store.get(&rev)?) == text {
            return Ok(rev);
        }
    }
    Err(format!("no revision holds {text}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_with_its_fate() {
        let scripts = scripts();
        assert_eq!(scripts.len(), 36);
        let with_two = scripts
            .iter()
            .find(|script| matches!(script.fate, Fate::OvertakenByKilled(..)))
            .unwrap();
        assert_eq!(with_two.fate, Fate::OvertakenByKilled(1, 8));
        assert_eq!(with_two.processes[1], ["write B", "try set_current B"]);
        assert_eq!(scripts[0].fate, Fate::None);
    }
}
