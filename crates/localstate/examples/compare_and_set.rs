//! Two writers without a lock: each reads, changes, writes and moves `current` only if it is still what was read. Whoever
//! loses starts over from what is current now, so that no change of the other is lost.
//!
//! This suits small changes. A run that manages resources takes the lock instead: what was made cannot be made again
//! because somebody moved `current`. On a network filesystem a move without the lock is `Unsupported`.
//!
//! `cargo run -p localstate --example compare_and_set`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![expect(clippy::disallowed_methods, reason = "here the clock enters the program")]

use localstate::LocalStore;
use sdk_state::encrypt::Noop;
use sdk_state::{Backend as _, Binding, Category, Entry, EntryKind, ErrorKind, Expect, State, WriteOptions};
use std::error::Error;
use std::path::Path;
use std::thread;
use time::OffsetDateTime;

const CHANGES: usize = 20;

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let root = tempfile::tempdir()?;
    let store = open(root.path())?;
    let empty = State::new(store.id(), "v1.2.0", "8c1f", OffsetDateTime::now_utc())?;
    store.set_current(&store.write(&empty, &WriteOptions::new())?)?;

    thread::scope(|scope| {
        let writers = ["east", "west"].map(|writer| scope.spawn(|| write_all(root.path(), writer)));
        for writer in writers {
            let losses = writer.join().map_err(|_| "a writer panicked")??;
            println!("{CHANGES} changes, started over {losses} times");
        }
        Ok::<_, Box<dyn Error>>(())
    })?;

    let (rev, state) = store.head()?;
    println!(
        "{rev} has {} entries, and {} snapshots exist",
        state.len(),
        store.list()?.len()
    );
    assert_eq!(state.len(), 2 * CHANGES, "no change is lost");
    Ok(())
}

/// As many changes as a writer has to make; the number of times that the other one was faster.
fn write_all(root: &Path, writer: &str) -> Result<usize, sdk_state::Error> {
    let store = open(root)?;
    let mut losses = 0;
    for n in 0..CHANGES {
        losses += change(&store, |state| {
            let binding = Binding::new("aws", "instance");
            let address = format!("resource.{writer}-{n}");
            state.upsert(Entry::new(address, EntryKind::Leaf, Category::Resource, binding));
        })?;
    }
    Ok(losses)
}

/// The loop. `apply` may be called several times, each time with the state that is current then.
fn change(store: &LocalStore, apply: impl Fn(&mut State)) -> Result<usize, sdk_state::Error> {
    let mut losses = 0;
    loop {
        let (current, mut state) = store.head()?;
        apply(&mut state);
        let next = store.write(&state, &WriteOptions::new().with_parent(current.clone()))?;
        match store.compare_and_set_current(Expect::Exactly(Some(&current)), &next, None) {
            Ok(()) => return Ok(losses),
            Err(error) if matches!(error.kind(), ErrorKind::CurrentMoved { .. }) => {
                // It was never current. It would stay for ever, and do no harm.
                store.delete(&next, None)?;
                losses += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

fn open(root: &Path) -> Result<LocalStore, sdk_state::Error> {
    localstate::open(root, "network", "prod", Noop)
}
