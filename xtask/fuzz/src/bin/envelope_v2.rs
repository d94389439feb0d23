//! Envelope version 2. An input whose first byte has its high bit set, as the magic has, is a file as it is. Any other
//! one is `options header LF body`, from which a file is made that is sealed and tagged as it should be.
//!
//! Laws: what opens has the length that its header says, belongs where it is opened, and expands as zstd itself does. One
//! ring opens it at most. With a bit changed or a byte missing it does not open (E1), nor anywhere else (E2). Every error
//! is of a kind that is about files, and tells nothing of the plaintext (E4).

#![no_main]

use fuzz::{LIMIT, REVISION, check_error, rings, sealing, subject};
use sdk_state::encrypt::Keyring;
use sdk_state::envelope::{self, Subject};
use sdk_state::{Error, ErrorKind};
use std::io::Read as _;

/// The file is not encrypted.
const PLAIN: u8 = 1;
/// The body is stored as it is, even where the header calls it compressed.
const AS_IT_IS: u8 = 2;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    match input.split_first() {
        Some((&options, rest)) if options < 0x80 => made(options, rest),
        _ => {
            let opened = [&rings().real, &rings().plain, &rings().other].map(|ring| {
                open(ring, subject(), input).is_ok_and(|plaintext| obeys(ring, input, &plaintext))
            });
            assert!(opened.into_iter().filter(|opened| *opened).count() <= 1);
        }
    }
});

fn made(options: u8, input: &[u8]) {
    let end = input
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(input.len());
    let (header, body) = input.split_at(end);
    let Ok(header) = str::from_utf8(header) else {
        return;
    };
    let content = body.get(1..).unwrap_or_default();
    let body = match options & AS_IT_IS {
        0 => zstd::bulk::compress(content, 1).expect("a short body"),
        _ => content.to_vec(),
    };
    let (ring, unfit) = match options & PLAIN {
        0 => (&rings().real, &rings().plain),
        _ => (&rings().plain, &rings().real),
    };
    let file = sealing::seal(ring, subject(), header, &body, content.len());
    for ring in [unfit, &rings().other] {
        let error = open(ring, subject(), &file).expect_err("another ring");
        check_error(&error, content, header.as_bytes());
    }
    match open(ring, subject(), &file) {
        Ok(plaintext) => {
            let expected = match envelope::header(&file).expect("a header").length {
                Some(length) if plaintext == content => length as usize == content.len(),
                _ => expand(&body) == plaintext,
            };
            assert!(expected, "not what was sealed");
            obeys(ring, &file, &plaintext);
        }
        Err(error) => check_error(&error, content, header.as_bytes()),
    }
}

/// Always true: a law that does not hold is a panic.
fn obeys(ring: &Keyring, file: &[u8], plaintext: &[u8]) -> bool {
    let header = envelope::header(file).expect("what opens has a header");
    assert_eq!(header.length, Some(plaintext.len() as u64));
    assert_eq!(header.stack.as_deref(), Some("net/prod"));
    assert_eq!(header.revision, Some(REVISION.to_string()));
    assert!(plaintext.len() as u64 <= LIMIT);
    assert_eq!(header.recipients.is_empty(), ring.is_plain());

    // A place that depends on the whole file, so that in time every bit has its turn.
    let place = file.iter().fold(7_usize, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(*byte))
    });
    let mut changed = file.to_vec();
    changed[place % file.len()] ^= 1 << (place % 8);
    assert!(open(ring, subject(), &changed).is_err(), "a bit was changed");
    assert!(open(ring, subject(), &file[..place % file.len()]).is_err(), "cut");

    let later = "2026-07-10T12:00:00Z_1".parse().expect("a revision");
    let elsewhere = Subject {
        revision: &later,
        ..subject()
    };
    let error = open(ring, elsewhere, file).expect_err("another revision");
    assert_eq!(error.kind(), &ErrorKind::Misplaced);
    true
}

fn open(ring: &Keyring, subject: Subject<'_>, file: &[u8]) -> Result<Vec<u8>, Error> {
    fuzz::open(ring, subject, file, &[]).inspect_err(|error| check_error(error, &[], &[]))
}

/// By the decoder that works in pieces and keeps a window, where the library decodes at one go.
fn expand(body: &[u8]) -> Vec<u8> {
    let mut plaintext = Vec::new();
    let decoder = zstd::stream::read::Decoder::new(body).expect("a decoder");
    let outcome = decoder.take(LIMIT + 1).read_to_end(&mut plaintext);
    outcome.expect("what opens is a frame");
    plaintext
}
