//! What the benchmarks of the local backend share: where they measure, how, and how they say what they found.

#![allow(dead_code, reason = "each benchmark uses its own part")]

#[path = "../../../sdk-state/benches/workload/mod.rs"]
pub(crate) mod workload;

pub(crate) mod floor;

use sdk_state::encrypt::{EnvKey, MasterKey};
use sdk_state::{Change as _, Entry, Expect, LockToken, Revision, Snapshot as _, State, StateChange, Store};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use time::OffsetDateTime;

/// The same in each process of a run.
const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

/// A directory below the one to measure in; removed when dropped.
pub(crate) fn directory() -> tempfile::TempDir {
    let base =
        env::var_os("BENCH_DIRECTORY").map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
    fs::create_dir_all(&base).unwrap();
    tempfile::tempdir_in(base).unwrap()
}

/// Whether this is only a trial of the benchmark itself.
pub(crate) fn is_quick() -> bool {
    env::var_os("BENCH_QUICK").is_some()
}

/// The full number, or a small one in a trial.
pub(crate) fn rounds(full: usize, quick: usize) -> usize {
    if is_quick() { quick } else { full }
}

pub(crate) fn store(root: &Path, stack: &str) -> Store {
    let key = EnvKey::new("STATE_KEY", MasterKey::from_base64(KEY).unwrap());
    localstate::open(root, workload::FACTORY, stack, key).unwrap()
}

/// Writes a state and makes it current.
pub(crate) fn save(store: &Store, state: &State, token: &LockToken) -> Revision {
    let revision = store.write(state, None).unwrap();
    store
        .backend()
        .set_current(Expect::Anything, &revision, token)
        .unwrap();
    revision
}

pub(crate) fn state(entries: usize) -> State {
    State::decode(workload::document(entries).as_bytes()).unwrap()
}

/// What each entry adds to a journal before it is sealed.
pub(crate) fn encoded(entries: &[Entry]) -> Vec<Vec<u8>> {
    let encode = |entry: &Entry| {
        let mut bytes = Vec::new();
        StateChange::Put(entry.clone()).encode(&mut bytes).unwrap();
        bytes
    };
    entries.iter().map(encode).collect()
}

pub(crate) fn snapshots(root: &Path, stack: &str) -> PathBuf {
    root.join(workload::FACTORY).join(stack).join("snapshots")
}

/// The file of the only snapshot.
pub(crate) fn only_file(snapshots: &Path) -> PathBuf {
    fs::read_dir(snapshots).unwrap().next().unwrap().unwrap().path()
}

/// Copies the only snapshot until there are `revisions` of them, without flushing, and says which were added.
pub(crate) fn multiply(snapshots: &Path, revisions: usize) -> Vec<Revision> {
    let bytes = fs::read(only_file(snapshots)).unwrap();
    (1..revisions)
        .map(|number| {
            let moment = OffsetDateTime::UNIX_EPOCH + Duration::from_millis(number as u64 * 977);
            let revision = Revision::at(moment).unwrap();
            fs::write(snapshots.join(format!("{revision}.json.enc")), &bytes).unwrap();
            revision
        })
        .collect()
}

/// Prints one figure as a line of JSON, as `cargo xtask bench` reads it.
pub(crate) fn report(what: &str, size: &str, unit: &str, value: f64) {
    println!(
        "{}",
        serde_json::json!({ "what": what, "size": size, "unit": unit, "value": value })
    );
}

/// The same for a time with its floor.
pub(crate) fn report_with_floor(what: &str, size: &str, time: Duration, floor_is: &str, floor: Duration) {
    println!(
        "{}",
        serde_json::json!({
            "what": what, "size": size, "unit": "s", "value": time.as_secs_f64(),
            "floor": floor.as_secs_f64(), "floor-is": floor_is,
        })
    );
}

/// What `percent` of 100 samples stay below. Sorts them.
pub(crate) fn percentile(samples: &mut [Duration], percent: usize) -> Duration {
    samples.sort_unstable();
    samples[(samples.len() * percent / 100).min(samples.len() - 1)]
}

/// The medians of two operations that take turns, so that what else the machine does meets both.
pub(crate) fn alternate(
    rounds: usize,
    mut measured: impl FnMut() -> Duration,
    mut floor: impl FnMut() -> Duration,
) -> (Duration, Duration) {
    let (mut times, mut floors) = (Vec::new(), Vec::new());
    // The second one finds the disk's queue and the caches as the first left them: each comes second equally often.
    for round in 0..rounds + 2 {
        let (time, floor) = if round % 2 == 0 {
            let time = measured();
            (time, floor())
        } else {
            let floor = floor();
            (measured(), floor)
        };
        // The first two warm up.
        if round >= 2 {
            times.push(time);
            floors.push(floor);
        }
    }
    (percentile(&mut times, 50), percentile(&mut floors, 50))
}

/// The most memory that this process has had, in bytes, or nothing where the kernel does not say.
pub(crate) fn peak_memory() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}
