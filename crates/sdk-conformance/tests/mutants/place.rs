//! Where a mutant keeps its stacks, and how its threads meet in the middle of what should be one step.

use super::backend::Mutant;
use super::journal::Journal;
use super::mutation::Mutation;
use sdk_conformance::{Fixture, Method, TransportFault};
use sdk_state::{
    Backend, Catalog, Error, ErrorKind, Liveness, LockInfo, LockStatus, LockToken, Revision, StackId,
};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A race of the rules has twice as many handles.
const MANY: usize = 16;
/// A rule that has no race uses no more at one stack.
const FEW: usize = 3;
/// Threads that should meet do so much earlier; if they do not, the test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// All stacks, and the mutation that all their handles have.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) mutation: Mutation,
    pub(crate) handles: AtomicUsize,
    stacks: Mutex<BTreeMap<String, Stack>>,
    changed: Condvar,
    /// Whose place each key is.
    ids: Mutex<BTreeMap<String, StackId>>,
    names: AtomicUsize,
    /// The journal of a stack that was removed.
    pub(crate) left_journal: Mutex<Option<Journal>>,
}

#[derive(Debug, Default)]
pub(crate) struct Stack {
    pub(crate) snapshots: BTreeMap<String, Vec<u8>>,
    pub(crate) pointer: Option<Vec<u8>>,
    pub(crate) moves: u64,
    pub(crate) journal: Option<Journal>,
    /// The request of the last move: the handle that sent it, and its number there.
    pub(crate) last_move: (usize, usize),
    pub(crate) lock: Option<LockStatus>,
    /// Which handle took the lock.
    pub(crate) lock_handle: usize,
    pub(crate) removed: BTreeSet<String>,
    pub(crate) evicted: HashSet<LockToken>,
    /// Whose lock was taken over last.
    pub(crate) dead: Option<LockInfo>,
    /// Who gave the lock back last.
    pub(crate) given_back: Option<LockInfo>,
    pub(crate) seen: Seen,
}

/// What threads have come to, for the others to wait for.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) creators: usize,
    pub(crate) reads: usize,
    pub(crate) looks: usize,
    pub(crate) found_none: usize,
    pub(crate) movers: usize,
    pub(crate) lockers: usize,
    pub(crate) replacers: usize,
    pub(crate) evictors: usize,
    pub(crate) appends: usize,
    pub(crate) appenders: usize,
    pub(crate) journal_reads: usize,
    pub(crate) journal_ends: usize,
    pub(crate) moved_to: BTreeSet<Revision>,
    pub(crate) removers_of: BTreeSet<Revision>,
}

pub(crate) type Stacks<'a> = MutexGuard<'a, BTreeMap<String, Stack>>;

impl Place {
    pub(crate) fn new(mutation: Mutation) -> Arc<Self> {
        Arc::new(Self {
            mutation,
            handles: AtomicUsize::new(0),
            stacks: Mutex::default(),
            changed: Condvar::new(),
            ids: Mutex::default(),
            names: AtomicUsize::new(0),
            left_journal: Mutex::default(),
        })
    }

    pub(crate) fn has(&self, mutation: Mutation) -> bool {
        self.mutation == mutation
    }

    /// Whether many handles are open: a race is on. Only then do threads wait for each other.
    pub(crate) fn is_race(&self) -> bool {
        self.handles.load(Ordering::SeqCst) > MANY
    }

    /// Whether more handles are open than one thread uses: a race with parts, in which fewer take part.
    pub(crate) fn is_contended(&self) -> bool {
        self.handles.load(Ordering::SeqCst) > FEW
    }

    /// All steps are taken in this mutex.
    pub(crate) fn enter(&self) -> Stacks<'_> {
        // A mutant that panics must not panic a second time in a drop: that would end the process.
        self.stacks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the mutex in the middle of a step, until `is_met`.
    pub(crate) fn meet<'a>(
        &self,
        key: &str,
        stacks: Stacks<'a>,
        is_met: impl Fn(&Stack) -> bool,
    ) -> Stacks<'a> {
        self.changed.notify_all();
        let waits = |stacks: &mut BTreeMap<String, Stack>| !is_met(stacks.entry(key.into()).or_default());
        let (stacks, timeout) = self
            .changed
            .wait_timeout_while(stacks, PATIENCE, waits)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "{:?}: nobody came", self.mutation);
        stacks
    }

    pub(crate) fn tell(&self) {
        self.changed.notify_all();
    }

    pub(crate) fn key(&self, id: &StackId) -> String {
        let key = match self.mutation {
            Mutation::NamesAreGlued => format!("{}{}", id.factory(), id.stack()),
            Mutation::NamesAreFolded => id.to_string().to_lowercase(),
            _ => id.to_string(),
        };
        self.ids.lock().unwrap().insert(key.clone(), id.clone());
        key
    }
}

/// What happens to the next request of a handle for a method.
#[derive(Debug, Default)]
pub(crate) struct Transport(Mutex<Option<(Method, TransportFault)>>);

