//! Where a wrong storage keeps its stacks, and how its threads meet in the middle of what should be one step.

use crate::fault::Fault;
use sdk_conformance::Medium;
use sdk_state::{Error, Liveness, LockStatus, LockToken, Revision, StackId, Storage};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A race of the rules has twice as many handles.
const MANY: usize = 16;
/// A rule that has no race uses no more at one stack.
const FEW: usize = 3;
/// Threads that should meet do so much earlier; should they not, the test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// All stacks, and the fault that all their handles have.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) fault: Fault,
    pub(crate) handles: AtomicUsize,
    stacks: Mutex<BTreeMap<String, Stack>>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct Stack {
    pub(crate) snapshots: BTreeMap<String, Vec<u8>>,
    pub(crate) pointer: Option<Vec<u8>>,
    pub(crate) lock: Option<LockStatus>,
    /// Which handle took the lock.
    pub(crate) lock_handle: usize,
    pub(crate) removed: BTreeSet<String>,
    pub(crate) evicted: HashSet<LockToken>,
    /// Whose lock was taken over last.
    pub(crate) dead: Option<LockToken>,
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
    pub(crate) moved_to: BTreeSet<Revision>,
    pub(crate) removers_of: BTreeSet<Revision>,
}

pub(crate) type Stacks<'a> = MutexGuard<'a, BTreeMap<String, Stack>>;

impl Place {
    pub(crate) fn new(fault: Fault) -> Arc<Self> {
        Arc::new(Self {
            fault,
            handles: AtomicUsize::new(0),
            stacks: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// Whether many handles are open: a race is on. Only then do threads wait for each other.
    pub(crate) fn is_race(&self) -> bool {
        self.handles.load(Ordering::SeqCst) > MANY
    }

    /// Whether more handles are open than one thread uses: a race with parts, in which fewer take part.
    pub(crate) fn is_contended(&self) -> bool {
        self.handles.load(Ordering::SeqCst) > FEW
    }

    /// The gate that all steps are taken in.
    pub(crate) fn enter(&self) -> Stacks<'_> {
        // A fault that panics must not panic a second time in a drop: that would end the process.
        self.stacks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the gate in the middle of a step, until `is_met`.
    pub(crate) fn meet<'a>(
        &self,
        key: &str,
        gate: Stacks<'a>,
        is_met: impl Fn(&Stack) -> bool,
    ) -> Stacks<'a> {
        self.changed.notify_all();
        let waits = |stacks: &mut BTreeMap<String, Stack>| !is_met(stacks.entry(key.into()).or_default());
        let (gate, timeout) = self
            .changed
            .wait_timeout_while(gate, PATIENCE, waits)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "{:?}: nobody came", self.fault);
        gate
    }

    pub(crate) fn tell(&self) {
        self.changed.notify_all();
    }

    pub(crate) fn key(&self, id: &StackId) -> String {
        match self.fault {
            Fault::NamesAreGlued => format!("{}{}", id.factory(), id.stack()),
            Fault::NamesAreFolded => id.to_string().to_lowercase(),
            _ => id.to_string(),
        }
    }
}

/// The medium of a wrong storage.
#[derive(Debug)]
pub(crate) struct WrongMedium(pub(crate) Arc<Place>);

impl Medium for WrongMedium {
    fn open(&self, id: &StackId) -> Result<Box<dyn Storage>, Error> {
        Ok(Box::new(crate::storage::Wrong::open(&self.0, id)?))
    }

    fn overwrite_pointer(&self, id: &StackId, content: &[u8]) -> Option<()> {
        self.0.enter().get_mut(&self.0.key(id))?.pointer = Some(content.into());
        Some(())
    }

    fn overwrite_snapshot(&self, id: &StackId, rev: &Revision, content: &[u8]) -> Option<()> {
        let mut gate = self.0.enter();
        let stack = gate.get_mut(&self.0.key(id))?;
        stack.snapshots.insert(rev.to_string(), content.into());
        Some(())
    }

    fn kill_holder(&self, id: &StackId) -> Option<()> {
        let mut gate = self.0.enter();
        gate.get_mut(&self.0.key(id))?.lock.as_mut()?.liveness = Liveness::Dead;
        Some(())
    }

    fn exists(&self, id: &StackId) -> Option<bool> {
        Some(self.0.enter().contains_key(&self.0.key(id)))
    }
}
