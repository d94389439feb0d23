//! What a store seals, and what it opens (E1 to E5).

use crate::support::{Note, id, key, note, store};
use crate::watched::{Method, Watched};
use sdk_state::encrypt::{Keyring, Noop};
use sdk_state::envelope::{self, Origin, Subject};
use sdk_state::{
    Backend, EnvelopeVersion, Error, ErrorKind, MemoryBackend, Provenance, Raw, Revision, StackId, State,
    Store,
};
use time::OffsetDateTime;

const SECRET: &str = "hunter2-hunter2-hunter2";

fn with_ring(backend: &MemoryBackend, ring: impl Into<Keyring>) -> Store<Note> {
    Store::new(backend.clone(), ring).document()
}

fn write_secret(store: &Store<Note>) -> (Revision, Vec<u8>) {
    let revision = store.write(&note(SECRET), "note").unwrap();
    let sealed = store.backend().read(&revision, u64::MAX).unwrap();
    (revision, sealed)
}

#[test]
fn a_sealed_file_opens_with_its_key_and_hides_the_secret() {
    let store = store(&MemoryBackend::new(id()));
    let (revision, sealed) = write_secret(&store);
    assert_eq!(store.get(&revision).unwrap(), note(SECRET));
    assert!(!contains(&sealed, SECRET.as_bytes()));
}

#[test]
fn every_change_of_a_sealed_file_is_an_error() {
    let backend = MemoryBackend::new(id());
    let store = store(&backend);
    let (revision, sealed) = write_secret(&store);
    let refuse = |changed: Vec<u8>, what: &str| {
        backend.overwrite_snapshot(&revision, changed);
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
    backend.overwrite_snapshot(&revision, sealed);
    assert_eq!(store.get(&revision).unwrap(), note(SECRET));
}

#[test]
fn every_change_of_an_unencrypted_file_is_an_error() {
    let backend = MemoryBackend::new(id());
    let store = with_ring(&backend, Noop);
    let (revision, sealed) = write_secret(&store);
    for position in 0..sealed.len() {
        for bit in 0..8 {
            let mut changed = sealed.clone();
            changed[position] ^= 1 << bit;
            backend.overwrite_snapshot(&revision, changed);
            assert!(store.get(&revision).is_err(), "bit {bit} of byte {position}");
        }
        backend.overwrite_snapshot(&revision, &sealed[..position]);
        assert!(store.get(&revision).is_err(), "cut to {position} bytes");
    }
}

#[test]
fn a_file_that_was_moved_to_another_place_is_misplaced() {
    let backend = MemoryBackend::new(id());
    let store = store(&backend);
    let (revision, sealed) = write_secret(&store);

    let other_revision: Revision = "2020-01-01T00:00:00Z".parse().unwrap();
    backend.overwrite_snapshot(&other_revision, sealed.clone());
    assert_eq!(
        store.get(&other_revision).unwrap_err().kind(),
        &ErrorKind::Misplaced
    );

    for other in ["network/dev", "app/prod"] {
        let other = MemoryBackend::new(other.parse().unwrap());
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
    assert_eq!(error.kind(), &ErrorKind::OtherPayload { found: "note".into() });
}

/// A stack of another tool's documents was reported as a file that somebody moved.
#[test]
fn a_document_of_another_type_is_named() {
    let backend = MemoryBackend::new(id());
    let store = store(&backend);
    let revision = store.write(&note("one"), "note").unwrap();
    let error = store.document::<State>().get(&revision).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::OtherPayload { found: "note".into() });
    assert!(error.to_string().contains("type \"note\""), "{error}");
}

#[test]
fn raw_bytes_of_any_type_are_copied_unread() {
    let (from, to) = (MemoryBackend::new(id()), MemoryBackend::new(id()));
    let revision = store(&from).write(&note("one"), "note").unwrap();
    let raw = store(&from).document::<Raw>().get(&revision).unwrap();
    assert_eq!(
        (raw.payload.as_str(), raw.bytes.as_slice()),
        ("note", &b"one"[..])
    );
    let copy = store(&to).document::<Raw>().write(&raw, "copied").unwrap();
    assert_eq!(store(&to).get(&copy).unwrap(), note("one"));
    let unnamed = Raw {
        payload: "not a type".into(),
        bytes: Vec::new(),
    };
    let error = store(&to).document::<Raw>().write(&unnamed, "bad").unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::InvalidName);
}

#[test]
fn the_own_error_of_a_document_is_found_again() {
    let backend = MemoryBackend::new(id());
    let raw = Raw {
        payload: "note".into(),
        bytes: vec![0xff],
    };
    let revision = store(&backend).document::<Raw>().write(&raw, "bad").unwrap();
    let error: Error = store(&backend).get(&revision).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::InvalidSnapshot);
    assert!(error.find::<std::str::Utf8Error>().is_some());
}

