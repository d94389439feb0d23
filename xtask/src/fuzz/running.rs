use super::{directory, output, seeds};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Longer inputs are cut: 32 KiB hold every seed.
const LONGEST_INPUT: usize = 32 << 10;
/// More memory than any input of that length has a reason to ask for.
const MOST_MEGABYTES: u32 = 512;
/// An input that takes longer is a failure.
const LONGEST_SECONDS: u32 = 10;
/// How much of the log is printed with a failure.
const LINES_OF_LOG: usize = 24;

pub(super) struct Outcome {
    pub(super) statistics: Statistics,
    /// What went wrong: the end of the log.
    pub(super) failure: Option<String>,
    /// What made it go wrong. None for a stack overflow, of which libFuzzer does not hear.
    pub(super) inputs: Vec<PathBuf>,
    pub(super) program: PathBuf,
    pub(super) log: PathBuf,
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Statistics {
    pub(super) executions: u64,
    pub(super) edges: u64,
    pub(super) corpus: u64,
}

/// Runs one target for some seconds, from what earlier runs kept, the seeds and the inputs that once failed.
pub(super) fn run(target: &str, programs: &Path, seconds: u64) -> io::Result<Outcome> {
    let output = output();
    let kept = output.join("corpus").join(target);
    let made = output.join("seeds").join(target);
    let crashes = output.join("crashes").join(target);
    let log = output.join("logs").join(format!("{target}.log"));
    let regressions = directory().join("regressions").join(target);
    let written = directory().join("seeds").join(target);
    for made in [&made, &crashes] {
        empty(made)?;
    }
    for needed in [&kept, &output.join("logs")] {
        fs::create_dir_all(needed)?;
    }
    seeds::make(target, &made)?;

    let scratch = scratch()?;
    let program = programs.join(target);
    let file = File::create(&log)?;
    let status = Command::new(&program)
        .arg(&kept)
        .args(
            [&made, &written, &regressions]
                .into_iter()
                .filter(|directory| directory.is_dir()),
        )
        .arg(format!("-artifact_prefix={}/", crashes.display()))
        .arg(format!("-dict={}", directory().join("words.dict").display()))
        .arg(format!("-max_len={LONGEST_INPUT}"))
        .arg(format!("-rss_limit_mb={MOST_MEGABYTES}"))
        .arg(format!("-timeout={LONGEST_SECONDS}"))
        .arg("-print_final_stats=1")
        .arg(match seconds {
            // Only what is there already.
            0 => "-runs=0".into(),
            seconds => format!("-max_total_time={seconds}"),
        })
        .env("TMPDIR", scratch.path())
        .env("RUST_BACKTRACE", "1")
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()?;

    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let mut inputs = Vec::new();
    for entry in fs::read_dir(&crashes)? {
        inputs.push(entry?.path());
    }
    // A slow input is kept there as well, and is no failure.
    inputs.retain(|input| !input.to_string_lossy().contains("/slow-unit-"));
    let failed = !status.success() || !inputs.is_empty();
    Ok(Outcome {
        statistics: Statistics::of(&text),
        failure: failed.then(|| format!("it ended with {status}\n{}", end(&text))),
        inputs,
        program,
        log,
    })
}

impl Statistics {
    /// From libFuzzer's log: `#4096 pulse cov: 12 ft: 13 corp: 7/90b …` and, at the end, `stat::…`.
    fn of(log: &str) -> Self {
        let last = |name: &str| {
            let (_, rest) = log.rsplit_once(name)?;
            let digits = rest
                .trim_start()
                .split(|sign: char| !sign.is_ascii_digit())
                .next()?;
            digits.parse().ok()
        };
        Self {
            executions: last("stat::number_of_executed_units:").unwrap_or_default(),
            edges: last(" cov:").unwrap_or_default(),
            corpus: last(" corp:").unwrap_or_default(),
        }
    }
}

/// The panic and what follows, which tell more than the statistics at the very end.
fn end(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let panic = lines.iter().rposition(|line| line.contains("panicked at"));
    let from = panic.unwrap_or(lines.len().saturating_sub(LINES_OF_LOG));
    let until = lines.len().min(from + LINES_OF_LOG);
    lines[from..until].join("\n")
}

/// Files that the targets write: in memory where there is such a place, since the local backend flushes them.
fn scratch() -> io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let builder = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("fuzz-");
        builder
    };
    builder().tempdir_in(memory).or_else(|_| builder().tempdir())
}

fn empty(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_numbers_of_a_log_count() {
        let log = "#2\tINITED cov: 7 ft: 7 corp: 1/1b exec/s: 0 rss: 27Mb\n\
                   #221\tNEW    cov: 8 ft: 9 corp: 12/7b lim: 6 exec/s: 0 rss: 27Mb\n\
                   stat::number_of_executed_units: 8117776\n";
        let expected = Statistics {
            executions: 8_117_776,
            edges: 8,
            corpus: 12,
        };
        assert_eq!(Statistics::of(log), expected);
        assert_eq!(Statistics::of(""), Statistics::default());
    }
}
