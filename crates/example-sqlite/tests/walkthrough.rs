//! `docs/writing-a-backend.md` shows what is here.

use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../../../docs/writing-a-backend.md");

/// A fence that begins with a file's name is an excerpt of it.
#[test]
fn every_excerpt_is_in_its_file() {
    let mut excerpts = 0;
    for fenced in PAGE.split("```").skip(1).step_by(2) {
        let (info, text) = fenced.split_once('\n').unwrap();
        if let Some(file) = info.strip_prefix("rust ") {
            let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
            assert!(source.contains(text), "not in {file}:\n{text}");
            excerpts += 1;
        }
    }
    assert!(excerpts >= 10, "{excerpts}");
}

/// The page says so.
#[test]
fn the_backend_has_less_than_250_lines_and_its_binary_ten() {
    let lines = |file: &str| {
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file)).unwrap()
    };
    let count = |file: &str| lines(file).lines().filter(|line| !line.trim().is_empty()).count();
    let total = ["lib.rs", "database.rs", "storage.rs"]
        .map(count)
        .iter()
        .sum::<usize>();
    assert!(total < 250, "{total}");
    assert_eq!(lines("main.rs").lines().count(), 10);
}
