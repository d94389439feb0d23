//! The whole contract of a backend in the plainest form: what each call must answer.

use sdk_state::{ErrorKind, Expect, Liveness, LockInfo, LockStatus, LockToken, Revision};
use std::collections::BTreeMap;

/// What a call answers, by value, or by kind where it fails.
pub(super) type Answered = Result<Answer, ErrorKind>;

#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    Done,
    Text(String),
    Revision(Revision),
    Head(Revision, String),
    Parent(Option<Revision>),
    List(Vec<Revision>),
    Status(Option<LockStatus>),
    Evicted(Option<LockInfo>),
}

#[derive(Default)]
pub(super) struct Plain {
    stored: BTreeMap<Revision, Stored>,
    pointer: Pointer,
    pub(super) lock: Option<LockInfo>,
}

struct Stored {
    text: String,
    parent: Option<Revision>,
}

#[derive(Default)]
enum Pointer {
    #[default]
    Nothing,
    Names(Revision),
    Damaged,
}

impl Plain {
    /// Takes note of a write, whose name the storage has chosen; complains when that may not have been chosen.
    pub(super) fn write(
        &mut self,
        revision: &Revision,
        now: &Revision,
        text: String,
        parent: Option<Revision>,
    ) -> Result<(), String> {
        let current = match &self.pointer {
            Pointer::Names(current) => Some(current.clone()),
            Pointer::Nothing | Pointer::Damaged => None,
        };
        if current.as_ref().is_some_and(|current| revision <= current) {
            return Err(format!(
                "{revision} was written and does not sort after {current:?}"
            ));
        }
        let latest = current.iter().fold(now, |latest, current| latest.max(current));
        if !revision.same_moment(latest) {
            return Err(format!("{revision} was written at the moment of {latest}"));
        }
        let parent = parent.or(current);
        if self
            .stored
            .insert(revision.clone(), Stored { text, parent })
            .is_some()
        {
            return Err(format!("{revision} was written over"));
        }
        Ok(())
    }

    pub(super) fn damage(&mut self, content: &str) {
        self.pointer = match content.trim().parse() {
            Ok(revision) => Pointer::Names(revision),
            Err(_) => Pointer::Damaged,
        };
    }

    pub(super) fn get(&self, revision: &Revision) -> Answered {
        let stored = self.stored.get(revision).ok_or(ErrorKind::NotFound)?;
        Ok(Answer::Text(stored.text.clone()))
    }

    pub(super) fn header(&self, revision: &Revision) -> Answered {
        let stored = self.stored.get(revision).ok_or(ErrorKind::NotFound)?;
        Ok(Answer::Parent(stored.parent.clone()))
    }

    pub(super) fn head(&self) -> Answered {
        let revision = self.named()?;
        match self.stored.get(revision) {
            Some(stored) => Ok(Answer::Head(revision.clone(), stored.text.clone())),
            None => Err(ErrorKind::Damaged),
        }
    }

    pub(super) fn current(&self) -> Answered {
        match self.head()? {
            Answer::Head(_, text) => Ok(Answer::Text(text)),
            other => Ok(other),
        }
    }

    pub(super) fn current_rev(&self) -> Answered {
        Ok(Answer::Revision(self.named()?.clone()))
    }

    pub(super) fn list(&self) -> Answered {
        Ok(Answer::List(self.revisions()))
    }

    pub(super) fn revisions(&self) -> Vec<Revision> {
        self.stored.keys().cloned().collect()
    }

    /// What is current, if that is known.
    pub(super) fn pointer(&self) -> Result<Option<&Revision>, ErrorKind> {
        match &self.pointer {
            Pointer::Nothing => Ok(None),
            Pointer::Names(revision) => Ok(Some(revision)),
            Pointer::Damaged => Err(ErrorKind::Damaged),
        }
    }

    pub(super) fn set_current(
        &mut self,
        expect: Expect<'_>,
        revision: &Revision,
        held: Option<&LockToken>,
    ) -> Answered {
        if !self.stored.contains_key(revision) {
            return Err(ErrorKind::NotFound);
        }
        self.demand_lock(held)?;
        if let Expect::Exactly(expected) = expect {
            let found = self.pointer()?;
            if found != expected {
                return Err(ErrorKind::CurrentMoved {
                    expected: expected.cloned(),
                    found: found.cloned(),
                });
            }
        }
        self.pointer = Pointer::Names(revision.clone());
        Ok(Answer::Done)
    }

    pub(super) fn delete(&mut self, revision: &Revision, held: Option<&LockToken>) -> Answered {
        self.demand_lock(held)?;
        if self.pointer()? == Some(revision) {
            return Err(ErrorKind::RevisionIsCurrent);
        }
        self.stored.remove(revision);
        Ok(Answer::Done)
    }

    pub(super) fn lock_status(&self) -> Answered {
        let status = self
            .lock
            .clone()
            .map(|info| LockStatus::new(info, Liveness::Alive));
        Ok(Answer::Status(status))
    }

    pub(super) fn check(&self, token: &LockToken) -> Answered {
        self.demand_lock(Some(token))?;
        Ok(Answer::Done)
    }

    pub(super) fn unlock(&mut self, token: &LockToken) -> Answered {
        self.demand_lock(Some(token))?;
        self.lock = None;
        Ok(Answer::Done)
    }

    pub(super) fn force_unlock(&mut self, expected: Option<&LockToken>) -> Answered {
        match &self.lock {
            Some(info) if expected.is_some() && info.token.as_ref() != expected => {
                Err(ErrorKind::Locked(Box::new(info.clone())))
            }
            _ => Ok(Answer::Evicted(self.lock.take())),
        }
    }

    pub(super) fn is_held_by(&self, token: &LockToken) -> bool {
        self.lock
            .as_ref()
            .is_some_and(|info| info.token.as_ref() == Some(token))
    }

    fn demand_lock(&self, held: Option<&LockToken>) -> Result<(), ErrorKind> {
        match held {
            Some(token) if !self.is_held_by(token) => Err(ErrorKind::LockLost),
            _ => Ok(()),
        }
    }

    fn named(&self) -> Result<&Revision, ErrorKind> {
        self.pointer()?.ok_or(ErrorKind::NoCurrent {
            snapshots: self.stored.len() as u64,
        })
    }
}
