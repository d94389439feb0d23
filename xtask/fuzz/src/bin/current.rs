//! The content of `current`, as a file in a directory, in memory, and by itself.
//!
//! Laws: all three say the same. What is read is the name that stands there, with white space around it at most; anything
//! else is `Damaged`, never "no state yet" (C3).

#![no_main]

use fuzz::{ID, local_stack};
use localstate::LocalBackend;
use sdk_state::{Backend as _, ErrorKind, MemoryBackend, Pointer, Revision};
use std::path::PathBuf;
use std::sync::LazyLock;

/// Where the local backend stops reading.
const LONGEST_FILE: usize = 4096;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let alone = Revision::from_pointer(input);
    match &alone {
        Ok(revision) => assert_eq!(revision.to_string().as_bytes(), input.trim_ascii()),
        Err(error) => {
            assert_eq!(error.kind(), &ErrorKind::Damaged);
            fuzz::check_error(error, input, &[]);
        }
    }
    let expected = alone.ok();

    let memory = MemoryBackend::new(ID.clone());
    memory.overwrite_pointer(input);
    assert_eq!(in_kind(memory.current()), expected);

    static STACK: LazyLock<(PathBuf, LocalBackend)> = LazyLock::new(|| local_stack("current"));
    let (file, local) = &*STACK;
    std::fs::write(file, input).expect("a file");
    let expected = expected.filter(|_| input.len() <= LONGEST_FILE);
    assert_eq!(in_kind(local.current()), expected);
});

/// The revision that is current; `None` for a damaged pointer. There is no third outcome.
fn in_kind(current: Result<Option<Pointer>, sdk_state::Error>) -> Option<Revision> {
    match current {
        Ok(pointer) => Some(pointer.expect("a pointer that is there is never none").revision),
        Err(error) => {
            assert_eq!(error.kind(), &ErrorKind::Damaged);
            None
        }
    }
}
