use sdk_encrypt::{Encrypter as _, Error, ErrorKind, KeyProgram, Recipient};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SECRET: [u8; 32] = [7; 32];

/// A script that can be run. It is copied by another program: while a thread of this one forks, a file that was written here
/// may still be open for writing there, and cannot be run.
fn executable(dir: &TempDir, text: &str) -> PathBuf {
    let (draft, path) = (dir.path().join("draft"), dir.path().join("program"));
    fs::write(&draft, text).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o700)).unwrap();
    let copied = Command::new("cp")
        .arg("-p")
        .args([&draft, &path])
        .status()
        .unwrap();
    assert!(copied.success());
    path
}

/// A program that names its key `me`, and otherwise runs this script with the question in `$question`.
fn program(dir: &TempDir, script: &str) -> PathBuf {
    let identify = r#"case $question in *identify*) echo '{"version":1,"id":"me"}'; exit;; esac"#;
    executable(
        dir,
        &format!("#!/bin/sh\nquestion=$(cat)\n{identify}\n{script}\n"),
    )
}

fn wrap_by(script: &str, timeout: Duration) -> Error {
    let dir = TempDir::new().unwrap();
    let key = KeyProgram::open_within(program(&dir, script), timeout).unwrap();
    key.wrap(key.recipient(), &SECRET, b"here").unwrap_err()
}

fn unwrap_by(script: &str) -> Result<Option<Vec<u8>>, ErrorKind> {
    let dir = TempDir::new().unwrap();
    let key = KeyProgram::open(program(&dir, script)).unwrap();
    match key.unwrap(key.recipient(), b"wrapped", b"here") {
        Ok(opened) => Ok(opened.map(|opened| opened.to_vec())),
        Err(error) => Err(error.kind()),
    }
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn example_program_wraps_and_unwraps() {
    if let Err(error) = Command::new("python3").arg("--version").output() {
        let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!is_ci, "CI must not skip: python3: {error}");
        return;
    }
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("key");
    fs::write(&file, [9; 32]).unwrap();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/key_program.py");
    let run = format!("KEY_PROGRAM_FILE={} exec python3 {example}", file.display());
    let wrapper = executable(&dir, &format!("#!/bin/sh\n{run}\n"));
    let key = KeyProgram::open(&wrapper).unwrap();
    let recipient = key.recipient();
    let wrapped = key.wrap(recipient, &SECRET, b"here").unwrap().unwrap();
    let opened = key.unwrap(recipient, &wrapped, b"here").unwrap();
    assert_eq!(opened.as_deref().map(Vec::as_slice), Some(&SECRET[..]));
    assert_eq!(key.unwrap(recipient, &wrapped, b"there").unwrap(), None);
    assert_ne!(key.wrap(recipient, &SECRET, b"here").unwrap().unwrap(), wrapped);
    let other = Recipient::new("command").with("id", "another");
    assert_eq!(key.wrap(&other, &SECRET, b"here").unwrap(), None);
    assert_eq!(key.unwrap(&other, &wrapped, b"here").unwrap(), None);
}

#[test]
fn program_gets_the_documented_questions() {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("log");
    let script = format!(
        "printf '%s\\n' \"$question\" >> {}\ncase $question in *unwrap*) echo '{{\"version\":1,\"key\":null}}';; *) echo '{{\"version\":1,\"wrapped\":\"AQID\"}}';; esac",
        log.display()
    );
    let key = KeyProgram::open(program(&dir, &script)).unwrap();
    let wrapped = key.wrap(key.recipient(), b"secret", b"here").unwrap();
    assert_eq!(wrapped, Some(vec![1, 2, 3]));
    assert_eq!(key.unwrap(key.recipient(), &[1, 2, 3], b"here").unwrap(), None);
    assert_eq!(
        fs::read_to_string(&log).unwrap(),
        concat!(
            "{\"version\":1,\"wrap\":{\"id\":\"me\",\"key\":\"c2VjcmV0\",\"context\":\"aGVyZQ==\"}}\n",
            "{\"version\":1,\"unwrap\":{\"id\":\"me\",\"wrapped\":\"AQID\",\"context\":\"aGVyZQ==\"}}\n"
        )
    );
}

