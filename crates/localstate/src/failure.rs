use rustix::io::Errno;
use sdk_state::{Error, ErrorKind, LockInfo, Revision};
use std::io;
use std::path::PathBuf;

/// Everything that can go wrong in this backend, precisely. Callers see [`Error`], which says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("there is no such revision: list the revisions that exist")]
    NoSuchRevision(Revision),
    #[error("the snapshot is an empty file: restore it from a copy, or use another revision")]
    EmptySnapshot(Revision),
    #[error("the snapshot is no regular file: somebody put something else in its place")]
    SnapshotNotPlain(Revision),
    #[error(
        "the snapshot has {bytes} bytes, more than the limit of {limit}: raise the limit if that is intended"
    )]
    SnapshotTooLarge { rev: Revision, bytes: u64, limit: u64 },
    #[error("a write cannot get this name: it tells no moment")]
    NotWritable(Revision),
    #[error("the current revision is not deleted: move `current` first")]
    IsCurrent(Revision),
    /// What the contract's own functions report is passed on as it is.
    #[error("{0}")]
    Contract(Error),
    #[error("`current` is no regular file: choose a revision with set_current, which replaces it")]
    PointerNotPlain(PathBuf),
    #[error("`current` moved")]
    Moved {
        expected: Option<Revision>,
        found: Option<Revision>,
    },
    #[error(
        "the disk did not confirm that this is durable, so it may be gone after a power cut: \
         check the disk, open the store anew, read the revision and write again"
    )]
    DurabilityUnknown {
        rev: Revision,
        #[source]
        source: Option<io::Error>,
    },
    #[error(
        "it is deleted, and the disk did not confirm it: after a power cut it may be back, so delete it again"
    )]
    DeletionUnknown { rev: Revision, source: io::Error },
    #[error("the lock marker is no regular file: remove what somebody put in its place")]
    MarkerNotPlain(PathBuf),
    #[error("the lock is no longer held: lock again before changing anything")]
    LockLost,
    #[error("the lock belongs to another process")]
    LockOfAnotherProcess,
    #[error("the lock is held by another")]
    OtherHolder(Box<LockInfo>),
    #[error(
        "another process has kept this stack busy for {0} seconds: is it stopped? try again once it goes on or ends"
    )]
    GateHeld(u64),
    #[error("on a network filesystem this needs the lock: take it first and pass it on")]
    Unguarded,
    #[error("a directory on the way is a symbolic link or no directory: only the root may be a link")]
    NotADirectory(PathBuf),
    #[error(
        "the name differs from the stored one in upper and lower case: this filesystem would mix them up"
    )]
    OtherSpelling(PathBuf),
    #[error("cannot {action}{}", hint(source))]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let message = failure.to_string();
        match failure {
            Failure::NoSuchRevision(rev) => Self::new(ErrorKind::NotFound, message).at_revision(&rev),
            Failure::EmptySnapshot(rev) | Failure::SnapshotNotPlain(rev) => {
                Self::new(ErrorKind::Damaged, message).at_revision(&rev)
            }
            Failure::SnapshotTooLarge { rev, .. } => {
                Self::new(ErrorKind::TooLarge, message).at_revision(&rev)
            }
            Failure::NotWritable(rev) => Self::new(ErrorKind::InvalidName, message).at_revision(&rev),
            Failure::IsCurrent(rev) => Self::new(ErrorKind::RevisionIsCurrent, message).at_revision(&rev),
            Failure::Contract(error) => error,
            Failure::PointerNotPlain(path) | Failure::MarkerNotPlain(path) | Failure::NotADirectory(path) => {
                Self::new(ErrorKind::Damaged, message).at_path(path)
            }
            Failure::Moved { expected, found } => Self::current_moved(expected, found),
            Failure::DurabilityUnknown { rev, source } => {
                let error =
                    Self::new(ErrorKind::DurabilityUnknown { rev: rev.clone() }, message).at_revision(&rev);
                match source {
                    Some(source) => error.with_source(source),
                    None => error,
                }
            }
            Failure::DeletionUnknown { rev, source } => {
                Self::new(ErrorKind::DurabilityUnknown { rev: rev.clone() }, message)
                    .at_revision(&rev)
                    .with_source(source)
            }
            Failure::LockLost | Failure::LockOfAnotherProcess => Self::new(ErrorKind::LockLost, message),
            Failure::OtherHolder(info) => Self::other_holder(*info),
            Failure::GateHeld(_) => Self::new(ErrorKind::Unavailable, message),
            Failure::Unguarded => Self::new(ErrorKind::Unsupported, message),
            Failure::OtherSpelling(path) => Self::new(ErrorKind::InvalidName, message).at_path(path),
            Failure::Io { path, source, .. } => Self::new(ErrorKind::Io, message)
                .at_path(path)
                .with_source(source),
        }
    }
}

/// What to do about the commonest troubles.
fn hint(source: &io::Error) -> &'static str {
    match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => {
            ": the disk is full, free some space and try again"
        }
        Some(Errno::ROFS) => ": the filesystem is read-only",
        Some(Errno::ACCESS | Errno::PERM) => ": permission denied, check who owns the directory",
        Some(Errno::MFILE | Errno::NFILE) => ": too many files are open, close some and try again",
        _ => "",
    }
}
