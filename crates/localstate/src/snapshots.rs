use crate::directory::{self, Directory, Inode};
use crate::failure::Failure;
use crate::layout::{self, Purpose};
use crate::mutex::DirectoryMutex;
use crate::pointer::{self, PointerFile};
use crate::stack::StackDirectory;
use crate::temporary::{Published, Temporary};
use crate::{lock, untrusted};
use rustix::io::Errno;
use sdk_state::{Created, LockToken, Prefix, Revision};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The action that an error of reading names.
const READ: &str = "read the snapshot";

/// The durability of revisions and of the pointer, as far as one handle of the backend knows it.
#[derive(Debug, Default)]
pub(crate) struct Flushes(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The last revision that a write through this handle made durable, and its file. While that is open no other file
    /// gets its number, so it can be told from one that was given the same name after this one was deleted.
    durable: Option<(Revision, Durable)>,
    /// Revisions that are visible and may not be durable. A second flush would wrongly say that they are.
    unknown: BTreeSet<Revision>,
    /// Whether a flush of the snapshots has ever failed: no later one proves anything about older revisions.
    has_failed: bool,
    /// The same for the directory of the pointer.
    has_failed_for_pointer: bool,
}

/// The file of a revision, whose name is durable.
#[derive(Debug, Clone)]
pub(crate) struct Durable {
    file: Arc<File>,
    /// The pointer before the revision appeared, if this handle wrote it and knows.
    pointer_before: Option<Arc<PointerFile>>,
}

impl Durable {
    /// Returns whether nobody has moved `current` since before the revision appeared, so that it has never been current.
    pub(crate) fn is_never_current(&self, stack: &Directory) -> Result<bool, Failure> {
        match &self.pointer_before {
            Some(pointer) => pointer.is_unmoved(stack),
            None => Ok(false),
        }
    }
}

impl Flushes {
    fn known(&self) -> MutexGuard<'_, Known> {
        // The value is consistent at every moment, so a thread that panicked while holding it did no harm.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that a move of `current` to `rev` was not confirmed.
    pub(crate) fn note_unconfirmed_pointer(&self, rev: &Revision, source: io::Error) -> Failure {
        self.distrust_pointer();
        Failure::DurabilityUnknown {
            rev: rev.clone(),
            source: Some(source),
        }
    }

    /// Remembers that a flush of the pointer's directory failed.
    pub(crate) fn distrust_pointer(&self) {
        self.known().has_failed_for_pointer = true;
    }

    /// Fails if a flush of the pointer's directory has ever failed.
    pub(crate) fn demand_confirmed_pointer(&self, stack: &Directory) -> Result<(), Failure> {
        match self.known().has_failed_for_pointer {
            true => Err(Failure::Unconfirmed(stack.path().into())),
            false => Ok(()),
        }
    }

    /// Acts as if a flush had failed.
    #[cfg(test)]
    pub(crate) fn fail(&self, rev: &Revision) -> Failure {
        self.known().note(Err(io::Error::other("no")), rev).unwrap_err()
    }

    /// Makes the present `current`, whoever moved it, and the removal of journals durable.
    pub(crate) fn make_pointer_durable(&self, stack: &Directory) -> Result<(), Failure> {
        // Held while flushing: see `durable`.
        let mut known = self.known();
        if known.has_failed_for_pointer {
            return Err(Failure::Unconfirmed(stack.path().into()));
        }
        stack.sync().map_err(|source| {
            known.has_failed_for_pointer = true;
            stack.own_failure("flush the directory", source)
        })
    }
}

impl Known {
    /// Remembers for `rev` whether the names of the snapshots became durable.
    fn note(&mut self, flushed: io::Result<()>, rev: &Revision) -> Result<(), Failure> {
        flushed.map_err(|source| {
            self.has_failed = true;
            self.unknown.insert(rev.clone());
            Failure::DurabilityUnknown {
                rev: rev.clone(),
                source: Some(source),
            }
        })
    }
}

