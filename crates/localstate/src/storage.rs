use crate::directory::StackDirectory;
use crate::failure::Failure;
use crate::{lock, pointer, snapshots, temporary};
use sdk_state::{
    Created, Error, Expect, Holder, LockInfo, LockStatus, LockToken, Prefix, Revision, StackId, Storage,
    TryLock,
};
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between two looks for stale temporaries.
const CLEANING_INTERVAL: Duration = Duration::from_secs(600);

/// One stack in a directory: `<root>/<factory>/<stack>/{current, lock, snapshots/<rev>.json.enc}`.
///
/// Opening it touches nothing; the first write or lock makes the directories. A full disk, a denied permission and their
/// like are [`Io`](sdk_state::ErrorKind::Io) with a hint, and change nothing.
///
/// Once a flush of the snapshots' names has failed, this handle moves `current` to nothing but what its own last write made
/// durable; everything else is [`DurabilityUnknown`](sdk_state::ErrorKind::DurabilityUnknown), since no later flush proves
/// anything about older names. Open a new one once the disk has been checked.
///
/// ```
/// use localstate::LocalStorage;
/// use sdk_state::encrypt::Noop;
/// use sdk_state::{Backend as _, State, Store};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let root = directory.path().join("state");
/// let store = Store::<_, State>::new(LocalStorage::new(&root, "network/prod".parse()?), Noop);
/// assert_eq!(store.list()?, []);
/// assert!(!root.exists(), "reading makes nothing");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LocalStorage {
    root: PathBuf,
    id: StackId,
    /// Kept open once the directories have been made, and their existence made durable, through this handle.
    directory: Mutex<Option<Arc<StackDirectory>>>,
    flushes: Mutex<Flushes>,
    last_cleaning: Mutex<Option<Instant>>,
    #[cfg(test)]
    filesystem: Option<crate::filesystem::Filesystem>,
}

/// What this handle knows of the durability of revisions.
#[derive(Debug, Default)]
pub(crate) struct Flushes {
    /// The last revision that a write through this handle made durable, and its file. While that is open no other file
    /// gets its number, so it can be told from one that was given the same name after this one was deleted.
    pub(crate) durable: Option<(Revision, Arc<File>)>,
    /// Revisions that are visible and may not be durable. A second flush would wrongly say that they are.
    pub(crate) unknown: BTreeSet<Revision>,
    /// Whether a flush of the snapshots has ever failed: no later one proves anything about older revisions.
    pub(crate) failed: bool,
}

impl Flushes {
    /// Remembers for `rev` whether the names of the snapshots became durable.
    pub(crate) fn note(&mut self, flushed: io::Result<()>, rev: &Revision) -> Result<(), Failure> {
        flushed.map_err(|source| {
            self.failed = true;
            self.unknown.insert(rev.clone());
            Failure::DurabilityUnknown {
                rev: rev.clone(),
                source: Some(source),
            }
        })
    }
}

impl LocalStorage {
    /// The place of the stack `id` under the directory `root`, which may be a symbolic link and may not exist yet.
    pub fn new(root: impl Into<PathBuf>, id: StackId) -> Self {
        Self {
            root: root.into(),
            id,
            directory: Mutex::default(),
            flushes: Mutex::default(),
            last_cleaning: Mutex::default(),
            #[cfg(test)]
            filesystem: None,
        }
    }

    /// The same on what is taken for such a filesystem.
    #[cfg(test)]
    pub(crate) fn on(
        filesystem: crate::filesystem::Filesystem,
        root: impl Into<PathBuf>,
        id: StackId,
    ) -> Self {
        Self {
            filesystem: Some(filesystem),
            ..Self::new(root, id)
        }
    }

    /// What exists, for a reader; `None` when the stack does not.
    fn existing(&self) -> Result<Option<Arc<StackDirectory>>, Failure> {
        if let Some(directory) = self.kept() {
            return Ok(Some(directory));
        }
        let opened = StackDirectory::open(&self.root, self.id.factory(), self.id.stack())?;
        Ok(opened.map(|directory| Arc::new(self.as_tested(directory))))
    }

    /// The directories, made where they are missing, for a writer.
    fn made(&self) -> Result<Arc<StackDirectory>, Failure> {
        if let Some(directory) = self.kept() {
            return Ok(directory);
        }
        let made = StackDirectory::make(&self.root, self.id.factory(), self.id.stack())?;
        let made = Arc::new(self.as_tested(made));
        *guard(&self.directory) = Some(Arc::clone(&made));
        Ok(made)
    }

    fn kept(&self) -> Option<Arc<StackDirectory>> {
        guard(&self.directory)
            .as_ref()
            .filter(|directory| directory.is_usable())
            .map(Arc::clone)
    }

    /// A directory is only read for cleaning where it is read or changed anyway, and not at every turn.
    fn clean_now_and_then(&self, directory: &StackDirectory) {
        let mut last = guard(&self.last_cleaning);
        if last.is_none_or(|last| last.elapsed() > CLEANING_INTERVAL) {
            *last = Some(Instant::now());
            drop(last);
            for directory_to_clean in [Some(&directory.stack), directory.snapshots()]
                .into_iter()
                .flatten()
            {
                // A courtesy to whoever reads the directory; it has no say in what the caller asked for.
                let _ = temporary::remove_stale(directory_to_clean, directory.filesystem);
            }
        }
    }

