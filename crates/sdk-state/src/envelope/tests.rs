//! The published vectors of envelope version 2, which another implementation made: `tests/envelope_v2.py`.

use super::compression::Compression;
use super::data_key::DataKey;
use super::v2::seal_with;
use super::{Compressed, DEFAULT_LIMIT, Mark, Origin, Subject, header, open};
use crate::{Error, ErrorKind, Provenance, StackId};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305};
use hkdf::Hkdf;
use sdk_encrypt::{Encrypter, EnvKey, KeyFile, Keyring, MasterKey, Noop, Recipient};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::Sha256;
use std::io::Write as _;
use zeroize::Zeroizing;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Vector {
    name: String,
    key: Option<String>,
    key_kind: Option<String>,
    payload: String,
    factory: String,
    stack: String,
    revision: String,
    limit: Option<u64>,
    sealed: String,
    plaintext: Option<String>,
    error: Option<String>,
    compression: Option<Compression>,
    data_key: Option<String>,
    #[serde(default)]
    recipients: Vec<VectorRecipient>,
    #[serde(default)]
    body_opens_under: Vec<String>,
    context: Option<String>,
}

#[derive(Clone, Deserialize)]
pub(super) struct VectorRecipient {
    name: String,
    body: Value,
    key: String,
    nonce: String,
}

/// An entry says only what differs from the defaults.
fn vectors() -> Vec<Vector> {
    let file: Value = serde_json::from_str(include_str!("../../tests/vectors.json")).unwrap();
    with_defaults(&file)
}

/// The vectors of a file.
pub(super) fn with_defaults<T: DeserializeOwned>(file: &Value) -> Vec<T> {
    let entries = file["vectors"].as_array().unwrap().iter();
    entries
        .map(|entry| {
            let mut vector = file["defaults"].as_object().unwrap().clone();
            vector.extend(entry.as_object().unwrap().clone());
            serde_json::from_value(Value::Object(vector)).unwrap()
        })
        .collect()
}

/// The reader's keyring: plain without a key.
pub(super) fn opening_ring(key: Option<&str>, kind: Option<&str>) -> Keyring {
    let Some(key) = key else {
        return Noop.into();
    };
    match kind {
        Some("env-key") => EnvKey::new("KEY", MasterKey::from_base64(key).unwrap()).into(),
        Some("key-file") => {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(key.as_bytes()).unwrap();
            KeyFile::open(file.path()).unwrap().into()
        }
        kind => panic!("{kind:?}"),
    }
}

impl Vector {
    fn open(&self) -> Result<Vec<u8>, Error> {
        let (id, revision) = (self.id(), self.revision.parse().unwrap());
        let subject = Subject {
            payload: &self.payload,
            id: &id,
            revision: &revision,
        };
        open(
            &opening_ring(self.key.as_deref(), self.key_kind.as_deref()),
            subject,
            self.sealed(),
            self.limit.unwrap_or(DEFAULT_LIMIT),
        )
    }

    fn id(&self) -> StackId {
        StackId::new(&self.factory, &self.stack).unwrap()
    }

    fn sealed(&self) -> Vec<u8> {
        STANDARD.decode(&self.sealed).unwrap()
    }
}

#[test]
fn every_vector_opens_or_fails_as_published() {
    let (mut opened, mut failed) = (0, 0);
    for vector in vectors() {
        match (vector.open(), &vector.error) {
            (Ok(plaintext), None) => {
                assert_eq!(
                    Some(&*String::from_utf8(plaintext).unwrap()),
                    vector.plaintext.as_deref(),
                    "{}",
                    vector.name
                );
                opened += 1;
            }
            (Err(error), Some(expected)) => {
                let kind = format!("{:?}", error.kind());
                assert_eq!(
                    kind.split(' ').next(),
                    Some(&**expected),
                    "{}: {error}",
                    vector.name
                );
                failed += 1;
            }
            (Ok(_), Some(expected)) => panic!("{} opens and should be {expected}", vector.name),
            (Err(error), None) => panic!("{} does not open: {error:?}", vector.name),
        }
    }
    assert!(opened > 20 && failed > 100, "{opened} opened, {failed} failed");
}

