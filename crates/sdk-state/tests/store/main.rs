//! The store over a storage in memory.

mod locks;
mod pointer;
mod revisions;
mod sealing;
mod support;