    #[cfg(test)]
    fn as_tested(&self, mut directory: StackDirectory) -> StackDirectory {
        directory.filesystem = self.filesystem.unwrap_or(directory.filesystem);
        directory
    }

    #[cfg(not(test))]
    fn as_tested(&self, directory: StackDirectory) -> StackDirectory {
        directory
    }
}

impl Storage for LocalStorage {
    fn id(&self) -> &StackId {
        &self.id
    }

    fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error> {
        // Before any directory is made: what is refused leaves nothing behind.
        if !rev.is_writable() {
            return Err(Failure::NotWritable(rev.clone()).into());
        }
        let directory = self.made()?;
        let created = snapshots::create(&directory, &self.flushes, rev, sealed)?;
        if created == Created::Exists {
            self.clean_now_and_then(&directory);
        }
        Ok(created)
    }

    fn replace(&self, rev: &Revision, sealed: &[u8]) -> Result<(), Error> {
        let Some(directory) = self.existing()? else {
            return Err(Failure::NoSuchRevision(rev.clone()).into());
        };
        Ok(snapshots::replace(&directory, &self.flushes, rev, sealed)?)
    }

    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
        let Some(directory) = self.existing()? else {
            return Err(Failure::NoSuchRevision(rev.clone()).into());
        };
        Ok(snapshots::read(&directory, rev, limit)?)
    }

    fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
        let Some(directory) = self.existing()? else {
            return Err(Failure::NoSuchRevision(rev.clone()).into());
        };
        Ok(snapshots::read_prefix(&directory, rev, most)?)
    }

    fn remove(&self, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error> {
        let Some(directory) = self.existing()? else {
            return match held {
                Some(_) => Err(Failure::LockLost.into()),
                None => Ok(()),
            };
        };
        snapshots::remove(&directory, rev, held)?;
        self.clean_now_and_then(&directory);
        Ok(())
    }

    fn list(&self) -> Result<Vec<Revision>, Error> {
        match self.existing()? {
            Some(directory) => Ok(snapshots::list(&directory)?),
            None => Ok(Vec::new()),
        }
    }

    fn current(&self) -> Result<Option<Revision>, Error> {
        match self.existing()? {
            Some(directory) => Ok(pointer::read(&directory.stack)?),
            None => Ok(None),
        }
    }

    fn set_current(&self, expect: Expect<'_>, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error> {
        let Some(directory) = self.existing()? else {
            return Err(Failure::NoSuchRevision(rev.clone()).into());
        };
        Ok(pointer::set(&directory, &self.flushes, expect, rev, held)?)
    }

    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error> {
        let directory = self.made()?;
        let answer = lock::try_lock(&directory, holder)?;
        if matches!(answer, TryLock::Held(_)) {
            self.clean_now_and_then(&directory);
        }
        Ok(answer)
    }

    fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
        match self.existing()? {
            Some(directory) => Ok(lock::status(&directory)?),
            None => Ok(None),
        }
    }

    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        match self.existing()? {
            Some(directory) => Ok(lock::force_unlock(&directory, expected)?),
            None => Ok(None),
        }
    }
}

