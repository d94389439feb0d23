//! A simple backend in memory, right but for one chosen mutation.
//!
//! Every method takes the place's mutex for as long as it runs; a mutation of the kind "check, then act" leaves it in
//! between, and waits there for the thread that makes the fault visible.

use super::mutation::Mutation;
use super::place::{Place, Stack, Stacks, Transport, error};
use sdk_conformance::Method;
use sdk_state::{
    Appended, Backend, Created, Error, ErrorKind, Expect, Holder, Irregularity, IrregularityKind, LockInfo,
    LockStatus, LockToken, Pointer, Prefix, Revision, StackId, TryLock,
};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Debug)]
pub(crate) struct Mutant {
    pub(crate) place: Arc<Place>,
    pub(crate) transport: Arc<Transport>,
    id: StackId,
    pub(crate) key: String,
    pub(crate) number: usize,
    requests: AtomicUsize,
    listed: Mutex<Option<Vec<Revision>>>,
    created: Mutex<BTreeSet<Revision>>,
}

impl Mutant {
    pub(crate) fn open(place: &Arc<Place>, id: &StackId, transport: Arc<Transport>) -> Result<Self, Error> {
        if place.has(Mutation::NamesAreShort) && id.stack().len() > 100 {
            return Err(Error::new(ErrorKind::InvalidName, "too long"));
        }
        let shown = match place.mutation {
            Mutation::WrongId => StackId::new(id.stack(), id.factory())?,
            _ => id.clone(),
        };
        Ok(Self {
            place: Arc::clone(place),
            transport,
            id: shown,
            key: place.key(id),
            number: place.handles.fetch_add(1, Ordering::SeqCst),
            requests: AtomicUsize::new(1),
            listed: Mutex::default(),
            created: Mutex::default(),
        })
    }

    pub(crate) fn has(&self, mutation: Mutation) -> bool {
        self.place.has(mutation)
    }

    pub(crate) fn send<T>(
        &self,
        method: Method,
        request: impl FnOnce() -> Result<T, Error>,
    ) -> Option<Result<T, Error>> {
        self.transport.send(&self.place, method, request)
    }

    pub(crate) fn with_stack<T>(&self, look: impl FnOnce(&Stack) -> T) -> T {
        look(self.place.enter().entry(self.key.clone()).or_default())
    }
}

impl Drop for Mutant {
    fn drop(&mut self) {
        self.place.handles.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Backend for Mutant {
    fn id(&self) -> &StackId {
        &self.id
    }

    fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error> {
        let request = || self.create_snapshot(rev, sealed);
        if let Some(answer) = self.send(Method::Create, request) {
            return answer;
        }
        let stored = self.with_stack(|stack| stack.snapshots.get(&self.name(rev)).cloned());
        match self.place.mutation {
            Mutation::LostCreateIsRetriedBlindly => request(),
            Mutation::LostCreateIsUnavailable => Err(error(ErrorKind::Unavailable)),
            Mutation::LostCreateIsWhoeversIsThere if stored.is_some() => Ok(Created::Created),
            _ if stored.as_deref() == Some(sealed) => Ok(Created::Created),
            _ => request(),
        }
    }

    fn replace(&self, rev: &Revision, sealed: &[u8], token: &LockToken) -> Result<(), Error> {
        let request = || self.replace_snapshot(rev, sealed, token);
        self.send(Method::Replace, request)
            .unwrap_or_else(|| match self.place.mutation {
                Mutation::LostReplacementIsUnavailable => Err(error(ErrorKind::Unavailable)),
                Mutation::LostReplacementIsDone => Ok(()),
                _ => request(),
            })
    }

    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
        self.read_snapshot(rev, limit)
    }

    fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
        let mut bytes = self.read_snapshot(rev, u64::MAX)?;
        let mut stored_bytes = bytes.len() as u64;
        bytes.truncate(most);
        if self.has(Mutation::PrefixIsTheWhole) {
            stored_bytes = bytes.len() as u64;
        }
        Ok(Prefix { bytes, stored_bytes })
    }

    fn remove(&self, rev: &Revision, token: Option<&LockToken>) -> Result<(), Error> {
        let request = || self.remove_snapshot(rev, token);
        self.send(Method::Remove, request)
            .unwrap_or_else(|| match self.place.mutation {
                Mutation::LostRemovalIsUnavailable => Err(error(ErrorKind::Unavailable)),
                Mutation::LostRemovalIsDone => Ok(()),
                _ => request(),
            })
    }

