use crate::{Fixture, RULES, Rule, Violation};
use std::fmt;
use std::io::{self, Write as _};
use std::sync::Arc;

/// A declared exception: a rule that the backend does not keep, and the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exception {
    /// The id of the rule.
    pub rule: &'static str,
    /// The reason, for people who choose a backend.
    pub reason: &'static str,
}

/// The outcome of every rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    entries: Vec<Entry>,
    /// Exceptions to rules that do not exist, or that have one already.
    unused: Vec<Exception>,
}

/// The rule and its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The id of the rule.
    pub rule: &'static str,
    /// The sentence that must be true.
    pub sentence: &'static str,
    /// The outcome.
    pub outcome: Outcome,
}

/// The outcome of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is kept.
    Kept,
    /// It is broken.
    Broken(Violation),
    /// It was not checked: the fixture lacks this hook.
    Skipped(&'static str),
    /// It does not apply to this backend, for this reason.
    NotApplicable(&'static str),
    /// It is broken or was not checked, and the author declared this exception.
    Excepted(&'static str),
    /// It is kept although the author declared this exception: the declaration is wrong.
    KeptAfterAll(&'static str),
}

impl Report {
    /// Checks rules one after the other, each on a fresh fixture. [All of them](RULES) take seconds on a local disk, and no
    /// rule takes much longer than [`LIMIT`](crate::LIMIT).
    ///
    /// # Panics
    ///
    /// When `fixture` does. Nothing that a backend does makes it panic.
    pub fn run<'a>(
        rules: impl IntoIterator<Item = &'a Rule>,
        fixture: impl Fn() -> Arc<dyn Fixture>,
        exceptions: &[Exception],
    ) -> Self {
        let entries: Vec<Entry> = rules
            .into_iter()
            .map(|rule| Entry {
                rule: rule.id,
                sentence: rule.sentence,
                outcome: outcome(rule.id, rule.check(fixture()), exceptions),
            })
            .collect();
        let is_used = |position: usize| {
            let id = exceptions[position].rule;
            let is_first = exceptions[..position].iter().all(|earlier| earlier.rule != id);
            is_first && entries.iter().any(|entry| entry.rule == id)
        };
        let unused = (0..exceptions.len()).filter(|&position| !is_used(position));
        let unused = unused.map(|position| exceptions[position]).collect();
        Self { entries, unused }
    }

    /// Returns the outcome of each rule, in the order of the rules.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The ids of the rules that are broken without a declared exception.
    pub fn broken(&self) -> Vec<&'static str> {
        let broken = self
            .entries
            .iter()
            .filter(|entry| matches!(entry.outcome, Outcome::Broken(_)));
        broken.map(|entry| entry.rule).collect()
    }

    /// Whether every rule is kept or skipped, does not apply, or is excepted for a reason that is still true.
    pub fn is_good(&self) -> bool {
        self.unused.is_empty() && self.entries.iter().all(|entry| entry.outcome.is_good())
    }

    /// One JSON object, in one line:
    ///
    /// | member | |
    /// |---|---|
    /// | `good` | whether the report [is good](Self::is_good) |
    /// | `kept` | how many rules are kept |
    /// | `broken` | the ids of the rules that are broken without a declared exception |
    /// | `unused-exceptions` | the ids of exceptions that name no rule, or one that has an exception already |
    /// | `rules` | the outcome of each rule, in order |
    ///
    /// A rule has its id as `rule`, its `sentence`, its `outcome`, and a `detail` that explains the outcome, or `null`. The
    /// outcome is `kept`, `broken`, `skipped`, `not-applicable`, `excepted` or `kept-after-all`, as [`Outcome`] explains them.
    /// Later versions may add members and outcomes, but change none.
    pub fn to_json(&self) -> String {
        let rules = self.entries.iter().map(|entry| {
            serde_json::json!({
                "rule": entry.rule,
                "sentence": entry.sentence,
                "outcome": entry.outcome.json_word(),
                "detail": entry.outcome.detail(),
            })
        });
        let unused = self.unused.iter().map(|exception| exception.rule);
        serde_json::json!({
            "good": self.is_good(),
            "kept": self.entries.iter().filter(|entry| entry.outcome == Outcome::Kept).count(),
            "broken": self.broken(),
            "unused-exceptions": unused.collect::<Vec<_>>(),
            "rules": rules.collect::<Vec<_>>(),
        })
        .to_string()
    }
}

/// Prints a table: rule, outcome, sentence, and the detail in a second line.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.entries {
            let word = entry.outcome.word();
            writeln!(f, "{:<11} {word:<14} {}", entry.rule, entry.sentence)?;
            if let Some(detail) = entry.outcome.detail() {
                writeln!(f, "{:<26} {detail}", "")?;
            }
        }
        for exception in &self.unused {
            writeln!(
                f,
                "{:<11} {:<14} an exception to no rule, or the second to one: {}",
                exception.rule, "UNUSED", exception.reason
            )?;
        }
        let kept = self
            .entries
            .iter()
            .filter(|entry| entry.outcome == Outcome::Kept)
            .count();
        write!(f, "{kept} of {} rules are kept", self.entries.len())
    }
}

