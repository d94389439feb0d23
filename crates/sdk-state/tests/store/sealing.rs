//! What a store seals, and what it opens (E1 to E5).

use crate::support::{Note, id, key, note, store};
use sdk_state::encrypt::{Keyring, Noop};
use sdk_state::envelope::{self, Origin, Subject};
use sdk_state::{
    Backend, EnvelopeVersion, ErrorKind, MemoryStorage, Provenance, Revision, StackId, Storage, Store,
    WriteOptions,
};
use time::OffsetDateTime;

const SECRET: &str = "hunter2-hunter2-hunter2";

fn with_ring(storage: &MemoryStorage, ring: impl Into<Keyring>) -> Store<MemoryStorage, Note> {
    Store::new(storage.clone(), ring)
}

fn write_secret(store: &Store<MemoryStorage, Note>) -> (Revision, Vec<u8>) {
    let revision = store.write(&note(SECRET), &WriteOptions::new()).unwrap();
    let sealed = store.storage().read(&revision, u64::MAX).unwrap();
    (revision, sealed)
}

#[test]
fn what_was_written_opens_with_its_key_and_the_secret_is_not_in_the_file() {
    let store = store(&MemoryStorage::new(id()));
    let (revision, sealed) = write_secret(&store);
    assert_eq!(store.get(&revision).unwrap(), note(SECRET));
    assert!(!contains(&sealed, SECRET.as_bytes()));
}

#[test]
fn every_flipped_bit_every_cut_and_every_added_byte_of_a_sealed_file_is_an_error() {
    let storage = MemoryStorage::new(id());
    let store = store(&storage);
    let (revision, sealed) = write_secret(&store);
    let refuse = |changed: Vec<u8>, what: &str| {
        storage.overwrite_snapshot(&revision, changed);
        let error = store.get(&revision).expect_err(what);
        let message = format!("{error} {error:?}");
        assert!(!message.contains(SECRET), "{what}: {message}");
    };
    for position in 0..sealed.len() {
        for bit in 0..8 {
            let mut changed = sealed.clone();
            changed[position] ^= 1 << bit;
            refuse(changed, &format!("bit {bit} of byte {position}"));
        }
    }
    for length in 0..sealed.len() {
        refuse(sealed[..length].to_vec(), &format!("cut to {length} bytes"));
    }
    refuse([&sealed[..], b"x"].concat(), "a byte added");
    storage.overwrite_snapshot(&revision, sealed);
    assert_eq!(store.get(&revision).unwrap(), note(SECRET));
}

#[test]
fn every_flipped_bit_and_every_cut_of_an_unencrypted_file_is_an_error_too() {
    let storage = MemoryStorage::new(id());
    let store = with_ring(&storage, Noop);
    let (revision, sealed) = write_secret(&store);
    for position in 0..sealed.len() {
        for bit in 0..8 {
            let mut changed = sealed.clone();
            changed[position] ^= 1 << bit;
            storage.overwrite_snapshot(&revision, changed);
            assert!(store.get(&revision).is_err(), "bit {bit} of byte {position}");
        }
        storage.overwrite_snapshot(&revision, &sealed[..position]);
        assert!(store.get(&revision).is_err(), "cut to {position} bytes");
    }
}

#[test]
fn a_file_that_was_moved_to_another_place_is_misplaced() {
    let storage = MemoryStorage::new(id());
    let store = store(&storage);
    let (revision, sealed) = write_secret(&store);

    let other_revision: Revision = "2020-01-01T00:00:00Z".parse().unwrap();
    storage.overwrite_snapshot(&other_revision, sealed.clone());
    assert_eq!(
        store.get(&other_revision).unwrap_err().kind(),
        &ErrorKind::Misplaced
    );

    for other in ["network/dev", "app/prod"] {
        let other = MemoryStorage::new(other.parse().unwrap());
        other.overwrite_snapshot(&revision, sealed.clone());
        let error = crate::support::store(&other).get(&revision).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Misplaced);
    }

    let id = id();
    let subject = Subject {
        payload: "plan",
        id: &id,
        revision: &revision,
    };
    let error = envelope::open(&key(1).into(), subject, sealed, 1000).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Misplaced);
}

#[test]
fn a_wrong_key_is_told_by_the_fingerprints_of_what_is_needed_and_what_was_given() {
    let storage = MemoryStorage::new(id());
    let (revision, _) = write_secret(&store(&storage));
    let error = with_ring(&storage, key(2)).get(&revision).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::WrongKey);
    for seed in [1, 2] {
        let fingerprint = key(seed).fingerprint().to_string();
        assert!(error.to_string().contains(&fingerprint), "{error}");
    }
}