/// Makes a snapshot: complete and durable under a temporary name, then visible under its own, then durable under its own. The
/// caller has checked that a write may use that name.
pub(crate) fn create(
    directory: &StackDirectory,
    flushes: &Flushes,
    rev: &Revision,
    sealed: &[u8],
) -> Result<Created, Failure> {
    let snapshots = existing(directory, rev)?;
    let name = layout::snapshot(rev);
    // An open file keeps its space when it is deleted, and this write may need it.
    flushes.known().durable = None;
    // Without it, the first move to this revision flushes once more.
    let pointer_before = PointerFile::open(&directory.stack).ok().map(Arc::new);
    let (names, file) = loop {
        // Only saves writing a file that would not be published: the answer decides nothing.
        if snapshots.stat(&name)?.is_some() {
            return Ok(Created::Exists);
        }
        let names = snapshots.reopen()?;
        let mut temporary = Temporary::write(snapshots, directory.filesystem, Purpose::Snapshot, sealed)?;
        match temporary.publish(&name)? {
            Published::Done => break (names, temporary.into_file()),
            Published::NameTaken => return Ok(Created::Exists),
            Published::Gone => {}
        }
    };
    let flushed = directory::sync(&names);
    match directory.is_at_its_path() {
        Ok(true) => {}
        Ok(false) => {
            // What cannot be taken back is one more revision, at a place where nobody looks for it.
            let _ = take_back(directory, flushes, rev, &file);
            return Err(Failure::DirectoryMoved(directory.stack.path().into()));
        }
        Err(failure) => return Err(failure.after_the_change(rev)),
    }
    let mut known = flushes.known();
    known.note(flushed, rev)?;
    let file = Arc::new(file);
    known.durable = Some((rev.clone(), Durable { file, pointer_before }));
    Ok(Created::Created)
}

/// Removes a snapshot that was just made in directories that somebody moved meanwhile, unless `current` there names it, or may
/// name it again after a power cut.
fn take_back(
    directory: &StackDirectory,
    flushes: &Flushes,
    rev: &Revision,
    file: &File,
) -> Result<(), Failure> {
    let (stack, snapshots, name) = (&directory.stack, existing(directory, rev)?, layout::snapshot(rev));
    let pointer = PointerFile::open(stack)?;
    flushes.make_pointer_durable(stack)?;
    let _mutex = DirectoryMutex::lock_wherever(directory)?;
    // Without the mutex, and in snapshots whose `current` is another one, somebody may make it current at this moment.
    if directory.filesystem.is_trusted()
        && stack.leads_to_directory(layout::SNAPSHOTS, snapshots)?
        && snapshots.leads_to(&name, file)?
        && pointer.is_unmoved(stack)?
        && !is_current(pointer.read(stack)?.as_ref(), snapshots, rev)?
    {
        snapshots
            .unlink(&name)
            .map_err(|errno| snapshots.failure("remove the snapshot", &name, errno))?;
    }
    Ok(())
}

/// Returns whether a revision is the file that `current` names. A filesystem that is blind to case knows one file by several
/// names.
fn is_current(current: Option<&Revision>, snapshots: &Directory, rev: &Revision) -> Result<bool, Failure> {
    match current {
        Some(current) if current == rev => Ok(true),
        Some(current) if current.to_string().eq_ignore_ascii_case(&rev.to_string()) => {
            let names = [current, rev].map(layout::snapshot);
            Ok(match (snapshots.stat(&names[0])?, snapshots.stat(&names[1])?) {
                (Some(current), Some(named)) => Inode::from(current) == Inode::from(named),
                _ => false,
            })
        }
        _ => Ok(false),
    }
}

/// Fails unless a snapshot is stored under the very name that `current` would get. A time has one spelling.
pub(crate) fn demand_spelling(directory: &StackDirectory, rev: &Revision) -> Result<(), Failure> {
    match rev.is_writable() || existing(directory, rev)?.lists_exactly(&layout::snapshot(rev))? {
        true => Ok(()),
        false => Err(Failure::NoSuchRevision(rev.clone())),
    }
}

/// Checks a change that was made and flushed: once the path leads elsewhere nobody may find it.
pub(crate) fn demand_found(directory: &StackDirectory, rev: &Revision) -> Result<(), Failure> {
    match directory.is_at_its_path() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::MovedMeanwhile(rev.clone())),
        Err(failure) => Err(failure.after_the_change(rev)),
    }
}

