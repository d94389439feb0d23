//! For whom a stack is sealed, and how that changes (E6).

use crate::support::{Note, add, id, key, note};
use crate::watched::{Method, Watched};
use sdk_state::encrypt::{Encrypter, EnvKey, Error as KeyError, Keyring, Recipient, Zeroizing};
use sdk_state::{Backend, Depth, Error, ErrorKind, MemoryBackend, Revision, Store, Wait};

fn recipient(seed: u8) -> Recipient {
    key(seed).recipient().clone()
}

fn recipients(seeds: &[u8]) -> Vec<Recipient> {
    seeds.iter().map(|seed| recipient(*seed)).collect()
}

/// A store whose keyring has these keys, the first of which a fresh stack is sealed for.
fn with(backend: &(impl Backend + Clone + 'static), seeds: &[u8]) -> Store<Note> {
    let (first, others) = seeds.split_first().unwrap();
    let ring = others.iter().fold(Keyring::from(key(*first)), |ring, seed| {
        ring.also_open(key(*seed)).unwrap()
    });
    Store::new(backend.clone(), ring).document()
}

fn save(store: &Store<Note>, text: &str) -> Result<Revision, Error> {
    let run = store.begin("save", Wait::none())?;
    let revision = run.save(note(text), None)?;
    run.finish(None)?;
    Ok(revision)
}

/// Sealed for the keys 1 and 2, with one revision.
fn shared(backend: &(impl Backend + Clone + 'static)) -> Revision {
    let ring = Keyring::from(key(1)).also_seal_for(key(2)).unwrap();
    save(&Store::new(backend.clone(), ring).document(), "1").unwrap()
}

/// A colleague who pushed with her own key locked everybody else out, silently (N2).
#[test]
fn every_write_keeps_the_recipients_of_the_stack() {
    let backend = MemoryBackend::new(id());
    let first = shared(&backend);
    let store = with(&backend, &[3, 1, 2]);
    let written = store.write(&note("x"), None).unwrap();
    let saved = save(&store, "2").unwrap();
    let run = store.begin("apply", Wait::none()).unwrap();
    run.apply(add("a")).unwrap();
    drop(run);
    // The journal too: either key reads it.
    for seed in [1, 2] {
        let head = with(&backend, &[seed]).head().unwrap().unwrap();
        assert_eq!(head.document, note("2a"));
    }
    let run = store.begin("apply", Wait::none()).unwrap();
    assert_eq!(run.recovered(), 1);
    let recovered = run.base().unwrap();
    run.set_current(&first).unwrap();
    run.apply(add("b")).unwrap();
    let after_rollback = run.finish(None).unwrap().unwrap();
    for rev in [written, saved, recovered, after_rollback] {
        assert_eq!(store.recipients(&rev).unwrap(), recipients(&[1, 2]), "{rev}");
    }
}

#[test]
fn a_write_that_cannot_keep_a_recipient_is_refused() {
    let backend = MemoryBackend::new(id());
    let first = shared(&backend);
    let store = with(&backend, &[1]);
    let run = store.begin("apply", Wait::none()).unwrap();
    let refusals = [
        store.write(&note("x"), None).unwrap_err(),
        run.apply(add("a")).unwrap_err(),
    ];
    for error in refusals {
        let missing = ErrorKind::MissingKey {
            recipient: recipient(2),
        };
        assert_eq!(error.kind(), &missing, "{error}");
        assert!(
            error.to_string().contains(&key(2).fingerprint().to_string()),
            "{error}"
        );
    }
    drop(run);
    assert_eq!(store.list().unwrap(), [first]);
    assert_eq!(store.unfinished().unwrap(), None);
}

#[test]
fn a_store_that_opens_nothing_writes_nothing() {
    let backend = MemoryBackend::new(id());
    let first = shared(&backend);
    let error = with(&backend, &[3]).write(&note("x"), None).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::WrongKey);
    assert_eq!(with(&backend, &[1]).list().unwrap(), [first]);
}

#[test]
fn a_stack_can_start_anew_for_other_recipients() {
    let backend = MemoryBackend::new(id());
    shared(&backend);
    let anew = with(&backend, &[3]).with_recipients(recipients(&[3]));
    let revision = anew.write(&note("anew"), None).unwrap();
    assert_eq!(anew.recipients(&revision).unwrap(), recipients(&[3]));
}

#[test]
fn a_damaged_current_revision_leaves_the_recipients_known() {
    let backend = MemoryBackend::new(id());
    let first = shared(&backend);
    let store = with(&backend, &[1, 2]);
    let second = save(&store, "2").unwrap();
    backend.overwrite_snapshot(&second, "");
    let written = store.write(&note("x"), None).unwrap();
    assert_eq!(store.recipients(&written).unwrap(), recipients(&[1, 2]));
    assert_ne!(written, first);
}

#[test]
fn a_reader_is_added_and_removed() {
    for depth in [Depth::Header, Depth::Body] {
        let backend = MemoryBackend::new(id());
        let first = shared(&backend);
        let store = with(&backend, &[1, 2, 3]);
        let second = save(&store, "2").unwrap();
        let run = store.begin("key", Wait::none()).unwrap();
        for rev in [&first, &second] {
            run.reseal(rev, &recipients(&[3, 1]), depth).unwrap();
        }
        run.apply(add("a")).unwrap();
        assert_eq!(with(&backend, &[3]).head().unwrap().unwrap().document, note("2a"));
        run.finish(None).unwrap();
        for rev in store.list().unwrap() {
            assert_eq!(store.recipients(&rev).unwrap(), recipients(&[3, 1]));
            assert_eq!(
                with(&backend, &[2]).get(&rev).unwrap_err().kind(),
                &ErrorKind::WrongKey
            );
            with(&backend, &[3]).get(&rev).unwrap();
        }
        assert_eq!(with(&backend, &[1]).get(&first).unwrap(), note("1"));
    }
}

#[test]
fn only_the_deep_way_seals_the_body_anew() {
    let backend = MemoryBackend::new(id());
    let first = shared(&backend);
    let store = with(&backend, &[1, 2]);
    let run = store.begin("key", Wait::none()).unwrap();
    let body = || {
        let sealed = backend.read(&first, u64::MAX).unwrap();
        sealed[sealed.len() - 20..].to_vec()
    };
    let before = body();
    run.reseal(&first, &recipients(&[1]), Depth::Header).unwrap();
    assert_eq!(body(), before);
    run.reseal(&first, &recipients(&[1]), Depth::Body).unwrap();
    assert_ne!(body(), before);
    assert_eq!(store.get(&first).unwrap(), note("1"));
}

#[test]
fn what_cannot_be_sealed_leaves_the_revision_as_it_was() {
    let backend = MemoryBackend::new(id());
    let first = shared(&backend);
    let run = with(&backend, &[1, 2]).begin("key", Wait::none()).unwrap();
    let sealed = || backend.read(&first, u64::MAX).unwrap();
    let before = sealed();
    let sixteen_and_one: Vec<Recipient> = (1..=17).map(recipient).collect();
    for recipients in [
        recipients(&[]),
        recipients(&[1, 1]),
        recipients(&[1, 3]),
        sixteen_and_one,
    ] {
        for depth in [Depth::Header, Depth::Body] {
            let error = run.reseal(&first, &recipients, depth).unwrap_err();
            assert!(
                matches!(
                    error.kind(),
                    ErrorKind::Unsupported | ErrorKind::MissingKey { .. }
                ),
                "{error}"
            );
            assert_eq!(sealed(), before);
        }
    }
    run.apply(add("a")).unwrap();
}

/// The rescue of an evicted run must not lock anybody out, or let anybody in.
#[test]
fn an_orphan_is_sealed_for_the_recipients_of_the_stack() {
    let backend = MemoryBackend::new(id());
    shared(&backend);
    let store = with(&backend, &[3, 1, 2]);
    let run = store.begin("apply", Wait::none()).unwrap();
    run.apply(add("a")).unwrap();
    store.force_unlock(None).unwrap();
    assert!(run.apply(add("b")).unwrap_err().is_lock_lost());
    assert!(run.finish(None).is_err());
    let orphan = run.orphan().unwrap();
    assert_eq!(store.recipients(&orphan).unwrap(), recipients(&[1, 2]));
}

/// A forger who can write to the store, and holds no key, cannot add a reader to what is written next.
#[test]
fn recipients_of_a_forged_header_are_not_followed() {
    let backend = MemoryBackend::new(id());
    let first = shared(&backend);
    let store = with(&backend, &[1, 2, 3]);
    let sealed = backend.read(&first, u64::MAX).unwrap();
    let fingerprint = |seed: u8| key(seed).fingerprint().to_string();
    let position = sealed
        .windows(16)
        .position(|window| window == fingerprint(2).as_bytes())
        .unwrap();
    let mut forged = sealed;
    forged[position..position + 16].copy_from_slice(fingerprint(3).as_bytes());
    backend.overwrite_snapshot(&first, forged);
    assert!(store.recipients(&first).unwrap_err().is_damaged());
    assert!(store.write(&note("x"), None).unwrap_err().is_damaged());
    assert_eq!(store.list().unwrap(), [first]);
}

fn other_stack() -> MemoryBackend {
    MemoryBackend::new("network/copy".parse().unwrap())
}

#[test]
fn a_copy_keeps_name_origin_and_recipients() {
    let (backend, copies) = (MemoryBackend::new(id()), other_stack());
    let first = shared(&backend);
    let (store, copy) = (with(&backend, &[1, 2]), with(&copies, &[3, 1, 2]));
    let run = store.begin("apply", Wait::none()).unwrap();
    let second = run.save(note("2"), "why").unwrap();
    run.finish(None).unwrap();
    for rev in [&first, &second, &second] {
        copy.copy_from(&store, rev, |document| Ok(note(&format!("{} there", document.0))))
            .unwrap();
    }
    assert_eq!(copy.list().unwrap(), [first.clone(), second.clone()]);
    assert_eq!(copy.get(&second).unwrap(), note("2 there"));
    assert_eq!(copy.recipients(&second).unwrap(), recipients(&[1, 2]));
    let (header, original) = (copy.header(&second).unwrap(), store.header(&second).unwrap());
    assert_eq!(header.parent, Some(first));
    assert_eq!(
        (
            header.message,
            header.provenance,
            header.written_at,
            header.run_id
        ),
        (
            original.message,
            original.provenance,
            original.written_at,
            original.run_id
        )
    );
    let lost = ErrorKind::PointerLost { snapshots: 2 };
    assert_eq!(copy.current().unwrap_err().kind(), &lost);
}

#[test]
fn a_copy_replaces_no_other_document() {
    let (backend, copies) = (MemoryBackend::new(id()), other_stack());
    let first = shared(&backend);
    let (store, copy) = (with(&backend, &[1, 2]), with(&copies, &[1, 2]));
    copy.copy_from(&store, &first, Ok).unwrap();
    let error = copy.copy_from(&store, &first, |_| Ok(note("other"))).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Unsupported);
    assert_eq!(copy.get(&first).unwrap(), note("1"));
}

