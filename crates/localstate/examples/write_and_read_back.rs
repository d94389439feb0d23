//! A tool's run: lock, read what is current, save after every resource, unlock; then read it back.
//!
//! `cargo run -p localstate --example write_and_read_back`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![expect(clippy::disallowed_methods, reason = "here the clock enters the program")]

use sdk_state::encrypt::{EnvKey, MasterKey};
use sdk_state::{Binding, Category, Entry, EntryKind, Head, Json, State, Wait};
use serde::{Deserialize, Serialize};
use std::error::Error;
use time::OffsetDateTime;

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let root = tempfile::tempdir()?;
    // A real tool takes its key from a variable or a file: EnvKey::from_env, KeyFile::open.
    let key = EnvKey::new("STATE_KEY", MasterKey::generate()?);
    let store = localstate::open(root.path(), "network", "prod", key)?;

    let lock = store.lock("apply", Wait::none())?;
    if let Some(dead) = lock.took_over() {
        println!("{dead} died with the lock: its work may be half done");
    }
    // `None` means a fresh stack and nothing else: a lost pointer is an error.
    let (mut current, mut state) = match store.head()? {
        Some(Head {
            revision, document, ..
        }) => (Some(revision), document),
        None => {
            println!("a fresh stack");
            let now = OffsetDateTime::now_utc();
            (None, State::new(store.id(), "v1.2.0", "8c1f", now)?)
        }
    };

    for (address, kind, id) in [
        ("resource.vpc", "vpc", "vpc-1"),
        ("resource.subnet", "subnet", "subnet-7"),
    ] {
        // … the resource is made here. Then it is saved at once: a crash loses track of one resource at most.
        let binding = Binding::new("aws", kind);
        let mut entry = Entry::new(address, EntryKind::Leaf, Category::Resource, binding);
        entry.outputs = Some(Json::from_value(&Outputs { id: id.into() })?);
        state.upsert(entry);
        state.set_generated_at(OffsetDateTime::now_utc())?;

        let next = store.save(&state, format!("made {address}"), current.as_ref(), lock.token()?)?;
        println!("{next}: {address}");
        current = Some(next);
    }
    lock.unlock()?;

    let head = store.head()?.ok_or("nothing is current")?;
    println!(
        "current is {}, of {} snapshots",
        head.revision,
        store.list()?.len()
    );
    for entry in head.document.entries() {
        let outputs: Outputs = entry.outputs.as_ref().ok_or("no outputs")?.to()?;
        println!("  {} has the id {}", entry.address, outputs.id);
    }
    assert_eq!((Some(head.revision), head.document), (current, state));
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Outputs {
    id: String,
}
