use sdk_encrypt::{
    Age, AgeKey, AgeRecipient, Encrypter as _, EnvKey, ErrorKind, KeyFile, Keyring, MasterKey,
};
use sdk_encrypt::{Published, Recipient};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use tempfile::TempDir;
use time::OffsetDateTime;

const CREATED: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
const SECRET: [u8; 32] = [7; 32];

fn file(dir: &TempDir, text: &str) -> PathBuf {
    let path = dir.path().join("key.txt");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[test]
fn create_writes_a_private_identity_file_that_opens() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("deep/key");
    let key = AgeKey::generate().unwrap();
    assert_eq!(Age::create(&path, &key, CREATED).unwrap(), Published::Now);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let [created, public, secret] = lines[..] else {
        panic!("{text}")
    };
    assert_eq!(created, "# created: 1970-01-01T00:00:00Z");
    assert_eq!(public, format!("# public key: {}", key.public()));
    assert_eq!(secret, *key.to_text());

    assert_eq!(
        Age::create(&path, &AgeKey::generate().unwrap(), CREATED).unwrap(),
        Published::Before
    );
    let opened = Age::open(&path).unwrap();
    assert_eq!(opened.public_keys().collect::<Vec<_>>(), [key.public()]);
    assert_eq!(
        opened.describe(),
        format!("age {} ({})", key.public(), path.display())
    );
}

#[test]
fn every_key_of_a_file_opens_and_the_first_seals() {
    let dir = TempDir::new().unwrap();
    let (one, other) = (AgeKey::generate().unwrap(), AgeKey::generate().unwrap());
    let text = format!("# mine\r\n\n{}\r\n  {}  ", *one.to_text(), *other.to_text());
    let both = Age::open(file(&dir, &text)).unwrap();
    assert_eq!(both.recipient(), one.public().recipient());
    for key in [&one, &other] {
        let recipient = key.public().recipient();
        let wrapped = key.public().wrap(recipient, &SECRET, b"here").unwrap().unwrap();
        let opened = both.unwrap(recipient, &wrapped, b"here").unwrap();
        assert_eq!(opened.as_deref().map(Vec::as_slice), Some(&SECRET[..]));
        let error = key.public().unwrap(recipient, &wrapped, b"here").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MissingKey);
    }
}

#[test]
fn a_file_of_another_kind_is_refused_with_a_reason() {
    let dir = TempDir::new().unwrap();
    let key = AgeKey::generate().unwrap();
    let secret = key.to_text();
    let cases = [
        (String::new(), "AGE-SECRET-KEY-1… is expected"),
        ("# only a comment\n".into(), "AGE-SECRET-KEY-1… is expected"),
        (format!("# public\n{}\n", key.public()), "line 2"),
        (format!("{}\nrubbish\n", *secret), "line 2"),
        (secret.to_lowercase(), "line 1"),
        ("AGE-PLUGIN-YUBIKEY-1QQQ".into(), "plugins are not supported"),
        (
            "age-encryption.org/v1\n-> scrypt".into(),
            "encrypted with a passphrase",
        ),
        (
            "-----BEGIN AGE ENCRYPTED FILE-----\n".into(),
            "encrypted with a passphrase",
        ),
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\n".into(),
            "SSH are not supported",
        ),
        ("#".repeat(64 * 1024 + 1), "longer than 64 KiB"),
    ];
    for (text, says) in cases {
        let path = file(&dir, &text);
        let error = Age::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidKey, "{says}");
        let message = error.to_string();
        assert!(message.contains(says), "{message}");
        assert!(message.contains(&path.display().to_string()), "{message}");
    }
}

#[test]
fn no_error_repeats_a_secret() {
    let dir = TempDir::new().unwrap();
    let secret = AgeKey::generate().unwrap().to_text();
    let other = if secret.ends_with('Q') { 'P' } else { 'Q' };
    let typing_error = format!("{}{other}", &secret[..73]);
    let errors = [
        Age::open(&*secret).unwrap_err(),
        KeyFile::open(&*secret).unwrap_err(),
        Age::open(secret.to_lowercase()).unwrap_err(),
        Age::open(file(&dir, &typing_error)).unwrap_err(),
        KeyFile::open(file(&dir, &secret)).unwrap_err(),
        AgeKey::from_text(&typing_error).unwrap_err(),
        secret.parse::<AgeRecipient>().unwrap_err(),
        Age::from_env(&secret).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::InvalidKey, "{error}");
        let shown = format!("{error} {error:?}").to_uppercase();
        assert!(!shown.contains(&secret[16..30]), "{shown}");
    }
    let debug = format!("{:?}", Age::new("test", AgeKey::from_text(&secret).unwrap()));
    assert!(!debug.contains("SECRET"), "{debug}");
}

#[test]
fn others_may_not_read_an_identity_file() {
    let dir = TempDir::new().unwrap();
    let path = file(&dir, &AgeKey::generate().unwrap().to_text());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = Age::open(&path).unwrap_err();
    assert!(error.to_string().contains("chmod 600"), "{error}");
    let missing = Age::open(dir.path().join("missing")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::MissingKey);
}

#[test]
fn open_any_takes_both_kinds_of_key_file() {
    let dir = TempDir::new().unwrap();
    let age = AgeKey::generate().unwrap();
    let any = KeyFile::open_any(file(&dir, &age.to_text())).unwrap();
    assert!(any.recipient().is_same_key(age.public().recipient()));
    let master = MasterKey::generate().unwrap();
    let any = KeyFile::open_any(file(&dir, &master.to_base64())).unwrap();
    assert!(any.recipient().is_same_key(EnvKey::new("A", master).recipient()));
    let neither = KeyFile::open_any(file(&dir, "neither")).err().unwrap();
    assert_eq!(neither.kind(), ErrorKind::InvalidKey);
}

/// Whoever may write to a stack keeps the recipients that it has, without their secret keys.
#[test]
fn a_keyring_without_the_key_wraps_for_a_public_one() {
    let ring = Keyring::from(EnvKey::new("A", MasterKey::generate().unwrap()));
    let ada = AgeKey::generate().unwrap();
    let recipient = ada.public().recipient();
    let wrapped = ring.wrap(recipient, &SECRET, b"here").unwrap().unwrap();
    let opened = Age::new("test", AgeKey::from_text(&ada.to_text()).unwrap())
        .unwrap(recipient, &wrapped, b"here")
        .unwrap();
    assert_eq!(opened.as_deref().map(Vec::as_slice), Some(&SECRET[..]));

    let elsewhere = Recipient::new("aws-kms").with("public-key", ada.public().to_string());
    assert_eq!(ring.wrap(&elsewhere, &SECRET, b"here").unwrap(), None);
    for broken in [
        Recipient::new("age"),
        Recipient::new("age").with("public-key", "age1typo"),
    ] {
        let error = ring.wrap(&broken, &SECRET, b"here").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidKey);
    }
}
