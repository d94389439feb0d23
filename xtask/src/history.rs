//! A history: calls of several workers on one store, each compared with the model. `props` makes histories from chance,
//! `fuzz` from bytes that grow by coverage.

use crate::model::{Answers, CANCELLED, Expected, Holder, Model, OK, same};
use crate::place::{Place, after_noon, id};
use crate::unobin::Unobin;
use crate::worker::Worker;
use sdk_state::encrypt::Keyring;
use sdk_state::{Backend, Error, Liveness, MemoryBackend, Revision};
use std::fs;
use std::io;

/// No write gives this name.
const NEVER_WRITTEN: &str = "2000-01-01T00:00:00Z";

/// What may happen to a stack. Revisions are called by the number of their write, counted round and round; the number after
/// the last is a revision that never existed. A worker is called by its place.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// The clock is set to so many nanoseconds after noon.
    Clock(i64),
    /// The clock goes on.
    Tick(i64),
    /// Somebody writes over `current`.
    OverwritePointer(&'static str),
    /// Somebody puts a file there that is no snapshot, under this name.
    Plant(String),
    /// Somebody cuts a snapshot, makes it longer, or changes a bit.
    Damage(usize, u8),
    /// Somebody puts a copy of one snapshot in the place of another.
    Copy(usize, usize),
    Call(usize, Call),
    /// With signal 9, if it is a process; in memory the holder of the lock counts as dead.
    Kill(usize),
    UnobinLocks,
    UnobinUnlocks,
}

/// A call and all that it may need.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) what: What,
    pub(crate) text: u8,
    pub(crate) number: usize,
    pub(crate) expects: Expects,
    pub(crate) token: Token,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Write,
    Save,
    Get,
    Header,
    Head,
    Current,
    SetCurrent,
    Move,
    Delete,
    Remove,
    Replace,
    Lock,
    LockSoon,
    /// The wait was cancelled before it began.
    LockCancelled,
    Wait,
    CancelWait,
    Check,
    Unlock,
    Drop,
    ForceUnlock,
    ForceUnlockIf,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Expects {
    Anything,
    Nothing,
    WhatIsCurrent,
    Number(usize),
}

/// Whose token a worker shows. Where there is none of the kind, nothing happens.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Token {
    Own,
    /// Of a lock that the worker held until somebody forced it.
    Stale,
    Others,
}

/// Where the store lies.
pub(crate) enum Fixture {
    Memory(MemoryBackend),
    Directory(Place),
}

/// A worker in this process or in another one.
pub(crate) trait Obeys {
    fn ask(&mut self, line: &str) -> io::Result<String>;

    /// Kills it with signal 9 and puts another one in its place; `false` for a thread, which cannot be killed.
    fn kill(&mut self) -> io::Result<bool>;
}

impl Obeys for Worker {
    fn ask(&mut self, line: &str) -> io::Result<String> {
        Ok(self.obey(line))
    }

    fn kill(&mut self) -> io::Result<bool> {
        Ok(false)
    }
}

/// The workers and their names.
pub(crate) type Workers<'a> = [(&'static str, &'a mut dyn Obeys)];

/// Runs a history and compares every answer, and what an observer sees after it. An error tells the whole history.
pub(crate) fn run(
    fixture: &Fixture,
    keys: &Keyring,
    workers: &mut Workers<'_>,
    events: &[Event],
) -> Result<(), String> {
    let observer = fixture.backend().map_err(|error| error.to_string())?;
    let mut run = Run {
        fixture,
        unobin: match fixture {
            Fixture::Directory(place) => Some(Unobin::new(place.lock())),
            Fixture::Memory(_) => None,
        },
        unobin_holds: false,
        workers,
        observer: Worker::new("observer", observer, keys.clone()),
        model: Model::default(),
        clock: 0,
        named: Vec::new(),
        locks: Vec::new(),
        waiter: None,
        lines: Vec::new(),
    };
    let told = run.tell(events);
    let told = told.and(run.cancel_wait());
    told.and_then(|()| run.look_back())
        .map_err(|problem| format!("{}\n{problem}", run.lines.join("\n")))
}

