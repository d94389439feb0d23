use super::compression::Compression;
use super::{damaged, refused};
use crate::provenance::MAX_TEXT_BYTES;
use crate::stack_id::Excerpt;
use crate::{Error, ErrorKind, LockToken, Provenance, Revision, json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sdk_encrypt::{Keyring, Recipient, RecipientBody};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// The version that this file describes.
pub(super) const VERSION: u32 = 2;
/// Header members are nested at most this deep, the header itself included.
const MAX_DEPTH: usize = 16;

/// The header of envelope version 2: the members in the order in which they are written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Header {
    pub(super) envelope_version: u32,
    pub(super) payload_type: String,
    pub(super) factory: String,
    pub(super) stack: String,
    pub(super) revision: String,
    /// Present even when there is none.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(super) parent: Option<String>,
    pub(super) compression: Compression,
    pub(super) length: u64,
    pub(super) seal: Seal,
    pub(super) recipients: Vec<WrappedKey>,
    pub(super) provenance: Record,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) run_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) replaces: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) genesis: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Seal {
    #[serde(rename = "none")]
    None,
    #[serde(rename = "chacha20-poly1305")]
    ChaCha20Poly1305,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct WrappedKey {
    pub(super) name: String,
    pub(super) body: RecipientBody,
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub(super) wrapped_key: Vec<u8>,
}

impl WrappedKey {
    pub(super) fn recipient(&self) -> Recipient {
        Recipient {
            name: self.name.clone(),
            body: self.body.clone(),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Record {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) author: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
    pub(super) written_at: String,
}

impl Header {
    /// Reads a header whose length is already bounded, and checks every rule that needs no key.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        /// Read before anything else, so that a newer version is not taken for a damaged file.
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Probe {
            envelope_version: u32,
        }

        let text = str::from_utf8(bytes).map_err(|_| damaged("the header is not UTF-8"))?;
        let probe: Probe = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        if probe.envelope_version != VERSION {
            return Err(refused(format!(
                "the file is of envelope version {}: a newer release is needed to open it",
                probe.envelope_version
            )));
        }
        json::check(text, MAX_DEPTH).map_err(|flaw| damaged(format!("the header has {flaw}")))?;
        let header: Self = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), Error> {
        for (what, name) in [("parent", &self.parent), ("replaces", &self.replaces)] {
            if name
                .as_ref()
                .is_some_and(|name| name.parse::<Revision>().is_err())
            {
                return Err(damaged(format!("the header's {what} is not a revision")));
            }
        }
        if self
            .run_id
            .as_ref()
            .is_some_and(|id| id.parse::<LockToken>().is_err())
        {
            return Err(damaged("the header has an invalid run-id"));
        }
        check_recipients(self.seal, &self.recipients)?;
        self.provenance.check()
    }

    /// What a run has noted in the header.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            run_id: self.run_id.clone(),
            replaces: self.replaces.as_ref().and_then(|name| name.parse().ok()),
            parent: self.parent.as_ref().and_then(|name| name.parse().ok()),
            is_genesis: self.genesis,
        }
    }
}

/// What a run notes in the header of a revision, so that the next one can tidy up after a crash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The run that wrote it.
    pub(crate) run_id: Option<String>,
    /// The run's previous revision, which is removed once this one is current.
    pub(crate) replaces: Option<Revision>,
    /// Of an opened revision: the one that it was made from. An [`Origin`](super::Origin) names that of a new one.
    pub(crate) parent: Option<Revision>,
    /// Whether it is the empty document with which the first run of a stack begins.
    pub(crate) is_genesis: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Checks the number of recipients, and that no two are the same key.
pub(super) fn check_recipients(seal: Seal, recipients: &[WrappedKey]) -> Result<(), Error> {
    let allowed = match seal {
        Seal::None => 0..=0,
        Seal::ChaCha20Poly1305 => 1..=Keyring::MAX_RECIPIENTS,
    };
    if !allowed.contains(&recipients.len()) {
        return Err(damaged(format!("the header has {} recipients", recipients.len())));
    }
    refuse_twins(recipients).map_err(damaged)
}

/// Two recipients of one file must be two keys: the second one would never be used.
pub(super) fn refuse_twins(keys: &[WrappedKey]) -> Result<(), String> {
    let recipients: Vec<Recipient> = keys.iter().map(WrappedKey::recipient).collect();
    for (position, recipient) in recipients.iter().enumerate() {
        if recipients[..position]
            .iter()
            .any(|other| other.is_same_key(recipient))
        {
            return Err(format!("the recipient {} is named twice", recipient.describe()));
        }
    }
    Ok(())
}

