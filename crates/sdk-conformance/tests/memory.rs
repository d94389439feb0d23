//! `MemoryStorage` passes every rule.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic")]

mod support;

mod storage {
    sdk_conformance::storage_tests!(crate::support::Memory::default);
}

mod backend {
    sdk_conformance::backend_tests!(sdk_conformance::Stores::<crate::support::Memory>::default);
}
