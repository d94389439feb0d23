use crate::{Error, ErrorKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use rand::TryRng as _;
use rand::rngs::SysRng;
use sha2::Sha256;
use std::fmt;
use zeroize::{Zeroizing, zeroize_stack};

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// More stack than any of the operations below needs, even in an unoptimised build.
const STACK_BYTES: usize = 16 * 1024;
/// HKDF `info` of the key that wraps data keys.
const WRAP_INFO: &[u8] = b"ubstate v2 wrap";
/// HKDF `info` of the fingerprint.
const FINGERPRINT_INFO: &[u8] = b"ubstate v2 fingerprint";

/// A 32-byte key that `env-key` and `key-file` hold, and from which all other keys are derived.
///
/// It wraps a data key `d` under associated data `a` as `n ‖ XChaCha20-Poly1305(k, n, a, d)`, where `n` is 24 random
/// bytes and `k = HKDF-SHA-256(salt = "", IKM = key, info = "ubstate v2 wrap", L = 32)` (RFC 5869, RFC 8439,
/// draft-irtf-cfrg-xchacha-03). The key is erased from memory when it is dropped.
// On the heap: moving an array copies it, and nothing erases the copy that stays on the stack.
pub struct MasterKey(Box<Zeroizing<[u8; Self::BYTES]>>);

impl MasterKey {
    /// The length of a key in bytes.
    pub const BYTES: usize = 32;

    /// Draws a fresh key from the operating system's random generator.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) when the generator fails.
    pub fn generate() -> Result<Self, Error> {
        let mut key = Self::zeros();
        fill_random(&mut **key.0)?;
        Ok(key)
    }

    /// Reads a key from its base64 (standard alphabet, padded); white space around it is ignored.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`](ErrorKind::InvalidKey) when `text` is not base64 of exactly 32 bytes.
    pub fn from_base64(text: &str) -> Result<Self, Error> {
        let text = text.trim_ascii();
        // The buffer has room to spare: the decoder estimates in whole groups of three bytes.
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
        let mut key = Self::zeros();
        key.0.copy_from_slice(&buffer[..Self::BYTES]);
        Ok(key)
    }

    /// Returns the key as base64, for storing it.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0.as_slice()))
    }

    /// Returns the public name of this key: `HKDF-SHA-256(salt = "", IKM = key, info = "ubstate v2 fingerprint", L = 8)` in
    /// hexadecimal.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut fingerprint = [0; 8];
        and_clear_the_stack(|| self.derive(FINGERPRINT_INFO, &mut fingerprint));
        Fingerprint(fingerprint)
    }

    /// Wraps a secret of 32 bytes; no other length would unwrap.
    pub(crate) fn wrap(&self, secret: &[u8], associated_data: &[u8]) -> Result<Vec<u8>, Error> {
        let mut nonce = [0; NONCE_BYTES];
        fill_random(&mut nonce)?;
        self.wrap_with(nonce, secret, associated_data)
    }

    fn wrap_with(
        &self,
        nonce: [u8; NONCE_BYTES],
        secret: &[u8],
        associated_data: &[u8],
    ) -> Result<Vec<u8>, Error> {
        if secret.len() != Self::BYTES {
            return Err(Error::new(
                ErrorKind::Failed,
                format!("a secret of 32 bytes can be wrapped, not one of {}", secret.len()),
            ));
        }
        let payload = Payload {
            msg: secret,
            aad: associated_data,
        };
        let sealed = and_clear_the_stack(|| self.wrapping_cipher().encrypt(&XNonce::from(nonce), payload))
            .map_err(|_| Error::new(ErrorKind::Failed, "the associated data is too long"))?;
        Ok([&nonce, sealed.as_slice()].concat())
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
        and_clear_the_stack(|| self.wrapping_cipher().decrypt(&XNonce::from(*nonce), payload))
            .ok()
            .map(Zeroizing::new)
    }

    /// Puts a key together in place: no array of it is ever moved.
    #[cfg(any(test, feature = "passphrase"))]
    pub(crate) fn filled_by<E>(fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut key = Self::zeros();
        fill(&mut **key.0)?;
        Ok(key)
    }

    #[cfg(feature = "legacy-aes-gcm")]
    pub(crate) fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    fn zeros() -> Self {
        Self(Box::new(Zeroizing::new([0; Self::BYTES])))
    }

    fn wrapping_cipher(&self) -> XChaCha20Poly1305 {
        let mut key = Zeroizing::new([0; Self::BYTES]);
        self.derive(WRAP_INFO, &mut *key);
        XChaCha20Poly1305::new((&*key).into())
    }

    fn derive(&self, info: &[u8], output: &mut [u8]) {
        #[expect(
            clippy::expect_used,
            reason = "HKDF-SHA-256 gives up to 8160 bytes; 8 and 32 are asked for"
        )]
        Hkdf::<Sha256>::new(None, &**self.0)
            .expand(info, output)
            .expect("a short output");
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

pub(crate) fn fill_random(buffer: &mut [u8]) -> Result<(), Error> {
    SysRng.try_fill_bytes(buffer).map_err(|source| {
        Error::new(
            ErrorKind::Unavailable,
            "the operating system gives no random bytes",
        )
        .with_source(source)
    })
}

