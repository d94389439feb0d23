//! Random interleavings of those who want a lock (threads, processes, the original), against a model of who holds it.

pub(crate) mod actor;
mod plain;
mod servant;
mod story;

use super::broken;
use crate::note::Note;
use actor::Actor;
use localstate::{LocalStorage, LocalStore};
use plain::{Marker, Plain, same};
use proptest::test_runner::{TestCaseError, TestRunner};
use sdk_state::encrypt::Noop;
use sdk_state::{Backend as _, Liveness, Revision, Store, WriteOptions};
use servant::{CANCELLED, OK};
use std::cell::RefCell;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use story::{Event, NAMES, Who};
use tempfile::TempDir;

pub(super) fn hold(runner: &mut TestRunner) -> Result<(), Box<dyn Error>> {
    let mut actors = Vec::new();
    for name in NAMES {
        actors.push(match name.starts_with("thread") {
            true => Actor::thread(),
            false => Actor::process()?,
        });
    }
    // The same ones in all cases: starting a process takes longer than a whole case.
    let actors = RefCell::new(actors);
    Ok(runner.run(&story::stories(), |story| {
        Run::new(&mut actors.borrow_mut()).map_err(broken)?.tell(&story)
    })?)
}

struct Run<'a> {
    actors: &'a mut [Actor],
    model: Plain,
    root: TempDir,
    observer: LocalStore<Note>,
    revisions: [Revision; 2],
    /// Which of the revisions is current.
    current: usize,
}

impl<'a> Run<'a> {
    fn new(actors: &'a mut [Actor]) -> Result<Self, Box<dyn Error>> {
        let root = tempfile::tempdir()?;
        let observer = Store::new(LocalStorage::new(root.path(), servant::id()?), Noop);
        let write = || observer.write(&Note("x".into()), &WriteOptions::new());
        let revisions = [write()?, write()?];
        observer.set_current(&revisions[0])?;
        let mut run = Self {
            actors,
            model: Plain::default(),
            root,
            observer,
            revisions,
            current: 0,
        };
        for who in 0..NAMES.len() {
            run.actors[who].revive()?;
            let open = format!("open {}", run.root.path().display());
            same(&run.ask(who, &open)?, OK)?;
        }
        Ok(run)
    }

    fn tell(mut self, story: &[Event]) -> Result<(), TestCaseError> {
        let told = self.steps(story);
        let Some(waiter) = self.model.waiter else {
            return told;
        };
        // Nobody may wait on in the next case.
        let answer = self.ask(waiter, "cancel").map_err(broken)?;
        told?;
        same(&answer, CANCELLED).map_err(broken)
    }

    fn steps(&mut self, story: &[Event]) -> Result<(), TestCaseError> {
        for (at, event) in story.iter().enumerate() {
            self.step(event)
                .map_err(|problem| broken(format!("event {}, {event:?}: {problem}", at + 1)))?;
        }
        Ok(())
    }

    fn step(&mut self, event: &Event) -> Result<(), Box<dyn Error>> {
        self.act(event)?;
        if let Some(waiter) = self.model.waiter
            && self.model.is_to_be_had()
        {
            self.model.waiter = None;
            let answer = self.ask(waiter, "await")?;
            self.model
                .try_lock(waiter, &answer)
                .map_err(|problem| format!("{}, who waited: {problem}", NAMES[waiter]))?;
        }
        self.observe()
    }

