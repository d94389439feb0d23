//! Where a process is killed or stopped.

use super::log::{Argument, Call};
use super::mark::Mark;
use std::collections::BTreeSet;

/// What std calls for `File::sync_all`.
const FLUSH: &str = "fsync";
/// What changes something, or looks at what others may change.
const CALLS: [&str; 10] = [
    FLUSH,
    "openat",
    "mkdirat",
    "write",
    "pwrite64",
    "renameat",
    "renameat2",
    "linkat",
    "unlinkat",
    "flock",
];

/// A call of a process, by its name and its number among those of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CallNumber {
    pub(super) name: String,
    pub(super) number: usize,
}

/// Which points are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Density {
    /// Before each flush, since there a power cut makes the greatest difference.
    Flushes,
    /// At each call.
    Calls,
}

/// The calls instead of which a process can be killed.
pub(super) fn to_kill(calls: &[Call], density: Density) -> Vec<CallNumber> {
    chosen(calls, density).map(|at| number(calls, at)).collect()
}

/// The calls after which a process can be stopped: not inside the gate, where nobody can overtake it.
pub(super) fn to_stop(calls: &[Call], density: Density) -> Vec<CallNumber> {
    let inside = inside_the_gate(calls);
    let points: BTreeSet<usize> = match density {
        Density::Flushes => chosen(calls, density)
            .filter_map(|at| at.checked_sub(1))
            .collect(),
        Density::Calls => chosen(calls, Density::Flushes)
            .filter_map(|at| at.checked_sub(1))
            .chain(chosen(calls, density))
            .collect(),
    };
    points
        .into_iter()
        .filter(|&at| !inside[at])
        .map(|at| number(calls, at))
        .collect()
}

/// The flush of this number.
pub(super) fn flush(number: usize) -> CallNumber {
    CallNumber {
        name: FLUSH.into(),
        number,
    }
}

/// Not before the first step: until then a program only starts.
fn chosen(calls: &[Call], density: Density) -> impl Iterator<Item = usize> {
    let first = calls.iter().position(is_mark).unwrap_or(calls.len());
    (first..calls.len()).filter(move |&at| match density {
        Density::Flushes => calls[at].name == FLUSH,
        Density::Calls => CALLS.contains(&calls[at].name.as_str()),
    })
}

fn is_mark(call: &Call) -> bool {
    call.arguments
        .iter()
        .any(|argument| matches!(argument, Argument::Bytes(path) if Mark::read(path).is_some()))
}

fn number(calls: &[Call], at: usize) -> CallNumber {
    let name = &calls[at].name;
    CallNumber {
        name: name.clone(),
        number: calls[..=at].iter().filter(|call| call.name == *name).count(),
    }
}

/// Whether the process is inside the gate after each call. The gate is an flock on `.`, opened anew.
fn inside_the_gate(calls: &[Call]) -> Vec<bool> {
    let mut directories = BTreeSet::new();
    let mut gate = None;
    let mut inside = Vec::new();
    for call in calls {
        let handle = match call.arguments.first() {
            Some(Argument::Word(word)) => word.parse().ok(),
            _ => None,
        };
        match (call.name.as_str(), call.arguments.get(1)) {
            ("openat", Some(Argument::Bytes(path))) if path == b"." => directories.extend(call.result),
            ("openat", _) => {
                call.result.map(|opened| directories.remove(&opened));
            }
            ("flock", Some(Argument::Word(operation))) if call.result.is_some() => {
                let is_directory = handle.is_some_and(|handle| directories.contains(&handle));
                if operation.contains("LOCK_EX") && is_directory {
                    gate = handle;
                } else if operation.contains("LOCK_UN") && gate == handle {
                    gate = None;
                }
            }
            _ => {}
        }
        inside.push(gate.is_some());
    }
    inside
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::log;

    /// A mark, a rename inside the gate, and a flush.
    fn calls() -> Vec<Call> {
        let mark: String = "/crash-mark/lock"
            .bytes()
            .map(|byte| format!("\\x{byte:02x}"))
            .collect();
        let log = format!(
            "7 fsync(3) = 0
7 readlink(\"{mark}\", 0x7ff, 1024) = -1 ENOENT (No such file or directory)
7 openat(3, \"\\x2e\", O_RDONLY) = 4
7 flock(4, LOCK_EX|LOCK_NB) = 0
7 renameat(3, \"\\x61\", 3, \"\\x62\") = 0
7 flock(4, LOCK_UN) = 0
7 fsync(4) = 0
"
        );
        log::parse(&log).unwrap()
    }

    fn names(points: Vec<CallNumber>) -> Vec<(String, usize)> {
        points
            .into_iter()
            .map(|point| (point.name, point.number))
            .collect()
    }

    fn point(name: &str, number: usize) -> (String, usize) {
        (name.into(), number)
    }

    #[test]
    fn a_process_is_killed_at_its_flushes_and_stopped_before_them_once_it_has_begun() {
        assert_eq!(names(to_kill(&calls(), Density::Flushes)), [point("fsync", 2)]);
        assert_eq!(names(to_stop(&calls(), Density::Flushes)), [point("flock", 2)]);
    }

    #[test]
    fn a_process_is_never_stopped_inside_the_gate() {
        let stops = names(to_stop(&calls(), Density::Calls));
        assert_eq!(stops, [point("openat", 1), point("flock", 2), point("fsync", 2)]);
        assert_eq!(to_kill(&calls(), Density::Calls).len(), 5);
    }
}