impl Transport {
    pub(crate) fn meeting(method: Method, fault: TransportFault) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some((method, fault)))))
    }

    /// Sends a request to the place; `None` when no answer comes.
    pub(crate) fn send<T>(
        &self,
        place: &Place,
        method: Method,
        request: impl FnOnce() -> Result<T, Error>,
    ) -> Option<Result<T, Error>> {
        let fault = self.0.lock().unwrap().take_if(|(meets, _)| *meets == method);
        match fault {
            None => Some(request()),
            Some((_, TransportFault::Refused)) => {
                if place.has(Mutation::ErrorComesTooLate) {
                    let _ = request();
                }
                Some(Err(error(ErrorKind::Io)))
            }
            Some((_, TransportFault::RequestLost)) => None,
            Some(_) => {
                let _ = request();
                None
            }
        }
    }
}

pub(crate) fn error(kind: ErrorKind) -> Error {
    Error::new(kind, "as told by a mutant")
}

/// The fixture of a mutant.
#[derive(Debug, Clone)]
pub(crate) struct Mutants(pub(crate) Arc<Place>);

impl Fixture for Mutants {
    fn open(&self, id: &StackId) -> Result<Box<dyn Backend>, Error> {
        Ok(Box::new(Mutant::open(&self.0, id, Arc::default())?))
    }

    fn overwrite_pointer(&self, id: &StackId, content: &[u8]) -> Option<()> {
        self.0.enter().get_mut(&self.0.key(id))?.pointer = Some(content.into());
        Some(())
    }

    fn overwrite_snapshot(&self, id: &StackId, rev: &Revision, content: &[u8]) -> Option<()> {
        let mut stacks = self.0.enter();
        let stack = stacks.get_mut(&self.0.key(id))?;
        stack.snapshots.insert(rev.to_string(), content.into());
        Some(())
    }

    fn kill_holder(&self, id: &StackId) -> Option<()> {
        let mut stacks = self.0.enter();
        stacks.get_mut(&self.0.key(id))?.lock.as_mut()?.liveness = Liveness::Dead;
        Some(())
    }

    fn plant_lock(&self, id: &StackId, info: &LockInfo) -> Option<()> {
        let info = match self.0.mutation {
            Mutation::ForgetsMembers => LockInfo::new(&info.holder, info.token.clone()?),
            _ => info.clone(),
        };
        let mut stacks = self.0.enter();
        stacks.get_mut(&self.0.key(id))?.lock = Some(LockStatus::new(info, Liveness::Unknown));
        Some(())
    }

    fn exists(&self, id: &StackId) -> Option<bool> {
        Some(self.0.enter().contains_key(&self.0.key(id)))
    }

    fn catalog(&self) -> Option<Box<dyn Catalog>> {
        Some(Box::new(self.clone()))
    }

    fn open_faulty(&self, id: &StackId, method: Method, fault: TransportFault) -> Option<Box<dyn Backend>> {
        let transport = Transport::meeting(method, fault);
        Some(Box::new(Mutant::open(&self.0, id, transport).unwrap()))
    }
}

impl Catalog for Mutants {
    fn name(&self) -> String {
        match self.0.mutation {
            Mutation::CatalogNamesItselfAnew => self.0.names.fetch_add(1, Ordering::SeqCst).to_string(),
            _ => "mutants:".into(),
        }
    }

    fn open(&self, id: &StackId) -> Result<Box<dyn Backend>, Error> {
        Fixture::open(self, id)
    }

    fn stacks(&self) -> Result<Vec<StackId>, Error> {
        let stacks = self.0.enter();
        let ids = self.0.ids.lock().unwrap();
        let mut listed: Vec<StackId> = stacks
            .iter()
            .filter(|(_, stack)| {
                !self.0.has(Mutation::CatalogForgetsTheLocked) || !stack.snapshots.is_empty()
            })
            .map(|(key, _)| ids[key].clone())
            .collect();
        listed.sort();
        if self.0.has(Mutation::CatalogIsUnsorted) {
            listed.reverse();
        }
        Ok(listed)
    }

    fn remove(&self, id: &StackId) -> Result<(), Error> {
        let key = self.0.key(id);
        let mut stacks = self.0.enter();
        let Some(stack) = stacks.get(&key) else {
            return Ok(());
        };
        match &stack.lock {
            Some(status)
                if status.liveness != Liveness::Dead && !self.0.has(Mutation::CatalogIgnoresTheLock) =>
            {
                return Err(Error::locked(status.info.clone()));
            }
            _ => {}
        }
        let pointer = stack.pointer.clone();
        let removed = stacks.remove(&key);
        if self.0.has(Mutation::CatalogLeavesTheJournal) {
            *self.0.left_journal.lock().unwrap() = removed.and_then(|stack| stack.journal);
        }
        if self.0.has(Mutation::CatalogLeavesThePointer) {
            stacks.entry(key).or_default().pointer = pointer;
        }
        Ok(())
    }
}
