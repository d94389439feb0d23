//! Waits for a lock that somebody else holds: until a deadline, until it is cancelled, and until it is free.
//!
//! `cargo run -p localstate --example wait_with_deadline`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use sdk_state::encrypt::Noop;
use sdk_state::{Cancel, ErrorKind, Wait};
use std::error::Error;
use std::thread;
use std::time::Duration;

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let root = tempfile::tempdir()?;
    let open = || localstate::open(root.path(), "network", "prod", Noop);

    let holder = open()?;
    let held = holder.lock("apply", Wait::none())?;

    // The deadline ends the wait. The kind of the error contains the holder, so there is no need to parse the message.
    let store = open()?;
    match store.lock("plan", Duration::from_millis(100)) {
        Ok(_) => return Err("two hold the lock".into()),
        Err(error) => match error.kind() {
            ErrorKind::Locked(info) => println!("gave up: {info} holds it"),
            _ => return Err(error.into()),
        },
    }

    // The thread of a signal handler would cancel it.
    let cancel = Cancel::new();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| store.lock("plan", Wait::forever().unless(&cancel)));
        cancel.cancel();
        match waiter.join() {
            Ok(Err(error)) if error.kind() == &ErrorKind::Cancelled => println!("{error}"),
            other => return Err(format!("not cancelled: {other:?}")),
        }
        Ok(())
    })?;

    // A waiter gets the lock within milliseconds after it is released.
    let lock = thread::scope(|scope| {
        let waiter = scope.spawn(|| store.lock("plan", Duration::from_secs(60)));
        held.unlock()?;
        waiter
            .join()
            .map_err(|_| "the waiter panicked")?
            .map_err(Box::<dyn Error>::from)
    })?;
    println!("got it: {}", lock.info());
    if let Some(dead) = lock.took_over() {
        println!("{dead} died with it: its work may be half done");
    }
    lock.unlock()?;
    Ok(())
}
