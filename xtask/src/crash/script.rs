//! What is traced: processes that call the store, and the one that does what a script says.

use super::mark::{Mark, Request};
use crate::note::Note;
use clap::Args;
use localstate::{LocalStorage, LocalStore};
use sdk_state::encrypt::Noop;
use sdk_state::{Backend as _, Expect, Lock, Revision, StackId, Storage as _, Store, Wait, WriteOptions};
use std::error::Error;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use time::OffsetDateTime;

/// From the base to the stack. The first three do not exist when a script begins.
pub(super) const ROOT: &str = "absent/too/root";
pub(super) const FACTORY: &str = "crash";
pub(super) const STACK: &str = "prod";
/// What lies in the stack's directory.
pub(super) const LOCK: &str = "lock";
pub(super) const CURRENT: &str = "current";
pub(super) const SNAPSHOTS: &str = "snapshots";

/// 2026-07-10T12:00:00Z: the clock stands still, so that every further revision needs a suffix.
const NOON: i64 = 1_783_684_800;

/// Processes that do their steps one after the other, each with a handle of its own, and end without giving back a lock.
pub(super) struct Script {
    pub(super) sentence: &'static str,
    pub(super) processes: &'static [&'static [&'static str]],
    pub(super) fate: Fate,
}

/// What happens to a process, given by its place, at one of its flushes; in each run at another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// All processes are left alone.
    None,
    /// It is killed before the flush.
    Killed(usize),
    /// It is stopped before the flush until the process after it has ended.
    Overtaken(usize),
    /// The same, and the process after it is killed before this flush of its own, if it comes so far.
    OvertakenByKilled(usize, usize),
}