/// Replaces the bytes of a snapshot, for re-keying.
pub(crate) fn replace(
    directory: &StackDirectory,
    flushes: &Flushes,
    rev: &Revision,
    sealed: &[u8],
    token: &LockToken,
) -> Result<(), Failure> {
    lock::demand_token(directory, token)?;
    let snapshots = existing(directory, rev)?;
    let name = layout::snapshot(rev);
    let names = snapshots.reopen()?;
    let inode = || match snapshots.stat(&name)? {
        Some(stat) if Directory::is_plain(&stat) => Ok(Inode::from(stat)),
        _ => Err(Failure::NoSuchRevision(rev.clone())),
    };
    let before = inode()?;
    let temporary = Temporary::write(snapshots, directory.filesystem, Purpose::Snapshot, sealed)?;
    let mutex = DirectoryMutex::lock(directory)?;
    if inode()? != before {
        return Err(Failure::NoSuchRevision(rev.clone()));
    }
    lock::demand_token(directory, token)?;
    untrusted::second_look(directory, rev, temporary.replace(&name).map(drop), || {
        lock::demand_token(directory, token)?;
        Ok(inode()? != before)
    })?;
    drop(mutex);
    let flushed = directory::sync(&names);
    flushes.known().note(flushed, rev)?;
    demand_found(directory, rev)
}

/// Reads as many bytes as the file has, after comparing that with the limit.
pub(crate) fn read(directory: &StackDirectory, rev: &Revision, limit: u64) -> Result<Vec<u8>, Failure> {
    let snapshot = Stored::open(directory, rev)?;
    let bytes = snapshot.bytes;
    if bytes > limit {
        return Err(Failure::SnapshotTooLarge {
            rev: rev.clone(),
            bytes,
            limit,
        });
    }
    snapshot.read(bytes)
}

/// Reads only the beginning.
pub(crate) fn read_prefix(
    directory: &StackDirectory,
    rev: &Revision,
    most: usize,
) -> Result<Prefix, Failure> {
    let snapshot = Stored::open(directory, rev)?;
    let stored_bytes = snapshot.bytes;
    let bytes = snapshot.read(stored_bytes.min(most as u64))?;
    Ok(Prefix { bytes, stored_bytes })
}

/// Removes a snapshot unless it is current, or may become current again in a power cut: as the holder of the lock, or while
/// nobody holds it.
pub(crate) fn remove(
    directory: &StackDirectory,
    flushes: &Flushes,
    rev: &Revision,
    token: Option<&LockToken>,
) -> Result<(), Failure> {
    if token.is_none() && !directory.filesystem.is_trusted() {
        return Err(Failure::Unguarded);
    }
    let demand_lock = || match token {
        Some(token) => lock::demand_token(directory, token),
        None => lock::demand_nobody(directory),
    };
    let stack = &directory.stack;
    let Some(snapshots) = directory.snapshots() else {
        let _mutex = DirectoryMutex::lock(directory)?;
        return demand_lock();
    };
    let name = layout::snapshot(rev);
    let names = snapshots.reopen()?;
    loop {
        demand_lock()?;
        if flushes.known().has_failed {
            return Err(Failure::Unconfirmed(snapshots.path().into()));
        }
        // Somebody may have moved `current` away from this revision and not have flushed that yet: were it removed now,
        // a power cut could leave `current` naming it. So the pointer that is compared under the mutex was flushed before.
        let flushed = PointerFile::open(stack)?;
        flushes.make_pointer_durable(stack)?;
        let _mutex = DirectoryMutex::lock(directory)?;
        let pointer = match directory.filesystem.is_trusted() {
            true if !flushed.is_unmoved(stack)? => continue,
            true => flushed,
            // On such a filesystem, a name and a handle of one file may have different inode numbers, now and the next time.
            false => PointerFile::open(stack)?,
        };
        demand_lock()?;
        if is_current(pointer.read(stack)?.as_ref(), snapshots, rev)? {
            return Err(Failure::IsCurrent(rev.clone()));
        }
        let unlinked = match snapshots.unlink(&name) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(snapshots.failure("remove the snapshot", &name, errno)),
        };
        untrusted::second_look(directory, rev, unlinked, || {
            if let Some(token) = token {
                lock::demand_token(directory, token)?;
            }
            // Where the unlink is certain, somebody may have locked, or written under the free name, right after it.
            let is_removed = directory.filesystem.is_trusted() || snapshots.stat(&name)?.is_none();
            Ok(is_removed && pointer::read(stack)?.as_ref() != Some(rev))
        })?;
        break;
    }
    {
        let mut known = flushes.known();
        let flushed = directory::sync(&names);
        // Another thread may have been told: the names that could not be written may have been those of this deletion.
        if known.has_failed || flushed.is_err() {
            known.has_failed = true;
            return Err(Failure::DeletionUnknown {
                rev: rev.clone(),
                source: flushed.err(),
            });
        }
    }
    demand_found(directory, rev)
}

