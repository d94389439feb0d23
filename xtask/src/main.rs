//! The project's own tasks, one verb a folder. Each tries to break the promises: `cargo xtask props` with random cases, `crash`
//! with every state that a power cut can leave, `faults` with calls to the kernel that fail, `torture` with kill −9, `fuzz`
//! with inputs that grow; `msrv`, `minimal-versions`, `public-api` and `tree` compare what the crates state with what they are;
//! `bench` measures what it all costs, `instructions` that it stays so; `ci` runs all that must hold.

mod bench;
mod ci;
mod crash;
mod faults;
mod fuzz;
mod instructions;
mod minimal_versions;
mod msrv;
mod note;
mod props;
mod public_api;
mod torture;
mod tree;
mod workspace;

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
    /// Measures what everything costs, beside its floor, and writes docs/performance.md
    Bench(bench::Options),
    /// Everything that must hold before a change lands
    Ci,
    /// Opens every state that a crash of the machine can leave
    Crash(crash::Options),
    /// The traced process: what `crash` starts
    #[command(hide = true)]
    CrashScript(crash::script::ScriptOptions),
    /// Fails every call to the kernel once, and fills the disk
    Faults(faults::Options),
    /// The process whose calls are failed: what `faults` starts
    #[command(hide = true)]
    FaultsChild(faults::child::ChildOptions),
    /// The process that runs out of space: what `faults` starts
    #[command(hide = true)]
    FaultsDisk(faults::disk::DiskOptions),
    /// Coverage-guided fuzzing of whatever reads what others wrote
    Fuzz(fuzz::Options),
    /// Compares the instructions of encode, decode, seal and open with the recorded figures
    Instructions(instructions::Options),
    /// Builds with the oldest dependencies that Cargo.toml allows
    MinimalVersions,
    /// Checks the oldest Rust that Cargo.toml states
    Msrv,
    /// Property tests over concurrent writes, revision suffixes, all store operations and the lock
    Props(props::Options),
    /// One of several writing processes: what `props` starts
    #[command(hide = true)]
    PropsWriter(props::writes::WriterOptions),
    /// Compares the public API of each crate with its listing
    PublicApi(public_api::Options),
    /// Processes that are killed at random moments, and what they leave
    Torture(torture::Options),
    /// A process that is killed: what `torture` starts
    #[command(hide = true)]
    TortureActor(torture::actor::ActorOptions),
    /// A stand-in of the original: what `torture` starts
    #[command(hide = true)]
    TortureOriginal(torture::original::OriginalOptions),
    /// Compares what sdk-state depends on with what docs/dependencies.md shows
    Tree,
    /// One of several locking processes: what `props` starts and talks to
    #[command(hide = true)]
    PropsLocker,
}

fn main() -> ExitCode {
    match Arguments::parse().task {
        Task::Crash(options) => crash::run(&options),
        Task::CrashScript(options) => crash::script::run_script(&options),
        Task::Faults(options) => faults::run(&options),
        Task::FaultsChild(options) => faults::child::run(&options),
        Task::FaultsDisk(options) => faults::disk::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Ci => ci::run(),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Instructions(options) => instructions::run(&options),
        Task::MinimalVersions => minimal_versions::run(),
        Task::Msrv => msrv::run(),
        Task::Props(options) => props::run(&options),
        Task::PropsWriter(options) => props::writes::run_writer(&options),
        Task::PublicApi(options) => public_api::run(&options),
        Task::Torture(options) => torture::run(&options),
        Task::TortureActor(options) => torture::actor::run(&options),
        Task::TortureOriginal(options) => torture::original::run(&options),
        Task::Tree => tree::run(),
        Task::PropsLocker => props::locks::actor::run_locker(),
    }
}
