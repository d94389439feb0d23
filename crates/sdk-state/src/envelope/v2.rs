use super::data_key::{DataKey, HEADER_TAG_BYTES, and_clear_the_stack};
use super::header::{Header, Record, Seal, UnverifiedHeader, VERSION, WrappedKey, refuse_twins};
use super::{Compressed, Origin, Place, Subject, Zstd, damaged, misplaced, refused, too_large};
use crate::stack_id::Excerpt;
use crate::{Error, ErrorKind};
use sdk_encrypt::Keyring;
use sha2::{Digest as _, Sha256};
use time::format_description::well_known::Rfc3339;

pub(super) const MAGIC: [u8; 8] = *b"\x8AUBSEAL\n";
/// The magic and the length of the header.
const PREFIX_BYTES: usize = 12;
/// The longest header: 1 MiB.
const MAX_HEADER_BYTES: usize = 1 << 20;
/// The first field of what every ciphertext in the file is bound to.
const CONTEXT_LABEL: &str = "ubstate/v2";

/// Seals a compressed payload under a fresh data key.
pub(crate) fn seal(
    keyring: &Keyring,
    subject: Subject<'_>,
    origin: &Origin<'_>,
    payload: &Compressed,
) -> Result<Vec<u8>, Error> {
    seal_with(&DataKey::generate()?, keyring, subject, origin, payload)
}

/// Only the tests pass in a data key, to compare the outcome with published bytes.
pub(super) fn seal_with(
    data_key: &DataKey,
    keyring: &Keyring,
    subject: Subject<'_>,
    origin: &Origin<'_>,
    payload: &Compressed,
) -> Result<Vec<u8>, Error> {
    check_payload_type(subject.payload)?;
    origin.provenance.check(origin.message)?;
    let context = context(subject, payload.compression.name(), payload.length);
    let mut header = header_for(subject, origin, payload)?;
    for encrypter in keyring.recipients() {
        let recipient = encrypter.recipient();
        header.recipients.push(WrappedKey {
            name: recipient.name.clone(),
            body: recipient.body.clone(),
            wrapped_key: encrypter.wrap(data_key.bytes(), &recipient_context(&context, &recipient.name))?,
        });
    }
    refuse_twins(&header.recipients).map_err(|problem| Error::new(ErrorKind::Unsupported, problem))?;
    if !keyring.is_plain() {
        header.seal = Seal::ChaCha20Poly1305;
    }

    let mut sealed = start_file(&header, payload.bytes.len())?;
    if keyring.is_plain() {
        let digest = plain_tag(&sealed, &payload.bytes);
        sealed.extend_from_slice(&digest);
        sealed.extend_from_slice(&payload.bytes);
    } else {
        and_clear_the_stack(|| {
            let tag = data_key.header_tag(&sealed);
            sealed.extend_from_slice(&tag);
            let body = sealed.len();
            sealed.extend_from_slice(&payload.bytes);
            data_key.encrypt(&mut sealed, body, &context)
        })?;
    }
    Ok(sealed)
}

/// Returns the payload type and the plaintext. The steps and their order are those of `docs/format.md`, "Opening".
pub(super) fn open(
    zstd: &Zstd,
    keyring: &Keyring,
    place: Place<'_>,
    mut sealed: Vec<u8>,
    limit: u64,
) -> Result<(String, Vec<u8>), Error> {
    let Parts { header, body_start } = split(&sealed)?;
    if header.length > limit {
        return Err(too_large(header.length, limit));
    }
    refuse_other_seal(keyring, &header)?;
    refuse_other_place(place, &header)?;

    let tag_start = body_start - HEADER_TAG_BYTES;
    let subject = Subject {
        payload: &header.payload_type,
        id: place.id,
        revision: place.revision,
    };
    let context = context(subject, header.compression.name(), header.length);
    if keyring.is_plain() {
        // Nothing secret is compared, so an ordinary comparison will do: it detects accidents, not attackers.
        if plain_tag(&sealed[..tag_start], &sealed[body_start..]) != sealed[tag_start..body_start] {
            return Err(damaged("the file was changed after it was written"));
        }
        sealed.drain(..body_start);
    } else {
        let data_key = unwrap_data_key(keyring, &header, &context)?;
        and_clear_the_stack(|| {
            data_key.verify_header(&sealed[..tag_start], &sealed[tag_start..body_start])?;
            sealed.drain(..body_start);
            data_key.decrypt(&mut sealed, &context)
        })?;
    }
    let plaintext = header.compression.expand(zstd, sealed, header.length)?;
    Ok((header.payload_type, plaintext))
}

pub(super) fn header(sealed: &[u8]) -> Result<UnverifiedHeader, Error> {
    split(sealed).map(|parts| parts.header.into())
}

/// At most 1 MiB and a few bytes, whatever the beginning says.
pub(super) fn bytes_for_header(beginning: &[u8]) -> usize {
    match beginning.first_chunk::<PREFIX_BYTES>() {
        Some(prefix) => PREFIX_BYTES + header_length(prefix).min(MAX_HEADER_BYTES) + HEADER_TAG_BYTES,
        None => 0,
    }
}

struct Parts {
    header: Header,
    body_start: usize,
}

fn split(sealed: &[u8]) -> Result<Parts, Error> {
    let json = header_bytes(sealed)?;
    Ok(Parts {
        header: Header::parse(json)?,
        body_start: PREFIX_BYTES + json.len() + HEADER_TAG_BYTES,
    })
}

fn header_length(prefix: &[u8; PREFIX_BYTES]) -> usize {
    let [.., a, b, c, d] = *prefix;
    u32::from_le_bytes([a, b, c, d]) as usize
}