#[test]
fn a_copy_can_be_sealed_for_others() {
    let (backend, copies) = (MemoryBackend::new(id()), other_stack());
    let first = shared(&backend);
    let copy = with(&copies, &[3]).with_recipients(recipients(&[3]));
    copy.copy_from(&with(&backend, &[1]), &first, Ok).unwrap();
    assert_eq!(copy.recipients(&first).unwrap(), recipients(&[3]));
}

/// What begins like a file of version 1 named no recipients, so that anybody who could write to the store could drop them all.
#[test]
fn a_file_that_looks_like_version_1_drops_no_recipient() {
    let backend = MemoryBackend::new(id());
    let first = shared(&backend);
    let store = with(&backend, &[1, 2]);
    backend.overwrite_snapshot(&first, "{");
    let error = store.write(&note("x"), None).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Refused), "{error}");
    assert!(store.recipients(&first).is_err());
    assert_eq!(store.list().unwrap(), [first]);
}

/// A run under a shared lock went on to seal for the key that another one under it had removed.
#[test]
fn a_run_follows_the_recipients_that_its_sibling_has_set() {
    let backend = MemoryBackend::new(id());
    let first = shared(&backend);
    let store = with(&backend, &[1, 2]);
    let lock = store.lock("parent", Wait::none()).unwrap();
    let [run, child] = [(); 2].map(|()| store.join("apply", lock.token().unwrap().clone()).unwrap());
    child.reseal(&first, &recipients(&[1]), Depth::Body).unwrap();
    child.finish(None).unwrap();
    run.apply(add("a")).unwrap();
    let saved = run.finish(None).unwrap().unwrap();
    assert_eq!(store.recipients(&saved).unwrap(), recipients(&[1]));
}

