//! What the fuzz targets share. The targets lie in `src/bin`, one a file; each begins with the laws that it checks.

pub mod sealing;
pub mod store;

// The model, the histories and the workers are those of `cargo xtask props`.
#[path = "../../src/history.rs"]
#[expect(dead_code, reason = "what only processes and directories need")]
mod history;
#[path = "../../src/model.rs"]
mod model;
#[path = "../../src/place.rs"]
#[expect(dead_code, reason = "what only the other tasks need")]
mod place;
#[path = "../../src/unobin.rs"]
mod unobin;
#[path = "../../src/worker.rs"]
mod worker;

use localstate::LocalBackend;
use sdk_state::encrypt::{EnvKey, Keyring, MasterKey, Noop};
use sdk_state::envelope::{self, Subject};
use sdk_state::{Error, ErrorKind, Revision, StackId};
use std::error::Error as StdError;
use std::path::PathBuf;
use std::sync::LazyLock;

/// The stack of the published test vectors.
pub static ID: LazyLock<StackId> = LazyLock::new(|| "net/prod".parse().expect("a stack"));
/// Their revision.
pub static REVISION: LazyLock<Revision> = LazyLock::new(|| "2026-07-10T12:00:00Z".parse().expect("a moment"));
/// Their key, so that they are seeds that open.
const KEY: &str = "TSESzfOGUO54yA8fbJBjGiyQfD3BvJj/McmPRQthaMQ=";
/// The text that stands for a secret: where an input has it in a snapshot, no error may repeat it.
const SECRET: &[u8] = b"hunter2";

/// What the targets of the envelope ask for.
pub fn subject() -> Subject<'static> {
    Subject {
        payload: "state",
        id: &ID,
        revision: &REVISION,
    }
}

/// A stack in a directory of its own: the path of one of its files, and a backend. The directory is left behind, since
/// libFuzzer ends a process without unwinding: the caller chooses its place by `TMPDIR`, and removes it.
///
/// # Panics
///
/// If there can be none.
pub fn local_stack(file: &str) -> (PathBuf, LocalBackend) {
    let root = tempfile::tempdir().expect("a directory").keep();
    let stack = root.join(ID.factory()).join(ID.stack());
    std::fs::create_dir_all(&stack).expect("a directory");
    (stack.join(file), LocalBackend::new(root, ID.clone()))
}

/// Documents that targets seal are at most so long.
pub const LIMIT: u64 = 64 << 10;

/// Opens a sealed file of at most [`LIMIT`] bytes, and checks the errors: each is of a kind that is about files, and what opens
/// nowhere can be shown to anybody too, without the secret of `hidden`.
///
/// # Panics
///
/// If one is not.
pub fn open(ring: &Keyring, subject: Subject<'_>, file: &[u8], hidden: &[u8]) -> Result<Vec<u8>, Error> {
    let opened = envelope::open(ring, subject, file.to_vec(), LIMIT);
    if let Err(error) = &opened {
        use ErrorKind::{Damaged, Misplaced, OtherPayload, Refused, TooLarge, WrongKey};
        match error.kind() {
            Damaged | Misplaced | OtherPayload { .. } | Refused | TooLarge | WrongKey => {}
            _ => panic!("{error:?}"),
        }
    }
    if let Err(error) = envelope::header(file) {
        assert!(opened.is_err(), "{error:?}");
        check_error(&error, hidden, &[]);
    }
    opened
}

/// The keyrings that a target opens with. All of them accept version 1, `without_v1` apart.
pub struct Rings {
    /// Opens what is encrypted.
    pub real: Keyring,
    /// Opens what is not.
    pub plain: Keyring,
    /// The real one with another key.
    pub other: Keyring,
    /// The real one, as it is unless it is told to accept version 1.
    pub without_v1: Keyring,
}

/// Made once: deriving keys takes longer than most inputs do.
pub fn rings() -> &'static Rings {
    static RINGS: LazyLock<Rings> = LazyLock::new(|| Rings {
        real: accepting_v1(|| key(KEY)),
        plain: Keyring::from(Noop).accept_v1(Noop).expect("two plain ones"),
        other: accepting_v1(|| key("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")),
        without_v1: Keyring::from(key(KEY)),
    });
    &RINGS
}

fn accepting_v1(key: impl Fn() -> EnvKey) -> Keyring {
    Keyring::from(key())
        .accept_v1(key().legacy())
        .expect("two real ones")
}

fn key(text: &str) -> EnvKey {
    EnvKey::new("KEY", MasterKey::from_base64(text).expect("32 bytes"))
}

/// Checks that an error can be shown to anybody: it and each of its causes is short and safe for a terminal, and none
/// tells the secret of `hidden`. What is in `public` may be told.
///
/// # Panics
///
/// If it cannot.
pub fn check_error(error: &Error, hidden: &[u8], public: &[u8]) {
    let mut told = format!("{error:?}");
    let mut cause: Option<&dyn StdError> = Some(error);
    while let Some(error) = cause {
        let message = error.to_string();
        assert!(message.len() < 4 << 10, "a message of {} bytes", message.len());
        assert!(is_harmless(&message), "{message:?}");
        told.push_str(&message);
        cause = error.source();
    }
    if contains(hidden, SECRET) && !contains(public, SECRET) {
        assert!(!contains(told.as_bytes(), SECRET), "{told}");
    }
}

/// Whether a text neither steers a terminal nor turns the direction of writing.
pub fn is_harmless(text: &str) -> bool {
    let steers =
        |sign: char| matches!(sign, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') || sign.is_control();
    !text.chars().any(steers)
}

/// Whether `part` is somewhere in `whole`.
pub fn contains(whole: &[u8], part: &[u8]) -> bool {
    part.is_empty() || whole.windows(part.len()).any(|window| window == part)
}
