use super::damaged;
use crate::{Error, ErrorKind};
use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, Nonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use rand::TryRng as _;
use rand::rngs::SysRng;
use sha2::Sha256;
use zeroize::{Zeroizing, zeroize_stack};

/// More stack than an operation with a key needs, even in an unoptimised build.
const STACK_BYTES: usize = 16 * 1024;
/// The HKDF `info` of the keys of one sort of file: the one that authenticates its header, and the one that encrypts.
#[derive(Clone, Copy)]
pub(super) struct Labels {
    header: &'static [u8],
    body: &'static [u8],
}

/// A sealed snapshot.
pub(super) const SNAPSHOT: Labels = Labels {
    header: b"ubstate v2 header",
    body: b"ubstate v2 body",
};
/// A journal.
pub(super) const JOURNAL: Labels = Labels {
    header: b"ubstate journal 1 header",
    body: b"ubstate journal 1 body",
};
/// The length of the header tag in bytes.
pub(super) const HEADER_TAG_BYTES: usize = 32;
/// The number of bytes that encryption adds to a body.
pub(super) const BODY_TAG_BYTES: usize = 16;

/// The random key of one sealed file or one journal. The key of a file encrypts one body, once, which is why the body's nonce
/// is zero.
///
/// It lives on the heap: moving an array copies it, and nothing erases the copy that stays on the stack.
pub(super) struct DataKey(Box<Zeroizing<[u8; 32]>>);

impl DataKey {
    pub(super) fn generate() -> Result<Self, Error> {
        let mut key = Self::zeros();
        SysRng.try_fill_bytes(&mut **key.0).map_err(|source| {
            Error::new(
                ErrorKind::Unavailable,
                "the operating system gives no random bytes",
            )
            .with_source(source)
        })?;
        Ok(key)
    }

    /// Makes the key; `None` unless there are 32 bytes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut key = Self::zeros();
        if bytes.len() != key.0.len() {
            return None;
        }
        key.0.copy_from_slice(bytes);
        Some(key)
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// `HMAC-SHA-256(HKDF(data key, label), prefix)` (RFC 2104, RFC 5869).
    pub(super) fn header_tag(&self, labels: Labels, prefix: &[u8]) -> [u8; HEADER_TAG_BYTES] {
        self.header_mac(labels, prefix).finalize().into_bytes().into()
    }

    /// Compares in constant time. An encrypted file has one tag, so this also commits the file to one data key.
    pub(super) fn verify_header(&self, labels: Labels, prefix: &[u8], tag: &[u8]) -> Result<(), Error> {
        self.header_mac(labels, prefix)
            .verify_slice(tag)
            .map_err(|_| damaged("the header was changed after it was sealed"))
    }

    /// Encrypts `buffer[from..]` in place and appends the tag.
    pub(super) fn encrypt(&self, buffer: &mut Vec<u8>, from: usize, context: &[u8]) -> Result<(), Error> {
        let tag = self
            .body_cipher(SNAPSHOT)
            .encrypt_inout_detached(&Nonce::default(), context, (&mut buffer[from..]).into())
            .map_err(|_| Error::new(ErrorKind::TooLarge, "ChaCha20-Poly1305 seals up to 256 GiB"))?;
        buffer.extend_from_slice(&tag);
        Ok(())
    }

    /// Decrypts `body`, which ends in its tag, in place, and removes the tag.
    pub(super) fn decrypt(&self, body: &mut Vec<u8>, context: &[u8]) -> Result<(), Error> {
        let cut_short = || damaged("the file was cut short");
        let (text, tag) = body
            .split_last_chunk_mut::<BODY_TAG_BYTES>()
            .ok_or_else(cut_short)?;
        self.body_cipher(SNAPSHOT)
            .decrypt_inout_detached(&Nonce::default(), context, text.into(), &(*tag).into())
            .map_err(|_| damaged("the body was changed after it was sealed"))?;
        body.truncate(body.len() - BODY_TAG_BYTES);
        Ok(())
    }

    fn zeros() -> Self {
        Self(Box::new(Zeroizing::new([0; 32])))
    }

    fn header_mac(&self, labels: Labels, prefix: &[u8]) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.derive(labels.header)).expect("a key");
        mac.update(prefix);
        mac
    }

    pub(super) fn body_cipher(&self, labels: Labels) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new((&*self.derive(labels.body)).into())
    }

    fn derive(&self, info: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut output = Zeroizing::new([0; 32]);
        #[expect(
            clippy::expect_used,
            reason = "HKDF-SHA-256 gives up to 8160 bytes; 32 are asked for"
        )]
        Hkdf::<Sha256>::new(None, &**self.0)
            .expand(info, &mut *output)
            .expect("a short output");
        output
    }
}

/// Runs `operation` and overwrites the stack that it used: the cipher crates erase their state, and not every temporary.
pub(super) fn and_clear_the_stack<T>(operation: impl FnOnce() -> T) -> T {
    // A frame of its own, so that what it leaves lies where the next call reaches.
    #[inline(never)]
    fn run<T>(operation: impl FnOnce() -> T) -> T {
        operation()
    }
    let result = run(operation);
    zeroize_stack::<STACK_BYTES>();
    result
}
