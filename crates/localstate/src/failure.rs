use rustix::io::Errno;
use sdk_state::{Error, ErrorKind, LockInfo, MAX_RECORD_BYTES, Revision};
use std::io;
use std::path::PathBuf;

/// Every failure of this backend, in detail. Callers get it as an [`Error`], whose kind says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("there is no such revision: list the revisions that exist")]
    NoSuchRevision(Revision),
    #[error("the snapshot is an empty file: restore it from a copy, or use another revision")]
    EmptySnapshot(Revision),
    #[error("the snapshot is not a regular file: somebody put something else in its place")]
    SnapshotNotPlain(Revision),
    #[error(
        "the snapshot has {bytes} bytes, more than the limit of {limit}: raise the limit if that is intended"
    )]
    SnapshotTooLarge { rev: Revision, bytes: u64, limit: u64 },
    #[error("a write cannot use this name: it is not a time")]
    NotWritable(Revision),
    #[error("the current revision cannot be deleted: make another one current first")]
    IsCurrent(Revision),
    /// An error of the contract's own functions is passed on as it is.
    #[error("{0}")]
    Contract(Error),
    #[error("`current` is not a regular file: make a revision current, which replaces it")]
    PointerNotPlain(PathBuf),
    #[error(
        "`current` is damaged or missing, and the changes of a run stand on this revision: make it current first, which keeps them"
    )]
    ChangesWithoutPointer { path: PathBuf, base: Revision },
    #[error(
        "`current` is damaged or missing, and the changes in the journal are lost, because they or the revision that they \
         stand on cannot be read: make a revision current, which discards them"
    )]
    PointerLost { path: PathBuf, base: Option<Revision> },
    #[error(
        "the disk did not confirm that this is durable, so it may be gone after a power cut: \
         check the disk, open the store again, read the revision and repeat the write"
    )]
    DurabilityUnknown {
        rev: Revision,
        #[source]
        source: Option<io::Error>,
    },
    #[error(
        "the snapshot is deleted, but the disk did not confirm it, so it may be back after a power cut: \
         check the disk, open the store again and repeat the deletion"
    )]
    DeletionUnknown {
        rev: Revision,
        #[source]
        source: Option<io::Error>,
    },
    #[error(
        "the disk did not confirm an earlier change, so nothing is changed: check the disk and open the store again"
    )]
    Unconfirmed(PathBuf),
    #[error(
        "the lock, or an answer, was lost during this change, which may have happened anyway: \
         check what is current before you do anything else"
    )]
    ChangedWithoutLock {
        rev: Revision,
        #[source]
        source: Option<io::Error>,
    },
    #[error(
        "the answer of the filesystem was lost, so this may be stored: look whether it exists before you repeat the write"
    )]
    PublicationUnknown { path: PathBuf, source: io::Error },
    #[error("the answer of the filesystem was lost, so the lock may be held still: look who holds it")]
    RemovalOfMarkerUnknown { path: PathBuf, source: io::Error },
    #[error("the journal is not a regular file: remove what somebody put in its place")]
    JournalNotPlain(PathBuf),
    #[error("the journal is damaged, so the changes in it cannot be read: restore the file from a copy")]
    JournalDamaged(PathBuf),
    #[error("a journal record has 1 to {MAX_RECORD_BYTES} bytes, but this one has {0}")]
    NotARecord(usize),
    #[error("on a network filesystem no journal is kept: write a revision")]
    NoJournal,
    #[error(
        "the disk did not confirm a change of the journal, so it may be gone after a power cut: check the disk, \
         open the store again and check which changes it holds"
    )]
    RecordUnknown {
        path: PathBuf,
        rev: Revision,
        #[source]
        source: Option<io::Error>,
    },
    #[error("the lock marker is not a regular file: remove what somebody put in its place")]
    MarkerNotPlain(PathBuf),
    #[error("the lock is no longer held: stop, and lock again before you change anything")]
    LockLost,
    #[error("the lock belongs to another process")]
    LockOfAnotherProcess,
    #[error("the lock is held")]
    Locked(Box<LockInfo>),
    /// An untrusted filesystem cannot compare and evict in one step.
    #[error("{0} locked at the same time and was evicted instead: tell them that their lock is lost")]
    EvictedAnother(Box<LockInfo>),
    #[error(
        "another process has kept this stack busy for {seconds} seconds: if it is stopped, resume or end it, then try again"
    )]
    Busy { path: PathBuf, seconds: u64 },
    #[error("the path now leads to another directory: somebody is moving the store, try again")]
    DirectoryMoved(PathBuf),
    #[error(
        "the directory was moved or removed during this change, which may have happened anyway: \
         check what is current before you do anything else"
    )]
    MovedMeanwhile(Revision),
    #[error("on a network filesystem this needs the lock: take the lock first")]
    Unguarded,
    #[error("a part of the path is a symbolic link or not a directory: only the root may be a link")]
    NotADirectory(PathBuf),
    #[error(
        "the name differs from the stored one only in upper and lower case: this filesystem would mix them up"
    )]
    OtherSpelling(PathBuf),
    #[error("this file is not part of the store, so the stack is not removed: move the file elsewhere first")]
    ForeignFile(PathBuf),
    #[error("the stack was removed only in part, because others keep using it: try again once they are done")]
    InUse(PathBuf),
    #[error(
        "the stack is removed, but the disk did not confirm it, so it may be back after a power cut: remove it again"
    )]
    RemovalUnknown { path: PathBuf, source: io::Error },
    #[error("the path is empty, or relative to a working directory that is gone: give an absolute one")]
    NoWorkingDirectory(PathBuf),
    #[error("cannot {action}{}", hint(source))]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

