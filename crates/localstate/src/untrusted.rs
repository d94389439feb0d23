use crate::failure::Failure;
use crate::stack::StackDirectory;
use rustix::io::Errno;
use sdk_state::Revision;
use std::io;

/// Judges a change that was made under the directory mutex, which keeps out our processes on a trusted filesystem. Another
/// machine, for which this directory is a share, may have evicted the holder between the last look and the change. So
/// `is_seen` looks a second time: if the marker still carries the holder's token, the lock was held all the time, because no
/// token is used twice.
///
/// An error is certain on a trusted filesystem. On another one the answer to a change that happened may have been lost, so
/// the second look decides.
pub(crate) fn second_look(
    directory: &StackDirectory,
    rev: &Revision,
    changed: Result<(), Failure>,
    is_seen: impl FnOnce() -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let source = match changed {
        Ok(()) => None,
        Err(failure) if directory.filesystem.is_trusted() => return Err(failure),
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

/// Returns whether a filesystem says with this error that it changed nothing.
pub(crate) fn is_refusal(source: &io::Error) -> bool {
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
        // The answer was lost; the change may have been made or not.
        assert_eq!(judge(failed(Errno::IO), Ok(true)), Ok(()));
        assert_eq!(
            judge(failed(Errno::NOENT), Ok(false)),
            Err(ErrorKind::OutcomeUnknown)
        );
        // The server refused it.
        assert_eq!(judge(failed(Errno::ROFS), Ok(true)), Err(ErrorKind::Io));
    }

    /// The client of a share evicted a holder on the server, whose move was not looked at again: it was told that all went
    /// well.
    #[test]
    fn a_change_on_the_server_of_a_share_is_looked_at_again() {
        let root = tempfile::tempdir().unwrap();
        let rev: Revision = "2026-07-10T12:00:00Z".parse().unwrap();
        let mut directory = StackDirectory::make(root.path(), &"network/prod".parse().unwrap()).unwrap();
        directory.filesystem = Filesystem::Trusted;
        let judge = |changed, seen| second_look(&directory, &rev, changed, || seen);
        assert!(judge(Ok(()), Ok(true)).is_ok());
        for seen in [Ok(false), Err(Failure::LockLost)] {
            assert!(matches!(
                judge(Ok(()), seen),
                Err(Failure::ChangedWithoutLock { .. })
            ));
        }
        // A local error is certain.
        let failed = Err(directory.stack.failure("replace the file", "current", Errno::IO));
        assert!(matches!(judge(failed, Ok(true)), Err(Failure::Io { .. })));
    }
}

#[cfg(test)]
mod copied {
    //! Stacks that were copied from a trusted filesystem with what a run has not committed.

    use crate::LocalBackend;
    use crate::filesystem::Filesystem;
    use sdk_state::encrypt::Noop;
    use sdk_state::{Store, Wait};

    /// The journal was not read: its changes were neither shown nor committed, and the next move dropped them.
    #[test]
    fn what_is_unfinished_is_committed_where_no_journal_is_kept() {
        let root = tempfile::tempdir().unwrap();
        let open = |filesystem| {
            let id = "network/prod".parse().unwrap();
            Store::new(LocalBackend::on(filesystem, root.path(), id), Noop)
        };
        let local = open(Filesystem::Trusted).begin("apply", Wait::none()).unwrap();
        local.remove("nothing").unwrap();
        let base = local.finish("").unwrap().unwrap();
        let local = open(Filesystem::Trusted).begin("apply", Wait::none()).unwrap();
        local.remove("nothing").unwrap();
        drop(local);
        let share = open(Filesystem::Untrusted);
        let unfinished = share.head().unwrap().unwrap().unfinished.unwrap();
        assert_eq!(unfinished.changes, 1);
        let run = share.begin("apply", Wait::none()).unwrap();
        assert_eq!(run.recovered(), 1);
        // The journal stays, and is dead: going back to its base does not make it live.
        run.set_current(&base).unwrap();
        assert_eq!(share.unfinished().unwrap(), None);
    }
}

#[cfg(test)]
mod kit {
    //! The rules of the contract on a filesystem where nothing proves that a holder is dead.

    use crate::LocalBackend;
    use crate::filesystem::Filesystem;
    use sdk_conformance::Fixture;
    use sdk_state::{Backend, Error, LockInfo, Revision, StackId};
    use std::fs;
    use std::path::PathBuf;
    use tempfile::TempDir;

    /// A temporary directory that is treated as a network share.
    struct Share(TempDir);

    impl Share {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn directory(&self, id: &StackId) -> PathBuf {
            self.0.path().join(id.factory()).join(id.stack())
        }
    }

    impl Fixture for Share {
        fn open(&self, id: &StackId) -> Result<Box<dyn Backend>, Error> {
            let backend = LocalBackend::on(Filesystem::Untrusted, self.0.path(), id.clone());
            Ok(Box::new(backend))
        }

        fn overwrite_pointer(&self, id: &StackId, content: &[u8]) -> Option<()> {
            fs::write(self.directory(id).join("current"), content).unwrap();
            Some(())
        }

        fn overwrite_snapshot(&self, id: &StackId, rev: &Revision, content: &[u8]) -> Option<()> {
            let file = self.directory(id).join(format!("snapshots/{rev}.json.enc"));
            fs::write(file, content).unwrap();
            Some(())
        }

        fn plant_lock(&self, id: &StackId, info: &LockInfo) -> Option<()> {
            let marker = format!("\n{}", serde_json::to_string(info).unwrap());
            fs::write(self.directory(id).join("lock"), marker).unwrap();
            Some(())
        }

        fn exists(&self, _: &StackId) -> Option<bool> {
            Some(fs::read_dir(self.0.path()).unwrap().next().is_some())
        }
    }

    sdk_conformance::backend_tests!(
        Share::new,
        except "GUARD-07": "without the directory mutex every removal needs the lock",
    );
}
