//! `EnvKey::from_env`. A process cannot change its own environment safely, so this program runs itself once for every
//! case, and the child reports what it found.

use sdk_encrypt::{EnvKey, ErrorKind};
use std::ffi::{OsStr, OsString};
use std::process::Command;

const VARIABLE: &str = "SDK_ENCRYPT_TEST_KEY";
/// In the child's environment: the name that it is to ask for.
const ASK_FOR: &str = "SDK_ENCRYPT_TEST_NAME";
const KEY: &str = "PjKlDVtvXqEcuDhbSaCZmzSGGEiwv07N656lzJH95/Q=";
const FINGERPRINT: &str = "66457a455273ebc7";

#[test]
#[ignore = "what the other tests run as a child"]
fn child() {
    let Ok(name) = std::env::var(ASK_FOR) else {
        return; // all ignored tests were asked for, and this one by nobody
    };
    match EnvKey::from_env(name) {
        Ok(key) => println!("<<{}>>", key.fingerprint()),
        Err(error) => println!("<<{:?}: {error}>>", error.kind()),
    }
}

/// What the child found: a fingerprint, or the kind and the text of an error.
fn from_env(name: &str, value: Option<&OsStr>) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["env_key::child", "--exact", "--ignored", "--nocapture"])
        .env(ASK_FOR, name)
        .env_remove(VARIABLE);
    if let Some(value) = value {
        command.env(VARIABLE, value);
    }
    let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let (_, found) = output.split_once("<<").unwrap();
    found.split_once(">>").unwrap().0.into()
}

#[test]
fn a_key_is_read_whatever_white_space_stands_around_it() {
    for value in [
        KEY.to_owned(),
        format!("{KEY}\n"),
        format!("{KEY}\r\n"),
        format!("  \t{KEY} \n\n"),
    ] {
        assert_eq!(from_env(VARIABLE, Some(value.as_ref())), FINGERPRINT, "{value:?}");
    }
}

#[test]
fn a_variable_that_is_not_set_or_empty_is_a_missing_key() {
    for value in [None, Some(OsStr::new(""))] {
        let found = from_env(VARIABLE, value);
        assert!(found.starts_with("MissingKey: $SDK_ENCRYPT_TEST_KEY "), "{found}");
    }
}

#[test]
fn a_variable_that_holds_no_key_is_named_and_its_value_is_not() {
    let mut values: Vec<OsString> = [
        " ",
        "no base64!",
        "Zm9vYmFy",
        "PjKlDVtvXqEcuDhbSaCZmzSGGEiwv07N656lzJH95w==", // 31 bytes
        "PjKlDVtvXqEcuDhbSaCZmzSGGEiwv07N656lzJH95/QA", // 33 bytes
        "PjKlDVtvXqEcuDhbSaCZmzSGGEiwv07N656lzJH95/Q",  // no padding
        "3e32a50d5b6f5ea11cb8385b49a0999b34861848b0bf4ecdeb9ea5cc91fde7f4",
    ]
    .map(OsString::from)
    .into();
    values.push("A".repeat(100_000).into());
    #[cfg(unix)]
    values.push(std::os::unix::ffi::OsStringExt::from_vec(vec![0xFF; 44]));
    for value in values {
        let found = from_env(VARIABLE, Some(&value));
        assert!(found.starts_with("InvalidKey: $SDK_ENCRYPT_TEST_KEY "), "{found}");
        let value = value.to_string_lossy();
        assert!(value.trim().is_empty() || !found.contains(&*value), "{found}");
    }
}

#[test]
fn what_is_no_name_is_refused_and_not_repeated() {
    let long = "A".repeat(257);
    for name in [
        "", "A=B", "A\0B", "A B", "A\nB", "1A", "$A", "Ä", "A-B", "../A", &long, KEY,
    ] {
        // In this process: such a name must not even be looked up, where `=` and NUL would panic or find nothing.
        let error = EnvKey::from_env(name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidKey, "{name:?}");
        let shown = format!("{error} {error:?}");
        assert!(name.len() < 3 || !shown.contains(name), "{shown}");
    }
    // The longest name that is one.
    let error = EnvKey::from_env("A".repeat(256)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MissingKey);
}