/// The header names the key that was given, and what it wraps does not open: "sealed for key 3c10…, and given was key
/// 3c10…" advised to use another key.
#[test]
fn a_bad_header_with_the_right_key_is_damage() {
    let backend = MemoryBackend::new(id());
    let (revision, sealed) = write_secret(&store(&backend));
    let at = sealed
        .windows(15)
        .position(|window| window == b"\"wrapped-key\":\"")
        .unwrap()
        + 15;
    let mut changed = sealed;
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    backend.overwrite_snapshot(&revision, changed);
    let error = store(&backend).get(&revision).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Damaged);
    assert!(
        error.to_string().contains("it was changed after it was sealed"),
        "{error}"
    );
}

#[test]
fn a_wrong_key_is_an_error_with_both_fingerprints() {
    let backend = MemoryBackend::new(id());
    let (revision, _) = write_secret(&store(&backend));
    let error = with_ring(&backend, key(2)).get(&revision).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::WrongKey);
    for seed in [1, 2] {
        let fingerprint = key(seed).fingerprint().to_string();
        assert!(error.to_string().contains(&fingerprint), "{error}");
    }
}

#[test]
fn every_recipient_opens_and_no_other_key() {
    let backend = MemoryBackend::new(id());
    let ring = Keyring::from(key(2))
        .also_seal_for(key(3))
        .unwrap()
        .also_open(key(1))
        .unwrap();
    let (revision, _) = write_secret(&with_ring(&backend, ring));
    for (seed, opens) in [(1, false), (2, true), (3, true)] {
        assert_eq!(
            with_ring(&backend, key(seed)).get(&revision).is_ok(),
            opens,
            "key {seed}"
        );
    }
}

#[test]
fn one_key_is_not_two_recipients() {
    let ring = Keyring::from(key(1)).also_seal_for(key(1)).unwrap();
    let error = with_ring(&MemoryBackend::new(id()), ring)
        .write(&note("x"), "note")
        .unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Unsupported);
}

#[test]
fn plain_files_and_sealed_files_do_not_mix() {
    for (one, other) in [
        (Keyring::from(Noop), key(1).into()),
        (key(1).into(), Keyring::from(Noop)),
    ] {
        let backend = MemoryBackend::new(id());
        let (revision, _) = write_secret(&with_ring(&backend, one));
        let other = with_ring(&backend, other);
        assert_eq!(other.get(&revision).unwrap_err().kind(), &ErrorKind::Refused);
        let written = other.write(&note(SECRET), "note");
        assert_eq!(written.unwrap_err().kind(), &ErrorKind::Refused);
    }
}

#[test]
fn version_1_is_opened_only_where_it_is_accepted() {
    let backend = MemoryBackend::new(id());
    let plain_v1 = || Keyring::from(Noop).accept_v1(Noop).unwrap();
    let old = with_ring(&backend, plain_v1()).with_envelope(EnvelopeVersion::V1);
    let (revision, file) = write_secret(&old);
    assert!(file.starts_with(b"{\n  \"envelope-version\": 1,\n  \"payload-type\": \"note\",\n"));
    assert!(file.ends_with(b"\"\n}\n"));
    assert_eq!(
        with_ring(&backend, plain_v1()).get(&revision).unwrap(),
        note(SECRET)
    );
    for ring in [Keyring::from(Noop), Keyring::from(key(1))] {
        assert_eq!(
            with_ring(&backend, ring).get(&revision).unwrap_err().kind(),
            &ErrorKind::Refused
        );
    }
    assert!(Keyring::from(key(1)).accept_v1(Noop).is_err());
}

#[cfg(feature = "legacy-aes-gcm")]
#[test]
fn no_change_of_a_version_1_file_changes_the_snapshot() {
    let backend = MemoryBackend::new(id());
    let ring = || Keyring::from(key(1)).accept_v1(key(1).legacy()).unwrap();
    let store = with_ring(&backend, ring()).with_envelope(EnvelopeVersion::V1);
    let (revision, file) = write_secret(&store);
    assert!(!contains(&file, SECRET.as_bytes()));
    assert_eq!(store.get(&revision).unwrap(), note(SECRET));
    for position in 0..file.len() {
        for bit in 0..8 {
            let mut changed = file.clone();
            changed[position] ^= 1 << bit;
            backend.overwrite_snapshot(&revision, changed);
            // Version 1 does not cover its own JSON: a changed member name may go unnoticed, the snapshot may not change.
            if let Ok(snapshot) = store.get(&revision) {
                assert_eq!(snapshot, note(SECRET), "bit {bit} of byte {position}");
            }
        }
        // The final line feed alone may be missing.
        if position < file.len() - 1 {
            backend.overwrite_snapshot(&revision, &file[..position]);
            assert!(store.get(&revision).is_err(), "cut to {position} bytes");
        }
    }
}

