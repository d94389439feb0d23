use crate::master_key::{and_clear_the_stack, fill_random};
use crate::{Encrypter, Error, ErrorKind, MasterKey, Recipient};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use zeroize::{Zeroize as _, Zeroizing};

const SALT_BYTES: usize = 16;
/// From the least that OWASP recommends to 1 GiB.
const MEMORY_KIB: RangeInclusive<u64> = 19 * 1024..=1024 * 1024;
const PASSES: RangeInclusive<u64> = 1..=16;
const LANES: RangeInclusive<u64> = 1..=16;

/// A key that Argon2id (RFC 9106) derives from a passphrase.
///
/// A recipient has its own salt, and the header holds it and the cost: 64 MiB, three passes and four lanes, which is the second
/// recommended option of the RFC. Each salt costs one derivation in the life of the encrypter, some tenths of a second.
/// Whoever has a file can guess passphrases at that cost, and the fingerprint in the header makes it no cheaper: it is made
/// from the derived key, as the wrapped key is. Use a long passphrase.
///
/// ```
/// use sdk_encrypt::{Encrypter as _, Passphrase};
///
/// # fn main() -> Result<(), sdk_encrypt::Error> {
/// let passphrase = Passphrase::new("correct horse battery staple")?;
/// # assert_eq!(passphrase.recipient().name, "passphrase");
/// # Ok(())
/// # }
/// ```
pub struct Passphrase {
    text: Zeroizing<String>,
    /// The first recipient that this passphrase was found to be of; a fresh one if it is asked for before that.
    recipient: OnceLock<Recipient>,
    derived: Mutex<Vec<(Cost, Arc<MasterKey>)>>,
}

/// What Argon2id gets beside the passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    salt: [u8; SALT_BYTES],
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Passphrase {
    /// The name that sealed files record.
    pub const NAME: &'static str = "passphrase";

    /// Takes a passphrase, byte for byte. Nothing is derived yet.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`](ErrorKind::InvalidKey) for an empty one, and one of more than a kilobyte.
    pub fn new(text: &str) -> Result<Self, Error> {
        if text.is_empty() || text.len() > 1024 {
            return Err(Error::new(
                ErrorKind::InvalidKey,
                "a passphrase has 1 to 1024 bytes",
            ));
        }
        Ok(Self {
            text: Zeroizing::new(text.into()),
            recipient: OnceLock::new(),
            derived: Mutex::new(Vec::new()),
        })
    }

    /// The key, if this is the passphrase of the recipient.
    fn key_of(&self, recipient: &Recipient) -> Result<Option<Arc<MasterKey>>, Error> {
        if recipient.name != Self::NAME {
            return Ok(None);
        }
        let key = self.derive(Cost::of(recipient)?)?;
        if recipient.fingerprint() != Some(&*key.fingerprint().to_string()) {
            return Ok(None);
        }
        self.recipient.get_or_init(|| recipient.clone());
        Ok(Some(key))
    }

    /// One derivation at a time: each may take a gigabyte.
    fn derive(&self, cost: Cost) -> Result<Arc<MasterKey>, Error> {
        let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, key)) = derived.iter().find(|(known, _)| *known == cost) {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(cost.derive(&self.text)?);
        derived.push((cost, Arc::clone(&key)));
        Ok(key)
    }

    fn fresh_recipient(&self) -> Result<Recipient, Error> {
        let cost = Cost::fresh()?;
        let fingerprint = self.derive(cost)?.fingerprint().to_string();
        Ok(cost.recipient().with("fingerprint", fingerprint))
    }
}

impl Cost {
    /// The second recommended option of RFC 9106, section 4.
    fn fresh() -> Result<Self, Error> {
        let mut salt = [0; SALT_BYTES];
        fill_random(&mut salt)?;
        Ok(Self {
            salt,
            memory_kib: 64 * 1024,
            passes: 3,
            lanes: 4,
        })
    }

