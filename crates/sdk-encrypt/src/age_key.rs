//! X25519 keys in the text form of age, and what is wrapped for them.

use crate::master_key::{and_clear_the_stack, fill_random};
use crate::{Encrypter, Error, ErrorKind, Recipient};
use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Hrp};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{CryptoRng, TryCryptoRng, TryRng};
use hpke::{Deserializable as _, Kem, OpModeR, OpModeS, Serializable as _};
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// HPKE's `info`, which separates these keys from those of other programs and of age itself.
const INFO: &[u8] = b"ubstate v2 age";
/// The member of a recipient's body.
const PUBLIC_KEY: &str = "public-key";
const PUBLIC_HRP: Hrp = Hrp::parse_unchecked("age");
const SECRET_HRP: Hrp = Hrp::parse_unchecked("AGE-SECRET-KEY-");
/// The length of a secret key, a public key and an encapsulated key in bytes.
const KEY_BYTES: usize = 32;
/// An encapsulated key, a data key and a tag.
const WRAPPED_BYTES: usize = KEY_BYTES + 32 + 16;
/// The length of the text of a secret key.
const SECRET_TEXT_BYTES: usize = 74;

/// An X25519 secret key, as `age-keygen` makes it: `AGE-SECRET-KEY-1…`.
///
/// It unwraps what was wrapped for its [public key](AgeKey::public). It is erased from memory when it is dropped.
// On the heap: moving an array copies it, and nothing erases the copy that stays on the stack.
pub struct AgeKey {
    secret: Box<Zeroizing<[u8; KEY_BYTES]>>,
    public: AgeRecipient,
}

impl AgeKey {
    /// Draws a fresh key from the operating system's random generator.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) when the generator fails.
    pub fn generate() -> Result<Self, Error> {
        let mut secret = zeros();
        fill_random(&mut **secret)?;
        Self::from_secret(secret)
    }

    /// Reads a key from its text; white space around it is ignored.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`](ErrorKind::InvalidKey) for any other text, the keys of age's plugins included.
    pub fn from_text(text: &str) -> Result<Self, Error> {
        let text = text.trim_ascii();
        if text.starts_with("AGE-PLUGIN-") {
            return Err(invalid(
                "keys of age's plugins are not supported: only AGE-SECRET-KEY-1… is",
            ));
        }
        if text.starts_with("AGE-SECRET-KEY-PQ-") {
            return Err(invalid(
                "age's post-quantum keys are not supported: only AGE-SECRET-KEY-1… is",
            ));
        }
        let mut secret = zeros();
        let is_key =
            and_clear_the_stack(|| decode(SECRET_HRP, text, &mut secret) && *encode_secret(&secret) == *text);
        if !is_key {
            return Err(invalid(
                "not a secret key of age: AGE-SECRET-KEY-1 and 58 capitals and digits are expected",
            ));
        }
        Self::from_secret(secret)
    }

    /// Returns the key as text, for storing it.
    pub fn to_text(&self) -> Zeroizing<String> {
        and_clear_the_stack(|| encode_secret(&self.secret))
    }

    /// The public key.
    pub fn public(&self) -> &AgeRecipient {
        &self.public
    }

    /// `None` when `wrapped` was not wrapped for this key and this associated data, or holds no 32-byte secret.
    pub(crate) fn unwrap(&self, wrapped: &[u8], associated_data: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        if wrapped.len() != WRAPPED_BYTES {
            return None;
        }
        and_clear_the_stack(|| open(&self.secret, INFO, wrapped, associated_data))
    }

    fn from_secret(secret: Box<Zeroizing<[u8; KEY_BYTES]>>) -> Result<Self, Error> {
        let public = and_clear_the_stack(|| {
            let secret = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(&**secret)?;
            Ok(X25519HkdfSha256::sk_to_pk(&secret).to_bytes().into())
        });
        let public = public.map_err(|_: hpke::HpkeError| invalid("not a secret key of X25519"))?;
        Ok(Self {
            secret,
            public: AgeRecipient::new(public)?,
        })
    }
}

impl fmt::Debug for AgeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgeKey({})", self.public)
    }
}

/// An X25519 public key in age's form, `age1…`: anybody can seal for it, and only the holder of the secret key can open.
///
/// ```
/// use sdk_encrypt::{AgeRecipient, Keyring};
///
/// # fn main() -> Result<(), sdk_encrypt::Error> {
/// let ada: AgeRecipient = "age1tlj7q6kqrj2l2kz4cuumumlw6u23wjq9pj64suxp93jxvddm5gds0uka9n".parse()?;
/// let ring = Keyring::from(ada);
/// # assert_eq!(ring.recipients().len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgeRecipient {
    public: [u8; KEY_BYTES],
    recipient: Recipient,
}

