use crate::{
    Appended, Backend, Catalog, Created, Error, ErrorKind, Expect, Holder, Irregularity, Liveness, Lock,
    LockInfo, LockStatus, LockToken, Pointer, Prefix, Revision, StackId, TryLock,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A backend in memory, for tests. Clones are handles to the same data.
///
/// It is stricter than real backends, so that code that works with it relies on the contract alone: it lists the newest
/// revision first, never accepts a revision twice, even after its removal, and numbers the moves of `current`. No data
/// outlives the last handle, and the lock is not [shared with children](Lock::share_with_children).
///
/// ```
/// use sdk_state::encrypt::Noop;
/// use sdk_state::{MemoryBackend, Store, Wait};
///
/// # fn main() -> Result<(), sdk_state::Error> {
/// let backend = MemoryBackend::new("network/prod".parse()?);
/// let one = Store::new(backend.clone(), Noop);
/// let other = Store::new(backend.clone(), Noop);
/// let held = one.lock("apply", Wait::none())?;
/// assert!(other.lock("apply", Wait::none()).is_err_and(|error| error.is_locked()));
///
/// // What a tool must be ready for: its predecessor died, and somebody damaged the pointer.
/// backend.kill_holder();
/// assert!(other.lock("apply", Wait::none())?.took_over().is_some());
/// assert!(held.check().is_err_and(|error| error.is_lock_lost()));
/// backend.overwrite_pointer("");
/// assert!(one.head().is_err_and(|error| error.is_damaged()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct MemoryBackend {
    id: StackId,
    place: Arc<Mutex<Place>>,
}

#[derive(Default)]
struct Place {
    snapshots: BTreeMap<Revision, Vec<u8>>,
    removed: Vec<Revision>,
    /// The bytes of the pointer, which a test may damage.
    current: Option<Vec<u8>>,
    moves: u64,
    journal: Option<Journal>,
    lock: Option<LockStatus>,
}

struct Journal {
    base: Pointer,
    records: Vec<Vec<u8>>,
}

/// Sealed bytes may be plaintext, so none of them are printed.
impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place")
            .field("snapshots", &self.snapshots.keys())
            .field("lock", &self.lock)
            .finish_non_exhaustive()
    }
}

impl MemoryBackend {
    /// Makes an empty place.
    pub fn new(id: StackId) -> Self {
        Self {
            id,
            place: Arc::default(),
        }
    }

    /// Overwrites the pointer, as somebody who damages it would. [`Revision::from_pointer`] says which content is valid.
    pub fn overwrite_pointer(&self, content: impl Into<Vec<u8>>) {
        self.place().current = Some(content.into());
    }

    /// Overwrites a snapshot, whether or not it exists, as somebody who replaces it would.
    pub fn overwrite_snapshot(&self, rev: &Revision, content: impl Into<Vec<u8>>) {
        self.place().snapshots.insert(rev.clone(), content.into());
    }

    /// Lets the holder of the lock die: its lock stays, and the next caller takes it over. Does nothing if nobody holds the
    /// lock.
    pub fn kill_holder(&self) {
        if let Some(status) = &mut self.place().lock {
            status.liveness = Liveness::Dead;
        }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn is_untouched(&self) -> bool {
        self.snapshots.is_empty() && self.current.is_none() && self.lock.is_none()
    }

    fn pointer(&self) -> Result<Option<Pointer>, Error> {
        let revision = self.current.as_deref().map(Revision::from_pointer).transpose()?;
        Ok(revision.map(|revision| Pointer::new(revision, self.moves)))
    }

    fn snapshot(&self, rev: &Revision) -> Result<&[u8], Error> {
        match self.snapshots.get(rev).map(Vec::as_slice) {
            Some([]) => Err(Error::new(ErrorKind::Damaged, "the snapshot is empty").at_revision(rev)),
            Some(bytes) => Ok(bytes),
            None => Err(Error::not_found(rev)),
        }
    }

    /// The records of the journal of `base`, if `base` is current.
    fn records(&self, base: &Pointer) -> Result<&[Vec<u8>], Error> {
        let is_current = self.pointer()?.as_ref() == Some(base);
        let live = self
            .journal
            .as_ref()
            .filter(|journal| is_current && journal.base == *base);
        Ok(live.map_or(&[], |journal| &journal.records))
    }

    /// The base of the journal, if it is a revision that could be made current.
    fn endangered(&self) -> Option<Pointer> {
        let base = &self.journal.as_ref()?.base;
        let is_there = self
            .snapshots
            .get(&base.revision)
            .is_some_and(|bytes| !bytes.is_empty());
        is_there.then(|| base.clone())
    }

    fn demand_token(&self, token: &LockToken) -> Result<(), Error> {
        match &self.lock {
            Some(status) if status.info.token.as_ref() == Some(token) => Ok(()),
            _ => Err(Error::lock_lost()),
        }
    }

    fn demand_no_holder(&self) -> Result<(), Error> {
        match &self.lock {
            Some(status) if status.liveness != Liveness::Dead => Err(Error::locked(status.info.clone())),
            _ => Ok(()),
        }
    }
}

impl Backend for MemoryBackend {
    fn id(&self) -> &StackId {
        &self.id
    }

    fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error> {
        if !rev.is_writable() || sealed.is_empty() {
            return Err(
                Error::new(ErrorKind::InvalidName, "no snapshot can be written here").at_revision(rev),
            );
        }
        let mut place = self.place();
        if place.snapshots.contains_key(rev) || place.removed.contains(rev) {
            return Ok(Created::Exists);
        }
        place.snapshots.insert(rev.clone(), sealed.to_vec());
        Ok(Created::Created)
    }

    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
        let place = self.place();
        let bytes = place.snapshot(rev)?;
        if bytes.len() as u64 > limit {
            return Err(crate::envelope::too_large(bytes.len() as u64, limit).at_revision(rev));
        }
        Ok(bytes.to_vec())
    }

    fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
        let place = self.place();
        let bytes = place.snapshot(rev)?;
        Ok(Prefix {
            bytes: bytes[..most.min(bytes.len())].to_vec(),
            stored_bytes: bytes.len() as u64,
        })
    }

    fn replace(&self, rev: &Revision, sealed: &[u8], token: &LockToken) -> Result<(), Error> {
        let mut place = self.place();
        place.demand_token(token)?;
        match place.snapshots.get_mut(rev) {
            Some(bytes) if !sealed.is_empty() => {
                *bytes = sealed.to_vec();
                Ok(())
            }
            _ => Err(Error::not_found(rev)),
        }
    }

    fn remove(&self, rev: &Revision, token: Option<&LockToken>) -> Result<(), Error> {
        let mut place = self.place();
        match token {
            Some(token) => place.demand_token(token)?,
            None => place.demand_no_holder()?,
        }
        if place.pointer()?.is_some_and(|pointer| pointer.revision == *rev) {
            return Err(Error::new(
                ErrorKind::RevisionIsCurrent,
                "the current revision cannot be deleted: make another one current first",
            )
            .at_revision(rev));
        }
        if place.snapshots.remove(rev).is_some() {
            place.removed.push(rev.clone());
        }
        Ok(())
    }

    fn list(&self) -> Result<Vec<Revision>, Error> {
        Ok(self.place().snapshots.keys().rev().cloned().collect())
    }

    fn inspect(&self) -> Result<Vec<Irregularity>, Error> {
        Ok(Vec::new())
    }

    fn current(&self) -> Result<Option<Pointer>, Error> {
        self.place().pointer()
    }

    fn set_current(&self, expect: Expect<'_>, rev: &Revision, token: &LockToken) -> Result<Pointer, Error> {
        let mut place = self.place();
        if place.snapshots.get(rev).is_none_or(Vec::is_empty) {
            return Err(Error::not_found(rev));
        }
        place.demand_token(token)?;
        if expect.reads_pointer() {
            expect.check(place.pointer()?.as_ref())?;
        }
        match (place.pointer(), place.endangered()) {
            (Ok(Some(pointer)), _) if pointer.revision == *rev => return Ok(pointer),
            (Err(_), Some(base)) if base.revision != *rev => {
                return Err(Error::new(
                    ErrorKind::Damaged,
                    "the pointer is damaged, and the changes of a run stand on this revision: \
                     make it current first, which keeps them",
                )
                .at_revision(&base.revision));
            }
            (Err(_), Some(base)) => {
                place.current = Some(format!("{rev}\n").into_bytes());
                return Ok(base);
            }
            _ => {}
        }
        place.current = Some(format!("{rev}\n").into_bytes());
        place.moves += 1;
        place.journal = None;
        Ok(Pointer::new(rev.clone(), place.moves))
    }

    fn append(
        &self,
        base: &Pointer,
        index: u64,
        record: &[u8],
        token: &LockToken,
    ) -> Result<Appended, Error> {
        let mut place = self.place();
        place.demand_token(token)?;
        Expect::Pointer(base).check(place.pointer()?.as_ref())?;
        let records = place.records(base)?;
        if records.len() as u64 != index {
            let is_last = records
                .len()
                .checked_sub(1)
                .is_some_and(|last| last as u64 == index);
            let is_repeated = is_last && records.last().is_some_and(|last| last == record);
            return Ok(if is_repeated {
                Appended::Appended
            } else {
                Appended::Taken
            });
        }
        match &mut place.journal {
            Some(journal) if index > 0 => journal.records.push(record.to_vec()),
            journal => {
                *journal = Some(Journal {
                    base: base.clone(),
                    records: vec![record.to_vec()],
                });
            }
        }
        Ok(Appended::Appended)
    }

    fn read_journal(&self, base: &Pointer, from: u64, most: usize) -> Result<Vec<Vec<u8>>, Error> {
        let place = self.place();
        let mut room = most;
        let records = place.records(base)?.iter().skip(from as usize).enumerate();
        let page = records.take_while(|(position, record)| {
            *position == 0 || room.checked_sub(record.len()).map(|rest| room = rest).is_some()
        });
        Ok(page.map(|(_, record)| record.clone()).collect())
    }

    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error> {
        let mut place = self.place();
        let previous = match &place.lock {
            Some(status) if status.liveness != Liveness::Dead => {
                return Ok(TryLock::Busy {
                    status: Box::new(status.clone()),
                    poll: Duration::from_millis(1),
                });
            }
            previous => previous.as_ref().map(|status| status.info.clone()),
        };
        let token = LockToken::generate()?;
        let info = LockInfo::new(holder, token.clone());
        place.lock = Some(LockStatus::new(info.clone(), Liveness::Alive));
        Ok(TryLock::Held(Box::new(MemoryLock {
            backend: self.clone(),
            token,
            info,
            previous,
            is_lost: AtomicBool::new(false),
        })))
    }

    fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
        Ok(self.place().lock.clone())
    }

    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        let mut place = self.place();
        if let (Some(expected), Some(status)) = (expected, &place.lock)
            && status.info.token.as_ref() != Some(expected)
        {
            return Err(Error::locked(status.info.clone()));
        }
        Ok(place.lock.take().map(|status| status.info))
    }
}

