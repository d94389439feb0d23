use crate::{Encrypter, Error, ErrorKind, Fingerprint, MasterKey, Recipient, environment};
use zeroize::Zeroizing;

/// A key from an environment variable that holds 32 bytes as base64.
///
/// The variable is read once, when the encrypter is made. The sealed file records the name of the variable and the
/// fingerprint of the key; a reader may keep the same key in another variable. Other programs of the same user can read
/// the environment of a process.
#[derive(Debug)]
pub struct EnvKey {
    variable: String,
    key: MasterKey,
    fingerprint: Fingerprint,
    recipient: Recipient,
}

impl EnvKey {
    /// The name that sealed files record.
    pub const NAME: &'static str = "env-key";

    /// Takes the key from the environment variable `variable`, whose name consists of 1 to 256 ASCII letters, digits and `_`
    /// and does not begin with a digit.
    ///
    /// # Errors
    ///
    /// [`MissingKey`](ErrorKind::MissingKey) when the variable is not set or is empty, [`InvalidKey`](ErrorKind::InvalidKey)
    /// when it holds no key or its name is not allowed.
    pub fn from_env(variable: impl Into<String>) -> Result<Self, Error> {
        let variable = variable.into();
        let text = environment::read(&variable, "the key, base64 of 32 bytes")?;
        let key = text.and_then(|text| MasterKey::from_base64(&text).ok());
        match key {
            Some(key) => Ok(Self::new(variable, key)),
            None => Err(Error::new(
                ErrorKind::InvalidKey,
                format!("${variable} does not hold a key: base64 of 32 bytes (44 characters) is expected"),
            )),
        }
    }

    /// Makes an encrypter for a key that the caller holds. Sealed files record it as if it came from the variable `variable`,
    /// a name that is not checked.
    pub fn new(variable: impl Into<String>, key: MasterKey) -> Self {
        let (variable, fingerprint) = (variable.into(), key.fingerprint());
        let recipient = Recipient::new(Self::NAME)
            .with("env-var", &variable)
            .with("fingerprint", fingerprint.to_string());
        Self {
            variable,
            key,
            fingerprint,
            recipient,
        }
    }

    /// The key's fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Returns the cipher that unobin's `env-key` uses with this key: AES-256-GCM under the key itself. Needs the feature
    /// `legacy-aes-gcm`.
    #[cfg(feature = "legacy-aes-gcm")]
    pub fn legacy(&self) -> crate::LegacyCipher {
        crate::LegacyCipher::aes_gcm(&self.variable, &self.key)
    }
}

impl Encrypter for EnvKey {
    fn describe(&self) -> String {
        format!("{} {} (${})", Self::NAME, self.fingerprint, self.variable)
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
