//! The files of unobin, read and written (I1).

use localstate::LocalBackend;
use sdk_state::encrypt::{EnvKey, Keyring, MasterKey, Noop};
use sdk_state::{EnvelopeVersion, ErrorKind, Head, Snapshot as _, State, Store, Wait};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/unobin")
        .join(path)
}

fn key() -> EnvKey {
    let text = fs::read_to_string(fixture("key.base64")).unwrap();
    EnvKey::new("UB_STATE_KEY", MasterKey::from_base64(&text).unwrap())
}

fn ring(encrypter: &str) -> Keyring {
    match encrypter {
        "env-key" => Keyring::from(key()).accept_v1(key().legacy()).unwrap(),
        "noop" => Keyring::from(Noop).accept_v1(Noop).unwrap(),
        other => panic!("{other}"),
    }
}

fn open(root: &Path, stack: &str, ring: Keyring) -> Store {
    Store::new(LocalBackend::new(root, stack.parse().unwrap()), ring)
}

/// Every number as the 64-bit float that it was for unobin.
fn as_floats(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::from(number.as_f64().unwrap()),
        Value::Array(values) => values.into_iter().map(as_floats).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| (name, as_floats(value)))
            .collect(),
        other => other,
    }
}

fn values_of(state: &State) -> Value {
    as_floats(serde_json::from_slice(&state.encode().unwrap()).unwrap())
}

fn expected() -> serde_json::Map<String, Value> {
    serde_json::from_str(&fs::read_to_string(fixture("expected.json")).unwrap()).unwrap()
}

#[test]
fn every_file_of_unobin_opens_to_the_values_it_had_there() {
    let root = copy_of_the_files();
    let mut snapshots = 0;
    for (stack, expected) in expected() {
        let store = open(root.path(), &stack, ring(expected["encrypter"].as_str().unwrap()));
        let listed: Vec<Value> = store
            .list()
            .unwrap()
            .iter()
            .map(|rev| rev.to_string().into())
            .collect();
        assert_eq!(Value::from(listed), expected["list"], "{stack}");
        assert_eq!(
            store.current().unwrap().unwrap().to_string(),
            expected["current"].as_str().unwrap(),
            "{stack}"
        );
        for rev in store.list().unwrap() {
            let Some(snapshot) = expected["snapshots"].get(rev.to_string()) else {
                continue;
            };
            let mut snapshot = as_floats(snapshot.clone());
            if snapshot["entries"].is_null() {
                snapshot["entries"] = Value::Array(Vec::new());
            }
            assert_eq!(values_of(&store.get(&rev).unwrap()), snapshot, "{stack} {rev}");
            snapshots += 1;
        }
        assert!(
            store.list().unwrap().iter().all(|rev| store.get(rev).is_ok()),
            "{stack}"
        );
    }
    assert!(snapshots >= 4, "{snapshots} compared");
}

#[test]
fn the_empty_snapshot_of_unobin_opens_without_entries() {
    let root = copy_of_the_files();
    let state = open(root.path(), "network/empty", ring("env-key"))
        .head()
        .unwrap()
        .unwrap()
        .document;
    assert!(state.is_empty());
}

#[test]
fn unobins_files_are_refused_unless_v1_is_accepted() {
    let root = copy_of_the_files();
    let store = open(root.path(), "network/prod", key().into());
    assert_eq!(store.head().unwrap_err().kind(), &ErrorKind::Refused);
    let store = open(root.path(), "network/dev", Noop.into());
    assert_eq!(store.head().unwrap_err().kind(), &ErrorKind::Refused);
}

#[test]
fn a_file_of_unobin_opens_with_no_other_key_nor_in_clear() {
    let root = copy_of_the_files();
    let other = || EnvKey::new("OTHER", MasterKey::generate().unwrap());
    let ring_of_another = Keyring::from(other()).accept_v1(other().legacy()).unwrap();
    let store = open(root.path(), "network/prod", ring_of_another);
    assert_eq!(store.head().unwrap_err().kind(), &ErrorKind::WrongKey);
    let store = open(root.path(), "network/prod", ring("noop"));
    assert_eq!(store.head().unwrap_err().kind(), &ErrorKind::Refused);
    let store = open(root.path(), "network/dev", ring("env-key"));
    assert_eq!(store.head().unwrap_err().kind(), &ErrorKind::Refused);
}

#[test]
fn a_stack_of_unobin_goes_on_in_v2_and_keeps_its_history() {
    let root = copy_of_the_files();
    let store = open(root.path(), "network/prod", ring("env-key"));
    let Head {
        revision: old,
        document: state,
        ..
    } = store.head().unwrap().unwrap();
    let new = store.write(&state, None).unwrap();
    assert!(new > old);
    store.set_current(&new).unwrap();
    assert!(store.head().unwrap().unwrap().document == state);
    assert!(store.get(&old).unwrap() == state);
    let only_version_2 = open(root.path(), "network/prod", key().into());
    assert!(only_version_2.head().unwrap().unwrap().document == state);
}

#[test]
fn what_is_written_as_v1_has_the_shape_that_unobin_reads() {
    let root = copy_of_the_files();
    for (stack, encrypter) in [("network/prod", "env-key"), ("network/dev", "noop")] {
        let store = open(root.path(), stack, ring(encrypter)).with_envelope(EnvelopeVersion::V1);
        let Head {
            revision: old,
            document: state,
            ..
        } = store.head().unwrap().unwrap();
        let new = store.write(&state, None).unwrap();
        store.set_current(&new).unwrap();

        let directory = root.path().join(stack);
        assert_eq!(
            fs::read_to_string(directory.join("current")).unwrap(),
            format!("{new}\n")
        );
        let read = |rev| fs::read_to_string(directory.join(format!("snapshots/{rev}.json.enc"))).unwrap();
        let (old, new) = (read(&old), read(&new));
        // Alike but for the ciphertext: members, their order, the indentation and the final line feed.
        let frame = |file: &str| file.split("\"ciphertext\": \"").next().unwrap().to_owned();
        assert_eq!(frame(&new), frame(&old), "{stack}");
        assert!(new.ends_with("\"\n}\n"), "{stack}");
        assert!(store.head().unwrap().unwrap().document == state);
    }
}

#[test]
fn the_lock_marker_begins_like_unobins() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path(), "network/prod", key().into());
    let lock = store.lock("apply", Wait::none()).unwrap();
    let marker = fs::read(root.path().join("network/prod/lock")).unwrap();
    assert!(marker.starts_with(format!("{}\n", std::process::id()).as_bytes()));
    lock.unlock().unwrap();
    assert!(!root.path().join("network/prod/lock").exists());
}

/// The files of unobin under the names that they had there: no package of cargo's can hold a colon in a name.
fn copy_of_the_files() -> TempDir {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let target = to.join(name.replace("%3A", ":"));
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &target);
            } else {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let root = tempfile::tempdir().unwrap();
    copy(&fixture("state"), root.path());
    root
}