/// Snapshots are named by what they hold; `newest` is the last one that is listed. What is only tried may fail.
pub(super) const SCRIPTS: [Script; 24] = [
    Script {
        sentence: "the first write makes the root and what is above it",
        processes: &[&["write A", "set_current A"]],
        fate: Fate::None,
    },
    Script {
        sentence: "the pointer moves, and what it has left is deleted",
        processes: &[&[
            "write A",
            "set_current A",
            "write B",
            "compare_and_set_current A B",
            "delete A",
            "write C",
            "set_current C",
            "delete B",
        ]],
        fate: Fate::None,
    },
    Script {
        sentence: "writes on a clock that stands still, and a name that is given again",
        processes: &[&[
            "write A",
            "write B",
            "write C",
            "set_current B",
            "write D",
            "delete D",
            "delete C",
            "write E",
        ]],
        fate: Fate::None,
    },
    Script {
        sentence: "a run under the lock, twice",
        processes: &[&[
            "lock",
            "write A",
            "compare_and_set_current none A",
            "unlock",
            "lock",
            "write B",
            "compare_and_set_current A B",
            "delete A",
            "unlock",
        ]],
        fate: Fate::None,
    },
    Script {
        sentence: "locks that are given back, of which nothing is flushed but the markers",
        processes: &[&[
            "lock", "unlock", "lock", "unlock", "lock", "unlock", "lock", "write A",
        ]],
        fate: Fate::None,
    },
    Script {
        sentence: "a lock whose holder has died is taken over",
        processes: &[
            &["lock", "write A", "set_current A"],
            &["lock", "write B", "compare_and_set_current A B"],
            &["lock", "unlock"],
        ],
        fate: Fate::None,
    },
    Script {
        sentence: "a holder is evicted, and another one locks",
        processes: &[&[
            "lock",
            "write A",
            "set_current A",
            "force_unlock",
            "lock",
            "write B",
            "set_current B",
            "unlock",
        ]],
        fate: Fate::None,
    },
    Script {
        sentence: "the first writer is killed, and another one goes on with what it has made",
        processes: &[&["write A"], &["write B", "set_current B"]],
        fate: Fate::Killed(0),
    },
    Script {
        sentence: "a mover is killed, and what it has moved the pointer away from is deleted",
        processes: &[
            &["write A", "set_current A", "write B"],
            &["set_current B"],
            &["try delete A", "write C"],
        ],
        fate: Fate::Killed(1),
    },
    Script {
        sentence: "a writer is killed, and another process points at the newest revision",
        processes: &[
            &["write A", "set_current A"],
            &["write B"],
            &["set_current newest", "try delete A"],
        ],
        fate: Fate::Killed(1),
    },
    Script {
        sentence: "a deleter is killed, and another process writes",
        processes: &[
            &["write A", "write B", "set_current B", "write C"],
            &["delete C"],
            &["write D", "set_current D"],
        ],
        fate: Fate::Killed(1),
    },
    Script {
        sentence: "a holder is killed in its run, and the next one takes over",
        processes: &[
            &["write A", "set_current A"],
            &["lock", "write B", "compare_and_set_current A B", "unlock"],
            &["lock", "write C", "set_current C", "unlock"],
        ],
        fate: Fate::Killed(1),
    },
    Script {
        sentence: "the first holder is killed, and the next one goes on with what it has made",
        processes: &[&["lock"], &["lock", "unlock", "write A", "set_current A"]],
        fate: Fate::Killed(0),
    },
    Script {
        sentence: "a mover is overtaken by who deletes what the pointer has left",
        processes: &[
            &["write A", "set_current A", "write B"],
            &["try set_current B"],
            &["try delete A", "write C"],
        ],
        fate: Fate::Overtaken(1),
    },
    Script {
        sentence: "a mover is overtaken by who deletes what it moves to",
        processes: &[
            &["write A", "set_current A", "write B"],
            &["try set_current B"],
            &["try delete B", "write C"],
        ],
        fate: Fate::Overtaken(1),
    },
    Script {
        sentence: "a deleter is overtaken by who moves the pointer to what it deletes",
        processes: &[
            &["write A", "write B", "set_current B"],
            &["try delete A"],
            &["try set_current A"],
        ],
        fate: Fate::Overtaken(1),
    },
    Script {
        sentence: "a writer is overtaken by who points at the newest revision and deletes the others",
        processes: &[
            &["write A", "set_current A"],
            &["write B"],
            &["set_current newest", "try delete A", "write C"],
        ],
        fate: Fate::Overtaken(1),
    },
    Script {
        sentence: "the first writer is overtaken by another one",
        processes: &[&["write A"], &["write B", "set_current B"]],
        fate: Fate::Overtaken(0),
    },
    Script {
        sentence: "a mover is overtaken by another one with the same expectation",
        processes: &[
            &["write A", "set_current A", "write B", "write C"],
            &["try compare_and_set_current A B"],
            &["try compare_and_set_current A C", "try delete A"],
        ],
        fate: Fate::Overtaken(1),
    },
    Script {
        sentence: "who takes the lock is overtaken",
        processes: &[
            &["write A", "set_current A"],
            &["try lock", "write B"],
            &["try lock", "write C", "set_current C"],
        ],
        fate: Fate::Overtaken(1),
    },
    Script {
        sentence: "a mover is overtaken by a killed process that has deleted the revision and given its name to another one",
        processes: &[
            &["write A", "set_current A"],
            &["write B", "try set_current B"],
            &["try delete B", "write C"],
        ],
        fate: Fate::OvertakenByKilled(1, 8),
    },
    Script {
        sentence: "another handle's mover is overtaken by a killed process that has given the name to another revision",
        processes: &[
            &["write A", "set_current A", "write B"],
            &["try set_current B"],
            &["try delete B", "write C"],
        ],
        fate: Fate::OvertakenByKilled(1, 8),
    },
    Script {
        sentence: "who replaces a snapshot is killed, and another one deletes it",
        processes: &[
            &["write A", "write B", "set_current B", "replace B"],
            &["replace A"],
            &["delete A", "write C"],
        ],
        fate: Fate::Killed(1),
    },
    Script {
        sentence: "who replaces a snapshot is overtaken by who points at it and deletes the other",
        processes: &[
            &["write A", "write B", "set_current B"],
            &["try replace A"],
            &["set_current A", "delete B"],
        ],
        fate: Fate::Overtaken(1),
    },
];

