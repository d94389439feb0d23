//! The real binary in an empty directory of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod documents;
mod exit_codes;
mod keys;
mod locking;
mod pushing;
mod reading;
mod repairs;
mod sandbox;
mod version_one;
