//! Keys in environment variables.

use crate::{Error, ErrorKind};
use std::env;
use zeroize::Zeroizing;

/// The text of the variable, which should hold `what`; `None` if it is not UTF-8. The name consists of 1 to 256 ASCII
/// letters, digits and `_` and does not begin with a digit.
pub(crate) fn read(variable: &str, what: &str) -> Result<Option<Zeroizing<String>>, Error> {
    let is_name = !variable.is_empty()
        && variable.len() <= 256
        && !variable.starts_with(|first: char| first.is_ascii_digit())
        && variable
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name {
        // The message does not repeat the text, because somebody may have pasted the key instead of the name.
        return Err(Error::new(
            ErrorKind::InvalidKey,
            "this is not the name of an environment variable (letters, digits and _): give the name, not the key",
        ));
    }
    match env::var_os(variable) {
        Some(value) if !value.is_empty() => {
            let bytes = value.into_encoded_bytes();
            Ok(String::from_utf8(bytes)
                .map(Zeroizing::new)
                .map_err(|error| Zeroizing::new(error.into_bytes()))
                .ok())
        }
        _ => Err(Error::new(
            ErrorKind::MissingKey,
            format!("${variable} is not set: it must hold {what}"),
        )),
    }
}
