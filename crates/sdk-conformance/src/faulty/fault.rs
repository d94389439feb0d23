use sdk_state::ErrorKind;
use std::fmt;
use std::time::Duration;

/// How a call goes wrong.
#[non_exhaustive]
pub enum Fault {
    /// It fails and has no effect. A lock that was not given back so stays held.
    FailBefore(ErrorKind),
    /// It has its effect, and fails all the same: the acknowledgement is lost. A lock that was taken so stays held, and one
    /// that was given back so is free.
    FailAfter(ErrorKind),
    /// It takes so much longer, and goes well.
    Delay(Duration),
    /// This runs first, and then it goes well: what a test needs to let something else happen just before.
    First(Box<dyn Fn() + Send + Sync>),
    /// A list answers as the last one did, or with nothing if there was none.
    Stale,
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailBefore(kind) => f.debug_tuple("FailBefore").field(kind).finish(),
            Self::FailAfter(kind) => f.debug_tuple("FailAfter").field(kind).finish(),
            Self::Delay(delay) => f.debug_tuple("Delay").field(delay).finish(),
            Self::First(_) => f.write_str("First(..)"),
            Self::Stale => f.write_str("Stale"),
        }
    }
}