/// What these mutexes guard is whole at every moment, so a thread that panicked with one did no harm.
pub(crate) fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::Filesystem;
    use sdk_state::ErrorKind;
    use std::fs;
    use std::path::Path;
    use time::OffsetDateTime;

    fn storage(root: &Path, filesystem: Filesystem) -> LocalStorage {
        LocalStorage::on(filesystem, root, StackId::new("network", "prod").unwrap())
    }

    fn revision(text: &str) -> Revision {
        text.parse().unwrap()
    }

    #[test]
    fn on_an_untrusted_filesystem_comparing_and_deleting_need_the_lock() {
        let root = tempfile::tempdir().unwrap();
        let storage = storage(root.path(), Filesystem::Untrusted);
        let (one, two) = (revision("2026-07-10T12:00:01Z"), revision("2026-07-10T12:00:02Z"));
        for rev in [&one, &two] {
            assert_eq!(storage.create(rev, b"sealed").unwrap(), Created::Created);
        }
        for error in [
            storage.remove(&one, None).unwrap_err(),
            storage
                .set_current(Expect::Exactly(None), &one, None)
                .unwrap_err(),
        ] {
            assert_eq!(error.kind(), &ErrorKind::Unsupported);
        }
        storage.set_current(Expect::Anything, &one, None).unwrap();

        let holder = Holder::new("test", OffsetDateTime::UNIX_EPOCH);
        let TryLock::Held(lock) = storage.try_lock(&holder).unwrap() else {
            panic!("nobody else locks");
        };
        let token = Some(lock.token().unwrap());
        storage
            .set_current(Expect::Exactly(Some(&one)), &two, token)
            .unwrap();
        storage.remove(&one, token).unwrap();
        assert_eq!(storage.list().unwrap(), [two]);
    }

    /// The handle of a directory outlives the directory: what is written through it would be lost.
    #[test]
    fn a_stack_that_was_removed_under_an_open_storage_is_made_anew() {
        let root = tempfile::tempdir().unwrap();
        let storage = storage(root.path(), Filesystem::Trusted);
        let rev = revision("2026-07-10T12:00:01Z");
        for removed in ["network", "network/prod", "network/prod/snapshots"] {
            assert_eq!(storage.create(&rev, b"sealed").unwrap(), Created::Created);
            storage.set_current(Expect::Anything, &rev, None).unwrap();
            fs::remove_dir_all(root.path().join(removed)).unwrap();
            assert_eq!(storage.list().unwrap(), [], "{removed}");
        }
        assert_eq!(storage.create(&rev, b"sealed").unwrap(), Created::Created);
        assert!(
            root.path()
                .join("network/prod/snapshots/2026-07-10T12:00:01Z.json.enc")
                .exists()
        );
    }

    /// The directories were made before the name was looked at.
    #[test]
    fn a_write_that_is_refused_makes_no_directory() {
        let root = tempfile::tempdir().unwrap();
        let storage = storage(root.path(), Filesystem::Trusted);
        let refused = storage.create(&revision("not-a-moment"), b"sealed");
        assert_eq!(refused.unwrap_err().kind(), &ErrorKind::InvalidName);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_holder_whose_stack_was_removed_has_lost_the_lock() {
        let root = tempfile::tempdir().unwrap();
        let storage = storage(root.path(), Filesystem::Trusted);
        let holder = Holder::new("test", OffsetDateTime::UNIX_EPOCH);
        let TryLock::Held(old) = storage.try_lock(&holder).unwrap() else {
            panic!("nobody else locks");
        };
        let rev = revision("2026-07-10T12:00:01Z");
        let lost = |result: Result<(), Error>| assert_eq!(result.unwrap_err().kind(), &ErrorKind::LockLost);
        fs::remove_dir_all(root.path().join("network/prod/snapshots")).unwrap();
        fs::remove_file(root.path().join("network/prod/lock")).unwrap();
        lost(storage.remove(&rev, Some(old.token().unwrap())));
        fs::remove_dir_all(root.path().join("network")).unwrap();
        lost(storage.remove(&rev, Some(old.token().unwrap())));
        let TryLock::Held(new) = storage.try_lock(&holder).unwrap() else {
            panic!("nobody else locks");
        };
        lost(storage.remove(&rev, Some(old.token().unwrap())));
        lost(old.check());
        lost(old.unlock());
        new.unlock().unwrap();
    }

    /// A second flush would say yes without having written anything: so an unknown durability stays unknown.
    #[test]
    fn a_revision_of_unknown_durability_is_not_pointed_at_until_the_store_is_opened_anew() {
        let root = tempfile::tempdir().unwrap();
        let storage = storage(root.path(), Filesystem::Trusted);
        let (one, two) = (revision("2026-07-10T12:00:01Z"), revision("2026-07-10T12:00:02Z"));
        for rev in [&one, &two] {
            assert_eq!(storage.create(rev, b"sealed").unwrap(), Created::Created);
        }
        let failed = guard(&storage.flushes).note(Err(io::Error::other("no")), &one);
        let kind = ErrorKind::DurabilityUnknown { rev: one.clone() };
        assert_eq!(Error::from(failed.unwrap_err()).kind(), &kind);
        let error = storage.set_current(Expect::Anything, &one, None).unwrap_err();
        assert_eq!(error.kind(), &kind);
        assert_eq!(storage.current().unwrap(), None);
        // What was durable before the failure still is.
        storage.set_current(Expect::Anything, &two, None).unwrap();
        let anew = LocalStorage::new(root.path(), storage.id);
        anew.set_current(Expect::Anything, &one, None).unwrap();
    }

    /// A writer remembered by its name that its last revision is durable, and did not flush before it pointed there.
    /// Another process had deleted the revision, and given its name to one that it had not flushed: after a power cut
    /// `current` named nothing.
    #[test]
    fn a_name_that_was_given_again_is_not_taken_for_the_revision_that_this_handle_made_durable() {
        let root = tempfile::tempdir().unwrap();
        let (storage, other) = (
            storage(root.path(), Filesystem::Trusted),
            storage(root.path(), Filesystem::Trusted),
        );
        let rev = revision("2026-07-10T12:00:01Z");
        let create = |storage: &LocalStorage, rev: &Revision| {
            assert_eq!(storage.create(rev, b"sealed").unwrap(), Created::Created);
        };
        create(&storage, &rev);
        // From now on nothing but what this handle has flushed itself counts as durable.
        guard(&storage.flushes).failed = true;
        storage.set_current(Expect::Anything, &rev, None).unwrap();
        let next = revision("2026-07-10T12:00:02Z");
        create(&other, &next);
        other.set_current(Expect::Anything, &next, None).unwrap();
        other.remove(&rev, None).unwrap();
        create(&other, &rev);
        let error = storage.set_current(Expect::Anything, &rev, None).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::DurabilityUnknown { rev });
        assert_eq!(other.current().unwrap(), Some(next));
    }
}
