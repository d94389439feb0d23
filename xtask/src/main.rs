//! The project's own tasks, one verb a file: `cargo xtask props` tries to break the promises with random cases,
//! `cargo xtask crash` with every state that a power cut can leave.

mod crash;
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
    /// Opens every state that a crash of the machine can leave
    Crash(crash::Options),
    /// The traced process: what `crash` starts
    #[command(hide = true)]
    CrashScript(crash::script::ScriptOptions),
    /// Property tests over concurrent writes and revision suffixes
    Props(props::Options),
    /// One of several writing processes: what `props` starts
    #[command(hide = true)]
    PropsWriter(props::writes::WriterOptions),
}

fn main() -> ExitCode {
    match Arguments::parse().task {
        Task::Crash(options) => crash::run(&options),
        Task::CrashScript(options) => crash::script::run_script(&options),
        Task::Props(options) => props::run(&options),
        Task::PropsWriter(options) => props::writes::run_writer(&options),
    }
}
