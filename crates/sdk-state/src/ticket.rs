use crate::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A submitted change that may not be durable yet, from [`Run::submit`](crate::Run::submit).
///
/// Call [`wait`](Ticket::wait), or await the ticket in any async runtime. If you drop the ticket, the change stays submitted.
///
/// # Errors
///
/// Both return the errors of [`Run::apply`](crate::Run::apply).
#[must_use = "a change is durable once its ticket says so"]
pub struct Ticket(Result<(Arc<dyn Durability>, u64), Error>);

/// Says when the changes up to one number are durable.
pub(crate) trait Durability: Send + Sync {
    /// Waits, and writes if nobody else does.
    fn wait(&self, number: u64) -> Result<(), Error>;

    fn poll(&self, number: u64, waker: &Waker) -> Poll<Result<(), Error>>;
}

impl Ticket {
    pub(crate) fn new(submitted: Result<(Arc<dyn Durability>, u64), Error>) -> Self {
        Self(submitted)
    }

    /// Returns once the change is durable.
    ///
    /// # Errors
    ///
    /// Those of [`Run::apply`](crate::Run::apply).
    pub fn wait(self) -> Result<(), Error> {
        let (run, number) = self.0?;
        run.wait(number)
    }
}

impl Future for Ticket {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &self.0 {
            Ok((run, number)) => run.poll(*number, context.waker()),
            Err(error) => Poll::Ready(Err(error.clone())),
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").finish_non_exhaustive()
    }
}
