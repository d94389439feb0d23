use sdk_state::{Error, ErrorKind};
use std::error::Error as _;

/// The text that stands for a secret: where an input has it in a snapshot, no error may repeat it.
pub const SECRET: &[u8] = b"hunter2";

/// Checks that an error can be shown to anybody: it is short, safe for a terminal, and none of its causes tells the
/// secret of `hidden`. What is in `public` may be told.
///
/// # Panics
///
/// If it cannot.
pub fn check_error(error: &Error, hidden: &[u8], public: &[u8]) {
    let message = error.to_string();
    assert!(message.len() < 8 << 10, "a message of {} bytes", message.len());
    assert!(!message.chars().any(char::is_control), "{message:?}");

    let mut told = format!("{message} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        told.push_str(&format!(" {error} {error:?}"));
        source = error.source();
    }
    if contains(hidden, SECRET) && !contains(public, SECRET) {
        assert!(!contains(told.as_bytes(), SECRET), "{told}");
    }
}

/// The kind of a failure, `None` for success.
pub fn in_kind<T>(outcome: &Result<T, Error>) -> Option<&ErrorKind> {
    outcome.as_ref().err().map(Error::kind)
}

/// Whether `part` is somewhere in `whole`.
pub fn contains(whole: &[u8], part: &[u8]) -> bool {
    part.is_empty() || whole.windows(part.len()).any(|window| window == part)
}
