//! Random stories of all that a store can do, against a plain model, over every backend.

mod plain;
mod story;
mod world;

use super::broken;
use crate::note::Note;
use plain::{Answer, Answered, Plain};
use proptest::test_runner::{TestCaseError, TestRunner};
use sdk_state::{Backend as _, Cancel, ErrorKind, Expect, Lock, Revision, Wait, WriteOptions};
use std::error::Error;
use std::time::Duration;
use story::{Actor, Deed, Event, Expected, Patience};
use world::{Held, Medium, World};

/// No write gives this name.
const NEVER_WRITTEN: &str = "2000-01-01T00:00:00Z";

pub(super) fn hold(runner: &mut TestRunner) -> Result<(), Box<dyn Error>> {
    Ok(runner.run(&story::stories(), |story| {
        for medium in [Medium::Memory, Medium::Local] {
            Run::new(medium)?.tell(&story)?;
        }
        Ok(())
    })?)
}

struct Run {
    medium: Medium,
    world: World,
    model: Plain,
    /// The revisions by the number of their write.
    written: Vec<Revision>,
}

impl Run {
    fn new(medium: Medium) -> Result<Self, TestCaseError> {
        Ok(Self {
            medium,
            world: World::new(medium).map_err(broken)?,
            model: Plain::default(),
            written: Vec::new(),
        })
    }

    fn tell(mut self, story: &[Event]) -> Result<(), TestCaseError> {
        for (at, event) in story.iter().enumerate() {
            let happened = match event {
                Event::Clock(offset) => {
                    self.world.set_clock(*offset);
                    Ok(())
                }
                Event::Damage(content) => {
                    self.model.damage(content);
                    self.world.damage(content).map_err(|error| error.to_string())
                }
                Event::Act(actor, deed) => self.act(*actor, *deed),
            };
            happened.map_err(|problem| {
                broken(format!(
                    "{:?} storage, event {}, {event:?}: {problem}",
                    self.medium,
                    at + 1
                ))
            })?;
        }
        self.look_back()
            .map_err(|problem| broken(format!("{:?} storage, at the end: {problem}", self.medium)))
    }

    /// Does it, and compares what came of it with what the model says.
    fn act(&mut self, actor: Actor, deed: Deed) -> Result<(), String> {
        let store = self.world.store(actor);
        let (found, foretold) = match deed {
            Deed::Write { text, parent } => return self.write(actor, text, parent),
            Deed::Lock(patience) => return self.lock(actor, patience),
            Deed::Reopen => {
                self.world.reopen(actor);
                return Ok(());
            }
            Deed::Get(number) => {
                let revision = self.revision(number)?;
                (
                    store.get(&revision).map(|note| Answer::Text(note.0)),
                    self.model.get(&revision),
                )
            }
            Deed::Header(number) => {
                let revision = self.revision(number)?;
                (
                    store
                        .header(&revision)
                        .map(|header| Answer::Parent(header.parent)),
                    self.model.header(&revision),
                )
            }
            Deed::Head => (
                store
                    .head()
                    .map(|(revision, note)| Answer::Head(revision, note.0)),
                self.model.head(),
            ),
            Deed::Current => (
                store.current().map(|note| Answer::Text(note.0)),
                self.model.current(),
            ),
            Deed::CurrentRev => (
                store.current_rev().map(Answer::Revision),
                self.model.current_rev(),
            ),
            Deed::List => (store.list().map(Answer::List), self.model.list()),
            Deed::SetCurrent(number) => {
                let revision = self.revision(number)?;
                (
                    store.set_current(&revision).map(|()| Answer::Done),
                    self.model.set_current(Expect::Anything, &revision, None),
                )
            }
            Deed::Move { to, expected, with } => {
                let revision = self.revision(to)?;
                let expected = match expected {
                    Expected::Anything => None,
                    Expected::WhatIsCurrent => Some(self.model.pointer().ok().flatten().cloned()),
                    Expected::Nothing => Some(None),
                    Expected::Number(number) => Some(Some(self.revision(number)?)),
                };
                let expect = match &expected {
                    None => Expect::Anything,
                    Some(expected) => Expect::Exactly(expected.as_ref()),
                };
                let Some(held) = self.shown(actor, with) else {
                    return Ok(());
                };
                let token = held.map(|held| held.token.clone());
                (
                    store
                        .compare_and_set_current(expect, &revision, held.map(lock_of))
                        .map(|()| Answer::Done),
                    self.model.set_current(expect, &revision, token.as_ref()),
                )
            }
            Deed::Delete { number, with } => {
                let revision = self.revision(number)?;
                let Some(held) = self.shown(actor, with) else {
                    return Ok(());
                };
                let token = held.map(|held| held.token.clone());
                (
                    store.delete(&revision, held.map(lock_of)).map(|()| Answer::Done),
                    self.model.delete(&revision, token.as_ref()),
                )
            }
            Deed::LockStatus => (store.lock_status().map(Answer::Status), self.model.lock_status()),
            Deed::ForceUnlock(with) => {
                let Some(held) = self.shown(actor, with) else {
                    return Ok(());
                };
                let token = held.map(|held| held.token.clone());
                (
                    store.force_unlock(token.as_ref()).map(Answer::Evicted),
                    self.model.force_unlock(token.as_ref()),
                )
            }
            Deed::Check(guard) => {
                let Some(Some(held)) = self.shown(actor, Some(guard)) else {
                    return Ok(());
                };
                (
                    held.lock.check().map(|()| Answer::Done),
                    self.model.check(&held.token),
                )
            }
            Deed::Unlock(guard) | Deed::Drop(guard) => {
                let Some(at) = self
                    .world
                    .find(actor, guard, |token| self.model.is_held_by(token))
                else {
                    return Ok(());
                };
                let Held { lock, token, .. } = self.world.guards.remove(at);
                let foretold = self.model.unlock(&token);
                if matches!(deed, Deed::Unlock(_)) {
                    (lock.unlock().map(|()| Answer::Done), foretold)
                } else {
                    // What has come of it is seen by whoever asks for the lock next.
                    drop(lock);
                    (
                        self.world.store(actor).lock_status().map(Answer::Status),
                        self.model.lock_status(),
                    )
                }
            }
        };
        compare(found, &foretold)
    }

