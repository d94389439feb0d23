use crate::appender::{Addition, Appender};
use crate::failure::Failure;
use crate::snapshots::{self, Flushes};
use crate::stack::StackDirectory;
use crate::{inspection, journal, lock, pointer};
use rustix::io::Errno;
use sdk_state::{
    Appended, Backend, Created, Error, Expect, Holder, Irregularity, LockInfo, LockStatus, LockToken,
    MAX_RECORD_BYTES, Pointer, Prefix, Revision, StackId, TryLock,
};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How often a call looks again for a stack that somebody moves.
const ATTEMPTS: u32 = 8;

/// Returns whether the path still leads to all directories that a call uses.
type IsAtItsPath = fn(&StackDirectory) -> Result<bool, Failure>;

/// One stack in a directory: `<root>/<factory>/<stack>/{current, journal, lock, snapshots/<rev>.json.enc}`.
///
/// Opening it touches nothing; the first write or lock makes the directories. They stay open, and each use first checks that
/// the path still leads to them. If somebody has moved or removed them, the holder of a lock gets
/// [`LockLost`](sdk_state::ErrorKind::LockLost), and every other call uses the directories that the path leads to now. If they
/// are moved during a change, the change is [`OutcomeUnknown`](sdk_state::ErrorKind::OutcomeUnknown); a write is made again
/// where the path leads, and may leave its first file in the directories that were moved.
///
/// On a filesystem that is blind to case, a change needs the factory, the stack and the revision as they are spelled there;
/// reading does not.
///
/// A full disk, a denied permission and the like are [`Io`](sdk_state::ErrorKind::Io) with a hint, and change nothing. If a
/// file server has a lease on a file, a call waits for the file, up to five seconds.
///
/// Once a flush has failed, this handle no longer trusts that older changes are durable: it moves `current` only to the
/// revision that its own last write made durable, and deletes nothing
/// ([`OutcomeUnknown`](sdk_state::ErrorKind::OutcomeUnknown) or [`Io`](sdk_state::ErrorKind::Io)), because the kernel reports
/// a failed flush once and drops what it could not write. Open a new handle once the disk has been checked.
///
/// The journal is one file, to which a handle appends with one write and one flush. After a failed flush the handle appends nothing
/// more to that journal ([`OutcomeUnknown`](sdk_state::ErrorKind::OutcomeUnknown)). If the journal is not a regular file, it is
/// [`Damaged`](sdk_state::ErrorKind::Damaged), even for a move of `current`. On an untrusted filesystem no journal is begun: appending is
/// [`Unsupported`](sdk_state::ErrorKind::Unsupported). A journal without a pointer is
/// [`Damaged`](sdk_state::ErrorKind::Damaged), because the pointer was lost.
///
/// The pointer that `current` returns may not be durable yet if another process moved it a moment ago. Moving `current` to
/// the revision that it names already makes both durable. A directory in the place of `current` is
/// [`Damaged`](sdk_state::ErrorKind::Damaged); a move replaces it, and keeps its content under a name that begins with
/// `.current.`.
///
/// ```
/// use localstate::LocalBackend;
/// use sdk_state::Store;
/// use sdk_state::encrypt::Noop;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let root = directory.path().join("state");
/// let store = Store::new(LocalBackend::new(&root, "network/prod".parse()?), Noop);
/// assert_eq!(store.list()?, []);
/// assert!(!root.exists(), "reading makes nothing");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LocalBackend {
    root: PathBuf,
    id: StackId,
    /// The directories that were last found at the path.
    directory: Mutex<Option<Arc<StackDirectory>>>,
    flushes: Flushes,
    appender: Appender,
    #[cfg(test)]
    filesystem: Option<crate::filesystem::Filesystem>,
}

impl LocalBackend {
    /// Makes a backend for the stack `id` under the directory `root`, which may be a symbolic link and may not exist yet. A
    /// relative `root` is resolved now, against the current working directory.
    pub fn new(root: impl AsRef<Path>, id: StackId) -> Self {
        Self {
            root: absolute(root.as_ref()),
            id,
            directory: Mutex::default(),
            flushes: Flushes::default(),
            appender: Appender::default(),
            #[cfg(test)]
            filesystem: None,
        }
    }

