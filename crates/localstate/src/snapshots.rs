use crate::directory::{self, Access, Directory, StackDirectory};
use crate::failure::Failure;
use crate::gate::Gate;
use crate::layout::{self, Purpose};
use crate::lock;
use crate::pointer::Pointer;
use crate::storage::{Flushes, guard};
use crate::temporary::{Published, Temporary};
use rustix::io::Errno;
use sdk_state::{Created, LockToken, Prefix, Revision};
use std::fs::File;
use std::io::Read as _;
use std::sync::{Arc, Mutex};

/// What a failure to read says was tried.
const READ: &str = "read the snapshot";

/// Complete and durable under a temporary name, then visible under its own, then durable under its own. Whether that is
/// a name that a write may get has been asked before.
pub(crate) fn create(
    directory: &StackDirectory,
    flushes: &Mutex<Flushes>,
    rev: &Revision,
    sealed: &[u8],
) -> Result<Created, Failure> {
    let snapshots = existing(directory, rev)?;
    let name = layout::snapshot(rev);
    // An open file keeps its space when it is deleted, and this write may need it.
    guard(flushes).durable = None;
    let (names, file) = loop {
        // Saves writing a file in vain; it decides nothing.
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
    let mut flushes = guard(flushes);
    flushes.note(flushed, rev)?;
    flushes.durable = Some((rev.clone(), Arc::new(file)));
    Ok(Created::Created)
}

/// For re-keying, by the holder of the lock.
pub(crate) fn replace(
    directory: &StackDirectory,
    flushes: &Mutex<Flushes>,
    rev: &Revision,
    sealed: &[u8],
) -> Result<(), Failure> {
    let snapshots = existing(directory, rev)?;
    let name = layout::snapshot(rev);
    let names = snapshots.reopen()?;
    let inode = || match snapshots.stat(&name)? {
        Some(stat) if Directory::is_plain(&stat) => Ok((stat.st_dev, stat.st_ino)),
        _ => Err(Failure::NoSuchRevision(rev.clone())),
    };
    let before = inode()?;
    let temporary = Temporary::write(snapshots, directory.filesystem, Purpose::Snapshot, sealed)?;
    let gate = Gate::enter(&directory.stack, directory.filesystem)?;
    if inode()? != before {
        return Err(Failure::NoSuchRevision(rev.clone()));
    }
    temporary.replace(&name)?;
    drop(gate);
    let flushed = directory::sync(&names);
    guard(flushes).note(flushed, rev)
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

/// Reads the beginning alone.
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

/// Removes a snapshot unless it is current, or may become current again in a power cut.
pub(crate) fn remove(
    directory: &StackDirectory,
    rev: &Revision,
    held: Option<&LockToken>,
) -> Result<(), Failure> {
    if held.is_none() && !directory.filesystem.is_trusted() {
        return Err(Failure::Unguarded);
    }
    let Some(snapshots) = directory.snapshots() else {
        return held.map_or(Ok(()), |token| lock::demand_token(directory, token));
    };
    let stack = &directory.stack;
    let names = snapshots.reopen()?;
    loop {
        // Somebody may have moved `current` away from this revision and not have flushed that yet: were it removed now,
        // a power cut could leave `current` naming it. So what is compared inside the gate must have been flushed before.
        let flushed = Pointer::open(stack)?;
        stack
            .sync()
            .map_err(|source| stack.own_failure("flush the directory", source))?;
        let _gate = Gate::enter(stack, directory.filesystem)?;
        let pointer = match directory.filesystem.is_trusted() {
            true if !flushed.is_unmoved(stack)? => continue,
            true => flushed,
            // A name and a handle of one file may have different numbers there, now and the next time.
            false => Pointer::open(stack)?,
        };
        if let Some(token) = held {
            lock::demand_token(directory, token)?;
        }
        if pointer.read(stack)?.as_ref() == Some(rev) {
            return Err(Failure::IsCurrent(rev.clone()));
        }
        let name = layout::snapshot(rev);
        match snapshots.unlink(&name) {
            Ok(()) | Err(Errno::NOENT) => break,
            Err(errno) => return Err(snapshots.failure("remove the snapshot", &name, errno)),
        }
    }
    directory::sync(&names).map_err(|source| Failure::DeletionUnknown {
        rev: rev.clone(),
        source,
    })
}

/// Names only: no file is opened.
pub(crate) fn list(directory: &StackDirectory) -> Result<Vec<Revision>, Failure> {
    let mut revisions = Vec::new();
    if let Some(snapshots) = directory.snapshots() {
        snapshots.names(|name, _| revisions.extend(layout::revision(name.to_bytes())))?;
    }
    Ok(revisions)
}

/// Whether a snapshot lies there that can be pointed at.
pub(crate) fn exists(directory: &StackDirectory, rev: &Revision) -> Result<bool, Failure> {
    let stat = existing(directory, rev)?.stat(&layout::snapshot(rev))?;
    Ok(stat.is_some_and(|stat| Directory::is_plain(&stat) && stat.st_size > 0))
}

/// The file of a revision whose name is durable, open: as long as the name leads to it, a power cut takes neither.
pub(crate) fn durable(
    directory: &StackDirectory,
    flushes: &Mutex<Flushes>,
    rev: &Revision,
) -> Result<Arc<File>, Failure> {
    let snapshots = existing(directory, rev)?;
    let written = guard(flushes).durable.clone();
    if let Some((written, file)) = written
        && written == *rev
        && leads_to(directory, rev, &file)?
    {
        return Ok(file);
    }
    // Kept while flushing: the kernel tells a failure to one of the threads that share the handle, and the others must not
    // get by before it has been noted.
    let mut flushes = guard(flushes);
    if flushes.failed || flushes.unknown.contains(rev) {
        return Err(Failure::DurabilityUnknown {
            rev: rev.clone(),
            source: None,
        });
    }
    // Another process may have written it and not have flushed it yet.
    let name = layout::snapshot(rev);
    let file = match snapshots.open_file(&name, Access::Read) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Err(Failure::NoSuchRevision(rev.clone())),
        Err(errno) => return Err(snapshots.failure("open the snapshot", &name, errno)),
    };
    flushes.note(snapshots.sync(), rev)?;
    Ok(Arc::new(file))
}

/// Whether a revision is still in this file, and not in another one that was given its name after it was deleted.
pub(crate) fn leads_to(directory: &StackDirectory, rev: &Revision, file: &File) -> Result<bool, Failure> {
    // A name and a handle of one file may have different numbers where nothing is promised.
    if !directory.filesystem.is_trusted() {
        return Ok(true);
    }
    existing(directory, rev)?.leads_to(&layout::snapshot(rev), file)
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
        let file = match snapshots.open_file(&name, Access::Read) {
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

    /// The first `bytes` bytes, at one go.
    fn read(self, bytes: u64) -> Result<Vec<u8>, Failure> {
        let mut read = Vec::with_capacity(bytes as usize);
        match self.file.take(bytes).read_to_end(&mut read) {
            Ok(_) => Ok(read),
            Err(source) => Err(self.snapshots.failure(READ, &self.name, source)),
        }
    }
}

fn existing<'a>(directory: &'a StackDirectory, rev: &Revision) -> Result<&'a Directory, Failure> {
    directory
        .snapshots()
        .ok_or_else(|| Failure::NoSuchRevision(rev.clone()))
}
