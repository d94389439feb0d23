//! The records of a journal: `docs/format.md`, "Journal records".
//!
//! Record 0 begins with a header that names the run and the base and holds a wrapped data key of its own. Each record seals
//! one batch of changes. Its associated data contains the tag of the record before it, so that no record can be left out,
//! moved or taken from another journal unnoticed, except at the end.

use super::data_key::{BODY_TAG_BYTES, DataKey, HEADER_TAG_BYTES, JOURNAL, and_clear_the_stack};
use super::header::{Record, Seal, WrappedKey, check_recipients, malformed, record, written_at};
use super::wrapping::{self, MAX_HEADER_BYTES, PREFIX_BYTES, header_bytes, push_field};
use super::{damaged, misplaced, refused, too_large};
use crate::{Error, ErrorKind, Holder, LockToken, MAX_RECORD_BYTES, Provenance, Revision, StackId, json};
use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use sdk_encrypt::{Keyring, Recipient};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

const MAGIC: [u8; 8] = *b"\x8AUBJRNL\n";
const VERSION: u32 = 1;
/// Header members are nested at most this deep, the header itself included.
const MAX_DEPTH: usize = 16;
/// The number of changes in a record.
const COUNT_BYTES: usize = 4;
/// The tag of a record that is not encrypted.
const PLAIN_TAG_BYTES: usize = 32;
/// The most bytes of changes in a record: the rest is room for the header, the count and the tag.
pub(crate) const MAX_BATCH_BYTES: usize = MAX_RECORD_BYTES - MAX_HEADER_BYTES - 1024;

/// The header of record 0: the members in the order in which they are written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Header {
    journal_version: u32,
    payload_type: String,
    factory: String,
    stack: String,
    base: String,
    base_digest: String,
    journal_id: String,
    run_id: String,
    lock_token: String,
    operation: String,
    seal: Seal,
    recipients: Vec<WrappedKey>,
    provenance: Record,
}

/// The place and the payload type of a journal.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) payload: &'a str,
    pub(crate) id: &'a StackId,
    pub(crate) base: &'a Revision,
    /// Of the base's sealed file: see [`digest`].
    pub(crate) digest: &'a Digest,
}

/// What record 0 says about the run that began the journal.
#[derive(Debug, Clone)]
pub(crate) struct Begun {
    pub(crate) run_id: String,
    pub(crate) token: LockToken,
    pub(crate) holder: Holder,
}

/// The SHA-256 of a base's header, which contains the base's own tag and so stands for the whole file.
pub(crate) type Digest = [u8; 32];

/// Digests what a journal records of its base: everything before the body, or the whole file in version 1.
pub(crate) fn digest(sealed: &[u8]) -> Digest {
    let header = match sealed.starts_with(&super::v2::MAGIC) {
        true => header_bytes(sealed).map_or(sealed, |json| {
            &sealed[..PREFIX_BYTES + json.len() + HEADER_TAG_BYTES]
        }),
        false => sealed,
    };
    Sha256::digest(header).into()
}

/// Returns 128 fresh random bits in hexadecimal, which name a run or a journal.
pub(crate) fn fresh_id() -> Result<String, Error> {
    Ok(LockToken::generate()?.to_string())
}

/// Seals the records of one journal in order.
pub(crate) struct Writer {
    chain: Chain,
    /// Magic, length, header and tag, until record 0 is sealed.
    begin: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(
        keyring: &Keyring,
        recipients: Option<&[Recipient]>,
        place: Place<'_>,
        begun: &Begun,
        now: OffsetDateTime,
    ) -> Result<Self, Error> {
        let data_key = DataKey::generate()?;
        Self::with_key(&data_key, fresh_id()?, keyring, recipients, place, begun, now)
    }