impl Failure {
    /// The same failure after `rev` was stored: an I/O error no longer means that nothing has changed.
    pub(crate) fn after_the_change(self, rev: &Revision) -> Self {
        match self {
            Self::Io { source, .. } => Self::DurabilityUnknown {
                rev: rev.clone(),
                source: Some(source),
            },
            other => other,
        }
    }
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
            Failure::PointerNotPlain(path)
            | Failure::JournalNotPlain(path)
            | Failure::JournalDamaged(path)
            | Failure::MarkerNotPlain(path)
            | Failure::NotADirectory(path)
            | Failure::ForeignFile(path) => Self::new(ErrorKind::Damaged, message).at_path(path),
            Failure::ChangesWithoutPointer { path, base } => Self::new(ErrorKind::Damaged, message)
                .at_path(path)
                .at_revision(&base),
            Failure::PointerLost { path, base } => {
                let error = Self::new(ErrorKind::Damaged, message).at_path(path);
                base.iter().fold(error, Self::at_revision)
            }
            Failure::DurabilityUnknown { rev, source }
            | Failure::DeletionUnknown { rev, source }
            | Failure::ChangedWithoutLock { rev, source } => {
                let error = Self::new(ErrorKind::OutcomeUnknown, message).at_revision(&rev);
                match source {
                    Some(source) => error.with_source(source),
                    None => error,
                }
            }
            Failure::RecordUnknown { path, rev, source } => {
                let error = Self::new(ErrorKind::OutcomeUnknown, message)
                    .at_revision(&rev)
                    .at_path(path);
                match source {
                    Some(source) => error.with_source(source),
                    None => error,
                }
            }
            Failure::NotARecord(_) => Self::new(ErrorKind::TooLarge, message),
            Failure::LockLost | Failure::LockOfAnotherProcess => Self::new(ErrorKind::LockLost, message),
            Failure::Locked(info) => Self::locked(*info),
            Failure::EvictedAnother(info) => Self::new(ErrorKind::Locked(info), message),
            Failure::Busy { path, .. } | Failure::DirectoryMoved(path) | Failure::InUse(path) => {
                Self::new(ErrorKind::Unavailable, message).at_path(path)
            }
            Failure::RemovalUnknown { path, source }
            | Failure::PublicationUnknown { path, source }
            | Failure::RemovalOfMarkerUnknown { path, source } => {
                Self::new(ErrorKind::OutcomeUnknown, message)
                    .at_path(path)
                    .with_source(source)
            }
            Failure::Unguarded | Failure::NoJournal => Self::new(ErrorKind::Unsupported, message),
            Failure::OtherSpelling(path) => Self::new(ErrorKind::InvalidName, message).at_path(path),
            Failure::MovedMeanwhile(rev) => Self::new(ErrorKind::OutcomeUnknown, message).at_revision(&rev),
            Failure::Unconfirmed(path) | Failure::NoWorkingDirectory(path) => {
                Self::new(ErrorKind::Io, message).at_path(path)
            }
            Failure::Io { path, source, .. } => {
                let kind = match is_leased(&source) {
                    true => ErrorKind::Unavailable,
                    false => ErrorKind::Io,
                };
                Self::new(kind, message).at_path(path).with_source(source)
            }
        }
    }
}

/// Returns whether a file could not be opened because of a lease (`fcntl(2)`, `F_SETLEASE`).
fn is_leased(source: &io::Error) -> bool {
    errno(source) == Some(Errno::AGAIN)
}

fn errno(source: &io::Error) -> Option<Errno> {
    source.raw_os_error().map(Errno::from_raw_os_error)
}

/// Returns advice about the most common errors.
fn hint(source: &io::Error) -> &'static str {
    if source.kind() == io::ErrorKind::OutOfMemory {
        return ": there is not enough memory";
    }
    match errno(source) {
        Some(Errno::NOSPC | Errno::DQUOT) => ": the disk is full, free some space and try again",
        Some(Errno::FBIG) => ": the file is larger than this process may write (ulimit -f)",
        Some(Errno::ROFS) => ": the filesystem is read-only",
        Some(Errno::ACCESS | Errno::PERM) => ": permission denied, check who owns the file and its directory",
        Some(Errno::MFILE | Errno::NFILE) => ": too many files are open, close some and try again",
        Some(Errno::AGAIN) => ": another program, such as a file server, has a lease on it, try again",
        _ => "",
    }
}
