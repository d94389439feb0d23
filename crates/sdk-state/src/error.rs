use crate::{LockInfo, Revision};
use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};

/// Why a store could not do what it was asked: a kind to be matched on, a message to be read, and what caused it.
///
/// The message names the stack, the revision or the file, and what to do next. It contains no key and nothing of a
/// snapshot (E4), and does not repeat its source: who prints it follows [`source`](StdError::source). One word wide.
///
/// ```
/// use sdk_state::{Error, ErrorKind, Revision};
///
/// fn advice(error: &Error) -> &'static str {
///     match error.kind() {
///         ErrorKind::NoCurrent { snapshots: 0 } => "a fresh start",
///         ErrorKind::NoCurrent { .. } => "the pointer was lost: choose a revision",
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
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    revision: Option<Revision>,
    path: Option<PathBuf>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What went wrong, by what the caller should do about it.
///
/// More kinds may come: a `match` has a last arm, which treats what it does not know as a failure.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Nothing is current. With no `snapshots` this is a fresh start: write the first one. With some, the pointer was
    /// lost: choose one with `set_current`, and do not take it for a fresh start, or everything is built again.
    NoCurrent {
        /// How many snapshots exist all the same.
        snapshots: u64,
    },
    /// There is no such revision: list them.
    NotFound,
    /// `current` is not what the caller expected, because somebody else moved it: read it again and start over.
    CurrentMoved {
        /// What the caller expected, `None` for no current revision.
        expected: Option<Revision>,
        /// What was found.
        found: Option<Revision>,
    },
    /// The current revision is not deleted: move `current` first.
    RevisionIsCurrent,
    /// The medium did not confirm that the change is durable. It is visible, and may be gone after a power cut: check
    /// the disk, open the store anew, read the revision and write again.
    DurabilityUnknown {
        /// The revision that was written, made current or deleted.
        rev: Revision,
    },
    /// Somebody else holds the lock: wait, or evict a holder that is surely gone with `force_unlock`.
    Locked(Box<LockInfo>),
    /// The lock is no longer the caller's, or not usable in this process: stop changing things and lock again.
    LockLost,
    /// The caller cancelled the wait.
    Cancelled,
    /// A factory, stack, revision, payload type or lock token has a name that is not allowed: correct it. Also for a clock
    /// whose year has no name.
    InvalidName,
    /// A snapshot breaks a rule of its format, or belongs to another stack: correct it.
    InvalidSnapshot,
    /// What is stored was changed or cut short: use another revision, or restore it from a copy.
    Damaged,
    /// None of the given keys opens the file: give the key that the message names.
    WrongKey,
    /// The file belongs to another stack, revision or kind of payload: somebody moved it.
    Misplaced,
    /// The file is of a kind that this store was told not to open: version 1, not encrypted, or of a newer version.
    Refused,
    /// Something is larger than the configured limit.
    TooLarge,
    /// The backend, or the ring, cannot do this: do it another way, such as with the lock.
    Unsupported,
    /// The medium, or a holder of a key, does not answer in time: try again.
    Unavailable,
    /// The medium failed: see the source.
    Io,
}

impl Error {
    /// An error with a message in lower case that says what happened, to what, and what to do next.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            revision: None,
            path: None,
            source: None,
        }))
    }

    /// [`NotFound`](ErrorKind::NotFound): there is no such revision.
    pub fn not_found(revision: &Revision) -> Self {
        Self::new(ErrorKind::NotFound, "there is no such revision").at_revision(revision)
    }

    /// [`LockLost`](ErrorKind::LockLost): the lock is no longer the caller's.
    pub fn lock_lost() -> Self {
        Self::new(
            ErrorKind::LockLost,
            "the lock is no longer held: lock again before changing anything",
        )
    }

    /// [`CurrentMoved`](ErrorKind::CurrentMoved): `current` is not what the mover expected.
    pub fn current_moved(expected: Option<Revision>, found: Option<Revision>) -> Self {
        let name =
            |revision: &Option<Revision>| revision.as_ref().map_or("nothing".into(), ToString::to_string);
        let message = format!(
            "{} was expected to be current and {} is: somebody moved it, start over from there",
            name(&expected),
            name(&found)
        );
        Self::new(ErrorKind::CurrentMoved { expected, found }, message)
    }

    /// [`Locked`](ErrorKind::Locked): the lock is held by another one than the one to be evicted.
    pub fn other_holder(info: LockInfo) -> Self {
        let message = format!("the lock is now held by {info}, not by the one to be evicted: look again");
        Self::new(ErrorKind::Locked(Box::new(info)), message)
    }

    /// The same error about this revision, unless it already names one.
    #[must_use]
    pub fn at_revision(mut self, revision: &Revision) -> Self {
        self.0.revision.get_or_insert_with(|| revision.clone());
        self
    }

    /// The same error about this file.
    #[must_use]
    pub fn at_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.0.path = Some(path.into());
        self
    }

    /// The same error with what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The kind, to be matched on.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The revision concerned, if it is one.
    pub fn revision(&self) -> Option<&Revision> {
        self.0.revision.as_ref()
    }

    /// The file or object concerned, if it is one.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
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

/// What could not be done with a key: `Unavailable` stays that, a missing or invalid key is
/// [`WrongKey`](ErrorKind::WrongKey), and everything else is [`Unsupported`](ErrorKind::Unsupported).
impl From<sdk_encrypt::Error> for Error {
    fn from(error: sdk_encrypt::Error) -> Self {
        let kind = match error.kind() {
            sdk_encrypt::ErrorKind::Unavailable => ErrorKind::Unavailable,
            sdk_encrypt::ErrorKind::MissingKey | sdk_encrypt::ErrorKind::InvalidKey => ErrorKind::WrongKey,
            _ => ErrorKind::Unsupported,
        };
        Self::new(kind, error.to_string()).with_source(error)
    }
}

/// Turns "there is none" into a value. It is there to be called on a `Result`, not to be implemented.
///
/// ```
/// use sdk_state::encrypt::Noop;
/// use sdk_state::{Backend as _, MemoryStorage, Optional as _, State, Store};
///
/// # fn main() -> Result<(), sdk_state::Error> {
/// let store: Store<_> = Store::new(MemoryStorage::new("network/prod".parse()?), Noop);
/// let found: Option<State> = store.get(&"2026-07-10T12:00:00Z".parse()?).optional()?;
/// assert!(found.is_none());
/// # Ok(())
/// # }
/// ```
pub trait Optional<T> {
    /// `Ok(None)` for [`ErrorKind::NotFound`] and for [`ErrorKind::NoCurrent`], everything else as it is.
    ///
    /// A pointer that was lost beside existing snapshots is a `NoCurrent` too: look at its `snapshots` where the
    /// difference matters, such as before a first run.
    ///
    /// # Contract
    ///
    /// No other kind becomes `None`, [`Damaged`](ErrorKind::Damaged) least of all (C3).
    ///
    /// # Errors
    ///
    /// The error itself, of every other kind.
    fn optional(self) -> Result<Option<T>, Error>;
}

impl<T> Optional<T> for Result<T, Error> {
    fn optional(self) -> Result<Option<T>, Error> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NoCurrent { .. }) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
