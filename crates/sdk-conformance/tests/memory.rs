//! `MemoryStorage` passes every rule.

mod support;

mod storage {
    sdk_conformance::storage_tests!(crate::support::Memory::default);
}

mod backend {
    sdk_conformance::backend_tests!(sdk_conformance::Stores::<crate::support::Memory>::default);
}
