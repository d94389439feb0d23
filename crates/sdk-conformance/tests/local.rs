//! `LocalStorage` passes every rule.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic")]

mod support;

use sdk_conformance::{BACKEND_RULES, RULES, Report, Stores};
use std::sync::Arc;
use support::Local;

mod storage {
    sdk_conformance::storage_tests!(crate::support::Local::new);
}

mod backend {
    sdk_conformance::backend_tests!(|| sdk_conformance::Stores(crate::support::Local::new()));
}

/// What a user is shown: `cargo test -p sdk-conformance --test local -- --ignored --nocapture`.
#[test]
#[ignore = "runs every rule a second time, to print the report"]
fn the_report_of_a_local_directory() {
    let storage = Report::run(RULES, || Arc::new(Local::new()), &[]);
    let backend = Report::run(BACKEND_RULES, || Arc::new(Stores(Local::new())), &[]);
    println!("{storage}\n\n{backend}");
    assert!(storage.is_good() && backend.is_good());
}