#[derive(Debug)]
struct MemoryLock {
    backend: MemoryBackend,
    token: LockToken,
    info: LockInfo,
    previous: Option<LockInfo>,
    is_lost: AtomicBool,
}

impl Lock for MemoryLock {
    fn info(&self) -> &LockInfo {
        &self.info
    }

    fn token(&self) -> Result<&LockToken, Error> {
        Ok(&self.token)
    }

    fn took_over(&self) -> Option<&LockInfo> {
        self.previous.as_ref()
    }

    fn check(&self) -> Result<(), Error> {
        let held = self.backend.place().demand_token(&self.token);
        if held.is_err() {
            self.is_lost.store(true, Ordering::Relaxed);
        }
        held
    }

    fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }

    fn share_with_children(&self) -> Result<(), Error> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "a lock in memory cannot be shared with other processes",
        ))
    }

    fn unlock(self: Box<Self>) -> Result<(), Error> {
        self.check()
        // Dropping the lock releases it.
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        let mut place = self.backend.place();
        if place.demand_token(&self.token).is_ok() {
            place.lock = None;
        }
    }
}

/// A catalog in memory, for tests. Clones show the same stacks.
#[derive(Debug, Clone, Default)]
pub struct MemoryCatalog(Arc<Mutex<BTreeMap<StackId, MemoryBackend>>>);

impl MemoryCatalog {
    /// Makes an empty catalog.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the backend of one stack, with its hooks for tests.
    pub fn backend(&self, id: &StackId) -> MemoryBackend {
        let new = || MemoryBackend::new(id.clone());
        self.stacks_by_id().entry(id.clone()).or_insert_with(new).clone()
    }

    fn stacks_by_id(&self) -> MutexGuard<'_, BTreeMap<StackId, MemoryBackend>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Catalog for MemoryCatalog {
    fn name(&self) -> String {
        "memory:".into()
    }

    fn open(&self, id: &StackId) -> Result<Box<dyn Backend>, Error> {
        Ok(Box::new(self.backend(id)))
    }

    fn stacks(&self) -> Result<Vec<StackId>, Error> {
        let stacks = self.stacks_by_id();
        let touched = stacks
            .iter()
            .filter(|(_, backend)| !backend.place().is_untouched());
        Ok(touched.map(|(id, _)| id.clone()).collect())
    }

    fn remove(&self, id: &StackId) -> Result<(), Error> {
        if let Some(backend) = self.stacks_by_id().get(id) {
            let mut place = backend.place();
            place.demand_no_holder()?;
            *place = Place::default();
        }
        Ok(())
    }
}
