//! The backend passes the kit, and what the kit does not see.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a helper of a test may panic")]

mod binary;
mod database;
mod kit;
mod lock;
mod walkthrough;
