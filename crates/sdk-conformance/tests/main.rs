//! The kit itself: right backends keep every rule, each mutant breaks the rules that name its fault.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a helper of a test may panic")]

mod faulty;
mod latency;
mod local;
mod mutants;
mod races;
mod report;
mod support;

/// `MemoryBackend` keeps every rule.
mod memory {
    sdk_conformance::backend_tests!(crate::support::Memory::default);
}
