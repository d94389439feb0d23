//! The texts of age's keys. An input is one text.
//!
//! Laws: a key is printed as it was read, white space around it apart. What is wrapped for a public key that was read unwraps
//! with nothing but its secret key. An error is short, harmless, and repeats nothing of the text.

#![no_main]

use sdk_state::encrypt::{Age, AgeKey, AgeRecipient, Encrypter as _, Error, ErrorKind};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Ok(text) = str::from_utf8(input) else { return };
    match text.parse::<AgeRecipient>() {
        Ok(public) => {
            assert_eq!(public.to_string(), text.trim_ascii());
            let recipient = public.recipient();
            assert_eq!(
                AgeRecipient::from_recipient(recipient).ok(),
                Some(Some(public.clone()))
            );
            let wrapped = public
                .wrap(recipient, &[7; 32], b"here")
                .expect("a key of its own");
            assert_eq!(wrapped.map(|wrapped| wrapped.len()), Some(80));
            assert!(AgeKey::from_text(text).is_err());
        }
        Err(error) => check(&error, text),
    }
    match AgeKey::from_text(text) {
        Ok(key) => {
            assert_eq!(*key.to_text(), text.trim_ascii());
            let recipient = key.public().recipient().clone();
            let wrapped = key
                .public()
                .wrap(&recipient, &[7; 32], b"here")
                .expect("a key of its own");
            let opened = Age::new("fuzz", key)
                .unwrap(&recipient, &wrapped.unwrap_or_default(), b"here")
                .expect("nothing is asked");
            assert_eq!(opened.as_deref().map(Vec::as_slice), Some(&[7; 32][..]));
        }
        Err(error) => check(&error, text),
    }
});

fn check(error: &Error, text: &str) {
    assert_eq!(error.kind(), ErrorKind::InvalidKey);
    let message = format!("{error} {error:?}");
    assert!(message.len() < 1000 && fuzz::is_harmless(&message), "{message:?}");
    // A part of the message itself has spaces.
    let is_like_a_key = text.len() >= 40 && !text.contains(' ');
    assert!(!is_like_a_key || !message.contains(text), "{message:?}");
}