    fn write(&mut self, actor: Actor, text: u8, parent: Option<usize>) -> Result<(), String> {
        let parent = parent.map(|number| self.revision(number)).transpose()?;
        let mut options = WriteOptions::new();
        options.parent.clone_from(&parent);
        let text = text.to_string();
        let explain = |error: sdk_state::Error| error.to_string();
        let now = self.world.now().map_err(explain)?;
        let revision = self
            .world
            .store(actor)
            .write(&Note(text.clone()), &options)
            .map_err(explain)?;
        self.model.write(&revision, &now, text, parent)?;
        self.written.push(revision);
        Ok(())
    }

    fn lock(&mut self, actor: Actor, patience: Patience) -> Result<(), String> {
        let wait = match patience {
            Patience::None => Wait::none(),
            Patience::Moment => Wait::at_most(Duration::from_millis(1)),
            Patience::Cancelled => {
                let cancel = Cancel::new();
                cancel.cancel();
                Wait::forever().unless(&cancel)
            }
        };
        let foretold = match (&self.model.lock, patience) {
            (_, Patience::Cancelled) => Some(ErrorKind::Cancelled),
            (holder, _) => holder.clone().map(|info| ErrorKind::Locked(Box::new(info))),
        };
        let locked = self.world.store(actor).lock("model", &wait);
        match (locked, foretold) {
            (Ok(lock), None) => {
                if lock.took_over().is_some() || lock.info().user != Some(actor.to_string()) {
                    return Err(format!("{lock:?} is not a fresh lock of {actor}"));
                }
                self.model.lock = Some(lock.info().clone());
                let token = lock.token().map_err(|error| error.to_string())?.clone();
                self.world.guards.push(Held {
                    by: actor,
                    lock,
                    token,
                });
                Ok(())
            }
            (Err(error), Some(kind)) if error.kind() == &kind => Ok(()),
            (found, foretold) => Err(format!("{found:?} instead of {foretold:?}")),
        }
    }

    /// What a newcomer finds after it all.
    fn look_back(&mut self) -> Result<(), String> {
        self.world.reopen(Actor::Alice);
        for deed in [Deed::List, Deed::Head, Deed::CurrentRev, Deed::LockStatus] {
            self.act(Actor::Alice, deed)?;
        }
        for revision in self.model.revisions() {
            let found = self.world.store(Actor::Alice).get(&revision);
            compare(found.map(|note| Answer::Text(note.0)), &self.model.get(&revision))?;
        }
        let litter = self.world.litter().map_err(|error| error.to_string())?;
        if !litter.is_empty() {
            return Err(format!("{litter:?} was left behind"));
        }
        Ok(())
    }

    fn revision(&self, number: usize) -> Result<Revision, String> {
        match self.written.get(number - 1) {
            Some(revision) => Ok(revision.clone()),
            None => NEVER_WRITTEN
                .parse()
                .map_err(|error: sdk_state::Error| error.to_string()),
        }
    }

    /// The lock that is shown, if one is to be; `None` when there is none of that kind.
    fn shown(&self, actor: Actor, with: Option<story::Guard>) -> Option<Option<&Held>> {
        let Some(guard) = with else {
            return Some(None);
        };
        let at = self
            .world
            .find(actor, guard, |token| self.model.is_held_by(token))?;
        self.world.guards.get(at).map(Some)
    }
}

fn lock_of(held: &Held) -> &dyn Lock {
    held.lock.as_ref()
}

fn compare(found: Result<Answer, sdk_state::Error>, foretold: &Answered) -> Result<(), String> {
    let found = found.map_err(|error| error.kind().clone());
    if &found == foretold {
        Ok(())
    } else {
        Err(format!("{found:?} instead of {foretold:?}"))
    }
}
