use crate::expect::{Check, Flaw, Violation};
use crate::fixture::Fixture;
use crate::place::Place;
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How long a rule may take if a round trip takes no time; 1200 [round trips](Fixture::latency) are added to this.
pub const LIMIT: Duration = Duration::from_secs(120);

/// One sentence of the contract, and the check of it.
pub struct Rule {
    /// The id that the documentation of the contract quotes, such as `CREATE-01`.
    pub id: &'static str,
    /// The sentence that must be true.
    pub sentence: &'static str,
    pub(crate) check: fn(&Place) -> Check,
}

impl Rule {
    /// Checks the rule on a fresh fixture.
    ///
    /// # Errors
    ///
    /// How the rule was broken, which hook of the fixture it needs, or why it does not apply to this backend.
    pub fn check(&self, fixture: Arc<dyn Fixture>) -> Result<(), Violation> {
        let limit = LIMIT + 1200 * fixture.latency();
        let check = self.check;
        within(limit, self.id, move || check(&Place::new(fixture)?))
            .map_err(|flaw| Violation::new(self.id, flaw))
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.sentence)
    }
}

/// Runs a check in a thread of its own, so that a backend which panics or never answers breaks the rule and nothing else.
fn within(limit: Duration, name: &str, check: impl FnOnce() -> Check + Send + 'static) -> Check {
    let (sender, answer) = channel();
    let spawned = thread::Builder::new().name(name.into()).spawn(move || {
        let outcome =
            catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
        // Nobody may wait for the answer any more.
        let _ = sender.send(outcome);
    });
    match spawned {
        Ok(_) => answer.recv_timeout(limit).unwrap_or_else(|error| {
            Err(match error {
                RecvTimeoutError::Timeout => Flaw::new(
                    format!("an answer within {} s", limit.as_secs()),
                    "a backend that does not answer",
                ),
                RecvTimeoutError::Disconnected => Flaw::new("an answer", "a panic that could not be caught"),
            })
        }),
        Err(error) => Err(Flaw::new("a thread to run the check in", error.to_string())),
    }
}

/// What a thread that panicked said.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Flaw {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Flaw::new(
        "an answer",
        format!("a panic: {}", text.unwrap_or("without a message")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use sdk_state::Wait;

    fn found(limit: Duration, check: fn() -> Check) -> String {
        let flaw = within(limit, "TEST-01", check).unwrap_err();
        Violation::new("TEST-01", flaw).to_string()
    }

    #[test]
    fn a_check_that_panics_breaks_the_rule_and_says_with_what() {
        let found = found(LIMIT, || panic!("no {}", 7));
        assert_eq!(found, "TEST-01: expected an answer; found a panic: no 7");
    }

    #[test]
    fn a_check_that_does_not_end_breaks_the_rule() {
        let found = found(Duration::from_millis(1), || {
            Wait::forever().pause(Duration::from_secs(3600));
            Ok(())
        });
        assert!(found.ends_with("found a backend that does not answer"), "{found}");
    }
}
