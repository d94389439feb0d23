use sdk_state::{Error, ErrorKind};
use std::error::Error as StdError;

/// The text that stands for a secret: where an input has it in a snapshot, no error may repeat it.
pub const SECRET: &[u8] = b"hunter2";

/// Checks that an error can be shown to anybody: it and each of its causes is short and safe for a terminal, and none
/// tells the secret of `hidden`. What is in `public` may be told.
///
/// # Panics
///
/// If it cannot.
pub fn check_error(error: &Error, hidden: &[u8], public: &[u8]) {
    let mut told = format!("{error:?}");
    let mut cause: Option<&dyn StdError> = Some(error);
    while let Some(error) = cause {
        let message = error.to_string();
        assert!(message.len() < 4 << 10, "a message of {} bytes", message.len());
        assert!(is_harmless(&message), "{message:?}");
        told.push_str(&message);
        cause = error.source();
    }
    if contains(hidden, SECRET) && !contains(public, SECRET) {
        assert!(!contains(told.as_bytes(), SECRET), "{told}");
    }
}

/// Whether a text neither steers a terminal nor turns the direction of writing.
pub fn is_harmless(text: &str) -> bool {
    let steers =
        |sign: char| matches!(sign, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') || sign.is_control();
    !text.chars().any(steers)
}

/// The kind of a failure, `None` for success.
pub fn in_kind<T>(outcome: &Result<T, Error>) -> Option<&ErrorKind> {
    outcome.as_ref().err().map(Error::kind)
}

/// Whether `part` is somewhere in `whole`.
pub fn contains(whole: &[u8], part: &[u8]) -> bool {
    part.is_empty() || whole.windows(part.len()).any(|window| window == part)
}
