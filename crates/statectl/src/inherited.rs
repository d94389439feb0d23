//! The lock of a `statectl lock` above this process.

use crate::exit::Failure;
use crate::options::variable;
use crate::stack::Stack;
use sdk_state::{Error, ErrorKind, Liveness, Lock, LockInfo, LockToken, StackId, Storage};
use std::fmt;

/// Holds `FACTORY/STACK:TOKEN`; the inner one of several comes first, separated by a comma.
pub(crate) const VARIABLE: &str = "STATECTL_LOCK";

/// What a process below this one finds in [`VARIABLE`].
pub(crate) fn announce(id: &StackId, token: &LockToken) -> String {
    let own = format!("{id}:{token}");
    match variable(VARIABLE) {
        Some(outer) if outer.split(',').any(|held| held == own) => outer,
        Some(outer) => format!("{own},{outer}"),
        None => own,
    }
}

/// The lock of this stack that a process above this one holds. One that was evicted is an error.
pub(crate) fn find(stack: &Stack<'_>) -> Result<Option<Box<dyn Lock>>, Failure> {
    let Some(token) = announced(stack.id()) else {
        return Ok(None);
    };
    let lock = InheritedLock {
        storage: stack.storage()?,
        token,
        info: LockInfo::default(),
    };
    match lock.holding()? {
        Some(info) => Ok(Some(Box::new(InheritedLock { info, ..lock }))),
        // Taking it anew would let a run go on that somebody has evicted.
        None => Err(Failure::from(Error::new(
            ErrorKind::LockLost,
            format!(
                "the lock of {} that {VARIABLE} names is no longer held",
                stack.id()
            ),
        ))
        .hint(format!(
            "somebody evicted it: start over, or unset {VARIABLE} to work without it"
        ))),
    }
}

fn announced(id: &StackId) -> Option<LockToken> {
    variable(VARIABLE)?.split(',').find_map(|held| {
        let (name, token) = held.split_once(':')?;
        (name == id.to_string()).then(|| token.parse().ok())?
    })
}

/// Somebody else's lock, used with their consent: it is theirs to give back.
struct InheritedLock {
    storage: Box<dyn Storage>,
    token: LockToken,
    info: LockInfo,
}

impl InheritedLock {
    /// Who holds the lock, if it is still that holding and somebody lives who keeps others out.
    fn holding(&self) -> Result<Option<LockInfo>, Error> {
        let status = self.storage.lock_status()?;
        let same = status.filter(|status| {
            status.info.token.as_ref() == Some(&self.token) && status.liveness != Liveness::Dead
        });
        Ok(same.map(|status| status.info))
    }
}

impl Lock for InheritedLock {
    fn info(&self) -> &LockInfo {
        &self.info
    }

    fn token(&self) -> Result<&LockToken, Error> {
        Ok(&self.token)
    }

    fn took_over(&self) -> Option<&LockInfo> {
        None
    }

    fn check(&self) -> Result<(), Error> {
        match self.holding()? {
            Some(_) => Ok(()),
            None => Err(Error::new(
                ErrorKind::LockLost,
                "the lock of the statectl above is no longer held",
            )),
        }
    }

    fn share_with_children(&self) -> Result<(), Error> {
        // This process has the handle from its parent, and passes it on in the same way.
        Ok(())
    }

    fn unlock(self: Box<Self>) -> Result<(), Error> {
        Ok(())
    }
}

impl fmt::Debug for InheritedLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InheritedLock")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}
