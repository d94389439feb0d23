use crate::directory::{self, Directory};
use crate::failure::Failure;
use crate::journal::{self, JournalFile};
use crate::layout::{self, Purpose};
use crate::mutex::DirectoryMutex;
use crate::snapshots::{self, Durable, Flushes};
use crate::stack::StackDirectory;
use crate::temporary::Temporary;
use crate::{lock, untrusted};
use rustix::io::Errno;
use sdk_state::{Expect, LockToken, Pointer, Revision};
use std::fs::File;
use std::io::Read as _;

/// A name has at most 128 bytes. A file longer than this, with white space, is not a pointer.
const LONGEST_POINTER: u64 = 4096;

/// The file `current` as it is now. Each move puts another file in its place.
#[derive(Debug)]
pub(crate) struct PointerFile(Option<File>);

impl PointerFile {
    pub(crate) fn open(stack: &Directory) -> Result<Self, Failure> {
        match stack.open_file(layout::CURRENT) {
            Ok(file) => Ok(Self(Some(file))),
            Err(Errno::NOENT) => Ok(Self(None)),
            Err(Errno::LOOP | Errno::NXIO) => Err(Failure::PointerNotPlain(stack.path_of(layout::CURRENT))),
            Err(errno) => Err(stack.failure("open the pointer", layout::CURRENT, errno)),
        }
    }

    /// Returns the revision that it names; `None` when there is no such file.
    pub(crate) fn read(&self, stack: &Directory) -> Result<Option<Revision>, Failure> {
        let Some(file) = &self.0 else {
            return Ok(None);
        };
        let cannot_read = |source| stack.failure("read the pointer", layout::CURRENT, source);
        let stat = directory::stat(file).map_err(|errno| cannot_read(errno.into()))?;
        if !Directory::is_plain(&stat) {
            return Err(Failure::PointerNotPlain(stack.path_of(layout::CURRENT)));
        }
        let mut content = Vec::with_capacity(256);
        file.take(LONGEST_POINTER + 1)
            .read_to_end(&mut content)
            .map_err(cannot_read)?;
        if content.len() as u64 > LONGEST_POINTER {
            content.clear();
        }
        Revision::from_pointer(&content)
            .map(Some)
            .map_err(|error| Failure::Contract(error.at_path(stack.path_of(layout::CURRENT))))
    }

    pub(crate) fn into_file(self) -> Option<File> {
        self.0
    }

    /// Returns whether nobody has moved it since it was opened. While it is open no other file gets its number.
    pub(crate) fn is_unmoved(&self, stack: &Directory) -> Result<bool, Failure> {
        match &self.0 {
            Some(file) => stack.leads_to(layout::CURRENT, file),
            None => Ok(stack.stat(layout::CURRENT)?.is_none()),
        }
    }
}

/// Returns the revision that `current` names; `None` when there is no such file.
pub(crate) fn read(stack: &Directory) -> Result<Option<Revision>, Failure> {
    PointerFile::open(stack)?.read(stack)
}

/// The same, as the answer of the backend. A journal is made only once its base is current: where there is one and no pointer,
/// the pointer was lost, and the stack is not fresh.
pub(crate) fn find(directory: &StackDirectory) -> Result<Option<Pointer>, Failure> {
    let stack = &directory.stack;
    let mut found = read(stack);
    if is_lost(&found)
        && let Some(failure) = journal_without_pointer(directory)?
    {
        // Somebody may have moved `current` for the first time, and have begun the journal, since it was read.
        found = read(stack);
        if is_lost(&found) {
            return Err(failure);
        }
    }
    Ok(found?.map(to))
}

/// Says which changes are in danger while the pointer is lost or damaged; `None` without a journal.
fn journal_without_pointer(directory: &StackDirectory) -> Result<Option<Failure>, Failure> {
    let stack = &directory.stack;
    let Some(journal) = JournalFile::open(stack)? else {
        return Ok(None);
    };
    let path = stack.path_of(layout::CURRENT);
    let is_readable = match &journal.base {
        Some(base) => journal.holds_changes(stack)? && is_there(directory, base)?,
        None => false,
    };
    Ok(Some(match journal.base {
        Some(base) if is_readable => Failure::ChangesWithoutPointer { path, base },
        base => Failure::PointerLost { path, base },
    }))
}

