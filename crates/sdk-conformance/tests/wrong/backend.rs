//! Backends whose author did without `Store` in one method, and slipped there.

use sdk_conformance::BackendMedium;
use sdk_state::encrypt::{Keyring, Noop};
use sdk_state::envelope::{self, Origin, Subject};
use sdk_state::{
    Backend, Error, ErrorKind, Expect, Lock, LockInfo, LockStatus, LockToken, MemoryStorage, Provenance,
    Revision, Snapshot as _, StackId, State, Storage as _, Store, Wait, WriteOptions,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use time::{Duration, OffsetDateTime};

/// One thing that a [`WrongBackend`] does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slip {
    /// It is right.
    None,
    /// The newest revision is listed first.
    ListsNewestFirst,
    /// A revision is named by the clock alone, which steps back.
    NamesByTheClock,
    /// Each handle numbers its revisions by itself, and takes a name that is taken for done.
    ExistsIsDone,
    /// A state of any stack is written.
    TakesAnyStack,
    /// A snapshot is opened as what it says that it is.
    TakesTheMisplaced,
    /// A wait ends long after its deadline or its cancellation.
    WaitsTooLong,
    /// `current` is read once.
    ReadsCurrentOnce,
    /// To expect that nothing is current is to expect nothing.
    NoneIsNoExpectation,
    /// A held lock is tried once, whatever the wait.
    DoesNotWait,
    /// A wait that is cancelled after it has begun is told as one that took too long.
    CancelledIsLocked,
}

/// The medium of wrong backends.
#[derive(Debug)]
pub(crate) struct WrongBackends {
    slip: Slip,
    stacks: Mutex<BTreeMap<StackId, MemoryStorage>>,
    /// Days on the clock that all handles share.
    clock: Arc<AtomicI64>,
}

#[derive(Debug)]
struct WrongBackend {
    slip: Slip,
    store: Store<MemoryStorage>,
    clock: Arc<AtomicI64>,
    read: OnceLock<State>,
}

impl WrongBackends {
    pub(crate) fn new(slip: Slip) -> Self {
        Self {
            slip,
            stacks: Mutex::default(),
            clock: Arc::default(),
        }
    }
}

impl BackendMedium for WrongBackends {
    fn open(&self, id: &StackId) -> Result<Box<dyn Backend<Snapshot = State>>, Error> {
        let mut stacks = self.stacks.lock().unwrap();
        let storage = stacks
            .entry(id.clone())
            .or_insert_with(|| MemoryStorage::new(id.clone()));
        Ok(Box::new(WrongBackend {
            slip: self.slip,
            store: Store::new(storage.clone(), Noop),
            clock: match self.slip {
                Slip::ExistsIsDone => Arc::default(),
                _ => Arc::clone(&self.clock),
            },
            read: OnceLock::new(),
        }))
    }

    fn copy_snapshot(&self, id: &StackId, from: &Revision, other: &StackId, to: &Revision) -> Option<()> {
        let mut stacks = self.stacks.lock().unwrap();
        let sealed = stacks.get(id)?.read(from, envelope::DEFAULT_LIMIT).ok()?;
        let other = stacks
            .entry(other.clone())
            .or_insert_with(|| MemoryStorage::new(other.clone()));
        other.create(to, &sealed).ok().map(drop)
    }
}

impl WrongBackend {
    /// Writes without a look at what is current or stored, `step` days after the last time.
    fn write_after(&self, step: i64, state: &State) -> Result<Revision, Error> {
        if self.slip != Slip::TakesAnyStack {
            state.check_stack(self.id())?;
        }
        let days = self.clock.fetch_add(step, Ordering::SeqCst);
        let revision = Revision::at(OffsetDateTime::UNIX_EPOCH + Duration::days(30_000 + days))?;
        let mut plaintext = Vec::new();
        state.encode(&mut plaintext)?;
        let subject = Subject {
            payload: State::PAYLOAD,
            id: self.id(),
            revision: &revision,
        };
        let provenance = Provenance::new();
        let origin = Origin::new(&provenance, OffsetDateTime::UNIX_EPOCH);
        let sealed = envelope::seal(&Keyring::from(Noop), subject, &origin, &plaintext)?;
        let _ = self.store.storage().create(&revision, &sealed)?;
        Ok(revision)
    }
}

