//! The project's own tasks, one verb a file: `cargo xtask props` tries to break the promises with random cases, `fuzz` with
//! inputs that grow; `ci` runs all that must hold.

mod ci;
mod fuzz;
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
    /// Everything that must hold before a change lands
    Ci,
    /// Coverage-guided fuzzing of whatever reads what others wrote
    Fuzz(fuzz::Options),
    /// Property tests over concurrent writes and revision suffixes
    Props(props::Options),
    /// One of several writing processes: what `props` starts
    #[command(hide = true)]
    PropsWriter(props::writes::WriterOptions),
}

fn main() -> ExitCode {
    match Arguments::parse().task {
        Task::Ci => ci::run(),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Props(options) => props::run(&options),
        Task::PropsWriter(options) => props::writes::run_writer(&options),
    }
}