/// The arguments of a traced process.
#[derive(Args)]
pub(crate) struct ScriptOptions {
    #[arg(long)]
    base: PathBuf,
    /// One step each
    steps: Vec<String>,
}

/// The traced process: it does its steps, and leaves marks in the log.
pub(crate) fn run_script(options: &ScriptOptions) -> ExitCode {
    match run(&options.base, &options.steps) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            let _ = writeln!(io::stdout(), "{problem}");
            ExitCode::FAILURE
        }
    }
}

/// A store under a base directory, as the scripts and those who look at what they have left open it.
pub(super) fn open(base: &Path) -> Result<LocalStore<Note>, sdk_state::Error> {
    let storage = LocalStorage::new(base.join(ROOT), StackId::new(FACTORY, STACK)?);
    Ok(Store::new(storage, Noop)
        .with_clock(|| OffsetDateTime::from_unix_timestamp(NOON).unwrap_or(OffsetDateTime::UNIX_EPOCH)))
}

fn run(base: &Path, steps: &[String]) -> Result<(), Box<dyn Error>> {
    let store = open(base)?;
    let mut locks = Vec::new();
    for step in steps {
        take(&store, &mut locks, step).map_err(|problem| format!("{step}: {problem}"))?;
    }
    // As if it were killed.
    locks.into_iter().for_each(std::mem::forget);
    Ok(())
}

fn take(store: &LocalStore<Note>, locks: &mut Vec<Box<dyn Lock>>, step: &str) -> Result<(), Box<dyn Error>> {
    let held = || locks.last().map(AsRef::as_ref);
    let words: Vec<&str> = step.split(' ').collect();
    let mut written = None;
    match words.as_slice() {
        ["try", ..] => {
            if take(store, locks, &words[1..].join(" ")).is_err() {
                Mark::Failed.leave();
            }
            return Ok(());
        }
        ["write", text] => {
            begin(Request::Write((*text).into()));
            written = Some(store.write(&Note((*text).into()), &WriteOptions::new())?);
        }
        ["set_current", text] => {
            let rev = named(store, text)?;
            begin(Request::Move(rev.clone()));
            store.set_current(&rev)?;
        }
        ["compare_and_set_current", "none", text] => {
            let rev = named(store, text)?;
            begin(Request::Move(rev.clone()));
            store.compare_and_set_current(Expect::Exactly(None), &rev, held())?;
        }
        ["compare_and_set_current", from, text] => {
            let (from, rev) = (named(store, from)?, named(store, text)?);
            begin(Request::Move(rev.clone()));
            store.compare_and_set_current(Expect::Exactly(Some(&from)), &rev, held())?;
        }
        ["delete", text] => {
            let rev = named(store, text)?;
            begin(Request::Delete(rev.clone()));
            store.delete(&rev, held())?;
        }
        // As re-keying does, though by the same bytes.
        ["replace", text] => {
            let rev = named(store, text)?;
            begin(Request::Replace(rev.clone()));
            store
                .storage()
                .replace(&rev, &store.storage().read(&rev, u64::MAX)?)?;
        }
        ["lock"] => {
            begin(Request::Lock);
            locks.push(store.lock("crash", &Wait::none())?);
        }
        ["unlock"] => {
            begin(Request::Unlock);
            locks.pop().ok_or("nothing is locked")?.unlock()?;
        }
        ["force_unlock"] => {
            begin(Request::ForceUnlock);
            store.force_unlock(None)?.ok_or("nothing was locked")?;
        }
        _ => return Err("there is no such step".into()),
    }
    Mark::Returned(written).leave();
    Ok(())
}

fn begin(request: Request) {
    Mark::Begins(request).leave();
}

fn named(store: &LocalStore<Note>, text: &str) -> Result<Revision, Box<dyn Error>> {
    let mut listed = store.list()?;
    if text == "newest" {
        return listed.pop().ok_or_else(|| "there is none".into());
    }
    for rev in listed {
        if store.get(&rev)?.0 == text {
            return Ok(rev);
        }
    }
    Err(format!("no revision holds {text}").into())
}