/// Whether a revision could be made current.
fn is_there(directory: &StackDirectory, rev: &Revision) -> Result<bool, Failure> {
    match snapshots::exists(directory, rev) {
        Err(Failure::NoSuchRevision(_)) => Ok(false),
        exists => exists,
    }
}

/// A pointer to `rev`. Its version is always 0: nothing can arrive late here.
pub(crate) fn to(rev: Revision) -> Pointer {
    Pointer::new(rev, 0)
}

/// Moves `current` durably to a durable revision, in one step with all checks, and ends the journal of the revision that was
/// current.
pub(crate) fn set(
    directory: &StackDirectory,
    flushes: &Flushes,
    expect: Expect<'_>,
    rev: &Revision,
    token: &LockToken,
) -> Result<Pointer, Failure> {
    let stack = &directory.stack;
    let content = format!("{rev}\n");
    loop {
        // Checked twice: now, so that a mover that has lost touches nothing, and under the mutex, where it counts.
        demand(directory, expect, rev, token)?;
        snapshots::demand_spelling(directory, rev)?;
        let durable = snapshots::durable(directory, flushes, rev)?;
        let ground = Ground::prepare(directory, flushes, rev, &durable)?;
        let temporary = Temporary::write(stack, directory.filesystem, Purpose::Current, content.as_bytes())?;
        let mutex = DirectoryMutex::lock(directory)?;
        demand(directory, expect, rev, token)?;
        // Somebody may have deleted the revision and given its name to another one, which is not flushed yet: a power cut
        // could leave `current` naming nothing.
        if !snapshots::leads_to(directory, rev, &durable)? {
            continue;
        }
        let Some(ended) = ground.find_ended(directory, rev)? else {
            continue;
        };
        untrusted::second_look(
            directory,
            rev,
            temporary.replace(layout::CURRENT).map(drop),
            || {
                lock::demand_token(directory, token)?;
                Ok(read(stack)?.as_ref() == Some(rev))
            },
        )?;
        // Without this handle the journal stays dead.
        let own = ended.and_then(|ended| Some((ended, PointerFile::open(stack).ok()?)));
        mutex
            .unlock_and_sync()
            .map_err(|source| flushes.note_unconfirmed_pointer(rev, source))?;
        // Only once the move is durable: a power cut could otherwise keep the removal alone.
        if let Some((ended, own)) = own {
            journal::remove_ended(directory, &ended, &own);
        }
        snapshots::demand_found(directory, rev)?;
        return Ok(to(rev.clone()));
    }
}

/// The ground of a move to a revision: no journal from an earlier time when that revision was current exists, or comes back with a
/// power cut. Another process may have removed one without a flush.
enum Ground {
    /// On an untrusted filesystem no journals are begun. One that came with a copy of a trusted one has been cleared.
    Untrusted,
    /// The ground holds while this is the pointer, because a revision gets a journal only while it is current.
    While(PointerFile),
    /// The same for a pointer that is not a regular file.
    WhileNotPlain,
}

impl Ground {
    fn prepare(
        directory: &StackDirectory,
        flushes: &Flushes,
        rev: &Revision,
        durable: &Durable,
    ) -> Result<Self, Failure> {
        let stack = &directory.stack;
        let is_trusted = directory.filesystem.is_trusted();
        let pointer = match PointerFile::open(stack) {
            Ok(pointer) => Some(pointer),
            Err(Failure::PointerNotPlain(_)) => None,
            Err(failure) => return Err(failure),
        };
        // A lost or damaged pointer may have named this revision, whose journal is then live.
        let current = match &pointer {
            Some(pointer) => known(pointer.read(stack))?,
            None => None,
        };
        if current.as_ref() != Some(rev) {
            let is_dead = |journal: JournalFile| journal.base.as_ref() == Some(rev);
            let has_dead = current.is_some() && JournalFile::open(stack)?.is_some_and(is_dead);
            if has_dead {
                journal::remove_dead(directory, rev)?;
            }
            if has_dead || is_trusted && !durable.is_never_current(stack)? {
                flushes.make_pointer_durable(stack)?;
            }
        }
        Ok(match pointer {
            _ if !is_trusted => Self::Untrusted,
            Some(pointer) => Self::While(pointer),
            None => Self::WhileNotPlain,
        })
    }

