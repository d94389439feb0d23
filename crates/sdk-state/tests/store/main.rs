//! The store over a backend in memory.
#![cfg(test)]

mod documents;
mod locks;
mod pointer;
mod revisions;
mod sealing;
mod support;
