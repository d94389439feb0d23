use crate::exit::{FAILED, Failure, Told};
use crate::text::{BAD, CAREFUL, FAINT, HEADING, plain};
use anstream::AutoStream;
use anstyle::Style;
use clap::{ColorChoice, ValueEnum};
use sdk_state::Revision;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal as _, Write};

/// The version of the documents that `--format json` prints. `docs/json.md` describes them.
const FORMAT_VERSION: u32 = 1;

/// One write(2) for so much of a large answer.
const BUFFER_BYTES: usize = 64 << 10;

/// How the answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Human,
    /// One JSON document per line
    Json,
}

/// The answer of a command, for people and as the members of a JSON object.
pub(crate) trait Answer: Serialize {
    /// The document's `kind`.
    const KIND: &'static str;

    /// Writes what people read. Escape sequences are taken out again where no colour is wanted.
    fn human(&self, page: &mut Vec<u8>) -> io::Result<()>;
}

/// Prints the answer to standard output and everything else to standard error.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    color: anstream::ColorChoice,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ErrorDocument<'a> {
    exit_code: u8,
    error: &'a str,
    message: &'a str,
    causes: &'a [String],
    hint: Option<&'a str>,
}

/// A notice or a warning.
#[derive(Serialize)]
struct Remark<'a> {
    message: &'a str,
    /// The revision that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
}

impl Output {
    pub(crate) fn new(format: Format, color: ColorChoice) -> Self {
        Self {
            format,
            color: match color {
                ColorChoice::Auto => anstream::ColorChoice::Auto,
                ColorChoice::Always => anstream::ColorChoice::Always,
                ColorChoice::Never => anstream::ColorChoice::Never,
            },
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints the answer.
    pub(crate) fn answer<A: Answer>(&self, answer: &A) -> Result<(), Failure> {
        match self.format {
            Format::Human => self.part(|page| answer.human(page)),
            Format::Json => self.verbatim(document(A::KIND, answer)?.as_bytes()),
        }
    }

    /// Prints a part of an answer for people, who can read it while the next part is being made.
    pub(crate) fn part(&self, human: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> Result<(), Failure> {
        let mut page = Vec::new();
        human(&mut page)?;
        let mut out = AutoStream::new(io::stdout().lock(), self.color);
        out.write_all(&page)?;
        Ok(out.flush()?)
    }

    /// Prints bytes as they are.
    pub(crate) fn verbatim(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.write(|out| out.write_all(bytes))
    }

    /// Prints what `write` writes, without ever holding the whole of it.
    pub(crate) fn write(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
        write(&mut out)?;
        Ok(out.flush()?)
    }

    /// Prints one line that is not part of the answer.
    pub(crate) fn notice(&self, text: impl Display) {
        self.remark("notice", FAINT, &text, None);
    }

    /// Prints the revision of an answer that does not name it.
    pub(crate) fn revision(&self, rev: &Revision, text: impl Display) {
        self.remark("notice", FAINT, &text, Some(rev));
    }

    /// Prints one line about something that may be a mistake.
    pub(crate) fn warning(&self, text: impl Display) {
        self.remark("warning", CAREFUL, &text, None);
    }

    /// Prints why the command failed and what to do next.
    pub(crate) fn failure(&self, failure: &Failure) {
        let Failure::Told(told) = failure else {
            return;
        };
        match self.format {
            Format::Json => self.complain_document("error", &ErrorDocument::of(told)),
            Format::Human => {
                let mut lines = format!("{BAD}error:{BAD:#} {}\n", plain(&told.message));
                for cause in &told.causes {
                    lines.push_str(&format!("  caused by: {}\n", plain(cause)));
                }
                if let Some(hint) = &told.hint {
                    lines.push_str(&format!("{HEADING}hint:{HEADING:#} {}\n", plain(hint)));
                }
                self.complain(&lines);
            }
        }
    }

    /// Shows people what they are about to be asked. A program finds it in the answer.
    pub(crate) fn preview(&self, human: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> Result<(), Failure> {
        if !self.is_json() {
            let mut page = Vec::new();
            human(&mut page)?;
            let mut err = AutoStream::new(io::stderr().lock(), self.color);
            // If it cannot be shown, the question below says so.
            let _ = err.write_all(&page);
        }
        Ok(())
    }

    /// Fails unless somebody at the terminal agrees. `hint` says what to do without a terminal, and `refused` what did not
    /// happen after a no.
    pub(crate) fn confirm(&self, question: &str, hint: &str, refused: &str) -> Result<(), Failure> {
        if !io::stdin().is_terminal() {
            let message = "standard input is not a terminal, so nobody can be asked";
            return Err(Failure::usage(message).hint(hint));
        }
        match self.ask(question) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failure::new(
                FAILED,
                "cancelled",
                format!("the answer was no, so {refused}"),
            )),
            Err(source) => Err(Failure::io("the answer cannot be read", &source)),
        }
    }

    /// Asks a question at the terminal.
    pub(crate) fn ask(&self, question: &str) -> io::Result<bool> {
        let mut err = AutoStream::new(io::stderr().lock(), self.color);
        write!(err, "{question} [y/N] ")?;
        err.flush()?;
        let mut reply = String::new();
        io::stdin().read_line(&mut reply)?;
        Ok(matches!(reply.trim(), "y" | "Y" | "yes"))
    }

    fn remark(&self, kind: &str, style: Style, text: &impl Display, rev: Option<&Revision>) {
        let message = text.to_string();
        match self.format {
            Format::Json => self.complain_document(
                kind,
                &Remark {
                    message: &message,
                    revision: rev.map(Revision::to_string),
                },
            ),
            Format::Human => self.complain(&format!("{style}{kind}:{style:#} {}\n", plain(&message))),
        }
    }

    fn complain_document(&self, kind: &str, body: &impl Serialize) {
        // These bodies are made of texts and numbers alone.
        self.complain(&document(kind, body).unwrap_or_default());
    }

    /// If it cannot be printed, nothing else changes.
    fn complain(&self, lines: &str) {
        let mut err = AutoStream::new(io::stderr().lock(), self.color);
        let _ = err.write_all(lines.as_bytes());
    }
}

impl<'a> ErrorDocument<'a> {
    fn of(told: &'a Told) -> Self {
        Self {
            exit_code: told.code,
            error: told.kind,
            message: &told.message,
            causes: &told.causes,
            hint: told.hint.as_deref(),
        }
    }
}

/// One line: `{"kind":…,"format-version":1,` and the members of `body`, which is an object with members.
///
/// Assembled by hand, because serde cannot flatten a struct that contains raw values.
fn document(kind: &str, body: &impl Serialize) -> io::Result<String> {
    let body = serde_json::to_string(body)?;
    let members = body.strip_prefix('{').unwrap_or(&body);
    Ok(format!(
        "{{\"kind\":\"{kind}\",\"format-version\":{FORMAT_VERSION},{members}\n"
    ))
}
