//! What the rules do.

pub(super) mod backend;
