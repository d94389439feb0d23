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
/// * Errors say which rule is broken and where, without a value of the document: it holds passwords (E4).
///
/// ```
/// use sdk_state::encrypt::Noop;
/// use sdk_state::{Backend as _, Error, ErrorKind, MemoryStorage, Snapshot, StackId, Store, WriteOptions};
/// use std::io;
///
/// /// A text that another tool made and that is kept as it is.
/// #[derive(Debug, PartialEq)]
/// struct Opaque(String);
///
/// impl Snapshot for Opaque {
///     const PAYLOAD: &'static str = "opaque-text";
///
///     fn encode<W: io::Write>(&self, mut out: W) -> Result<(), Error> {
///         out.write_all(self.0.as_bytes())
///             .map_err(|source| Error::new(ErrorKind::Io, "the text cannot be written out").with_source(source))
///     }
///
///     fn decode(bytes: &[u8]) -> Result<Self, Error> {
///         match str::from_utf8(bytes) {
///             Ok(text) => Ok(Self(text.into())),
///             // Where, and not what: the text may be a password.
///             Err(error) => Err(Error::new(
///                 ErrorKind::InvalidSnapshot,
///                 format!("not UTF-8 after {} bytes", error.valid_up_to()),
///             )),
///         }
///     }
///
///     fn check_stack(&self, _: &StackId) -> Result<(), Error> {
///         Ok(())
///     }
/// }
///
/// # fn main() -> Result<(), Error> {
/// let store = Store::<_, Opaque>::new(MemoryStorage::new("network/prod".parse()?), Noop);
/// let rev = store.write(&Opaque("serial = 7".into()), &WriteOptions::new())?;
/// assert_eq!(store.get(&rev)?, Opaque("serial = 7".into()));
/// # Ok(())
/// # }
/// ```
pub trait Snapshot: Sized {
    /// What the sealed file records as its payload type, such as `state`: 1 to 64 ASCII letters, digits, `.` and `-`. A
    /// file of another type does not open as this one.
    const PAYLOAD: &'static str;

    /// Writes the document's bytes.
    ///
    /// # Contract
    ///
    /// (J2) Equal documents give equal bytes, and [`decode`](Snapshot::decode) gives an equal document back. It validates
    /// first: after an error `out` may hold a part, which the store throws away.
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](crate::ErrorKind::InvalidSnapshot) when the document breaks a rule,
    /// [`Io`](crate::ErrorKind::Io) when `out` fails.
    fn encode<W: io::Write>(&self, out: W) -> Result<(), Error>;

    /// Reads the document back.
    ///
    /// # Contract
    ///
    /// (J1) The bytes were authenticated, but another tool or version may have written them: no input makes it panic or
    /// use memory out of proportion to its length.
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](crate::ErrorKind::InvalidSnapshot) for whatever is not a valid document.
    fn decode(bytes: &[u8]) -> Result<Self, Error>;

    /// Whether the document belongs to this stack; asked before each write. A document that names no stack belongs to
    /// every one.
    ///
    /// # Contract
    ///
    /// It keeps a tool from writing one stack's document into another (BACKEND-07, for [`State`](crate::State)). What is
    /// read needs no such question: the envelope is bound to its stack (E2).
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`](crate::ErrorKind::InvalidSnapshot) when it names another one.
    fn check_stack(&self, id: &StackId) -> Result<(), Error>;
}
