//! The project's own tasks, one verb a file: `cargo xtask props` tries to break the promises with random cases.

mod faults;
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
    /// Fails every call to the kernel once, and fills the disk
    Faults(faults::Options),
    /// The process whose calls are failed: what `faults` starts
    #[command(hide = true)]
    FaultsChild(faults::child::ChildOptions),
    /// The process that runs out of space: what `faults` starts
    #[command(hide = true)]
    FaultsDisk(faults::disk::DiskOptions),
    /// Property tests over concurrent writes and revision suffixes
    Props(props::Options),
    /// One of several writing processes: what `props` starts
    #[command(hide = true)]
    PropsWriter(props::writes::WriterOptions),
}

fn main() -> ExitCode {
    match Arguments::parse().task {
        Task::Faults(options) => faults::run(&options),
        Task::FaultsChild(options) => faults::child::run(&options),
        Task::FaultsDisk(options) => faults::disk::run(&options),
        Task::Props(options) => props::run(&options),
        Task::PropsWriter(options) => props::writes::run_writer(&options),
    }
}
