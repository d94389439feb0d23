use crate::violation::{Check, Flaw, Violation};
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How long a rule may take. The longest takes a second on a local disk.
pub const LIMIT: Duration = Duration::from_secs(120);

/// One sentence of the contract, and the check of it.
///
/// `M` is what it is checked on: `dyn Medium` or `dyn BackendMedium`.
pub struct Rule<M: ?Sized> {
    /// What the documentation of the contract quotes, such as `CREATE-01`.
    pub id: &'static str,
    /// What must be true.
    pub sentence: &'static str,
    /// Checks it in a fresh place.
    pub check: fn(Arc<M>) -> Result<(), Violation>,
}

impl<M: ?Sized> fmt::Debug for Rule<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.sentence)
    }
}

/// Runs a check in a thread of its own, so that a storage which panics or never answers breaks the rule and nothing else.
pub(crate) fn run<M: ?Sized + Send + Sync + 'static>(
    id: &'static str,
    medium: Arc<M>,
    limit: Duration,
    check: fn(&M) -> Check,
) -> Result<(), Violation> {
    let (sender, answer) = channel();
    let spawned = thread::Builder::new().name(id.into()).spawn(move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| check(&medium)))
            .unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
        // The place is given back first: whoever waits for the answer may remove what it lies on.
        drop(medium);
        // Who no longer waits wants no answer.
        let _ = sender.send(outcome);
    });
    let outcome = match spawned {
        Ok(_) => answer.recv_timeout(limit).unwrap_or_else(|error| {
            Err(match error {
                RecvTimeoutError::Timeout => Flaw::new(
                    format!("an answer within {} s", limit.as_secs()),
                    "a storage that does not answer",
                ),
                RecvTimeoutError::Disconnected => {
                    Flaw::new("an answer", "a panic while the place was given back")
                }
            })
        }),
        Err(error) => Err(Flaw::new("a thread to run the check in", error.to_string())),
    };
    outcome.map_err(|flaw| Violation::new(id, flaw))
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

    fn outcome(limit: Duration, check: fn(&()) -> Check) -> String {
        run("TEST-01", Arc::new(()), limit, check)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_check_that_panics_breaks_the_rule_and_says_with_what() {
        let found = outcome(LIMIT, |()| panic!("no {}", 7));
        assert_eq!(found, "TEST-01: expected an answer; found a panic: no 7");
    }

    #[test]
    fn a_check_that_does_not_end_breaks_the_rule() {
        let found = outcome(Duration::from_millis(1), |()| {
            Wait::forever().pause(Duration::from_secs(3600));
            Ok(())
        });
        assert!(found.ends_with("found a storage that does not answer"), "{found}");
    }
}