    /// The same, as if the directory were on this kind of filesystem.
    #[cfg(test)]
    pub(crate) fn on(filesystem: crate::filesystem::Filesystem, root: impl AsRef<Path>, id: StackId) -> Self {
        Self {
            filesystem: Some(filesystem),
            ..Self::new(root, id)
        }
    }

    /// The directories, if they exist; `None` if the stack does not exist.
    fn existing(&self) -> Result<Option<Arc<StackDirectory>>, Failure> {
        if let Some(directory) = self.kept(StackDirectory::is_at_its_path)? {
            return Ok(Some(directory));
        }
        let opened = StackDirectory::open(&self.root, &self.id)?;
        Ok(opened.map(|opened| self.keep(opened)))
    }

    /// The directories, made where they are missing.
    fn made(&self, is_at_its_path: IsAtItsPath) -> Result<Arc<StackDirectory>, Failure> {
        match self.kept(is_at_its_path)? {
            Some(directory) if directory.is_durable => Ok(directory),
            _ => Ok(self.keep(StackDirectory::make(&self.root, &self.id)?)),
        }
    }

    fn kept(&self, is_at_its_path: IsAtItsPath) -> Result<Option<Arc<StackDirectory>>, Failure> {
        let kept = self.guard().clone();
        match kept {
            Some(kept) if is_at_its_path(&kept)? => Ok(Some(kept)),
            _ => Ok(None),
        }
    }

    fn keep(&self, directory: StackDirectory) -> Arc<StackDirectory> {
        let directory = Arc::new(self.as_tested(directory));
        *self.guard() = Some(Arc::clone(&directory));
        directory
    }

    fn guard(&self) -> MutexGuard<'_, Option<Arc<StackDirectory>>> {
        // The value is consistent at every moment, so a thread that panicked while holding it did no harm.
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Runs `operation` in the existing directories, and again in the new ones if somebody moves them meanwhile; runs
    /// `absent` if the stack does not exist.
    fn in_existing<T>(
        &self,
        absent: impl Fn() -> Result<T, Failure>,
        mut operation: impl FnMut(&Arc<StackDirectory>) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        repeat(|| match self.existing()? {
            Some(directory) => operation(&directory),
            None => absent(),
        })
    }

    /// Runs `operation` in the directories, and makes those that are missing.
    fn in_made<T>(
        &self,
        is_at_its_path: IsAtItsPath,
        operation: impl Fn(&Arc<StackDirectory>) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        repeat(|| {
            let directory = self.made(is_at_its_path)?;
            operation(&directory).map_err(|failure| match failure {
                // No file can be made in a directory that was removed.
                Failure::Io { source, .. }
                    if is_not_found(&source) && is_at_its_path(&directory).is_ok_and(|is| !is) =>
                {
                    Failure::DirectoryMoved(directory.stack.path().into())
                }
                other => other,
            })
        })
    }

    /// Runs `operation`, which changes something, in the existing directories.
    fn change_existing<T>(
        &self,
        absent: impl Fn() -> Result<T, Failure>,
        operation: impl Fn(&StackDirectory) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        self.in_existing(absent, |directory| {
            directory.demand_spelling()?;
            operation(directory)
        })
    }

    /// Runs `operation` as the holder of the lock: if the stack is not at the path, the lock is lost.
    fn as_holder<T>(&self, operation: impl Fn(&StackDirectory) -> Result<T, Failure>) -> Result<T, Error> {
        self.change_existing(|| Err(Failure::LockLost), operation)
    }
}

/// Makes the path absolute: a relative one would lead elsewhere after the next `chdir`. A path that cannot be made absolute
/// is refused when it is used.
pub(crate) fn absolute(root: &Path) -> PathBuf {
    std::path::absolute(root).unwrap_or_else(|_| root.into())
}

fn repeat<T>(mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, Error> {
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(Failure::DirectoryMoved(_)) => {}
            result => return Ok(result?),
        }
    }
    Ok(attempt()?)
}

fn is_not_found(source: &io::Error) -> bool {
    source.raw_os_error() == Some(Errno::NOENT.raw_os_error())
}