impl AgeRecipient {
    /// The name that sealed files record.
    pub const NAME: &'static str = "age";

    /// The public key that a sealed file names; `None` if the recipient is of another kind.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`](ErrorKind::InvalidKey) when the recipient should have a public key of age and has none.
    pub fn from_recipient(recipient: &Recipient) -> Result<Option<Self>, Error> {
        if recipient.name != Self::NAME {
            return Ok(None);
        }
        let text = recipient.body.text(PUBLIC_KEY);
        text.ok_or_else(|| invalid("the recipient age names no public key"))?
            .parse()
            .map(Some)
    }

    fn new(public: [u8; KEY_BYTES]) -> Result<Self, Error> {
        if !is_canonical(&public) || is_of_low_order(&public) {
            return Err(invalid(
                "nobody has the secret key of this public key: it is no point that X25519 makes",
            ));
        }
        let mut text = String::new();
        bech32::encode_lower_to_fmt::<Bech32, _>(&mut text, PUBLIC_HRP, &public)
            .map_err(|_| invalid("a public key of age is too long"))?;
        Ok(Self {
            public,
            recipient: Recipient::new(Self::NAME).with(PUBLIC_KEY, text),
        })
    }

    fn text(&self) -> &str {
        self.recipient.body.text(PUBLIC_KEY).unwrap_or_default()
    }

    pub(crate) fn wrap_for_anybody(&self, secret: &[u8], associated_data: &[u8]) -> Result<Vec<u8>, Error> {
        if secret.len() != 32 {
            return Err(Error::new(
                ErrorKind::Failed,
                format!("a secret of 32 bytes can be wrapped, not one of {}", secret.len()),
            ));
        }
        let mut random = SystemRandom { failure: None };
        let sealed = and_clear_the_stack(|| seal(&self.public, INFO, secret, associated_data, &mut random));
        // Before the result is looked at: it was made with zeros in the place of what is missing.
        if let Some(failure) = random.failure {
            return Err(failure);
        }
        sealed.ok_or_else(|| Error::new(ErrorKind::Failed, format!("cannot wrap for {self}")))
    }
}

impl FromStr for AgeRecipient {
    type Err = Error;

    /// Reads `age1…`; white space around it is ignored.
    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim_ascii();
        if text.to_ascii_uppercase().contains("AGE-SECRET-KEY-") {
            return Err(invalid(
                "this is a secret key: give the public key, age1…, or the file that holds the secret one",
            ));
        }
        let mut public = [0; KEY_BYTES];
        if decode(PUBLIC_HRP, text, &mut public) {
            let recipient = Self::new(public)?;
            if recipient.text() == text {
                return Ok(recipient);
            }
        }
        // Bech32 has no digit 1: it separates the name of a plugin, or of a post-quantum kind, from the rest.
        let is_of_another_kind = text.strip_prefix("age1").is_some_and(|rest| rest.contains('1'));
        Err(invalid(match is_of_another_kind {
            true => {
                "recipients of age's plugins and its post-quantum ones are not supported: age1 and 58 more characters are"
            }
            false => {
                "not a public key of age: age1 and 58 lower-case letters and digits are expected, without a typing error"
            }
        }))
    }
}

impl fmt::Display for AgeRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Seals and never opens.
impl Encrypter for AgeRecipient {
    fn describe(&self) -> String {
        format!("{} {self}", Self::NAME)
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
            true => self.wrap_for_anybody(data_key, associated_data).map(Some),
            false => Ok(None),
        }
    }

    fn unwrap(&self, recipient: &Recipient, _: &[u8], _: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        match recipient.is_same_key(&self.recipient) {
            // It is not damage that this key opens nothing.
            true => Err(Error::new(
                ErrorKind::MissingKey,
                format!("a public key opens nothing: give the secret key of {self}"),
            )),
            false => Ok(None),
        }
    }
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidKey, message)
}

fn zeros() -> Box<Zeroizing<[u8; KEY_BYTES]>> {
    Box::new(Zeroizing::new([0; KEY_BYTES]))
}

/// Decodes Bech32 (BIP 173) of exactly 32 bytes. The caller encodes them again and compares, because the decoder also takes
/// the other case and ignores the bits that are left over.
fn decode(hrp: Hrp, text: &str, bytes: &mut [u8; KEY_BYTES]) -> bool {
    let Ok(decoded) = CheckedHrpstring::new::<Bech32>(text) else {
        return false;
    };
    let mut decoded_bytes = decoded.byte_iter();
    if decoded.hrp() != hrp || decoded_bytes.len() != KEY_BYTES {
        return false;
    }
    bytes.fill_with(|| decoded_bytes.next().unwrap_or_default());
    true
}

