//! The contract as a tool sees it.

mod current;
mod lock;
mod place;
mod snapshots;

pub(in crate::backend_rules) use current::*;
pub(in crate::backend_rules) use lock::*;
pub(in crate::backend_rules) use snapshots::*;