    fn list(&self) -> Result<Vec<Revision>, Error> {
        self.list_snapshots()
    }

    fn inspect(&self) -> Result<Vec<Irregularity>, Error> {
        let files = if self.has(Mutation::InspectListsItsOwn) {
            self.list_snapshots()?
        } else {
            Vec::new()
        };
        let foreign = |rev: Revision| Irregularity::new(IrregularityKind::Foreign, rev.to_string());
        Ok(files.into_iter().map(foreign).collect())
    }

    fn current(&self) -> Result<Option<Pointer>, Error> {
        let mut stacks = self.place.enter();
        let Some(stack) = stacks.get_mut(&self.key) else {
            return Ok(None);
        };
        stack.seen.looks += 1;
        stack.seen.found_none += usize::from(stack.pointer.is_none());
        self.place.tell();
        self.pointer(stack)
    }

    fn set_current(&self, expect: Expect<'_>, rev: &Revision, token: &LockToken) -> Result<Pointer, Error> {
        let own = (self.number, self.requests.fetch_add(1, Ordering::SeqCst));
        let request = || self.move_pointer(expect, rev, token, own);
        if let Some(answer) = self.send(Method::SetCurrent, request) {
            return answer;
        }
        let (last, found) = self.with_stack(|stack| (stack.last_move, self.pointer(stack)));
        match (self.place.mutation, found?) {
            (Mutation::LostMoveIsRetriedBlindly, _) => request(),
            (Mutation::LostMoveIsUnavailable, _) => Err(error(ErrorKind::Unavailable)),
            (Mutation::LostMoveLooksAtTheName, Some(found)) if found.revision == *rev => Ok(found),
            (_, Some(found)) if last == own => Ok(found),
            _ => request(),
        }
    }

    fn append(
        &self,
        base: &Pointer,
        index: u64,
        record: &[u8],
        token: &LockToken,
    ) -> Result<Appended, Error> {
        self.append_record(base, index, record, token)
    }

    fn read_journal(&self, base: &Pointer, from: u64, most: usize) -> Result<Vec<Vec<u8>>, Error> {
        self.read_records(base, from, most)
    }

    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error> {
        self.lock(holder)
    }

    fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
        self.see_lock()
    }

    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        self.evict(expected)
    }
}

