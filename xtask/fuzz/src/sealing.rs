//! Envelope version 2 made by hand from `docs/format.md`, so that hostile headers and bodies get past the tag.

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
            let wrapped = encrypter.wrap(&DATA_KEY, &bound_to).expect("random bytes");
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
