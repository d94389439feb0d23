use super::header::UnverifiedHeader;
use super::{damaged, refused};
use crate::stack_id::Excerpt;
use crate::{Error, ErrorKind};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sdk_encrypt::{Keyring, LegacyCipher, Noop, Recipient, RecipientBody};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// As unobin reads it: padding is demanded, stray low bits of the last digit are not looked at.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// One JSON object; old files lack the second and the third member.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Envelope<'a> {
    envelope_version: u32,
    payload_type: Option<String>,
    encrypter: Option<EncrypterRecord>,
    #[serde(borrow)]
    ciphertext: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct EncrypterRecord {
    name: String,
    #[serde(
        default,
        skip_serializing_if = "RecipientBody::is_empty",
        deserialize_with = "null_is_empty"
    )]
    body: RecipientBody,
}

/// Writes what unobin opens. `plaintext` is bound to nothing: see [`LegacyCipher`].
pub(crate) fn seal(cipher: &LegacyCipher, payload: &str, plaintext: Vec<u8>) -> Result<Vec<u8>, Error> {
    let recipient = cipher.recipient();
    let envelope = Envelope {
        envelope_version: 1,
        payload_type: Some(payload.into()),
        encrypter: Some(EncrypterRecord {
            name: recipient.name,
            body: recipient.body,
        }),
        ciphertext: BASE64.encode(cipher.encrypt(plaintext)?).into(),
    };
    let mut file = serde_json::to_vec_pretty(&envelope).map_err(|source| {
        Error::new(ErrorKind::Unsupported, "the envelope cannot be written").with_source(source)
    })?;
    file.push(b'\n');
    Ok(file)
}

/// Returns the payload type, which old files do not record, and the plaintext.
pub(super) fn open(keyring: &Keyring, file: &[u8]) -> Result<(Option<String>, Vec<u8>), Error> {
    let cipher = accepted(keyring)?;
    let envelope = parse(file)?;
    let sealed_for = envelope.encrypter.map(EncrypterRecord::into_recipient);
    if let Some(recipient) = &sealed_for
        && (recipient.name == Noop::NAME) != keyring.is_plain()
    {
        return Err(refused(format!(
            "the file was written with {}, not with the given {}",
            Excerpt(&recipient.describe()),
            keyring.describe()
        )));
    }
    let sealed = decode_base64(&envelope.ciphertext)?;
    let plaintext = cipher.decrypt(sealed).ok_or_else(|| {
        Error::new(
            ErrorKind::WrongKey,
            format!(
                "the file was written with {} and does not open with {}: it is another key, or the file was changed",
                Excerpt(&sealed_for.map_or("an unknown key".into(), |recipient| recipient.describe())),
                cipher.describe()
            ),
        )
    })?;
    Ok((envelope.payload_type, plaintext))
}

pub(super) fn accepted(keyring: &Keyring) -> Result<&LegacyCipher, Error> {
    keyring.legacy().ok_or_else(|| {
        refused(
            "the file is of envelope version 1, which cannot tell that a file was moved or replaced: \
             accept version 1 to open it",
        )
    })
}

pub(super) fn header(file: &[u8]) -> Result<UnverifiedHeader, Error> {
    let envelope = parse(file)?;
    let recipient = envelope
        .encrypter
        .map(EncrypterRecord::into_recipient)
        .filter(|recipient| recipient.name != Noop::NAME);
    Ok(UnverifiedHeader::of_version_1(envelope.payload_type, recipient))
}

impl EncrypterRecord {
    fn into_recipient(self) -> Recipient {
        Recipient {
            name: self.name,
            body: self.body,
        }
    }
}

fn parse(file: &[u8]) -> Result<Envelope<'_>, Error> {
    let text = str::from_utf8(file).map_err(|_| damaged("the file is not UTF-8"))?;
    // Only the position of an error is reported: with `noop`, the text holds the snapshot.
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|error| {
        damaged(format!(
            "the file is not an envelope of version 1 (line {}, column {})",
            error.line(),
            error.column()
        ))
    })?;
    if envelope.envelope_version != 1 {
        return Err(refused(format!(
            "the file says that it is of envelope version {}, which is not written this way",
            envelope.envelope_version
        )));
    }
    Ok(envelope)
}

fn decode_base64(text: &str) -> Result<Vec<u8>, Error> {
    let text: Cow<'_, str> = if text.contains(['\r', '\n']) {
        text.replace(['\r', '\n'], "").into()
    } else {
        text.into()
    };
    BASE64
        .decode(&*text)
        .map_err(|_| damaged("the ciphertext is not base64"))
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<RecipientBody, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
