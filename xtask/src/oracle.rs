//! The exclusion oracle: tells whether two workers are in a critical section at once, without the lock that is tested.

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

/// A POSIX record lock on a file of its own, which the kernel takes from the dead, and a mutex among the threads of one
/// process, whom a record lock does not tell apart.
///
/// An flock would not do, for two reasons. The library uses flocks. And the kernel takes record locks from the dead while it
/// goes through their files, but flocks only after that, those of the last file first: the next holder of the lock could find
/// the dead one's oracle still held.
#[derive(Debug)]
pub(crate) struct Oracle {
    file: File,
    threads: Mutex<()>,
}

impl Oracle {
    /// To be opened once in a process: closing any handle of the file gives the record lock back.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: OpenOptions::new().create(true).append(true).open(path)?,
            threads: Mutex::new(()),
        })
    }

    /// To be called first in a critical section: `None` when somebody else is in one.
    pub(crate) fn enter(&self) -> io::Result<Option<Inside<'_>>> {
        let Ok(thread) = self.threads.try_lock() else {
            return Ok(None);
        };
        match rustix::fs::fcntl_lock(&self.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Inside {
                file: &self.file,
                _thread: thread,
            })),
            Err(Errno::AGAIN | Errno::ACCESS) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Somebody in a critical section: to be dropped before the lock is given back, also after an error.
#[derive(Debug)]
#[must_use = "the section ends when this is dropped"]
pub(crate) struct Inside<'a> {
    file: &'a File,
    _thread: MutexGuard<'a, ()>,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        // It can only fail on a handle that is no file.
        let _ = rustix::fs::fcntl_lock(self.file, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_threads_are_never_inside_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let oracle = Oracle::open(&directory.path().join("oracle")).unwrap();
        let inside = oracle.enter().unwrap().unwrap();
        let other =
            || std::thread::scope(|scope| scope.spawn(|| oracle.enter().unwrap().is_some()).join().unwrap());
        assert!(!other());
        drop(inside);
        assert!(other());
    }
}
