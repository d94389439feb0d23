use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long to wait for a lock. A [`Duration`] converts to a wait that ends at the latest that long after the conversion.
///
/// ```
/// use sdk_state::{Cancel, Wait};
/// use std::time::Duration;
///
/// let cancel = Cancel::new();
/// let patient = Wait::at_most(Duration::from_secs(300)).unless(&cancel);
/// # let _ = patient;
/// ```
#[derive(Debug, Clone)]
pub struct Wait {
    deadline: Option<Instant>,
    cancel: Option<Cancel>,
}

impl Wait {
    /// Tries once and does not wait.
    pub fn none() -> Self {
        Self::at_most(Duration::ZERO)
    }

    /// Waits until the lock is free.
    pub fn forever() -> Self {
        Self {
            deadline: None,
            cancel: None,
        }
    }

    /// Waits for at most `limit` from now. A limit that the clock cannot express means `forever`.
    pub fn at_most(limit: Duration) -> Self {
        Self {
            deadline: Instant::now().checked_add(limit),
            cancel: None,
        }
    }

    /// Waits until `deadline`.
    pub fn until(deadline: Instant) -> Self {
        Self {
            deadline: Some(deadline),
            cancel: None,
        }
    }

    /// Ends the wait at once when `cancel` is cancelled.
    #[must_use]
    pub fn unless(mut self, cancel: &Cancel) -> Self {
        self.cancel = Some(cancel.clone());
        self
    }

    /// Whether the wait was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.as_ref().is_some_and(Cancel::is_cancelled)
    }

    /// Sleeps between two tries: for `pause`, or until the deadline or the cancellation, whichever comes first. Returns false
    /// at once if the deadline has passed. [`is_cancelled`](Wait::is_cancelled) says whether it was cancelled.
    pub fn pause(&self, pause: Duration) -> bool {
        let pause = match self.deadline {
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return false;
                }
                pause.min(left)
            }
            None => pause,
        };
        match &self.cancel {
            Some(cancel) => cancel.sleep(pause),
            #[expect(clippy::disallowed_methods, reason = "the wait that others use")]
            None => std::thread::sleep(pause),
        }
        true
    }
}

/// Waits for at most that long from now.
impl From<Duration> for Wait {
    fn from(limit: Duration) -> Self {
        Self::at_most(limit)
    }
}

/// A handle that ends every [`Wait`] that was made with it, from any thread. Clones cancel the same waits.
///
/// It takes a mutex, so do not call it inside a signal handler (`signal-safety(7)`); receive the signal in a thread.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<CancelState>);

#[derive(Debug, Default)]
struct CancelState {
    cancelled: Mutex<bool>,
    changed: Condvar,
}

impl Cancel {
    /// Makes a handle that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends every wait that was made with it, present and future. This cannot be undone: make a new one for a new attempt.
    pub fn cancel(&self) {
        *self.0.cancelled.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_all();
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        *self.0.cancelled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep(&self, pause: Duration) {
        let cancelled = self.0.cancelled.lock().unwrap_or_else(PoisonError::into_inner);
        // A spurious end of the sleep, or a poisoned mutex, only makes the caller look once more.
        drop(
            self.0
                .changed
                .wait_timeout_while(cancelled, pause, |cancelled| !*cancelled),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_wait_ends_at_once_and_forever_does_not() {
        assert!(!Wait::none().pause(Duration::from_secs(60)));
        assert!(Wait::forever().pause(Duration::from_micros(1)));
    }

    #[test]
    fn a_pause_ends_at_the_deadline() {
        let wait = Wait::at_most(Duration::from_millis(5));
        let start = Instant::now();
        assert!(wait.pause(Duration::from_secs(60)));
        assert!(start.elapsed() < Duration::from_secs(30));
        assert!(!wait.pause(Duration::from_secs(60)));
    }

    #[test]
    fn cancelling_ends_a_pause_that_has_begun() {
        let cancel = Cancel::new();
        let wait = Wait::forever().unless(&cancel);
        let start = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                wait.pause(Duration::from_secs(60));
            });
            cancel.cancel();
        });
        assert!(start.elapsed() < Duration::from_secs(30));
        assert!(wait.is_cancelled());
    }
}
