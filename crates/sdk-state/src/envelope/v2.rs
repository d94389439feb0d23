use super::data_key::{DataKey, HEADER_TAG_BYTES, SNAPSHOT, and_clear_the_stack};
use super::header::{Header, UnverifiedHeader, VERSION, WrappedKey, record};
use super::wrapping::{self, MAX_HEADER_BYTES, PREFIX_BYTES, header_bytes, header_length};
use super::{Compressed, Opened, Origin, Place, Subject, Zstd, damaged, misplaced, too_large};
use crate::{Error, ErrorKind};
use sdk_encrypt::{Keyring, Recipient};
use sha2::{Digest as _, Sha256};

pub(super) const MAGIC: [u8; 8] = *b"\x8AUBSEAL\n";
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
    wrapping::check_payload_type(subject.payload)?;
    origin.provenance.check(origin.message)?;
    let header = header_for(keyring, subject, origin, payload)?;
    seal_body(data_key, keyring, origin.recipients, header, &payload.bytes)
}

/// Wraps the data key for these recipients, or for those of the keyring, and encrypts the compressed payload.
fn seal_body(
    data_key: &DataKey,
    keyring: &Keyring,
    recipients: Option<&[Recipient]>,
    mut header: Header,
    body: &[u8],
) -> Result<Vec<u8>, Error> {
    let context = context(&header);
    header.recipients = wrapping::wrap(keyring, recipients, data_key, &context)?;
    let mut sealed = start_file(&header, body.len())?;
    if keyring.is_plain() {
        let digest = plain_tag(&sealed, body);
        sealed.extend_from_slice(&digest);
        sealed.extend_from_slice(body);
    } else {
        and_clear_the_stack(|| {
            let tag = data_key.header_tag(SNAPSHOT, &sealed);
            sealed.extend_from_slice(&tag);
            let start = sealed.len();
            sealed.extend_from_slice(body);
            data_key.encrypt(&mut sealed, start, &context)
        })?;
    }
    Ok(sealed)
}

pub(super) fn open(
    zstd: &Zstd,
    keyring: &Keyring,
    place: Place<'_>,
    mut sealed: Vec<u8>,
    limit: u64,
) -> Result<Opened, Error> {
    let unlocked = unlock(keyring, place, &sealed, limit)?;
    unlocked.decrypt(&mut sealed)?;
    let header = unlocked.header;
    let plaintext = header.compression.expand(zstd, sealed, header.length)?;
    Ok(Opened {
        mark: header.mark(),
        recipients: Some(recipients_of(&header)),
        payload: Some(header.payload_type),
        plaintext,
    })
}

/// Returns the recipients of a file, of which the beginning with the header is enough.
pub(super) fn recipients(
    keyring: &Keyring,
    place: Place<'_>,
    beginning: &[u8],
) -> Result<Vec<Recipient>, Error> {
    Ok(recipients_of(
        &unlock(keyring, place, beginning, u64::MAX)?.header,
    ))
}

/// Wraps the data key of a file for other recipients, and keeps the body.
pub(super) fn rewrap(
    keyring: &Keyring,
    place: Place<'_>,
    sealed: &[u8],
    recipients: &[Recipient],
) -> Result<Vec<u8>, Error> {
    let mut unlocked = unlock(keyring, place, sealed, u64::MAX)?;
    let Some(data_key) = &unlocked.data_key else {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "the revision is not encrypted, so it has no recipients",
        ));
    };
    let header = &mut unlocked.header;
    header.recipients = wrapping::wrap(keyring, Some(recipients), data_key, &unlocked.context)?;
    let body = &sealed[unlocked.body_start..];
    let mut rewrapped = start_file(header, body.len())?;
    let tag = and_clear_the_stack(|| data_key.header_tag(SNAPSHOT, &rewrapped));
    rewrapped.extend_from_slice(&tag);
    rewrapped.extend_from_slice(body);
    Ok(rewrapped)
}

