use crate::{Error, Recipient};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Wraps the data key of a sealed file so that only the holder of a key can unwrap it.
///
/// An encrypter sees 32 bytes, never a snapshot, whatever the size of the state. A key service is asked once for each
/// sealing, which a write repeats if its name is taken, and at most once for each recipient of a file that is opened.
///
/// Recipients belong to the stack: a new file is sealed for those of the file that it follows. So both methods get the
/// recipient, and a recipient that another encrypter made may stand for the same key.
///
/// The example `implement_encrypter` of this crate is an encrypter over a key service.
///
/// # Contract
///
/// * `unwrap` returns exactly what `wrap` was given, and only for the same associated data.
/// * A wrapped key that was changed anywhere, or that belongs to another key, is `Ok(None)` or an error, never wrong bytes.
/// * Neither a key nor a data key appears in an error, in `Debug` or in a log.
/// * Two calls with the same input give different bytes.
///
/// Letters such as (E2) refer to the promises of `docs/guarantees.md` that depend on the sentence.
pub trait Encrypter: Send + Sync {
    /// Describes this key in error messages: its source and its fingerprint, such as `env-key 3f9c0a12d4e5b678 ($STATE_KEY)`.
    ///
    /// # Contract
    ///
    /// (E4) One short line that helps to find the right key, without a byte of it. It makes no request: it is also called
    /// when the key service does not answer.
    fn describe(&self) -> String;

    /// Returns the recipient that the first file of a stack records for this key, unencrypted.
    ///
    /// # Contract
    ///
    /// The name is the kind of encrypter, 1 to 64 ASCII letters, digits and `-`. The body has the data that finds the key
    /// again, such as a `fingerprint`. Both stay as they are as long as files of that kind exist.
    fn recipient(&self) -> &Recipient;

    /// Wraps `data_key` for `recipient` and binds it to `associated_data`; `None` if `recipient` is another key.
    ///
    /// # Contract
    ///
    /// (E2) `associated_data` names the stack, the revision, the payload and the recipient, and has at most a kilobyte. It is
    /// authenticated, but not stored. The result has at most 64 KiB and differs each time.
    ///
    /// # Errors
    ///
    /// * [`Unavailable`](crate::ErrorKind::Unavailable) when the key service does not answer: nothing is written, and
    ///   the caller may try again.
    /// * [`Failed`](crate::ErrorKind::Failed) when it refuses, such as a data key that does not have 32 bytes.
    fn wrap(
        &self,
        recipient: &Recipient,
        data_key: &[u8],
        associated_data: &[u8],
    ) -> Result<Option<Vec<u8>>, Error>;

    /// Unwraps `wrapped` if it was wrapped for this key; `None` means that it was not.
    ///
    /// # Contract
    ///
    /// (E1, E3) Nothing here has been authenticated: `recipient` and `wrapped` may come from anybody and have any length.
    /// They never choose which key is used: a recipient that is not this encrypter's own is `None`. So is a key that does not
    /// unwrap, or does not unwrap for this `associated_data`. After an error, the next key of the ring is still tried.
    ///
    /// # Errors
    ///
    /// * [`Unavailable`](crate::ErrorKind::Unavailable) when the key service does not answer.
    /// * [`MissingKey`](crate::ErrorKind::MissingKey) when this is only the public part of the key.
    fn unwrap(
        &self,
        recipient: &Recipient,
        wrapped: &[u8],
        associated_data: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Error>;
}

/// Lets a program choose its encrypter at run time, and use it in several keyrings.
impl Encrypter for Arc<dyn Encrypter> {
    fn describe(&self) -> String {
        (**self).describe()
    }

    fn recipient(&self) -> &Recipient {
        (**self).recipient()
    }

    fn wrap(
        &self,
        recipient: &Recipient,
        data_key: &[u8],
        associated_data: &[u8],
    ) -> Result<Option<Vec<u8>>, Error> {
        (**self).wrap(recipient, data_key, associated_data)
    }

    fn unwrap(
        &self,
        recipient: &Recipient,
        wrapped: &[u8],
        associated_data: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        (**self).unwrap(recipient, wrapped, associated_data)
    }
}
