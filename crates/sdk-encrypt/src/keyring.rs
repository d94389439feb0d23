use crate::{Encrypter, Error, ErrorKind, LegacyCipher, Noop};
use std::fmt;
use std::sync::Arc;

/// The keys of a store: for whom snapshots are sealed, and what opens them.
///
/// A ring is either *plain* (from [`Noop`]) or has 1 to 16 recipients. A plain ring opens only files that are not
/// encrypted, a real one never does, whatever a file says of itself.
///
/// ```
/// use sdk_encrypt::{EnvKey, Keyring, MasterKey};
///
/// # fn main() -> Result<(), sdk_encrypt::Error> {
/// let new = EnvKey::new("STATE_KEY", MasterKey::generate()?);
/// let old = EnvKey::new("STATE_KEY_2025", MasterKey::generate()?);
/// // Sealed for the new key alone, while files of the old one still open.
/// let ring = Keyring::from(new).also_open(old)?;
/// # assert_eq!(ring.recipients().len(), 1);
/// # Ok(())
/// # }
/// ```
// No `Default`: it would have to be the plain one, and nobody gets that without asking for it.
#[derive(Clone)]
pub struct Keyring {
    /// First the recipients, then what only opens. Empty: plain.
    encrypters: Vec<Arc<dyn Encrypter>>,
    recipients: usize,
    legacy: Option<Arc<LegacyCipher>>,
}

impl Keyring {
    /// The most recipients that one file has.
    pub const MAX_RECIPIENTS: usize = 16;

    /// Seals for `encrypter` as well.
    ///
    /// # Errors
    ///
    /// [`InvalidKeyring`](ErrorKind::InvalidKeyring) for a plain ring or a seventeenth recipient.
    pub fn also_seal_for(mut self, encrypter: impl Encrypter + 'static) -> Result<Self, Error> {
        self.refuse_plain()?;
        if self.recipients == Self::MAX_RECIPIENTS {
            return Err(Error::new(
                ErrorKind::InvalidKeyring,
                "a file is sealed for 16 recipients at most",
            ));
        }
        self.encrypters.insert(self.recipients, Arc::new(encrypter));
        self.recipients += 1;
        Ok(self)
    }

    /// Opens what was sealed for `encrypter`, and seals nothing for it: a key that is being retired.
    ///
    /// # Errors
    ///
    /// [`InvalidKeyring`](ErrorKind::InvalidKeyring) for a plain ring.
    pub fn also_open(mut self, encrypter: impl Encrypter + 'static) -> Result<Self, Error> {
        self.refuse_plain()?;
        self.encrypters.push(Arc::new(encrypter));
        Ok(self)
    }

    /// Opens files of envelope version 1 as well, with this cipher: see [`LegacyCipher`] for what is lost by it.
    ///
    /// # Errors
    ///
    /// [`InvalidKeyring`](ErrorKind::InvalidKeyring) when a real ring is given the plain cipher or the other way round.
    pub fn accept_v1(mut self, cipher: impl Into<LegacyCipher>) -> Result<Self, Error> {
        let cipher = cipher.into();
        if cipher.is_plain() != self.is_plain() {
            return Err(Error::new(
                ErrorKind::InvalidKeyring,
                "a ring is either plain or encrypts, for both versions of the envelope",
            ));
        }
        self.legacy = Some(Arc::new(cipher));
        Ok(self)
    }

    /// Whether nothing is encrypted.
    pub fn is_plain(&self) -> bool {
        self.encrypters.is_empty()
    }

    /// For whom files are sealed: none for a plain ring, else 1 to 16.
    pub fn recipients(&self) -> &[Arc<dyn Encrypter>] {
        &self.encrypters[..self.recipients]
    }

    /// Everything that opens, in the order in which it is tried: the recipients first.
    pub fn openers(&self) -> &[Arc<dyn Encrypter>] {
        &self.encrypters
    }

    /// The cipher of envelope version 1, if that is accepted.
    pub fn legacy(&self) -> Option<&LegacyCipher> {
        self.legacy.as_deref()
    }

    /// What an error message calls this ring: every key by source and fingerprint.
    pub fn describe(&self) -> String {
        if self.is_plain() {
            return Noop::NAME.into();
        }
        let keys: Vec<String> = self.encrypters.iter().map(|key| key.describe()).collect();
        keys.join(", ")
    }

    fn refuse_plain(&self) -> Result<(), Error> {
        if self.is_plain() {
            return Err(Error::new(
                ErrorKind::InvalidKeyring,
                "noop stands alone: a file is encrypted or it is not",
            ));
        }
        Ok(())
    }
}

impl From<Noop> for Keyring {
    fn from(Noop: Noop) -> Self {
        Self {
            encrypters: Vec::new(),
            recipients: 0,
            legacy: None,
        }
    }
}

impl<E: Encrypter + 'static> From<E> for Keyring {
    fn from(encrypter: E) -> Self {
        Self {
            encrypters: vec![Arc::new(encrypter)],
            recipients: 1,
            legacy: None,
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({})", self.describe())
    }
}