impl Backend for LocalBackend {
    fn id(&self) -> &StackId {
        &self.id
    }

    fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error> {
        // Before any directory is made: a refused write leaves nothing behind.
        if !rev.is_writable() {
            return Err(Failure::NotWritable(rev.clone()).into());
        }
        self.in_made(StackDirectory::is_at_its_path, |directory| {
            snapshots::create(directory, &self.flushes, rev, sealed)
        })
    }

    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
        self.in_existing(
            || Err(Failure::NoSuchRevision(rev.clone())),
            |directory| snapshots::read(directory, rev, limit),
        )
    }

    fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
        self.in_existing(
            || Err(Failure::NoSuchRevision(rev.clone())),
            |directory| snapshots::read_prefix(directory, rev, most),
        )
    }

    fn replace(&self, rev: &Revision, sealed: &[u8], token: &LockToken) -> Result<(), Error> {
        self.as_holder(|directory| snapshots::replace(directory, &self.flushes, rev, sealed, token))
    }

    fn remove(&self, rev: &Revision, token: Option<&LockToken>) -> Result<(), Error> {
        if token.is_some() {
            return self.as_holder(|directory| snapshots::remove(directory, &self.flushes, rev, token));
        }
        self.change_existing(
            || Ok(()),
            |directory| {
                snapshots::remove(directory, &self.flushes, rev, None)?;
                directory.clean_now_and_then();
                Ok(())
            },
        )
    }

    fn list(&self) -> Result<Vec<Revision>, Error> {
        self.in_existing(|| Ok(Vec::new()), |directory| snapshots::list(directory))
    }

    fn inspect(&self) -> Result<Vec<Irregularity>, Error> {
        self.in_existing(|| Ok(Vec::new()), |directory| inspection::inspect(directory))
    }

    fn current(&self) -> Result<Option<Pointer>, Error> {
        self.in_existing(|| Ok(None), |directory| pointer::find(directory))
    }

    fn set_current(&self, expect: Expect<'_>, rev: &Revision, token: &LockToken) -> Result<Pointer, Error> {
        let pointer =
            self.as_holder(|directory| pointer::set(directory, &self.flushes, expect, rev, token))?;
        self.appender.close_ended(&pointer);
        Ok(pointer)
    }

    fn append(
        &self,
        base: &Pointer,
        index: u64,
        record: &[u8],
        token: &LockToken,
    ) -> Result<Appended, Error> {
        if !(1..=MAX_RECORD_BYTES).contains(&record.len()) {
            return Err(Failure::NotARecord(record.len()).into());
        }
        let addition = Addition {
            base,
            index,
            record,
            token,
        };
        let mut writer = self.appender.lock();
        // It checks the path itself.
        if let Some(appended) = writer.go_on(&addition)? {
            return Ok(appended);
        }
        self.in_existing(
            || Err(Failure::LockLost),
            |directory| {
                directory.demand_spelling()?;
                writer.look(directory, &self.flushes, &addition)
            },
        )
    }

    fn read_journal(&self, base: &Pointer, from: u64, most: usize) -> Result<Vec<Vec<u8>>, Error> {
        self.in_existing(
            || Ok(Vec::new()),
            |directory| journal::read(directory, base, from, most),
        )
    }

    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error> {
        self.in_made(StackDirectory::is_lock_at_its_path, |directory| {
            lock::try_lock(directory, holder)
        })
    }

    fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
        self.in_existing(|| Ok(None), |directory| lock::status(directory))
    }

    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        self.change_existing(|| Ok(None), |directory| lock::force_unlock(directory, expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::Filesystem;
    use sdk_state::{ErrorKind, Lock};
    use std::fs;

    fn backend(root: &Path, filesystem: Filesystem) -> LocalBackend {
        LocalBackend::on(filesystem, root, StackId::new("network", "prod").unwrap())
    }

    fn revision(text: &str) -> Revision {
        text.parse().unwrap()
    }

    fn create(backend: &LocalBackend, rev: &Revision) {
        assert_eq!(backend.create(rev, b"sealed").unwrap(), Created::Created);
    }

    fn lock(backend: &LocalBackend) -> Box<dyn Lock> {
        match backend.try_lock(&Holder::new("test")).unwrap() {
            TryLock::Held(lock) => lock,
            TryLock::Busy { status, .. } => panic!("{status:?}"),
        }
    }

    #[test]
    fn on_an_untrusted_filesystem_every_change_needs_the_lock() {
        let root = tempfile::tempdir().unwrap();
        let backend = backend(root.path(), Filesystem::Untrusted);
        let (one, two) = (revision("2026-07-10T12:00:01Z"), revision("2026-07-10T12:00:02Z"));
        create(&backend, &one);
        create(&backend, &two);
        let error = backend.remove(&one, None).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Unsupported);

        let lock = lock(&backend);
        let token = lock.token().unwrap();
        backend.set_current(Expect::Nothing, &one, token).unwrap();
        backend.set_current(Expect::Revision(&one), &two, token).unwrap();
        backend.replace(&two, b"sealed anew", token).unwrap();
        let base = backend.current().unwrap().unwrap();
        let error = backend.append(&base, 0, b"record", token).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Unsupported);
        assert!(backend.read_journal(&base, 0, 0).unwrap().is_empty());
        backend.remove(&one, Some(token)).unwrap();
        assert_eq!(backend.list().unwrap(), [two]);
    }

    /// The directories were made before the name was looked at.
    #[test]
    fn a_write_that_is_refused_makes_no_directory() {
        let root = tempfile::tempdir().unwrap();
        let backend = backend(root.path(), Filesystem::Trusted);
        let refused = backend.create(&revision("not-a-moment"), b"sealed");
        assert_eq!(refused.unwrap_err().kind(), &ErrorKind::InvalidName);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    /// A second flush would say yes without having written anything: so an unknown durability stays unknown.
    #[test]
    fn a_revision_of_unknown_durability_is_not_pointed_at() {
        let root = tempfile::tempdir().unwrap();
        let backend = backend(root.path(), Filesystem::Trusted);
        let (one, two) = (revision("2026-07-10T12:00:01Z"), revision("2026-07-10T12:00:02Z"));
        create(&backend, &one);
        create(&backend, &two);
        let failed = backend.flushes.fail(&one);
        assert!(Error::from(failed).is_outcome_unknown());
        let lock = lock(&backend);
        let token = lock.token().unwrap();
        let error = backend.set_current(Expect::Anything, &one, token).unwrap_err();
        assert!(error.is_outcome_unknown());
        assert_eq!(error.revision(), Some(&one));
        assert_eq!(backend.current().unwrap(), None);
        // What was durable before the failure still is.
        backend.set_current(Expect::Anything, &two, token).unwrap();
        let anew = LocalBackend::new(root.path(), backend.id.clone());
        anew.set_current(Expect::Anything, &one, token).unwrap();
    }

    /// A writer remembered by its name that its last revision is durable, and did not flush before it pointed there.
    /// Another process had deleted the revision, and given its name to one that it had not flushed: after a power cut
    /// `current` named nothing.
    #[test]
    fn a_name_that_was_given_again_is_another_revision() {
        let root = tempfile::tempdir().unwrap();
        let (backend, other) = (
            backend(root.path(), Filesystem::Trusted),
            backend(root.path(), Filesystem::Trusted),
        );
        let lock = lock(&backend);
        let token = lock.token().unwrap();
        let (elsewhere, rev) = (revision("2026-07-10T11:00:00Z"), revision("2026-07-10T12:00:01Z"));
        // From now on nothing but what this handle has flushed itself counts as durable.
        let _ = backend.flushes.fail(&elsewhere);
        create(&backend, &rev);
        backend.set_current(Expect::Anything, &rev, token).unwrap();
        let next = revision("2026-07-10T12:00:02Z");
        create(&other, &next);
        let pointer = other.set_current(Expect::Anything, &next, token).unwrap();
        other.remove(&rev, Some(token)).unwrap();
        create(&other, &rev);
        let error = backend.set_current(Expect::Anything, &rev, token).unwrap_err();
        assert!(error.is_outcome_unknown());
        assert_eq!(error.revision(), Some(&rev));
        assert_eq!(other.current().unwrap(), Some(pointer));
    }
}
