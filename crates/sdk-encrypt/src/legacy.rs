use crate::{Error, Noop, Recipient};
use std::fmt;

#[cfg(feature = "legacy-aes-gcm")]
use {
    crate::{
        EnvKey, ErrorKind, Fingerprint, MasterKey, master_key::and_clear_the_stack, master_key::fill_random,
    },
    aes_gcm::aead::AeadInOut as _,
    aes_gcm::{Aes256Gcm, KeyInit as _},
};

#[cfg(feature = "legacy-aes-gcm")]
const NONCE_BYTES: usize = 12;
#[cfg(feature = "legacy-aes-gcm")]
const TAG_BYTES: usize = 16;

/// Opens and writes unobin's files, envelope version 1.
///
/// Version 1 does not bind a file to its stack or revision: while you accept it, anybody who can write to the store can
/// replace a new snapshot with an old one, or with another stack's, undetected. Pass the cipher to
/// [`Keyring::accept_v1`](crate::Keyring::accept_v1) to read such files, and stop when they are gone.
///
/// With `env-key` the bytes are `nonce(12) ‖ AES-256-GCM(key, nonce, plaintext)` (NIST SP 800-38D) without associated
/// data, under the master key itself; `noop` keeps the plaintext.
pub struct LegacyCipher(Cipher);

enum Cipher {
    Plain,
    #[cfg(feature = "legacy-aes-gcm")]
    AesGcm {
        variable: String,
        fingerprint: Fingerprint,
        cipher: Box<Aes256Gcm>,
    },
}

impl From<Noop> for LegacyCipher {
    fn from(Noop: Noop) -> Self {
        Self(Cipher::Plain)
    }
}

impl LegacyCipher {
    #[cfg(feature = "legacy-aes-gcm")]
    pub(crate) fn aes_gcm(variable: &str, key: &MasterKey) -> Self {
        Self(Cipher::AesGcm {
            variable: variable.into(),
            fingerprint: key.fingerprint(),
            cipher: and_clear_the_stack(|| Box::new(Aes256Gcm::new(key.bytes().into()))),
        })
    }

    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.0, Cipher::Plain)
    }

    /// The recipient that files of this cipher record.
    pub fn recipient(&self) -> Recipient {
        match &self.0 {
            Cipher::Plain => Recipient::new(Noop::NAME),
            #[cfg(feature = "legacy-aes-gcm")]
            Cipher::AesGcm { variable, .. } => Recipient::new(EnvKey::NAME).with("env-var", variable),
        }
    }

    /// Describes this cipher in error messages.
    pub fn describe(&self) -> String {
        match &self.0 {
            Cipher::Plain => Noop::NAME.into(),
            #[cfg(feature = "legacy-aes-gcm")]
            Cipher::AesGcm {
                variable,
                fingerprint,
                ..
            } => format!("{} {fingerprint} (${variable})", EnvKey::NAME),
        }
    }

    /// Encrypts `plaintext` as unobin does.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when the operating system gives no random bytes,
    /// [`Failed`](crate::ErrorKind::Failed) when `plaintext` is too long for AES-GCM (64 GiB). `noop` has no errors.
    pub fn encrypt(&self, plaintext: Vec<u8>) -> Result<Vec<u8>, Error> {
        match &self.0 {
            Cipher::Plain => Ok(plaintext),
            #[cfg(feature = "legacy-aes-gcm")]
            Cipher::AesGcm { cipher, .. } => {
                let mut nonce = [0; NONCE_BYTES];
                fill_random(&mut nonce)?;
                let mut sealed = Vec::with_capacity(NONCE_BYTES + plaintext.len() + TAG_BYTES);
                sealed.extend_from_slice(&nonce);
                sealed.extend_from_slice(&plaintext);
                let tag = cipher
                    .encrypt_inout_detached(&nonce.into(), &[], (&mut sealed[NONCE_BYTES..]).into())
                    .map_err(|_| Error::new(ErrorKind::Failed, "the snapshot is too long for AES-GCM"))?;
                sealed.extend_from_slice(&tag);
                Ok(sealed)
            }
        }
    }

    /// Decrypts `sealed`; `None` when it was encrypted with another key, or changed: this cipher cannot tell which.
    pub fn decrypt(&self, sealed: Vec<u8>) -> Option<Vec<u8>> {
        match &self.0 {
            Cipher::Plain => Some(sealed),
            #[cfg(feature = "legacy-aes-gcm")]
            Cipher::AesGcm { cipher, .. } => {
                let mut sealed = sealed;
                let (nonce, rest) = sealed.split_first_chunk_mut::<NONCE_BYTES>()?;
                let (body, tag) = rest.split_last_chunk_mut::<TAG_BYTES>()?;
                cipher
                    .decrypt_inout_detached(&(*nonce).into(), &[], body.into(), &(*tag).into())
                    .ok()?;
                sealed.truncate(sealed.len() - TAG_BYTES);
                sealed.drain(..NONCE_BYTES);
                Some(sealed)
            }
        }
    }
}

impl fmt::Debug for LegacyCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LegacyCipher({})", self.describe())
    }
}
