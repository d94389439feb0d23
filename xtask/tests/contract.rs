//! The documentation of the contract and the rules that check it name each other.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic")]

use sdk_conformance::{BACKEND_RULES, RULES};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Where the traits are documented.
const CONTRACT: [&str; 3] = ["storage.rs", "backend.rs", "lock.rs"];

/// The ids in the documentation: capitals, a hyphen, two digits.
fn quoted() -> BTreeSet<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/sdk-state/src");
    let mut ids = BTreeSet::new();
    for file in CONTRACT {
        let text = fs::read_to_string(source.join(file)).unwrap();
        let documentation = text.lines().filter(|line| line.trim_start().starts_with("///"));
        for word in
            documentation.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '-'))
        {
            if let Some((group, number)) = word.split_once('-')
                && number.len() == 2
                && number.bytes().all(|byte| byte.is_ascii_digit())
                && group.bytes().all(|byte| byte.is_ascii_uppercase())
            {
                ids.insert(word.to_owned());
            }
        }
    }
    ids
}

#[test]
fn the_documentation_quotes_every_rule_and_no_other() {
    let storage = RULES.iter().map(|rule| rule.id);
    let rules: BTreeSet<String> = storage
        .chain(BACKEND_RULES.iter().map(|rule| rule.id))
        .map(String::from)
        .collect();
    assert_eq!(quoted(), rules);
}
