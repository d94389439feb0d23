use crate::{Error, ErrorKind, StackId};

/// A document that a store can keep: the whole state of a stack at one moment.
///
/// [`State`](crate::State) is the built-in one. A tool with another document implements this trait and opens it with
/// [`Store::document`](crate::Store::document); the store seals whatever bytes it gets.
///
/// # Contract
///
/// * `decode(encode(x))` equals `x`, and `encode` is deterministic: equal documents give equal bytes ([J2](crate::guarantees)).
/// * Both `encode` and `decode` validate: a document that breaks a rule is an error and is never stored.
/// * The message of an error says which rule is broken and where, without a value of the document, which may be a password
///   ([E4](crate::guarantees)). The document's own error may be its source; [`Error::find`] returns it to the tool.
///
/// ```
/// use sdk_state::encrypt::Noop;
/// use sdk_state::{Error, ErrorKind, MemoryBackend, NoChange, Snapshot, StackId, Store};
///
/// /// A text that another tool made.
/// #[derive(Debug, Clone, PartialEq)]
/// struct Text(String);
///
/// impl Snapshot for Text {
///     const PAYLOAD: &'static str = "text";
///     type Change = NoChange;
///
///     fn fresh(_: &StackId) -> Self {
///         Self(String::new())
///     }
///
///     fn encode(&self) -> Result<Vec<u8>, Error> {
///         Ok(self.0.clone().into_bytes())
///     }
///
///     fn decode(bytes: &[u8]) -> Result<Self, Error> {
///         match str::from_utf8(bytes) {
///             Ok(text) => Ok(Self(text.into())),
///             Err(error) => Err(Error::new(ErrorKind::InvalidSnapshot, "the text is not UTF-8").with_source(error)),
///         }
///     }
/// }
///
/// # fn main() -> Result<(), Error> {
/// let store = Store::new(MemoryBackend::new("network/prod".parse()?), Noop).document::<Text>();
/// let revision = store.write(&Text("serial = 7".into()), "first")?;
/// assert_eq!(store.get(&revision)?, Text("serial = 7".into()));
/// # Ok(())
/// # }
/// ```
pub trait Snapshot: Clone + Send + Sync + 'static {
    /// The payload type that sealed files record, such as `state`: 1 to 64 ASCII letters, digits, `.` and `-`. A file of
    /// another type does not open as this type.
    const PAYLOAD: &'static str;

    /// A single change that a [`Run`](crate::Run) makes to the document; [`NoChange`] if the document is only replaced as a
    /// whole.
    type Change: Change<Self>;

    /// Returns the document of a fresh stack.
    fn fresh(id: &StackId) -> Self;

    /// Returns the document's bytes.
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](ErrorKind::InvalidSnapshot) when the document breaks a rule.
    fn encode(&self) -> Result<Vec<u8>, Error>;

    /// Reads the document back.
    ///
    /// # Contract
    ///
    /// ([J1](crate::guarantees)) The bytes were authenticated, but another tool or version may have written them: no input makes it panic or
    /// use memory out of proportion to its length.
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](ErrorKind::InvalidSnapshot) for bytes that are not a valid document.
    fn decode(bytes: &[u8]) -> Result<Self, Error>;

    /// Checks that the document belongs to this stack; called before each write, so that no tool writes one stack's
    /// document into another. A document that names no stack belongs to every stack.
    ///
    /// Reading needs no such check: the envelope is bound to its stack ([E2](crate::guarantees)).
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](ErrorKind::InvalidSnapshot) when the document names another stack; the message names both.
    fn check_stack(&self, id: &StackId) -> Result<(), Error> {
        let _ = id;
        Ok(())
    }

    /// Returns the payload type of this document: [`PAYLOAD`](Snapshot::PAYLOAD), unless the Rust type holds documents of
    /// many payload types, as [`Raw`] does.
    fn payload(&self) -> &str {
        Self::PAYLOAD
    }

    /// Reads a document of the payload type that its file names.
    ///
    /// # Errors
    ///
    /// [`OtherPayload`](ErrorKind::OtherPayload) when that type is not [`PAYLOAD`](Snapshot::PAYLOAD), and the errors of
    /// [`decode`](Snapshot::decode).
    fn decode_payload(payload: &str, bytes: Vec<u8>) -> Result<Self, Error> {
        if payload != Self::PAYLOAD {
            return Err(Error::other_payload(Self::PAYLOAD, payload));
        }
        Self::decode(&bytes)
    }
}

/// One change of a document, which a journal keeps until the next revision.
///
/// # Contract
///
/// `decode` returns what `encode` was given. `apply` cannot fail and depends only on the change and the document: replaying the
/// changes in order gives the same document.
pub trait Change<D>: Sized + Send + 'static {
    /// Appends the change's bytes to `out`.
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](ErrorKind::InvalidSnapshot) when the change itself breaks a rule of the format.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), Error>;

    /// Reads the change back.
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](ErrorKind::InvalidSnapshot) if the bytes are not a valid change.
    fn decode(bytes: &[u8]) -> Result<Self, Error>;

    /// Makes the change.
    ///
    /// # Contract
    ///
    /// A valid document stays valid, whatever it holds: a rule that spans several parts of the document must hold by the way
    /// the change is made, as a replaced key keeps keys unique. Otherwise the changes were acknowledged and cannot be committed.
    fn apply(self, document: &mut D);
}

/// The change type of a document that is only replaced as a whole. It has no values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoChange {}

impl<D> Change<D> for NoChange {
    fn encode(&self, _: &mut Vec<u8>) -> Result<(), Error> {
        match *self {}
    }

    fn decode(_: &[u8]) -> Result<Self, Error> {
        Err(Error::new(
            ErrorKind::InvalidSnapshot,
            "a document of this type is only replaced as a whole",
        ))
    }

    fn apply(self, _: &mut D) {
        match self {}
    }
}

/// The bytes of a document of any payload type, exactly as they were written. A program can copy documents with it that it cannot
/// read.
#[derive(Clone, PartialEq, Eq)]
pub struct Raw {
    /// The payload type: 1 to 64 ASCII letters, digits, `.` and `-`.
    pub payload: String,
    /// The document.
    pub bytes: Vec<u8>,
}

/// Omits the bytes, which may hold passwords.
impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Raw")
            .field("payload", &self.payload)
            .field("length", &self.bytes.len())
            .finish()
    }
}

impl Snapshot for Raw {
    /// Stands for an unknown payload type.
    const PAYLOAD: &'static str = "raw";
    type Change = NoChange;

    fn fresh(_: &StackId) -> Self {
        Self {
            payload: Self::PAYLOAD.into(),
            bytes: Vec::new(),
        }
    }

    fn encode(&self) -> Result<Vec<u8>, Error> {
        Ok(self.bytes.clone())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        Self::decode_payload(Self::PAYLOAD, bytes.into())
    }

    fn payload(&self) -> &str {
        &self.payload
    }

    fn decode_payload(payload: &str, bytes: Vec<u8>) -> Result<Self, Error> {
        Ok(Self {
            payload: payload.into(),
            bytes,
        })
    }
}

impl Error {
    /// Says which type of document was expected and which was found.
    pub(crate) fn other_payload(expected: &str, found: &str) -> Self {
        use crate::stack_id::Excerpt;
        Self::new(
            ErrorKind::OtherPayload { found: found.into() },
            format!(
                "this is a document of type {} and not of type {}: open it with a tool that knows that type",
                Excerpt(found),
                Excerpt(expected)
            ),
        )
    }
}
