//! Envelope version 1. An input that begins with `{` is a file as it is. Any other one is `options document LF body`,
//! where `@sealed@` in the document stands for the encrypted body.
//!
//! Laws: a ring that was not told to accept version 1 opens none (E5). One ring opens a file at most, and a real one
//! nothing but what was encrypted. Every error is of a kind that is about files, and tells nothing of the plaintext (E4).

#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fuzz::{LIMIT, Rings, check_error, rings, subject};
use sdk_state::encrypt::Keyring;
use sdk_state::{Error, ErrorKind, envelope};

/// The file is not encrypted.
const PLAIN: u8 = 1;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    match input.split_first() {
        Some((&options, rest)) if options != b'{' => made(options, rest),
        _ => {
            check_file(input, &[], input);
        }
    }
});

fn made(options: u8, input: &[u8]) {
    let end = input
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(input.len());
    let (document, body) = input.split_at(end);
    let Ok(document) = str::from_utf8(document) else {
        return;
    };
    let body = body.get(1..).unwrap_or_default();
    let Rings { real, plain, .. } = rings();
    let ring = if options & PLAIN == 0 { real } else { plain };
    let cipher = ring.legacy().expect("version 1 is accepted");
    let sealed = cipher.encrypt(body.to_vec()).expect("random bytes");
    let file = document.replace("@sealed@", &STANDARD.encode(sealed));
    let opened = check_file(file.as_bytes(), body, document.as_bytes());
    if let (Some(plaintext), false) = (opened, ring.is_plain()) {
        // Without the key an input can only put in the right ciphertext, or its own plaintext.
        let is_authentic = plaintext == body;
        assert!(
            is_authentic || plain_opens(file.as_bytes()),
            "not what was encrypted"
        );
    }
}

fn plain_opens(file: &[u8]) -> bool {
    open(&rings().plain, file).is_ok()
}

fn check_file(file: &[u8], hidden: &[u8], public: &[u8]) -> Option<Vec<u8>> {
    let rings = rings();
    let error = open(&rings.without_v1, file).expect_err("version 1 is off");
    let is_version_1 = file.starts_with(b"{");
    assert!(!is_version_1 || error.kind() == &ErrorKind::Refused);

    let mut plaintexts = Vec::new();
    for ring in [&rings.real, &rings.plain, &rings.other] {
        match open(ring, file) {
            Ok(plaintext) => {
                assert!(plaintext.len() as u64 <= LIMIT);
                let header = envelope::header(file).expect("what opens has a header");
                assert_eq!(header.version, 1);
                assert!(header.payload.is_none_or(|payload| payload == "state"));
                plaintexts.push((ring.is_plain(), plaintext));
            }
            Err(error) => check_error(&error, hidden, public),
        }
    }
    let real = plaintexts.iter().filter(|(is_plain, _)| !is_plain).count();
    assert!(real <= 1, "two keys open one file");
    plaintexts.into_iter().next().map(|(_, plaintext)| plaintext)
}

fn open(ring: &Keyring, file: &[u8]) -> Result<Vec<u8>, Error> {
    fuzz::open(ring, subject(), file, file)
}
