use std::error::Error as StdError;
use std::fmt;

/// Why a key or a keyring could not be used.
///
/// The message names the key's *source* (a variable, a path) and never a byte of the key.
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kind of an error, by what the caller should do about it. More kinds may be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The variable is not set, or the file does not exist: set or restore it.
    MissingKey,
    /// The variable or file holds no key, or others can read the file: correct it.
    InvalidKey,
    /// These keys cannot be combined: correct the program or its configuration.
    InvalidKeyring,
    /// The key service or the operating system's random generator did not answer: try again.
    Unavailable,
    /// An encrypter refused to seal: see the message and the source.
    Failed,
}

impl Error {
    /// Makes an error. The message is in lower case and says what happened, to what, and what to do next.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The cause, for an error that takes this one's place.
    pub fn into_source(self) -> Option<Box<dyn StdError + Send + Sync>> {
        self.source
    }

    /// The kind, to match on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .field("source", &self.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
