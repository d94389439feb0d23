//! A worker: calls a store on command, a line in and a line out, so that the order of calls is the caller's and a worker can
//! be a process of its own.

use crate::model::{CANCELLED, DAMAGED, IS_CURRENT, LOST, MISSING, NONE, OK, UNREADABLE};
use crate::place::{Note, after_noon, save};
use sdk_state::encrypt::{Keyring, Recipient};
use sdk_state::{
    Backend, Cancel, Error, ErrorKind, Expect, Lock, LockInfo, LockToken, Provenance, Revision, Store, Wait,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// A wait that lasts so long was not ended by what should have ended it.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

type Locked = Result<Box<dyn Lock>, Error>;

pub(crate) struct Worker {
    store: Store<Note>,
    /// In nanoseconds after noon.
    clock: Arc<AtomicI64>,
    /// All that it was given and has not given back, evicted or not.
    locks: Vec<Box<dyn Lock>>,
    waiting: Option<(Cancel, Receiver<Locked>)>,
}

impl Worker {
    pub(crate) fn new(author: &str, backend: impl Backend + 'static, keys: impl Into<Keyring>) -> Self {
        let clock = Arc::<AtomicI64>::default();
        let reader = Arc::clone(&clock);
        let keys = keys.into();
        // The files that a history plants tell no recipients.
        let recipients: Vec<Recipient> = keys
            .recipients()
            .iter()
            .map(|key| key.recipient().clone())
            .collect();
        Self {
            store: Store::new(backend, keys)
                .with_recipients(recipients)
                .with_provenance(Provenance::new().with_author(author))
                .with_clock(move || after_noon(reader.load(Ordering::Relaxed)))
                .document(),
            clock,
            locks: Vec::new(),
            waiting: None,
        }
    }

    pub(crate) fn obey(&mut self, line: &str) -> String {
        self.answer(line).unwrap_or_else(|error| word(&error))
    }

    fn answer(&mut self, line: &str) -> Result<String, Error> {
        let store = &self.store;
        let done = |result: Result<(), Error>| result.map(|()| OK.to_owned());
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["write", clock, text] => {
                self.set_clock(clock)?;
                Ok(store.write(&note(text), None)?.to_string())
            }
            ["save", clock, text, expected, token] => {
                self.set_clock(clock)?;
                let token = token.parse()?;
                let saved = expecting(expected, |expect| save(store, text, expect, &token));
                match saved {
                    Ok(rev) => Ok(rev.to_string()),
                    // Its document is stored all the same.
                    Err(error) => Ok(format!(
                        "{} at {}",
                        word(&error),
                        error.revision().map_or(NONE.into(), Revision::to_string)
                    )),
                }
            }
            ["get", rev] => Ok(store.get(&rev.parse()?)?.0),
            ["header", rev] => Ok(store
                .header(&rev.parse()?)?
                .parent
                .map_or(NONE.into(), |rev| rev.to_string())),
            ["head"] => {
                let head = store.head()?;
                Ok(head.map_or(NONE.into(), |head| {
                    format!("{} {}", head.revision, head.document.0)
                }))
            }
            ["current"] => Ok(store.current()?.map_or(NONE.into(), |rev| rev.to_string())),
            ["list"] => Ok(store
                .list()?
                .iter()
                .map(Revision::to_string)
                .collect::<Vec<_>>()
                .join(" ")),
            ["set_current", rev] => done(store.set_current(&rev.parse()?)),
            ["move", rev, expected, token] => {
                let (rev, token) = (rev.parse()?, token.parse()?);
                done(expecting(expected, |expect| {
                    store.backend().set_current(expect, &rev, &token).map(drop)
                }))
            }
            ["delete", rev] => done(store.delete(&rev.parse()?)),
            ["remove", rev, token] => done(store.backend().remove(&rev.parse()?, Some(&token.parse()?))),
            // By the same bytes, as rotating keys does with others.
            ["replace", rev, token] => {
                let rev = rev.parse()?;
                let token = token.parse()?;
                let sealed = store.backend().read(&rev, u64::MAX).unwrap_or_else(|_| vec![0]);
                done(store.backend().replace(&rev, &sealed, &token))
            }
            ["lock"] => self.locked(store.lock("proof", Wait::none())),
            ["lock", "soon"] => self.locked(store.lock("proof", Duration::from_millis(1))),
            ["lock", "cancelled"] => {
                let cancel = Cancel::new();
                cancel.cancel();
                self.locked(store.lock("proof", Wait::forever().unless(&cancel)))
            }
            ["wait"] => {
                let cancel = Cancel::new();
                let wait = Wait::at_most(LONGEST_WAIT).unless(&cancel);
                let (sender, receiver) = mpsc::channel();
                let store = store.clone();
                std::thread::spawn(move || sender.send(store.lock("proof", wait)));
                self.waiting = Some((cancel, receiver));
                Ok(OK.into())
            }
            ["await"] => self.end_of_wait(|_| {}),
            ["cancel"] => self.end_of_wait(Cancel::cancel),
            ["check", token] => {
                let lock = &self.locks[self.find(token)?];
                let checked = lock.check();
                if lock.is_lost() != checked.is_err() {
                    return Ok("the lock knows it wrongly".into());
                }
                done(checked)
            }
            ["unlock", token] => {
                let at = self.find(token)?;
                done(self.locks.remove(at).unlock())
            }
            ["drop", token] => {
                let at = self.find(token)?;
                drop(self.locks.remove(at));
                Ok(OK.into())
            }
            ["force_unlock", expected @ ..] => {
                let expected: Option<LockToken> = expected.first().map(|token| token.parse()).transpose()?;
                let evicted = store.force_unlock(expected.as_ref())?;
                Ok(evicted.map_or(NONE.into(), |info| format!("evicted {}", holder(&info))))
            }
            ["status"] => {
                let status = store.lock_status()?;
                Ok(status.map_or(NONE.into(), |status| {
                    format!("{} {:?}", holder(&status.info), status.liveness)
                }))
            }
            _ => Err(confused("there is no such command")),
        }
    }

    fn set_clock(&self, nanoseconds: &str) -> Result<(), Error> {
        let nanoseconds = nanoseconds.parse().map_err(|_| confused("no time"))?;
        self.clock.store(nanoseconds, Ordering::Relaxed);
        Ok(())
    }

    fn end_of_wait(&mut self, hasten: impl Fn(&Cancel)) -> Result<String, Error> {
        let (cancel, receiver) = self.waiting.take().ok_or_else(|| confused("nobody waits"))?;
        hasten(&cancel);
        let locked = receiver.recv().map_err(|_| confused("the waiter has panicked"))?;
        self.locked(locked)
    }

    fn locked(&mut self, locked: Locked) -> Result<String, Error> {
        let lock = locked?;
        let dead = lock.took_over().map_or(NONE.into(), holder);
        let answer = format!("held {} after {dead}", holder(lock.info()));
        self.locks.push(lock);
        Ok(answer)
    }

    fn find(&self, token: &str) -> Result<usize, Error> {
        let mut tokens = self.locks.iter().map(|lock| lock.token());
        tokens
            .position(|own| own.is_ok_and(|own| own.as_str() == token))
            .ok_or_else(|| confused("it has no such lock"))
    }
}