/// The snapshots.
impl Mutant {
    fn create_snapshot(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error> {
        if !rev.is_writable() && !self.has(Mutation::CreateTakesAnyName) {
            return Err(error(ErrorKind::InvalidName));
        }
        let name = self.name(rev);
        let mut stacks = self.place.enter();
        let stack = stacks.entry(self.key.clone()).or_default();
        stack.seen.creators += 1;
        self.place.tell();
        if stack.snapshots.contains_key(&name) && !self.has(Mutation::CreateOverwrites) {
            return Ok(Created::Exists);
        }
        let is_first_of_race = self.place.is_race() && stack.snapshots.is_empty();
        let is_met = |stack: &Stack| stack.seen.creators > 1 || stack.seen.reads > 0;
        let mut bytes = sealed.to_vec();
        match self.place.mutation {
            Mutation::CheckThenCreate if is_first_of_race => {
                stacks = self.place.meet(&self.key, stacks, is_met);
            }
            Mutation::CreateInParts if is_first_of_race => {
                let half = bytes[..bytes.len() / 2].to_vec();
                stack.snapshots.insert(name.clone(), half);
                stacks = self.place.meet(&self.key, stacks, is_met);
            }
            Mutation::CreateMovesCurrent if stack.pointer.is_some() && !self.place.is_race() => {
                stack.pointer = Some(name.clone().into_bytes());
            }
            Mutation::CreateDeduplicates
                if !self.place.is_race() && stack.snapshots.values().any(|known| known == sealed) =>
            {
                return Ok(Created::Created);
            }
            Mutation::KeepsText => bytes = String::from_utf8_lossy(sealed).into_owned().into_bytes(),
            _ => {}
        }
        let stack = stacks.entry(self.key.clone()).or_default();
        stack.snapshots.insert(name, bytes);
        self.created.lock().unwrap().insert(rev.clone());
        Ok(Created::Created)
    }

    fn replace_snapshot(&self, rev: &Revision, sealed: &[u8], token: &LockToken) -> Result<(), Error> {
        let name = self.name(rev);
        let mut stacks = self.place.enter();
        if !stacks.contains_key(&self.key)
            && !self.has(Mutation::ReplaceMakesTheStack)
            && !self.has(Mutation::ReplaceCreates)
        {
            return Err(error(ErrorKind::NotFound));
        }
        if self.has(Mutation::ReplaceMakesTheStack) {
            let _ = stacks.entry(self.key.clone()).or_default();
        }
        let nothing = Stack::default();
        let stack = stacks.get(&self.key).unwrap_or(&nothing);
        self.demand_token(stack, token, Mutation::ReplaceIgnoresToken)?;
        let was_there = stack.snapshots.contains_key(&name);
        if self.place.is_contended() && was_there {
            stacks = self.replace_in_two_steps(&name, stacks);
        }
        let stack = stacks.entry(self.key.clone()).or_default();
        match stack.snapshots.get_mut(&name) {
            _ if self.has(Mutation::ReplacePanics) => panic!("as a mutant does"),
            Some(_) if self.has(Mutation::ReplaceForgets) => {}
            Some(bytes) => *bytes = sealed.to_vec(),
            None if self.has(Mutation::ReplaceCreates) && !self.place.is_contended()
                || self.has(Mutation::CheckThenReplace) && was_there =>
            {
                stack.snapshots.insert(name, sealed.to_vec());
            }
            None => return Err(error(ErrorKind::NotFound)),
        }
        Ok(())
    }

    /// The first step, and the wait until somebody has seen it or come between. Once: nobody may come a second time.
    fn replace_in_two_steps<'a>(&'a self, name: &str, mut stacks: Stacks<'a>) -> Stacks<'a> {
        let stack = stacks.entry(self.key.clone()).or_default();
        stack.seen.replacers += 1;
        let (is_first, reads) = (stack.seen.replacers == 1, stack.seen.reads);
        match self.place.mutation {
            Mutation::ReplaceInParts if is_first => {
                stack.snapshots.insert(name.into(), b"cut off".to_vec());
                self.place.meet(&self.key, stacks, |stack| {
                    stack.seen.reads > reads || !stack.seen.removers_of.is_empty()
                })
            }
            Mutation::CheckThenReplace if is_first => self.place.meet(&self.key, stacks, |stack| {
                stack.seen.reads > reads || stack.removed.contains(name)
            }),
            _ => stacks,
        }
    }

    fn read_snapshot(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
        let mut stacks = self.place.enter();
        let Some(stack) = stacks.get_mut(&self.key) else {
            let kind = if self.has(Mutation::AbsentIsAnError) && !self.place.is_race() {
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
        if bytes.is_empty() && !self.has(Mutation::ReadsNothing) {
            return Err(error(ErrorKind::Damaged));
        }
        let length = bytes.len() as u64;
        if length > limit || length == limit && self.has(Mutation::LimitOffByOne) {
            return Err(error(ErrorKind::TooLarge));
        }
        let end = match self.place.mutation {
            Mutation::ReadTruncates => bytes.len().min(64 << 10),
            _ => bytes.len(),
        };
        Ok(bytes[..end].to_vec())
    }

    fn remove_snapshot(&self, rev: &Revision, token: Option<&LockToken>) -> Result<(), Error> {
        let mut stacks = self.place.enter();
        let nothing = Stack::default();
        let stack = stacks.get(&self.key).unwrap_or(&nothing);
        match token {
            Some(token) => self.demand_token(stack, token, Mutation::RemoveIgnoresToken)?,
            None => self.demand_nobody(stack)?,
        }
        let Some(stack) = stacks.get_mut(&self.key) else {
            return Ok(());
        };
        let current = self.pointer_unless(Mutation::RemovesCurrent, stack)?;
        if current.is_some_and(|current| current.revision == *rev) {
            return Err(error(ErrorKind::RevisionIsCurrent));
        }
        stack.seen.removers_of.insert(rev.clone());
        self.place.tell();
        // Where nothing is current, others replace what is removed here: one of them has looked before.
        if self.has(Mutation::CheckThenReplace) && self.place.is_contended() && stack.pointer.is_none() {
            stacks = self
                .place
                .meet(&self.key, stacks, |stack| stack.seen.replacers > 0);
        }
        if self.place.is_race()
            && matches!(
                self.place.mutation,
                Mutation::RemovesCurrent | Mutation::CheckThenRemove
            )
        {
            stacks = self
                .place
                .meet(&self.key, stacks, |stack| stack.seen.moved_to.contains(rev));
        }
        let stack = stacks.entry(self.key.clone()).or_default();
        let name = self.name(rev);
        match stack.snapshots.remove(&name) {
            None if self.has(Mutation::RemoveIsStrict) => return Err(error(ErrorKind::NotFound)),
            None => {}
            Some(_) => {
                stack.removed.insert(name);
                self.place.tell();
            }
        }
        Ok(())
    }

    fn list_snapshots(&self) -> Result<Vec<Revision>, Error> {
        let mut stacks = self.place.enter();
        match self.place.mutation {
            Mutation::ListFailsWhenAbsent if !stacks.contains_key(&self.key) => {
                return Err(error(ErrorKind::NotFound));
            }
            Mutation::ListCreates => drop(stacks.entry(self.key.clone()).or_default()),
            Mutation::ListOpensSnapshots
                if stacks
                    .get(&self.key)
                    .is_some_and(|stack| stack.snapshots.values().any(Vec::is_empty)) =>
            {
                return Err(error(ErrorKind::Damaged));
            }
            _ => {}
        }
        let Some(stack) = stacks.get(&self.key) else {
            return Ok(self.first_list(Vec::new()));
        };
        let page = match self.place.mutation {
            Mutation::ListsOnePage => 64,
            _ => usize::MAX,
        };
        let mut names: Vec<&String> = stack.snapshots.keys().take(page).collect();
        if self.has(Mutation::ListsTheRemoved) {
            names.extend(&stack.removed);
        }
        let listed = names
            .into_iter()
            .map(|name| name.parse())
            .collect::<Result<_, _>>()?;
        Ok(self.first_list(listed))
    }

    fn name(&self, rev: &Revision) -> String {
        let name = rev.to_string();
        match name.find('.') {
            Some(dot) if self.has(Mutation::CreateRoundsTimes) && name.len() > dot + 7 => {
                format!("{}Z", &name[..dot])
            }
            _ => name,
        }
    }

    /// What was listed first, where that is the mutation.
    fn first_list(&self, listed: Vec<Revision>) -> Vec<Revision> {
        if !self.has(Mutation::ListIsStale) {
            return listed;
        }
        self.listed.lock().unwrap().get_or_insert(listed).clone()
    }
}

/// The pointer.
impl Mutant {
    fn move_pointer(
        &self,
        expect: Expect<'_>,
        rev: &Revision,
        token: &LockToken,
        own: (usize, usize),
    ) -> Result<Pointer, Error> {
        let is_race = self.place.is_race();
        let mut stacks = self.place.enter();
        // Where threads remove too, this mutation would show by chance only.
        if is_race && self.has(Mutation::PointerInTwoSteps) && expect == Expect::Anything {
            stacks = self.place.meet(&self.key, stacks, |stack| {
                is_read_all_the_time(stack) || !stack.seen.removers_of.is_empty()
            });
        }
        let Some(stack) = stacks.get_mut(&self.key) else {
            return Err(error(ErrorKind::NotFound));
        };
        let snapshot = stack.snapshots.get(&self.name(rev));
        let is_remembered = self.has(Mutation::RemembersItsWrites)
            && snapshot.is_none()
            && self.created.lock().unwrap().contains(rev);
        if snapshot.is_none_or(Vec::is_empty)
            && (is_race || !self.has(Mutation::MovesToNothing))
            && !is_remembered
        {
            return Err(error(ErrorKind::NotFound));
        }
        self.demand_token(stack, token, Mutation::MoveIgnoresToken)?;
        // Not where many stacks are open at once, with two snapshots each.
        let is_shared = self.place.is_contended() && !is_race && stack.snapshots.len() > 2;
        if self.has(Mutation::GuardThenMove) && is_shared {
            stack.seen.movers += 1;
            let looks = stack.seen.looks;
            // Once: until the lock is lost and somebody has looked what that has left.
            if stack.seen.movers == 1 {
                stacks = self.place.meet(&self.key, stacks, |stack| {
                    let holder = stack.lock.as_ref().and_then(|lock| lock.info.token.as_ref());
                    holder != Some(token) && stack.seen.looks > looks
                });
            }
        }
        let stack = stacks.entry(self.key.clone()).or_default();
        if expect.reads_pointer() {
            self.compare(expect, stack)?;
        }
        match self.place.mutation {
            Mutation::CompareThenMove if is_race && expect.reads_pointer() => {
                stack.seen.movers += 1;
                stacks = self.place.meet(&self.key, stacks, |stack| stack.seen.movers > 1);
            }
            Mutation::PointerInTwoSteps
                if is_race && expect == Expect::Anything && is_read_all_the_time(stack) =>
            {
                stack.seen.movers += 1;
                // Once: the reader that finds nothing may not come back.
                if stack.seen.movers == 1 {
                    stack.pointer = None;
                }
                // All wait for it, or else the next mover would hide what the first one did.
                stacks = self
                    .place
                    .meet(&self.key, stacks, |stack| stack.seen.found_none > 0);
            }
            // The remover has looked before this moves: unless nobody removes, which shows in that threads read.
            Mutation::CheckThenRemove if is_race && expect == Expect::Anything => {
                stacks = self.place.meet(&self.key, stacks, |stack| {
                    stack.seen.removers_of.contains(rev) || is_read_all_the_time(stack)
                });
            }
            _ => {}
        }
        let stack = stacks.entry(self.key.clone()).or_default();
        stack.seen.moved_to.insert(rev.clone());
        self.place.tell();
        if let Ok(Some(current)) = self.pointer(stack)
            && current.revision == *rev
            && !self.has(Mutation::EveryMoveIsNew)
        {
            if self.has(Mutation::MoveToCurrentClears) {
                stack.journal = None;
            }
            return Ok(current);
        }
        let mut pointer = format!("{rev}\n").into_bytes();
        if self.has(Mutation::PointerInPlace)
            && let Some(tail) = stack.pointer.as_deref().and_then(|old| old.get(pointer.len()..))
        {
            pointer.extend_from_slice(tail);
        }
        stack.pointer = Some(pointer);
        stack.moves += 1;
        stack.last_move = own;
        let moved = Pointer::new(rev.clone(), self.version(stack, rev));
        self.end_journal(stack, &moved);
        Ok(moved)
    }

    pub(crate) fn compare(&self, expect: Expect<'_>, stack: &Stack) -> Result<(), Error> {
        let found = self.pointer(stack)?;
        let expect = match expect {
            Expect::Pointer(pointer) if self.has(Mutation::VersionIsIgnored) => {
                Expect::Revision(&pointer.revision)
            }
            _ => expect,
        };
        expect
            .check(found.as_ref())
            .map_err(|refused| match refused.kind() {
                ErrorKind::CurrentMoved { expected, .. } if self.has(Mutation::MovedSaysNothing) => {
                    Error::current_moved(expected.clone(), None)
                }
                _ => refused,
            })
    }

    pub(crate) fn pointer(&self, stack: &Stack) -> Result<Option<Pointer>, Error> {
        let revision = stack.pointer.as_deref().map(Revision::from_pointer).transpose();
        let revision = match self.place.mutation {
            Mutation::DamageIsNone => revision.unwrap_or_default(),
            _ => revision?,
        };
        Ok(revision.map(|revision| {
            let version = self.version(stack, &revision);
            Pointer::new(revision, version)
        }))
    }

    fn pointer_unless(&self, mutation: Mutation, stack: &Stack) -> Result<Option<Pointer>, Error> {
        match self.has(mutation) {
            true => Ok(None),
            false => self.pointer(stack),
        }
    }

    fn version(&self, stack: &Stack, rev: &Revision) -> u64 {
        match self.place.mutation {
            // The same for the same revision.
            Mutation::VersionRepeats => rev.to_string().bytes().map(u64::from).sum(),
            _ => stack.moves,
        }
    }
}

/// Whether threads do nothing but read the pointer while others move it.
fn is_read_all_the_time(stack: &Stack) -> bool {
    stack.seen.removers_of.is_empty() && stack.seen.looks > 64
}
