//! The store over a backend in memory.
#![cfg(test)]

mod crashes;
mod documents;
mod failures;
mod histories;
mod locks;
mod pointer;
mod recipients;
mod recovery;
mod revisions;
mod runs;
mod sealing;
mod support;
mod watched;
