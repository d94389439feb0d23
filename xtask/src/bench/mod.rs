//! Measures what everything costs, beside its floor, and writes the measured part of docs/performance.md.
//!
//! The benchmarks stand beside the crates; this runs them, adds what is measured from outside (compiling, starting), and
//! compares with the goals.

mod apply;
pub(crate) mod cargo;
mod criterion;
mod figure;
mod machine;
mod page;
mod programs;

use crate::workspace::root;
use clap::Args;
use figure::Figure;
use machine::Machine;
use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Options of `cargo xtask bench`.
#[derive(Args)]
pub struct Options {
    /// Only this part, which is printed and not written to the page
    part: Option<Part>,
    /// Print one JSON object for each run of `apply`
    #[arg(long, requires = "part")]
    json: bool,
    /// A trial of a minute: small sizes, nothing compiled anew, the page left as it is
    #[arg(long)]
    quick: bool,
    /// Where to store: on the disk that is to be measured
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// A part that can be measured alone.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Part {
    /// Whole runs of a tool
    Apply,
}

const BENCHES: [(&str, &str); 5] = [
    ("sdk-state", "snapshot"),
    ("sdk-state", "envelope"),
    ("localstate", "store"),
    ("localstate", "processes"),
    ("localstate", "scale"),
];

type Trouble = Box<dyn Error + Send + Sync>;

/// Measures, and writes the page.
pub fn run(options: &Options) -> ExitCode {
    let mut out = io::stdout().lock();
    match measure(options, &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            let _ = writeln!(out, "FAILED  {trouble}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options, out: &mut impl Write) -> Result<(), Trouble> {
    let directory = options
        .directory
        .clone()
        .unwrap_or_else(|| root().join("target/bench"));
    fs::create_dir_all(&directory)?;
    let directory = directory.canonicalize()?;
    if let Some(Part::Apply) = options.part {
        let figures = apply::run(&directory, options.quick)?;
        return match options.json {
            true => apply::print_json(&figures, out),
            false => Ok(writeln!(out, "{}", page::listing(&figures))?),
        };
    }
    let machine = Machine::with(&directory)?;
    let mut figures = Vec::new();
    say(out, "building")?;
    for (package, bench) in BENCHES {
        cargo::bench_program(package, bench)?;
    }
    for (package, bench) in BENCHES {
        say(out, bench)?;
        figures.extend(match package {
            "sdk-state" => criterion::run(bench, options.quick)?,
            _ => lines(bench, options.quick, &directory)?,
        });
    }
    say(out, "apply")?;
    figures.extend(apply::run(&directory, options.quick)?);
    say(out, "programs")?;
    figures.extend(programs::start(&directory)?);
    figures.extend(programs::push_and_pull(&directory, options.quick)?);
    if !options.quick {
        figures.extend(programs::compile(&directory)?);
    }
    let measured = page::markdown(&machine, &figures);
    writeln!(out, "\n{}\n{measured}", page::listing(&figures))?;
    if options.quick {
        return Ok(());
    }
    page::update(&measured)?;
    match page::without_figure(&figures) {
        missing if missing.is_empty() => Ok(()),
        missing => Err(format!("no figure for the rows {missing:?}").into()),
    }
}

fn say(out: &mut impl Write, what: &str) -> io::Result<()> {
    writeln!(out, "measuring: {what}")?;
    out.flush()
}

/// What a benchmark of the local backend prints.
fn lines(bench: &str, quick: bool, directory: &Path) -> Result<Vec<Figure>, Trouble> {
    let mut program = Command::new(cargo::bench_program("localstate", bench)?);
    program
        .arg("--bench")
        .env("BENCH_DIRECTORY", directory)
        .stderr(Stdio::inherit());
    if quick {
        program.env("BENCH_QUICK", "1");
    }
    // What was compiled or measured before must not be on its way to the disk any more.
    rustix::fs::sync();
    let output = program.output()?;
    if !output.status.success() {
        return Err(format!("the benchmark {bench} failed").into());
    }
    String::from_utf8(output.stdout)?
        .lines()
        .map(Figure::from_line)
        .collect()
}