#[test]
fn a_retired_key_still_opens_and_every_recipient_opens() {
    let storage = MemoryStorage::new(id());
    let (old, _) = write_secret(&store(&storage));
    let ring = Keyring::from(key(2))
        .also_seal_for(key(3))
        .unwrap()
        .also_open(key(1))
        .unwrap();
    let new = with_ring(&storage, ring);
    assert_eq!(new.get(&old).unwrap(), note(SECRET));
    let (revision, _) = write_secret(&new);
    for (seed, opens) in [(1, false), (2, true), (3, true)] {
        assert_eq!(
            with_ring(&storage, key(seed)).get(&revision).is_ok(),
            opens,
            "key {seed}"
        );
    }
}

#[test]
fn one_key_is_not_two_recipients() {
    let ring = Keyring::from(key(1)).also_seal_for(key(1)).unwrap();
    let error = with_ring(&MemoryStorage::new(id()), ring)
        .write(&note("x"), &WriteOptions::new())
        .unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Unsupported);
}

#[test]
fn a_store_with_a_key_refuses_what_is_not_encrypted_and_a_plain_one_what_is() {
    let storage = MemoryStorage::new(id());
    let (plain, _) = write_secret(&with_ring(&storage, Noop));
    let (sealed, _) = write_secret(&store(&storage));
    assert_eq!(
        store(&storage).get(&plain).unwrap_err().kind(),
        &ErrorKind::Refused
    );
    assert_eq!(
        with_ring(&storage, Noop).get(&sealed).unwrap_err().kind(),
        &ErrorKind::Refused
    );
}

#[test]
fn version_1_is_opened_only_where_it_is_accepted() {
    let storage = MemoryStorage::new(id());
    let plain_v1 = || Keyring::from(Noop).accept_v1(Noop).unwrap();
    let old = with_ring(&storage, plain_v1()).with_envelope(EnvelopeVersion::V1);
    let (revision, file) = write_secret(&old);
    assert!(file.starts_with(b"{\n  \"envelope-version\": 1,\n  \"payload-type\": \"note\",\n"));
    assert!(file.ends_with(b"\"\n}\n"));
    assert_eq!(
        with_ring(&storage, plain_v1()).get(&revision).unwrap(),
        note(SECRET)
    );
    for ring in [Keyring::from(Noop), Keyring::from(key(1))] {
        assert_eq!(
            with_ring(&storage, ring).get(&revision).unwrap_err().kind(),
            &ErrorKind::Refused
        );
    }
    assert!(Keyring::from(key(1)).accept_v1(Noop).is_err());
}

#[cfg(feature = "legacy-aes-gcm")]
#[test]
fn every_flipped_bit_and_every_cut_of_an_encrypted_version_1_file_is_an_error_or_the_same_snapshot() {
    let storage = MemoryStorage::new(id());
    let ring = || Keyring::from(key(1)).accept_v1(key(1).legacy()).unwrap();
    let store = with_ring(&storage, ring()).with_envelope(EnvelopeVersion::V1);
    let (revision, file) = write_secret(&store);
    assert!(!contains(&file, SECRET.as_bytes()));
    assert_eq!(store.get(&revision).unwrap(), note(SECRET));
    for position in 0..file.len() {
        for bit in 0..8 {
            let mut changed = file.clone();
            changed[position] ^= 1 << bit;
            storage.overwrite_snapshot(&revision, changed);
            // Version 1 does not cover its own JSON: a changed member name may go unnoticed, the snapshot may not change.
            if let Ok(snapshot) = store.get(&revision) {
                assert_eq!(snapshot, note(SECRET), "bit {bit} of byte {position}");
            }
        }
        // The final line feed alone may be missing.
        if position < file.len() - 1 {
            storage.overwrite_snapshot(&revision, &file[..position]);
            assert!(store.get(&revision).is_err(), "cut to {position} bytes");
        }
    }
}

#[test]
fn version_1_is_not_written_without_a_cipher_for_it() {
    let store = store(&MemoryStorage::new(id())).with_envelope(EnvelopeVersion::V1);
    let error = store.write(&note("x"), &WriteOptions::new()).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Unsupported);
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn what_is_larger_than_the_limit_is_neither_written_nor_opened() {
    let storage = MemoryStorage::new(id());
    let (revision, _) = write_secret(&store(&storage));
    let small = store(&storage).with_limit(SECRET.len() as u64 - 1);
    assert_eq!(small.get(&revision).unwrap_err().kind(), &ErrorKind::TooLarge);
    let error = small.write(&note(SECRET), &WriteOptions::new()).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::TooLarge);
    let exact = store(&storage).with_limit(SECRET.len() as u64);
    assert_eq!(exact.get(&revision).unwrap(), note(SECRET));
    exact.write(&note(SECRET), &WriteOptions::new()).unwrap();
    assert_eq!(exact.list().unwrap().len(), 2);
}