#[test]
fn failing_program_is_unavailable_and_its_words_are_shown() {
    let error = wrap_by("echo 'no card\u{1b}[2J in the reader' >&2; exit 3", LONG);
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let message = error.to_string();
    assert!(message.contains("no card [2J in the reader"), "{message}");
    assert!(message.contains("exit status: 3"), "{message}");
    let error = wrap_by("yes 0123456789 | head -c 1000000 >&2; exit 1", LONG);
    assert!(error.to_string().len() < 1500, "{}", error.to_string().len());
}

#[test]
fn hanging_program_is_killed_in_time() {
    let start = Instant::now();
    let error = wrap_by("exec sleep 60", Duration::from_millis(700));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error.to_string().contains("did not answer within 0.7 seconds"),
        "{error}"
    );
    // A process that it left behind keeps the pipe open.
    let error = wrap_by("sleep 60 & exit 0", Duration::from_millis(700));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(start.elapsed() < Duration::from_secs(50));
}

#[test]
fn malformed_answer_is_refused() {
    for answer in [
        "",
        "rubbish",
        "{}",
        r#"{"version":2,"wrapped":"AQID"}"#,
        r#"{"version":1}"#,
        r#"{"version":1,"wrapped":null}"#,
        r#"{"version":1,"wrapped":""}"#,
        r#"{"version":1,"wrapped":"AQI"}"#,
        r#"{"version":1,"wrapped":"AQID","more":1}"#,
        r#"{"version":1,"wrapped":"AQID"} {}"#,
    ] {
        let error = wrap_by(&format!("printf '%s' '{answer}'"), LONG);
        assert_eq!(error.kind(), ErrorKind::Failed, "{answer}");
        assert!(error.to_string().contains("is refused"), "{error}");
    }
    let error = wrap_by("head -c 1000000 /dev/zero", LONG);
    assert!(error.to_string().contains("more than 96 KiB"), "{error}");
    assert_eq!(
        unwrap_by(r#"echo '{"version":1,"key":"AQID"}'"#),
        Ok(Some(vec![1, 2, 3]))
    );
    assert_eq!(unwrap_by(r#"echo '{"version":1,"key":null}'"#), Ok(None));
    assert_eq!(unwrap_by(r#"echo '{"version":1}'"#), Err(ErrorKind::Failed));
}

#[test]
fn program_that_cannot_run_is_told_apart() {
    let dir = TempDir::new().unwrap();
    let missing = KeyProgram::open(dir.path().join("missing")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::MissingKey);
    let path = dir.path().join("no program");
    fs::write(&path, "").unwrap();
    let refused = KeyProgram::open(&path).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
}

/// A script with `set -x`, or one that prints the question, put the data key of a stored file into a log.
#[test]
fn no_key_of_the_question_is_shown() {
    use base64::Engine as _;
    let key = base64::engine::general_purpose::STANDARD.encode(SECRET);
    let hexadecimal = "07".repeat(32);
    for script in [
        r#"echo "no service at /var/run/kms: $question" >&2; exit 1"#,
        r#"set -x; : "no service at /var/run/kms: $question"; exit 1"#,
        r#"head -c 960 /dev/zero | tr '\0' ' ' >&2; echo "no service at /var/run/kms: $question" >&2; exit 1"#,
        r#"echo "no service at /var/run/kms: 0707070707070707070707070707070707070707070707070707070707070707" >&2; exit 1"#,
    ] {
        let error = wrap_by(script, LONG).to_string();
        assert!(!error.contains(&key[..20]), "{error}");
        assert!(!error.contains(&hexadecimal[..20]), "{error}");
        assert!(error.contains("no service at /var/run/kms"), "{error}");
    }
}
