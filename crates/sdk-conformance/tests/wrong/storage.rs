//! A simple storage in memory, right but for one chosen fault.
//!
//! Every method takes the gate for as long as it runs; a fault of the kind "check, then act" leaves it in between, and
//! waits there for the thread that makes the fault visible.

use crate::fault::Fault;
use crate::lock::WrongLock;
use crate::place::{Place, Stack};
use sdk_state::{
    Created, Error, ErrorKind, Expect, Holder, Liveness, LockInfo, LockStatus, LockToken, Prefix, Revision,
    StackId, Storage, TryLock,
};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Wrong {
    place: Arc<Place>,
    id: StackId,
    key: String,
    number: usize,
    listed: Mutex<Option<Vec<Revision>>>,
}

impl Wrong {
    pub(crate) fn open(place: &Arc<Place>, id: &StackId) -> Result<Self, Error> {
        if place.has(Fault::NamesAreShort) && id.stack().len() > 100 {
            return Err(Error::new(ErrorKind::InvalidName, "too long"));
        }
        let shown = match place.fault {
            Fault::WrongId => StackId::new(id.stack(), id.factory())?,
            _ => id.clone(),
        };
        Ok(Self {
            place: Arc::clone(place),
            id: shown,
            key: place.key(id),
            number: place.handles.fetch_add(1, Ordering::SeqCst),
            listed: Mutex::default(),
        })
    }

    fn has(&self, fault: Fault) -> bool {
        self.place.has(fault)
    }

    fn name(&self, rev: &Revision) -> String {
        let name = rev.to_string();
        match name.find('.') {
            Some(dot) if self.has(Fault::CreateRoundsTimes) && name.len() > dot + 7 => {
                format!("{}Z", &name[..dot])
            }
            _ => name,
        }
    }

    fn pointer(&self, stack: &Stack) -> Result<Option<Revision>, Error> {
        let pointer = stack.pointer.as_deref().map(Revision::from_pointer).transpose();
        if self.has(Fault::DamageIsNone) {
            return Ok(pointer.unwrap_or_default());
        }
        pointer
    }

    fn demand_lock(&self, stack: &Stack, held: Option<&LockToken>, ignored: Fault) -> Result<(), Error> {
        let holder = stack.lock.as_ref().map(|lock| lock.info.token.as_ref());
        let is_held = match held {
            None => true,
            Some(_) if self.has(ignored) => true,
            Some(_) if self.has(Fault::AnyHolderWillDo) => holder.is_some(),
            Some(_) if self.has(Fault::TokenOfOneHandle) && stack.lock_handle != self.number => false,
            Some(token) => holder == Some(Some(token)),
        };
        if is_held {
            Ok(())
        } else {
            Err(error(ErrorKind::LockLost))
        }
    }
}

