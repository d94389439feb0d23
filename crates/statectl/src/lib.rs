//! The operators' command line for infrastructure state: `statectl --help` is its manual, and `docs/operators.md` its guide.
//!
//! This library is for programs that add a backend: such a program is `statectl` with that backend in its registry. The
//! program depends on `statectl`, `sdk-state` and the backend's crate, and on `localstate` if it offers `local:` too. In this
//! example the backend keeps everything in memory:
//!
//! ```
//! use localstate::LocalCatalog;
//! use sdk_state::{MemoryCatalog, Registry};
//! use std::process::ExitCode;
//!
//! fn backends() -> Registry {
//!     Registry::new()
//!         .register(LocalCatalog::SCHEME, LocalCatalog::open)
//!         .register("memory", |_address| Ok(MemoryCatalog::new()))
//! }
//!
//! # mod the_binary {
//! # use super::{backends, ExitCode};
//! # #[allow(dead_code)]
//! fn main() -> ExitCode {
//!     statectl::main(backends())
//! }
//! # }
//! # fn main() -> Result<(), sdk_state::Error> {
//! #     let catalog = backends().open("memory:anything")?;
//! #     assert_eq!(catalog.open(&"network/prod".parse()?)?.list()?, []);
//! #     Ok(())
//! # }
//! ```
//!
//! The option `--backend memory:anything`, or the variable `STATECTL_BACKEND`, then chooses this backend. A backend adds no
//! command and no option: it takes what it needs from the address or from its own environment.
//!
//! # Where to go from here
//!
//! | to | see |
//! |---|---|
//! | use the command line | `statectl --help`, and `--help` of each command, with an example |
//! | read its answers from a program | `docs/json.md`, with a JSON Schema for each document |
//! | write a backend | [`Backend`](sdk_state::Backend) and [`Catalog`](sdk_state::Catalog), and the crate `sdk-conformance`, which tests it |
//! | build it into a binary | [`main`] and [`Registry`] |
//! | keep state from a program of your own | the crates `sdk-state` and `localstate`: nothing here is needed |
//!
//! # Guarantees
//!
//! * Standard output carries only the answer; notices, warnings and errors go to standard error.
//! * A command that reads creates nothing. A command that changes a stack holds its lock.
//! * No value of a snapshot, no byte of a key and no secret of an address appears in a notice or an error.
//! * `prune` removes no revision that is current, pinned or unreadable, and none while it cannot read the pins.
//! * The exit code says what went wrong: see [`main`].
//!
//! # Limitations
//!
//! * Linux; macOS should work, but is untested.
//! * The library consists of [`main`]: commands cannot be added or removed, and the arguments are those of the process.
//! * Messages and authors are shown without a key and are not authenticated: see `statectl snapshots --help`.
//!
//! # Features
//!
//! None. The crate enables `legacy-aes-gcm` of `sdk-state`, so that `--accept-v1` opens unobin's files.

// From the bottom up: output (text, table, exit, output, progress), places and keys (environment, nearest, place, keys), what a
// document holds (members, sensitive, masked, document, fields, diff), the stack, its revisions, its lock and its recipients (stack,
// history, comparing, selector, held, holder, unfinished, rekeying, check), which revisions stay (rules, retention, settings,
// pruning), whole stacks (copying, moving, trashed), pictures (graph, layout, page), other programs (child, editor), the
// commands, and what shells offer while one is typed (shell, completing).
mod check;
mod child;
mod commands;
mod comparing;
mod completing;
mod copying;
mod diff;
mod document;
mod editor;
mod environment;
mod exit;
mod fields;
mod graph;
mod held;
mod history;
mod holder;
#[cfg(test)]
mod interrupted;
mod keys;
mod layout;
mod masked;
mod members;
mod moving;
mod nearest;
mod output;
mod page;
mod passphrase;
mod place;
mod progress;
mod pruning;
mod rekeying;
mod retention;
mod rules;
mod selector;
mod sensitive;
mod settings;
mod shell;
mod stack;
mod table;
mod text;
mod trashed;
mod unfinished;

use clap::builder::Resettable;
use clap::{CommandFactory as _, FromArgMatches as _};
use commands::Arguments;
use exit::{Failure, USAGE};
use output::{Format, Output};
use sdk_state::Registry;
use stack::Context;
use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs `statectl` with the arguments and the environment of this process, over these backends, and returns the exit code
/// of the process. It prints the answer and the error itself.
///
/// Without `--root`, `--backend` and their variables it asks the registry for `local:` and the path of the nearest
/// `.unobin/state`, from the working directory upward.
///
/// | exit code | meaning |
/// |---|---|
/// | 0 | done |
/// | 1 | failed |
/// | 2 | usage |
/// | 3 | no such stack, revision or entry, or no current revision |
/// | 4 | somebody else holds the lock |
/// | 5 | cannot be opened: wrong or missing key, damaged, moved, too large, refused, another type |
/// | 6 | `current` was moved meanwhile |
/// | 7 | invalid snapshot or name |
/// | 125 | of `statectl lock`: the lock was lost while the command ran |
///
/// `statectl lock` passes on the exit code of its command: 126 if it cannot be run, 127 if it does not exist, and 128 plus the
/// number of the signal that ended it.
#[must_use]
pub fn main(registry: Registry) -> ExitCode {
    if let Some(shell) = environment::text(shell::VARIABLE) {
        completing::answer(&shell, registry, &command());
        return ExitCode::SUCCESS;
    }
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

/// An empty variable counts as unset, here as everywhere: many CI systems have no other way to unset one.
fn command() -> clap::Command {
    Arguments::command().mut_args(|argument| match argument.get_env() {
        Some(variable) if env::var_os(variable).is_some_and(|value| value.is_empty()) => {
            argument.env(Resettable::Reset)
        }
        _ => argument,
    })
}

/// Prints the help that was asked for, or a usage error: as a JSON document if JSON was asked for.
fn not_understood(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && wants_json(env::args_os().skip(1)) {
        let message = error.render().to_string();
        // The first paragraph is the error; the others are for people.
        let message = message.split("\n\n").next().unwrap_or_default();
        let message = message.trim().trim_start_matches("error: ");
        let failure = Failure::usage(message).hint("`statectl COMMAND --help` shows what is accepted");
        Output::new(Format::Json, clap::ColorChoice::Never).failure(&failure);
    } else {
        // If the pipe was closed, nobody reads it.
        let _ = error.print();
    }
    match error.use_stderr() {
        true => USAGE.into(),
        false => ExitCode::SUCCESS,
    }
}

/// The format, even where the arguments as a whole were not understood.
fn wants_json(arguments: impl Iterator<Item = OsString>) -> bool {
    let mut format = environment::raw("STATECTL_FORMAT");
    let mut arguments = arguments.take_while(|argument| argument != "--").peekable();
    while let Some(argument) = arguments.next() {
        if argument == "--json" {
            return true;
        }
        if argument == "--format" {
            format = arguments.peek().cloned();
        } else if let Some(value) = argument.to_str().and_then(|text| text.strip_prefix("--format=")) {
            format = Some(value.into());
        }
    }
    format.is_some_and(|format| format == "json")
}