struct Run<'a, 'b> {
    fixture: &'a Fixture,
    unobin: Option<Unobin>,
    unobin_holds: bool,
    workers: &'a mut Workers<'b>,
    observer: Worker,
    model: Model,
    clock: i64,
    /// In the order in which they were written or put there.
    named: Vec<Revision>,
    /// All that were given out and not given back, with their workers.
    locks: Vec<(usize, String)>,
    /// One at a time, so that it is known who gets what becomes free.
    waiter: Option<usize>,
    lines: Vec<String>,
}

impl Run<'_, '_> {
    fn tell(&mut self, events: &[Event]) -> Result<(), String> {
        for event in events {
            self.happen(event)?;
            if self.waiter.is_some() && self.model.living_holder().is_none() {
                let waiter = self.waiter.unwrap_or_default();
                let answer = self.ask(waiter, "await")?;
                self.waiter = None;
                self.locked(waiter, &answer)?;
            }
            self.observe("list", &self.model.list())?;
            self.observe("head", &self.model.head())?;
            self.observe("status", &self.model.lock_status())?;
        }
        Ok(())
    }

    fn happen(&mut self, event: &Event) -> Result<(), String> {
        let told = |error: io::Error| error.to_string();
        match event {
            Event::Call(worker, call) => return self.call(*worker % self.workers.len(), *call),
            Event::Clock(clock) => self.clock = *clock,
            Event::Tick(step) => self.clock += step,
            Event::OverwritePointer(content) => {
                self.lines
                    .push(format!("somebody writes {content:?} over current"));
                self.fixture.overwrite_pointer(content).map_err(told)?;
                self.model.overwrite_pointer(content);
            }
            Event::Plant(name) => {
                let rev = name.parse().map_err(|error: Error| error.to_string())?;
                if !self.model.is_stored(&rev) {
                    self.put(&rev, b"planted")?;
                    self.model.plant(&rev);
                    self.named.push(rev);
                }
            }
            Event::Damage(number, how) => {
                let rev = self.revision(*number)?;
                if let Some(mut sealed) = self.fixture.sealed(&rev) {
                    let at = usize::from(*how) * 7 % sealed.len();
                    match how % 3 {
                        // An empty file counts as none, which is not what this event is about.
                        0 => sealed.truncate(at.max(1)),
                        1 => sealed.push(*how),
                        _ => sealed[at] ^= 1 << (how % 8),
                    }
                    self.put(&rev, &sealed)?;
                }
            }
            Event::Copy(from, to) => {
                let (from, to) = (self.revision(*from)?, self.revision(*to)?);
                if let (Some(sealed), true) = (self.fixture.sealed(&from), self.model.is_stored(&to)) {
                    self.put(&to, &sealed)?;
                }
            }
            Event::Kill(worker) => self.kill(*worker % self.workers.len())?,
            Event::UnobinLocks => {
                if let (Some(unobin), false) = (&self.unobin, self.unobin_holds) {
                    self.unobin_holds = unobin.try_lock().map_err(told)?;
                    self.lines.push(format!("unobin locks: {}", self.unobin_holds));
                    match &self.model.lock {
                        Some(holder) if self.unobin_holds => {
                            return Err(format!("it got the lock of {}", holder.name));
                        }
                        None if self.unobin_holds => {
                            self.model.lock = Some(Holder {
                                name: std::process::id().to_string(),
                                liveness: Liveness::Unknown,
                            });
                        }
                        None if self.fixture.has_stack() => {
                            return Err("unobin did not get a free lock".into());
                        }
                        _ => {}
                    }
                }
            }
            Event::UnobinUnlocks => {
                if let (Some(unobin), true) = (&self.unobin, self.unobin_holds) {
                    self.lines.push("unobin unlocks".into());
                    unobin.unlock().map_err(told)?;
                    self.unobin_holds = false;
                    self.model.lock = None;
                }
            }
        }
        Ok(())
    }

