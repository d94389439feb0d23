use crate::{Error, Recipient};
use zeroize::Zeroizing;

/// Something that can wrap a secret so that only the holder of a key unwraps it.
///
/// What is wrapped is the 32-byte data key of one sealed file, never a snapshot: an encrypter sees 32 bytes, whatever
/// the size of the state. A key service is asked once for each sealing, which a write repeats when its name is taken, and
/// at most once for each recipient of a file that is opened.
///
/// The example `implement_encrypter` of this crate is an encrypter over a key service.
///
/// # Contract
///
/// * `decrypt` returns exactly what `encrypt` was given, and only for the same associated data.
/// * A wrapped secret that was changed anywhere, or that belongs to another key, is `Ok(None)` or an error, never wrong bytes.
/// * Neither a key nor the plaintext appears in an error, in `Debug` or in a log.
/// * Two calls with the same input give different bytes.
///
/// Letters such as (E2) are the promises of `docs/guarantees.md` that rest on the sentence.
pub trait Encrypter: Send + Sync {
    /// The name under which the sealed file records this kind of encrypter, such as `env-key`.
    ///
    /// # Contract
    ///
    /// 1 to 64 ASCII letters, digits and `-`; always the same for one encrypter, and for a kind as long as files of it
    /// exist: a reader asks only the encrypters whose name a file records.
    fn name(&self) -> &str;

    /// What an error message calls this key: its source and its fingerprint, such as
    /// `env-key 3f9c0a12d4e5b678 ($STATE_KEY)`.
    ///
    /// # Contract
    ///
    /// (E4) One short line that helps to find the right key, without a byte of it. It asks nobody: it is also called when the
    /// holder of the key does not answer.
    fn describe(&self) -> String;

    /// Wraps `plaintext` and binds it to `associated_data`.
    ///
    /// # Contract
    ///
    /// (E2) `associated_data` names the stack, the revision and the payload, a kilobyte at most. It is authenticated and
    /// not kept. The recipient's name is [`name`](Encrypter::name), or the file will not open; its body has what finds the
    /// key again, in clear. What is wrapped is at most 64 KiB, and different each time.
    ///
    /// # Errors
    ///
    /// * [`Unavailable`](crate::ErrorKind::Unavailable) when the holder of the key does not answer: nothing is written, and
    ///   the caller may try again.
    /// * [`Failed`](crate::ErrorKind::Failed) when it refuses, such as a secret that is not of 32 bytes.
    fn encrypt(&self, plaintext: &[u8], associated_data: &[u8]) -> Result<Wrapped, Error>;

    /// Unwraps `wrapped` if it was wrapped for this key; `None` means that it was not.
    ///
    /// # Contract
    ///
    /// (E1, E3) Nothing here was authenticated before: `recipient` and `wrapped` may come from anybody, and be of any
    /// length. They never choose which key is used: what does not name this encrypter's own key is `None`. So is what
    /// does not unwrap, or not for this `associated_data`. An error does not keep the next key of the ring from being tried.
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
