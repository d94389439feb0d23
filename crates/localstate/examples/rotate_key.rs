//! Puts a new key in the place of an old one: opens with both, seals for the new one alone.
//!
//! `cargo run -p localstate --example rotate_key`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![expect(clippy::disallowed_methods, reason = "here the clock enters the program")]

use localstate::LocalStore;
use sdk_state::encrypt::{EnvKey, Keyring, MasterKey};
use sdk_state::{Backend as _, ErrorKind, Expect, State, Wait, WriteOptions};
use std::error::Error;
use time::OffsetDateTime;

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let root = tempfile::tempdir()?;
    let open =
        |ring: Keyring| -> Result<LocalStore, _> { localstate::open(root.path(), "network", "prod", ring) };
    // What two variables would hold.
    let (old, new) = (
        MasterKey::generate()?.to_base64(),
        MasterKey::generate()?.to_base64(),
    );
    let old = || MasterKey::from_base64(&old).map(|key| EnvKey::new("STATE_KEY_2025", key));
    let new = || MasterKey::from_base64(&new).map(|key| EnvKey::new("STATE_KEY", key));

    let before = open(old()?.into())?;
    let state = State::new(before.id(), "v1.2.0", "8c1f", OffsetDateTime::now_utc())?;
    let first = before.write(&state, &WriteOptions::new())?;
    before.set_current(&first)?;
    println!("{first} is sealed for {}", old()?.fingerprint());

    // While a ring opens with both keys, old revisions stay readable and every write is for the new one.
    let both = open(Keyring::from(new()?).also_open(old()?)?)?;
    let lock = both.lock("rotate-key", &Wait::none())?;
    let (current, state) = both.head()?;
    let second = both.write(
        &state,
        &WriteOptions::new().with_message("sealed for the new key"),
    )?;
    both.compare_and_set_current(Expect::Exactly(Some(&current)), &second, Some(&*lock))?;
    println!("{second} is sealed for {}", new()?.fingerprint());

    // The old key no longer opens what is current.
    match before.get(&second) {
        Err(error) if error.kind() == &ErrorKind::WrongKey => println!("{error}"),
        other => return Err(format!("the old key should not open it: {other:?}").into()),
    }
    // It still opens what was sealed for it, for everybody who has a copy. Passwords in there are changed, or known.
    assert_eq!(before.get(&first)?, state);

    // Once nobody wants to go back to them, the old revisions go, and the old key with them.
    both.delete(&first, Some(&*lock))?;
    lock.unlock()?;
    let after = open(new()?.into())?;
    assert_eq!(after.head()?, (second, state));
    println!("{} opens with the new key alone", after.current_rev()?);
    Ok(())
}
