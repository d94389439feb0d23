//! The local backend as a program uses it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test may panic")]

mod damage;
mod examples;
mod headers;
mod hostile;
mod journal;
mod journal_file;
mod leases;
mod locks;
mod memory;
mod mounts;
mod moved;
mod pointer;
mod removal;
mod secrets;
mod support;
mod trouble;
mod unobin;
mod writes;