impl Record {
    pub(super) fn check(&self) -> Result<(), Error> {
        let texts = [&self.run, &self.author, &self.host, &self.tool, &self.message];
        if texts
            .into_iter()
            .flatten()
            .any(|text| text.len() > MAX_TEXT_BYTES)
        {
            return Err(damaged("the header has a text of more than 4 KiB"));
        }
        written_at(self).map(|_| ())
    }
}

pub(super) fn written_at(record: &Record) -> Result<OffsetDateTime, Error> {
    OffsetDateTime::parse(&record.written_at, &Rfc3339)
        .map_err(|_| damaged("the header has no valid time of writing"))
}

/// Makes the record of who writes, when and why.
pub(super) fn record(
    provenance: &Provenance,
    message: Option<&str>,
    now: OffsetDateTime,
) -> Result<Record, Error> {
    let written_at = now
        .checked_to_offset(UtcOffset::UTC)
        .and_then(|time| time.format(&Rfc3339).ok());
    Ok(Record {
        run: provenance.run.clone(),
        author: provenance.author.clone(),
        host: provenance.host.clone(),
        tool: provenance.tool.clone(),
        message: message.map(Into::into),
        written_at: written_at.ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidName,
                "the clock is in a year that RFC 3339 has no name for",
            )
        })?,
    })
}

/// The header of a sealed file. Nothing in it is authenticated: anybody who can write to the backend can forge it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct UnverifiedHeader {
    /// The version of the envelope, 1 or 2.
    pub version: u32,
    /// The payload type; an old file of version 1 does not record it.
    pub payload: Option<String>,
    /// `factory/stack` as the file says; `None` in version 1. It may not be a valid name.
    pub stack: Option<String>,
    /// The revision as the file says; `None` in version 1. It may not be a valid name.
    pub revision: Option<String>,
    /// The revision that it was made from, if there was one.
    pub parent: Option<Revision>,
    /// Bytes of plaintext, before compression; `None` in version 1.
    pub length: Option<u64>,
    /// The recipients that it is sealed for; none when it is not encrypted.
    pub recipients: Vec<Recipient>,
    /// The author, host, run and tool.
    pub provenance: Provenance,
    /// Why it was written.
    pub message: Option<String>,
    /// When it was written, by the writer's clock; `None` in version 1.
    pub written_at: Option<OffsetDateTime>,
    /// The [`Run`](crate::Run) that wrote it, as 32 hexadecimal digits.
    pub run_id: Option<String>,
    /// The previous revision of the same run, which this one replaces.
    pub replaces: Option<Revision>,
    /// Whether it is the empty document with which the first run of a stack begins.
    pub is_genesis: bool,
}

impl UnverifiedHeader {
    pub(super) fn of_version_1(payload: Option<String>, recipient: Option<Recipient>) -> Self {
        Self {
            version: 1,
            payload,
            stack: None,
            revision: None,
            parent: None,
            length: None,
            recipients: recipient.into_iter().collect(),
            provenance: Provenance::default(),
            message: None,
            written_at: None,
            run_id: None,
            replaces: None,
            is_genesis: false,
        }
    }
}

impl From<Header> for UnverifiedHeader {
    fn from(header: Header) -> Self {
        let written_at = written_at(&header.provenance).ok();
        let Mark {
            run_id,
            replaces,
            parent,
            is_genesis,
        } = header.mark();
        Self {
            version: VERSION,
            stack: Some(format!("{}/{}", header.factory, header.stack)),
            payload: Some(header.payload_type),
            revision: Some(header.revision),
            parent,
            length: Some(header.length),
            recipients: header.recipients.iter().map(WrappedKey::recipient).collect(),
            provenance: Provenance {
                run: header.provenance.run,
                author: header.provenance.author,
                host: header.provenance.host,
                tool: header.provenance.tool,
            },
            message: header.provenance.message,
            written_at,
            run_id,
            replaces,
            is_genesis,
        }
    }
}

/// The message of serde quotes the header, which is public but may come from anybody, so it is shown as a quotation.
pub(super) fn malformed(error: &serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    damaged(format!(
        "the header is malformed at line {line} column {column}: {}",
        Excerpt(&error.to_string())
    ))
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

/// Standard alphabet, padded, canonical: every wrapped key has one spelling.
fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD
        .decode(text)
        .map_err(|_| de::Error::custom("a wrapped key is not canonical base64"))
}
