//! The contract as a tool sees it.

mod current;
mod damage;
mod lock;
mod place;
mod snapshots;
mod stacks;

pub(in crate::backend_rules) use current::*;
pub(in crate::backend_rules) use damage::*;
pub(in crate::backend_rules) use lock::*;
pub(in crate::backend_rules) use snapshots::*;
pub(in crate::backend_rules) use stacks::*;
