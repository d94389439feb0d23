//! What of a snapshot and of its key can be seen from outside (E4).

use localstate::LocalBackend;
use sdk_encrypt::{EnvKey, Keyring, MasterKey};
use sdk_state::{Expect, Snapshot as _, State, Store, Wait};
use std::fs;
use std::path::Path;

/// In every member of the document that can hold a text.
const DOCUMENT: &str = r#"{"format-version":1,
    "factory":{"name":"network","version":"MARKER","content-revision":"MARKER","x-factory":"MARKER"},
    "stack":"prod","generated-at":"2026-07-10T12:00:00Z","entries":[
        {"address":"MARKER","entry-kind":"leaf","category":"resource",
         "binding":{"alias":"MARKER","library-path":"MARKER","kind":"MARKER","x-binding":"MARKER"},
         "sensitive-inputs":["MARKER"],"sensitive-outputs":["MARKER"],"trigger-hash":"MARKER",
         "inputs":{"MARKER":"MARKER"},"outputs":{"MARKER":"MARKER"},"depends-on":["MARKER"],"x-entry":"MARKER"}],
    "outputs":{"MARKER":"MARKER"},"x-document":"MARKER"}"#;
const MARKER: &str = "Zq3kV9xTnB7mLw2Rj8Ys";

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];

fn key(byte: u8) -> (EnvKey, [u8; 32], String) {
    use std::fmt::Write as _;
    let bytes: [u8; 32] = std::array::from_fn(|at| byte.wrapping_mul(31).wrapping_add(at as u8 * 7));
    let base64 = base64_of(&bytes);
    let mut hex = String::new();
    bytes.iter().for_each(|byte| write!(hex, "{byte:02x}").unwrap());
    (
        EnvKey::new("STATE_KEY", MasterKey::from_base64(&base64).unwrap()),
        bytes,
        hex,
    )
}

/// Three bytes, four digits; 32 bytes end in one `=`.
fn base64_of(bytes: &[u8; 32]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let number = (0..3).fold(0_u32, |number, at| {
            number << 8 | u32::from(*group.get(at).unwrap_or(&0))
        });
        for digit in 0..=group.len() {
            text.push(char::from(DIGITS[(number >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    text + "="
}

fn open(root: &Path, keys: impl Into<Keyring>) -> Store {
    Store::new(LocalBackend::new(root, "network/prod".parse().unwrap()), keys)
}

#[test]
fn no_secret_is_in_any_file_or_message() {
    let root = tempfile::tempdir().unwrap();
    let (ours, bytes, hex) = key(1);
    let base64 = base64_of(&bytes);
    let secrets: Vec<Vec<u8>> = vec![MARKER.into(), bytes.to_vec(), hex.into(), base64.into()];
    let mut said = String::new();
    let mut say = |what: &dyn std::fmt::Debug| said.push_str(&format!("{what:?} {what:#?}\n"));

    let store = open(root.path(), ours);
    let state = State::decode(DOCUMENT.replace("MARKER", MARKER).as_bytes()).unwrap();
    let lock = store.lock("apply", Wait::none()).unwrap();
    for turn in 0..3 {
        let message = format!("turn {turn}");
        let rev =
            crate::support::save(&store, &state, message, Expect::Anything, lock.token().unwrap()).unwrap();
        say(&store.header(&rev).unwrap());
    }
    // While the lock is held, so that the marker is among the files.
    let seen = read_all(root.path());
    assert!(
        seen.windows(4).any(|window| window == b"turn"),
        "the search sees what is written in clear"
    );
    for secret in &secrets {
        assert!(
            !seen.windows(secret.len()).any(|window| window == secret),
            "{secret:?} is on disk"
        );
    }

    // A compressed text would not be found as it is.
    assert!(
        !seen.windows(4).any(|window| window == ZSTD_MAGIC),
        "a zstd frame lies there in clear"
    );

    // Everything that can be printed, and the errors of everything that can go wrong with the file.
    say(&store);
    say(&LocalBackend::new(root.path(), store.id().clone()));
    say(&state);
    say(&state.entries().collect::<Vec<_>>());
    say(&lock);
    let rev = store.current().unwrap().unwrap();
    let file = root.path().join(format!("network/prod/snapshots/{rev}.json.enc"));
    let sealed = fs::read(&file).unwrap();
    let errors = [
        store.lock("second", Wait::none()).map(|_| ()).unwrap_err(),
        open(root.path(), key(2).0).get(&rev).map(|_| ()).unwrap_err(),
        open(root.path(), sdk_encrypt::Noop)
            .get(&rev)
            .map(|_| ())
            .unwrap_err(),
        store
            .backend()
            .set_current(Expect::Nothing, &rev, lock.token().unwrap())
            .map(drop)
            .unwrap_err(),
    ];
    errors.iter().for_each(|error| {
        say(error);
        say(&error.to_string());
    });
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 0x40;
        fs::write(&file, &changed).unwrap();
        let error = store.get(&rev).map(|_| ()).unwrap_err();
        say(&error);
        say(&error.to_string());
    }
    for secret in &secrets {
        assert!(
            !said
                .as_bytes()
                .windows(secret.len())
                .any(|window| window == secret),
            "{secret:?} is said"
        );
    }
}

/// Names and contents of everything below.
fn read_all(directory: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        all.extend_from_slice(entry.file_name().as_encoded_bytes());
        if entry.file_type().unwrap().is_dir() {
            all.extend(read_all(&entry.path()));
        } else {
            all.extend(fs::read(entry.path()).unwrap());
        }
    }
    all
}