#[test]
fn sealing_gives_the_published_bytes() {
    let mut compared = 0;
    for vector in vectors() {
        if vector.compression != Some(Compression::None) || vector.error.is_some() {
            // Another version of zstd may compress to other bytes.
            continue;
        }
        let sealed = vector.sealed();
        let header = header(&sealed).unwrap();
        let (id, revision) = (vector.id(), vector.revision.parse().unwrap());
        let subject = Subject {
            payload: &vector.payload,
            id: &id,
            revision: &revision,
        };
        let mark = Mark {
            run_id: header.run_id.clone(),
            replaces: header.replaces.clone(),
            parent: None,
            is_genesis: header.is_genesis,
        };
        let origin = Origin {
            message: header.message.as_deref(),
            parent: header.parent.as_ref(),
            mark: &mark,
            ..Origin::new(&header.provenance, header.written_at.unwrap())
        };
        let plaintext = vector.plaintext.clone().unwrap().into_bytes();
        let payload = Compressed {
            compression: Compression::None,
            length: plaintext.len() as u64,
            bytes: plaintext,
        };
        let ring = sealing_ring(&vector.recipients);
        let data_key = match &vector.data_key {
            Some(data_key) => DataKey::from_bytes(&hex(data_key)).unwrap(),
            None => DataKey::generate().unwrap(),
        };
        let ours = seal_with(&data_key, &ring, subject, &origin, &payload).unwrap();
        assert_eq!(ours, sealed, "{}", vector.name);
        compared += 1;
    }
    assert!(compared >= 5, "{compared} compared");
}

/// ChaCha20-Poly1305 does not commit to its key. Without the header tag, whoever knows two keys could make one file that
/// two readers open to two different states (E3).
#[test]
fn a_file_opens_under_one_data_key_only() {
    let vectors = vectors();
    let forged = vectors
        .iter()
        .find(|vector| !vector.body_opens_under.is_empty())
        .unwrap();
    let context = hex(forged.context.as_deref().unwrap());
    let sealed = forged.sealed();
    let body = &sealed[sealed.len() - 48..];
    let plaintexts: Vec<Vec<u8>> = forged
        .body_opens_under
        .iter()
        .map(|key| {
            let mut body = body.to_vec();
            DataKey::from_bytes(&hex(key))
                .unwrap()
                .decrypt(&mut body, &context)
                .unwrap();
            body
        })
        .collect();
    assert_eq!(plaintexts.len(), 2);
    assert_ne!(plaintexts[0], plaintexts[1]);
    assert_eq!(forged.open().unwrap_err().kind(), &ErrorKind::Damaged);
}

#[test]
fn every_size_around_the_limits_of_zstd_opens() {
    let id: StackId = "network/prod".parse().unwrap();
    let revision = "2026-07-10T12:00:00Z".parse().unwrap();
    let subject = Subject {
        payload: "note",
        id: &id,
        revision: &revision,
    };
    let ring: Keyring = EnvKey::new("KEY", MasterKey::generate().unwrap()).into();
    let provenance = Provenance::new();
    let origin = Origin::new(&provenance, time::OffsetDateTime::UNIX_EPOCH);
    for size in [0, 1, 2, 255, 256, 257, 65_535, 65_536, 131_073, 3_000_000] {
        let plaintext: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let sealed = super::seal(&ring, subject, &origin, &plaintext).unwrap();
        assert_eq!(
            open(&ring, subject, sealed, size).unwrap(),
            plaintext,
            "{size} bytes"
        );
    }
}

#[test]
fn a_payload_type_that_is_not_allowed_is_not_sealed() {
    let id: StackId = "network/prod".parse().unwrap();
    let revision = "2026-07-10T12:00:00Z".parse().unwrap();
    let provenance = Provenance::new();
    let origin = Origin::new(&provenance, time::OffsetDateTime::UNIX_EPOCH);
    let long = "p".repeat(65);
    for payload in ["", "a b", "ä", "a/b", &long] {
        let subject = Subject {
            payload,
            id: &id,
            revision: &revision,
        };
        let error = super::seal(&Noop.into(), subject, &origin, b"x").unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::InvalidName, "{payload:?}");
    }
}

