//! Comparing what a storage answers with what it should.

use crate::violation::{Check, Flaw};
use sdk_state::{Error, ErrorKind};
use std::fmt::Debug;

/// The value of a call that must not fail.
pub(crate) fn done<T>(what: &str, result: Result<T, Error>) -> Check<T> {
    result.map_err(|error| Flaw::new(format!("{what} to succeed"), format!("{error:?}")))
}

/// That a call fails, and for this reason.
pub(crate) fn refused<T>(what: &str, result: Result<T, Error>, kind: &ErrorKind) -> Check {
    refused_where(what, result, &format!("{kind:?}"), |found| found == kind)
}

/// That a call fails, for a reason that `is_right`.
pub(crate) fn refused_where<T>(
    what: &str,
    result: Result<T, Error>,
    kind: &str,
    is_right: impl FnOnce(&ErrorKind) -> bool,
) -> Check {
    let expected = || format!("{what} to be refused as {kind}");
    match result {
        Err(error) if is_right(error.kind()) => Ok(()),
        Err(error) => Err(Flaw::new(expected(), format!("{error:?}"))),
        Ok(_) => Err(Flaw::new(expected(), "that it succeeded")),
    }
}

/// That `what` is as expected.
pub(crate) fn equal<T: PartialEq + Debug>(what: &str, found: &T, expected: &T) -> Check {
    demand(what, found == expected, || {
        (format!("{expected:?}"), format!("{found:?}"))
    })
}

/// The same for bytes, of which only the difference is told: there may be millions of them.
pub(crate) fn same_bytes(what: &str, found: &[u8], expected: &[u8]) -> Check {
    demand(what, found == expected, || {
        let same = found.iter().zip(expected).take_while(|(a, b)| a == b).count();
        (
            format!("{} bytes", expected.len()),
            format!("{} bytes that differ from position {same}", found.len()),
        )
    })
}

/// That `what` is true.
pub(crate) fn holds(what: &str, is_true: bool) -> Check {
    if is_true {
        Ok(())
    } else {
        Err(Flaw::new(format!("that {what}"), "that it is not so"))
    }
}

/// The value of a hook, if the medium has it.
pub(crate) fn hook<T>(name: &'static str, value: Option<T>) -> Check<T> {
    value.ok_or(Flaw::NoHook(name))
}

fn demand(what: &str, is_so: bool, texts: impl FnOnce() -> (String, String)) -> Check {
    if is_so {
        return Ok(());
    }
    let (expected, found) = texts();
    Err(Flaw::new(format!("{what}: {expected}"), found))
}
