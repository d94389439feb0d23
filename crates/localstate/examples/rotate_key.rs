//! Replaces an old key with a new one: opens with both, and seals every revision for the new one alone.
//!
//! `cargo run -p localstate --example rotate_key`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use sdk_state::encrypt::{Encrypter as _, EnvKey, Keyring, MasterKey};
use sdk_state::{Binding, Category, Depth, Entry, EntryKind, ErrorKind};
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

    // The recipients belong to the stack, so another keyring alone changes nothing: this one can open with both keys.
    let both = open(Keyring::from(new()?).also_open(old()?)?)?;
    let run = both.begin("rotate-key", Duration::from_secs(60))?;
    for revision in both.list()? {
        // `Depth::Header` would be quicker, but the holder of the old key may have kept the data key of a file.
        run.reseal(&revision, &[new()?.recipient().clone()], Depth::Body)?;
    }
    run.finish(None)?;

    // The old key opens nothing in the store, but still opens every copy: change the passwords in it.
    match before.head() {
        Err(error) if error.kind() == &ErrorKind::WrongKey => println!("{error}"),
        other => return Err(format!("the old key should not open it: {other:?}").into()),
    }
    let after = open(new()?.into())?;
    let head = after.head()?.ok_or("nothing is current")?;
    assert_eq!((&head.revision, head.document.len()), (&first, 1));
    println!("{first} opens with the new key alone");
    Ok(())
}
