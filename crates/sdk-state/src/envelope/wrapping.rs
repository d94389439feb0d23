//! What a sealed snapshot and the begin record of a journal have in common: a header of bounded length, and a data key that
//! is wrapped for recipients.

use super::data_key::{DataKey, HEADER_TAG_BYTES};
use super::header::{Seal, WrappedKey, refuse_twins};
use super::{damaged, refused, too_large};
use crate::stack_id::Excerpt;
use crate::{Error, ErrorKind};
use sdk_encrypt::{Keyring, Recipient};

/// The magic and the length of the header.
pub(super) const PREFIX_BYTES: usize = 12;
/// The longest header: 1 MiB.
pub(super) const MAX_HEADER_BYTES: usize = 1 << 20;

/// Wraps the data key for each of these recipients, or for those of the keyring.
pub(super) fn wrap(
    keyring: &Keyring,
    recipients: Option<&[Recipient]>,
    data_key: &DataKey,
    context: &[u8],
) -> Result<Vec<WrappedKey>, Error> {
    let recipients = match recipients {
        Some(recipients) => recipients.to_vec(),
        None => keyring
            .recipients()
            .iter()
            .map(|key| key.recipient().clone())
            .collect(),
    };
    if keyring.is_plain() != recipients.is_empty() || recipients.len() > Keyring::MAX_RECIPIENTS {
        let message = format!(
            "a file cannot be sealed for {} recipients with the given key {}",
            recipients.len(),
            keyring.describe()
        );
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let wrapped = recipients.into_iter().map(|recipient| {
        let bound_to = recipient_context(context, &recipient.name);
        let wrapped_key = keyring.wrap(&recipient, data_key.bytes(), &bound_to)?;
        Ok(WrappedKey {
            wrapped_key: wrapped_key.ok_or_else(|| Error::missing_key(recipient.clone()))?,
            name: recipient.name,
            body: recipient.body,
        })
    });
    let wrapped = wrapped.collect::<Result<Vec<_>, Error>>()?;
    refuse_twins(&wrapped).map_err(|problem| Error::new(ErrorKind::Unsupported, problem))?;
    Ok(wrapped)
}

/// The seal that this ring makes.
pub(super) fn seal_of(keyring: &Keyring) -> Seal {
    match keyring.is_plain() {
        true => Seal::None,
        false => Seal::ChaCha20Poly1305,
    }
}

/// The reader's keyring decides, not the file.
pub(super) fn refuse_other_seal(
    keyring: &Keyring,
    seal: Seal,
    recipients: &[WrappedKey],
) -> Result<(), Error> {
    match (keyring.is_plain(), seal) {
        (true, Seal::None) | (false, Seal::ChaCha20Poly1305) => Ok(()),
        (true, Seal::ChaCha20Poly1305) => Err(refused(format!(
            "the file is encrypted for {} and no key was given: give one of these keys",
            sealed_for(recipients)
        ))),
        (false, Seal::None) => Err(refused(format!(
            "the file is not encrypted, and this store opens only what is sealed for {}: anybody may have put it here",
            keyring.describe()
        ))),
    }
}

/// Keys are tried in the order of the ring. A key that does not unwrap is passed over: the file may lie about its recipients,
/// and must not prevent the right key from being tried.
pub(super) fn unwrap(keyring: &Keyring, recipients: &[WrappedKey], context: &[u8]) -> Result<DataKey, Error> {
    let mut failure = None;
    let mut named = None;
    for encrypter in keyring.openers() {
        for wrapped in recipients {
            let bound_to = recipient_context(context, &wrapped.name);
            let recipient = wrapped.recipient();
            match encrypter.unwrap(&recipient, &wrapped.wrapped_key, &bound_to) {
                Ok(Some(bytes)) => {
                    if let Some(data_key) = DataKey::from_bytes(&bytes) {
                        return Ok(data_key);
                    }
                }
                Ok(None) if encrypter.recipient().is_same_key(&recipient) => named = Some(encrypter),
                Ok(None) => {}
                Err(error) => failure = Some(error),
            }
        }
    }
    Err(match (failure, named) {
        (Some(error), _) => error.into(),
        (None, Some(key)) => damaged(format!(
            "the header names the given key, {}, and that key does not open it: it was changed after it was sealed",
            key.describe()
        )),
        (None, None) => Error::new(
            ErrorKind::WrongKey,
            format!(
                "the file is sealed for {}, not for the given key {}",
                sealed_for(recipients),
                keyring.describe()
            ),
        ),
    })
}

fn sealed_for(recipients: &[WrappedKey]) -> String {
    let recipients: Vec<String> = recipients
        .iter()
        .map(|recipient| recipient.recipient().describe())
        .collect();
    recipients.join(", ")
}

pub(super) fn header_length(prefix: &[u8; PREFIX_BYTES]) -> usize {
    let [.., a, b, c, d] = *prefix;
    u32::from_le_bytes([a, b, c, d]) as usize
}

/// Every length is compared with what is there before it is used.
pub(super) fn header_bytes(sealed: &[u8]) -> Result<&[u8], Error> {
    let cut_short = || damaged("the file was cut short");
    let (prefix, rest) = sealed.split_first_chunk::<PREFIX_BYTES>().ok_or_else(cut_short)?;
    let length = header_length(prefix);
    if length > MAX_HEADER_BYTES {
        return Err(too_large(length as u64, MAX_HEADER_BYTES as u64));
    }
    if rest.len() < length + HEADER_TAG_BYTES {
        return Err(cut_short());
    }
    Ok(&rest[..length])
}

fn recipient_context(context: &[u8], name: &str) -> Vec<u8> {
    let mut bound_to = context.to_vec();
    push_field(&mut bound_to, name);
    bound_to
}

pub(super) fn push_field(context: &mut Vec<u8>, field: &str) {
    context.extend_from_slice(&(field.len() as u32).to_le_bytes());
    context.extend_from_slice(field.as_bytes());
}

pub(crate) fn check_payload_type(payload: &str) -> Result<(), Error> {
    let is_allowed = (1..=64).contains(&payload.len())
        && payload
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-');
    if is_allowed {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidName,
        format!(
            "{} is not a payload type: 1 to 64 ASCII letters, digits, . and -",
            Excerpt(payload)
        ),
    ))
}