    fn act(&mut self, event: &Event) -> Result<(), Box<dyn Error>> {
        let waiter = self.model.waiter;
        let is_free = |who: &Who| waiter != Some(*who);
        match event {
            Event::Try(who) if is_free(who) => {
                let answer = self.ask(*who, "try")?;
                self.model.try_lock(*who, &answer)?;
            }
            Event::Wait(who) if waiter.is_none() => {
                same(&self.ask(*who, "wait")?, OK)?;
                self.model.waiter = Some(*who);
            }
            Event::Cancel(who) if !is_free(who) => {
                self.model.waiter = None;
                same(&self.ask(*who, "cancel")?, CANCELLED)?;
            }
            Event::Check(who, which) if is_free(who) => {
                if let Some(at) = self.model.which(*who, *which) {
                    let answer = self.ask(*who, &format!("check {at}"))?;
                    self.model.bear(&self.model.guards[*who][at], &answer)?;
                }
            }
            Event::Move(who, which) if is_free(who) => {
                if let Some(at) = self.model.which(*who, *which) {
                    let to = 1 - self.current;
                    let answer = self.ask(*who, &format!("move {at} {}", self.revisions[to]))?;
                    let token = &self.model.guards[*who][at];
                    self.model.bear(token, &answer)?;
                    if self.model.is_held_by(token) {
                        self.current = to;
                    }
                }
            }
            Event::Unlock(who, which) if is_free(who) => {
                if let Some(at) = self.model.which(*who, *which) {
                    let answer = self.ask(*who, &format!("unlock {at}"))?;
                    let token = self.model.guards[*who].remove(at);
                    self.model.bear(&token, &answer)?;
                    self.model.give_back(&token);
                }
            }
            Event::Drop(who, which) if is_free(who) => {
                if let Some(at) = self.model.which(*who, *which) {
                    same(&self.ask(*who, &format!("drop {at}"))?, OK)?;
                    let token = self.model.guards[*who].remove(at);
                    self.model.give_back(&token);
                }
            }
            Event::Force(who) if is_free(who) => {
                let answer = self.ask(*who, "force")?;
                self.model.force(None, &answer)?;
            }
            Event::ForceIf(who, whose, which) if is_free(who) => {
                if let Some(at) = self.model.which(*whose, *which) {
                    let token = self.model.guards[*whose][at].clone();
                    let answer = self.ask(*who, &format!("force {token}"))?;
                    self.model.force(Some(&token), &answer)?;
                }
            }
            Event::Kill(who) => {
                self.actors[*who].kill()?;
                self.model.kill(*who);
                let open = format!("open {}", self.root.path().display());
                same(&self.ask(*who, &open)?, OK)?;
            }
            Event::OriginalLocks if !self.model.original_holds => self.original_locks()?,
            Event::OriginalUnlocks if self.model.original_holds => {
                // By name, whoever's it is by now: it does not know that it was evicted.
                match fs::remove_file(self.marker()) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                    _ => {}
                }
                self.model.original_holds = false;
                self.model.marker = None;
            }
            // Nobody of whom this could be said.
            _ => {}
        }
        Ok(())
    }

    fn original_locks(&mut self) -> Result<(), Box<dyn Error>> {
        match (File::create_new(self.marker()), &self.model.marker) {
            (Ok(mut file), None) => {
                let pid = std::process::id().to_string();
                writeln!(file, "{pid}")?;
                self.model.original_holds = true;
                self.model.marker = Some(Marker {
                    name: pid,
                    liveness: Liveness::Unknown,
                });
                Ok(())
            }
            (Err(error), Some(_)) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            (Err(error), _) => Err(error.into()),
            (Ok(_), Some(marker)) => Err(format!("it got the lock of {}", marker.name).into()),
        }
    }

    /// What somebody who only looks sees.
    fn observe(&self) -> Result<(), Box<dyn Error>> {
        let status = self
            .observer
            .lock_status()?
            .map(|status| (servant::name_of(&status.info), status.liveness));
        let foretold = self.model.status();
        if status != foretold {
            return Err(format!("the lock's status is {status:?} instead of {foretold:?}").into());
        }
        let current = self.observer.current_rev()?;
        if current != self.revisions[self.current] {
            return Err(format!("{current} is current, which was not to be").into());
        }
        Ok(())
    }

    fn ask(&mut self, who: Who, line: &str) -> io::Result<String> {
        self.actors[who].ask(line)
    }

    fn marker(&self) -> PathBuf {
        self.root.path().join("props/locks/lock")
    }
}
