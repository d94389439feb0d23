use crate::{Encrypter, Error, ErrorKind, LegacyCipher, Noop, Recipient};
use std::fmt;
use std::sync::Arc;

/// The keys of a store: those that the first revision of a stack is sealed for, and those that open.
///
/// Later revisions are sealed for the recipients that the stack has.
///
/// A keyring is either *plain* (from [`Noop`]) or has 1 to 16 recipients. A plain keyring opens only files that are not
/// encrypted; any other keyring never opens those, whatever a file says about itself.
///
/// ```
/// use sdk_encrypt::{EnvKey, Keyring, MasterKey};
///
/// # fn main() -> Result<(), sdk_encrypt::Error> {
/// let new = EnvKey::new("STATE_KEY", MasterKey::generate()?);
/// let old = EnvKey::new("STATE_KEY_2025", MasterKey::generate()?);
/// // Seals for the new key alone; files of the old one still open.
/// let ring = Keyring::from(new).also_open(old)?;
/// # assert_eq!(ring.recipients().len(), 1);
/// # Ok(())
/// # }
/// ```
// No `Default`: it would be plain, and a plain keyring must be asked for.
#[derive(Clone)]
pub struct Keyring {
    /// First the recipients, then the keys that only open. Empty in a plain keyring.
    encrypters: Vec<Arc<dyn Encrypter>>,
    recipients: usize,
    legacy: Option<Arc<LegacyCipher>>,
}

impl Keyring {
    /// The largest number of recipients of one file.
    pub const MAX_RECIPIENTS: usize = 16;

    /// Adds a recipient: the first revision of a stack is sealed for `encrypter` too.
    ///
    /// # Errors
    ///
    /// [`InvalidKeyring`](ErrorKind::InvalidKeyring) for a plain keyring or a seventeenth recipient.
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

    /// Adds a key that opens files but for which nothing is sealed, such as a key that is being retired.
    ///
    /// # Errors
    ///
    /// [`InvalidKeyring`](ErrorKind::InvalidKeyring) for a plain keyring.
    pub fn also_open(mut self, encrypter: impl Encrypter + 'static) -> Result<Self, Error> {
        self.refuse_plain()?;
        self.encrypters.push(Arc::new(encrypter));
        Ok(self)
    }

    /// Also opens files of envelope version 1, with this cipher. [`LegacyCipher`] says which protection that loses.
    ///
    /// # Errors
    ///
    /// [`InvalidKeyring`](ErrorKind::InvalidKeyring) when the keyring is plain and the cipher is not, or the other way round.
    pub fn accept_v1(mut self, cipher: impl Into<LegacyCipher>) -> Result<Self, Error> {
        let cipher = cipher.into();
        if cipher.is_plain() != self.is_plain() {
            return Err(Error::new(
                ErrorKind::InvalidKeyring,
                "a keyring is either plain or encrypts, for both versions of the envelope",
            ));
        }
        self.legacy = Some(Arc::new(cipher));
        Ok(self)
    }

    /// Whether the keyring is plain: it encrypts nothing.
    pub fn is_plain(&self) -> bool {
        self.encrypters.is_empty()
    }

    /// The keys that the first revision of a stack is sealed for: none for a plain keyring, else 1 to 16.
    pub fn recipients(&self) -> &[Arc<dyn Encrypter>] {
        &self.encrypters[..self.recipients]
    }

    /// The keys that open, in the order in which they are tried: the recipients first.
    pub fn openers(&self) -> &[Arc<dyn Encrypter>] {
        &self.encrypters
    }

    /// Wraps `data_key` for `recipient`, which need not be one of [`recipients`](Keyring::recipients); `None` if no key of
    /// the keyring can. For a public key of age, which the recipient itself holds, nobody needs a key.
    ///
    /// # Errors
    ///
    /// Those of [`Encrypter::wrap`], if no other key of the keyring can either, and
    /// [`InvalidKey`](ErrorKind::InvalidKey) for a recipient `age` without a public key.
    pub fn wrap(
        &self,
        recipient: &Recipient,
        data_key: &[u8],
        associated_data: &[u8],
    ) -> Result<Option<Vec<u8>>, Error> {
        let mut failure = None;
        for encrypter in &self.encrypters {
            match encrypter.wrap(recipient, data_key, associated_data) {
                Ok(None) => {}
                Err(error) => failure = Some(error),
                wrapped => return wrapped,
            }
        }
        #[cfg(feature = "age")]
        if let Some(public) = crate::AgeRecipient::from_recipient(recipient)? {
            return public.wrap(recipient, data_key, associated_data);
        }
        failure.map_or(Ok(None), Err)
    }

