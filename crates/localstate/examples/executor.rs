//! An executor with ten threads: each makes resources and records them in one run. It stops on request, as on
//! Ctrl-C, and when somebody evicts it.
//!
//! `cargo run -p localstate --example executor`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use sdk_state::encrypt::{EnvKey, MasterKey};
use sdk_state::{Binding, Category, Entry, EntryKind, Json, Run};
use serde::Serialize;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const WORKERS: usize = 10;

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let root = tempfile::tempdir()?;
    // A real tool takes its key from a variable or a file: EnvKey::from_env, KeyFile::open.
    let key = EnvKey::new("STATE_KEY", MasterKey::generate()?);
    let store = localstate::open(root.path(), "network", "prod", key)?;

    let run = store.begin("apply", Duration::from_secs(60))?;
    let made = make(&run, &AtomicBool::new(false), 0..100, |_| {});
    let revision = run.finish("a hundred subnets")?.ok_or("nothing was made")?;
    println!("{made} subnets are in {revision}");

    // Ctrl-C: the threads finish what they have begun, and what they made is committed.
    let run = store.begin("apply", Duration::from_secs(60))?;
    let is_stopped = AtomicBool::new(false);
    let made = make(&run, &is_stopped, 100..200, |made| {
        is_stopped.store(made >= 20, Ordering::Relaxed);
    });
    run.finish("interrupted")?;
    println!("interrupted after {made} subnets: none is lost");

    // Somebody evicts the run, and the threads stop. What they had recorded before is in the state; what they made
    // afterwards is in the orphan.
    let run = store.begin("apply", Duration::from_secs(60))?;
    let evicted = AtomicBool::new(false);
    make(&run, &AtomicBool::new(false), 200..300, |made| {
        if made >= 20 && !evicted.swap(true, Ordering::Relaxed) && store.force_unlock(None).is_err() {
            println!("the lock was free");
        }
    });
    let error = match run.finish("evicted") {
        Err(error) if error.is_lock_lost() => error,
        other => return Err(format!("the run should have lost its lock: {other:?}").into()),
    };
    println!("{error}");
    let orphan = run.orphan().ok_or("the document was not saved")?;
    println!("{orphan} holds what this run knew");

    // The next run finds every change that was recorded, and commits them.
    let next = store.begin("plan", Duration::from_secs(60))?;
    println!("{} changes of the evicted run were committed", next.recovered());
    assert!(next.recovered() >= 20 && next.state().len() >= 140);
    next.finish(None)?;
    Ok(())
}

/// Makes the subnets with these numbers, until it is stopped or a change fails; tells `progress` how many are made.
fn make(
    run: &Run,
    is_stopped: &AtomicBool,
    numbers: std::ops::Range<usize>,
    progress: impl Fn(usize) + Sync,
) -> usize {
    let next = AtomicUsize::new(numbers.start);
    let made = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while !is_stopped.load(Ordering::Relaxed) && run.check().is_ok() {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        return;
                    }
                    // … the subnet is made here, and recorded at once.
                    match subnet(number).and_then(|entry| run.put(entry)) {
                        Ok(()) => progress(made.fetch_add(1, Ordering::Relaxed) + 1),
                        Err(error) => println!("subnet {number} is not recorded: {error}"),
                    }
                }
            });
        }
    });
    made.into_inner()
}

fn subnet(number: usize) -> Result<Entry, sdk_state::Error> {
    let binding = Binding::new("aws", "subnet");
    let address = format!("resource.subnet-{number}");
    let mut entry = Entry::new(address, EntryKind::Leaf, Category::Resource, binding);
    let id = format!("subnet-{number:08x}");
    entry.outputs = Some(Json::from_value(&Outputs { id })?);
    Ok(entry)
}

#[derive(Serialize)]
struct Outputs {
    id: String,
}
