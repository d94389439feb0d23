//! What the traced process says of itself in the log, with a system call that does nothing: it reads a link that does
//! not exist, and the path is the message.

use sdk_state::Revision;
use std::fmt;
use std::fs;

const PREFIX: &str = "/crash-mark/";

/// Where a script is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mark {
    /// What follows is done by this process. Comes from the recorder, not from the log.
    Runs(usize),
    /// It has ended, or was killed. Comes from the recorder, too.
    Ended,
    Begins(Request),
    /// It has returned without an error; a write with its revision.
    Returned(Option<Revision>),
    /// It has returned with an error.
    Failed,
}

/// A call of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    Write(String),
    Move(Revision),
    Delete(Revision),
    Replace(Revision),
    Lock,
    Unlock,
    ForceUnlock,
}

impl Mark {
    /// Puts it in the log.
    pub(super) fn leave(&self) {
        // That there is no such link is what is expected.
        let _ = fs::read_link(format!("{PREFIX}{self}"));
    }

    /// The mark that reading the link `path` leaves; `None` for any other link.
    pub(super) fn read(path: &[u8]) -> Option<Self> {
        let words = str::from_utf8(path).ok()?.strip_prefix(PREFIX)?;
        let mut words = words.split(' ');
        let mark = match (words.next()?, words.next()) {
            ("failed", None) => Self::Failed,
            ("returned", None) => Self::Returned(None),
            ("returned", Some(rev)) => Self::Returned(Some(rev.parse().ok()?)),
            ("write", Some(text)) => Self::Begins(Request::Write(text.into())),
            ("set_current", Some(rev)) => Self::Begins(Request::Move(rev.parse().ok()?)),
            ("delete", Some(rev)) => Self::Begins(Request::Delete(rev.parse().ok()?)),
            ("replace", Some(rev)) => Self::Begins(Request::Replace(rev.parse().ok()?)),
            ("lock", None) => Self::Begins(Request::Lock),
            ("unlock", None) => Self::Begins(Request::Unlock),
            ("force_unlock", None) => Self::Begins(Request::ForceUnlock),
            _ => return None,
        };
        words.next().is_none().then_some(mark)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runs(process) => write!(f, "process {process} runs"),
            Self::Ended => f.write_str("ended"),
            Self::Failed => f.write_str("failed"),
            Self::Begins(request) => request.fmt(f),
            Self::Returned(None) => f.write_str("returned"),
            Self::Returned(Some(rev)) => write!(f, "returned {rev}"),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(text) => write!(f, "write {text}"),
            Self::Move(rev) => write!(f, "set_current {rev}"),
            Self::Delete(rev) => write!(f, "delete {rev}"),
            Self::Replace(rev) => write!(f, "replace {rev}"),
            Self::Lock => f.write_str("lock"),
            Self::Unlock => f.write_str("unlock"),
            Self::ForceUnlock => f.write_str("force_unlock"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_is_read_as_it_was_left() {
        let rev: Revision = "2026-07-10T12:00:00Z_2".parse().unwrap();
        for mark in [
            Mark::Failed,
            Mark::Returned(None),
            Mark::Returned(Some(rev.clone())),
            Mark::Begins(Request::Write("A".into())),
            Mark::Begins(Request::Move(rev.clone())),
            Mark::Begins(Request::Delete(rev.clone())),
            Mark::Begins(Request::Replace(rev)),
            Mark::Begins(Request::Lock),
            Mark::Begins(Request::Unlock),
            Mark::Begins(Request::ForceUnlock),
        ] {
            assert_eq!(Mark::read(format!("{PREFIX}{mark}").as_bytes()), Some(mark));
        }
        assert_eq!(Mark::read(b"/proc/self/exe"), None);
    }
}
