use super::place::Place;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;

/// Proves exclusion without the lock that is tested: a POSIX record lock on a file of its own, which the kernel takes from the
/// dead.
///
/// No flock, for two reasons. It is another mechanism than the library's. And the kernel takes record locks while it goes
/// through the files of the dead, but flocks only after that, those of the last file first: with an flock the next holder of
/// the lock may find the dead one's witness still held.
#[derive(Debug)]
pub(super) struct Witness(File);

impl Witness {
    /// To be opened once a process: closing any handle of the file gives the record lock back.
    pub(super) fn open(place: &Place) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(place.witness())?;
        Ok(Self(file))
    }

    /// To be called first in a critical section: `None` when another process is in one.
    pub(super) fn enter(&self) -> io::Result<Option<Inside<'_>>> {
        match rustix::fs::fcntl_lock(&self.0, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Inside(&self.0))),
            Err(Errno::AGAIN | Errno::ACCESS) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Somebody in a critical section: to be dropped before the lock is given back, also after an error.
#[derive(Debug)]
#[must_use]
pub(super) struct Inside<'a>(&'a File);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        // What can fail is a handle that is no file.
        let _ = rustix::fs::fcntl_lock(self.0, FlockOperation::Unlock);
    }
}