#[test]
fn version_1_is_not_written_without_a_cipher_for_it() {
    let store = store(&MemoryBackend::new(id())).with_envelope(EnvelopeVersion::V1);
    let error = store.write(&note("x"), "note").unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Unsupported);
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn the_limit_holds_for_writing_and_reading() {
    let backend = MemoryBackend::new(id());
    let (revision, _) = write_secret(&store(&backend));
    let small = store(&backend).with_limit(SECRET.len() as u64 - 1);
    assert_eq!(small.get(&revision).unwrap_err().kind(), &ErrorKind::TooLarge);
    let error = small.write(&note(SECRET), "note").unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::TooLarge);
    let exact = store(&backend).with_limit(SECRET.len() as u64);
    assert_eq!(exact.get(&revision).unwrap(), note(SECRET));
    exact.write(&note(SECRET), "note").unwrap();
    assert_eq!(exact.list().unwrap().len(), 2);
}

/// Version 1 is a third longer than its plaintext. A snapshot within the limit was stored as a file beyond it, and could
/// not be read again.
#[test]
fn a_version_1_file_too_long_to_read_is_not_written() {
    let limit = 7 << 20;
    let backend = MemoryBackend::new(id());
    let ring = Keyring::from(Noop).accept_v1(Noop).unwrap();
    let store = with_ring(&backend, ring)
        .with_limit(limit)
        .with_envelope(EnvelopeVersion::V1);
    let fits = note(&"x".repeat(6 << 20));
    let revision = store.write(&fits, "note").unwrap();
    assert_eq!(store.get(&revision).unwrap(), fits);
    let too_long = note(&"x".repeat(limit as usize));
    let error = store.write(&too_long, "note").unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::TooLarge);
    assert_eq!(store.list().unwrap(), [revision]);
}

#[test]
fn provenance_and_parent_are_recorded_and_read_without_a_key() {
    let backend = MemoryBackend::new(id());
    let provenance = Provenance::new()
        .with_author("alice")
        .with_host("build-7")
        .with_tool("apply 1.0")
        .with_run("42");
    let store = store(&backend).with_provenance(provenance.clone());
    let first = store.write(&note("1"), "first").unwrap();
    store.set_current(&first).unwrap();
    let second = store.write(&note("2"), "note").unwrap();

    let reader = with_ring(&backend, Noop);
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
}

#[test]
fn a_text_of_provenance_has_at_most_4_kib() {
    let store = store(&MemoryBackend::new(id()));
    let longest = "m".repeat(4096);
    store.write(&note("x"), longest).unwrap();
    let longer = "m".repeat(4097);
    assert_eq!(
        store.write(&note("x"), longer).unwrap_err().kind(),
        &ErrorKind::TooLarge
    );
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn sealing_twice_gives_different_bytes() {
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
fn no_store_and_no_error_shows_a_key_or_a_snapshot() {
    let backend = MemoryBackend::new(id());
    let store = store(&backend);
    let (revision, _) = write_secret(&store);
    let shown = format!(
        "{store:?} {backend:?} {:?} {:?}",
        with_ring(&backend, key(2)).get(&revision).unwrap_err(),
        store.header(&revision).unwrap()
    );
    let key = crate::support::base64_of([1; 32]);
    assert!(!shown.contains(SECRET) && !shown.contains(&key), "{shown}");
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// An empty disk image of a gigabyte in the place of a snapshot cost a gigabyte of memory before it was refused.
#[test]
fn a_long_file_that_is_no_snapshot_costs_its_beginning() {
    let watched = Watched::fresh();
    let store = store(&watched);
    let revision = store.write(&note("one"), "note").unwrap();
    let sealed = Backend::read(&watched.backend, &revision, u64::MAX).unwrap();
    for (content, kind) in [
        (vec![0; 1 << 20], ErrorKind::Damaged),
        (vec![b'{'; 1 << 20], ErrorKind::Refused),
    ] {
        watched.backend.overwrite_snapshot(&revision, content);
        assert_eq!(store.get(&revision).unwrap_err().kind(), &kind);
    }
    assert_eq!(watched.count(Method::Read), 0);
    watched.backend.overwrite_snapshot(&revision, sealed);
    // What cannot be compressed is longer than the first look.
    let noise: String = (0..200_000_u64)
        .map(|n| format!("{:x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
        .collect();
    let long = store.write(&note(&noise), "note").unwrap();
    assert_eq!(store.get(&long).unwrap(), note(&noise));
    assert_eq!(watched.count(Method::Read), 1);
}
