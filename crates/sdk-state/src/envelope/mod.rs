//! The sealed form of a payload: compressed, encrypted, and bound to its stack and revision.
//!
//! A [`Store`](crate::Store) seals what it writes. These functions seal any other payload that belongs to a stack, such as a
//! plan file, with the same keys. `docs/format.md` specifies the bytes.
//!
//! ```
//! use sdk_state::encrypt::{EnvKey, Keyring, MasterKey};
//! use sdk_state::envelope::{self, Origin, Subject};
//! use sdk_state::{Provenance, StackId};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let ring = Keyring::from(EnvKey::new("STATE_KEY", MasterKey::generate()?));
//! let id: StackId = "network/prod".parse()?;
//! let revision = "2026-07-10T12:00:00Z".parse()?;
//! let subject = Subject { payload: "plan", id: &id, revision: &revision };
//! let sealed = envelope::seal(&ring, subject, &Origin::new(&Provenance::new(), time::OffsetDateTime::UNIX_EPOCH), b"a plan")?;
//! assert_eq!(envelope::open(&ring, subject, sealed, envelope::DEFAULT_LIMIT)?, b"a plan");
//! # Ok(())
//! # }
//! ```

mod compression;
mod data_key;
mod header;
pub(crate) mod journal;
mod v1;
mod v2;
mod wrapping;

use crate::recipients::Depth;
use crate::{Error, ErrorKind, Provenance, Revision, StackId};
use sdk_encrypt::{Keyring, Recipient};
use std::sync::Arc;
use time::OffsetDateTime;

pub use header::UnverifiedHeader;

pub(crate) use header::Mark;

pub(crate) use compression::{Compressed, Zstd};
pub(crate) use v1::seal as seal_v1;
pub(crate) use v2::seal as seal_v2;
pub(crate) use wrapping::check_payload_type;

/// The default limit of the plaintext that is opened or sealed: 1 GiB.
pub const DEFAULT_LIMIT: u64 = 1 << 30;

/// By how much a sealed file may exceed the limit of its plaintext: 2 MiB. A header has at most 1 MiB, and zstd makes
/// incompressible data a little longer.
pub const OVERHEAD: u64 = 2 << 20;

/// The type of a sealed payload, and the place where it belongs. Opening takes the same subject; a file with another one does
/// not open.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The payload type, such as [`Snapshot::PAYLOAD`](crate::Snapshot::PAYLOAD): 1 to 64 ASCII letters, digits, `.`
    /// and `-`.
    pub payload: &'a str,
    /// The stack.
    pub id: &'a StackId,
    /// The revision.
    pub revision: &'a Revision,
}

/// Where a sealed payload belongs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) id: &'a StackId,
    pub(crate) revision: &'a Revision,
}

/// The origin of a sealed payload, recorded unencrypted.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The author, host, run and tool.
    pub provenance: &'a Provenance,
    /// When it was written.
    pub written_at: OffsetDateTime,
    /// Why it was written: at most 4096 bytes.
    pub message: Option<&'a str>,
    /// The revision that it was made from.
    pub parent: Option<&'a Revision>,
    /// The revision that its name follows, if that is not the parent.
    pub(crate) after: Option<&'a Revision>,
    pub(crate) mark: &'a Mark,
    /// `None` for those of the keyring.
    pub(crate) recipients: Option<&'a [Recipient]>,
}

static NO_MARK: Mark = Mark {
    run_id: None,
    replaces: None,
    parent: None,
    is_genesis: false,
};

impl<'a> Origin<'a> {
    /// Makes an origin without a message and a parent.
    pub fn new(provenance: &'a Provenance, written_at: OffsetDateTime) -> Self {
        Self {
            provenance,
            written_at,
            message: None,
            parent: None,
            after: None,
            mark: &NO_MARK,
            recipients: None,
        }
    }
}

/// An opened payload.
pub(crate) struct Opened {
    /// Old files of version 1 do not record it.
    pub(crate) payload: Option<String>,
    pub(crate) plaintext: Vec<u8>,
    pub(crate) mark: Mark,
    /// Version 1 has none.
    pub(crate) recipients: Option<Vec<Recipient>>,
}

