//! Two workers of one run share its lock: each reads, changes, writes, and moves `current` only if it is still the revision
//! that was read. The worker that loses starts over from the new current revision, so that no change of the other is lost.
//!
//! The lock keeps other runs away; the comparison keeps the workers of this one apart.
//!
//! `cargo run -p localstate --example compare_and_set`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![expect(clippy::disallowed_methods, reason = "here the clock enters the program")]

use sdk_state::encrypt::Noop;
use sdk_state::{Binding, Category, Entry, EntryKind, Expect, LockToken, State, Store, Wait};
use std::error::Error;
use std::thread;
use time::OffsetDateTime;

const CHANGES: usize = 20;

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let root = tempfile::tempdir()?;
    let store = localstate::open(root.path(), "network", "prod", Noop)?;
    let lock = store.lock("apply", Wait::none())?;
    let token = lock.token()?;
    let empty = State::new(store.id(), "v1.2.0", "8c1f", OffsetDateTime::now_utc())?;
    store.save(&empty, "begin", Expect::Nothing, token)?;

    thread::scope(|scope| {
        let workers = ["east", "west"].map(|worker| {
            let store = store.clone();
            scope.spawn(move || change_all(&store, worker, token))
        });
        for worker in workers {
            let losses = worker.join().map_err(|_| "a worker panicked")??;
            println!("{CHANGES} changes, started over {losses} times");
        }
        Ok::<_, Box<dyn Error>>(())
    })?;
    lock.unlock()?;

    let head = store.head()?.ok_or("nothing is current")?;
    println!(
        "{} has {} entries, and {} snapshots exist",
        head.revision,
        head.document.len(),
        store.list()?.len()
    );
    assert_eq!(head.document.len(), 2 * CHANGES, "no change is lost");
    Ok(())
}

/// Makes all changes of one worker; returns how often the other one was faster.
fn change_all(store: &Store, worker: &str, token: &LockToken) -> Result<usize, sdk_state::Error> {
    let mut losses = 0;
    for n in 0..CHANGES {
        losses += change(store, token, |state| {
            let binding = Binding::new("aws", "instance");
            let address = format!("resource.{worker}-{n}");
            state.upsert(Entry::new(address, EntryKind::Leaf, Category::Resource, binding));
        })?;
    }
    Ok(losses)
}

/// The loop. `apply` may be called several times, each time with the state that is current then.
fn change(store: &Store, token: &LockToken, apply: impl Fn(&mut State)) -> Result<usize, sdk_state::Error> {
    let mut losses = 0;
    while let Some(mut head) = store.head()? {
        apply(&mut head.document);
        match store.save(&head.document, None, &head.revision, token) {
            Ok(_) => break,
            Err(error) if error.is_current_moved() => {
                losses += 1;
                // The revision was written but never became current: left alone, it would stay for ever and do no harm.
                if let Some(rev) = error.revision() {
                    store.backend().remove(rev, Some(token))?;
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(losses)
}