    /// Checks the bounds before any work: nothing here has been authenticated.
    fn of(recipient: &Recipient) -> Result<Self, Error> {
        let salt = recipient
            .body
            .text("salt")
            .and_then(|text| STANDARD.decode(text).ok())
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| refused("a salt of 16 bytes is expected, in base64"))?;
        let number = |member: &str, bounds: RangeInclusive<u64>| match recipient.body.number(member) {
            Some(number) if bounds.contains(&number) => Ok(number as u32),
            found => Err(refused(&format!(
                "`{member}` is {}, and {} to {} is allowed",
                found.map_or("no number".into(), |number| number.to_string()),
                bounds.start(),
                bounds.end()
            ))),
        };
        Ok(Self {
            salt,
            memory_kib: number("memory-kib", MEMORY_KIB)?,
            passes: number("passes", PASSES)?,
            lanes: number("lanes", LANES)?,
        })
    }

    fn recipient(&self) -> Recipient {
        Recipient::new(Passphrase::NAME)
            .with("salt", STANDARD.encode(self.salt))
            .with_number("memory-kib", self.memory_kib)
            .with_number("passes", self.passes)
            .with_number("lanes", self.lanes)
    }

    fn derive(&self, passphrase: &str) -> Result<MasterKey, Error> {
        let parameters = Params::new(self.memory_kib, self.passes, self.lanes, Some(MasterKey::BYTES))
            .map_err(|problem| refused(&problem.to_string()))?;
        let mut blocks: Vec<Block> = Vec::new();
        blocks
            .try_reserve_exact(parameters.block_count())
            .map_err(|source| {
                let message = format!("there are no {} KiB of memory for a passphrase", self.memory_kib);
                Error::new(ErrorKind::Unavailable, message).with_source(source)
            })?;
        blocks.resize(parameters.block_count(), Block::new());
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
        let key = and_clear_the_stack(|| {
            MasterKey::filled_by(|key| {
                argon2.hash_password_into_with_memory(passphrase.as_bytes(), &self.salt, key, &mut blocks)
            })
        });
        blocks.iter_mut().for_each(|block| block.zeroize());
        key.map_err(|problem| refused(&problem.to_string()))
    }
}

fn refused(problem: &str) -> Error {
    Error::new(
        ErrorKind::Failed,
        format!("the header asks for a passphrase in a way that is refused: {problem}"),
    )
}

impl Encrypter for Passphrase {
    fn describe(&self) -> String {
        match self.recipient.get().and_then(Recipient::fingerprint) {
            Some(fingerprint) => format!("{} {fingerprint}", Self::NAME),
            None => Self::NAME.into(),
        }
    }

    /// Derives a key for a fresh salt, if this passphrase has not been used for a file yet.
    fn recipient(&self) -> &Recipient {
        // A recipient without a fingerprint is wrapped for by nobody: `wrap` then tells what went wrong.
        self.recipient.get_or_init(|| {
            self.fresh_recipient()
                .unwrap_or_else(|_| Recipient::new(Self::NAME))
        })
    }

    fn wrap(
        &self,
        recipient: &Recipient,
        data_key: &[u8],
        associated_data: &[u8],
    ) -> Result<Option<Vec<u8>>, Error> {
        match self.key_of(recipient)? {
            Some(key) => key.wrap(data_key, associated_data).map(Some),
            None => Ok(None),
        }
    }

