use sdk_state::envelope::Subject;
use sdk_state::{Revision, StackId};
use std::path::PathBuf;
use std::sync::LazyLock;

/// The stack of the published test vectors.
pub static ID: LazyLock<StackId> = LazyLock::new(|| "net/prod".parse().expect("a stack"));
/// Their revision.
pub static REVISION: LazyLock<Revision> = LazyLock::new(|| "2026-07-10T12:00:00Z".parse().expect("a moment"));

/// What the targets of the envelope ask for.
pub fn subject() -> Subject<'static> {
    Subject {
        payload: "state",
        id: &ID,
        revision: &REVISION,
    }
}

/// A directory for the target's files. It is left behind, since libFuzzer ends a process without unwinding: whoever starts
/// a target chooses where by `TMPDIR`, and removes it.
///
/// # Panics
///
/// If there can be none.
pub fn scratch() -> PathBuf {
    tempfile::tempdir().expect("a directory").keep()
}
