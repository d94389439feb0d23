//! A tool's run: lock, read what is current, write after every resource, unlock; then read it back.
//!
//! `cargo run -p localstate --example write_and_read_back`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![expect(clippy::disallowed_methods, reason = "here the clock enters the program")]

use sdk_state::encrypt::{EnvKey, MasterKey};
use sdk_state::{
    Backend as _, Binding, Category, Entry, EntryKind, ErrorKind, Expect, Json, State, Wait, WriteOptions,
};
use serde::{Deserialize, Serialize};
use std::error::Error;
use time::OffsetDateTime;

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let root = tempfile::tempdir()?;
    // A tool takes its key from where it is kept: EnvKey::from_env, KeyFile::open.
    let key = EnvKey::new("STATE_KEY", MasterKey::generate()?);
    let store = localstate::open(root.path(), "network", "prod", key)?;

    let lock = store.lock("apply", &Wait::none())?;
    let (mut current, mut state) = match store.head() {
        Ok((rev, state)) => (Some(rev), state),
        // Only without any snapshot is this a fresh start. With some, the pointer was lost: an error.
        Err(error) if error.kind() == &(ErrorKind::NoCurrent { snapshots: 0 }) => {
            println!("{error}");
            let now = OffsetDateTime::now_utc();
            (None, State::new(&"network/prod".parse()?, "v1.2.0", "8c1f", now)?)
        }
        Err(error) => return Err(error.into()),
    };

    for (address, kind, id) in [
        ("resource.vpc", "vpc", "vpc-1"),
        ("resource.subnet", "subnet", "subnet-7"),
    ] {
        // … the resource is made here. Then it is written down at once: a crash forgets one resource at most.
        let binding = Binding::new("aws", kind);
        let mut entry = Entry::new(address, EntryKind::Leaf, Category::Resource, binding);
        entry.outputs = Some(Json::from_value(&Outputs { id: id.into() })?);
        state.upsert(entry);
        state.set_generated_at(OffsetDateTime::now_utc())?;

        let next = store.write(
            &state,
            &WriteOptions::new().with_message(format!("made {address}")),
        )?;
        store.compare_and_set_current(Expect::Exactly(current.as_ref()), &next, Some(&*lock))?;
        println!("{next}: {address}");
        current = Some(next);
    }
    lock.unlock()?;

    let (rev, read) = store.head()?;
    println!("current is {rev}, of {} snapshots", store.list()?.len());
    for entry in read.entries() {
        let outputs: Outputs = entry.outputs.as_ref().ok_or("no outputs")?.to()?;
        println!("  {} has the id {}", entry.address, outputs.id);
    }
    assert_eq!((Some(rev), read), (current, state));
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Outputs {
    id: String,
}
