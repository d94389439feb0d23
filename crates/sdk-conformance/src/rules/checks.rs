//! What the rules do. Each file is a group of them.

pub(super) mod create;
pub(super) mod guard;
pub(super) mod list;
pub(super) mod lock;
pub(super) mod pointer;
pub(super) mod read;
pub(super) mod remove;
pub(super) mod replace;
pub(super) mod sealed;
pub(super) mod stacks;
