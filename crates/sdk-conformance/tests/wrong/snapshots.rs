//! The snapshots of a wrong storage.

use crate::fault::Fault;
use crate::place::{Stack, Stacks};
use crate::storage::{Wrong, error};
use sdk_state::{Created, Error, ErrorKind, LockToken, Prefix, Revision};

impl Wrong {
    pub(crate) fn create_snapshot(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error> {
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

    pub(crate) fn replace_snapshot(&self, rev: &Revision, sealed: &[u8]) -> Result<(), Error> {
        let name = self.name(rev);
        let mut gate = self.place.enter();
        if !gate.contains_key(&self.key)
            && !self.has(Fault::ReplaceMakesTheStack)
            && !self.has(Fault::ReplaceCreates)
        {
            return Err(error(ErrorKind::NotFound));
        }
        let stack = gate.entry(self.key.clone()).or_default();
        let was_there = stack.snapshots.contains_key(&name);
        if self.place.is_contended() && was_there {
            gate = self.replace_in_two_steps(&name, gate);
        }
        let stack = gate.entry(self.key.clone()).or_default();
        match stack.snapshots.get_mut(&name) {
            _ if self.has(Fault::ReplacePanics) => panic!("as a wrong storage does"),
            Some(_) if self.has(Fault::ReplaceForgets) => {}
            Some(bytes) => *bytes = sealed.to_vec(),
            None if self.has(Fault::ReplaceCreates) && !self.place.is_contended()
                || self.has(Fault::CheckThenReplace) && was_there =>
            {
                stack.snapshots.insert(name, sealed.to_vec());
            }
            None => return Err(error(ErrorKind::NotFound)),
        }
        Ok(())
    }

    /// The first step, and the wait until somebody has seen it or come between. Once: nobody may come a second time.
    fn replace_in_two_steps<'a>(&'a self, name: &str, mut gate: Stacks<'a>) -> Stacks<'a> {
        let stack = gate.entry(self.key.clone()).or_default();
        stack.seen.replacers += 1;
        let (is_first, reads) = (stack.seen.replacers == 1, stack.seen.reads);
        match self.place.fault {
            Fault::ReplaceInParts if is_first => {
                stack.snapshots.insert(name.into(), b"cut off".to_vec());
                self.place.meet(&self.key, gate, |stack| {
                    stack.seen.reads > reads || !stack.seen.removers_of.is_empty()
                })
            }
            Fault::CheckThenReplace if is_first => self.place.meet(&self.key, gate, |stack| {
                stack.seen.reads > reads || stack.removed.contains(name)
            }),
            _ => gate,
        }
    }

    pub(crate) fn read_snapshot(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
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

    pub(crate) fn read_beginning(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
        let mut bytes = self.read_snapshot(rev, u64::MAX)?;
        let mut stored_bytes = bytes.len() as u64;
        bytes.truncate(most);
        if self.has(Fault::PrefixIsTheWhole) {
            stored_bytes = bytes.len() as u64;
        }
        Ok(Prefix { bytes, stored_bytes })
    }

    pub(crate) fn remove_snapshot(&self, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error> {
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
        // Where nothing is current, others replace what is removed here: one of them has looked before.
        if self.has(Fault::CheckThenReplace) && self.place.is_contended() && stack.pointer.is_none() {
            gate = self.place.meet(&self.key, gate, |stack| stack.seen.replacers > 0);
        }
        if self.place.is_race() && matches!(self.place.fault, Fault::RemovesCurrent | Fault::CheckThenRemove)
        {
            gate = self
                .place
                .meet(&self.key, gate, |stack| stack.seen.moved_to.contains(rev));
        }
        let stack = gate.entry(self.key.clone()).or_default();
        let name = self.name(rev);
        match stack.snapshots.remove(&name) {
            None if self.has(Fault::RemoveIsStrict) => return Err(error(ErrorKind::NotFound)),
            None => {}
            Some(_) => {
                stack.removed.insert(name);
                self.place.tell();
            }
        }
        Ok(())
    }

    pub(crate) fn list_snapshots(&self) -> Result<Vec<Revision>, Error> {
        let mut gate = self.place.enter();
        match self.place.fault {
            Fault::ListFailsWhenAbsent if !gate.contains_key(&self.key) => {
                return Err(error(ErrorKind::NotFound));
            }
            Fault::ListCreates => drop(gate.entry(self.key.clone()).or_default()),
            Fault::ListOpensSnapshots
                if gate
                    .get(&self.key)
                    .is_some_and(|stack| stack.snapshots.values().any(Vec::is_empty)) =>
            {
                return Err(error(ErrorKind::Damaged));
            }
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

    pub(crate) fn name(&self, rev: &Revision) -> String {
        let name = rev.to_string();
        match name.find('.') {
            Some(dot) if self.has(Fault::CreateRoundsTimes) && name.len() > dot + 7 => {
                format!("{}Z", &name[..dot])
            }
            _ => name,
        }
    }

    /// What was listed first, where that is the fault.
    fn first_list(&self, listed: Vec<Revision>) -> Vec<Revision> {
        if !self.has(Fault::ListIsStale) {
            return listed;
        }
        self.listed.lock().unwrap().get_or_insert(listed).clone()
    }
}
