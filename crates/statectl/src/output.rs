use crate::exit::Failure;
use crate::options::Format;
use crate::words::plain;
use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use clap::ColorChoice;
use serde::Serialize;
use serde_json::json;
use std::fmt::Display;
use std::io::{self, Write};

pub(crate) const HEADING: Style = Style::new().bold();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(crate) const FAINT: Style = Style::new().dimmed();
const BAD: Style = AnsiColor::Red.on_default().bold();
const CAREFUL: Style = AnsiColor::Yellow.on_default().bold();

/// The version of the documents that `--format json` prints.
const FORMAT_VERSION: u32 = 1;

/// What a command answers, for people and as the members of a JSON object.
pub(crate) trait Answer: Serialize {
    /// The document's `kind`.
    const KIND: &'static str;

    /// Writes what people read. Escape sequences are taken out again where no colour is wanted.
    fn human(&self, page: &mut Vec<u8>) -> io::Result<()>;
}

/// The way out: the answer to standard output, everything else to standard error.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    color: anstream::ColorChoice,
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
            Format::Human => {
                let mut page = Vec::new();
                answer.human(&mut page)?;
                let mut out = AutoStream::new(io::stdout().lock(), self.color);
                out.write_all(&page)?;
                Ok(out.flush()?)
            }
            Format::Json => self.document(A::KIND, answer),
        }
    }

    /// Prints one line: `{"kind":…,"format-version":1,` and the members of `body`, which is an object with members.
    ///
    /// Put together by hand, since serde cannot flatten what has raw values in it.
    pub(crate) fn document(&self, kind: &str, body: &impl Serialize) -> Result<(), Failure> {
        let body = serde_json::to_string(body).map_err(io::Error::from)?;
        let members = body.strip_prefix('{').unwrap_or(&body);
        let head = format!("{{\"kind\":\"{kind}\",\"format-version\":{FORMAT_VERSION},");
        self.verbatim(format!("{head}{members}\n").as_bytes())
    }

    /// Prints bytes as they are.
    pub(crate) fn verbatim(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        Ok(out.flush()?)
    }

    /// Tells something that is no answer, on one line.
    pub(crate) fn notice(&self, text: impl Display) {
        self.tell("notice", FAINT, &text);
    }

    /// Tells something that may be a mistake, on one line.
    pub(crate) fn warning(&self, text: impl Display) {
        self.tell("warning", CAREFUL, &text);
    }

    /// Tells why the command failed and what to do next.
    pub(crate) fn failure(&self, failure: &Failure) {
        let Failure::Told(told) = failure else {
            return;
        };
        if self.is_json() {
            let mut message = told.message.clone();
            for cause in &told.causes {
                message = format!("{message}: {cause}");
            }
            let error = json!({ "kind": told.kind, "message": message, "hint": told.hint });
            self.complain(&json!({ "error": error }).to_string());
            return;
        }
        let mut lines = format!("{BAD}error:{BAD:#} {}", plain(&told.message));
        for cause in &told.causes {
            lines.push_str(&format!("\n  caused by: {}", plain(cause)));
        }
        if let Some(hint) = &told.hint {
            lines.push_str(&format!("\n{HEADING}hint:{HEADING:#} {hint}"));
        }
        self.complain(&lines);
    }

    fn tell(&self, what: &str, style: Style, text: &impl Display) {
        let text = text.to_string();
        if self.is_json() {
            let message = json!({ "message": text });
            self.complain(&json!({ what: message }).to_string());
        } else {
            self.complain(&format!("{style}{what}:{style:#} {}", plain(&text)));
        }
    }

    /// A question to whoever sits at the terminal.
    pub(crate) fn ask(&self, question: &str) -> io::Result<bool> {
        let mut err = AutoStream::new(io::stderr().lock(), self.color);
        write!(err, "{question} [y/N] ")?;
        err.flush()?;
        let mut reply = String::new();
        io::stdin().read_line(&mut reply)?;
        Ok(matches!(reply.trim(), "y" | "Y" | "yes"))
    }

    /// That nobody can hear it changes nothing.
    fn complain(&self, lines: &str) {
        let mut err = AutoStream::new(io::stderr().lock(), self.color);
        let _ = writeln!(err, "{lines}");
    }
}