/// Seals the payload of a file under a fresh data key. Everything else that the header says stays.
pub(super) fn reseal(
    keyring: &Keyring,
    place: Place<'_>,
    mut sealed: Vec<u8>,
    recipients: &[Recipient],
) -> Result<Vec<u8>, Error> {
    let unlocked = unlock(keyring, place, &sealed, u64::MAX)?;
    unlocked.decrypt(&mut sealed)?;
    seal_body(
        &DataKey::generate()?,
        keyring,
        Some(recipients),
        unlocked.header,
        &sealed,
    )
}

/// A file whose header was authenticated, unless it is not encrypted.
struct Unlocked {
    header: Header,
    body_start: usize,
    context: Vec<u8>,
    data_key: Option<DataKey>,
}

/// The steps and their order are those of `docs/format.md`, "Opening".
fn unlock(keyring: &Keyring, place: Place<'_>, sealed: &[u8], limit: u64) -> Result<Unlocked, Error> {
    let Parts { header, body_start } = split(sealed)?;
    if header.length > limit {
        return Err(too_large(header.length, limit));
    }
    wrapping::refuse_other_seal(keyring, header.seal, &header.recipients)?;
    refuse_other_place(place, &header)?;
    let context = context(&header);
    let data_key = match keyring.is_plain() {
        true => None,
        false => {
            let data_key = wrapping::unwrap(keyring, &header.recipients, &context)?;
            let tag_start = body_start - HEADER_TAG_BYTES;
            and_clear_the_stack(|| {
                data_key.verify_header(SNAPSHOT, &sealed[..tag_start], &sealed[tag_start..body_start])
            })?;
            Some(data_key)
        }
    };
    Ok(Unlocked {
        header,
        body_start,
        context,
        data_key,
    })
}

impl Unlocked {
    /// Leaves the compressed payload in `sealed`.
    fn decrypt(&self, sealed: &mut Vec<u8>) -> Result<(), Error> {
        let tag_start = self.body_start - HEADER_TAG_BYTES;
        match &self.data_key {
            Some(data_key) => {
                sealed.drain(..self.body_start);
                and_clear_the_stack(|| data_key.decrypt(sealed, &self.context))
            }
            // Nothing secret is compared, so an ordinary comparison will do: it detects accidents, not attackers.
            None if plain_tag(&sealed[..tag_start], &sealed[self.body_start..])
                != sealed[tag_start..self.body_start] =>
            {
                Err(damaged("the file was changed after it was written"))
            }
            None => {
                sealed.drain(..self.body_start);
                Ok(())
            }
        }
    }
}

fn recipients_of(header: &Header) -> Vec<Recipient> {
    header.recipients.iter().map(WrappedKey::recipient).collect()
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

fn header_for(
    keyring: &Keyring,
    subject: Subject<'_>,
    origin: &Origin<'_>,
    payload: &Compressed,
) -> Result<Header, Error> {
    Ok(Header {
        envelope_version: VERSION,
        payload_type: subject.payload.into(),
        factory: subject.id.factory().into(),
        stack: subject.id.stack().into(),
        revision: subject.revision.to_string(),
        parent: origin.parent.map(ToString::to_string),
        compression: payload.compression,
        length: payload.length,
        seal: wrapping::seal_of(keyring),
        recipients: Vec::new(),
        provenance: record(origin.provenance, origin.message, origin.written_at)?,
        run_id: origin.mark.run_id.clone(),
        replaces: origin.mark.replaces.as_ref().map(ToString::to_string),
        genesis: origin.mark.is_genesis,
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
fn context(header: &Header) -> Vec<u8> {
    let mut context = Vec::with_capacity(256);
    for field in [
        CONTEXT_LABEL,
        &header.payload_type,
        &header.factory,
        &header.stack,
        &header.revision,
        header.compression.name(),
        &header.length.to_string(),
    ] {
        wrapping::push_field(&mut context, field);
    }
    context
}
