use crate::{Error, Recipient};
use zeroize::Zeroizing;

/// Something that can wrap a secret so that only the holder of a key unwraps it.
///
/// What is wrapped is the 32-byte data key of one sealed file, never a snapshot: an encrypter sees 32 bytes, whatever
/// the size of the state, and a key service is asked once a file.
///
/// # Contract
///
/// * `decrypt` returns exactly what `encrypt` was given, and only for the same associated data.
/// * A wrapped secret that was changed anywhere, or that belongs to another key, is `Ok(None)` or an error, never wrong bytes.
/// * Neither a key nor the plaintext appears in an error, in `Debug` or in a log.
/// * Two calls with the same input give different bytes.
pub trait Encrypter: Send + Sync {
    /// The name under which the sealed file records this kind of encrypter, such as `env-key`: 1 to 64 ASCII letters,
    /// digits and `-`.
    fn name(&self) -> &str;

    /// What an error message calls this key: its source and its fingerprint, such as
    /// `env-key 3f9c0a12d4e5b678 ($STATE_KEY)`.
    fn describe(&self) -> String;

    /// Wraps `plaintext` and binds it to `associated_data`.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when the holder of the key does not answer,
    /// [`Failed`](crate::ErrorKind::Failed) when it refuses.
    fn encrypt(&self, plaintext: &[u8], associated_data: &[u8]) -> Result<Wrapped, Error>;

    /// Unwraps `wrapped` if it was wrapped for this key; `None` means that it was not.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when the holder of the key does not answer.
    fn decrypt(
        &self,
        recipient: &Recipient,
        wrapped: &[u8],
        associated_data: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Error>;
}

/// A wrapped secret, and for whom.
#[derive(Debug, Clone)]
pub struct Wrapped {
    /// What the sealed file records, so that a reader finds the right key.
    pub recipient: Recipient,
    /// The wrapped secret, at most 64 KiB.
    pub bytes: Vec<u8>,
}

/// So that a program can choose its encrypter when it runs.
impl Encrypter for Box<dyn Encrypter> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn describe(&self) -> String {
        (**self).describe()
    }

    fn encrypt(&self, plaintext: &[u8], associated_data: &[u8]) -> Result<Wrapped, Error> {
        (**self).encrypt(plaintext, associated_data)
    }

    fn decrypt(
        &self,
        recipient: &Recipient,
        wrapped: &[u8],
        associated_data: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        (**self).decrypt(recipient, wrapped, associated_data)
    }
}