    /// The cipher of envelope version 1, if version 1 is accepted.
    pub fn legacy(&self) -> Option<&LegacyCipher> {
        self.legacy.as_deref()
    }

    /// Describes this keyring in error messages: every key by its source and fingerprint.
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
                "noop cannot be combined with keys: a file is either encrypted or not",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EnvKey, MasterKey};

    /// A key of 32 times `byte`, which `describe` shows as `$K<byte>`.
    fn key(byte: u8) -> EnvKey {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode([byte; 32]);
        EnvKey::new(format!("K{byte}"), MasterKey::from_base64(&text).unwrap())
    }

    fn names(encrypters: &[Arc<dyn Encrypter>]) -> Vec<String> {
        let name = |key: &Arc<dyn Encrypter>| key.describe().split_once('$').unwrap().1.replace(')', "");
        encrypters.iter().map(name).collect()
    }

    #[test]
    fn a_plain_ring_takes_no_key_and_stays_plain() {
        let plain = Keyring::from(Noop);
        assert!(plain.is_plain() && plain.recipients().is_empty() && plain.openers().is_empty());
        assert_eq!(plain.describe(), "noop");
        for refused in [
            plain.clone().also_seal_for(key(1)),
            plain.clone().also_open(key(1)),
            plain.accept_v1(Noop).unwrap().also_seal_for(key(1)),
        ] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidKeyring);
        }
        assert!(!Keyring::from(key(1)).is_plain());
    }

    #[test]
    fn sixteen_recipients_are_taken_and_a_seventeenth_is_refused() {
        let mut ring = Keyring::from(key(1));
        for byte in 2..=16 {
            ring = ring.also_seal_for(key(byte)).unwrap();
        }
        assert_eq!(ring.recipients().len(), 16);
        let refused = ring.clone().also_seal_for(key(17)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidKeyring);
        // What only opens is in no file, so it does not count.
        let ring = ring.also_open(key(17)).unwrap();
        assert_eq!((ring.recipients().len(), ring.openers().len()), (16, 17));
    }

    #[test]
    fn recipients_are_tried_first() {
        let ring = Keyring::from(key(1))
            .also_open(key(8))
            .and_then(|ring| ring.also_seal_for(key(2)))
            .and_then(|ring| ring.also_open(key(9)))
            .and_then(|ring| ring.also_seal_for(key(3)))
            .unwrap();
        assert_eq!(names(ring.recipients()), ["K1", "K2", "K3"]);
        assert_eq!(names(ring.openers()), ["K1", "K2", "K3", "K8", "K9"]);
    }

    #[test]
    fn what_opens_only_is_no_recipient() {
        let ring = Keyring::from(key(1)).also_open(key(2)).unwrap();
        assert_eq!(names(ring.recipients()), ["K1"]);
    }

    #[test]
    fn a_legacy_cipher_is_plain_exactly_when_the_ring_is() {
        assert!(
            Keyring::from(key(1)).legacy().is_none(),
            "version 1 is off unless asked for"
        );
        assert!(Keyring::from(Noop).legacy().is_none());
        assert!(Keyring::from(Noop).accept_v1(Noop).unwrap().legacy().is_some());
        let refused = Keyring::from(key(1)).accept_v1(Noop).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidKeyring);
        #[cfg(feature = "legacy-aes-gcm")]
        {
            let ring = Keyring::from(key(1)).accept_v1(key(2).legacy()).unwrap();
            assert!(!ring.legacy().unwrap().is_plain());
            let refused = Keyring::from(Noop).accept_v1(key(2).legacy()).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidKeyring);
        }
    }

    #[test]
    fn describe_names_every_key_by_source_and_fingerprint() {
        let ring = Keyring::from(key(1)).also_open(key(2)).unwrap();
        let expected = format!(
            "env-key {} ($K1), env-key {} ($K2)",
            key(1).fingerprint(),
            key(2).fingerprint()
        );
        assert_eq!(ring.describe(), expected);
        assert_eq!(format!("{ring:?}"), format!("Keyring({expected})"));
    }
}