    fn call(&mut self, worker: usize, call: Call) -> Result<(), String> {
        let Call { what, text, .. } = call;
        if self.waiter == Some(worker) && what != What::CancelWait {
            return Ok(());
        }
        use What::{Check, Drop, ForceUnlockIf, Move, Remove, Replace, Save, Unlock};
        let needs_token = matches!(
            what,
            Save | Move | Remove | Replace | Check | Unlock | Drop | ForceUnlockIf
        );
        // A worker has only its own locks in hand.
        let is_its_own = !matches!((what, call.token), (Check | Unlock | Drop, Token::Others));
        let token = match self.token(worker, call.token) {
            Some(token) if is_its_own => token,
            _ if needs_token => return Ok(()),
            _ => String::new(),
        };
        let rev = &self.revision(call.number)?;
        let expected = &self.expected(call.expects)?;
        let model = &mut self.model;
        let (line, right) = match what {
            What::Write => {
                let rev = self.ask(worker, &format!("write {} {text}", self.clock))?;
                return self.wrote(&rev, &text.to_string()).map(drop);
            }
            Save => {
                let answer = self.ask(worker, &format!("save {} {text} {expected} {token}", self.clock))?;
                let (answer, rev) = answer.split_once(" at ").unwrap_or((OK, &answer));
                let rev = self.wrote(rev, &text.to_string())?;
                return same(answer, &self.model.move_to(&rev, expected, &token));
            }
            What::Header => {
                let right = self.model.header(rev);
                let answer = self.ask(worker, &format!("header {rev}"))?;
                return right.map_or(Ok(()), |right| same(&answer, &right));
            }
            What::Lock | What::LockSoon => {
                let line = if what == What::Lock { "lock" } else { "lock soon" };
                let answer = self.ask(worker, line)?;
                return self.locked(worker, &answer);
            }
            What::CancelWait => return self.cancel_wait(),
            What::Wait if self.waiter.is_some() => return Ok(()),
            What::Wait => {
                self.waiter = Some(worker);
                ("wait".into(), vec![OK.into()])
            }
            What::LockCancelled => ("lock cancelled".into(), vec![CANCELLED.into()]),
            What::Get => (format!("get {rev}"), model.get(rev)),
            What::Head => ("head".into(), model.head()),
            What::Current => ("current".into(), model.current()),
            What::SetCurrent => (format!("set_current {rev}"), model.set_current(rev)),
            Move => (
                format!("move {rev} {expected} {token}"),
                model.move_to(rev, expected, &token),
            ),
            What::Delete => (format!("delete {rev}"), model.remove(rev, None)),
            Remove => (format!("remove {rev} {token}"), model.remove(rev, Some(&token))),
            Replace => (format!("replace {rev} {token}"), model.replace(rev, &token)),
            Check => (format!("check {token}"), model.check(&token)),
            Unlock => (format!("unlock {token}"), model.unlock(&token)),
            // The observer sees the result.
            Drop => {
                model.unlock(&token);
                (format!("drop {token}"), vec![OK.into()])
            }
            What::ForceUnlock => ("force_unlock".into(), model.force_unlock(None)),
            ForceUnlockIf => (format!("force_unlock {token}"), model.force_unlock(Some(&token))),
        };
        if matches!(what, Unlock | Drop) {
            self.locks.retain(|(_, known)| *known != token);
        }
        let answer = self.ask(worker, &line)?;
        same(&answer, &right)
    }

    fn wrote(&mut self, rev: &str, text: &str) -> Result<Revision, String> {
        let rev: Revision = rev.parse().map_err(|error: Error| error.to_string())?;
        self.model.write(&rev, after_noon(self.clock), text)?;
        self.model
            .lies_there(&rev, &self.fixture.sealed(&rev).unwrap_or_default());
        self.named.push(rev.clone());
        Ok(rev)
    }

    fn locked(&mut self, worker: usize, answer: &str) -> Result<(), String> {
        if let Some(token) = self.model.try_lock(self.workers[worker].0, answer)? {
            if self.locks.iter().any(|(_, known)| *known == token) {
                return Err(format!("{token} was given twice"));
            }
            self.locks.push((worker, token));
        }
        Ok(())
    }

    fn kill(&mut self, worker: usize) -> Result<(), String> {
        match self.fixture {
            Fixture::Memory(backend) => {
                backend.kill_holder();
                if let Some(holder) = &mut self.model.lock {
                    holder.liveness = Liveness::Dead;
                }
            }
            Fixture::Directory(_) => {
                let (name, obeys) = &mut self.workers[worker];
                if obeys.kill().map_err(|error| error.to_string())? {
                    self.lines.push(format!("{name} is killed"));
                    for (_, token) in self.locks.extract_if(.., |(of, _)| *of == worker) {
                        self.model.kill(&token);
                    }
                    self.waiter = self.waiter.filter(|waiter| *waiter != worker);
                }
            }
        }
        Ok(())
    }

