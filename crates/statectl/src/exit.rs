//! What a command ends with when it fails: an exit code, a message, and what to do next.

use sdk_state::encrypt;
use sdk_state::{Error, ErrorKind};
use std::error::Error as StdError;
use std::io;

pub(crate) const FAILED: u8 = 1;
pub(crate) const USAGE: u8 = 2;
pub(crate) const MISSING: u8 = 3;
pub(crate) const LOCKED: u8 = 4;
pub(crate) const NOT_OPENED: u8 = 5;
pub(crate) const MOVED: u8 = 6;
pub(crate) const INVALID: u8 = 7;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// To be told on standard error.
    Told(Box<Told>),
    /// Whoever read the answer has closed the pipe, and wants to hear nothing.
    Quiet,
}

/// What is told of a failure.
#[derive(Debug)]
pub(crate) struct Told {
    code: u8,
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
        Self::new(USAGE, "usage", message).hint("statectl COMMAND --help tells what is accepted")
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
    pub(crate) fn extend_hint(self, more: impl AsRef<str>) -> Self {
        let Self::Told(told) = &self else {
            return self;
        };
        let hint = format!("{}{}", told.hint.as_deref().unwrap_or_default(), more.as_ref());
        self.hint(hint.trim_start_matches([',', '.', ' ']).to_owned())
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
        // A name that is no name is not to be pasted into a shell.
        let stack = stack.filter(|stack| stack.parse::<sdk_state::StackId>().is_ok());
        if let (Self::Told(told), Some(stack)) = (&mut self, stack) {
            let argument = format!(" {stack}");
            told.hint = told.hint.take().map(|hint| hint.replace(STACK, &argument));
        }
        self
    }

    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Told(told) => told.code,
            Self::Quiet => 0,
        }
    }
}

/// Stands for the stack's name in a hint, as an argument: `FACTORY/STACK` and a variable's name are something else.
const STACK: &str = " STACK";

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = Kind::of(error.kind());
        Self::Told(Box::new(Told {
            code: kind.code,
            kind: kind.name,
            message: error.to_string(),
            causes: causes(&error),
            hint: kind.hint.map(Into::into),
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

/// What became of an answer that could not be printed.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Quiet,
            _ => Self::io("the answer cannot be printed", &error),
        }
    }
}

struct Kind {
    code: u8,
    name: &'static str,
    hint: Option<&'static str>,
}

impl Kind {
    fn of(kind: &ErrorKind) -> Self {
        let (code, name, hint) = match kind {
            ErrorKind::NoCurrent { snapshots: 0 } => (
                MISSING,
                "no-current",
                "`statectl stacks` shows what is there, `statectl push STACK FILE` starts a new stack",
            ),
            ErrorKind::NoCurrent { .. } => (
                MISSING,
                "no-current",
                "choose one of `statectl snapshots STACK` with `statectl set-current STACK REV`",
            ),
            ErrorKind::NotFound => (
                MISSING,
                "not-found",
                "`statectl snapshots STACK` shows the revisions that exist",
            ),
            ErrorKind::Locked(_) => (
                LOCKED,
                "locked",
                "wait for it with --wait 5m, look with `statectl lock-status STACK`, \
                 or evict a holder that is surely gone with `statectl force-unlock STACK`",
            ),
            ErrorKind::Damaged => (
                NOT_OPENED,
                "damaged",
                "choose a sound one of `statectl snapshots STACK` with `statectl set-current STACK REV`",
            ),
            ErrorKind::Misplaced => (
                NOT_OPENED,
                "misplaced",
                "find out who moved it; `statectl snapshots STACK` shows the other revisions",
            ),
            ErrorKind::WrongKey => (
                NOT_OPENED,
                "wrong-key",
                "give the key that it was sealed for with --encrypter or --also-open",
            ),
            ErrorKind::Refused => (NOT_OPENED, "refused", ""),
            ErrorKind::TooLarge => (NOT_OPENED, "too-large", ""),
            ErrorKind::CurrentMoved { .. } => (
                MOVED,
                "current-moved",
                "pull what is current now, make the edit there, and push that with --expect REV",
            ),
            ErrorKind::InvalidName => (
                INVALID,
                "invalid-name",
                "stacks are named FACTORY/STACK: `statectl stacks` lists them, `statectl snapshots STACK` their revisions",
            ),
            ErrorKind::InvalidSnapshot => (
                INVALID,
                "invalid-snapshot",
                "correct the document and try again; nothing was stored",
            ),
            ErrorKind::RevisionIsCurrent => (
                FAILED,
                "revision-is-current",
                "make another one current first: `statectl set-current STACK REV`",
            ),
            ErrorKind::DurabilityUnknown { .. } => (FAILED, "durability-unknown", ""),
            ErrorKind::LockLost => (
                FAILED,
                "lock-lost",
                "somebody evicted this command: look with `statectl lock-status STACK`, then start over",
            ),
            ErrorKind::Cancelled => (FAILED, "cancelled", ""),
            ErrorKind::Unsupported => (FAILED, "unsupported", ""),
            ErrorKind::Unavailable => (FAILED, "unavailable", "try again"),
            ErrorKind::Io => (FAILED, "io", ""),
            _ => (FAILED, "failed", ""),
        };
        Self {
            code,
            name,
            hint: Some(hint).filter(|hint| !hint.is_empty()),
        }
    }
}

/// What lies behind an error, without those whose text the message above them already has.
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
