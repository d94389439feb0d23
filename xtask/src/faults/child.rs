use super::operation::{Operation, open};
use crate::note::Note;
use clap::Args;
use sdk_state::{Backend as _, Error, WriteOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

pub(super) const BEGIN: &str = "begin";
pub(super) const END: &str = "end";
/// What the same store writes after the operation, whatever became of that.
pub(super) const AGAIN: &str = "what is written after it";

/// The arguments of the process whose calls are failed.
#[derive(Args)]
pub(crate) struct ChildOptions {
    #[arg(long)]
    pub(super) root: PathBuf,
    #[arg(long)]
    pub(super) operation: Operation,
}

/// What the process told of the operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok(String),
    Failed {
        /// The first word of the kind.
        kind: String,
        /// The revision that it names.
        rev: String,
        message: String,
    },
}

/// Does the operation between two lines that the trace shows, and tells how it ended, a line each for the operation and for
/// a write through the same store after it.
pub(crate) fn run(options: &ChildOptions) -> ExitCode {
    let store = match open(&options.root) {
        Ok(store) => store,
        Err(error) => {
            tell(&line(Err(error)));
            return ExitCode::FAILURE;
        }
    };
    let result = options.operation.perform(&store, || tell(BEGIN), || tell(END));
    tell(&line(result));
    let again = store.write(&Note(AGAIN.into()), &WriteOptions::new());
    tell(&line(again.map(|rev| rev.to_string())));
    ExitCode::SUCCESS
}

/// The two outcomes in what the process printed; `None` when it ended early.
pub(super) fn outcomes(printed: &str) -> Option<(Outcome, Outcome)> {
    let mut lines = printed.lines().skip_while(|line| *line != END).skip(1);
    Some((parse(lines.next()?)?, parse(lines.next()?)?))
}

fn line(result: Result<String, Error>) -> String {
    match result {
        Ok(answer) => format!("ok {answer}"),
        Err(error) => {
            let kind = format!("{:?}", error.kind());
            let kind: String = kind.chars().take_while(char::is_ascii_alphanumeric).collect();
            let rev = match error.kind() {
                sdk_state::ErrorKind::DurabilityUnknown { rev } => rev.to_string(),
                _ => "-".into(),
            };
            format!("error {kind} {rev} {error}")
        }
    }
}

fn parse(line: &str) -> Option<Outcome> {
    if let Some(answer) = line.strip_prefix("ok ") {
        return Some(Outcome::Ok(answer.into()));
    }
    let mut fields = line.strip_prefix("error ")?.splitn(3, ' ');
    Some(Outcome::Failed {
        kind: fields.next()?.into(),
        rev: fields.next()?.into(),
        message: fields.next()?.into(),
    })
}

fn tell(line: &str) {
    // The parent notices that a line is missing.
    let mut out = io::stdout().lock();
    let _ = out
        .write_all(format!("{line}\n").as_bytes())
        .and_then(|()| out.flush());
}
