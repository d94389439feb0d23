//! Replaces an old key with a new one: opens with both, seals only for the new one.
//!
//! `cargo run -p localstate --example rotate_key`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use sdk_state::encrypt::{EnvKey, Keyring, MasterKey};
use sdk_state::{Binding, Category, Entry, EntryKind, ErrorKind};
use std::error::Error;
use std::time::Duration;

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let root = tempfile::tempdir()?;
    let open = |keys: Keyring| localstate::open(root.path(), "network", "prod", keys);
    // A tool takes these from two variables.
    let (old, new) = (
        MasterKey::generate()?.to_base64(),
        MasterKey::generate()?.to_base64(),
    );
    let old = || MasterKey::from_base64(&old).map(|key| EnvKey::new("STATE_KEY_2025", key));
    let new = || MasterKey::from_base64(&new).map(|key| EnvKey::new("STATE_KEY", key));

    let before = open(old()?.into())?;
    let run = before.begin("apply", Duration::from_secs(60))?;
    let vpc = Entry::new(
        "resource.vpc",
        EntryKind::Leaf,
        Category::Resource,
        Binding::new("aws", "vpc"),
    );
    run.put(vpc)?;
    let first = run.finish("begin")?.ok_or("nothing was changed")?;
    println!("{first} is sealed for {}", old()?.fingerprint());

    // While a keyring opens with both keys, old revisions stay readable, and every write is sealed for the new key.
    let both = open(Keyring::from(new()?).also_open(old()?)?)?;
    let run = both.begin("rotate-key", Duration::from_secs(60))?;
    let state = run.state();
    let second = run.save((*state).clone(), "sealed for the new key")?;
    println!("{second} is sealed for {}", new()?.fingerprint());

    // The old key does not open the current revision.
    match before.get(&second) {
        Err(error) if error.kind() == &ErrorKind::WrongKey => println!("{error}"),
        other => return Err(format!("the old key should not open it: {other:?}").into()),
    }
    // It still opens every copy of what was sealed for it: change the passwords in those revisions.
    assert_eq!(before.get(&first)?, *state);

    // Once nobody wants to go back to them, delete the old revisions, then destroy the old key.
    run.delete(&first)?;
    run.finish(None)?;
    let after = open(new()?.into())?;
    let head = after.head()?.ok_or("nothing is current")?;
    assert_eq!((&head.revision, &head.document), (&second, &*state));
    println!("{second} opens with the new key alone");
    Ok(())
}