/// The rescue of an evicted run was sealed for a key that had been removed since the eviction.
#[test]
fn an_orphan_is_not_sealed_for_a_removed_recipient() {
    for is_folded in [false, true] {
        let backend = MemoryBackend::new(id());
        shared(&backend);
        let store = with(&backend, &[1, 2]);
        let run = store.begin("apply", Wait::none()).unwrap();
        run.apply(add("a")).unwrap();
        store.force_unlock(None).unwrap();
        let other = store.begin("rekey", Wait::none()).unwrap();
        for rev in store.list().unwrap() {
            other.reseal(&rev, &recipients(&[1]), Depth::Body).unwrap();
        }
        other.finish(None).unwrap();
        let evicted = match is_folded {
            true => run.save(note("1ab"), None).map(drop),
            false => run.apply(add("b")),
        };
        assert!(evicted.is_err());
        assert!(run.finish(None).is_err());
        for rev in store.list().unwrap() {
            assert_eq!(store.recipients(&rev).unwrap(), recipients(&[1]), "{rev}");
        }
        let orphan = store.get(&run.orphan().unwrap()).unwrap();
        assert!(orphan.0.starts_with("1a"), "{orphan:?}");
    }
}

/// A write that had looked for the recipients just before somebody removed one sealed the newest document for it.
#[test]
fn a_write_beside_a_rekeying_is_sealed_for_what_is_left() {
    let backend = MemoryBackend::new(id());
    let first = shared(&backend);
    let watched = Watched::over(backend.clone());
    let rekeying = with(&backend, &[1, 2]);
    watched.hook(move |called, count| {
        if (called, count) == (Method::Create, 1) {
            let run = rekeying.begin("rekey", Wait::none()).unwrap();
            run.reseal(&first, &recipients(&[1]), Depth::Body).unwrap();
            run.finish(None).unwrap();
        }
        None
    });
    let written = with(&watched, &[1, 2]).write(&note("x"), None).unwrap();
    let store = with(&backend, &[1, 2]);
    assert_eq!(store.list().unwrap().len(), 2);
    assert_eq!(store.recipients(&written).unwrap(), recipients(&[1]));
    assert_eq!(store.get(&written).unwrap(), note("x"));
}