/// Names only: no file is opened.
pub(crate) fn list(directory: &StackDirectory) -> Result<Vec<Revision>, Failure> {
    let mut revisions = Vec::new();
    if let Some(snapshots) = directory.snapshots() {
        for entry in snapshots.entries()? {
            revisions.extend(layout::revision(entry?.file_name().to_bytes()));
        }
    }
    Ok(revisions)
}

/// Returns whether a snapshot lies there that can be pointed at.
pub(crate) fn exists(directory: &StackDirectory, rev: &Revision) -> Result<bool, Failure> {
    let stat = existing(directory, rev)?.stat(&layout::snapshot(rev))?;
    Ok(stat.is_some_and(|stat| Directory::is_plain(&stat) && stat.st_size > 0))
}

/// Opens the file of a revision and makes its name durable: as long as the name leads to this file, a power cut loses
/// neither.
pub(crate) fn durable(
    directory: &StackDirectory,
    flushes: &Flushes,
    rev: &Revision,
) -> Result<Durable, Failure> {
    let snapshots = existing(directory, rev)?;
    let written = flushes.known().durable.clone();
    if let Some((written, durable)) = written
        && written == *rev
        && leads_to(directory, rev, &durable)?
    {
        return Ok(durable);
    }
    // Held while flushing: the kernel reports a failure to one of the threads that share the handle, and the others must not
    // go on before it has been noted.
    let mut known = flushes.known();
    if known.has_failed || known.unknown.contains(rev) {
        return Err(Failure::DurabilityUnknown {
            rev: rev.clone(),
            source: None,
        });
    }
    // Another process may have written it and not have flushed it yet.
    let name = layout::snapshot(rev);
    let file = match snapshots.open_file(&name) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Err(Failure::NoSuchRevision(rev.clone())),
        Err(errno) => return Err(snapshots.failure("open the snapshot", &name, errno)),
    };
    known.note(snapshots.sync(), rev)?;
    Ok(Durable {
        file: Arc::new(file),
        pointer_before: None,
    })
}

/// Returns whether a revision is still in this file, and not in another one that was given its name after it was deleted.
pub(crate) fn leads_to(
    directory: &StackDirectory,
    rev: &Revision,
    durable: &Durable,
) -> Result<bool, Failure> {
    // On an untrusted filesystem, a name and a handle of one file may have different inode numbers.
    if !directory.filesystem.is_trusted() {
        return Ok(true);
    }
    existing(directory, rev)?.leads_to(&layout::snapshot(rev), &durable.file)
}

/// The open file of a snapshot: plain, and not empty.
struct Stored<'a> {
    file: File,
    bytes: u64,
    snapshots: &'a Directory,
    name: String,
}