/// Version 1 is a third longer than its plaintext. A snapshot within the limit was stored as a file beyond it, and could
/// not be read again.
#[test]
fn what_would_be_too_long_to_read_as_version_1_is_not_written() {
    let limit = 7 << 20;
    let storage = MemoryStorage::new(id());
    let ring = Keyring::from(Noop).accept_v1(Noop).unwrap();
    let store = with_ring(&storage, ring)
        .with_limit(limit)
        .with_envelope(EnvelopeVersion::V1);
    let fits = note(&"x".repeat(6 << 20));
    let revision = store.write(&fits, &WriteOptions::new()).unwrap();
    assert_eq!(store.get(&revision).unwrap(), fits);
    let too_long = note(&"x".repeat(limit as usize));
    let error = store.write(&too_long, &WriteOptions::new()).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::TooLarge);
    assert_eq!(store.list().unwrap(), [revision]);
}

#[test]
fn provenance_and_parent_are_recorded_and_read_without_a_key() {
    let storage = MemoryStorage::new(id());
    let provenance = Provenance::new()
        .with_who("alice")
        .with_host("build-7")
        .with_tool("apply 1.0")
        .with_run("42");
    let store = store(&storage).with_provenance(provenance.clone());
    let first = store
        .write(&note("1"), &WriteOptions::new().with_message("first"))
        .unwrap();
    store.set_current(&first).unwrap();
    let second = store.write(&note("2"), &WriteOptions::new()).unwrap();
    let third = store
        .write(&note("3"), &WriteOptions::new().with_parent(second.clone()))
        .unwrap();

    let reader = with_ring(&storage, Noop);
    let header = reader.header(&first).unwrap();
    assert_eq!(
        (header.provenance, header.message.as_deref()),
        (provenance, Some("first"))
    );
    assert_eq!((header.version, header.length, header.parent), (2, Some(1), None));
    assert_eq!(header.stack.as_deref(), Some("network/prod"));
    assert_eq!(
        header.recipients[0].fingerprint(),
        Some(&*key(1).fingerprint().to_string())
    );
    assert!(header.written_at.is_some());
    assert_eq!(reader.header(&second).unwrap().parent, Some(first));
    assert_eq!(reader.header(&third).unwrap().parent, Some(second));
}

#[test]
fn provenance_of_more_than_4_kib_a_text_is_refused_before_anything_is_written() {
    let store = store(&MemoryStorage::new(id()));
    let longest = WriteOptions::new().with_message("m".repeat(4096));
    store.write(&note("x"), &longest).unwrap();
    let longer = WriteOptions::new().with_message("m".repeat(4097));
    assert_eq!(
        store.write(&note("x"), &longer).unwrap_err().kind(),
        &ErrorKind::TooLarge
    );
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn sealing_the_same_twice_gives_files_that_have_nothing_in_common_but_the_header() {
    let id: StackId = id();
    let revision = "2026-07-10T12:00:00Z".parse().unwrap();
    let subject = Subject {
        payload: "note",
        id: &id,
        revision: &revision,
    };
    let provenance = Provenance::new();
    let origin = Origin::new(&provenance, OffsetDateTime::UNIX_EPOCH);
    let seal = || envelope::seal(&key(1).into(), subject, &origin, SECRET.as_bytes()).unwrap();
    let (one, two) = (seal(), seal());
    assert_eq!(one.len(), two.len());
    let tail = SECRET.len() / 2;
    assert_ne!(one[one.len() - tail..], two[two.len() - tail..]);
}

#[test]
fn neither_a_store_nor_its_errors_show_a_key_or_a_snapshot() {
    let storage = MemoryStorage::new(id());
    let store = store(&storage);
    let (revision, _) = write_secret(&store);
    let shown = format!(
        "{store:?} {storage:?} {:?} {:?}",
        with_ring(&storage, key(2)).get(&revision).unwrap_err(),
        store.header(&revision).unwrap()
    );
    let key = crate::support::base64_of([1; 32]);
    assert!(!shown.contains(SECRET) && !shown.contains(&key), "{shown}");
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