impl Drop for Wrong {
    fn drop(&mut self) {
        self.place.handles.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Storage for Wrong {
    fn id(&self) -> &StackId {
        &self.id
    }

    fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error> {
        if !rev.is_writable() && !self.has(Fault::CreateTakesAnyName) {
            return Err(error(ErrorKind::InvalidName));
        }
        let name = self.name(rev);
        let mut gate = self.place.enter();
        let stack = gate.entry(self.key.clone()).or_default();
        stack.seen.creators += 1;
        self.place.tell();
        if stack.snapshots.contains_key(&name) && !self.has(Fault::CreateOverwrites) {
            return Ok(Created::Exists);
        }
        let is_first_of_race = self.place.is_race() && stack.snapshots.is_empty();
        let mut bytes = sealed.to_vec();
        match self.place.fault {
            Fault::CheckThenCreate if is_first_of_race => {
                gate = self.place.meet(&self.key, gate, |stack| {
                    stack.seen.creators > 1 || stack.seen.reads > 0
                });
            }
            Fault::CreateInParts if is_first_of_race => {
                stack
                    .snapshots
                    .insert(name.clone(), bytes[..bytes.len() / 2].to_vec());
                gate = self.place.meet(&self.key, gate, |stack| {
                    stack.seen.creators > 1 || stack.seen.reads > 0
                });
            }
            Fault::CreateMovesCurrent if stack.pointer.is_some() && !self.place.is_race() => {
                stack.pointer = Some(name.clone().into_bytes());
            }
            Fault::CreateDeduplicates
                if !self.place.is_race() && stack.snapshots.values().any(|known| known == sealed) =>
            {
                return Ok(Created::Created);
            }
            Fault::KeepsText => bytes = String::from_utf8_lossy(sealed).into_owned().into_bytes(),
            _ => {}
        }
        gate.entry(self.key.clone())
            .or_default()
            .snapshots
            .insert(name, bytes);
        Ok(Created::Created)
    }

    fn replace(&self, rev: &Revision, sealed: &[u8]) -> Result<(), Error> {
        let name = self.name(rev);
        let mut gate = self.place.enter();
        if !gate.contains_key(&self.key)
            && !self.has(Fault::ReplaceMakesTheStack)
            && !self.has(Fault::ReplaceCreates)
        {
            return Err(error(ErrorKind::NotFound));
        }
        let stack = gate.entry(self.key.clone()).or_default();
        match stack.snapshots.get_mut(&name) {
            _ if self.has(Fault::ReplacePanics) => panic!("as a wrong storage does"),
            Some(_) if self.has(Fault::ReplaceForgets) => {}
            Some(bytes) => *bytes = sealed.to_vec(),
            None if self.has(Fault::ReplaceCreates) => {
                stack.snapshots.insert(name, sealed.to_vec());
            }
            None => return Err(error(ErrorKind::NotFound)),
        }
        Ok(())
    }

    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
        let mut gate = self.place.enter();
        let Some(stack) = gate.get_mut(&self.key) else {
            let kind = if self.has(Fault::AbsentIsAnError) && !self.place.is_race() {
                ErrorKind::Io
            } else {
                ErrorKind::NotFound
            };
            return Err(error(kind));
        };
        stack.seen.reads += 1;
        self.place.tell();
        let bytes = stack
            .snapshots
            .get(&self.name(rev))
            .ok_or_else(|| error(ErrorKind::NotFound))?;
        if bytes.is_empty() && !self.has(Fault::ReadsNothing) {
            return Err(error(ErrorKind::Damaged));
        }
        let length = bytes.len() as u64;
        if length > limit || length == limit && self.has(Fault::LimitOffByOne) {
            return Err(error(ErrorKind::TooLarge));
        }
        let end = if self.has(Fault::ReadTruncates) {
            bytes.len().min(64 << 10)
        } else {
            bytes.len()
        };
        Ok(bytes[..end].to_vec())
    }

    fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
        let mut bytes = self.read(rev, u64::MAX)?;
        let mut stored_bytes = bytes.len() as u64;
        bytes.truncate(most);
        if self.has(Fault::PrefixIsTheWhole) {
            stored_bytes = bytes.len() as u64;
        }
        Ok(Prefix { bytes, stored_bytes })
    }

