//! The model of a store: what each call must answer, in the simplest form. `props` and `fuzz` compare the library with it.

use sdk_state::time::{Duration, OffsetDateTime};
use sdk_state::{Error, Liveness, Revision};
use std::collections::{BTreeMap, BTreeSet};

/// The answers of which any is right.
pub(crate) type Answers = Vec<String>;

// Words of a worker's answer.
pub(crate) const OK: &str = "ok";
pub(crate) const NONE: &str = "none";
pub(crate) const MISSING: &str = "missing";
pub(crate) const DAMAGED: &str = "damaged";
pub(crate) const LOST: &str = "lost";
pub(crate) const IS_CURRENT: &str = "is-current";
pub(crate) const CANCELLED: &str = "cancelled";
/// What reading a snapshot may answer that was damaged, moved, or put there by somebody else.
pub(crate) const UNREADABLE: [&str; 5] = [DAMAGED, "misplaced", "refused", "too-large", "wrong-key"];

/// What a move expects of `current`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expected {
    Anything,
    Nothing,
    Revision(Revision),
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    stored: BTreeMap<Revision, Stored>,
    /// A backend may give their names to nobody again.
    removed: BTreeSet<Revision>,
    pointer: Pointer,
    pub(crate) lock: Option<Holder>,
}

#[derive(Debug)]
struct Stored {
    text: String,
    parent: Option<Revision>,
    /// As long as these bytes lie there it opens, and with no others. None at all if the store did not write it.
    sealed: Vec<u8>,
    is_intact: bool,
}

#[derive(Debug, Default)]
enum Pointer {
    #[default]
    Nothing,
    Names(Revision),
    Damaged,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    /// A token and an author, or the process id of unobin.
    pub(crate) name: String,
    pub(crate) liveness: Liveness,
}

impl Holder {
    fn has(&self, token: &str) -> bool {
        self.name.split('/').next() == Some(token)
    }
}

impl Model {
    /// Takes a write that got this name; an error if the rules give it another one.
    pub(crate) fn write(&mut self, rev: &Revision, now: OffsetDateTime, text: &str) -> Result<(), String> {
        let expected = self.next(now).map_err(|error| error.to_string())?;
        let current = self.named();
        let is_after = |current: &Revision| !current.is_writable() || rev > current;
        let is_right = match self.removed.contains(&expected) {
            false => *rev == expected,
            // Whether the name of a removed revision is free is the backend's choice. Then chance decides which one follows.
            true => *rev >= expected && !self.stored.contains_key(rev) && current.is_none_or(is_after),
        };
        if !is_right {
            return Err(format!("{rev} was written instead of {expected}"));
        }
        let stored = Stored {
            text: text.into(),
            parent: current.cloned(),
            sealed: Vec::new(),
            is_intact: true,
        };
        self.stored.insert(rev.clone(), stored);
        Ok(())
    }

    /// The name that a write gets: now, or the moment of `current` if that is later, with the first number that is larger
    /// than all of that moment.
    fn next(&self, now: OffsetDateTime) -> Result<Revision, Error> {
        let now = Revision::at(now)?;
        let is_later = |current: &Revision| !now.same_moment(current) && now > *current;
        let mut next = match self.named() {
            Some(current) if current.is_writable() && !is_later(current) => following(current)?,
            _ => now,
        };
        while self.stored.contains_key(&next) {
            let moment = self.stored.keys().filter(|stored| stored.same_moment(&next));
            next = following(moment.max().unwrap_or(&next))?;
        }
        Ok(next)
    }

    /// Takes note of the bytes of a snapshot, as its write left them or as somebody changed them.
    pub(crate) fn lies_there(&mut self, rev: &Revision, sealed: &[u8]) {
        if let Some(stored) = self.stored.get_mut(rev) {
            if stored.sealed.is_empty() && stored.is_intact {
                stored.sealed = sealed.into();
            }
            stored.is_intact = stored.sealed == sealed;
        }
    }

    /// Somebody puts a file there that is no snapshot.
    pub(crate) fn plant(&mut self, rev: &Revision) {
        let planted = Stored {
            text: String::new(),
            parent: None,
            sealed: Vec::new(),
            is_intact: false,
        };
        self.stored.insert(rev.clone(), planted);
    }

