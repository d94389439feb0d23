//! The project's own tasks, one verb a file: `cargo xtask props` tries to break the promises with random cases.

mod note;
mod props;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "The project's own tasks"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Property tests over concurrent writes, revision suffixes, all store operations and the lock
    Props(props::Options),
    /// One of several writing processes: what `props` starts
    #[command(hide = true)]
    PropsWriter(props::writes::WriterOptions),
    /// One of several locking processes: what `props` starts and talks to
    #[command(hide = true)]
    PropsLocker,
}

fn main() -> ExitCode {
    match Arguments::parse().task {
        Task::Props(options) => props::run(&options),
        Task::PropsWriter(options) => props::writes::run_writer(&options),
        Task::PropsLocker => props::locks::actor::run_locker(),
    }
}