    /// Returns, under the directory mutex, the journal that the move to `rev` ends; `None` if the ground has changed.
    fn find_ended(
        &self,
        directory: &StackDirectory,
        rev: &Revision,
    ) -> Result<Option<Option<JournalFile>>, Failure> {
        let stack = &directory.stack;
        let is_unmoved = match self {
            Self::Untrusted => return Ok(Some(None)),
            Self::While(pointer) => pointer.is_unmoved(stack)?,
            Self::WhileNotPlain => matches!(PointerFile::open(stack), Err(Failure::PointerNotPlain(_))),
        };
        if !is_unmoved {
            return Ok(None);
        }
        match JournalFile::open(stack)? {
            Some(journal) if journal.base.as_ref() == Some(rev) => match known(read(stack))? {
                Some(current) if current != *rev => Ok(None),
                // The journal goes on.
                _ => Ok(Some(None)),
            },
            journal => Ok(Some(journal)),
        }
    }
}

fn is_lost(read: &Result<Option<Revision>, Failure>) -> bool {
    matches!(
        read,
        Ok(None) | Err(Failure::PointerNotPlain(_) | Failure::Contract(_))
    )
}

/// The current revision, if it is known.
fn known(read: Result<Option<Revision>, Failure>) -> Result<Option<Revision>, Failure> {
    match read {
        Err(Failure::PointerNotPlain(_) | Failure::Contract(_)) => Ok(None),
        read => read,
    }
}