    /// Somebody writes over `current`.
    pub(crate) fn overwrite_pointer(&mut self, content: &str) {
        self.pointer = Revision::from_pointer(content.as_bytes()).map_or(Pointer::Damaged, Pointer::Names);
    }

    pub(crate) fn is_stored(&self, rev: &Revision) -> bool {
        self.stored.contains_key(rev)
    }

    pub(crate) fn revisions(&self) -> Vec<Revision> {
        self.stored.keys().cloned().collect()
    }

    pub(crate) fn list(&self) -> Answers {
        let names: Vec<String> = self.stored.keys().map(Revision::to_string).collect();
        one(names.join(" "))
    }

    pub(crate) fn get(&self, rev: &Revision) -> Answers {
        match self.stored.get(rev) {
            None => one(MISSING),
            Some(stored) if stored.is_intact => one(&stored.text),
            Some(_) => UNREADABLE.map(String::from).into(),
        }
    }

    /// `None` where the beginning of the file may be damaged, or not.
    pub(crate) fn header(&self, rev: &Revision) -> Option<Answers> {
        match self.stored.get(rev) {
            None => Some(one(MISSING)),
            Some(stored) if stored.is_intact => Some(one(stored
                .parent
                .as_ref()
                .map_or(NONE.into(), Revision::to_string))),
            Some(_) => None,
        }
    }

    pub(crate) fn current(&self) -> Answers {
        match &self.pointer {
            Pointer::Damaged => one(DAMAGED),
            Pointer::Names(rev) if self.is_stored(rev) => one(rev),
            Pointer::Names(_) => one(DAMAGED),
            Pointer::Nothing if self.stored.is_empty() => one(NONE),
            Pointer::Nothing => one(format!("pointer-lost {}", self.stored.len())),
        }
    }

    pub(crate) fn head(&self) -> Answers {
        match &self.pointer {
            Pointer::Names(rev) if self.stored.get(rev).is_some_and(|stored| stored.is_intact) => {
                one(format!("{rev} {}", self.stored[rev].text))
            }
            Pointer::Names(rev) if self.is_stored(rev) => self.get(rev),
            _ => self.current(),
        }
    }

    /// The revision that `current` names.
    pub(crate) fn named(&self) -> Option<&Revision> {
        match &self.pointer {
            Pointer::Names(rev) => Some(rev),
            Pointer::Nothing | Pointer::Damaged => None,
        }
    }

    pub(crate) fn move_to(&mut self, rev: &Revision, expected: &Expected, token: &str) -> Answers {
        let mut refusals = self.refusals_of_token(token);
        if !self.is_stored(rev) {
            refusals.push(MISSING.into());
        }
        match (expected, &self.pointer) {
            (Expected::Anything, _) | (Expected::Nothing, Pointer::Nothing) => {}
            (Expected::Revision(expected), Pointer::Names(found)) if expected == found => {}
            (_, Pointer::Damaged) => refusals.push(DAMAGED.into()),
            (expected, _) => refusals.push(format!("moved {expected} {}", name(self.named()))),
        }
        self.unless(refusals, |model| model.pointer = Pointer::Names(rev.clone()))
    }

    /// A move that takes the lock for the moment. A dead holder's lock is given back with it.
    pub(crate) fn set_current(&mut self, rev: &Revision) -> Answers {
        if let Some(holder) = self.living_holder() {
            return one(format!("busy {}", holder.name));
        }
        self.lock = None;
        if !self.is_stored(rev) {
            return one(MISSING);
        }
        self.pointer = Pointer::Names(rev.clone());
        one(OK)
    }

    /// With a token, or while nobody holds the lock.
    pub(crate) fn remove(&mut self, rev: &Revision, token: Option<&str>) -> Answers {
        let mut refusals = match (token, self.living_holder()) {
            (Some(token), _) => self.refusals_of_token(token),
            (None, Some(holder)) => one(format!("busy {}", holder.name)),
            (None, None) => Vec::new(),
        };
        match &self.pointer {
            Pointer::Damaged => refusals.push(DAMAGED.into()),
            Pointer::Names(current) if current == rev => refusals.push(IS_CURRENT.into()),
            Pointer::Names(_) | Pointer::Nothing => {}
        }
        self.unless(refusals, |model| {
            if model.stored.remove(rev).is_some() {
                model.removed.insert(rev.clone());
            }
        })
    }

