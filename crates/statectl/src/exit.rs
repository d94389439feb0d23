//! Failures of commands: an exit code, a message, and a hint about what to do next.

use sdk_state::encrypt;
use sdk_state::{Error, ErrorKind, Revision};
use std::error::Error as StdError;
use std::io;

pub(crate) const FAILED: u8 = 1;
pub(crate) const USAGE: u8 = 2;
pub(crate) const MISSING: u8 = 3;
pub(crate) const LOCKED: u8 = 4;
pub(crate) const NOT_OPENED: u8 = 5;
pub(crate) const MOVED: u8 = 6;
pub(crate) const INVALID: u8 = 7;
/// For `statectl lock` alone: the lock was lost while its command ran. Commands avoid this code, as they do for `env` and
/// `timeout`.
pub(crate) const LOCK_LOST: u8 = 125;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// To be printed on standard error.
    Told(Box<Told>),
    /// The reader of the answer has closed the pipe, and nothing is printed.
    Quiet,
}

/// What is printed about a failure.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: u8,
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    pub(crate) causes: Vec<String>,
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: u8, kind: &'static str, message: impl Into<String>) -> Self {
        Self::Told(Box::new(Told {
            code,
            kind,
            message: message.into(),
            causes: Vec::new(),
            hint: None,
        }))
    }

    /// The command line asks for something that makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, "usage", message)
    }

    /// The operating system refused something outside of the store.
    pub(crate) fn io(message: impl Into<String>, source: &io::Error) -> Self {
        let mut failure = Self::new(FAILED, "io", message);
        if let Self::Told(told) = &mut failure {
            told.causes.push(source.to_string());
        }
        failure
    }

    /// The same failure with another hint. `STACK` in it stands for the stack's name.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Told(told) = &mut self {
            told.hint = Some(hint.into());
        }
        self
    }

    /// The same failure with more of a hint.
    pub(crate) fn extend_hint(self, more: &str) -> Self {
        match &self {
            Self::Told(told) => {
                let hint = told
                    .hint
                    .as_ref()
                    .map_or(more.to_owned(), |hint| format!("{hint}; {more}"));
                self.hint(hint)
            }
            Self::Quiet => self,
        }
    }

    /// The same failure as a matter of the command line.
    pub(crate) fn into_usage(mut self) -> Self {
        if let Self::Told(told) = &mut self {
            (told.code, told.kind) = (USAGE, "usage");
        }
        self
    }

    /// The same failure with another exit code.
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        if let Self::Told(told) = &mut self {
            told.code = code;
        }
        self
    }

    /// The same failure of a command that is about this stack.
    pub(crate) fn about(mut self, stack: Option<&str>) -> Self {
        // An invalid name must not be pasted into a shell.
        let stack = stack.filter(|stack| stack.parse::<sdk_state::StackId>().is_ok());
        if let (Self::Told(told), Some(stack)) = (&mut self, stack) {
            let argument = format!(" {stack}");
            told.hint = told.hint.take().map(|hint| hint.replace(STACK, &argument));
        }
        self
    }

    /// Whether other keys, or other key options, would help.
    pub(crate) fn is_about_keys(&self) -> bool {
        matches!(self, Self::Told(told) if ["wrong-key", "refused"].contains(&told.kind))
    }

    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Told(told) => told.code,
            Self::Quiet => 0,
        }
    }
}

/// Stands for the stack's name in a hint, as an argument: `FACTORY/STACK` is something else.
const STACK: &str = " STACK";

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (code, kind, hint) = told_by(error.kind());
        Self::Told(Box::new(Told {
            code,
            kind,
            message: message(&error),
            causes: causes(&error),
            hint: hint.map(Into::into),
        }))
    }
}

impl From<encrypt::Error> for Failure {
    fn from(error: encrypt::Error) -> Self {
        let (code, kind) = match error.kind() {
            encrypt::ErrorKind::MissingKey => (NOT_OPENED, "missing-key"),
            encrypt::ErrorKind::InvalidKey => (NOT_OPENED, "invalid-key"),
            encrypt::ErrorKind::InvalidKeyring => (USAGE, "usage"),
            encrypt::ErrorKind::Unavailable => (FAILED, "unavailable"),
            _ => (FAILED, "failed"),
        };
        Self::Told(Box::new(Told {
            code,
            kind,
            message: error.to_string(),
            causes: causes(&error),
            hint: None,
        }))
    }
}

/// An answer that could not be printed.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Quiet,
            _ => Self::io("the answer cannot be printed", &error),
        }
    }
}