/// Every length is compared with what is there before it is used.
fn header_bytes(sealed: &[u8]) -> Result<&[u8], Error> {
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

/// The reader's keyring decides, not the file.
fn refuse_other_seal(keyring: &Keyring, header: &Header) -> Result<(), Error> {
    match (keyring.is_plain(), header.seal) {
        (true, Seal::None) | (false, Seal::ChaCha20Poly1305) => Ok(()),
        (true, Seal::ChaCha20Poly1305) => Err(refused(format!(
            "the file is encrypted for {} and no key was given: give one of these keys",
            sealed_for(header)
        ))),
        (false, Seal::None) => Err(refused(format!(
            "the file is not encrypted, and this store opens only what is sealed for {}: anybody may have put it here",
            keyring.describe()
        ))),
    }
}

fn refuse_other_place(place: Place<'_>, header: &Header) -> Result<(), Error> {
    let revision = place.revision.to_string();
    for (what, expected, found) in [
        ("the factory", place.id.factory(), &header.factory),
        ("the stack", place.id.stack(), &header.stack),
        ("the revision", &revision, &header.revision),
    ] {
        if expected != found {
            return Err(misplaced(what, expected, found));
        }
    }
    Ok(())
}

/// Keys are tried in the order of the ring. A key that does not unwrap is passed over: the file may lie about its recipients,
/// and must not prevent the right key from being tried.
fn unwrap_data_key(keyring: &Keyring, header: &Header, context: &[u8]) -> Result<DataKey, Error> {
    let mut failure = None;
    let mut named = None;
    for encrypter in keyring.openers() {
        let own = encrypter.recipient();
        for wrapped in header
            .recipients
            .iter()
            .filter(|wrapped| wrapped.name == own.name)
        {
            let bound_to = recipient_context(context, &wrapped.name);
            let recipient = wrapped.recipient();
            match encrypter.unwrap(&recipient, &wrapped.wrapped_key, &bound_to) {
                Ok(Some(bytes)) => {
                    if let Some(data_key) = DataKey::from_bytes(&bytes) {
                        return Ok(data_key);
                    }
                }
                Ok(None) if own.is_same_key(&recipient) => named = Some(encrypter),
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
                sealed_for(header),
                keyring.describe()
            ),
        ),
    })
}

fn sealed_for(header: &Header) -> String {
    let recipients: Vec<String> = header
        .recipients
        .iter()
        .map(|recipient| recipient.recipient().describe())
        .collect();
    recipients.join(", ")
}

fn header_for(subject: Subject<'_>, origin: &Origin<'_>, payload: &Compressed) -> Result<Header, Error> {
    let written_at = origin
        .written_at
        .checked_to_offset(time::UtcOffset::UTC)
        .and_then(|time| time.format(&Rfc3339).ok());
    let provenance = origin.provenance;
    Ok(Header {
        envelope_version: VERSION,
        payload_type: subject.payload.into(),
        factory: subject.id.factory().into(),
        stack: subject.id.stack().into(),
        revision: subject.revision.to_string(),
        parent: origin.parent.map(ToString::to_string),
        compression: payload.compression,
        length: payload.length,
        seal: Seal::None,
        recipients: Vec::new(),
        provenance: Record {
            run: provenance.run.clone(),
            author: provenance.author.clone(),
            host: provenance.host.clone(),
            tool: provenance.tool.clone(),
            message: origin.message.map(Into::into),
            written_at: written_at.ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidName,
                    "the clock is in a year that RFC 3339 has no name for",
                )
            })?,
        },
    })
}

/// Magic, length and header, in a buffer with room for the rest.
fn start_file(header: &Header, body: usize) -> Result<Vec<u8>, Error> {
    let json = serde_json::to_vec(header).map_err(|source| {
        Error::new(ErrorKind::Unsupported, "the header cannot be written").with_source(source)
    })?;
    if json.len() > MAX_HEADER_BYTES {
        return Err(too_large(json.len() as u64, MAX_HEADER_BYTES as u64));
    }
    let total = PREFIX_BYTES + json.len() + HEADER_TAG_BYTES + body + super::data_key::BODY_TAG_BYTES;
    let mut sealed = Vec::with_capacity(total);
    sealed.extend_from_slice(&MAGIC);
    sealed.extend_from_slice(&(json.len() as u32).to_le_bytes());
    sealed.extend_from_slice(&json);
    Ok(sealed)
}

fn plain_tag(prefix: &[u8], body: &[u8]) -> [u8; HEADER_TAG_BYTES] {
    Sha256::new()
        .chain_update(prefix)
        .chain_update(body)
        .finalize()
        .into()
}

/// The context that binds the ciphertexts to their place: every field preceded by its length, so that no two places give the
/// same bytes.
fn context(subject: Subject<'_>, compression: &str, length: u64) -> Vec<u8> {
    let mut context = Vec::with_capacity(256);
    for field in [
        CONTEXT_LABEL,
        subject.payload,
        subject.id.factory(),
        subject.id.stack(),
        &subject.revision.to_string(),
        compression,
        &length.to_string(),
    ] {
        push_field(&mut context, field);
    }
    context
}

fn recipient_context(context: &[u8], name: &str) -> Vec<u8> {
    let mut bound_to = context.to_vec();
    push_field(&mut bound_to, name);
    bound_to
}

fn push_field(context: &mut Vec<u8>, field: &str) {
    context.extend_from_slice(&(field.len() as u32).to_le_bytes());
    context.extend_from_slice(field.as_bytes());
}

fn check_payload_type(payload: &str) -> Result<(), Error> {
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
