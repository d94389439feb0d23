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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::Filesystem;
    use sdk_state::{Error, ErrorKind, StackId};

    /// A holder that had been evicted from another machine moved `current` and was told that all went well.
    #[test]
    fn a_change_without_the_lock_is_never_a_success() {
        let root = tempfile::tempdir().unwrap();
        let id = StackId::new("network", "prod").unwrap();
        let rev: Revision = "2026-07-10T12:00:00Z".parse().unwrap();
        let mut directory = StackDirectory::make(root.path(), &id).unwrap();
        directory.filesystem = Filesystem::Untrusted;
        let failed = |errno: Errno| Err(directory.stack.failure("replace the file", "current", errno));
        let judge = |changed, seen| {
            second_look(&directory, &rev, changed, || seen)
                .map_err(|failure| Error::from(failure).kind().clone())
        };
        assert_eq!(judge(Ok(()), Ok(true)), Ok(()));
        assert_eq!(judge(Ok(()), Ok(false)), Err(ErrorKind::OutcomeUnknown));
        assert_eq!(
            judge(Ok(()), Err(Failure::LockLost)),
            Err(ErrorKind::OutcomeUnknown)
        );
        // The answer was lost, and the change was made, or not.
        assert_eq!(judge(failed(Errno::IO), Ok(true)), Ok(()));
        assert_eq!(
            judge(failed(Errno::NOENT), Ok(false)),
            Err(ErrorKind::OutcomeUnknown)
        );
        // The server refused it.
        assert_eq!(judge(failed(Errno::ROFS), Ok(true)), Err(ErrorKind::Io));

        directory.filesystem = Filesystem::Trusted;
        let looked = second_look(&directory, &rev, Ok(()), || panic!("it looked"));
        assert!(looked.is_ok());
    }
}
