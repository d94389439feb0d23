//! The public API of each crate, with all its features, as `crates/NAME/public-api.txt` lists it, so
//! that a change of the API shows in the change of the listing.
//!
//! `public-api` makes the list from the JSON of rustdoc. Its format is unstable and belongs to one version of Rust, the
//! one that the workspace states.

use crate::workspace::{exit, metadata, published, run as run_command, target, unstable_cargo};
use clap::Args;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::process::ExitCode;

/// Options of `cargo xtask public-api`.
#[derive(Args)]
pub struct Options {
    /// Writes the listings anew
    #[arg(long)]
    bless: bool,
}

/// Compares, or writes the listings.
pub fn run(options: &Options) -> ExitCode {
    exit(run_all(options, &mut io::stdout().lock()))
}

fn run_all(options: &Options, out: &mut impl io::Write) -> io::Result<()> {
    let mut changed = false;
    for package in published(&metadata()?) {
        let listing = package.manifest_path.with_file_name("public-api.txt");
        let now = list(&package.name)?;
        if options.bless {
            fs::write(listing, now)?;
            continue;
        }
        // A crate that has no listing yet has an empty one.
        let difference = difference(&fs::read_to_string(&listing).unwrap_or_default(), &now);
        if difference.is_empty() {
            writeln!(out, "{}: {} items", package.name, now.lines().count())?;
        } else {
            changed = true;
            writeln!(out, "{} differs from {listing}:\n{difference}", package.name)?;
        }
    }
    if changed {
        return Err(io::Error::other(
            "the public API is not the one that is listed. If that is meant, `cargo xtask public-api --bless` lists it anew",
        ));
    }
    Ok(())
}

fn list(package: &str) -> io::Result<String> {
    let mut command = unstable_cargo();
    command.args([
        "rustdoc",
        "--quiet",
        "--locked",
        "--lib",
        "--all-features",
        "-p",
        package,
    ]);
    command.args([
        "--",
        "-Zunstable-options",
        "--output-format=json",
        "--cap-lints=allow",
    ]);
    run_command(&mut command)?;
    let file = format!("unstable/doc/{}.json", package.replace('-', "_"));
    let api = public_api::Builder::from_rustdoc_json(target().join(file))
        .omit_blanket_impls(true)
        .build()
        .map_err(io::Error::other)?;
    Ok(api.to_string())
}

/// The lines that went and the lines that came. Each item is one line, so their order tells nothing.
fn difference(old: &str, new: &str) -> String {
    let mut text = String::new();
    for (sign, lines, others) in [('-', old, new), ('+', new, old)] {
        for line in lines.lines() {
            if !others.lines().any(|other| other == line) {
                let _ = writeln!(text, "{sign} {line}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_what_went_and_what_came() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), "");
        assert_eq!(difference("a\nb\n", "b\nc\n"), "- a\n+ c\n");
    }
}
