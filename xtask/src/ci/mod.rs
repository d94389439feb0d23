//! Everything that must hold before a change lands, as CI runs it: one step after the other, up to the first that fails.

mod readme;
mod steps;
mod tools;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Instant;
use steps::{Step, steps};

pub(crate) fn run() -> ExitCode {
    let mut out = io::stdout().lock();
    match run_all(&mut out) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(failed)) => {
            let _ = writeln!(out, "\nFAILED  {failed}");
            ExitCode::FAILURE
        }
        Err(error) => {
            let _ = writeln!(out, "\nFAILED  {error}");
            ExitCode::FAILURE
        }
    }
}

/// The name of the step that failed.
fn run_all(out: &mut impl io::Write) -> io::Result<Option<String>> {
    let start = Instant::now();
    tools::check()?;
    for Step { name, mut command } in steps()? {
        let start = Instant::now();
        writeln!(out, "\n== {name}")?;
        out.flush()?;
        command.current_dir(crate::workspace::root());
        command.env("PATH", tools::path()?);
        if !command.status()?.success() {
            return Ok(Some(name));
        }
        writeln!(out, "== {:.1} s", start.elapsed().as_secs_f64())?;
    }
    let seconds = start.elapsed().as_secs_f64();
    writeln!(
        out,
        "\nno step failed ({seconds:.0} s); one that skipped something says so above"
    )?;
    Ok(None)
}
