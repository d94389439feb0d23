use crate::Method;
use sdk_state::{Backend, Catalog, Error, LockInfo, Revision, StackId};
use std::time::Duration;

/// A fresh, empty place in which a backend keeps stacks. A backend author writes one to test the backend.
///
/// Only [`open`](Fixture::open) is required. The other methods say how slow the place is, or are hooks that do what no method
/// of a backend does. If a hook returns `None`, the rules that need it are skipped, and reported as skipped. A hook that
/// exists and fails should panic: that breaks the rule.
///
/// Each rule gets a fixture of its own. Everything that the fixture holds, such as a temporary directory, is released when
/// the fixture is dropped.
pub trait Fixture: Send + Sync + 'static {
    /// Opens one more handle to the place of the stack `id`.
    ///
    /// # Contract
    ///
    /// It creates nothing (READ-05). Handles share nothing but the place, like handles in two processes: a shared cache
    /// would hide faults. Many threads call it at once.
    ///
    /// # Errors
    ///
    /// Those of opening the backend; an error breaks the rule. Every valid name opens (STACKS-04).
    fn open(&self, id: &StackId) -> Result<Box<dyn Backend>, Error>;

    /// How long one round trip to the medium takes. Limits grow with it, and races get smaller: the longer a round trip, the
    /// fewer threads are needed to meet in the middle of one. Nothing by default.
    fn latency(&self) -> Duration {
        Duration::ZERO
    }

    /// How many handles, each with a lock that it may hold, one rule may have open at once. At least 8; any number by
    /// default. Remember that
    /// `cargo test` runs several rules at the same time.
    fn connections(&self) -> usize {
        usize::MAX
    }

    /// Puts `content` where the pointer of the stack `id` is kept, as somebody who damages it would.
    ///
    /// # Contract
    ///
    /// The pointer exists. The bytes are in place on return, whatever they are: no check of the backend applies.
    fn overwrite_pointer(&self, id: &StackId, content: &[u8]) -> Option<()> {
        let _ = (id, content);
        None
    }

    /// Puts `content`, which may be empty, where the snapshot `rev` is kept, as somebody who damages it would.
    ///
    /// # Contract
    ///
    /// The snapshot exists. The bytes are in place on return, whatever they are.
    fn overwrite_snapshot(&self, id: &StackId, rev: &Revision, content: &[u8]) -> Option<()> {
        let _ = (id, rev, content);
        None
    }

    /// Lets the holder of the lock die: the lock stays behind, and its holder is provably gone.
    ///
    /// # Contract
    ///
    /// It runs neither `unlock` nor `drop` of the holder's [`Lock`](sdk_state::Lock), as a killed process does not. A backend
    /// that cannot prove that a holder is dead has no such hook.
    fn kill_holder(&self, id: &StackId) -> Option<()> {
        let _ = id;
        None
    }

    /// Stores `info` as a lock that somebody alive or unknown holds, as a newer version of the backend would. It has
    /// members that this version does not know.
    ///
    /// # Contract
    ///
    /// Nobody holds the lock. A backend whose locks are not stored as [`LockInfo`] has no such hook.
    fn plant_lock(&self, id: &StackId, info: &LockInfo) -> Option<()> {
        let _ = (id, info);
        None
    }

    /// Whether the place contains anything at all for the stack `id`.
    ///
    /// # Contract
    ///
    /// It bypasses the backend: a directory or an object that no method shows counts too.
    fn exists(&self, id: &StackId) -> Option<bool> {
        let _ = id;
        None
    }

    /// Opens the catalog of the place again.
    fn catalog(&self) -> Option<Box<dyn Catalog>> {
        None
    }

    /// Opens one more handle. Its first request that changes something for `method` meets `fault` on the way to the medium or
    /// back. For [`Method::Unlock`] that is the request of a lock that this handle returned.
    ///
    /// # Contract
    ///
    /// The fault happens below the backend, once: a second request, such as a look or a retry, is answered. `method` is
    /// `Create`, `Replace`, `Remove`, `SetCurrent`, `Append`, `TryLock` or `Unlock`. Return `None` if such a request cannot
    /// meet such a fault.
    fn open_faulty(&self, id: &StackId, method: Method, fault: TransportFault) -> Option<Box<dyn Backend>> {
        let _ = (id, method, fault);
        None
    }
}

/// What happens to a request between a backend and its medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportFault {
    /// The medium refuses it with an error of its own, such as a full disk, and changes nothing.
    Refused,
    /// The request is lost: nothing changes, and no answer comes.
    RequestLost,
    /// The answer is lost: the change is made, but the backend does not learn of it.
    AnswerLost,
}
