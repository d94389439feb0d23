use crate::{Error, StackId};
use std::io;

/// A document that a store can keep: one whole state at one moment.
///
/// [`State`](crate::State) is the built-in one. A tool with another document implements this and opens a
/// `Store<S, MyDocument>`; the store seals whatever bytes it gets.
///
/// # Contract
///
/// * `decode(encode(x))` is equal to `x`, and `encode` is deterministic: equal documents give equal bytes.
/// * Both validate: what breaks a rule of the document is an error and never stored.
/// * Errors say which rule is broken and where, without a value of the document: it holds passwords.
pub trait Snapshot: Sized {
    /// What the sealed file records as its payload type, such as `state`: 1 to 64 ASCII letters, digits, `.` and `-`. A
    /// file of another type does not open as this one.
    const PAYLOAD: &'static str;

    /// Writes the document's bytes.
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](crate::ErrorKind::InvalidSnapshot), or [`Io`](crate::ErrorKind::Io) when `out` fails.
    fn encode<W: io::Write>(&self, out: W) -> Result<(), Error>;

    /// Reads the document back.
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](crate::ErrorKind::InvalidSnapshot). No input makes it panic or use memory without bound.
    fn decode(bytes: &[u8]) -> Result<Self, Error>;

    /// Whether the document belongs to this stack; asked before each write. A document that names no stack belongs to
    /// every one.
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](crate::ErrorKind::InvalidSnapshot) when it names another one.
    fn check_stack(&self, id: &StackId) -> Result<(), Error>;
}
