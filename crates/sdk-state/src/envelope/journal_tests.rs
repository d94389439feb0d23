//! The published vectors of the journal, which another implementation made: `tests/journal_1.py`.

use super::data_key::DataKey;
use super::journal::{Place, Reader, Writer, digest, push_change, unverified};
use super::tests::{VectorRecipient, hex, opening_ring, sealing_ring, with_defaults};
use crate::replay::Loaded;
use crate::{
    Appended, Backend as _, Created, Error, ErrorKind, Expect, Holder, MemoryBackend, Revision,
    Snapshot as _, StackId, State, Store, TryLock,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sdk_encrypt::{Keyring, Noop};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use time::OffsetDateTime;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Vector {
    name: String,
    key: Option<String>,
    key_kind: Option<String>,
    factory: String,
    stack: String,
    base: String,
    records: Vec<String>,
    /// What the base and the changes make.
    document: Option<String>,
    error: Option<String>,
    /// How many changes are made before the error.
    #[serde(default)]
    made: u64,
    /// The kinds of the errors after each flipped bit: `D12` for twelve times `Damaged`.
    flips: Option<String>,
    #[serde(default)]
    changes: Vec<Vec<String>>,
    data_key: Option<String>,
    /// Where there is one, sealing gives the records.
    journal_id: Option<String>,
    #[serde(default)]
    payload: String,
    #[serde(default)]
    recipients: Vec<VectorRecipient>,
}

/// A revision that journals stand on.
#[derive(Deserialize)]
struct Base {
    revision: String,
    sealed: String,
    document: String,
}

struct Case {
    vector: Vector,
    id: StackId,
    base: Revision,
    base_file: Vec<u8>,
    base_document: String,
    ring: Keyring,
    records: Vec<Vec<u8>>,
}

fn cases() -> Vec<Case> {
    let file: Value = serde_json::from_str(include_str!("../../tests/journal_vectors.json")).unwrap();
    let bases: BTreeMap<String, Base> = serde_json::from_value(file["bases"].clone()).unwrap();
    let decode = |text: &String| STANDARD.decode(text).unwrap();
    let vectors: Vec<Vector> = with_defaults(&file);
    let cases = vectors.into_iter().filter_map(|vector| {
        let base = &bases[&vector.base];
        let ring = opening_ring(vector.key.as_deref(), vector.key_kind.as_deref());
        let ring = match vector.base.as_str() {
            "version 1, plain" | "version 1, plain, later" => ring.accept_v1(Noop).unwrap(),
            "version 1" => accept_version_1(ring, vector.key.as_deref())?,
            _ => ring,
        };
        Some(Case {
            id: StackId::new(&vector.factory, &vector.stack).unwrap(),
            base: base.revision.parse().unwrap(),
            base_file: decode(&base.sealed),
            base_document: base.document.clone(),
            records: vector.records.iter().map(decode).collect(),
            ring,
            vector,
        })
    });
    cases.collect()
}

#[cfg(feature = "legacy-aes-gcm")]
fn accept_version_1(ring: Keyring, key: Option<&str>) -> Option<Keyring> {
    use sdk_encrypt::{EnvKey, MasterKey};
    let key = MasterKey::from_base64(key?).ok()?;
    ring.accept_v1(EnvKey::new("KEY", key).legacy()).ok()
}

#[cfg(not(feature = "legacy-aes-gcm"))]
fn accept_version_1(_: Keyring, _: Option<&str>) -> Option<Keyring> {
    None
}

impl Case {
    /// Replays the journal as a store does. After an error, the document has the changes before it.
    fn replayed(&self) -> (Loaded<State>, Result<(), Error>) {
        let backend = MemoryBackend::new(self.id.clone());
        let TryLock::Held(lock) = backend.try_lock(&Holder::new("test")).unwrap() else {
            panic!("nobody else has the lock");
        };
        let token = lock.token().unwrap();
        let created = backend.create(&self.base, &self.base_file).unwrap();
        assert_eq!(created, Created::Created);
        let pointer = backend.set_current(Expect::Nothing, &self.base, token).unwrap();
        for (index, record) in self.records.iter().enumerate() {
            let appended = backend.append(&pointer, index as u64, record, token).unwrap();
            assert_eq!(appended, Appended::Appended);
        }
        let store = Store::new(backend, self.ring.clone());
        let mut loaded = store.load_base(&pointer).unwrap();
        assert_eq!(text(&loaded.document), self.base_document, "{}", self.vector.name);
        let outcome = store.replay(&mut loaded, &mut None);
        (loaded, outcome)
    }

    /// Opens one record after the other, and returns the changes of each.
    fn opened(&self, records: &[Vec<u8>]) -> Result<Vec<Vec<String>>, Error> {
        let mut changes = Vec::new();
        let mut reader: Option<Reader> = None;
        for record in records.iter().cloned() {
            let batch = match &mut reader {
                Some(reader) => reader.next(record)?,
                None => {
                    let digest = digest(&self.base_file);
                    let (opened, batch) = Reader::open(&self.ring, &self.id, &self.base, &digest, record)?;
                    reader = Some(opened);
                    batch
                }
            };
            let mut texts = Vec::new();
            batch.for_each(|change| {
                texts.push(String::from_utf8_lossy(change).into_owned());
                Ok(())
            })?;
            changes.push(texts);
        }
        Ok(changes)
    }
}

fn text(document: &State) -> String {
    String::from_utf8(document.encode().unwrap()).unwrap()
}

fn kind(error: &Error) -> String {
    let kind = format!("{:?}", error.kind());
    kind.split([' ', '(']).next().unwrap().to_owned()
}

#[test]
fn every_journal_replays_or_fails_as_published() {
    let (mut replayed, mut failed) = (0, 0);
    for case in cases() {
        let name = &case.vector.name;
        let (loaded, outcome) = case.replayed();
        match (outcome, &case.vector.error) {
            (Ok(()), None) => {
                assert_eq!(
                    Some(text(&loaded.document)),
                    case.vector.document,
                    "{name}: the document"
                );
                replayed += 1;
            }
            (Err(error), Some(expected)) => {
                assert_eq!(&kind(&error), expected, "{name}: {error}");
                let made = loaded.journal.map_or(0, |journal| journal.changes);
                assert_eq!(made, case.vector.made, "{name}: changes before the error");
                failed += 1;
            }
            (Ok(()), Some(expected)) => panic!("{name} opens and should be {expected}"),
            (Err(error), None) => panic!("{name} does not open: {error:?}"),
        }
    }
    assert!(
        replayed >= 18 && failed > 150,
        "{replayed} replayed, {failed} failed"
    );
}

#[test]
fn sealing_gives_the_published_records() {
    let mut compared = 0;
    for case in cases() {
        let vector = &case.vector;
        let Some(journal_id) = vector.journal_id.clone() else {
            continue;
        };
        assert_eq!(
            case.opened(&case.records).unwrap(),
            vector.changes,
            "{}",
            vector.name
        );
        let begun = unverified(0, &case.records[0]).unwrap().0.unwrap();
        let data_key = match &vector.data_key {
            Some(data_key) => DataKey::from_bytes(&hex(data_key)).unwrap(),
            None => DataKey::generate().unwrap(),
        };
        let place = Place {
            payload: &vector.payload,
            id: &case.id,
            base: &case.base,
            digest: &digest(&case.base_file),
        };
        let ring = sealing_ring(&vector.recipients);
        let since = begun.holder.since.unwrap();
        let mut writer = Writer::with_key(&data_key, journal_id, &ring, None, place, &begun, since).unwrap();
        for (number, (changes, published)) in vector.changes.iter().zip(&case.records).enumerate() {
            let mut batch = Vec::new();
            for change in changes {
                push_change(&mut batch, |out| {
                    out.extend_from_slice(change.as_bytes());
                    Ok(())
                })
                .unwrap();
            }
            let ours = writer.seal(changes.len() as u32, &batch).unwrap();
            assert_eq!(&ours, published, "{}: record {number}", vector.name);
            let (_, count) = unverified(number as u64, published).unwrap();
            assert_eq!(count as usize, changes.len(), "{}: record {number}", vector.name);
        }
        compared += 1;
    }
    assert!(compared >= 12, "{compared} compared");
}

/// The other implementation has flipped every bit, too, and got the same kinds of errors.
#[test]
fn every_flipped_bit_gives_the_published_kind_of_error() {
    let mut flipped = 0;
    for case in cases() {
        let Some(published) = &case.vector.flips else {
            continue;
        };
        let mut runs: Vec<(char, usize)> = Vec::new();
        for number in 0..case.records.len() {
            let mut records = case.records[..=number].to_vec();
            for bit in 0..records[number].len() * 8 {
                records[number][bit / 8] ^= 1 << (bit % 8);
                let error = match case.opened(&records) {
                    Ok(_) => panic!("{}: record {number}, bit {bit} may be flipped", case.vector.name),
                    Err(error) => error,
                };
                records[number][bit / 8] ^= 1 << (bit % 8);
                let letter = match error.kind() {
                    ErrorKind::Damaged => 'D',
                    ErrorKind::WrongKey => 'W',
                    ErrorKind::Misplaced => 'M',
                    ErrorKind::Refused => 'R',
                    ErrorKind::TooLarge => 'T',
                    kind => panic!("{}: record {number}, bit {bit}: {kind:?}", case.vector.name),
                };
                match runs.last_mut() {
                    Some((last, times)) if *last == letter => *times += 1,
                    _ => runs.push((letter, 1)),
                }
                flipped += 1;
            }
        }
        let ours: Vec<String> = runs
            .iter()
            .map(|(letter, times)| format!("{letter}{times}"))
            .collect();
        assert_eq!(&ours.join(" "), published, "{}", case.vector.name);
    }
    assert!(flipped > 10_000, "{flipped} flipped");
}

#[test]
fn every_cut_of_a_record_is_damage() {
    for case in cases() {
        if case.vector.flips.is_none() {
            continue;
        }
        for number in 0..case.records.len() {
            let mut records = case.records[..=number].to_vec();
            for length in (0..records[number].len()).rev() {
                records[number].truncate(length);
                let error = case.opened(&records).unwrap_err();
                assert!(error.is_damaged(), "record {number}, cut at {length}: {error}");
            }
        }
    }
}

#[test]
fn a_header_has_at_most_a_mebibyte() {
    let case = cases().swap_remove(0);
    let digest = digest(&case.base_file);
    let place = Place {
        payload: "state",
        id: &case.id,
        base: &case.base,
        digest: &digest,
    };
    let mut begun = unverified(0, &case.records[0]).unwrap().0.unwrap();
    let mut begin = |length| {
        begun.holder.operation = "x".repeat(length);
        let mut writer = Writer::new(&case.ring, None, place, &begun, OffsetDateTime::UNIX_EPOCH)?;
        writer.seal(0, &[])
    };
    let length = |record: &[u8]| u32::from_le_bytes(*record[8..].first_chunk().unwrap()) as usize;
    let room = (1 << 20) - length(&begin(0).unwrap());
    let longest = begin(room).unwrap();
    assert_eq!(length(&longest), 1 << 20);
    assert_eq!(case.opened(&[longest]).unwrap(), [Vec::<String>::new()]);
    assert_eq!(begin(room + 1).unwrap_err().kind(), &ErrorKind::TooLarge);
}
