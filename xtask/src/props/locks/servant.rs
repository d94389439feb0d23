//! One who locks and unlocks on command: a line in, a line out, so that the order of things is the caller's.

use crate::note::Note;
use localstate::{LocalStorage, LocalStore};
use sdk_state::encrypt::Noop;
use sdk_state::{Backend as _, Cancel, Error, ErrorKind, Expect, Lock, LockInfo, StackId, Store, Wait};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// A wait that lasts so long has not been ended by what should have ended it.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// What a servant answers.
pub(super) const OK: &str = "ok";
pub(super) const LOST: &str = "lost";
pub(super) const CANCELLED: &str = "cancelled";
pub(super) const NOBODY: &str = "nobody";

type Locked = Result<Box<dyn Lock>, Error>;

#[derive(Default)]
pub(super) struct Servant {
    store: Option<Arc<LocalStore<Note>>>,
    /// In the order in which they were given out; those of an evicted holder too.
    guards: Vec<Box<dyn Lock>>,
    waiting: Option<(Cancel, Receiver<Locked>)>,
}

pub(super) fn id() -> Result<StackId, Error> {
    StackId::new("props", "locks")
}

/// By what a holder is known: the token, or the process id of the original's.
pub(super) fn name_of(info: &LockInfo) -> String {
    match (&info.token, info.pid) {
        (Some(token), _) => token.to_string(),
        (None, Some(pid)) => pid.to_string(),
        (None, None) => NOBODY.into(),
    }
}

impl Servant {
    pub(super) fn obey(&mut self, line: &str) -> String {
        self.answer(line).unwrap_or_else(|error| answer_of(&error))
    }

    fn answer(&mut self, line: &str) -> Result<String, Error> {
        let (command, argument) = line.split_once(' ').unwrap_or((line, ""));
        if command == "open" {
            *self = Self::default();
            let storage = LocalStorage::new(argument, id()?);
            self.store = Some(Arc::new(Store::new(storage, Noop)));
            return Ok(OK.into());
        }
        let store = Arc::clone(self.store.as_ref().ok_or_else(|| confused("nothing is open"))?);
        match command {
            "try" => Ok(self.locked(store.lock("props", &Wait::none()))),
            "wait" => {
                let cancel = Cancel::new();
                let wait = Wait::at_most(LONGEST_WAIT).unless(&cancel);
                let (sender, receiver) = mpsc::channel();
                std::thread::spawn(move || sender.send(store.lock("props", &wait)));
                self.waiting = Some((cancel, receiver));
                Ok(OK.into())
            }
            "await" => self.end_of_wait(|_| {}),
            "cancel" => self.end_of_wait(Cancel::cancel),
            "check" => done(self.guard(argument)?.check()),
            "move" => {
                let (guard, revision) = argument.split_once(' ').ok_or_else(|| confused("where to"))?;
                let revision = revision.parse()?;
                let guard = self.guard(guard)?;
                done(store.compare_and_set_current(Expect::Anything, &revision, Some(guard)))
            }
            "unlock" => done(self.take(argument)?.unlock()),
            "drop" => {
                drop(self.take(argument)?);
                Ok(OK.into())
            }
            "force" => {
                let expected = match argument {
                    "" => None,
                    token => Some(token.parse()?),
                };
                match store.force_unlock(expected.as_ref())? {
                    Some(info) => Ok(format!("evicted {}", name_of(&info))),
                    None => Ok(NOBODY.into()),
                }
            }
            _ => Err(confused("no such command")),
        }
    }

    fn end_of_wait(&mut self, hasten: impl Fn(&Cancel)) -> Result<String, Error> {
        let (cancel, receiver) = self.waiting.take().ok_or_else(|| confused("nobody waits"))?;
        hasten(&cancel);
        let locked = receiver.recv().map_err(|_| confused("the waiter has panicked"))?;
        Ok(self.locked(locked))
    }

    fn locked(&mut self, locked: Locked) -> String {
        match locked {
            Ok(lock) => {
                let took_over = lock.took_over().map_or(NOBODY.into(), name_of);
                let answer = format!("held {} after {took_over}", name_of(lock.info()));
                self.guards.push(lock);
                answer
            }
            Err(error) => answer_of(&error),
        }
    }

    fn guard(&self, at: &str) -> Result<&dyn Lock, Error> {
        Ok(self.guards[self.index(at)?].as_ref())
    }

    fn take(&mut self, at: &str) -> Result<Box<dyn Lock>, Error> {
        let at = self.index(at)?;
        Ok(self.guards.remove(at))
    }

    fn index(&self, at: &str) -> Result<usize, Error> {
        let at = at.parse().ok().filter(|at| *at < self.guards.len());
        at.ok_or_else(|| confused("no such lock"))
    }
}

fn done(result: Result<(), Error>) -> Result<String, Error> {
    result.map(|()| OK.into())
}

fn answer_of(error: &Error) -> String {
    match error.kind() {
        ErrorKind::Locked(info) => format!("busy {}", name_of(info)),
        ErrorKind::LockLost => LOST.into(),
        ErrorKind::Cancelled => CANCELLED.into(),
        _ => format!("error: {error}"),
    }
}

/// The two ends of the line do not understand each other.
fn confused(problem: &str) -> Error {
    Error::new(ErrorKind::Unsupported, problem)
}
