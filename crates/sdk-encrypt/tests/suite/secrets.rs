//! No byte of a key in anything that is printed: a marker key goes through every type and every error.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sdk_encrypt::{Encrypter as _, EnvKey, Keyring, MasterKey};

/// Bytes that look like nothing else, as text as well: `MARKER-` in ASCII, then a row of high bytes.
const MARKER: [u8; 32] = *b"MARKER-\xCA\xFE\xBA\xBE\xF0\x9F\x94\x91 secret \xDE\xAD\xBE\xEFsauce";
/// The secret that is wrapped with it.
const SECRET: [u8; 32] = *b"DATA-KEY\xD0\x0D\xFE\xED\xC0\xDE\xC0\xDE of a test only.";

fn key() -> MasterKey {
    MasterKey::from_base64(&STANDARD.encode(MARKER)).unwrap()
}

/// Every way in which eight bytes or more of `secret` may have been printed.
fn traces(secret: &[u8]) -> Vec<String> {
    let join =
        |with: &str, how: fn(&u8) -> String| secret[..8].iter().map(how).collect::<Vec<_>>().join(with);
    vec![
        STANDARD_NO_PAD.encode(&secret[..9]),
        join("", |byte| format!("{byte:02x}")),
        join("", |byte| format!("{byte:02X}")),
        join(", ", |byte| format!("{byte}")),
        join(" ", |byte| format!("{byte:02x}")),
        String::from_utf8_lossy(&secret[..7]).into_owned(),
        secret[..8].escape_ascii().to_string(),
    ]
}

fn assert_clean(shown: &str) {
    for trace in traces(&MARKER).into_iter().chain(traces(&SECRET)) {
        assert!(!shown.contains(&trace), "{trace:?} in {shown}");
    }
}

#[test]
fn the_search_finds_a_secret_that_is_printed() {
    for shown in [
        format!("{MARKER:?}"),
        STANDARD.encode(MARKER),
        MARKER.escape_ascii().to_string(),
        String::from_utf8_lossy(&MARKER).into_owned(),
        MARKER.iter().map(|byte| format!("{byte:02x}")).collect(),
    ] {
        assert!(
            traces(&MARKER).iter().any(|trace| shown.contains(trace)),
            "{shown}"
        );
    }
}

#[test]
fn debug_and_describe_show_a_fingerprint_and_no_key() {
    let fingerprint = key().fingerprint().to_string();
    let env_key = EnvKey::new("STATE_KEY", key());
    let wrapped = env_key.wrap(env_key.recipient(), &SECRET, b"").unwrap().unwrap();
    assert_eq!(
        env_key
            .unwrap(env_key.recipient(), &wrapped, b"")
            .unwrap()
            .unwrap()[..],
        SECRET
    );
    let mut shown = vec![
        format!("{:?} {:#?}", key(), key()),
        format!("{env_key:?} {env_key:#?}"),
        env_key.describe(),
        env_key.recipient().describe(),
        format!("{:?}", env_key.recipient()),
    ];
    #[cfg(feature = "legacy-aes-gcm")]
    {
        shown.push(env_key.legacy().describe());
        shown.push(format!("{:?}", env_key.legacy()));
    }
    let ring = Keyring::from(env_key);
    shown.extend([format!("{ring:?} {ring:#?}"), ring.describe()]);
    for shown in shown {
        assert!(shown.contains(&fingerprint), "{shown}");
        assert_clean(&shown);
    }
}

#[test]
fn no_error_repeats_the_key_that_it_is_about() {
    let whole = STANDARD.encode(MARKER);
    let key = EnvKey::new("STATE_KEY", key());
    let mut errors = vec![
        EnvKey::from_env(whole.as_str()).unwrap_err(),
        EnvKey::from_env(format!("{whole}\n")).unwrap_err(),
        key.wrap(key.recipient(), &SECRET[..31], b"").unwrap_err(),
        key.wrap(key.recipient(), &[&SECRET[..], b"x"].concat(), b"")
            .unwrap_err(),
    ];
    for text in [
        whole.trim_end_matches('=').to_owned(),
        format!("{whole}="),
        format!("\"{whole}\""),
        format!("{whole}{whole}"),
        STANDARD.encode(&MARKER[..31]),
        MARKER.iter().map(|byte| format!("{byte:02x}")).collect(),
    ] {
        errors.push(MasterKey::from_base64(&text).unwrap_err());
    }
    #[cfg(all(unix, feature = "key-file"))]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        for (content, mode) in [
            (&MARKER[..], 0o600),
            (whole.as_bytes(), 0o644),
            (&whole.as_bytes()[..43], 0o600),
        ] {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            errors.push(sdk_encrypt::KeyFile::open(&path).unwrap_err());
        }
        std::fs::write(&path, &whole).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_clean(&format!("{:?}", sdk_encrypt::KeyFile::open(&path).unwrap()));
        errors.push(sdk_encrypt::KeyFile::open(&whole).unwrap_err());
    }
    for error in errors {
        assert_clean(&format!("{error} {error:?} {error:#?}"));
    }
}
