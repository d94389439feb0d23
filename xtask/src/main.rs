//! `cargo xtask TASK`: parses the command line and calls the library.

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use xtask::{
    bench, ci, crash, faults, fuzz, house, instructions, props, protocol, public_api, task, torture,
};

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
    /// Measures what everything costs, beside its floor, and writes docs/performance.md
    Bench(bench::Options),
    /// Everything that must hold before a change lands
    Ci,
    /// Opens every state that a crash of the machine can leave
    Crash(crash::Options),
    /// Fails every call to the kernel once, and fills the disk
    Faults(faults::Options),
    /// Coverage-guided fuzzing of everything that reads what others wrote
    Fuzz(fuzz::Options),
    /// Compares the instructions of encode, decode, seal and open with the recorded figures
    Instructions(instructions::Options),
    /// Builds with the oldest dependencies that Cargo.toml allows
    MinimalVersions,
    /// Checks the oldest Rust that Cargo.toml states
    Msrv,
    /// Property tests over concurrent writes, revision suffixes, all store operations and the lock
    Props(props::Options),
    /// Explores a model of the journal protocol, and finds the attack that each rule prevents
    Protocol(protocol::Options),
    /// Compares the public API of each crate with its listing
    PublicApi(public_api::Options),
    /// Kills processes at random moments and checks what they leave
    Torture(torture::Options),
    /// Compares what sdk-state depends on with what docs/dependencies.md shows
    Tree,
    /// A process that another task starts
    #[command(hide = true)]
    Child(task::Options),
}

fn main() -> ExitCode {
    match Arguments::parse().task {
        Task::Bench(options) => bench::run(&options),
        Task::Ci => ci::run(),
        Task::Crash(options) => crash::run(&options),
        Task::Faults(options) => faults::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Instructions(options) => instructions::run(&options),
        Task::MinimalVersions => house::minimal_versions(),
        Task::Msrv => house::msrv(),
        Task::Props(options) => props::run(&options),
        Task::Protocol(options) => protocol::run(&options),
        Task::PublicApi(options) => public_api::run(&options),
        Task::Torture(options) => torture::run(&options),
        Task::Tree => house::tree(),
        Task::Child(options) => task::run(&options),
    }
}