impl Outcome {
    fn is_good(&self) -> bool {
        matches!(
            self,
            Self::Kept | Self::Skipped(_) | Self::NotApplicable(_) | Self::Excepted(_)
        )
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Broken(_) => "BROKEN",
            Self::Skipped(_) => "skipped",
            Self::NotApplicable(_) => "not applicable",
            Self::Excepted(_) => "excepted",
            Self::KeptAfterAll(_) => "KEPT AFTER ALL",
        }
    }

    fn json_word(&self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Broken(_) => "broken",
            Self::Skipped(_) => "skipped",
            Self::NotApplicable(_) => "not-applicable",
            Self::Excepted(_) => "excepted",
            Self::KeptAfterAll(_) => "kept-after-all",
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Kept => None,
            Self::Broken(violation) => Some(format!(
                "expected {}; found {}",
                violation.expected(),
                violation.found()
            )),
            Self::Skipped(hook) => Some(format!("the fixture has no hook `{hook}`, or it does not apply")),
            Self::NotApplicable(reason) | Self::Excepted(reason) => Some((*reason).into()),
            Self::KeptAfterAll(reason) => Some(format!("the declared exception is not one: {reason}")),
        }
    }
}

/// Checks one rule as a test: prints why it was skipped or excepted, or does not apply.
///
/// # Errors
///
/// How the rule was broken, or that an exception to it is declared although it is kept.
#[doc(hidden)]
pub fn try_rule(id: &str, fixture: Arc<dyn Fixture>, exceptions: &[Exception]) -> Result<(), String> {
    let Some(rule) = RULES.iter().find(|rule| rule.id == id) else {
        return Err(format!("there is no rule {id}"));
    };
    let outcome = outcome(id, rule.check(fixture), exceptions);
    let text = format!(
        "{id} {}: {}",
        outcome.word(),
        outcome.detail().unwrap_or_default()
    );
    match outcome {
        Outcome::Kept => Ok(()),
        Outcome::Skipped(_) | Outcome::NotApplicable(_) | Outcome::Excepted(_) => {
            // Past the harness, which keeps back what a passing test prints with a macro. A closed standard error is no
            // fault of the backend.
            let _ = writeln!(io::stderr(), "{text}");
            Ok(())
        }
        Outcome::Broken(_) | Outcome::KeptAfterAll(_) => Err(format!(
            "{text}\n  the rule: {}\n  more of it: where the documentation of `sdk-state` quotes {id}",
            rule.sentence
        )),
    }
}

fn outcome(id: &str, result: Result<(), Violation>, exceptions: &[Exception]) -> Outcome {
    let exception = exceptions.iter().find(|exception| exception.rule == id);
    match (result, exception) {
        (Ok(()), None) => Outcome::Kept,
        (Ok(()), Some(exception)) => Outcome::KeptAfterAll(exception.reason),
        (Err(_), Some(exception)) => Outcome::Excepted(exception.reason),
        (Err(violation), None) => match (violation.missing_hook(), violation.not_applicable()) {
            (Some(hook), _) => Outcome::Skipped(hook),
            (_, Some(reason)) => Outcome::NotApplicable(reason),
            _ => Outcome::Broken(violation),
        },
    }
}
