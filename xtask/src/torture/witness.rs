use super::place::Place;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;

/// Proves exclusion without the lock that is tested: an flock on a file of its own, which the kernel takes from the dead.
///
/// A process opens it before anything else: the kernel closes the files of the dead in order, so that the next holder of the
/// lock does not find the witness still held.
#[derive(Debug)]
pub(super) struct Witness(File);

impl Witness {
    pub(super) fn open(place: &Place) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(place.witness())?;
        Ok(Self(file))
    }

    /// To be called first in a critical section: false when somebody else is in one.
    pub(super) fn enter(&self) -> io::Result<bool> {
        match self.0.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// To be called last in a critical section.
    pub(super) fn leave(&self) -> io::Result<()> {
        self.0.unlock()
    }
}