/// A key that unwraps nothing, like a program with a mistake in it.
struct Broken(EnvKey);

impl Encrypter for Broken {
    fn describe(&self) -> String {
        "broken".into()
    }

    fn recipient(&self) -> &Recipient {
        self.0.recipient()
    }

    fn wrap(&self, _: &Recipient, _: &[u8], _: &[u8]) -> Result<Option<Vec<u8>>, KeyError> {
        Ok(Some(vec![7]))
    }

    fn unwrap(&self, _: &Recipient, _: &[u8], _: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, KeyError> {
        Ok(None)
    }
}

/// What a key service wrapped wrongly was noticed once the only file that opened had been replaced.
#[test]
fn a_key_that_does_not_unwrap_replaces_no_other() {
    let backend = MemoryBackend::new(id());
    let first = shared(&backend);
    let ring = Keyring::from(key(1)).also_open(Broken(key(3))).unwrap();
    let store = Store::new(backend, ring).document::<Note>();
    let run = store.begin("key", Wait::none()).unwrap();
    for depth in [Depth::Header, Depth::Body] {
        let error = run.reseal(&first, &recipients(&[3]), depth).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Unsupported, "{error}");
        assert_eq!(store.get(&first).unwrap(), note("1"));
    }
}

/// A copy that was interrupted and repeated after a key was removed stayed sealed for that key.
#[test]
fn a_repeated_copy_is_not_sealed_for_others() {
    let (backend, copies) = (MemoryBackend::new(id()), other_stack());
    let first = shared(&backend);
    let (store, copy) = (with(&backend, &[1, 2]), with(&copies, &[1, 2]));
    copy.copy_from(&store, &first, Ok).unwrap();
    let run = store.begin("key", Wait::none()).unwrap();
    run.reseal(&first, &recipients(&[1]), Depth::Body).unwrap();
    run.finish(None).unwrap();
    let error = copy.copy_from(&store, &first, Ok).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Unsupported);
    assert!(error.to_string().contains("other recipients"), "{error}");
}

/// A public key proves no author: `docs/guarantees.md` says what follows. With keys of 32 bytes alone, the file is refused.
#[cfg(feature = "age")]
#[test]
fn a_revision_that_a_stranger_sealed_opens_with_a_key_of_age() {
    use sdk_state::encrypt::{Age, AgeKey};

    let (ada, mallory) = (AgeKey::generate().unwrap(), AgeKey::generate().unwrap());
    let backend = MemoryBackend::new(id());
    let theirs = Keyring::from(ada.public().clone()).also_seal_for(mallory.public().clone());
    save_as(backend.clone(), theirs.unwrap(), "forged");
    let store = Store::new(backend.clone(), Age::new("ada", ada)).document::<Note>();
    let revision = save(&store, "a secret of ada").unwrap();
    let reader = Store::new(backend.clone(), Age::new("mallory", mallory)).document::<Note>();
    assert_eq!(reader.get(&revision).unwrap(), note("a secret of ada"));
    assert!(with(&backend, &[1]).head().is_err());
}

/// Stores a first revision with a keyring that may open nothing.
#[cfg(feature = "age")]
fn save_as(backend: MemoryBackend, ring: Keyring, text: &str) {
    let store = Store::new(backend, ring).document::<Note>();
    let revision = store.write(&note(text), None).unwrap();
    store.set_current(&revision).unwrap();
}
