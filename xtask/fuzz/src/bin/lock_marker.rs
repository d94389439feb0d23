//! The lock marker, which another program may have written, or somebody damaged. An input is the content of the file, and
//! what it says is used again: a lock is taken in the name of that holder.
//!
//! Laws: a marker that is there is a lock that is held, whatever it holds; what is shown of it is safe for a terminal. A
//! marker without an flock proves a holder dead only if it has our length. Whatever a holder calls itself, its marker has
//! that length and names it.

#![no_main]

use fuzz::{is_harmless, local_stack};
use localstate::LocalBackend;
use sdk_state::{Backend as _, Liveness, LockInfo, TryLock};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The length of the markers whose holders keep them flocked.
const OURS: usize = 1024;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    static STACK: LazyLock<(PathBuf, LocalBackend)> = LazyLock::new(|| local_stack("lock"));
    let (file, backend) = &*STACK;
    let info = read(file, backend, input);
    std::fs::remove_file(file).expect("the marker");
    hold(file, backend, &info);
});

fn read(file: &Path, backend: &LocalBackend, input: &[u8]) -> LockInfo {
    std::fs::write(file, input).expect("a file");
    let status = backend.lock_status().expect("a marker can be read");
    let status = status.expect("a marker is there");
    let is_ours = input.len() == OURS;
    assert_eq!(
        status.liveness == Liveness::Dead,
        is_ours,
        "{} bytes",
        input.len()
    );
    assert!(is_harmless(&status.info.to_string()));
    if let Some(token) = &status.info.token {
        assert_eq!(
            &token.as_str().parse::<sdk_state::LockToken>().expect("a token"),
            token
        );
    }
    status.info
}

fn hold(file: &Path, backend: &LocalBackend, info: &LockInfo) {
    let TryLock::Held(lock) = backend.try_lock(&info.holder).expect("a lock") else {
        panic!("nobody else has it");
    };
    assert_eq!(std::fs::metadata(file).expect("a marker").len(), OURS as u64);
    let status = backend.lock_status().expect("a status").expect("it is held");
    assert_eq!(status.liveness, Liveness::Alive);
    assert_eq!(status.info.token.as_ref(), lock.token().ok());
    assert_eq!(status.info.pid, Some(std::process::id()));
    let (shown, told) = (&status.info.holder.provenance, &info.holder.provenance);
    for (shown, told) in [
        (&shown.run, &told.run),
        (&shown.author, &told.author),
        (&shown.host, &told.host),
        (&shown.tool, &told.tool),
    ] {
        let told = told.as_deref();
        assert_eq!(shown.is_some(), told.is_some());
        assert!(
            told.unwrap_or_default()
                .starts_with(shown.as_deref().unwrap_or_default())
        );
    }
    lock.unlock().expect("it is held");
    assert!(!file.exists());
}