impl WrongBackend {
    fn get_wherever_it_lies(&self, rev: &Revision) -> Result<State, Error> {
        let limit = envelope::DEFAULT_LIMIT;
        let sealed = self.store.storage().read(rev, limit)?;
        let header = envelope::header(&sealed)?;
        let (id, revision) = (header.stack.unwrap().parse()?, header.revision.unwrap().parse()?);
        let subject = Subject {
            payload: State::PAYLOAD,
            id: &id,
            revision: &revision,
        };
        State::decode(&envelope::open(&Keyring::from(Noop), subject, sealed, limit)?)
    }
}

impl Backend for WrongBackend {
    type Snapshot = State;

    fn id(&self) -> &StackId {
        self.store.id()
    }

    fn head(&self) -> Result<(Revision, State), Error> {
        self.store.head()
    }

    fn current(&self) -> Result<State, Error> {
        let state = self.store.current()?;
        match self.slip {
            Slip::ReadsCurrentOnce => Ok(self.read.get_or_init(|| state).clone()),
            _ => Ok(state),
        }
    }

    fn current_rev(&self) -> Result<Revision, Error> {
        self.store.current_rev()
    }

    fn get(&self, rev: &Revision) -> Result<State, Error> {
        match self.slip {
            Slip::TakesTheMisplaced => self.get_wherever_it_lies(rev),
            _ => self.store.get(rev),
        }
    }

    fn write(&self, state: &State, options: &WriteOptions) -> Result<Revision, Error> {
        match self.slip {
            Slip::NamesByTheClock => self.write_after(-1, state),
            Slip::ExistsIsDone | Slip::TakesAnyStack => self.write_after(1, state),
            _ => self.store.write(state, options),
        }
    }

    fn set_current(&self, rev: &Revision) -> Result<(), Error> {
        self.store.set_current(rev)
    }

    fn compare_and_set_current(
        &self,
        expect: Expect<'_>,
        rev: &Revision,
        held: Option<&dyn Lock>,
    ) -> Result<(), Error> {
        let expect = match (self.slip, expect) {
            (Slip::NoneIsNoExpectation, Expect::Exactly(None)) => Expect::Anything,
            _ => expect,
        };
        self.store.compare_and_set_current(expect, rev, held)
    }

    fn list(&self) -> Result<Vec<Revision>, Error> {
        let mut listed = self.store.list()?;
        if self.slip == Slip::ListsNewestFirst {
            listed.reverse();
        }
        Ok(listed)
    }

    fn delete(&self, rev: &Revision, held: Option<&dyn Lock>) -> Result<(), Error> {
        self.store.delete(rev, held)
    }

    fn lock(&self, operation: &str, wait: &Wait) -> Result<Box<dyn Lock>, Error> {
        if self.slip == Slip::DoesNotWait {
            return self.store.lock(operation, &Wait::none());
        }
        if self.slip == Slip::WaitsTooLong {
            let longer = Wait::at_most(std::time::Duration::from_secs(7));
            return self
                .store
                .lock(operation, &longer)
                .map_err(|error| match wait.is_cancelled() {
                    true => Error::new(ErrorKind::Cancelled, "as told by a wrong backend"),
                    false => error,
                });
        }
        let is_late = !wait.is_cancelled();
        self.store.lock(operation, wait).map_err(|error| match self.slip {
            Slip::CancelledIsLocked if is_late && error.kind() == &ErrorKind::Cancelled => {
                Error::other_holder(LockInfo::default())
            }
            _ => error,
        })
    }

    fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
        self.store.lock_status()
    }

    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        self.store.force_unlock(expected)
    }
}
