//! A simple storage in memory, right but for one chosen fault.
//!
//! Every method takes the gate for as long as it runs; a fault of the kind "check, then act" leaves it in between, and
//! waits there for the thread that makes the fault visible.

use crate::fault::Fault;
use crate::place::Place;
use sdk_state::{
    Created, Error, ErrorKind, Expect, Holder, LockInfo, LockStatus, LockToken, Prefix, Revision, StackId,
    Storage, TryLock,
};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) place: Arc<Place>,
    id: StackId,
    pub(crate) key: String,
    pub(crate) number: usize,
    pub(crate) listed: Mutex<Option<Vec<Revision>>>,
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

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.place.has(fault)
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
        self.create_snapshot(rev, sealed)
    }

    fn replace(&self, rev: &Revision, sealed: &[u8]) -> Result<(), Error> {
        self.replace_snapshot(rev, sealed)
    }

    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
        self.read_snapshot(rev, limit)
    }

    fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
        self.read_beginning(rev, most)
    }

    fn remove(&self, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error> {
        self.remove_snapshot(rev, held)
    }

    fn list(&self) -> Result<Vec<Revision>, Error> {
        self.list_snapshots()
    }

    fn current(&self) -> Result<Option<Revision>, Error> {
        self.read_pointer()
    }

    fn set_current(&self, expect: Expect<'_>, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error> {
        self.move_pointer(expect, rev, held)
    }

    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error> {
        self.take_lock(holder)
    }

    fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
        self.see_lock()
    }

    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        self.evict(expected)
    }
}

pub(crate) fn error(kind: ErrorKind) -> Error {
    Error::new(kind, "as told by a wrong storage")
}
