use crate::directory::{Directory, make_root};
use crate::failure::Failure;
use crate::filesystem::Filesystem;
use crate::{layout, temporary};
use sdk_state::StackId;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time between two searches for leftover files.
const CLEANING_INTERVAL: Duration = Duration::from_secs(600);
/// How long a look for leftover files may take: enough to list the names of some 300,000 files.
const CLEANING_TIME: Duration = Duration::from_millis(100);

/// The open directories of one stack, which stay the same ones when somebody renames them.
#[derive(Debug)]
pub(crate) struct StackDirectory {
    /// Holds `current` and `lock`.
    pub(crate) stack: Directory,
    /// Holds the snapshots; missing where unobin has only locked so far.
    snapshots: Option<Directory>,
    pub(crate) filesystem: Filesystem,
    /// Whether each level was made, and made durable, through these handles.
    pub(crate) is_durable: bool,
    /// Whether inode numbers can be compared: some untrusted filesystems report different ones for a directory's name and its
    /// handle.
    is_comparable: bool,
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
        let snapshots = stack.open_directory(layout::SNAPSHOTS)?;
        Self::of(stack, snapshots, false).map(Some)
    }

    /// Makes every level that is missing, and the existence of each durable.
    pub(crate) fn make(root: &Path, id: &StackId) -> Result<Self, Failure> {
        demand_absolute(root)?;
        let root = make_root(root)?;
        let stack = root.make_directory(id.factory())?.make_directory(id.stack())?;
        let snapshots = stack.make_directory(layout::SNAPSHOTS)?;
        Self::of(stack, Some(snapshots), true)
    }

    fn of(stack: Directory, snapshots: Option<Directory>, is_durable: bool) -> Result<Self, Failure> {
        let filesystem = stack.filesystem()?;
        Ok(Self {
            is_comparable: filesystem.is_trusted() || stack.is_at_its_path()?,
            filesystem,
            stack,
            snapshots,
            is_durable,
            last_cleaning: Mutex::default(),
        })
    }

    pub(crate) fn snapshots(&self) -> Option<&Directory> {
        self.snapshots.as_ref()
    }

    /// Returns whether these are still the directories that a fresh open would find. While they are open no others get their
    /// numbers, so this is sure for the moment when it is asked.
    pub(crate) fn is_at_its_path(&self) -> Result<bool, Failure> {
        if !self.is_comparable {
            return Ok(true);
        }
        Ok(self.is_lock_at_its_path()?
            && match &self.snapshots {
                Some(snapshots) => self.stack.leads_to_directory(layout::SNAPSHOTS, snapshots)?,
                None => self.stack.stat(layout::SNAPSHOTS)?.is_none(),
            })
    }

    /// The same for what holds the lock marker: who holds the lock does not change with the directory of the snapshots.
    pub(crate) fn is_lock_at_its_path(&self) -> Result<bool, Failure> {
        Ok(!self.is_comparable || self.stack.is_at_its_path()?)
    }

    pub(crate) fn demand_at_its_path(&self) -> Result<(), Failure> {
        match self.is_at_its_path()? {
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
