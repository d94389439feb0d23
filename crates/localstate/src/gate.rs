use crate::directory::{self, Directory};
use crate::failure::Failure;
use crate::filesystem::Filesystem;
use crate::flock;
use sdk_state::Wait;
use std::fs::File;
use std::io;
use std::time::Duration;

/// Longer than any change takes, by far: whoever keeps the gate longer is stopped.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_micros(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(1);

/// Makes a look and a change one step among our processes: an exclusive flock on the stack's directory.
///
/// It is opened anew each time, because an flock does not keep two users of one handle apart. Nothing is flushed while
/// it is held, so it is held for microseconds. On an untrusted filesystem it may be open to several at once; what
/// depends on it demands the lock there.
#[derive(Debug)]
#[must_use]
pub(crate) struct Gate(File);

impl Gate {
    pub(crate) fn enter(stack: &Directory, filesystem: Filesystem) -> Result<Self, Failure> {
        match Self::try_for(PATIENCE, stack, filesystem)? {
            Some(gate) => Ok(gate),
            None => Err(Failure::GateHeld(PATIENCE.as_secs())),
        }
    }

    /// `None` when somebody else had it all the time.
    pub(crate) fn try_for(
        patience: Duration,
        stack: &Directory,
        filesystem: Filesystem,
    ) -> Result<Option<Self>, Failure> {
        let gate = Self(stack.reopen()?);
        let wait = Wait::at_most(patience);
        let mut pause = FIRST_PAUSE;
        loop {
            match flock::try_exclusive(&gate.0) {
                Ok(true) => return Ok(Some(gate)),
                Ok(false) => {}
                Err(_) if !filesystem.is_trusted() => return Ok(Some(gate)),
                Err(source) => return Err(stack.own_failure("lock the directory", source)),
            }
            if !wait.pause(pause) {
                return Ok(None);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Opens the gate to others, then makes the names in the directory durable. The handle is older than the change that
    /// was made inside, so a failure to flush that is told here.
    pub(crate) fn leave_and_sync(self) -> io::Result<()> {
        flock::unlock(&self.0);
        directory::sync(&self.0)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // Closing is not enough: a child that was forked meanwhile would keep it.
        flock::unlock(&self.0);
    }
}
