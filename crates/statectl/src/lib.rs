//! The operators' command line for infrastructure state: `statectl --help` is its manual.
//!
//! This library is there for whoever has one more backend: a program of its own, with that backend in its registry, is
//! otherwise `statectl`. Its dependencies are `statectl`, `sdk-state`, the backend's crate, and `localstate` for as long as
//! `local:` is to be known; here the backend is one in memory:
//!
//! ```
//! use localstate::LocalRoot;
//! use sdk_state::{Error, MemoryStorage, Registry, Root, StackId, Storage};
//! use std::collections::BTreeMap;
//! use std::process::ExitCode;
//! use std::sync::{Mutex, PoisonError};
//!
//! /// Stacks that are gone when the program ends.
//! #[derive(Default)]
//! struct Memory(Mutex<BTreeMap<StackId, MemoryStorage>>);
//!
//! impl Root for Memory {
//!     fn open(&self, id: &StackId) -> Result<Box<dyn Storage>, Error> {
//!         let mut stacks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
//!         let stack = stacks.entry(id.clone()).or_insert_with(|| MemoryStorage::new(id.clone()));
//!         Ok(Box::new(stack.clone()))
//!     }
//!
//!     fn stacks(&self) -> Result<Vec<StackId>, Error> {
//!         let stacks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
//!         let mut found = Vec::new();
//!         for (id, stack) in &*stacks {
//!             // Opening one does not make it.
//!             if !stack.list()?.is_empty() || stack.lock_status()?.is_some() {
//!                 found.push(id.clone());
//!             }
//!         }
//!         Ok(found)
//!     }
//! }
//!
//! fn backends() -> Registry {
//!     Registry::new()
//!         .with(LocalRoot::SCHEME, LocalRoot::open_address)
//!         .with("memory", |_rest| Ok(Box::new(Memory::default())))
//! }
//!
//! # mod the_binary {
//! # use super::{backends, ExitCode};
//! # #[allow(dead_code)]
//! fn main() -> ExitCode {
//!     statectl::main(backends())
//! }
//! # }
//! # fn main() -> Result<(), Error> {
//! #     let root = backends().open("memory:anything")?;
//! #     assert_eq!(root.open(&"network/prod".parse()?)?.list()?, []);
//! #     Ok(())
//! # }
//! ```
//!
//! Then `--backend memory:anything`, or the variable `STATECTL_BACKEND`, chooses it. A backend brings no command and no
//! option: what it needs stands in the address or in its own environment. Keys stay the affair of `--encrypter`.
//!
//! # Where to go from here
//!
//! | you want to | look at |
//! |---|---|
//! | use the command line | `statectl --help`, and `--help` of each command, with an example |
//! | write a backend | [`Storage`](sdk_state::Storage) and [`Root`](sdk_state::Root), and the crate `sdk-conformance`, which tests it |
//! | build it into a binary | [`main`] and [`Registry`] |
//! | keep state from a program of your own | the crates `sdk-state` and `localstate`: nothing here is needed |
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
//! * Linux, and macOS by construction (untested).
//! * The library is [`main`]: commands cannot be added or taken away, and arguments are those of the process.
//! * Messages and authors are read without a key and are not authenticated: see `statectl snapshots --help`.
//!
//! # Features
//!
//! None. It is built with `legacy-aes-gcm`, so that it opens the files of envelope version 1 with `--accept-v1`.

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

/// Runs `statectl` with the arguments and the environment of this process, over these backends, and returns the exit code
/// of the process. It prints the answer and the error itself.
///
/// Without `--root`, `--backend` and their variables it asks the registry for `local:.unobin/state`.
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