fn encode_secret(secret: &[u8; KEY_BYTES]) -> Zeroizing<String> {
    // The buffer does not grow: growing would leave a copy of the key behind.
    let mut text = Zeroizing::new(String::with_capacity(SECRET_TEXT_BYTES));
    // Fails only for texts of more than a kilobyte.
    let _ = bech32::encode_upper_to_fmt::<Bech32, _>(&mut *text, SECRET_HRP, secret);
    text
}

/// Whether the bytes are a number less than 2^255 - 19. The holder of the secret key has the other form of the same point,
/// and HPKE binds the form.
fn is_canonical(public: &[u8; KEY_BYTES]) -> bool {
    let [first, middle @ .., last] = public;
    *last < 0x7F || *last == 0x7F && (*first < 0xED || middle.iter().any(|byte| *byte != 0xFF))
}

/// Whether every shared secret with this point is zero (RFC 7748, section 6.1).
fn is_of_low_order(public: &[u8; KEY_BYTES]) -> bool {
    let mut any_key = FixedRandom;
    <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(public)
        .and_then(|public| X25519HkdfSha256::encap_with_rng(&public, None, &mut any_key))
        .is_err()
}

/// HPKE in base mode (RFC 9180): the encapsulated key, then the ciphertext with its tag.
fn seal(
    public: &[u8; KEY_BYTES],
    info: &[u8],
    plaintext: &[u8],
    associated_data: &[u8],
    random: &mut impl CryptoRng,
) -> Option<Vec<u8>> {
    let public = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(public).ok()?;
    let (encapsulated, ciphertext) = hpke::single_shot_seal_with_rng::<
        ChaCha20Poly1305,
        HkdfSha256,
        X25519HkdfSha256,
    >(&OpModeS::Base, &public, info, plaintext, associated_data, random)
    .ok()?;
    Some([&encapsulated.to_bytes(), ciphertext.as_slice()].concat())
}

fn open(
    secret: &[u8; KEY_BYTES],
    info: &[u8],
    sealed: &[u8],
    associated_data: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let (encapsulated, ciphertext) = sealed.split_first_chunk::<KEY_BYTES>()?;
    let secret = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(secret).ok()?;
    let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated).ok()?;
    hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &secret,
        &encapsulated,
        info,
        ciphertext,
        associated_data,
    )
    .ok()
    .map(Zeroizing::new)
}

/// The operating system's generator. HPKE's interface takes no errors, so a failure is kept for the caller.
struct SystemRandom {
    failure: Option<Error>,
}

impl TryRng for SystemRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, buffer: &mut [u8]) -> Result<(), Infallible> {
        self.failure = self.failure.take().or(fill_random(buffer).err());
        Ok(())
    }
}

impl TryCryptoRng for SystemRandom {}

/// A key that is no secret, to try a public key with.
struct FixedRandom;

impl TryRng for FixedRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(0)
    }

    fn try_fill_bytes(&mut self, buffer: &mut [u8]) -> Result<(), Infallible> {
        buffer.fill(0);
        Ok(())
    }
}

impl TryCryptoRng for FixedRandom {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Age;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::Deserialize;

    /// Made by `tests/age_vectors.py`, which is another implementation.
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Vectors {
        identities: Vec<Identity>,
        invalid_secrets: Vec<Invalid>,
        invalid_publics: Vec<Invalid>,
        wraps: Vec<Wrap>,
        refused: Vec<Refused>,
    }

    #[derive(Deserialize)]
    struct Identity {
        secret: String,
        public: String,
    }

