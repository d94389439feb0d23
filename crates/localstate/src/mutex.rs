use crate::directory::{self, Directory};
use crate::failure::Failure;
use crate::flock;
use crate::stack::StackDirectory;
use sdk_state::Wait;
use std::fs::File;
use std::io;
use std::time::Duration;

/// Far longer than any change takes: a process that holds the mutex longer is stopped.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longer than a marker usually takes to be written and flushed.
const TURN_PATIENCE: Duration = Duration::from_millis(5);
const FIRST_PAUSE: Duration = Duration::from_micros(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(1);

/// The directory mutex, an exclusive flock on the stack's directory: makes a check and a change one step among our processes.
///
/// The directory is opened again each time, because an flock does not keep two users of one handle apart. Nothing is flushed
/// while it is held, so it is held for microseconds. On an untrusted filesystem several processes may hold it at once, and to
/// the clients of a share the server's is unknown: changes that depend on it are checked a second time.
#[derive(Debug)]
#[must_use = "dropping it unlocks the directory"]
pub(crate) struct DirectoryMutex(File);

impl DirectoryMutex {
    /// Waits for it. The directories are where their path leads, or the error is [`Failure::DirectoryMoved`].
    pub(crate) fn lock(directory: &StackDirectory) -> Result<Self, Failure> {
        let mutex = Self::lock_wherever(directory)?;
        directory.demand_at_its_path()?;
        Ok(mutex)
    }

    /// The same for directories that somebody may have moved elsewhere.
    pub(crate) fn lock_wherever(directory: &StackDirectory) -> Result<Self, Failure> {
        match Self::try_for(PATIENCE, directory)? {
            Some(mutex) => Ok(mutex),
            None => Err(Failure::Busy {
                path: directory.stack.path().into(),
                seconds: PATIENCE.as_secs(),
            }),
        }
    }

    /// `None` if somebody else held it all the time.
    pub(crate) fn try_for(patience: Duration, directory: &StackDirectory) -> Result<Option<Self>, Failure> {
        Self::on(&directory.stack, patience, directory)
    }

    /// The turn to make a lock marker, which is flushed before the mutex is taken: an exclusive flock on the directory of the
    /// snapshots. If many find the lock free, one of them flushes a marker. Exclusion does not depend on it: a process that
    /// does not get it goes on without it.
    pub(crate) fn turn(directory: &StackDirectory) -> Option<Self> {
        let snapshots = directory.snapshots()?;
        Self::on(snapshots, TURN_PATIENCE, directory).ok().flatten()
    }

    fn on(
        handle: &Directory,
        patience: Duration,
        directory: &StackDirectory,
    ) -> Result<Option<Self>, Failure> {
        let mutex = Self(handle.reopen()?);
        let wait = Wait::at_most(patience);
        let mut pause = FIRST_PAUSE;
        loop {
            match flock::try_exclusive(&mutex.0) {
                Ok(true) => return Ok(Some(mutex)),
                Ok(false) => {}
                Err(_) if !directory.filesystem.is_trusted() => return Ok(Some(mutex)),
                Err(source) => return Err(handle.own_failure("lock the directory", source)),
            }
            if !wait.pause(pause) {
                return Ok(None);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Unlocks, then makes the names in the directory durable. The handle is older than the change that was made under the
    /// mutex, so the kernel reports a failed flush to it.
    pub(crate) fn unlock_and_sync(self) -> io::Result<()> {
        flock::unlock(&self.0);
        directory::sync(&self.0)
    }
}

impl Drop for DirectoryMutex {
    fn drop(&mut self) {
        // Closing is not enough: a child that was forked meanwhile would keep it.
        flock::unlock(&self.0);
    }
}