/// Seals `plaintext` for the recipients of `keyring`, as envelope version 2.
///
/// Every call draws a fresh data key, so the same input never gives the same bytes twice.
///
/// # Errors
///
/// * [`TooLarge`](ErrorKind::TooLarge) for a text of the provenance or a message over 4 KiB, a header over 1 MiB, or more
///   than 256 GiB.
/// * [`InvalidName`](ErrorKind::InvalidName) for a payload type that is not allowed, or a time whose year does not have four
///   digits.
/// * [`Unsupported`](ErrorKind::Unsupported) when two recipients are the same key, or an encrypter refuses.
/// * [`Unavailable`](ErrorKind::Unavailable) when a key service does not answer, the operating system gives no random
///   bytes, or there is no memory to compress with.
pub fn seal(
    keyring: &Keyring,
    subject: Subject<'_>,
    origin: &Origin<'_>,
    plaintext: &[u8],
) -> Result<Vec<u8>, Error> {
    let compressed = Zstd::new()?.compress(plaintext)?;
    v2::seal(keyring, subject, origin, &compressed)
}

/// Opens a sealed payload of either version, if `keyring` allows that version, and returns its plaintext.
///
/// No byte is returned before it is authenticated. `limit` bounds the plaintext; the length that a file claims is compared
/// with it before memory is reserved.
///
/// # Errors
///
/// * [`Damaged`](ErrorKind::Damaged) when it is not a sealed file, or was changed or cut short.
/// * [`WrongKey`](ErrorKind::WrongKey) when none of the keys opens it. In version 1 that may also be damage: its cipher
///   cannot tell.
/// * [`Misplaced`](ErrorKind::Misplaced) when it was sealed for another stack or revision.
/// * [`OtherPayload`](ErrorKind::OtherPayload) when it is a payload of another type.
/// * [`Refused`](ErrorKind::Refused) for a version or a kind of sealing that the ring does not accept.
/// * [`TooLarge`](ErrorKind::TooLarge) when the plaintext has more than `limit` bytes, the file more than `limit` and
///   [`OVERHEAD`], or the header more than 1 MiB.
/// * [`Unavailable`](ErrorKind::Unavailable) when a key service does not answer, or there is no memory.
/// * [`Unsupported`](ErrorKind::Unsupported) when an encrypter fails in another way and no other key opens it.
pub fn open(keyring: &Keyring, subject: Subject<'_>, sealed: Vec<u8>, limit: u64) -> Result<Vec<u8>, Error> {
    let place = Place {
        id: subject.id,
        revision: subject.revision,
    };
    match open_any(&Zstd::new()?, keyring, place, sealed, limit)? {
        Opened {
            payload: Some(payload),
            ..
        } if payload != subject.payload => Err(Error::other_payload(subject.payload, &payload)),
        Opened { plaintext, .. } => Ok(plaintext),
    }
}

/// Opens a payload of any type.
pub(crate) fn open_any(
    zstd: &Zstd,
    keyring: &Keyring,
    place: Place<'_>,
    sealed: Vec<u8>,
    limit: u64,
) -> Result<Opened, Error> {
    if sealed.len() as u64 > limit.saturating_add(OVERHEAD) {
        return Err(too_large(sealed.len() as u64, limit));
    }
    let opened = match Version::of(&sealed)? {
        Version::One => {
            let (payload, plaintext) = v1::open(keyring, &sealed)?;
            Opened {
                payload,
                plaintext,
                mark: Mark::default(),
                recipients: None,
            }
        }
        Version::Two => v2::open(zstd, keyring, place, sealed, limit)?,
    };
    match opened.plaintext.len() as u64 {
        length if length > limit => Err(too_large(length, limit)),
        _ => Ok(opened),
    }
}

/// Returns the authenticated recipients of a file, of which the beginning with the header is enough; `None` in version 1, and
/// none if it is not encrypted.
pub(crate) fn recipients(
    keyring: &Keyring,
    place: Place<'_>,
    beginning: &[u8],
) -> Result<Option<Vec<Recipient>>, Error> {
    match Version::of(beginning)? {
        Version::One => v1::accepted(keyring).map(|_| None),
        Version::Two => v2::recipients(keyring, place, beginning).map(Some),
    }
}

