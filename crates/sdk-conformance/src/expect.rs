//! Compares the answers of a backend with the expected ones, and describes the differences.

use sdk_state::{Error, ErrorKind};
use std::fmt::{self, Debug};

/// How a rule was broken, or why it could not be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    rule: &'static str,
    flaw: Flaw,
}

/// What a check finds; the rule adds its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Flaw {
    Broken { expected: String, found: String },
    NoHook(&'static str),
    NotApplicable(&'static str),
}

/// The answer of a check.
pub(crate) type Check<T = ()> = Result<T, Flaw>;

impl Violation {
    pub(crate) fn new(rule: &'static str, flaw: Flaw) -> Self {
        Self { rule, flaw }
    }

    /// The id of the rule.
    pub fn rule(&self) -> &'static str {
        self.rule
    }

    /// The hook that the rule needs and the fixture does not have; `None` when the rule is broken.
    pub fn missing_hook(&self) -> Option<&'static str> {
        match self.flaw {
            Flaw::NoHook(hook) => Some(hook),
            Flaw::Broken { .. } | Flaw::NotApplicable(_) => None,
        }
    }

    /// Why the rule does not apply to this backend; `None` when the rule is broken or needs a hook.
    pub fn not_applicable(&self) -> Option<&'static str> {
        match self.flaw {
            Flaw::NotApplicable(reason) => Some(reason),
            Flaw::Broken { .. } | Flaw::NoHook(_) => None,
        }
    }

    /// What the rule expects.
    pub fn expected(&self) -> &str {
        match &self.flaw {
            Flaw::Broken { expected, .. } => expected,
            Flaw::NoHook(_) => "a fixture that has the hook",
            Flaw::NotApplicable(_) => "a backend that the rule applies to",
        }
    }

    /// What was found instead.
    pub fn found(&self) -> &str {
        match &self.flaw {
            Flaw::Broken { found, .. } => found,
            Flaw::NoHook(found) | Flaw::NotApplicable(found) => found,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.flaw {
            Flaw::Broken { expected, found } => {
                write!(f, "{}: expected {expected}; found {found}", self.rule)
            }
            Flaw::NoHook(hook) => write!(
                f,
                "{}: the fixture has no hook `{hook}`, or it does not apply",
                self.rule
            ),
            Flaw::NotApplicable(reason) => write!(f, "{}: {reason}", self.rule),
        }
    }
}

impl std::error::Error for Violation {}

impl Flaw {
    pub(crate) fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Broken {
            expected: expected.into(),
            found: found.into(),
        }
    }
}

/// The value of a call that must not fail.
pub(crate) fn done<T>(what: &str, result: Result<T, Error>) -> Check<T> {
    result.map_err(|error| Flaw::new(format!("{what} to succeed"), format!("{error:?}")))
}

/// Demands that a call fails with this kind.
pub(crate) fn refused<T>(what: &str, result: Result<T, Error>, kind: &ErrorKind) -> Check {
    refused_where(what, result, &format!("{kind:?}"), |found| found == kind)
}

/// Demands that a call fails with a kind that `is_right`.
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

/// Demands that `what` is as expected.
pub(crate) fn equal<T: PartialEq + Debug>(what: &str, found: &T, expected: &T) -> Check {
    if found == expected {
        return Ok(());
    }
    Err(Flaw::new(format!("{what}: {expected:?}"), format!("{found:?}")))
}

/// The same for bytes. Only the difference is described, because there may be millions of them.
pub(crate) fn same_bytes(what: &str, found: &[u8], expected: &[u8]) -> Check {
    if found == expected {
        return Ok(());
    }
    let same = found.iter().zip(expected).take_while(|(a, b)| a == b).count();
    Err(Flaw::new(
        format!("{what}: {} bytes", expected.len()),
        format!("{} bytes that differ from position {same}", found.len()),
    ))
}

/// Demands that `what` is true.
pub(crate) fn holds(what: &str, is_so: bool) -> Check {
    match is_so {
        true => Ok(()),
        false => Err(Flaw::new(format!("that {what}"), "that this is not so")),
    }
}

/// The value of a hook, if the fixture has it.
pub(crate) fn hook<T>(name: &'static str, value: Option<T>) -> Check<T> {
    value.ok_or(Flaw::NoHook(name))
}
