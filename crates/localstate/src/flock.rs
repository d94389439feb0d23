use fd_lock::RwLock;
use rustix::fs::FlockOperation;
use std::fs::File;
use std::io;

/// Takes the exclusive flock of an open file without waiting; false when another handle has one.
///
/// It lives as long as the open file and every duplicate of it that a child has inherited, or until [`unlock`].
pub(crate) fn try_exclusive(file: &File) -> io::Result<bool> {
    let mut lock = RwLock::new(file);
    // The guard would unlock when it is dropped; the flock belongs to the file.
    taken(|| lock.try_write().map(std::mem::forget))
}

/// Takes a shared flock without waiting; false when another handle has an exclusive one.
pub(crate) fn try_shared(file: &File) -> io::Result<bool> {
    let lock = RwLock::new(file);
    taken(|| lock.try_read().map(std::mem::forget))
}

/// Gives it back at once, also where a child has inherited the handle.
pub(crate) fn unlock(file: &File) {
    // What can fail is a handle that is no file.
    let _ = rustix::io::retry_on_intr(|| rustix::fs::flock(file, FlockOperation::Unlock));
}

fn taken(mut attempt: impl FnMut() -> io::Result<()>) -> io::Result<bool> {
    loop {
        return match attempt() {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            // Not to wait does not keep signals away where the server of a network filesystem is asked.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
    }
}
