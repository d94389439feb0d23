use crate::{LockInfo, Revision};
use sdk_encrypt::Recipient;
use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The error of a store or a backend: a kind to match on, a message to read, and a cause.
///
/// The message names the stack, the revision or the file, and what to do next. It contains no key and no part of a document
/// ([E4](crate::guarantees)), and does not repeat its source: to print everything, follow [`source`](StdError::source). Clones share one cause, so
/// every waiting thread can have the same error. An `Error` is one word wide.
///
/// ```
/// use sdk_state::{Error, ErrorKind, Revision};
///
/// fn advice(error: &Error) -> &'static str {
///     match error.kind() {
///         ErrorKind::PointerLost { .. } => "choose a revision",
///         ErrorKind::CurrentMoved { .. } => "read it again and start over",
///         ErrorKind::Unavailable => "try again",
///         _ => "tell the user",
///     }
/// }
///
/// let error = Error::current_moved(None, Some("2026-07-10T12:00:00Z".parse::<Revision>()?));
/// assert_eq!(advice(&error), "read it again and start over");
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    revision: Option<Revision>,
    path: Option<PathBuf>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The kind of an error, by what the caller should do about it.
///
/// More kinds may be added, so a `match` needs a last arm; treat an unknown kind as a failure.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such revision: list the revisions.
    NotFound,
    /// Snapshots exist and none is current: the pointer was removed, or the first run died, or failed, between its first
    /// write and its first move. This is not a fresh stack: choose a revision and make it current, or everything is built
    /// again.
    PointerLost {
        /// How many snapshots exist.
        snapshots: u64,
    },
    /// Somebody else moved `current`: read it again and start over.
    CurrentMoved {
        /// What the caller expected; `None` for no current revision.
        expected: Option<Revision>,
        /// What was found.
        found: Option<Revision>,
    },
    /// The current revision cannot be deleted: make another one current first.
    RevisionIsCurrent,
    /// The change may or may not have happened, or may not survive a power cut: look before you repeat it.
    /// [`Error::revision`] names the revision, if there is one.
    OutcomeUnknown,
    /// Somebody else holds the lock: wait, or evict the holder if you are sure that it is gone.
    Locked(Box<LockInfo>),
    /// The lock is no longer the caller's, or not usable in this process: stop changing things. To go on, lock again and read
    /// the head.
    LockLost,
    /// The run has ended: begin another one.
    Finished,
    /// The caller cancelled the wait.
    Cancelled,
    /// The name of a factory, stack, revision, payload type or lock token is not allowed: correct it. Also for a clock whose
    /// year does not have four digits.
    InvalidName,
    /// The address of a backend is not understood: correct it.
    InvalidAddress,
    /// A document breaks a rule of its format, or belongs to another stack: correct it.
    InvalidSnapshot,
    /// The stack holds documents of another type: open it with a tool that knows them.
    OtherPayload {
        /// The payload type that was found.
        found: String,
    },
    /// A stored file was changed or cut short: use another revision, or restore the file from a copy.
    Damaged,
    /// None of the given keys opens the file: give the key that the message names.
    WrongKey,
    /// The stack is sealed for this recipient, and none of the given keys can seal for it: give its key, or remove the recipient
    /// from the stack.
    MissingKey {
        /// The recipient.
        recipient: Recipient,
    },
    /// The file belongs to another stack or revision: somebody moved it.
    Misplaced,
    /// This store was told not to open files of this sort: version 1, not encrypted, or of a newer version.
    Refused,
    /// Something is larger than the configured limit.
    TooLarge,
    /// The backend, or the keyring, cannot do this: do it another way.
    Unsupported,
    /// The backend or a key service did not answer in time. Nothing was changed: try again later.
    Unavailable,
    /// The backend failed: see the source.
    Io,
}