    #[derive(Deserialize)]
    struct Invalid {
        why: String,
        text: String,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Wrap {
        name: String,
        key: String,
        ephemeral_ikm: String,
        associated_data: String,
        secret: String,
        wrapped: String,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Refused {
        why: String,
        name: String,
        public_key: Option<String>,
        associated_data: String,
        wrapped: String,
    }

    fn vectors() -> Vectors {
        serde_json::from_str(include_str!("../tests/age_vectors.json")).unwrap()
    }

    /// The key of all negative vectors.
    fn ada() -> AgeKey {
        AgeKey::from_text(&vectors().identities[0].secret).unwrap()
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    /// Hands out these bytes.
    struct Given(Vec<u8>);

    impl TryRng for Given {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            panic!("HPKE draws bytes")
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            panic!("HPKE draws bytes")
        }

        fn try_fill_bytes(&mut self, buffer: &mut [u8]) -> Result<(), Infallible> {
            assert!(buffer.len() <= self.0.len(), "{} bytes are left", self.0.len());
            buffer.copy_from_slice(&self.0[..buffer.len()]);
            self.0.drain(..buffer.len());
            Ok(())
        }
    }

    impl TryCryptoRng for Given {}

    /// Appendix A.2.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, base mode, sequence number 0.
    #[test]
    fn hpke_matches_rfc_9180() {
        let secret = hex("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb");
        let public = hex("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a");
        let ikm = hex("909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b");
        let info = hex("4f6465206f6e2061204772656369616e2055726e");
        let plaintext = hex("4265617574792069732074727574682c20747275746820626561757479");
        let associated_data = hex("436f756e742d30");
        let expected = hex(concat!(
            "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a",
            "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28"
        ));
        let (secret, public) = (secret.try_into().unwrap(), public.try_into().unwrap());
        let sealed = seal(&public, &info, &plaintext, &associated_data, &mut Given(ikm)).unwrap();
        assert_eq!(sealed, expected);
        let opened = open(&secret, &info, &sealed, &associated_data).unwrap();
        assert_eq!(*opened, plaintext);
    }

    #[test]
    fn keys_have_the_published_texts() {
        for vector in vectors().identities {
            let key = AgeKey::from_text(&format!("  {}\r\n", vector.secret)).unwrap();
            assert_eq!(key.public().to_string(), vector.public);
            assert_eq!(*key.to_text(), vector.secret);
            assert_eq!(vector.public.parse::<AgeRecipient>().unwrap(), *key.public());
        }
    }

    #[test]
    fn a_text_that_is_no_key_is_refused() {
        for vector in vectors().invalid_secrets {
            let error = AgeKey::from_text(&vector.text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidKey, "{}", vector.why);
        }
        for vector in vectors().invalid_publics {
            let error = vector.text.parse::<AgeRecipient>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidKey, "{}", vector.why);
            let says = match &*vector.why {
                "the recipient of a plugin" | "a post-quantum recipient" => "not supported",
                "a secret key" => "this is a secret key",
                why if why.starts_with("low order") || why.starts_with("not canonical") => "nobody has",
                _ => "not a public key",
            };
            assert!(error.to_string().contains(says), "{}: {error}", vector.why);
        }
    }

    #[test]
    fn wrapping_gives_the_published_bytes_and_unwrapping_the_secret() {
        for vector in vectors().wraps {
            let key = AgeKey::from_text(&vector.key).unwrap();
            let (secret, associated_data) = (hex(&vector.secret), hex(&vector.associated_data));
            let mut random = Given(hex(&vector.ephemeral_ikm));
            let wrapped = seal(&key.public.public, INFO, &secret, &associated_data, &mut random).unwrap();
            assert_eq!(STANDARD.encode(&wrapped), vector.wrapped, "{}", vector.name);
            let unwrapped = key.unwrap(&wrapped, &associated_data);
            assert_eq!(unwrapped.as_deref(), Some(&secret), "{}", vector.name);
        }
    }

    #[test]
    fn what_the_vectors_say_is_refused_does_not_unwrap() {
        let mine = Age::new("test", ada());
        for vector in vectors().refused {
            let mut recipient = Recipient::new(vector.name);
            if let Some(public_key) = vector.public_key {
                recipient = recipient.with("public-key", public_key);
            }
            let wrapped = STANDARD.decode(&vector.wrapped).unwrap();
            let opened = mine
                .unwrap(&recipient, &wrapped, &hex(&vector.associated_data))
                .unwrap();
            assert_eq!(opened, None, "{}", vector.why);
        }
    }

    #[test]
    fn no_changed_or_cut_wrapped_key_unwraps() {
        let key = ada();
        let wrapped = key.public().wrap_for_anybody(&[7; 32], b"context").unwrap();
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
        for length in [0, 31, 33, 64] {
            let error = ada()
                .public()
                .wrap_for_anybody(&vec![7; length], b"")
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Failed, "{length} bytes");
        }
    }

    #[test]
    fn no_ephemeral_key_is_used_twice() {
        let ada = ada();
        let keys: std::collections::HashSet<_> = (0..200)
            .map(|_| ada.public().wrap_for_anybody(&[7; 32], b"").unwrap()[..KEY_BYTES].to_vec())
            .collect();
        assert_eq!(keys.len(), 200);
    }
}