/// Runs `operation` and overwrites the stack that it used.
///
/// The cipher crates erase their state but not every temporary: `hkdf` leaves the extracted key and its output behind,
/// `chacha20` the subkey of XChaCha20.
pub(crate) fn and_clear_the_stack<T>(operation: impl FnOnce() -> T) -> T {
    // In a frame of its own, so that the next call overwrites what it leaves on the stack.
    #[inline(never)]
    fn run<T>(operation: impl FnOnce() -> T) -> T {
        operation()
    }
    let result = run(operation);
    zeroize_stack::<STACK_BYTES>();
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Encrypter as _, EnvKey};
    use serde::Deserialize;

    /// Made by `tests/vectors.py`, which is another implementation.
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Vectors {
        keys: Vec<Key>,
        invalid_keys: Vec<InvalidKey>,
        wraps: Vec<Wrap>,
        refused: Vec<Refused>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Key {
        name: String,
        key: String,
        fingerprint: String,
        wrapping_key: String,
    }

    #[derive(Deserialize)]
    struct InvalidKey {
        why: String,
        key: String,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Wrap {
        name: String,
        key: String,
        nonce: String,
        associated_data: String,
        secret: String,
        wrapped: String,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Refused {
        why: String,
        name: String,
        fingerprint: Option<String>,
        associated_data: String,
        wrapped: String,
    }

    fn vectors() -> Vectors {
        serde_json::from_str(include_str!("../tests/vectors.json")).unwrap()
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    fn base64(text: &str) -> Vec<u8> {
        STANDARD.decode(text).unwrap()
    }

    /// The key of all negative vectors.
    fn hashed() -> MasterKey {
        let keys = vectors().keys;
        let hashed = keys.iter().find(|key| key.name == "hashed").unwrap();
        MasterKey::from_base64(&hashed.key).unwrap()
    }

    #[test]
    fn fingerprints_and_wrapping_keys_are_the_published_ones() {
        for vector in vectors().keys {
            let key = MasterKey::from_base64(&vector.key).unwrap();
            assert_eq!(
                key.fingerprint().to_string(),
                vector.fingerprint,
                "{}",
                vector.name
            );
            let mut wrapping_key = [0; 32];
            key.derive(WRAP_INFO, &mut wrapping_key);
            assert_eq!(wrapping_key, *hex(&vector.wrapping_key), "{}", vector.name);
            assert_eq!(*key.to_base64(), vector.key, "{}", vector.name);
        }
    }

    #[test]
    fn a_text_that_is_no_key_is_refused() {
        for vector in vectors().invalid_keys {
            let error = MasterKey::from_base64(&vector.key).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidKey, "{}", vector.why);
        }
    }

    #[test]
    fn wrapping_gives_the_published_bytes_and_unwrapping_the_secret() {
        for vector in vectors().wraps {
            let key = MasterKey::from_base64(&vector.key).unwrap();
            let nonce = hex(&vector.nonce).try_into().unwrap();
            let secret = hex(&vector.secret);
            let associated_data = hex(&vector.associated_data);
            let wrapped = key.wrap_with(nonce, &secret, &associated_data).unwrap();
            assert_eq!(wrapped, base64(&vector.wrapped), "{}", vector.name);
            assert_eq!(wrapped.len(), 72, "{}", vector.name);
            let unwrapped = key.unwrap(&wrapped, &associated_data);
            assert_eq!(unwrapped.as_deref(), Some(&secret), "{}", vector.name);
        }
    }

    #[test]
    fn what_the_vectors_say_is_refused_does_not_unwrap() {
        let key = EnvKey::new("STATE_KEY", hashed());
        for vector in vectors().refused {
            let mut recipient = crate::Recipient::new(vector.name);
            if let Some(fingerprint) = vector.fingerprint {
                recipient = recipient.with("fingerprint", fingerprint);
            }
            let opened = key
                .unwrap(
                    &recipient,
                    &base64(&vector.wrapped),
                    &hex(&vector.associated_data),
                )
                .unwrap();
            assert_eq!(opened, None, "{}", vector.why);
        }
    }

    #[test]
    fn no_changed_or_cut_wrapped_key_unwraps() {
        let key = hashed();
        let wrapped = key.wrap(&[7; 32], b"context").unwrap();
        for bit in 0..8 * wrapped.len() {
            let mut changed = wrapped.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.unwrap(&changed, b"context"), None, "bit {bit}");
        }
        for length in 0..wrapped.len() {
            assert_eq!(
                key.unwrap(&wrapped[..length], b"context"),
                None,
                "cut to {length}"
            );
        }
        assert!(key.unwrap(&wrapped, b"context").is_some(), "unchanged it does");
    }

    #[test]
    fn only_a_secret_of_32_bytes_is_wrapped() {
        for length in [0, 1, 31, 33, 64] {
            let error = hashed().wrap(&vec![7; length], b"").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Failed, "{length} bytes");
        }
    }

    #[test]
    fn the_same_secret_is_never_wrapped_twice_with_one_nonce() {
        let key = hashed();
        let nonces: std::collections::HashSet<_> = (0..1000)
            .map(|_| key.wrap(&[7; 32], b"").unwrap()[..NONCE_BYTES].to_vec())
            .collect();
        assert_eq!(nonces.len(), 1000);
    }

    #[test]
    fn generated_keys_differ_and_survive_being_stored() {
        let (one, other) = (MasterKey::generate().unwrap(), MasterKey::generate().unwrap());
        assert_ne!(one.fingerprint(), other.fingerprint());
        let read = MasterKey::from_base64(&one.to_base64()).unwrap();
        assert_eq!(read.fingerprint(), one.fingerprint());
    }
}