    pub(crate) fn replace(&mut self, rev: &Revision, token: &str) -> Answers {
        let mut refusals = self.refusals_of_token(token);
        if !self.is_stored(rev) {
            refusals.push(MISSING.into());
        }
        self.unless(refusals, |_| {})
    }

    /// Takes the answer of somebody who asked for the lock; an error if it is wrong, and the token if the lock was given.
    pub(crate) fn try_lock(&mut self, author: &str, answer: &str) -> Result<Option<String>, String> {
        if let Some(holder) = self.living_holder() {
            return same(answer, &one(format!("busy {}", holder.name))).map(|()| None);
        }
        let dead = self.lock.as_ref().map_or(NONE, |holder| holder.name.as_str());
        let name = answer
            .strip_prefix("held ")
            .and_then(|held| held.strip_suffix(&format!(" after {dead}")));
        let token = name.and_then(|name| name.strip_suffix(&format!("/{author}")));
        let (Some(name), Some(token)) = (name, token) else {
            return Err(format!("{answer} instead of held …/{author} after {dead}"));
        };
        self.lock = Some(Holder {
            name: name.into(),
            liveness: Liveness::Alive,
        });
        Ok(Some(token.into()))
    }

    pub(crate) fn check(&self, token: &str) -> Answers {
        match self.is_held_by(token) {
            true => one(OK),
            false => one(LOST),
        }
    }

    pub(crate) fn unlock(&mut self, token: &str) -> Answers {
        let answer = self.check(token);
        if self.is_held_by(token) {
            self.lock = None;
        }
        answer
    }

    pub(crate) fn force_unlock(&mut self, expected: Option<&str>) -> Answers {
        match &self.lock {
            None => one(NONE),
            Some(holder) if expected.is_some_and(|expected| !holder.has(expected)) => {
                one(format!("busy {}", holder.name))
            }
            Some(holder) => {
                let answer = one(format!("evicted {}", holder.name));
                self.lock = None;
                answer
            }
        }
    }

    pub(crate) fn lock_status(&self) -> Answers {
        one(self
            .lock
            .as_ref()
            .map_or(NONE.into(), |Holder { name, liveness }| {
                format!("{name} {liveness:?}")
            }))
    }

    /// The process that locked with this token is dead.
    pub(crate) fn kill(&mut self, token: &str) {
        if let Some(holder) = self.lock.as_mut().filter(|holder| holder.has(token)) {
            holder.liveness = Liveness::Dead;
        }
    }

    pub(crate) fn is_held_by(&self, token: &str) -> bool {
        self.lock.as_ref().is_some_and(|holder| holder.has(token))
    }

    pub(crate) fn living_holder(&self) -> Option<&Holder> {
        self.lock
            .as_ref()
            .filter(|holder| holder.liveness != Liveness::Dead)
    }

    fn refusals_of_token(&self, token: &str) -> Answers {
        match self.is_held_by(token) {
            true => Vec::new(),
            false => one(LOST),
        }
    }

    /// Where several refusals apply, the backend may answer any of them.
    fn unless(&mut self, refusals: Answers, change: impl FnOnce(&mut Self)) -> Answers {
        if !refusals.is_empty() {
            return refusals;
        }
        change(self);
        one(OK)
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anything => f.write_str("anything"),
            Self::Nothing => f.write_str(NONE),
            Self::Revision(rev) => rev.fmt(f),
        }
    }
}

pub(crate) fn name(rev: Option<&Revision>) -> String {
    rev.map_or(NONE.into(), Revision::to_string)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "texts and names, owned and borrowed"
)]
fn one(answer: impl ToString) -> Answers {
    vec![answer.to_string()]
}

/// An error unless the answer is one of the right ones.
pub(crate) fn same(answer: &str, right: &Answers) -> Result<(), String> {
    match right.iter().any(|right| right == answer) {
        true => Ok(()),
        false => Err(format!("{answer:?} instead of {}", right.join(" or "))),
    }
}

/// The next number of the same moment, or the next nanosecond after the last number.
fn following(rev: &Revision) -> Result<Revision, Error> {
    let text = rev.to_string();
    let moment = text.split('_').next().unwrap_or_default();
    match rev.suffix().unwrap_or_default() {
        Revision::MAX_SUFFIX => {
            Revision::at(rev.time().unwrap_or(OffsetDateTime::UNIX_EPOCH) + Duration::nanoseconds(1))
        }
        suffix => format!("{moment}_{}", suffix + 1).parse(),
    }
}