/// What happened. Where the hint below names the commands that help, the message gives no advice of its own.
fn message(error: &Error) -> String {
    let name = |rev: &Option<Revision>| rev.as_ref().map_or("nothing".into(), ToString::to_string);
    match error.kind() {
        ErrorKind::PointerLost { snapshots: 1 } => {
            "no revision is current, although a snapshot exists".into()
        }
        ErrorKind::PointerLost { snapshots } => {
            format!("no revision is current, although {snapshots} snapshots exist")
        }
        ErrorKind::CurrentMoved { expected, found } => format!(
            "`current` was moved: expected {}, found {}",
            name(expected),
            name(found)
        ),
        ErrorKind::NotFound => match error.revision() {
            Some(rev) => format!("there is no revision {rev}"),
            None => error.to_string(),
        },
        ErrorKind::OtherPayload { found } => {
            format!("this stack holds documents of type {}", found.escape_debug())
        }
        ErrorKind::MissingKey { recipient } => format!(
            "nothing was stored: the stack is sealed for {}, and none of the given keys can seal for it",
            recipient.describe()
        ),
        ErrorKind::LockLost => "this command no longer holds the lock: somebody evicted it".into(),
        ErrorKind::RevisionIsCurrent => match error.revision() {
            Some(rev) => format!("revision {rev} is current and was not deleted"),
            None => error.to_string(),
        },
        _ => error.to_string(),
    }
}

/// The exit code, the name in an error document, and what to do next.
fn told_by(kind: &ErrorKind) -> (u8, &'static str, Option<&'static str>) {
    match kind {
        ErrorKind::PointerLost { .. } => (
            MISSING,
            "pointer-lost",
            Some(
                "`statectl snapshots STACK` lists the revisions, `statectl set-current STACK REV` makes one current",
            ),
        ),
        ErrorKind::NotFound => (
            MISSING,
            "not-found",
            Some("`statectl snapshots STACK` lists the revisions"),
        ),
        ErrorKind::Locked(_) => (
            LOCKED,
            "locked",
            Some(
                "wait with --wait 5m, look with `statectl lock-status STACK`, \
                 or, if the holder is certainly gone, evict it with `statectl force-unlock STACK`",
            ),
        ),
        ErrorKind::Damaged => (
            NOT_OPENED,
            "damaged",
            Some(
                "`statectl snapshots STACK` lists the revisions, `statectl set-current STACK REV` makes an intact one current",
            ),
        ),
        ErrorKind::Misplaced => (
            NOT_OPENED,
            "misplaced",
            Some(
                "`statectl snapshots STACK` lists the revisions, `statectl set-current STACK REV` makes an intact one current",
            ),
        ),
        ErrorKind::OtherPayload { found } if found == crate::moving::PAYLOAD => (
            NOT_OPENED,
            "other-payload",
            Some(
                "the stack is being renamed or removed: `statectl snapshots STACK` shows to which name it moved, \
                 and the same `statectl stack` command again completes that",
            ),
        ),
        ErrorKind::OtherPayload { .. } => (
            NOT_OPENED,
            "other-payload",
            Some(
                "`statectl pull --raw STACK` prints the document as it is; to read it, use the tool that wrote it",
            ),
        ),
        ErrorKind::WrongKey => (
            NOT_OPENED,
            "wrong-key",
            Some("pass that key with --encrypter or --also-open"),
        ),
        ErrorKind::MissingKey { .. } => (
            NOT_OPENED,
            "missing-key",
            Some(
                "pass that key with --also-open, or remove the recipient with `statectl key remove STACK RECIPIENT`",
            ),
        ),
        ErrorKind::Refused => (NOT_OPENED, "refused", None),
        ErrorKind::TooLarge => (NOT_OPENED, "too-large", None),
        ErrorKind::CurrentMoved { .. } => (
            MOVED,
            "current-moved",
            Some("pull the current snapshot, repeat your edit, and push it with --expect REV"),
        ),
        ErrorKind::InvalidName => (
            INVALID,
            "invalid-name",
            Some(
                "`statectl stacks` lists the stacks as FACTORY/STACK, `statectl snapshots STACK` the revisions of a stack",
            ),
        ),
        ErrorKind::InvalidSnapshot => (
            INVALID,
            "invalid-snapshot",
            Some("nothing was stored: correct the document and push it again"),
        ),
        ErrorKind::RevisionIsCurrent => (
            FAILED,
            "revision-is-current",
            Some("`statectl set-current STACK REV` makes another one current"),
        ),
        ErrorKind::OutcomeUnknown => (
            FAILED,
            "outcome-unknown",
            Some(
                "check before you repeat the command: `statectl snapshots STACK` lists the revisions and marks the current one",
            ),
        ),
        ErrorKind::LockLost => (
            FAILED,
            "lock-lost",
            Some("`statectl lock-status STACK` shows who holds the lock now; start over"),
        ),
        ErrorKind::InvalidAddress => (USAGE, "usage", None),
        ErrorKind::Cancelled => (FAILED, "cancelled", None),
        ErrorKind::Unsupported => (FAILED, "unsupported", None),
        ErrorKind::Unavailable => (FAILED, "unavailable", None),
        ErrorKind::Io => (FAILED, "io", None),
        _ => (FAILED, "failed", None),
    }
}

/// The causes of an error, without those whose text the message above them already has.
fn causes(error: &dyn StdError) -> Vec<String> {
    let mut causes = Vec::new();
    let mut last = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !last.contains(&text) {
            causes.push(text.clone());
            last = text;
        }
        source = cause.source();
    }
    causes
}
