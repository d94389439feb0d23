//! `docs/writing-a-backend.md` shows what is here.

use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../../../docs/writing-a-backend.md");

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A fence that begins with a file's name is an excerpt of it.
#[test]
fn every_excerpt_is_in_its_file() {
    let mut excerpts = 0;
    for fenced in PAGE.split("```").skip(1).step_by(2) {
        let (info, text) = fenced.split_once('\n').unwrap();
        if let Some(file) = info.strip_prefix("rust ") {
            assert!(read(file).contains(text), "not in {file}:\n{text}");
            excerpts += 1;
        }
    }
    assert!(excerpts >= 4, "{excerpts}");
}

/// A link to the example leads to a file that exists, and its text, if it is code, names something in it.
#[test]
fn every_link_to_the_example_leads_to_what_it_names() {
    const LINK: &str = "](../crates/example-sqlite/";
    let mut links = 0;
    for (at, _) in PAGE.match_indices(LINK) {
        let (_, text) = PAGE[..at].rsplit_once('[').unwrap();
        let (file, _) = PAGE[at + LINK.len()..].split_once(')').unwrap();
        let found = read(file);
        if let Some(name) = text.strip_prefix('`').and_then(|text| text.strip_suffix('`')) {
            assert!(
                file.ends_with(name) || found.contains(name),
                "{name} is not in {file}"
            );
        }
        links += 1;
    }
    assert!(links >= 10, "{links}");
}

/// The page says so.
#[test]
fn the_backend_has_less_than_340_lines_of_code() {
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    let count = |file: &str| read(file).lines().filter(is_code).count();
    let total = ["src/lib.rs", "src/database.rs", "src/backend.rs", "src/main.rs"]
        .map(count)
        .iter()
        .sum::<usize>();
    assert!(total < 340, "{total}");
}

/// The page names rules; the kit has them.
#[test]
fn every_rule_that_the_page_names_exists() {
    for word in PAGE.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-') {
        let is_id = word.split_once('-').is_some_and(|(group, number)| {
            group.len() > 2
                && group.bytes().all(|letter| letter.is_ascii_uppercase())
                && number.len() == 2
                && number.bytes().all(|digit| digit.is_ascii_digit())
        });
        let is_known = sdk_conformance::RULES.iter().any(|rule| rule.id == word);
        assert!(!is_id || is_known, "{word}");
    }
}
