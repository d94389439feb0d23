//! What users read is what runs.

use std::io;

/// The command that the README gives for the tests.
pub(super) fn test_command(readme: &str) -> io::Result<&str> {
    let mut lines = readme.lines().map(str::trim);
    lines
        .find(|line| line.starts_with("cargo test"))
        .ok_or_else(|| io::Error::other("the README gives no command for the tests"))
}

/// What is typed in the README's session, without what is printed.
pub(super) fn console_commands(readme: &str) -> io::Result<String> {
    let block = readme
        .split_once("```console\n")
        .and_then(|(_, rest)| rest.split_once("\n```"))
        .ok_or_else(|| io::Error::other("the README shows no session"))?;
    let commands: Vec<&str> = block
        .0
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .collect();
    Ok(commands.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_says_how_to_test_and_what_to_try() {
        let readme = include_str!("../../../README.md");
        assert_eq!(test_command(readme).unwrap(), "cargo test --workspace");
        let commands = console_commands(readme).unwrap();
        assert!(commands.starts_with("cargo run "), "{commands}");
        assert!(
            commands.lines().count() > 5 && !commands.contains("notice:"),
            "{commands}"
        );
    }
}
