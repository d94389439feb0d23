//! What a task prints: a line for each sentence that it checked, and a count at the end.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

/// Something is wrong with the task or the machine, not with the library.
pub(crate) type Trouble = Box<dyn Error + Send + Sync>;

/// More problems of one sentence tell nothing new.
const MOST_PROBLEMS: usize = 10;

/// What was found so far. It is printed at once, and nobody need read it: the exit code tells the same.
pub(crate) struct Report<'a> {
    out: &'a mut dyn Write,
    passed: usize,
    failed: usize,
    skipped: usize,
}

/// Runs a task and prints what it finds. Trouble counts as a failure.
pub(crate) fn report(task: impl FnOnce(&mut Report<'_>) -> Result<(), Trouble>) -> ExitCode {
    let start = Instant::now();
    let mut report = Report {
        out: &mut io::stdout().lock(),
        passed: 0,
        failed: 0,
        skipped: 0,
    };
    if let Err(trouble) = task(&mut report) {
        report.fails("the task itself", &[trouble]);
    }
    let Report {
        passed,
        failed,
        skipped,
        ..
    } = report;
    let seconds = start.elapsed().as_secs_f64();
    report.line(format_args!("{seconds:.1} s"));
    report.line(format_args!(
        "{passed} passed, {failed} failed, {skipped} skipped"
    ));
    match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

impl Report<'_> {
    pub(crate) fn line(&mut self, text: impl fmt::Display) {
        let _ = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
    }

    /// Counts what has no line of its own.
    pub(crate) fn passes(&mut self, count: usize) {
        self.passed += count;
    }

    /// The sentence holds if there are no problems.
    pub(crate) fn check(&mut self, sentence: impl fmt::Display, problems: &[impl fmt::Display]) {
        if problems.is_empty() {
            self.passes(1);
            self.line(format_args!("holds   {sentence}"));
        } else {
            self.fails(sentence, problems);
        }
    }

    pub(crate) fn fails(&mut self, sentence: impl fmt::Display, problems: &[impl fmt::Display]) {
        self.failed += 1;
        self.line(format_args!("BROKEN  {sentence}: {} times", problems.len()));
        for problem in problems.iter().take(MOST_PROBLEMS) {
            self.line(format_args!("    {problem}"));
        }
    }

    /// Says what is missing and how to install it.
    pub(crate) fn skips(&mut self, reason: impl fmt::Display) {
        self.skipped += 1;
        self.line(format_args!("SKIPPED {reason}"));
    }
}