    /// Only tests pass a data key and an id, to compare the result with published bytes.
    pub(super) fn with_key(
        data_key: &DataKey,
        journal_id: String,
        keyring: &Keyring,
        recipients: Option<&[Recipient]>,
        place: Place<'_>,
        begun: &Begun,
        now: OffsetDateTime,
    ) -> Result<Self, Error> {
        wrapping::check_payload_type(place.payload)?;
        begun.holder.provenance.check(None)?;
        let base_digest = hexadecimal(place.digest);
        let context = context(place.payload, place.id, place.base, &base_digest, &journal_id);
        let header = Header {
            journal_version: VERSION,
            payload_type: place.payload.into(),
            factory: place.id.factory().into(),
            stack: place.id.stack().into(),
            base: place.base.to_string(),
            base_digest,
            journal_id,
            run_id: begun.run_id.clone(),
            lock_token: begun.token.to_string(),
            operation: begun.holder.operation.clone(),
            seal: wrapping::seal_of(keyring),
            recipients: wrapping::wrap(keyring, recipients, data_key, &context)?,
            provenance: record(&begun.holder.provenance, None, now)?,
        };
        let json = serde_json::to_vec(&header).map_err(|source| {
            Error::new(
                ErrorKind::Unsupported,
                "the header of the journal cannot be written",
            )
            .with_source(source)
        })?;
        if json.len() > MAX_HEADER_BYTES {
            return Err(too_large(json.len() as u64, MAX_HEADER_BYTES as u64));
        }
        let mut begin = Vec::with_capacity(PREFIX_BYTES + json.len() + HEADER_TAG_BYTES);
        begin.extend_from_slice(&MAGIC);
        begin.extend_from_slice(&(json.len() as u32).to_le_bytes());
        begin.extend_from_slice(&json);
        let (chain, tag) = match keyring.is_plain() {
            true => {
                let tag: [u8; HEADER_TAG_BYTES] = Sha256::digest(&begin).into();
                (Chain::new(None, &tag), tag)
            }
            false => and_clear_the_stack(|| {
                let tag = data_key.header_tag(JOURNAL, &begin);
                (Chain::new(Some(data_key), &tag), tag)
            }),
        };
        begin.extend_from_slice(&tag);
        Ok(Self { chain, begin })
    }

    /// Seals the next record, of `count` changes. Its bytes are final: if the backend's answer is lost, the same bytes are appended
    /// again.
    pub(crate) fn seal(&mut self, count: u32, batch: &[u8]) -> Result<Vec<u8>, Error> {
        let mut record = std::mem::take(&mut self.begin);
        record.reserve_exact(COUNT_BYTES + batch.len() + PLAIN_TAG_BYTES);
        record.extend_from_slice(&count.to_le_bytes());
        let body = record.len();
        record.extend_from_slice(batch);
        self.chain.seal(&mut record, body)?;
        Ok(record)
    }
}

/// Opens the records of one journal in order.
pub(crate) struct Reader {
    chain: Chain,
    payload: String,
    begun: Begun,
}

/// The changes of one record.
pub(crate) struct Batch {
    count: u32,
    bytes: Vec<u8>,
}

impl Reader {
    /// Opens record 0. The steps and their order are those of `docs/format.md`.
    pub(crate) fn open(
        keyring: &Keyring,
        id: &StackId,
        base: &Revision,
        digest: &Digest,
        mut record: Vec<u8>,
    ) -> Result<(Self, Batch), Error> {
        let (header, body_start) = split(&record)?;
        wrapping::refuse_other_seal(keyring, header.seal, &header.recipients)?;
        let base_name = base.to_string();
        let digest = hexadecimal(digest);
        for (what, expected, found) in [
            ("the factory", id.factory(), &header.factory),
            ("the stack", id.stack(), &header.stack),
            ("the revision", &base_name, &header.base),
            ("a file with the digest", &digest, &header.base_digest),
        ] {
            if expected != found {
                return Err(misplaced(what, expected, found));
            }
        }
        let tag_start = body_start - HEADER_TAG_BYTES;
        let (prefix, tag) = (&record[..tag_start], &record[tag_start..body_start]);
        let mut chain = if keyring.is_plain() {
            // Nothing secret is compared.
            if Sha256::digest(prefix)[..] != *tag {
                return Err(damaged("the header was changed after it was written"));
            }
            Chain::new(None, tag)
        } else {
            let context = context(&header.payload_type, id, base, &digest, &header.journal_id);
            let data_key = wrapping::unwrap(keyring, &header.recipients, &context)?;
            and_clear_the_stack(|| {
                data_key.verify_header(JOURNAL, prefix, tag)?;
                Ok::<_, Error>(Chain::new(Some(&data_key), tag))
            })?
        };
        record.drain(..body_start);
        let batch = chain.open(record)?;
        let begun = header.begun()?;
        Ok((
            Self {
                chain,
                payload: header.payload_type,
                begun,
            },
            batch,
        ))
    }

