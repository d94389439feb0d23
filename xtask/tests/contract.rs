//! The documentation of the contract and the rules that check it name each other.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic")]

use sdk_conformance::RULES;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the traits are documented.
const CONTRACT: [&str; 3] = ["backend.rs", "lock.rs", "catalog.rs"];

fn rules() -> BTreeSet<String> {
    RULES.iter().map(|rule| rule.id.into()).collect()
}

/// The ids in a text: capitals, a hyphen, two digits.
fn quoted(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let is_id = |word: &&str| {
        word.split_once('-').is_some_and(|(group, number)| {
            number.len() == 2
                && number.bytes().all(|byte| byte.is_ascii_digit())
                && group.bytes().all(|byte| byte.is_ascii_uppercase())
        })
    };
    words.filter(is_id).map(String::from).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every source file and every page under `directory`.
fn texts(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { texts(&path) } else { vec![path] });
    let is_text = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| extension == "rs" || extension == "md")
    };
    files.filter(is_text).collect()
}

#[test]
fn the_documentation_quotes_every_rule_and_no_other() {
    let mut documentation = String::new();
    for file in CONTRACT {
        let text = fs::read_to_string(root().join("crates/sdk-state/src").join(file)).unwrap();
        for line in text.lines().filter(|line| line.trim_start().starts_with("///")) {
            documentation.push_str(line);
            documentation.push('\n');
        }
    }
    assert_eq!(quoted(&documentation), rules());
}

#[test]
fn no_page_and_no_source_quotes_a_rule_that_does_not_exist() {
    let rules = rules();
    let groups: BTreeSet<&str> = rules
        .iter()
        .filter_map(|id| Some(id.split_once('-')?.0))
        .collect();
    let mut pages = texts(&root().join("docs"));
    for member in ["sdk-state", "localstate", "sdk-conformance"] {
        pages.extend(texts(&root().join("crates").join(member).join("src")));
    }
    assert!(pages.len() > 50, "{pages:?}");
    for page in pages {
        let mut ids = quoted(&fs::read_to_string(&page).unwrap());
        // Others look the same, such as the name of an encoding.
        ids.retain(|id| groups.contains(id.split('-').next().unwrap()) && !rules.contains(id));
        assert!(ids.is_empty(), "{}: {ids:?}", page.display());
    }
}

/// The promises, by letter, in the first two columns of the tables in a text.
fn promises(text: &str) -> Vec<(String, String)> {
    let rows = text.lines();
    let cells = rows.filter_map(|row| {
        let mut cells = row.strip_prefix("| ")?.split(" | ");
        Some((
            cells.next()?.to_owned(),
            cells.next()?.trim_end_matches(" |").to_owned(),
        ))
    });
    let is_letter = |letter: &str| letter.len() == 2 && letter.as_bytes()[1].is_ascii_digit();
    cells.filter(|(letter, _)| is_letter(letter)).collect()
}

#[test]
fn the_crate_and_the_page_make_the_same_promises() {
    let page = fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    // The tables after this heading repeat the letters for another purpose.
    let page = promises(page.split("## Assumed").next().unwrap());
    let module = fs::read_to_string(root().join("crates/sdk-state/src/guarantees.md")).unwrap();
    assert!(page.len() > 20, "{page:?}");
    assert_eq!(promises(&module), page);
}

#[test]
fn every_test_that_a_promise_names_exists() {
    let page = fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    let named = page.split('`').skip(1).step_by(2);
    let named: BTreeSet<&str> = named.filter(|name| name.matches('_').count() > 1).collect();
    assert!(named.len() > 50, "{named:?}");
    let sources = texts(&root().join("crates"));
    let sources: String = sources
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let missing: Vec<_> = named
        .into_iter()
        .filter(|name| !sources.contains(&format!("fn {name}(")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