fn note(text: &str) -> Note {
    Note(text.into())
}

fn expecting<T>(expected: &str, call: impl FnOnce(Expect<'_>) -> Result<T, Error>) -> Result<T, Error> {
    match expected {
        "anything" => call(Expect::Anything),
        NONE => call(Expect::Nothing),
        rev => call(Expect::Revision(&rev.parse()?)),
    }
}

/// By what a holder is known: its token and author, or the process id of unobin.
fn holder(info: &LockInfo) -> String {
    let author = info.holder.provenance.author.as_deref().unwrap_or_default();
    match (&info.token, info.pid) {
        (Some(token), _) => format!("{token}/{author}"),
        (None, Some(pid)) => pid.to_string(),
        (None, None) => "nobody".into(),
    }
}

/// An error as the model knows it.
fn word(error: &Error) -> String {
    let [_, misplaced, refused, too_large, wrong_key] = UNREADABLE;
    let name = |rev: &Option<Revision>| crate::model::name(rev.as_ref());
    match error.kind() {
        ErrorKind::NotFound => MISSING.into(),
        ErrorKind::PointerLost { snapshots } => format!("pointer-lost {snapshots}"),
        ErrorKind::CurrentMoved { expected, found } => format!("moved {} {}", name(expected), name(found)),
        ErrorKind::RevisionIsCurrent => IS_CURRENT.into(),
        ErrorKind::Locked(info) => format!("busy {}", holder(info)),
        ErrorKind::LockLost => LOST.into(),
        ErrorKind::Cancelled => CANCELLED.into(),
        ErrorKind::Damaged => DAMAGED.into(),
        ErrorKind::Misplaced => misplaced.into(),
        ErrorKind::Refused => refused.into(),
        ErrorKind::TooLarge => too_large.into(),
        ErrorKind::WrongKey => wrong_key.into(),
        kind => format!("{kind:?}: {error}"),
    }
}

/// The two ends of the line do not understand each other.
fn confused(problem: &str) -> Error {
    Error::new(ErrorKind::Unsupported, problem)
}
