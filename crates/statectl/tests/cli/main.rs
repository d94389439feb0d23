//! The real binary in an empty directory of its own.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should say where"
)]

mod age;
mod browser;
mod checking;
mod completing;
mod documentation;
mod editing;
mod graph;
mod history;
mod json;
mod keys;
mod locking;
mod moving;
mod outputs;
mod passphrases;
mod payloads;
mod places;
mod pushing;
mod reading;
mod recipients;
mod refusals;
mod repairing;
mod retention;
mod sandbox;
mod schema;
mod selecting;
mod stacks;
mod unfinished;
mod unobin;