impl<'a> Stored<'a> {
    fn open(directory: &'a StackDirectory, rev: &Revision) -> Result<Self, Failure> {
        let snapshots = existing(directory, rev)?;
        let name = layout::snapshot(rev);
        let file = match snapshots.open_file(&name) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Err(Failure::NoSuchRevision(rev.clone())),
            // A link, or a socket.
            Err(Errno::LOOP | Errno::NXIO) => return Err(Failure::SnapshotNotPlain(rev.clone())),
            Err(errno) => return Err(snapshots.failure("open the snapshot", &name, errno)),
        };
        let stat = directory::stat(&file).map_err(|errno| snapshots.failure(READ, &name, errno))?;
        if !Directory::is_plain(&stat) {
            return Err(Failure::SnapshotNotPlain(rev.clone()));
        }
        match stat.st_size as u64 {
            0 => Err(Failure::EmptySnapshot(rev.clone())),
            bytes => Ok(Self {
                file,
                bytes,
                snapshots,
                name,
            }),
        }
    }

    /// Reads the first `bytes` bytes in one call.
    fn read(self, bytes: u64) -> Result<Vec<u8>, Failure> {
        let failure = |source| self.snapshots.failure(READ, &self.name, source);
        let mut read = Vec::new();
        // A file that is one large hole must not end this process.
        read.try_reserve_exact(bytes as usize)
            .map_err(|error| failure(io::Error::new(io::ErrorKind::OutOfMemory, error)))?;
        self.file.take(bytes).read_to_end(&mut read).map_err(failure)?;
        Ok(read)
    }
}

fn existing<'a>(directory: &'a StackDirectory, rev: &Revision) -> Result<&'a Directory, Failure> {
    directory
        .snapshots()
        .ok_or_else(|| Failure::NoSuchRevision(rev.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::Filesystem;
    use std::fs;

    /// A write took its file out of a directory that had been moved, whatever `current` said there.
    #[test]
    fn a_write_takes_back_only_what_is_not_current() {
        let rev: Revision = "2026-07-10T12:00:00Z".parse().unwrap();
        for (current, filesystem, stays) in [
            (None, Filesystem::Trusted, false),
            (Some("2026-07-10T11:00:00Z"), Filesystem::Trusted, false),
            (Some("2026-07-10T12:00:00Z"), Filesystem::Trusted, true),
            (Some("damaged pointer"), Filesystem::Trusted, true),
            (None, Filesystem::Untrusted, true),
        ] {
            let root = tempfile::tempdir().unwrap();
            let id = "network/prod".parse().unwrap();
            let mut directory = StackDirectory::make(root.path(), &id).unwrap();
            directory.filesystem = filesystem;
            let moved = root.path().join("moved");
            fs::rename(root.path().join("network"), &moved).unwrap();
            if let Some(current) = current {
                fs::write(moved.join("prod/current"), current).unwrap();
            }
            let created = create(&directory, &Flushes::default(), &rev, b"sealed");
            assert!(matches!(created, Err(Failure::DirectoryMoved(_))));
            let file = moved.join("prod/snapshots").join(layout::snapshot(&rev));
            assert_eq!(file.exists(), stays, "{current:?} on {filesystem:?}");
        }
    }

    /// The snapshots went to another stack, whose directory mutex the write does not have.
    #[test]
    fn a_write_takes_nothing_back_from_another_stack() {
        let rev: Revision = "2026-07-10T12:00:00Z".parse().unwrap();
        let root = tempfile::tempdir().unwrap();
        let directory = StackDirectory::make(root.path(), &"network/prod".parse().unwrap()).unwrap();
        let other = root.path().join("network/test");
        fs::create_dir(&other).unwrap();
        fs::rename(
            root.path().join("network/prod/snapshots"),
            other.join("snapshots"),
        )
        .unwrap();
        let created = create(&directory, &Flushes::default(), &rev, b"sealed");
        assert!(matches!(created, Err(Failure::DirectoryMoved(_))));
        assert!(other.join("snapshots").join(layout::snapshot(&rev)).exists());
    }

    /// The last look came before the flush: a change in a directory that was moved then was a success.
    #[test]
    fn a_change_in_a_moved_directory_is_no_success() {
        let rev: Revision = "2026-07-10T12:00:00Z".parse().unwrap();
        let root = tempfile::tempdir().unwrap();
        let directory = StackDirectory::make(root.path(), &"network/prod".parse().unwrap()).unwrap();
        demand_found(&directory, &rev).unwrap();
        fs::rename(root.path().join("network"), root.path().join("moved")).unwrap();
        let error = sdk_state::Error::from(demand_found(&directory, &rev).unwrap_err());
        assert!(error.is_outcome_unknown());
        assert_eq!(error.revision(), Some(&rev));
    }
}
