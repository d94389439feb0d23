//! The operators' command line for infrastructure state: `statectl --help` is its manual.
//!
//! A binary with one more backend in its registry is otherwise `statectl`:
//!
//! ```no_run
//! use localstate::LocalRoot;
//! use sdk_state::{Error, Registry, Root};
//!
//! fn open_somewhere(rest: &str) -> Result<Box<dyn Root>, Error> {
//! #   LocalRoot::open_address(rest)
//!     // …
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let registry = Registry::new()
//!         .with(LocalRoot::SCHEME, LocalRoot::open_address)
//!         .with("somewhere", open_somewhere);
//!     statectl::main(registry)
//! }
//! ```
//!
//! # Guarantees
//!
//! * Standard output carries the answer alone; notices and errors go to standard error.
//! * A command that reads creates nothing. A command that changes a stack holds its lock.
//! * No value of a snapshot and no byte of a key appears in a notice or an error.
//! * The exit code tells what went wrong: see [`main`].
//!
//! # Limitations
//!
//! * Linux and macOS.
//! * Messages and authors are read without a key and are not authenticated: see `statectl snapshots --help`.

mod clock;
mod commands;
mod context;
mod exit;
mod held;
mod inherited;
mod key_file;
mod keys;
mod options;
mod output;
mod progress;
mod stack;
mod table;
mod words;

use clap::builder::Resettable;
use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use commands::Command;
use context::Context;
use exit::{Failure, USAGE};
use options::{Format, Options};
use output::Output;
use sdk_state::Registry;
use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

/// Keeps infrastructure state: encrypted, versioned snapshots under an exclusive lock.
///
/// Stacks are named FACTORY/STACK. Standard output carries the answer alone; notices and errors go to standard error.
#[derive(Debug, Parser)]
#[command(
    name = "statectl",
    version,
    after_help = "Example:\n  \
        statectl push network/prod state.json --message 'first'\n  \
        statectl list network/prod",
    after_long_help = "Exit codes:\n  \
        0  done\n  \
        1  failed\n  \
        2  usage\n  \
        3  no current snapshot, or no such revision, entry or stack\n  \
        4  locked by another\n  \
        5  cannot be opened: wrong or missing key, damaged, misplaced, too large, refused version\n  \
        6  current moved meanwhile\n  \
        7  invalid snapshot or name\n\n\
        Example:\n  \
        statectl push network/prod state.json --message 'first'\n  \
        statectl list network/prod"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    options: Options,
}

/// Runs `statectl` with the arguments and the environment of this process, over these backends.
///
/// The exit code is 0 done, 1 failed, 2 usage, 3 no current snapshot or no such revision, entry or stack, 4 locked by
/// another, 5 cannot be opened, 6 `current` moved meanwhile, 7 invalid snapshot or name; that of `statectl lock` is its
/// command's.
#[must_use]
pub fn main(registry: Registry) -> ExitCode {
    let parsed = command()
        .try_get_matches()
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => return not_understood(&error),
    };
    let context = Context::new(registry, arguments.options);
    match arguments.command.run(&context) {
        Ok(code) => code.into(),
        Err(failure) => {
            let failure = failure.about(arguments.command.stack());
            context.output().failure(&failure);
            failure.code().into()
        }
    }
}

/// An empty variable is none, here as everywhere: it is the way to unset one in many a CI system.
fn command() -> clap::Command {
    Arguments::command().mut_args(|argument| match argument.get_env() {
        Some(variable) if env::var_os(variable).is_some_and(|value| value.is_empty()) => {
            argument.env(Resettable::Reset)
        }
        _ => argument,
    })
}

/// Help that was asked for, or a usage error, which is a document too where documents are wanted.
fn not_understood(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && wants_json(env::args_os().skip(1)) {
        let message = error.render().to_string();
        // What follows the first paragraph is for people.
        let message = message.split("\n\n").next().unwrap_or_default();
        let message = message.trim().trim_start_matches("error: ");
        Output::new(Format::Json, clap::ColorChoice::Never).failure(&Failure::usage(message));
    } else {
        // Whoever closed the pipe does not want to read it.
        let _ = error.print();
    }
    match error.use_stderr() {
        true => USAGE.into(),
        false => ExitCode::SUCCESS,
    }
}

/// Arguments that were not understood still tell the format.
fn wants_json(arguments: impl Iterator<Item = OsString>) -> bool {
    let mut format = env::var_os("STATECTL_FORMAT");
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        if argument == "--format" {
            format = arguments.peek().cloned();
        } else if let Some(value) = argument.to_str().and_then(|text| text.strip_prefix("--format=")) {
            format = Some(value.into());
        }
    }
    format.is_some_and(|format| format == "json")
}