impl Error {
    /// Makes an error. The message is in lower case and says what happened, to what, and what to do next.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            revision: None,
            path: None,
            source: None,
        }))
    }

    /// Makes a [`NotFound`](ErrorKind::NotFound) about this revision.
    pub fn not_found(revision: &Revision) -> Self {
        Self::new(ErrorKind::NotFound, "there is no such revision").at_revision(revision)
    }

    /// Makes a [`MissingKey`](ErrorKind::MissingKey).
    pub(crate) fn missing_key(recipient: Recipient) -> Self {
        let message = format!(
            "the stack is sealed for {}, and none of the given keys can seal for it: give that key too, or remove that recipient \
             from the stack",
            recipient.describe()
        );
        Self::new(ErrorKind::MissingKey { recipient }, message)
    }

    /// Makes a [`LockLost`](ErrorKind::LockLost).
    pub fn lock_lost() -> Self {
        Self::new(
            ErrorKind::LockLost,
            "the lock is no longer held: stop, and lock again before you change anything",
        )
    }

    /// Makes a [`Locked`](ErrorKind::Locked) that names the holder.
    pub fn locked(info: LockInfo) -> Self {
        let message = format!("the lock is held by {info}");
        Self::new(ErrorKind::Locked(Box::new(info)), message)
    }

    /// Makes a [`CurrentMoved`](ErrorKind::CurrentMoved) that names both revisions.
    pub fn current_moved(expected: Option<Revision>, found: Option<Revision>) -> Self {
        let name =
            |revision: &Option<Revision>| revision.as_ref().map_or("nothing".into(), ToString::to_string);
        let message = format!(
            "somebody moved `current`: expected {}, found {}; start over from there",
            name(&expected),
            name(&found)
        );
        Self::new(ErrorKind::CurrentMoved { expected, found }, message)
    }

    /// Adds the revision that the error is about, unless the error already names one.
    #[must_use]
    pub fn at_revision(mut self, revision: &Revision) -> Self {
        if self.0.revision.is_none() {
            Arc::make_mut(&mut self.0).revision = Some(revision.clone());
        }
        self
    }

    /// Forgets the revision: nothing is stored under that name.
    pub(crate) fn without_revision(mut self) -> Self {
        if self.0.revision.is_some() {
            Arc::make_mut(&mut self.0).revision = None;
        }
        self
    }

    /// Says first what became of it, or what it is about.
    pub(crate) fn with_outcome(mut self, outcome: &str) -> Self {
        let inner = Arc::make_mut(&mut self.0);
        inner.message = format!("{outcome}: {}", inner.message);
        self
    }

    /// Adds the file concerned.
    #[must_use]
    pub fn at_path(mut self, path: impl Into<PathBuf>) -> Self {
        Arc::make_mut(&mut self.0).path = Some(path.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Arc::make_mut(&mut self.0).source = Some(source.into().into());
        self
    }

    /// Returns the kind, to match on.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// Returns the revision that the error is about, if there is one.
    pub fn revision(&self) -> Option<&Revision> {
        self.0.revision.as_ref()
    }

    /// Returns the file or object that the error is about, if there is one.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Returns the first cause of type `E`, such as the error of the caller's own document.
    pub fn find<E: StdError + 'static>(&self) -> Option<&E> {
        let mut source = self.source();
        while let Some(error) = source {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            source = error.source();
        }
        None
    }

    /// Whether the revision does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind() == &ErrorKind::NotFound
    }

    /// Whether somebody else holds the lock.
    pub fn is_locked(&self) -> bool {
        matches!(self.kind(), ErrorKind::Locked(_))
    }

    /// Whether the caller no longer holds the lock.
    pub fn is_lock_lost(&self) -> bool {
        self.kind() == &ErrorKind::LockLost
    }

    /// Whether somebody else moved `current`.
    pub fn is_current_moved(&self) -> bool {
        matches!(self.kind(), ErrorKind::CurrentMoved { .. })
    }

    /// Whether the change may or may not have happened.
    pub fn is_outcome_unknown(&self) -> bool {
        self.kind() == &ErrorKind::OutcomeUnknown
    }

    /// Whether a stored file was changed or cut short.
    pub fn is_damaged(&self) -> bool {
        self.kind() == &ErrorKind::Damaged
    }

    /// Whether nothing was changed and a later try may succeed.
    pub fn is_unavailable(&self) -> bool {
        self.kind() == &ErrorKind::Unavailable
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(revision) = &self.0.revision {
            write!(f, "revision {revision}: ")?;
        }
        f.write_str(&self.0.message)?;
        if let Some(path) = &self.0.path {
            write!(f, " ({})", path.display())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.to_string())
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// `Unavailable` stays `Unavailable`, a missing or invalid key is [`WrongKey`](ErrorKind::WrongKey), and everything else is
/// [`Unsupported`](ErrorKind::Unsupported).
impl From<sdk_encrypt::Error> for Error {
    fn from(error: sdk_encrypt::Error) -> Self {
        let kind = match error.kind() {
            sdk_encrypt::ErrorKind::Unavailable => ErrorKind::Unavailable,
            sdk_encrypt::ErrorKind::MissingKey | sdk_encrypt::ErrorKind::InvalidKey => ErrorKind::WrongKey,
            _ => ErrorKind::Unsupported,
        };
        let message = error.to_string();
        match error.into_source() {
            Some(source) => Self::new(kind, message).with_source(source),
            None => Self::new(kind, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_clone_keeps_kind_message_and_cause() {
        let error = Error::new(ErrorKind::Io, "cannot read").with_source(io::Error::other("the disk"));
        let clone = error.clone().at_path("/state");
        assert_eq!(error.path(), None);
        assert_eq!(clone.kind(), error.kind());
        assert_eq!(clone.to_string(), "cannot read (/state)");
        assert_eq!(clone.find::<io::Error>().unwrap().to_string(), "the disk");
        assert!(clone.find::<fmt::Error>().is_none());
    }

    #[test]
    fn the_first_revision_named_is_kept() {
        let (one, two): (Revision, Revision) = ("a".parse().unwrap(), "b".parse().unwrap());
        let error = Error::not_found(&one).at_revision(&two);
        assert_eq!(error.revision(), Some(&one));
    }
}