fn demand(
    directory: &StackDirectory,
    expect: Expect<'_>,
    rev: &Revision,
    token: &LockToken,
) -> Result<(), Failure> {
    lock::demand_token(directory, token)?;
    if !snapshots::exists(directory, rev)? {
        return Err(Failure::NoSuchRevision(rev.clone()));
    }
    let found = read(&directory.stack);
    // The pointer may have named the base of a journal, whose changes were acknowledged: a move elsewhere would discard them.
    let endangered = match is_lost(&found) {
        true => journal_without_pointer(directory)?,
        false => None,
    };
    match expect.reads_pointer() {
        true => expect.check(found?.map(to).as_ref()).map_err(Failure::Contract)?,
        // Damage is no obstacle, but any other failure is one.
        false => drop(known(found)?),
    }
    match endangered {
        Some(Failure::ChangesWithoutPointer { path, base }) if base != *rev => {
            Err(Failure::ChangesWithoutPointer { path, base })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LocalBackend;
    use sdk_state::{Appended, Backend as _, Created, Holder, Lock, StackId, TryLock};
    use std::sync::Arc;

    struct Place {
        _root: tempfile::TempDir,
        lock: Box<dyn Lock>,
        backend: LocalBackend,
        directory: Arc<StackDirectory>,
    }

    impl Place {
        /// Two revisions, of which the first is current, and the lock.
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let backend = LocalBackend::new(root.path(), id());
            for second in 1..=2 {
                assert_eq!(backend.create(&nth(second), b"sealed").unwrap(), Created::Created);
            }
            let TryLock::Held(lock) = backend.try_lock(&Holder::new("test")).unwrap() else {
                panic!("nobody else locks");
            };
            let directory = StackDirectory::open(root.path(), &id()).unwrap().unwrap();
            let place = Self {
                _root: root,
                lock,
                backend,
                directory: Arc::new(directory),
            };
            place.move_to(1);
            place
        }

        fn move_to(&self, second: u32) -> Pointer {
            let token = self.lock.token().unwrap();
            self.backend
                .set_current(Expect::Anything, &nth(second), token)
                .unwrap()
        }

        fn append(&self, base: &Pointer) {
            let appended = self
                .backend
                .append(base, 0, b"record", self.lock.token().unwrap());
            assert_eq!(appended.unwrap(), Appended::Appended);
        }

        fn count(&self, base: &Pointer) -> usize {
            self.backend.read_journal(base, 0, 0).unwrap().len()
        }
    }

    fn id() -> StackId {
        StackId::new("network", "prod").unwrap()
    }

    fn nth(second: u32) -> Revision {
        format!("2026-07-10T12:00:{second:02}Z").parse().unwrap()
    }

    /// A holder is about to move back to a revision and to remove the dead journal that it saw, when it is evicted. The next holder
    /// makes the revision current and appends. The removal would take an acknowledged change.
    #[test]
    fn a_late_removal_spares_a_journal_that_lives_by_now() {
        let place = Place::new();
        let base = place.move_to(2);
        place.append(&base);
        journal::remove_dead(&place.directory, &nth(2)).unwrap();
        assert_eq!(place.count(&base), 1);
    }

    /// A holder has moved away from a revision and is about to remove its journal, when it is evicted. The next holder moves back
    /// and appends.
    #[test]
    fn a_late_removal_spares_a_journal_that_was_begun_anew() {
        let place = Place::new();
        let base = place.move_to(1);
        place.append(&base);
        let stack = &place.directory.stack;
        let ended = JournalFile::open(stack).unwrap().unwrap();
        place.move_to(2);
        let own = PointerFile::open(stack).unwrap();
        place.move_to(1);
        place.append(&base);
        for journal in [ended, JournalFile::open(stack).unwrap().unwrap()] {
            journal::remove_ended(&place.directory, &journal, &own);
            assert_eq!(place.count(&base), 1);
        }
    }

    /// The new revision's journal has replaced the one that the move ends.
    #[test]
    fn a_late_removal_spares_the_journal_of_the_new_revision() {
        let place = Place::new();
        let stack = &place.directory.stack;
        place.append(&place.move_to(1));
        let ended = JournalFile::open(stack).unwrap().unwrap();
        let base = place.move_to(2);
        let own = PointerFile::open(stack).unwrap();
        place.append(&base);
        journal::remove_ended(&place.directory, &ended, &own);
        assert_eq!(place.count(&base), 1);
    }

    /// Another process made the revision current, began a journal, moved away, removed the journal, and died before its last
    /// flush. The writer of the revision took the revision for new and flushed nothing: a power cut brought the journal back to
    /// life.
    #[test]
    fn a_revision_that_was_current_meanwhile_is_not_new() {
        let place = Place::new();
        let (stack, flushes) = (&place.directory.stack, Flushes::default());
        let create = |second| {
            let created = snapshots::create(&place.directory, &flushes, &nth(second), b"sealed");
            assert_eq!(created.unwrap(), Created::Created);
            snapshots::durable(&place.directory, &flushes, &nth(second)).unwrap()
        };
        let durable = create(3);
        assert!(durable.is_never_current(stack).unwrap());
        place.move_to(3);
        place.move_to(1);
        assert!(!durable.is_never_current(stack).unwrap());
        // A revision of another writer may have been.
        let durable = snapshots::durable(&place.directory, &Flushes::default(), &nth(3)).unwrap();
        assert!(!durable.is_never_current(stack).unwrap());
    }

    /// A flush before the mutex proves nothing once another process has moved `current`.
    #[test]
    fn a_move_starts_over_once_another_one_came_first() {
        let place = Place::new();
        let flushes = Flushes::default();
        let durable = snapshots::durable(&place.directory, &flushes, &nth(2)).unwrap();
        let ground = Ground::prepare(&place.directory, &flushes, &nth(2), &durable).unwrap();
        assert!(ground.find_ended(&place.directory, &nth(2)).unwrap().is_some());
        place.append(&place.move_to(2));
        place.move_to(1);
        assert!(ground.find_ended(&place.directory, &nth(2)).unwrap().is_none());
    }
}