    pub(crate) fn payload(&self) -> &str {
        &self.payload
    }

    pub(crate) fn begun(&self) -> &Begun {
        &self.begun
    }

    /// Opens the next record.
    pub(crate) fn next(&mut self, record: Vec<u8>) -> Result<Batch, Error> {
        self.chain.open(record)
    }
}

impl Batch {
    /// Hands each change to `apply`.
    pub(crate) fn for_each(&self, mut apply: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let mut rest = self.bytes.as_slice();
        for _ in 0..self.count {
            let (length, tail) = rest.split_first_chunk().ok_or_else(cut_short)?;
            let length = u32::from_le_bytes(*length) as usize;
            if length > tail.len() {
                return Err(cut_short());
            }
            let (change, tail) = tail.split_at(length);
            apply(change)?;
            rest = tail;
        }
        match rest.is_empty() {
            true => Ok(()),
            false => Err(damaged("a record of the journal has bytes after its last change")),
        }
    }
}

/// Adds one change, whose bytes `encode` appends, to an unsealed batch.
pub(crate) fn push_change(
    batch: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
) -> Result<(), Error> {
    let start = batch.len();
    batch.extend_from_slice(&[0; 4]);
    encode(batch)?;
    let length = batch.len() - start - 4;
    let length = u32::try_from(length).map_err(|_| too_large(length as u64, u64::from(u32::MAX)))?;
    batch[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Reads what record `number` says about itself, without a key: do not trust it.
pub(crate) fn unverified(number: u64, record: &[u8]) -> Result<(Option<Begun>, u32), Error> {
    let (begun, rest) = match number {
        0 => {
            let (header, body_start) = split(record)?;
            (Some(header.begun()?), &record[body_start..])
        }
        _ => (None, record),
    };
    let (count, _) = rest.split_first_chunk().ok_or_else(cut_short)?;
    Ok((begun, u32::from_le_bytes(*count)))
}

/// The state of the chain: what the next record is bound to.
struct Chain {
    /// On the heap, so that no copy of the key stays on the stack; erased on drop. `None` in a plain journal.
    cipher: Option<Box<ChaCha20Poly1305>>,
    /// The number of the next record.
    number: u64,
    /// The tag of the record before it, or of the header.
    tag: Vec<u8>,
}

impl Chain {
    /// A chain that begins with this header tag; plain without a key.
    fn new(data_key: Option<&DataKey>, header_tag: &[u8]) -> Self {
        Self {
            cipher: data_key.map(|key| Box::new(key.body_cipher(JOURNAL))),
            number: 0,
            tag: header_tag.into(),
        }
    }

    /// Seals `record[body..]`, after the count, in place and appends the tag.
    fn seal(&mut self, record: &mut Vec<u8>, body: usize) -> Result<(), Error> {
        let bound_to = self.bound_to(&record[body - COUNT_BYTES..body]);
        let tag: Vec<u8> = match &self.cipher {
            Some(cipher) => and_clear_the_stack(|| {
                cipher
                    .encrypt_inout_detached(&self.nonce(), &bound_to, (&mut record[body..]).into())
                    .map(|tag| tag.to_vec())
                    .map_err(|_| Error::new(ErrorKind::TooLarge, "ChaCha20-Poly1305 seals up to 256 GiB"))
            })?,
            None => plain_tag(&bound_to, &record[body..]),
        };
        record.extend_from_slice(&tag);
        self.advance(tag);
        Ok(())
    }

    /// Opens a record: the count, the sealed batch and the tag.
    fn open(&mut self, mut record: Vec<u8>) -> Result<Batch, Error> {
        let changed = |number| {
            damaged(format!(
                "record {number} of the journal was changed after it was written"
            ))
        };
        let tag_bytes = match self.cipher {
            Some(_) => BODY_TAG_BYTES,
            None => PLAIN_TAG_BYTES,
        };
        if record.len() < COUNT_BYTES + tag_bytes {
            return Err(cut_short());
        }
        let bound_to = self.bound_to(&record[..COUNT_BYTES]);
        let tag = record.split_off(record.len() - tag_bytes);
        let (count, body) = record.split_at_mut(COUNT_BYTES);
        let count = count.first_chunk().copied().map_or(0, u32::from_le_bytes);
        match &self.cipher {
            Some(cipher) => and_clear_the_stack(|| {
                let tag = tag.as_slice().try_into().map_err(|_| cut_short())?;
                cipher
                    .decrypt_inout_detached(&self.nonce(), &bound_to, body.into(), tag)
                    .map_err(|_| changed(self.number))
            })?,
            None if plain_tag(&bound_to, body) != tag => return Err(changed(self.number)),
            None => {}
        }
        record.drain(..COUNT_BYTES);
        self.advance(tag);
        Ok(Batch { count, bytes: record })
    }

    /// The associated data: the tag before, and the count.
    fn bound_to(&self, count: &[u8]) -> Vec<u8> {
        [&self.tag, count].concat()
    }

    /// One key seals one journal, and each number one record of it.
    fn nonce(&self) -> Nonce {
        let mut nonce = Nonce::default();
        nonce[..8].copy_from_slice(&self.number.to_le_bytes());
        nonce
    }

    fn advance(&mut self, tag: Vec<u8>) {
        self.number += 1;
        self.tag = tag;
    }
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, Error> {
        /// Read before anything else, so that a newer version does not look damaged.
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Probe {
            journal_version: u32,
        }

        let text = str::from_utf8(bytes).map_err(|_| damaged("the header is not UTF-8"))?;
        let probe: Probe = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        if probe.journal_version != VERSION {
            return Err(refused(format!(
                "the journal is of version {}: a newer release is needed to open it",
                probe.journal_version
            )));
        }
        json::check(text, MAX_DEPTH).map_err(|flaw| damaged(format!("the header has {flaw}")))?;
        let header: Self = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        // They go into the header of the revision that recovery writes.
        for (what, id) in [("run-id", &header.run_id), ("lock-token", &header.lock_token)] {
            if id.parse::<LockToken>().is_err() {
                return Err(damaged(format!("the header has an invalid {what}")));
            }
        }
        check_recipients(header.seal, &header.recipients)?;
        header.provenance.check()?;
        Ok(header)
    }

    fn begun(&self) -> Result<Begun, Error> {
        let provenance = Provenance {
            run: self.provenance.run.clone(),
            author: self.provenance.author.clone(),
            host: self.provenance.host.clone(),
            tool: self.provenance.tool.clone(),
        };
        let token = self
            .lock_token
            .parse()
            .map_err(|_| damaged("the header has no lock token"))?;
        Ok(Begun {
            run_id: self.run_id.clone(),
            token,
            holder: Holder::new(self.operation.clone())
                .with_provenance(provenance)
                .with_since(written_at(&self.provenance)?),
        })
    }
}

/// Returns the header of record 0, and where its first batch begins.
fn split(record: &[u8]) -> Result<(Header, usize), Error> {
    if !record.starts_with(&MAGIC) {
        return Err(damaged("this is not a journal, or its beginning was changed"));
    }
    let json = header_bytes(record)?;
    Ok((Header::parse(json)?, PREFIX_BYTES + json.len() + HEADER_TAG_BYTES))
}

fn context(payload: &str, id: &StackId, base: &Revision, digest: &str, journal_id: &str) -> Vec<u8> {
    let mut context = Vec::with_capacity(256);
    for field in [
        "ubstate/journal/1",
        payload,
        id.factory(),
        id.stack(),
        &base.to_string(),
        digest,
        journal_id,
    ] {
        push_field(&mut context, field);
    }
    context
}

fn plain_tag(bound_to: &[u8], body: &[u8]) -> Vec<u8> {
    Sha256::new()
        .chain_update(bound_to)
        .chain_update(body)
        .finalize()
        .to_vec()
}

fn cut_short() -> Error {
    damaged("a record of the journal was cut short")
}

fn hexadecimal(digest: &Digest) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
