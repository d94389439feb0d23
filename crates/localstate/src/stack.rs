use crate::directory::{Directory, make_root};
use crate::failure::Failure;
use crate::filesystem::Filesystem;
use crate::marker::LastMarker;
use crate::{layout, temporary};
use sdk_state::StackId;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time between two searches for leftover files.
const CLEANING_INTERVAL: Duration = Duration::from_secs(600);
/// How long a look for leftover files may take: enough to list the names of some 300,000 files.
const CLEANING_TIME: Duration = Duration::from_millis(100);

/// The open directories of one stack, which stay the same ones when somebody renames them.
#[derive(Debug)]
pub(crate) struct StackDirectory {
    id: StackId,
    root: Directory,
    pub(crate) factory: Directory,
    /// Holds `current` and `lock`.
    pub(crate) stack: Directory,
    /// Holds the snapshots; missing where unobin has only locked so far.
    snapshots: Option<Directory>,
    pub(crate) filesystem: Filesystem,
    pub(crate) last_marker: LastMarker,
    /// Whether each level was made, and made durable, through these handles.
    pub(crate) is_durable: bool,
    /// Whether the factory and the stack are known to be stored under the very names of the id.
    is_spelled: AtomicBool,
    last_cleaning: Mutex<Option<Instant>>,
}

impl StackDirectory {
    /// Opens the existing directories and makes nothing; `None` if the stack does not exist.
    pub(crate) fn open(root: &Path, id: &StackId) -> Result<Option<Self>, Failure> {
        demand_absolute(root)?;
        let Some(root) = Directory::open_root(root)? else {
            return Ok(None);
        };
        let Some(factory) = root.open_directory(id.factory())? else {
            return Ok(None);
        };
        let Some(stack) = factory.open_directory(id.stack())? else {
            return Ok(None);
        };
        Ok(Some(Self {
            id: id.clone(),
            filesystem: stack.filesystem()?,
            snapshots: stack.open_directory(layout::SNAPSHOTS)?,
            root,
            factory,
            stack,
            last_marker: LastMarker::default(),
            is_durable: false,
            is_spelled: AtomicBool::new(false),
            last_cleaning: Mutex::default(),
        }))
    }

    /// Makes every level that is missing, and the existence of each durable.
    pub(crate) fn make(root: &Path, id: &StackId) -> Result<Self, Failure> {
        demand_absolute(root)?;
        let root = make_root(root)?;
        let factory = root.make_directory(id.factory())?;
        let stack = factory.make_directory(id.stack())?;
        let snapshots = stack.make_directory(layout::SNAPSHOTS)?;
        Ok(Self {
            id: id.clone(),
            filesystem: stack.filesystem()?,
            root,
            factory,
            stack,
            snapshots: Some(snapshots),
            last_marker: LastMarker::default(),
            is_durable: true,
            is_spelled: AtomicBool::new(true),
            last_cleaning: Mutex::default(),
        })
    }

    pub(crate) fn snapshots(&self) -> Option<&Directory> {
        self.snapshots.as_ref()
    }

    /// Returns whether these are still the directories that a fresh open would find. While they are open no others get their
    /// numbers, so this is sure for the moment when it is asked.
    pub(crate) fn is_at_its_path(&self) -> Result<bool, Failure> {
        let is_named = self.is_stack_named()?
            && match &self.snapshots {
                Some(snapshots) => self.stack.leads_to_directory(layout::SNAPSHOTS, snapshots)?,
                None => self.stack.stat(layout::SNAPSHOTS)?.is_none(),
            };
        let snapshots = |directory: &Self| directory.snapshots.as_ref().map(Directory::inode);
        Ok(is_named
            || self
                .found_anew()?
                .is_some_and(|found| snapshots(&found) == snapshots(self)))
    }

    /// The same for what holds the lock marker: who holds the lock does not change with the directory of the snapshots.
    pub(crate) fn is_lock_at_its_path(&self) -> Result<bool, Failure> {
        Ok(self.is_stack_named()? || self.found_anew()?.is_some())
    }

    /// Level by level, so that no link is followed below the root.
    fn is_stack_named(&self) -> Result<bool, Failure> {
        Ok(self.root.is_at_its_path()?
            && self.root.leads_to_directory(self.id.factory(), &self.factory)?
            && self.factory.leads_to_directory(self.id.stack(), &self.stack)?)
    }

    /// Opens the path again, where different inode numbers do not prove that a name leads elsewhere: some untrusted
    /// filesystems report one for a directory's name and another one for its handle. `None` if it leads to another stack.
    fn found_anew(&self) -> Result<Option<Self>, Failure> {
        if self.filesystem.is_trusted() {
            return Ok(None);
        }
        let found = match Self::open(self.root.path(), &self.id) {
            Ok(found) => found,
            Err(Failure::NotADirectory(_)) => None,
            Err(failure) => return Err(failure),
        };
        let inodes = |found: &Self| [&found.root, &found.factory, &found.stack].map(Directory::inode);
        Ok(found.filter(|found| inodes(found) == inodes(self)))
    }

    /// Fails if the factory or the stack is stored under another spelling. Every change asks, and the first one looks.
    pub(crate) fn demand_spelling(&self) -> Result<(), Failure> {
        if !self.is_spelled.load(Ordering::Relaxed) {
            self.root.demand_spelling(self.id.factory(), &self.factory)?;
            self.factory.demand_spelling(self.id.stack(), &self.stack)?;
            self.is_spelled.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    pub(crate) fn demand_at_its_path(&self) -> Result<(), Failure> {
        self.demand(self.is_at_its_path()?)
    }

    pub(crate) fn demand_lock_at_its_path(&self) -> Result<(), Failure> {
        self.demand(self.is_lock_at_its_path()?)
    }

    fn demand(&self, is_at_its_path: bool) -> Result<(), Failure> {
        match is_at_its_path {
            true => Ok(()),
            false => Err(Failure::DirectoryMoved(self.stack.path().into())),
        }
    }

    /// Removes what dead processes left, for a short time and not at every call. Do not call it while holding the lock or the
    /// directory mutex.
    pub(crate) fn clean_now_and_then(&self) {
        {
            let mut last = self.last_cleaning.lock().unwrap_or_else(PoisonError::into_inner);
            if last.is_some_and(|last| last.elapsed() <= CLEANING_INTERVAL) {
                return;
            }
            *last = Some(Instant::now());
        }
        let deadline = Instant::now() + CLEANING_TIME;
        for directory in [Some(&self.stack), self.snapshots()].into_iter().flatten() {
            // Cleaning helps everybody who reads the directory; its errors do not fail the call that it is part of.
            let _ = temporary::remove_stale(directory, self.filesystem, deadline);
        }
    }
}

/// A relative path would lead elsewhere after the next `chdir`.
fn demand_absolute(root: &Path) -> Result<(), Failure> {
    match root.is_absolute() {
        true => Ok(()),
        false => Err(Failure::NoWorkingDirectory(root.into())),
    }
}
