//! The variables that `statectl` reads beside those of its options, and where it is started.

use std::env;
use std::ffi::OsString;

/// What an environment variable holds. An empty one counts as unset: many CI systems have no other way to unset it.
pub(crate) fn raw(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// The same as text. A value that is not UTF-8 keeps a replacement character, and is refused where it is used: no path comes
/// from here.
pub(crate) fn text(name: &str) -> Option<String> {
    Some(raw(name)?.to_string_lossy().into_owned())
}
