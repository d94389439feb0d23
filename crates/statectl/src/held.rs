//! The lock of a stack, taken by this process or by a `statectl lock` above it.

use crate::environment;
use crate::exit::Failure;
use crate::stack::Stack;
use sdk_state::{Error, ErrorKind, Liveness, Lock, LockToken, Run, Snapshot, Wait};
use sha2::{Digest as _, Sha256};

/// Names the locks of the enclosing `statectl lock` commands, the innermost first, separated by commas. Each is
/// `PLACE:FACTORY/STACK:TOKEN`; the place is the beginning of the SHA-256 of the catalog's name, so that the lock of one
/// store is not taken for that of another, and no address has to be quoted.
const VARIABLE: &str = "STATECTL_LOCK";

#[must_use = "dropping a lock gives it back"]
pub(crate) struct Held {
    token: LockToken,
    /// `None` if a process above holds it.
    lock: Option<Box<dyn Lock>>,
}

/// What happened to the lock before it was released.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum GivenBack {
    Held,
    Lost,
}

/// Takes the lock for `operation`, or joins the one that a process above holds. Waits as long as the operator wants to.
///
/// An interrupt while waiting ends the process at once: nothing is held then.
pub(crate) fn take(stack: &Stack<'_>, operation: &str) -> Result<Held, Failure> {
    if let Some(held) = join(stack)? {
        return Ok(held);
    }
    let output = stack.context().output();
    let patience = stack.context().options().wait;
    let lock = match stack.store().lock(operation, Wait::none()) {
        Err(error) if !patience.is_zero() => {
            let ErrorKind::Locked(holder) = error.kind() else {
                return Err(error.into());
            };
            output.notice(format_args!(
                "waiting up to {} for the lock of {}, held by {holder}",
                humantime::format_duration(patience),
                stack.id()
            ));
            stack.store().lock(operation, patience)
        }
        result => result,
    }?;
    if let Some(dead) = lock.took_over() {
        output.warning(format_args!(
            "took over the lock of {dead}, which died: its work may be half done"
        ));
    }
    Ok(Held {
        token: lock.token()?.clone(),
        lock: Some(lock),
    })
}

/// Joins the lock of this stack that a process above holds. It is an error if that process was evicted.
pub(crate) fn join(stack: &Stack<'_>) -> Result<Option<Held>, Failure> {
    let Some(token) = announced(stack) else {
        return Ok(None);
    };
    match demand_shared(stack, &token) {
        Ok(()) => Ok(Some(Held { token, lock: None })),
        // Taking the lock again would let a run that somebody has evicted go on.
        Err(error) if error.is_lock_lost() => Err(Failure::from(error).extend_hint(&format!(
            "unset {VARIABLE} to work without the lock that it names"
        ))),
        Err(error) => Err(error.into()),
    }
}

/// Fails unless the process that shared the lock still holds it.
fn demand_shared(stack: &Stack<'_>, token: &LockToken) -> Result<(), Error> {
    match stack.store().lock_status()? {
        Some(status) if status.info.token.as_ref() == Some(token) && status.liveness != Liveness::Dead => {
            Ok(())
        }
        _ => Err(Error::lock_lost()),
    }
}

impl Held {
    pub(crate) fn token(&self) -> &LockToken {
        &self.token
    }

    /// Whether a process above holds it.
    pub(crate) fn is_joined(&self) -> bool {
        self.lock.is_none()
    }

    /// Begins a run under the lock, which stays held if no run can begin.
    pub(crate) fn begin<D: Snapshot>(&self, stack: &Stack<'_>, operation: &str) -> Result<Run<D>, Error> {
        stack.store().document::<D>().join(operation, self.token.clone())
    }

    /// Keeps the lock until a command that is started from now on has ended, even if this process is killed. Returns the variable
    /// by which a `statectl` below finds the lock.
    pub(crate) fn share(&self, stack: &Stack<'_>) -> Result<(&'static str, String), Failure> {
        // Children of a process that joined the lock inherit it too.
        let shared = self
            .lock
            .as_ref()
            .map_or(Ok(()), |lock| lock.share_with_children());
        match shared {
            Err(error) if error.kind() == &ErrorKind::Unsupported => stack.context().output().warning(
                "this backend cannot share its lock: if statectl is killed, the lock ends before the command",
            ),
            result => result?,
        }
        let own = format!("{}{}", prefix(stack), self.token);
        let locks = match environment::text(VARIABLE) {
            Some(outer) if outer.split(',').any(|lock| lock == own) => outer,
            Some(outer) => format!("{own},{outer}"),
            None => own,
        };
        Ok((VARIABLE, locks))
    }

    /// Gives the lock back. If it was lost, what was done under it stays.
    pub(crate) fn give_back(self, stack: &Stack<'_>) -> GivenBack {
        let result = match self.lock {
            // It is the parent's to give back.
            None => demand_shared(stack, &self.token),
            Some(lock) => lock.unlock(),
        };
        match result {
            Ok(()) => GivenBack::Held,
            Err(error) if error.is_lock_lost() => GivenBack::Lost,
            Err(error) => {
                let output = stack.context().output();
                output.warning(format_args!("the lock could not be released: {error}"));
                GivenBack::Held
            }
        }
    }

    /// The same at the end of a change that was made under it.
    pub(crate) fn give_back_after_change(self, stack: &Stack<'_>) {
        if self.give_back(stack) == GivenBack::Lost {
            let output = stack.context().output();
            output.warning("the change was made, but then somebody evicted this command from the lock");
        }
    }
}

fn announced(stack: &Stack<'_>) -> Option<LockToken> {
    let prefix = prefix(stack);
    environment::text(VARIABLE)?
        .split(',')
        .find_map(|lock| lock.strip_prefix(&prefix)?.parse().ok())
}

fn prefix(stack: &Stack<'_>) -> String {
    let digest = Sha256::digest(stack.place().catalog.name());
    let place: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{place}:{}:", stack.id())
}
