//! The store over a storage in memory.
#![cfg(test)]

mod locks;
mod pointer;
mod revisions;
mod sealing;
mod support;
