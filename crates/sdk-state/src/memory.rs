use crate::{
    Created, Error, ErrorKind, Expect, Holder, Liveness, Lock, LockInfo, LockStatus, LockToken, Prefix,
    Revision, StackId, Storage, TryLock,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A storage in memory, for tests: clones are handles to the same place.
///
/// It is stricter than the real ones, so that what passes over it relies on nothing but the contract: it lists newest
/// first, and accepts no revision twice even after it was removed. Nothing outlives the last handle, and the lock is not
/// [shared with children](Lock::share_with_children).
///
/// ```
/// use sdk_state::encrypt::Noop;
/// use sdk_state::{Backend as _, ErrorKind, MemoryStorage, Store, Wait};
///
/// # fn main() -> Result<(), sdk_state::Error> {
/// let storage = MemoryStorage::new("network/prod".parse()?);
/// let one: Store<_> = Store::new(storage.clone(), Noop);
/// let other: Store<_> = Store::new(storage.clone(), Noop);
/// let held = one.lock("apply", &Wait::none())?;
/// let refused = other.lock("apply", &Wait::none());
/// assert!(refused.is_err_and(|error| matches!(error.kind(), ErrorKind::Locked(_))));
///
/// // What a tool must be ready for: its predecessor died, and somebody damaged the pointer.
/// storage.kill_holder();
/// assert!(other.lock("apply", &Wait::none())?.took_over().is_some());
/// assert_eq!(held.check().map_err(|error| error.kind().clone()), Err(ErrorKind::LockLost));
/// storage.overwrite_pointer("");
/// assert!(one.head().is_err_and(|error| error.kind() == &ErrorKind::Damaged));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct MemoryStorage {
    id: StackId,
    place: Arc<Mutex<Place>>,
}

#[derive(Default)]
struct Place {
    snapshots: BTreeMap<Revision, Vec<u8>>,
    removed: Vec<Revision>,
    /// The bytes of the pointer, which a test may damage.
    current: Option<Vec<u8>>,
    lock: Option<LockStatus>,
}

/// Sealed bytes may be plaintext: none of them is printed.
impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place")
            .field("snapshots", &self.snapshots.keys())
            .field("lock", &self.lock)
            .finish_non_exhaustive()
    }
}

impl MemoryStorage {
    /// An empty place.
    pub fn new(id: StackId) -> Self {
        Self {
            id,
            place: Arc::default(),
        }
    }

    /// Puts `content` where the pointer is kept, as somebody who damages it would. See
    /// [`Revision::from_pointer`] for what is no damage.
    pub fn overwrite_pointer(&self, content: impl Into<Vec<u8>>) {
        self.place().current = Some(content.into());
    }

    /// Puts `content` where a snapshot is kept, whether there is one or not, as somebody who replaces it would.
    pub fn overwrite_snapshot(&self, rev: &Revision, content: impl Into<Vec<u8>>) {
        self.place().snapshots.insert(rev.clone(), content.into());
    }

    /// Lets the holder of the lock die: its lock stays, and the next one who asks takes it over. Nothing happens if nobody
    /// holds it.
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
    fn pointer(&self) -> Result<Option<Revision>, Error> {
        self.current.as_deref().map(Revision::from_pointer).transpose()
    }

    fn snapshot(&self, rev: &Revision) -> Result<&[u8], Error> {
        match self.snapshots.get(rev).map(Vec::as_slice) {
            Some([]) => Err(Error::new(ErrorKind::Damaged, "the snapshot is empty").at_revision(rev)),
            Some(bytes) => Ok(bytes),
            None => Err(Error::not_found(rev)),
        }
    }

    fn demand_lock(&self, held: Option<&LockToken>) -> Result<(), Error> {
        match held {
            Some(token) if !self.is_held_by(token) => Err(Error::lock_lost()),
            _ => Ok(()),
        }
    }

    fn is_held_by(&self, token: &LockToken) -> bool {
        self.lock
            .as_ref()
            .is_some_and(|status| status.info.token.as_ref() == Some(token))
    }
}

impl Storage for MemoryStorage {
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

    fn replace(&self, rev: &Revision, sealed: &[u8]) -> Result<(), Error> {
        match self.place().snapshots.get_mut(rev) {
            Some(bytes) if !sealed.is_empty() => {
                *bytes = sealed.to_vec();
                Ok(())
            }
            _ => Err(Error::not_found(rev)),
        }
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

    fn remove(&self, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error> {
        let mut place = self.place();
        place.demand_lock(held)?;
        if place.pointer()?.as_ref() == Some(rev) {
            return Err(Error::new(
                ErrorKind::RevisionIsCurrent,
                "the current revision is not deleted: move `current` first",
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

    fn current(&self) -> Result<Option<Revision>, Error> {
        self.place().pointer()
    }

    fn set_current(&self, expect: Expect<'_>, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error> {
        let mut place = self.place();
        if place.snapshots.get(rev).is_none_or(Vec::is_empty) {
            return Err(Error::not_found(rev));
        }
        place.demand_lock(held)?;
        if let Expect::Exactly(expected) = expect {
            let found = place.pointer()?;
            if found.as_ref() != expected {
                return Err(Error::current_moved(expected.cloned(), found));
            }
        }
        place.current = Some(format!("{rev}\n").into_bytes());
        Ok(())
    }

    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error> {
        let mut place = self.place();
        let previous = match &place.lock {
            Some(status) if status.liveness != Liveness::Dead => {
                return Ok(TryLock::Busy {
                    info: Box::new(status.info.clone()),
                    poll: Duration::from_millis(1),
                });
            }
            previous => previous.as_ref().map(|status| status.info.clone()),
        };
        let token = LockToken::generate()?;
        let info = LockInfo::of(holder, token.clone());
        place.lock = Some(LockStatus::new(info.clone(), Liveness::Alive));
        Ok(TryLock::Held(Box::new(MemoryLock {
            storage: self.clone(),
            token,
            info,
            previous,
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
            return Err(Error::other_holder(status.info.clone()));
        }
        Ok(place.lock.take().map(|status| status.info))
    }
}

#[derive(Debug)]
struct MemoryLock {
    storage: MemoryStorage,
    token: LockToken,
    info: LockInfo,
    previous: Option<LockInfo>,
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
        self.storage.place().demand_lock(Some(&self.token))
    }

    fn share_with_children(&self) -> Result<(), Error> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "a lock in memory is not shared with other processes",
        ))
    }

    fn unlock(self: Box<Self>) -> Result<(), Error> {
        self.check()
        // Dropping it gives it back.
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        let mut place = self.storage.place();
        if place.is_held_by(&self.token) {
            place.lock = None;
        }
    }
}
