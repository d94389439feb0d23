//! `KeyFile::open`: which files are believed to be a key.

use rustix::fs::{CWD, Mode, mkfifoat};
use sdk_encrypt::{ErrorKind, KeyFile, MasterKey, Published};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

const KEY: &str = "PjKlDVtvXqEcuDhbSaCZmzSGGEiwv07N656lzJH95/Q=";
const FINGERPRINT: &str = "66457a455273ebc7";

fn write(path: &Path, content: impl AsRef<[u8]>, mode: u32) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn refusal(path: &Path) -> (ErrorKind, String) {
    let error = KeyFile::open(path).unwrap_err();
    (error.kind(), error.to_string())
}

#[test]
fn a_key_file_that_others_may_read_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("key");
    for mode in [0o600, 0o400, 0o700] {
        write(&path, KEY, mode);
        let key = KeyFile::open(&path).unwrap();
        assert_eq!(key.fingerprint().to_string(), FINGERPRINT, "{mode:o}");
        fs::remove_file(&path).unwrap();
    }
    for mode in [0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o440, 0o777] {
        write(&path, KEY, mode);
        let (kind, message) = refusal(&path);
        assert_eq!(kind, ErrorKind::InvalidKey, "{mode:o}");
        assert!(message.contains(&format!("(mode {mode:04o})")), "{message}");
        assert!(message.contains("chmod 600"), "it says what to do: {message}");
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn white_space_around_a_key_is_ignored() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("key");
    for content in [
        format!("{KEY}\n"),
        format!("\r\n {KEY}\t\r\n"),
        format!("{KEY}{}", " ".repeat(212)),
    ] {
        write(&path, &content, 0o600);
        let key = KeyFile::open(&path).unwrap();
        assert_eq!(key.fingerprint().to_string(), FINGERPRINT, "{content:?}");
    }
}

#[test]
fn a_file_without_a_key_is_named_and_not_quoted() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("key");
    let cases: [(&str, Vec<u8>); 8] = [
        ("empty", b"".into()),
        ("blank", b" \n".into()),
        ("text", b"correct horse battery staple".into()),
        ("not UTF-8", vec![0xFF; 44]),
        ("raw bytes", vec![7; 32]),
        ("two keys", format!("{KEY}\n{KEY}\n").into()),
        ("too long", format!("{KEY}{}", " ".repeat(213)).into()),
        ("far too long", vec![b'A'; 1 << 20]),
    ];
    for (name, content) in cases {
        write(&path, &content, 0o600);
        let (kind, message) = refusal(&path);
        assert_eq!(kind, ErrorKind::InvalidKey, "{name}");
        assert!(message.contains(path.to_str().unwrap()), "{message}");
        assert!(
            !message.contains(KEY) && !message.contains("battery"),
            "{message}"
        );
    }
}

#[test]
fn a_long_file_is_not_read_to_its_end() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("key");
    write(&path, KEY, 0o600);
    // 64 GiB of nothing, which take no room on the disk and would not fit into memory.
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(1 << 36).unwrap();
    assert_eq!(refusal(&path).0, ErrorKind::InvalidKey);
}

#[test]
fn a_file_that_is_not_there_is_a_missing_key() {
    let dir = TempDir::new().unwrap();
    for path in ["key", "no/such/key"] {
        let path = dir.path().join(path);
        let (kind, message) = refusal(&path);
        assert_eq!(kind, ErrorKind::MissingKey);
        assert!(message.contains(path.to_str().unwrap()), "{message}");
    }
}

#[test]
fn a_link_is_refused_wherever_it_leads() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("key");
    write(&file, KEY, 0o600);
    for target in [
        &file,
        &dir.path().join("nothing"),
        &dir.path().join("link"),
        dir.path(),
    ] {
        let link = dir.path().join("link");
        symlink(target, &link).unwrap();
        let (kind, message) = refusal(&link);
        assert_eq!(kind, ErrorKind::InvalidKey, "{}", target.display());
        assert!(message.contains("symbolic link"), "{message}");
        fs::remove_file(&link).unwrap();
    }
}

#[test]
fn only_a_regular_file_is_a_key_file() {
    let dir = TempDir::new().unwrap();
    let pipe = dir.path().join("pipe");
    mkfifoat(CWD, &pipe, Mode::from_raw_mode(0o600)).unwrap();
    for path in [pipe, dir.path().into(), "/dev/null".into(), "/dev/zero".into()] {
        let (send, receive) = mpsc::channel();
        let asked = path.clone();
        thread::spawn(move || send.send(refusal(&asked)));
        // Opening a pipe without a writer would wait for one for ever.
        let (kind, message) = receive.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!(kind, ErrorKind::InvalidKey, "{}", path.display());
        assert!(message.contains("not a regular file"), "{message}");
    }
}

#[test]
fn a_key_in_the_place_of_its_path_is_not_repeated() {
    let error = KeyFile::open(KEY).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidKey);
    assert!(!format!("{error} {error:?}").contains(KEY));
}

#[test]
fn a_new_key_file_is_private_and_opens() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("new/config/key");
    let key = MasterKey::generate().unwrap();
    assert_eq!(KeyFile::create(&path, &key).unwrap(), Published::Now);
    assert_eq!(KeyFile::open(&path).unwrap().fingerprint(), key.fingerprint());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&dir.path().join("new")), 0o700);
    assert_eq!(
        fs::read_dir(path.parent().unwrap()).unwrap().count(),
        1,
        "no leftover file"
    );
}

#[test]
fn a_key_file_is_never_replaced() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("key");
    let keys: Vec<_> = (0..8).map(|_| MasterKey::generate().unwrap()).collect();
    let answers: Vec<_> = thread::scope(|scope| {
        let creators: Vec<_> = keys
            .iter()
            .map(|key| scope.spawn(|| KeyFile::create(&path, key).unwrap()))
            .collect();
        creators
            .into_iter()
            .map(|creator| creator.join().unwrap())
            .collect()
    });
    let winners: Vec<_> = (0..8).filter(|&at| answers[at] == Published::Now).collect();
    assert_eq!(winners.len(), 1);
    let opened = KeyFile::open(&path).unwrap();
    assert_eq!(opened.fingerprint(), keys[winners[0]].fingerprint());
}
