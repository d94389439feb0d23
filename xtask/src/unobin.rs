//! The stand-in for unobin: takes and gives back the lock as unobin does.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process;

/// It creates the marker if there is none, and removes whatever has the name, since it does not know when it was evicted.
/// Its marker holds a process id and is not flocked, so nobody may take it for a dead holder's.
pub(crate) struct Unobin {
    marker: PathBuf,
}

impl Unobin {
    pub(crate) fn new(marker: PathBuf) -> Self {
        Self { marker }
    }

    /// Whether it got the lock. It makes no directories.
    pub(crate) fn try_lock(&self) -> io::Result<bool> {
        match File::create_new(&self.marker) {
            Ok(mut file) => writeln!(file, "{}", process::id()).map(|()| true),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether there was anything to remove.
    pub(crate) fn unlock(&self) -> io::Result<bool> {
        match fs::remove_file(&self.marker) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}