    fn remove(&self, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error> {
        let mut gate = self.place.enter();
        let Some(stack) = gate.get_mut(&self.key) else {
            return self.demand_lock(&Stack::default(), held, Fault::RemoveIgnoresToken);
        };
        self.demand_lock(stack, held, Fault::RemoveIgnoresToken)?;
        if !self.has(Fault::RemovesCurrent) && self.pointer(stack)?.as_ref() == Some(rev) {
            return Err(error(ErrorKind::RevisionIsCurrent));
        }
        stack.seen.removers_of.insert(rev.clone());
        self.place.tell();
        if self.place.is_race() && matches!(self.place.fault, Fault::RemovesCurrent | Fault::CheckThenRemove)
        {
            gate = self
                .place
                .meet(&self.key, gate, |stack| stack.seen.moved_to.contains(rev));
        }
        let stack = gate.entry(self.key.clone()).or_default();
        let name = self.name(rev);
        if stack.snapshots.remove(&name).is_none() && self.has(Fault::RemoveIsStrict) {
            return Err(error(ErrorKind::NotFound));
        }
        stack.removed.insert(name);
        Ok(())
    }

    fn list(&self) -> Result<Vec<Revision>, Error> {
        let mut gate = self.place.enter();
        match self.place.fault {
            Fault::ListFailsWhenAbsent if !gate.contains_key(&self.key) => {
                return Err(error(ErrorKind::NotFound));
            }
            Fault::ListCreates => drop(gate.entry(self.key.clone()).or_default()),
            _ => {}
        }
        let Some(stack) = gate.get(&self.key) else {
            return Ok(self.first_list(Vec::new()));
        };
        let page = if self.has(Fault::ListsOnePage) {
            64
        } else {
            usize::MAX
        };
        let mut names: Vec<&String> = stack.snapshots.keys().take(page).collect();
        if self.has(Fault::ListsTheRemoved) {
            names.extend(&stack.removed);
        }
        let listed = names
            .into_iter()
            .map(|name| name.parse())
            .collect::<Result<_, _>>()?;
        Ok(self.first_list(listed))
    }

    fn current(&self) -> Result<Option<Revision>, Error> {
        let mut gate = self.place.enter();
        let Some(stack) = gate.get_mut(&self.key) else {
            return Ok(None);
        };
        stack.seen.looks += 1;
        stack.seen.found_none += usize::from(stack.pointer.is_none());
        self.place.tell();
        self.pointer(stack)
    }

    fn set_current(&self, expect: Expect<'_>, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error> {
        let is_race = self.place.is_race();
        let mut gate = self.place.enter();
        // Where threads remove too, this fault would show by chance only.
        if is_race && self.has(Fault::PointerInTwoSteps) && expect == Expect::Anything {
            gate = self.place.meet(&self.key, gate, |stack| {
                is_read_all_the_time(stack) || !stack.seen.removers_of.is_empty()
            });
        }
        let Some(stack) = gate.get_mut(&self.key) else {
            return Err(error(ErrorKind::NotFound));
        };
        if stack.snapshots.get(&self.name(rev)).is_none_or(Vec::is_empty)
            && (is_race || !self.has(Fault::MovesToNothing))
        {
            return Err(error(ErrorKind::NotFound));
        }
        self.demand_lock(stack, held, Fault::MoveIgnoresToken)?;
        if let Expect::Exactly(expected) = expect {
            let found = self.pointer(stack)?;
            if found.as_ref() != expected {
                let found = if self.has(Fault::MovedSaysNothing) {
                    None
                } else {
                    found
                };
                return Err(Error::current_moved(expected.cloned(), found));
            }
        }
        match (self.place.fault, expect) {
            (Fault::CompareThenMove, Expect::Exactly(_)) if is_race => {
                stack.seen.movers += 1;
                gate = self.place.meet(&self.key, gate, |stack| stack.seen.movers > 1);
            }
            (Fault::PointerInTwoSteps, Expect::Anything) if is_race && is_read_all_the_time(stack) => {
                stack.seen.movers += 1;
                // Once: the reader that finds nothing may not come back.
                if stack.seen.movers == 1 {
                    stack.pointer = None;
                }
                // All wait for it, or else the next mover would hide what the first one did.
                gate = self
                    .place
                    .meet(&self.key, gate, |stack| stack.seen.found_none > 0);
            }
            // The remover has looked before this moves: unless nobody removes, which shows in that threads read.
            (Fault::CheckThenRemove, Expect::Anything) if is_race => {
                gate = self.place.meet(&self.key, gate, |stack| {
                    stack.seen.removers_of.contains(rev) || is_read_all_the_time(stack)
                });
            }
            _ => {}
        }
        let stack = gate.entry(self.key.clone()).or_default();
        let mut pointer = format!("{rev}\n").into_bytes();
        if self.has(Fault::PointerInPlace)
            && let Some(tail) = stack.pointer.as_deref().and_then(|old| old.get(pointer.len()..))
        {
            pointer.extend_from_slice(tail);
        }
        stack.pointer = Some(pointer);
        stack.seen.moved_to.insert(rev.clone());
        self.place.tell();
        Ok(())
    }

    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error> {
        let mut gate = self.place.enter();
        let stack = gate.entry(self.key.clone()).or_default();
        let mut previous = None;
        if let Some(status) = &stack.lock {
            if status.liveness == Liveness::Dead && !self.has(Fault::DeadHolderStays) {
                previous = Some(status.info.clone());
            } else if !self.has(Fault::LockAdmitsAll) {
                let info = if self.has(Fault::BusyIsAnonymous) {
                    LockInfo::default()
                } else {
                    status.info.clone()
                };
                return Ok(TryLock::Busy {
                    info: Box::new(info),
                    poll: Duration::from_millis(1),
                });
            }
        }
        let token = match self.place.fault {
            Fault::TokenRepeats => "always-this-one".parse()?,
            _ => LockToken::generate()?,
        };
        let info = LockInfo::of(holder, token.clone());
        let is_double = matches!(self.place.fault, Fault::LockAdmitsAll | Fault::CheckThenLock);
        stack.seen.lockers += 1;
        let turn = stack.seen.lockers;
        // The first one finds it free, lets the second one take it, and takes it too; only then do both go on.
        if is_double && self.place.is_race() && turn == 1 {
            gate = self.place.meet(&self.key, gate, |stack| stack.lock.is_some());
        }
        let stack = gate.entry(self.key.clone()).or_default();
        stack.lock = Some(LockStatus::new(info.clone(), Liveness::Alive));
        stack.lock_handle = self.number;
        if is_double && self.place.is_race() && turn == 2 {
            let is_lost = |stack: &Stack| {
                stack
                    .lock
                    .as_ref()
                    .is_none_or(|lock| lock.info.token.as_ref() != Some(&token))
            };
            drop(self.place.meet(&self.key, gate, is_lost));
        } else {
            self.place.tell();
        }
        Ok(TryLock::Held(Box::new(WrongLock {
            place: Arc::clone(&self.place),
            key: self.key.clone(),
            token,
            info,
            previous,
        })))
    }

    fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
        let gate = self.place.enter();
        let mut status = gate.get(&self.key).and_then(|stack| stack.lock.clone());
        if let Some(status) = &mut status
            && self.has(Fault::StatusIsAnonymous)
        {
            status.info.user = None;
        }
        Ok(status)
    }

    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        let mut gate = self.place.enter();
        let lock = gate.get_mut(&self.key).and_then(|stack| stack.lock.take());
        let Some(status) = lock else {
            return match expected {
                Some(_) if self.has(Fault::ForceNeedsAHolder) => Err(error(ErrorKind::LockLost)),
                _ => Ok(None),
            };
        };
        if expected.is_some() && status.info.token.as_ref() != expected && !self.has(Fault::ForceIgnoresToken)
        {
            let info = status.info.clone();
            gate.entry(self.key.clone()).or_default().lock = Some(status);
            return Err(Error::other_holder(info));
        }
        Ok(Some(status.info).filter(|_| !self.has(Fault::ForceIsSilent)))
    }
}

impl Wrong {
    /// What was listed first, where that is the fault.
    fn first_list(&self, listed: Vec<Revision>) -> Vec<Revision> {
        if !self.has(Fault::ListIsStale) {
            return listed;
        }
        self.listed.lock().unwrap().get_or_insert(listed).clone()
    }
}

/// Whether threads do nothing but read the pointer while others move it.
fn is_read_all_the_time(stack: &Stack) -> bool {
    stack.seen.removers_of.is_empty() && stack.seen.looks > 64
}

fn error(kind: ErrorKind) -> Error {
    Error::new(kind, "as told by a wrong storage")
}