/// Seals a file for other recipients. [`Depth`] says how much of it is sealed anew.
pub(crate) fn reseal(
    keyring: &Keyring,
    place: Place<'_>,
    sealed: Vec<u8>,
    recipients: &[Recipient],
    depth: Depth,
) -> Result<Vec<u8>, Error> {
    let resealed = match (Version::of(&sealed)?, depth) {
        (Version::One, _) => Err(Error::new(
            ErrorKind::Unsupported,
            "the revision is of envelope version 1, which has no recipients",
        )),
        (Version::Two, Depth::Header) => v2::rewrap(keyring, place, &sealed, recipients),
        (Version::Two, Depth::Body) => v2::reseal(keyring, place, sealed, recipients),
    }?;
    demand_opens(keyring, place, &resealed, recipients)?;
    Ok(resealed)
}

/// Checks that every given key among the recipients unwraps what was wrapped for it. The file is about to replace one that opens.
/// The holder of a public key alone unwraps nothing, and wraps without asking a service.
fn demand_opens(
    keyring: &Keyring,
    place: Place<'_>,
    resealed: &[u8],
    recipients: &[Recipient],
) -> Result<(), Error> {
    for key in keyring.openers() {
        let is_recipient = recipients.iter().any(|one| one.is_same_key(key.recipient()));
        if is_recipient
            && let Err(error) = v2::recipients(&Arc::clone(key).into(), place, resealed)
            // A public key opens nothing.
            && error.kind() != &ErrorKind::WrongKey
        {
            let message = format!(
                "the key {} does not unwrap what was wrapped for it, so nothing is sealed for it",
                key.describe()
            );
            return Err(Error::new(ErrorKind::Unsupported, message).with_source(error));
        }
    }
    Ok(())
}

/// Reads what a sealed file says about itself. Show it, but do not trust it: none of it is authenticated.
///
/// # Errors
///
/// * [`Damaged`](ErrorKind::Damaged) when it is not a sealed file, or its header breaks a rule.
/// * [`Refused`](ErrorKind::Refused) for a newer version.
/// * [`TooLarge`](ErrorKind::TooLarge) for a header over 1 MiB.
pub fn header(sealed: &[u8]) -> Result<UnverifiedHeader, Error> {
    match Version::of(sealed)? {
        Version::One => v1::header(sealed),
        Version::Two => v2::header(sealed),
    }
}

/// How many bytes of a file [`header`] needs, according to the file's beginning: `None` for version 1, whose header is spread
/// over the file. If the beginning is damaged, it is enough to report that.
pub(crate) fn bytes_for_header(beginning: &[u8]) -> Option<usize> {
    match Version::of(beginning) {
        Ok(Version::One) => None,
        Ok(Version::Two) => Some(v2::bytes_for_header(beginning)),
        Err(_) => Some(0),
    }
}

/// Refuses a file whose first bytes show that it cannot open.
pub(crate) fn check_beginning(keyring: &Keyring, beginning: &[u8]) -> Result<(), Error> {
    match Version::of(beginning)? {
        Version::One => v1::accepted(keyring).map(drop),
        Version::Two => Ok(()),
    }
}

enum Version {
    One,
    Two,
}

impl Version {
    fn of(sealed: &[u8]) -> Result<Self, Error> {
        if sealed.starts_with(b"{") {
            Ok(Self::One)
        } else if sealed.starts_with(&v2::MAGIC) {
            Ok(Self::Two)
        } else {
            Err(damaged("this is not a sealed file, or its beginning was changed"))
        }
    }
}

fn damaged(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Damaged, message)
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Refused, message)
}

fn misplaced(what: &str, expected: &str, found: &str) -> Error {
    use crate::stack_id::Excerpt;
    Error::new(
        ErrorKind::Misplaced,
        format!(
            "the file was sealed for {what} {}, not for {}: somebody moved it here",
            Excerpt(found),
            Excerpt(expected)
        ),
    )
}

pub(crate) fn too_large(bytes: u64, limit: u64) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!("{bytes} bytes are more than the limit of {limit}: raise the limit if that is intended"),
    )
}

#[cfg(test)]
mod journal_tests;
#[cfg(test)]
mod tests;
