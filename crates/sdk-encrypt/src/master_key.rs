use crate::{Error, ErrorKind, Recipient};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use rand::TryRng as _;
use rand::rngs::SysRng;
use sha2::Sha256;
use std::fmt;
use zeroize::Zeroizing;

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// HKDF `info` of the key that wraps data keys.
const WRAP_INFO: &[u8] = b"ubstate v2 wrap";
/// HKDF `info` of the fingerprint.
const FINGERPRINT_INFO: &[u8] = b"ubstate v2 fingerprint";

/// A 32-byte key from which everything else is derived: what `env-key` and `key-file` hold.
///
/// It wraps a data key `d` under associated data `a` as `n ‖ XChaCha20-Poly1305(k, n, a, d)`, where `n` is 24 random
/// bytes and `k = HKDF-SHA-256(salt = "", IKM = key, info = "ubstate v2 wrap", L = 32)` (RFC 5869, RFC 8439,
/// draft-irtf-cfrg-xchacha-03). The key is erased from memory when it is dropped.
pub struct MasterKey(Zeroizing<[u8; Self::BYTES]>);

impl MasterKey {
    /// The length of a key in bytes.
    pub const BYTES: usize = 32;

    /// A fresh key from the operating system's generator.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) when the generator fails.
    pub fn generate() -> Result<Self, Error> {
        let mut key = Self(Zeroizing::new([0; Self::BYTES]));
        fill_random(&mut *key.0)?;
        Ok(key)
    }

    /// Reads a key from its base64 (standard alphabet, padded); white space around it is ignored.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`](ErrorKind::InvalidKey) when `text` is not base64 of exactly 32 bytes.
    pub fn from_base64(text: &str) -> Result<Self, Error> {
        let text = text.trim_ascii();
        // A buffer with room to spare: the decoder estimates in whole groups of three bytes.
        let mut buffer = Zeroizing::new([0; 2 * Self::BYTES]);
        let length = match text.len() {
            44 => STANDARD.decode_slice(text, &mut *buffer).ok(),
            _ => None,
        };
        if length != Some(Self::BYTES) {
            return Err(Error::new(
                ErrorKind::InvalidKey,
                "not the base64 of 32 bytes (44 characters)",
            ));
        }
        let mut key = Self(Zeroizing::new([0; Self::BYTES]));
        key.0.copy_from_slice(&buffer[..Self::BYTES]);
        Ok(key)
    }

    /// The key as base64, to be stored.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(&*self.0))
    }

    /// The name of this key: `HKDF-SHA-256(salt = "", IKM = key, info = "ubstate v2 fingerprint", L = 8)` in hexadecimal.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(*self.derive::<8>(FINGERPRINT_INFO))
    }

    pub(crate) fn wrap(&self, plaintext: &[u8], associated_data: &[u8]) -> Result<Vec<u8>, Error> {
        let mut nonce = [0; NONCE_BYTES];
        fill_random(&mut nonce)?;
        self.wrap_with(nonce, plaintext, associated_data)
    }

    fn wrap_with(
        &self,
        nonce: [u8; NONCE_BYTES],
        plaintext: &[u8],
        associated_data: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let payload = Payload {
            msg: plaintext,
            aad: associated_data,
        };
        let sealed = self
            .wrapping_cipher()
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| Error::new(ErrorKind::Failed, "the secret to wrap is too long"))?;
        let mut wrapped = Vec::with_capacity(NONCE_BYTES + sealed.len());
        wrapped.extend_from_slice(&nonce);
        wrapped.extend_from_slice(&sealed);
        Ok(wrapped)
    }

    /// `None` when `wrapped` was not wrapped by this key for this associated data, or holds no 32-byte secret.
    pub(crate) fn unwrap(&self, wrapped: &[u8], associated_data: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_BYTES>()?;
        if sealed.len() != Self::BYTES + TAG_BYTES {
            return None;
        }
        let payload = Payload {
            msg: sealed,
            aad: associated_data,
        };
        let secret = self
            .wrapping_cipher()
            .decrypt(&XNonce::from(*nonce), payload)
            .ok()?;
        Some(Zeroizing::new(secret))
    }

    fn wrapping_cipher(&self) -> XChaCha20Poly1305 {
        let key = self.derive::<32>(WRAP_INFO);
        XChaCha20Poly1305::new((&*key).into())
    }

    #[cfg(feature = "legacy-aes-gcm")]
    pub(crate) fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    fn derive<const LENGTH: usize>(&self, info: &[u8]) -> Zeroizing<[u8; LENGTH]> {
        let mut output = Zeroizing::new([0; LENGTH]);
        #[expect(
            clippy::expect_used,
            reason = "HKDF-SHA-256 gives up to 8160 bytes; 8 and 32 are asked for"
        )]
        Hkdf::<Sha256>::new(None, &*self.0)
            .expand(info, &mut *output)
            .expect("a short output");
        output
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.fingerprint())
    }
}

/// The public name of a key: 16 lower-case hexadecimal digits that tell keys apart and say nothing about them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 8]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl Fingerprint {
    pub(crate) fn matches(self, recipient: &Recipient) -> bool {
        recipient.fingerprint() == Some(self.to_string().as_str())
    }
}

pub(crate) fn fill_random(buffer: &mut [u8]) -> Result<(), Error> {
    SysRng.try_fill_bytes(buffer).map_err(|source| {
        Error::new(
            ErrorKind::Unavailable,
            "the operating system gives no random bytes",
        )
        .with_source(source)
    })
}
