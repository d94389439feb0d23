//! Replaces an old key with a new one: opens with both, seals only for the new one.
//!
//! `cargo run -p localstate --example rotate_key`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![expect(clippy::disallowed_methods, reason = "here the clock enters the program")]

use sdk_state::encrypt::{EnvKey, Keyring, MasterKey};
use sdk_state::{ErrorKind, Expect, State, Wait};
use std::error::Error;
use time::OffsetDateTime;

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
    let lock = before.lock("apply", Wait::none())?;
    let state = State::new(before.id(), "v1.2.0", "8c1f", OffsetDateTime::now_utc())?;
    let first = before.save(&state, "begin", Expect::Nothing, lock.token()?)?;
    lock.unlock()?;
    println!("{first} is sealed for {}", old()?.fingerprint());

    // While a keyring opens with both keys, old revisions stay readable, and every write is sealed for the new key.
    let both = open(Keyring::from(new()?).also_open(old()?)?)?;
    let lock = both.lock("rotate-key", Wait::none())?;
    let head = both.head()?.ok_or("nothing is current")?;
    let second = both.save(
        &head.document,
        "sealed for the new key",
        &head.revision,
        lock.token()?,
    )?;
    println!("{second} is sealed for {}", new()?.fingerprint());

    // The old key does not open the current revision.
    match before.get(&second) {
        Err(error) if error.kind() == &ErrorKind::WrongKey => println!("{error}"),
        other => return Err(format!("the old key should not open it: {other:?}").into()),
    }
    // It still opens every copy of what was sealed for it: change the passwords in those revisions.
    assert_eq!(before.get(&first)?, state);

    // Once nobody wants to go back to them, delete the old revisions, then destroy the old key.
    both.backend().remove(&first, Some(lock.token()?))?;
    lock.unlock()?;
    let after = open(new()?.into())?;
    let head = after.head()?.ok_or("nothing is current")?;
    assert_eq!((&head.revision, &head.document), (&second, &state));
    println!("{second} opens with the new key alone");
    Ok(())
}
