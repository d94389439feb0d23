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

/// Returns whether nobody has the exclusive flock of an open file. Any number of processes can look at once: each takes a shared
/// flock for a moment, which stands in nobody else's way.
pub(crate) fn is_free(file: &File) -> io::Result<bool> {
    let lock = RwLock::new(file);
    let is_free = taken(|| lock.try_read().map(std::mem::forget))?;
    if is_free {
        unlock(file);
    }
    Ok(is_free)
}

/// Gives the flock back at once, also where a child has inherited the handle.
pub(crate) fn unlock(file: &File) {
    // This fails only for a handle that is not a file.
    let _ = rustix::io::retry_on_intr(|| rustix::fs::flock(file, FlockOperation::Unlock));
}

fn taken(mut attempt: impl FnMut() -> io::Result<()>) -> io::Result<bool> {
    loop {
        return match attempt() {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            // A network filesystem asks its server, so a signal can interrupt even a call that does not wait.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
    }
}
