#[cfg(all(unix, feature = "key-file"))]
use crate::private_file::{self, Published};
use crate::{AgeKey, AgeRecipient, Encrypter, Error, ErrorKind, Recipient, environment};
#[cfg(all(unix, feature = "key-file"))]
use std::path::Path;
#[cfg(all(unix, feature = "key-file"))]
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use zeroize::Zeroizing;

/// The secret keys of age's identity file, as `age-keygen` writes it: comments that begin with `#`, and
/// `AGE-SECRET-KEY-1…`, one key a line.
///
/// Files are sealed for the first key, and each of them opens. Sealed files record the public key.
///
/// ```
/// use sdk_encrypt::{Age, AgeKey, Encrypter as _};
///
/// # fn main() -> Result<(), sdk_encrypt::Error> {
/// let key = AgeKey::generate()?;
/// println!("for colleagues: {}", key.public());
/// let mine = Age::new("a key made just now", key);
/// # assert!(mine.describe().starts_with("age age1"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Age {
    source: String,
    first: AgeKey,
    others: Vec<AgeKey>,
}

impl Age {
    /// The name that sealed files record.
    pub const NAME: &'static str = AgeRecipient::NAME;

    /// The longest identity file: some hundred keys with their comments.
    #[cfg(all(unix, feature = "key-file"))]
    pub(crate) const MAX_FILE_BYTES: usize = 64 * 1024;

    /// Makes an encrypter for a key that the caller holds; `source` says in error messages where it came from.
    pub fn new(source: impl Into<String>, key: AgeKey) -> Self {
        Self {
            source: source.into(),
            first: key,
            others: Vec::new(),
        }
    }

    /// Takes the keys from the identity file `path`, under the rules for key files: it is a regular file that only its owner
    /// can read. It has at most 64 KiB.
    ///
    /// # Errors
    ///
    /// [`MissingKey`](ErrorKind::MissingKey) when there is no such file,
    /// [`InvalidKey`](ErrorKind::InvalidKey) when it holds no key or a key of another kind, is a link, or others can read it,
    /// [`Unavailable`](ErrorKind::Unavailable) when it cannot be read.
    #[cfg(all(unix, feature = "key-file"))]
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        match private_file::read(path, Self::MAX_FILE_BYTES)? {
            Some(text) => Self::from_file(path, &text),
            None => Err(no_key(
                &format!("the file {}", path.display()),
                "it is no text, or longer than 64 KiB",
            )),
        }
    }

    /// Takes the keys from the environment variable `variable`, which holds what an identity file holds, or one key alone.
    ///
    /// # Errors
    ///
    /// [`MissingKey`](ErrorKind::MissingKey) when the variable is not set or is empty, [`InvalidKey`](ErrorKind::InvalidKey)
    /// when it holds no key or its name is not allowed.
    pub fn from_env(variable: &str) -> Result<Self, Error> {
        let text = environment::read(variable, "a secret key of age")?;
        let source = format!("${variable}");
        match text {
            Some(text) => Self::parse(&source, &source, &text),
            None => Err(no_key(&source, "it is no text")),
        }
    }

    /// Writes `key` into the new identity file `path`, for its owner alone, and makes it durable before anything is sealed
    /// with it. A comment says when it was `created`. Makes the missing directories above `path` with mode 0700.
    ///
    /// An existing file is left as it is: if many processes create one file, all of them find the key of the first.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) when the file cannot be written or flushed; it may exist then or not.
    #[cfg(all(unix, feature = "key-file"))]
    pub fn create(path: &Path, key: &AgeKey, created: OffsetDateTime) -> Result<Published, Error> {
        let created = created.replace_nanosecond(0).unwrap_or(created).format(&Rfc3339);
        // The buffer does not grow: growing would leave a copy of the key behind.
        let mut text = Zeroizing::new(String::with_capacity(256));
        if let Ok(created) = created {
            text.push_str("# created: ");
            text.push_str(&created);
            text.push('\n');
        }
        text.push_str("# public key: ");
        text.push_str(&key.public().to_string());
        text.push('\n');
        text.push_str(&key.to_text());
        text.push('\n');
        private_file::create(path, &text)
    }

    /// The public keys, in the order of the file: files are sealed for the first.
    pub fn public_keys(&self) -> impl Iterator<Item = &AgeRecipient> {
        self.keys().map(AgeKey::public)
    }

    #[cfg(all(unix, feature = "key-file"))]
    pub(crate) fn from_file(path: &Path, text: &str) -> Result<Self, Error> {
        let path = path.display().to_string();
        Self::parse(&format!("the file {path}"), &path, text)
    }

    /// `whence` begins an error message, `source` ends the description of the key.
    fn parse(whence: &str, source: &str, text: &str) -> Result<Self, Error> {
        if text.starts_with("age-encryption.org/") || text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----") {
            return Err(no_key(
                whence,
                "it is encrypted with a passphrase: decrypt it with age -d first",
            ));
        }
        if text.starts_with("-----BEGIN ") || text.starts_with("ssh-") {
            return Err(no_key(whence, "keys of SSH are not supported: make one of age's"));
        }
        let mut keys = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // The line is not repeated: it may be a key with a typing error.
            let key = AgeKey::from_text(line)
                .map_err(|problem| no_key(whence, &format!("line {}: {problem}", number + 1)))?;
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or_else(|| {
            no_key(
                whence,
                "AGE-SECRET-KEY-1… is expected in a line of its own, as age-keygen writes it",
            )
        })?;
        Ok(Self {
            source: source.into(),
            first,
            others: keys.collect(),
        })
    }

    fn keys(&self) -> impl Iterator<Item = &AgeKey> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The key that a recipient names. It names no other, whatever it says.
    fn named(&self, recipient: &Recipient) -> Option<&AgeKey> {
        self.keys()
            .find(|key| key.public().recipient().is_same_key(recipient))
    }
}

impl Encrypter for Age {
    fn describe(&self) -> String {
        let public = self.first.public();
        match self.others.len() {
            0 => format!("{} {public} ({})", Self::NAME, self.source),
            more => format!("{} {public} and {more} more ({})", Self::NAME, self.source),
        }
    }

    fn recipient(&self) -> &Recipient {
        self.first.public().recipient()
    }

    fn wrap(
        &self,
        recipient: &Recipient,
        data_key: &[u8],
        associated_data: &[u8],
    ) -> Result<Option<Vec<u8>>, Error> {
        match self.named(recipient) {
            Some(key) => key.public().wrap(recipient, data_key, associated_data),
            None => Ok(None),
        }
    }

    fn unwrap(
        &self,
        recipient: &Recipient,
        wrapped: &[u8],
        associated_data: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        Ok(self
            .named(recipient)
            .and_then(|key| key.unwrap(wrapped, associated_data)))
    }
}

fn no_key(whence: &str, problem: &str) -> Error {
    Error::new(
        ErrorKind::InvalidKey,
        format!("{whence} holds no usable key: {problem}"),
    )
}
