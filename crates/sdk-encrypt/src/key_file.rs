#[cfg(feature = "age")]
use crate::Age;
use crate::private_file::{self, Published};
use crate::{Encrypter, Error, ErrorKind, Fingerprint, MasterKey, Recipient};
use std::path::{Path, PathBuf};
#[cfg(feature = "age")]
use std::sync::Arc;
use zeroize::Zeroizing;

/// The longest key file: 44 characters, a line feed and some room.
const MAX_FILE_BYTES: usize = 256;

/// A key in a file that only its owner can read: base64 of 32 bytes, mode 0600 or stricter.
///
/// The file is read once, when the encrypter is made. It has at most 256 bytes, white space around the key included. A file
/// that others may read, a symbolic link and anything else that is not a regular file are refused. Only root can open the key
/// file of another user, and this is not prevented. Sealed files record the key's fingerprint, but not the path.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    key: MasterKey,
    fingerprint: Fingerprint,
    recipient: Recipient,
}

impl KeyFile {
    /// The name that sealed files record.
    pub const NAME: &'static str = "key-file";

    /// Takes the key from the file `path`.
    ///
    /// # Errors
    ///
    /// [`MissingKey`](ErrorKind::MissingKey) when there is no such file,
    /// [`InvalidKey`](ErrorKind::InvalidKey) when it holds no key, is a link, or others can read it,
    /// [`Unavailable`](ErrorKind::Unavailable) when it cannot be read.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let text = private_file::read(&path, MAX_FILE_BYTES)?;
        match text.and_then(|text| MasterKey::from_base64(&text).ok()) {
            Some(key) => Ok(Self::new(path, key)),
            None => Err(Error::new(
                ErrorKind::InvalidKey,
                format!(
                    "the file {} does not hold a key of this kind: base64 of 32 bytes (44 characters) is expected",
                    path.display()
                ),
            )),
        }
    }

    /// Writes `key` into the new file `path`, for its owner alone, and makes it durable before anything is sealed with it.
    /// Makes the missing directories above `path` with mode 0700.
    ///
    /// An existing file is left as it is: if many processes create one file, all of them find the key of the first.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) when the file cannot be written or flushed; it may exist then or not.
    pub fn create(path: &Path, key: &MasterKey) -> Result<Published, Error> {
        let mut text = key.to_base64();
        text.push('\n');
        private_file::create(path, &text)
    }

    /// Opens a key file of either kind: one that [`Age::open`] takes, or one that [`KeyFile::open`] takes.
    ///
    /// # Errors
    ///
    /// Those of the two functions.
    #[cfg(feature = "age")]
    pub fn open_any(path: impl Into<PathBuf>) -> Result<Arc<dyn Encrypter>, Error> {
        let path = path.into();
        let text = private_file::read(&path, Age::MAX_FILE_BYTES)?.unwrap_or_default();
        match MasterKey::from_base64(&text) {
            Ok(key) => Ok(Arc::new(Self::new(path, key))),
            Err(_) => Ok(Arc::new(Age::from_file(&path, &text)?)),
        }
    }

    /// The key's fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn new(path: PathBuf, key: MasterKey) -> Self {
        let fingerprint = key.fingerprint();
        Self {
            path,
            key,
            fingerprint,
            recipient: Recipient::new(Self::NAME).with("fingerprint", fingerprint.to_string()),
        }
    }
}

impl Encrypter for KeyFile {
    fn describe(&self) -> String {
        format!("{} {} ({})", Self::NAME, self.fingerprint, self.path.display())
    }

    fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    fn wrap(
        &self,
        recipient: &Recipient,
        data_key: &[u8],
        associated_data: &[u8],
    ) -> Result<Option<Vec<u8>>, Error> {
        match recipient.is_same_key(&self.recipient) {
            true => self.key.wrap(data_key, associated_data).map(Some),
            false => Ok(None),
        }
    }

    fn unwrap(
        &self,
        recipient: &Recipient,
        wrapped: &[u8],
        associated_data: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        if !recipient.is_same_key(&self.recipient) {
            return Ok(None);
        }
        Ok(self.key.unwrap(wrapped, associated_data))
    }
}