    fn cancel_wait(&mut self) -> Result<(), String> {
        match self.waiter.take() {
            Some(waiter) => same(&self.ask(waiter, "cancel")?, &vec![CANCELLED.into()]),
            None => Ok(()),
        }
    }

    /// Compares every revision at the end, and looks for leftover files.
    fn look_back(&mut self) -> Result<(), String> {
        for rev in self.model.revisions() {
            self.observe(&format!("get {rev}"), &self.model.get(&rev))?;
        }
        let leftovers = self.fixture.leftovers().map_err(|error| error.to_string())?;
        match leftovers.as_slice() {
            [] => Ok(()),
            some => Err(format!("leftover files: {some:?}")),
        }
    }

    fn observe(&mut self, line: &str, right: &Answers) -> Result<(), String> {
        same(&self.observer.obey(line), right).map_err(|problem| format!("observer: {line}: {problem}"))
    }

    fn ask(&mut self, worker: usize, line: &str) -> Result<String, String> {
        let (name, obeys) = &mut self.workers[worker];
        let answer = obeys.ask(line).map_err(|error| error.to_string())?;
        self.lines.push(format!("{name}: {line}: {answer}"));
        Ok(answer)
    }

    fn put(&mut self, rev: &Revision, sealed: &[u8]) -> Result<(), String> {
        self.lines.push(format!(
            "somebody puts {} bytes in the place of {rev}",
            sealed.len()
        ));
        self.model.lies_there(rev, sealed);
        self.fixture
            .overwrite_snapshot(rev, sealed)
            .map_err(|error| error.to_string())
    }

    fn revision(&self, number: usize) -> Result<Revision, String> {
        match self.named.get(number % (self.named.len() + 1)) {
            Some(rev) => Ok(rev.clone()),
            None => NEVER_WRITTEN.parse().map_err(|error: Error| error.to_string()),
        }
    }

    fn expected(&self, expects: Expects) -> Result<Expected, String> {
        Ok(match expects {
            Expects::Anything => Expected::Anything,
            Expects::Nothing => Expected::Nothing,
            Expects::WhatIsCurrent => self
                .model
                .named()
                .map_or(Expected::Nothing, |rev| Expected::Revision(rev.clone())),
            Expects::Number(number) => Expected::Revision(self.revision(number)?),
        })
    }

    fn token(&self, worker: usize, token: Token) -> Option<String> {
        let is_meant = |(by, known): &&(usize, String)| match token {
            Token::Own => *by == worker && self.model.is_held_by(known),
            Token::Stale => *by == worker && !self.model.is_held_by(known),
            Token::Others => *by != worker && self.model.is_held_by(known),
        };
        self.locks.iter().find(is_meant).map(|(_, known)| known.clone())
    }
}

impl Fixture {
    pub(crate) fn memory() -> Result<Self, Error> {
        Ok(Self::Memory(MemoryBackend::new(id()?)))
    }

    pub(crate) fn backend(&self) -> Result<Box<dyn Backend>, Error> {
        Ok(match self {
            Self::Memory(backend) => Box::new(backend.clone()),
            Self::Directory(place) => Box::new(place.backend()?),
        })
    }

    fn has_stack(&self) -> bool {
        matches!(self, Self::Directory(place) if place.stack().exists())
    }

    fn overwrite_pointer(&self, content: &str) -> io::Result<()> {
        match self {
            Self::Memory(backend) => backend.overwrite_pointer(content),
            Self::Directory(place) => {
                fs::create_dir_all(place.snapshots())?;
                fs::write(place.current(), content)?;
            }
        }
        Ok(())
    }

    fn overwrite_snapshot(&self, rev: &Revision, sealed: &[u8]) -> io::Result<()> {
        match self {
            Self::Memory(backend) => backend.overwrite_snapshot(rev, sealed),
            Self::Directory(place) => {
                fs::create_dir_all(place.snapshots())?;
                fs::write(place.snapshot(&rev.to_string()), sealed)?;
            }
        }
        Ok(())
    }

    fn sealed(&self, rev: &Revision) -> Option<Vec<u8>> {
        self.backend().ok()?.read(rev, u64::MAX).ok()
    }

    fn leftovers(&self) -> io::Result<Vec<std::path::PathBuf>> {
        match self {
            Self::Memory(_) => Ok(Vec::new()),
            Self::Directory(place) => place.leftovers(),
        }
    }
}