#[test]
fn a_time_outside_the_calendar_is_an_error() {
    let (id, revision) = (
        "network/prod".parse().unwrap(),
        "2026-07-10T12:00:00Z".parse().unwrap(),
    );
    let subject = Subject {
        payload: "state",
        id: &id,
        revision: &revision,
    };
    let behind = time::UtcOffset::from_hms(-1, 0, 0).unwrap();
    let provenance = Provenance::new();
    let origin = Origin::new(&provenance, time::PrimitiveDateTime::MAX.assume_offset(behind));
    let error = super::seal(&Noop.into(), subject, &origin, b"x").unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::InvalidName);
}

#[test]
fn a_lack_of_memory_is_not_damage() {
    // Without a content size, so that the claim of the header is all there is.
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(b"a plan").unwrap();
    encoder.flush().unwrap();
    let frame = encoder.finish().unwrap();
    let zstd = super::Zstd::new().unwrap();
    let error = Compression::Zstd.expand(&zstd, frame, 1 << 62).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Unavailable);
}

/// Seals for these recipients; plain without any.
pub(super) fn sealing_ring(recipients: &[VectorRecipient]) -> Keyring {
    let mut recipients = recipients.iter().cloned().map(VectorKey::from);
    match recipients.next() {
        Some(first) => recipients.fold(Keyring::from(first), |ring, next| {
            ring.also_seal_for(next).unwrap()
        }),
        None => Noop.into(),
    }
}

/// Wraps with a nonce that the vector gives, by the formula of `docs/format.md`.
struct VectorKey {
    recipient: Recipient,
    vector: VectorRecipient,
}

impl From<VectorRecipient> for VectorKey {
    fn from(vector: VectorRecipient) -> Self {
        Self {
            recipient: Recipient {
                name: vector.name.clone(),
                body: serde_json::from_value(vector.body.clone()).unwrap(),
            },
            vector,
        }
    }
}

impl Encrypter for VectorKey {
    fn describe(&self) -> String {
        self.recipient.describe()
    }

    fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    fn wrap(
        &self,
        recipient: &Recipient,
        data_key: &[u8],
        associated_data: &[u8],
    ) -> Result<Option<Vec<u8>>, sdk_encrypt::Error> {
        if !recipient.is_same_key(&self.recipient) {
            return Ok(None);
        }
        let master = STANDARD.decode(&self.vector.key).unwrap();
        let mut wrap_key = [0; 32];
        Hkdf::<Sha256>::new(None, &master)
            .expand(b"ubstate v2 wrap", &mut wrap_key)
            .unwrap();
        let nonce: [u8; 24] = hex(&self.vector.nonce).try_into().unwrap();
        let payload = Payload {
            msg: data_key,
            aad: associated_data,
        };
        let sealed = XChaCha20Poly1305::new(&wrap_key.into())
            .encrypt(&nonce.into(), payload)
            .unwrap();
        Ok(Some([&nonce[..], &sealed].concat()))
    }

    fn unwrap(
        &self,
        _: &Recipient,
        _: &[u8],
        _: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, sdk_encrypt::Error> {
        Ok(None)
    }
}

pub(super) fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// The fuzzer found a member named `revisi\n` in the cause of an error, as it stood: serde quotes what it does not know.
/// So whoever could write to the store chose up to a mebibyte of what a program printed that prints every cause, with
/// escape sequences for the terminal in it.
#[test]
fn a_hostile_header_gives_a_short_escaped_error() {
    let hostile = "\\u001b[2J\\n\\u202e".repeat(10_000);
    for header in [
        format!(r#"{{"envelope-version":2,"{hostile}":1}}"#),
        format!(r#"{{"envelope-version":"{hostile}"}}"#),
        format!(r#"{{"envelope-version":2,"compression":"{hostile}"}}"#),
        format!(r#"{{"envelope-version":2,"recipients":"{hostile}"}}"#),
    ] {
        let mut file = super::v2::MAGIC.to_vec();
        file.extend_from_slice(&(header.len() as u32).to_le_bytes());
        file.extend_from_slice(header.as_bytes());
        file.extend_from_slice(&[0; 32]);
        let error = super::header(&file).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Damaged);
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            let text = error.to_string();
            assert!(text.len() < 1000, "{} bytes", text.len());
            assert!(!text.contains(['\u{1b}', '\n', '\u{202e}']), "{text:?}");
            cause = error.source();
        }
    }
}