    fn unwrap(
        &self,
        recipient: &Recipient,
        wrapped: &[u8],
        associated_data: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let key = self.key_of(recipient)?;
        Ok(key.and_then(|key| key.unwrap(wrapped, associated_data)))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Passphrase({})", self.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    /// Made by `tests/passphrase_vectors.py`, which is another implementation.
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Vector {
        name: String,
        passphrase: String,
        recipient: crate::RecipientBody,
        associated_data: String,
        secret: String,
        wrapped: String,
    }

    fn vectors() -> Vec<Vector> {
        serde_json::from_str(include_str!("../tests/passphrase_vectors.json")).unwrap()
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    fn recipient(body: crate::RecipientBody) -> Recipient {
        Recipient {
            name: "passphrase".into(),
            body,
        }
    }

    fn changed(member: &str, value: serde_json::Value) -> Recipient {
        let mut body = serde_json::to_value(vectors().remove(0).recipient).unwrap();
        body[member] = value;
        recipient(serde_json::from_value(body).unwrap())
    }

    #[test]
    fn published_files_open_with_their_passphrase() {
        for vector in vectors() {
            let passphrase = Passphrase::new(&vector.passphrase).unwrap();
            let recipient = recipient(vector.recipient);
            let associated_data = hex(&vector.associated_data);
            let wrapped = STANDARD.decode(&vector.wrapped).unwrap();
            let opened = passphrase.unwrap(&recipient, &wrapped, &associated_data).unwrap();
            assert_eq!(opened.as_deref(), Some(&hex(&vector.secret)), "{}", vector.name);
            assert!(
                passphrase.recipient().is_same_key(&recipient),
                "it adopts the salt"
            );
            let other = passphrase.unwrap(&recipient, &wrapped, b"elsewhere").unwrap();
            assert_eq!(other, None, "{}", vector.name);
        }
    }

    #[test]
    fn another_passphrase_neither_opens_nor_seals() {
        let vector = vectors().remove(0);
        let wrapped = STANDARD.decode(&vector.wrapped).unwrap();
        let associated_data = hex(&vector.associated_data);
        let wrong = Passphrase::new(&format!("{} ", vector.passphrase)).unwrap();
        let theirs = recipient(vector.recipient);
        assert_eq!(wrong.unwrap(&theirs, &wrapped, &associated_data).unwrap(), None);
        assert_eq!(wrong.wrap(&theirs, &[7; 32], b"").unwrap(), None);
        assert!(!wrong.recipient().is_same_key(&theirs));
    }

    /// The header of a file from anybody must not make the reader allocate or compute without bounds.
    #[test]
    fn cost_outside_the_bounds_is_refused_before_any_work() {
        let passphrase = Passphrase::new("swordfish").unwrap();
        for (member, value) in [
            ("memory-kib", json!(1024 * 1024 + 1)),
            ("memory-kib", json!(u64::MAX)),
            ("memory-kib", json!(19 * 1024 - 1)),
            ("memory-kib", json!("65536")),
            ("memory-kib", json!(65536.5)),
            ("passes", json!(0)),
            ("passes", json!(17)),
            ("passes", json!(-1)),
            ("lanes", json!(0)),
            ("lanes", json!(1_u64 << 32 | 1)),
            ("lanes", json!(null)),
            ("salt", json!("")),
            ("salt", json!("AAAAAAAAAAAAAAAAAAAAAAA=")),
            ("salt", json!("AAAAAAAAAAAAAAAAAAAAAA")),
        ] {
            let recipient = changed(member, value.clone());
            for error in [
                passphrase.unwrap(&recipient, &[0; 72], b"").unwrap_err(),
                passphrase.wrap(&recipient, &[0; 32], b"").unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::Failed);
                assert!(error.to_string().contains(member), "{value}: {error}");
            }
        }
        assert!(
            passphrase.derived.lock().unwrap().is_empty(),
            "nothing was derived"
        );
    }

    #[test]
    fn each_salt_is_derived_once_and_each_recipient_has_its_own() {
        let [one, other] = [(); 2].map(|()| Passphrase::new("swordfish").unwrap());
        let wrapped = one.wrap(one.recipient(), &[7; 32], b"").unwrap().unwrap();
        for _ in 0..20 {
            one.unwrap(one.recipient(), &wrapped, b"").unwrap().unwrap();
        }
        assert_eq!(one.derived.lock().unwrap().len(), 1);
        assert!(!one.recipient().is_same_key(other.recipient()));
        let opened = other.unwrap(one.recipient(), &wrapped, b"").unwrap();
        assert_eq!(opened.as_deref().map(Vec::as_slice), Some(&[7; 32][..]));
    }

    #[test]
    fn no_text_of_the_passphrase_is_printed() {
        let passphrase = Passphrase::new("swordfish").unwrap();
        let _ = passphrase.recipient();
        let shown = format!(
            "{passphrase:?} {} {:?}",
            passphrase.describe(),
            passphrase.recipient()
        );
        assert!(!shown.contains("swordfish"), "{shown}");
        for text in ["", &"x".repeat(1025)] {
            assert_eq!(Passphrase::new(text).unwrap_err().kind(), ErrorKind::InvalidKey);
        }
    }
}
