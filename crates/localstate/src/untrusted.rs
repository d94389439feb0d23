use crate::failure::Failure;
use crate::stack::StackDirectory;
use rustix::io::Errno;
use sdk_state::Revision;
use std::io;

/// Judges a change that was made under the directory mutex. On a trusted filesystem the mutex kept everybody else out, and
/// the answer is right.
///
/// On an untrusted one neither holds: another machine may have evicted the holder between the last look and the change, and
/// the answer of a change that happened may have been lost. There `is_seen` looks a second time. If the marker still carries
/// the holder's token, the lock was held all the time, since no token comes back.
pub(crate) fn second_look(
    directory: &StackDirectory,
    rev: &Revision,
    changed: Result<(), Failure>,
    is_seen: impl FnOnce() -> Result<bool, Failure>,
) -> Result<(), Failure> {
    if directory.filesystem.is_trusted() {
        return changed;
    }
    let source = match changed {
        Ok(()) => None,
        // The server refused it.
        Err(Failure::Io { source, action, path }) if is_refusal(&source) => {
            return Err(Failure::Io { action, path, source });
        }
        Err(Failure::Io { source, .. }) => Some(source),
        Err(other) => return Err(other),
    };
    match is_seen() {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(Failure::ChangedWithoutLock {
            rev: rev.clone(),
            source,
        }),
    }
}

fn is_refusal(source: &io::Error) -> bool {
    matches!(
        source.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::NOSPC | Errno::DQUOT | Errno::NAMETOOLONG)
    )
}
