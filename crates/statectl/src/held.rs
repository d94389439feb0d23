use crate::context::Context;
use crate::exit::Failure;
use crate::inherited;
use crate::output::Output;
use crate::stack::Stack;
use sdk_state::{Backend as _, ErrorKind, Lock, Wait};

/// Takes the lock of a stack for `operation`, waiting as long as the operator wants to.
///
/// An interrupt while waiting ends the process at once: nothing is held then.
pub(crate) fn take(context: &Context, stack: &Stack<'_>, operation: &str) -> Result<Box<dyn Lock>, Failure> {
    let output = context.output();
    if let Some(lock) = inherited::find(stack)? {
        return Ok(lock);
    }
    let patience = context.options().wait;
    let lock = match stack.store().lock(operation, &Wait::none()) {
        Err(error) if !patience.is_zero() => {
            let ErrorKind::Locked(holder) = error.kind() else {
                return Err(error.into());
            };
            output.notice(format_args!(
                "waiting up to {} for the lock of {}, held by {holder}",
                humantime::format_duration(patience),
                stack.id()
            ));
            stack.store().lock(operation, &Wait::at_most(patience))
        }
        result => result,
    }?;
    if let Some(dead) = lock.took_over() {
        output.warning(format_args!(
            "took over the lock of {dead}, who died with it: what that was doing may be half done"
        ));
    }
    Ok(lock)
}

/// Gives the lock back. That it was lost meanwhile undoes nothing of what was done under it.
pub(crate) fn give_back(lock: Box<dyn Lock>, output: &Output) {
    if let Err(error) = lock.unlock() {
        output.warning(format_args!("the lock could not be given back: {error}"));
    }
}
