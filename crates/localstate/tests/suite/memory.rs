//! The memory of a write and of a read, as a multiple of the snapshot's JSON. What zstd allocates in C is not counted: its
//! tables have one size for all snapshots.

#[path = "../../../sdk-state/benches/workload/mod.rs"]
mod workload;

use crate::support;
use peak_alloc::PeakAlloc;
use sdk_state::encrypt::{EnvKey, MasterKey};
use sdk_state::{Snapshot as _, State};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// How many bytes more than now `operation` has at its peak, and what it gives.
fn peak_of<T>(operation: impl FnOnce() -> T) -> (usize, T) {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let result = operation();
    (ALLOCATOR.peak_usage() - before, result)
}

#[test]
fn a_write_and_a_read_are_bounded_by_their_json() {
    let root = tempfile::tempdir().unwrap();
    let process = support::process("memory::process_that_writes_and_reads", root.path());
    assert!(support::succeeds(process));
}

// In a process of its own, since the allocator counts for all threads. A vector that grows counts twice while it is copied.
#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_writes_and_reads() {
    let Some(root) = support::given_root() else { return };
    let key = EnvKey::new("STATE_KEY", MasterKey::generate().unwrap());
    let store = localstate::open(&root, workload::FACTORY, workload::STACK, key).unwrap();
    // Measured: 2.03 and 2.30, 2.03 and 2.60.
    for (entries, write_bound, read_bound) in [(1_000, 2.2, 2.4), (10_000, 2.2, 2.8)] {
        let state = State::decode(workload::document(entries).as_bytes()).unwrap();
        let length = state.encode().unwrap().len() as f64;

        let (peak, revision) = peak_of(|| store.write(&state, None).unwrap());
        let written = peak as f64 / length;
        assert!(written > 1.0, "the JSON itself was not counted: {written:.2}");
        assert!(
            written < write_bound,
            "writing {entries} entries takes {written:.2} times their JSON"
        );

        store.set_current(&revision).unwrap();
        drop(state);
        let (peak, state) = peak_of(|| store.head().unwrap().unwrap().document);
        let read = peak as f64 / length;
        assert_eq!(state.len(), entries);
        assert!(read > 1.0, "the JSON itself was not counted: {read:.2}");
        assert!(
            read < read_bound,
            "reading {entries} entries takes {read:.2} times their JSON"
        );
    }
}
