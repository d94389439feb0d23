//! Envelope version 2 and the records of a journal, made by hand from `docs/format.md`, so that hostile headers, bodies and
//! changes get past the tag.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use sdk_state::encrypt::Keyring;
use sdk_state::envelope::Subject;
use sha2::{Digest as _, Sha256};

const MAGIC: &[u8] = b"\x8AUBSEAL\n";
const JOURNAL_MAGIC: &[u8] = b"\x8AUBJRNL\n";
const DATA_KEY: [u8; 32] = [7; 32];

/// A file with this header and body, encrypted for the first recipient of `keyring`, or not if that is plain.
///
/// In `header`, `@length@` stands for the length of the plaintext and `@key@` for the wrapped data key.
pub fn seal(keyring: &Keyring, subject: Subject<'_>, header: &str, body: &[u8], length: usize) -> Vec<u8> {
    let header = header.replace("@length@", &length.to_string());
    let context = context(subject, &header);
    let header = match keyring.recipients().first() {
        Some(encrypter) => {
            let mut bound_to = context.clone();
            push_field(&mut bound_to, &encrypter.recipient().name);
            let wrapped = encrypter
                .wrap(encrypter.recipient(), &DATA_KEY, &bound_to)
                .expect("random bytes")
                .expect("its own recipient");
            header.replace("@key@", &STANDARD.encode(wrapped))
        }
        None => header,
    };

    let mut file = MAGIC.to_vec();
    file.extend_from_slice(&(header.len() as u32).to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    if keyring.is_plain() {
        let tag = Sha256::new().chain_update(&file).chain_update(body).finalize();
        file.extend_from_slice(&tag);
        file.extend_from_slice(body);
    } else {
        let mut mac = Hmac::<Sha256>::new_from_slice(&derive(b"ubstate v2 header")).expect("any length");
        mac.update(&file);
        file.extend_from_slice(&mac.finalize().into_bytes());
        let payload = Payload {
            msg: body,
            aad: &context,
        };
        let cipher = ChaCha20Poly1305::new(&derive(b"ubstate v2 body").into());
        file.extend_from_slice(
            &cipher
                .encrypt(&Default::default(), payload)
                .expect("a short body"),
        );
    }
    file
}

/// The records of a journal on `base`, the sealed file of `subject`: one for each count of changes and batch.
///
/// In `header`, `@digest@` stands for the digest of the base and `@key@` for the wrapped data key.
pub fn seal_journal(
    keyring: &Keyring,
    subject: Subject<'_>,
    base: &[u8],
    header: &str,
    batches: &[(u32, Vec<u8>)],
) -> Vec<Vec<u8>> {
    let length = u32::from_le_bytes(base[8..12].try_into().expect("a sealed file")) as usize;
    let digest: String = Sha256::digest(&base[..44 + length])
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let header = header.replace("@digest@", &digest);
    let header = match keyring.recipients().first() {
        Some(encrypter) => {
            let told: serde_json::Value = serde_json::from_str(&header).unwrap_or_default();
            let mut bound_to = Vec::new();
            for field in [
                "ubstate/journal/1",
                told["payload-type"].as_str().unwrap_or_default(),
                subject.id.factory(),
                subject.id.stack(),
                &subject.revision.to_string(),
                &digest,
                told["journal-id"].as_str().unwrap_or_default(),
                &encrypter.recipient().name,
            ] {
                push_field(&mut bound_to, field);
            }
            let wrapped = encrypter
                .wrap(encrypter.recipient(), &DATA_KEY, &bound_to)
                .expect("random bytes")
                .expect("its own recipient");
            header.replace("@key@", &STANDARD.encode(wrapped))
        }
        None => header,
    };
    let mut begin = JOURNAL_MAGIC.to_vec();
    begin.extend_from_slice(&(header.len() as u32).to_le_bytes());
    begin.extend_from_slice(header.as_bytes());
    let mut tag = if keyring.is_plain() {
        Sha256::digest(&begin).to_vec()
    } else {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&derive(b"ubstate journal 1 header")).expect("any length");
        mac.update(&begin);
        mac.finalize().into_bytes().to_vec()
    };
    begin.extend_from_slice(&tag);

    let mut records = Vec::new();
    for (number, (count, batch)) in batches.iter().enumerate() {
        let bound_to = [tag.as_slice(), &count.to_le_bytes()].concat();
        let mut record = std::mem::take(&mut begin);
        record.extend_from_slice(&count.to_le_bytes());
        if keyring.is_plain() {
            record.extend_from_slice(batch);
            tag = Sha256::new()
                .chain_update(bound_to)
                .chain_update(batch)
                .finalize()
                .to_vec();
            record.extend_from_slice(&tag);
        } else {
            let mut nonce = [0; 12];
            nonce[..8].copy_from_slice(&(number as u64).to_le_bytes());
            let payload = Payload {
                msg: batch,
                aad: &bound_to,
            };
            let cipher = ChaCha20Poly1305::new(&derive(b"ubstate journal 1 body").into());
            let sealed = cipher.encrypt(&nonce.into(), payload).expect("a short batch");
            tag = sealed[sealed.len() - 16..].to_vec();
            record.extend_from_slice(&sealed);
        }
        records.push(record);
    }
    records
}

/// What the reader will bind to, so as to agree with it: the compression and the length are those of the header.
fn context(subject: Subject<'_>, header: &str) -> Vec<u8> {
    let header: serde_json::Value = serde_json::from_str(header).unwrap_or_default();
    let mut context = Vec::new();
    for field in [
        "ubstate/v2",
        subject.payload,
        subject.id.factory(),
        subject.id.stack(),
        &subject.revision.to_string(),
        header["compression"].as_str().unwrap_or_default(),
        &header["length"].as_u64().unwrap_or_default().to_string(),
    ] {
        push_field(&mut context, field);
    }
    context
}

fn push_field(context: &mut Vec<u8>, field: &str) {
    context.extend_from_slice(&(field.len() as u32).to_le_bytes());
    context.extend_from_slice(field.as_bytes());
}

fn derive(info: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(None, &DATA_KEY)
        .expand(info, &mut key)
        .expect("32 bytes");
    key
}
