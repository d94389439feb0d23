use std::fmt;

/// How a rule was broken, or why it could not be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    rule: &'static str,
    flaw: Flaw,
}

/// What a check finds; the rule that it is the check of adds its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Flaw {
    Broken { expected: String, found: String },
    NoHook(&'static str),
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

    /// The hook that the rule needs and the medium does not have; `None` when the rule is broken.
    pub fn missing_hook(&self) -> Option<&'static str> {
        match self.flaw {
            Flaw::NoHook(hook) => Some(hook),
            Flaw::Broken { .. } => None,
        }
    }

    /// What the rule expects.
    pub fn expected(&self) -> &str {
        match &self.flaw {
            Flaw::Broken { expected, .. } => expected,
            Flaw::NoHook(_) => "a medium that has the hook",
        }
    }

    /// What was found instead.
    pub fn found(&self) -> &str {
        match &self.flaw {
            Flaw::Broken { found, .. } => found,
            Flaw::NoHook(hook) => hook,
        }
    }
}

impl Flaw {
    pub(crate) fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Broken {
            expected: expected.into(),
            found: found.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.flaw {
            Flaw::Broken { expected, found } => {
                write!(f, "{}: expected {expected}; found {found}", self.rule)
            }
            Flaw::NoHook(hook) => write!(f, "{}: the medium has no hook `{hook}`", self.rule),
        }
    }
}

impl std::error::Error for Violation {}
