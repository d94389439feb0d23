//! The documentation of the contract quotes the ids; one that is not there tells its reader nothing.

use sdk_conformance::{BACKEND_RULES, RULES};

#[test]
fn every_rule_is_quoted_in_the_documentation_of_the_contract() {
    let contract = [
        include_str!("../../sdk-state/src/storage.rs"),
        include_str!("../../sdk-state/src/backend.rs"),
        include_str!("../../sdk-state/src/lock.rs"),
    ]
    .concat();
    let backend = BACKEND_RULES.iter().map(|rule| rule.id);
    for id in RULES.iter().map(|rule| rule.id).chain(backend) {
        assert!(contract.contains(id), "{id}");
    }
}
