//! Nothing but `docs/cookbook.md`, so that each program in it is compiled and run as a test. It stands here because this
//! package is never published: a published one could not reach the page.
#![doc = include_str!("../../docs/cookbook.md")]
