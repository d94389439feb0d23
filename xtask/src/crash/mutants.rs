//! What a careless library would have done: edits of a trace, each of which the promises must notice.

use super::script::{Mark, ROOT, Request};
use super::trace::{BASE, Inode, Op, Trace};
use crate::place::{CURRENT, FACTORY, LOCK, SNAPSHOTS, STACK};
use std::collections::BTreeMap;

pub(super) struct Mutant {
    pub(super) sentence: &'static str,
    pub(super) edit: fn(&Trace) -> Vec<Op>,
}

pub(super) const MUTANTS: [Mutant; 22] = [
    Mutant {
        sentence: "no file is flushed",
        edit: |trace| without_flushes(trace, |flush| !flush.is_directory),
    },
    Mutant {
        sentence: "a snapshot's file is not flushed",
        edit: |trace| without_flushes(trace, |flush| flush.name.starts_with(".snapshot.")),
    },
    Mutant {
        sentence: "the pointer's file is not flushed",
        edit: |trace| without_flushes(trace, |flush| flush.name.starts_with(".current.")),
    },
    Mutant {
        sentence: "the lock marker is not flushed",
        edit: |trace| without_flushes(trace, |flush| flush.name.starts_with(".lock.")),
    },
    Mutant {
        sentence: "no directory is flushed",
        edit: |trace| without_flushes(trace, |flush| flush.is_directory),
    },
    Mutant {
        sentence: "no parent of a directory that was made is flushed",
        edit: |trace| without_flushes(trace, |flush| flush.made.is_some()),
    },
    Mutant {
        sentence: "the parent of the first missing directory is not flushed",
        edit: |trace| without_flushes(trace, |flush| flush.inode == BASE),
    },
    Mutant {
        sentence: "the parent of the root is not flushed",
        edit: |trace| without_flushes(trace, |flush| flush.has_made(last_name(ROOT))),
    },
    Mutant {
        sentence: "the factory's parent is not flushed",
        edit: |trace| without_flushes(trace, |flush| flush.has_made(FACTORY)),
    },
    Mutant {
        sentence: "the stack's parent is not flushed",
        edit: |trace| without_flushes(trace, |flush| flush.has_made(STACK)),
    },
    Mutant {
        sentence: "the parent of the snapshots' directory is not flushed",
        edit: |trace| without_flushes(trace, |flush| flush.has_made(SNAPSHOTS)),
    },
    Mutant {
        sentence: "who finds a directory made does not flush its parent",
        edit: |trace| without_flushes(trace, |flush| flush.was_made_by_another()),
    },
    Mutant {
        sentence: "a write does not flush the snapshots' directory",
        edit: |trace| without_flushes(trace, |flush| flush.name == SNAPSHOTS && flush.writes()),
    },
    Mutant {
        sentence: "set_current does not flush the snapshots' directory",
        edit: |trace| without_flushes(trace, |flush| flush.name == SNAPSHOTS && flush.moves()),
    },
    Mutant {
        sentence: "set_current does not flush the stack's directory",
        edit: |trace| without_flushes(trace, |flush| flush.name == STACK && flush.moves()),
    },
    Mutant {
        sentence: "delete does not flush the stack's directory",
        edit: |trace| without_flushes(trace, |flush| flush.name == STACK && flush.deletes()),
    },
    Mutant {
        sentence: "delete does not flush the snapshots' directory",
        edit: |trace| without_flushes(trace, |flush| flush.name == SNAPSHOTS && flush.deletes()),
    },
    Mutant {
        sentence: "a snapshot is flushed after it is published",
        edit: |trace| published_before_the_flush(trace, ".snapshot."),
    },
    Mutant {
        sentence: "the pointer is flushed after it is published",
        edit: |trace| published_before_the_flush(trace, ".current."),
    },
    Mutant {
        sentence: "the lock marker is flushed after it is published",
        edit: |trace| published_before_the_flush(trace, ".lock."),
    },
    Mutant {
        sentence: "the old pointer is removed before the new one gets its name",
        edit: |trace| {
            with_before(trace, |op| match op {
                Op::Rename { dir, to, .. } if to == CURRENT => Some(Op::Unlink {
                    dir: *dir,
                    name: to.clone(),
                }),
                _ => None,
            })
        },
    },
    Mutant {
        sentence: "a dead holder's marker is cut before it is replaced",
        edit: |trace| {
            with_before(trace, |op| match op {
                Op::Exchange { other, .. } if other.0 == LOCK => Some(Op::Truncate {
                    inode: other.1,
                    length: 0,
                }),
                _ => None,
            })
        },
    },
];

/// A flush and what it is for.
struct Flush<'a> {
    inode: Inode,
    name: &'a str,
    is_directory: bool,
    /// The last directory that was made in this one and not flushed before.
    made: Option<&'a Made>,
    by: usize,
    request: Option<&'a Request>,
}

struct Made {
    name: String,
    by: usize,
}

impl Flush<'_> {
    fn has_made(&self, name: &str) -> bool {
        self.made.is_some_and(|made| made.name == name)
    }

    fn was_made_by_another(&self) -> bool {
        self.made.is_some_and(|made| made.by != self.by)
    }

    fn writes(&self) -> bool {
        matches!(self.request, Some(Request::Write(_)))
    }

    fn moves(&self) -> bool {
        matches!(self.request, Some(Request::Move(_)))
    }

    fn deletes(&self) -> bool {
        matches!(self.request, Some(Request::Delete(_)))
    }
}

fn without_flushes(trace: &Trace, is_dropped: impl Fn(&Flush<'_>) -> bool) -> Vec<Op> {
    let mut made: BTreeMap<Inode, Made> = BTreeMap::new();
    let mut requests = BTreeMap::new();
    let mut running = 0;
    let mut kept = Vec::new();
    for op in &trace.ops {
        match op {
            Op::Mark(Mark::Runs(process)) => running = *process,
            Op::Mark(Mark::Begins(request)) => {
                requests.insert(running, request);
            }
            Op::Make { dir, name, inode } if trace.inodes[*inode].is_directory => {
                let by_this = Made {
                    name: name.clone(),
                    by: running,
                };
                made.insert(*dir, by_this);
            }
            Op::Flush { inode } => {
                let made = made.remove(inode);
                let info = &trace.inodes[*inode];
                let flush = Flush {
                    inode: *inode,
                    name: &info.name,
                    is_directory: info.is_directory,
                    made: made.as_ref(),
                    by: running,
                    request: requests.get(&running).copied(),
                };
                if is_dropped(&flush) {
                    continue;
                }
            }
            _ => {}
        }
        kept.push(op.clone());
    }
    kept
}

/// Exchanges the flush of a temporary and the operation that gives it its real name.
fn published_before_the_flush(trace: &Trace, temporary: &str) -> Vec<Op> {
    let mut ops = trace.ops.clone();
    for at in 0..ops.len() {
        let (Op::Rename { inode, .. } | Op::Link { inode, .. } | Op::Exchange { one: (_, inode), .. }) =
            ops[at]
        else {
            continue;
        };
        let is_its_flush = |op: &Op| matches!(op, Op::Flush { inode: flushed } if *flushed == inode);
        if trace.inodes[inode].name.starts_with(temporary)
            && let Some(flush) = ops[..at].iter().rposition(is_its_flush)
        {
            ops.swap(flush, at);
        }
    }
    ops
}

/// Adds an operation before those for which `before` gives one.
fn with_before(trace: &Trace, before: impl Fn(&Op) -> Option<Op>) -> Vec<Op> {
    let both = |op: &Op| before(op).into_iter().chain([op.clone()]);
    trace.ops.iter().flat_map(both).collect()
}

fn last_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::trace::InodeInfo;

    fn trace() -> Trace {
        let info = |name: &str, is_directory| InodeInfo {
            name: name.into(),
            is_directory,
        };
        let make = |dir, name: &str, inode| Op::Make {
            dir,
            name: name.into(),
            inode,
        };
        Trace {
            ops: vec![
                Op::Mark(Mark::Runs(1)),
                make(BASE, SNAPSHOTS, 1),
                Op::Mark(Mark::Runs(2)),
                Op::Flush { inode: BASE },
                make(1, ".snapshot.1", 2),
                Op::Flush { inode: 2 },
                Op::Rename {
                    dir: 1,
                    from: ".snapshot.1".into(),
                    to: "x".into(),
                    inode: 2,
                },
                Op::Flush { inode: BASE },
            ],
            inodes: vec![
                info("base", true),
                info(SNAPSHOTS, true),
                info(".snapshot.1", false),
            ],
        }
    }

    fn dropped(is_dropped: impl Fn(&Flush<'_>) -> bool) -> usize {
        trace().ops.len() - without_flushes(&trace(), is_dropped).len()
    }

    #[test]
    fn a_flush_knows_whether_a_directory_was_made_and_by_whom() {
        assert_eq!(dropped(|flush| flush.has_made(SNAPSHOTS)), 1);
        assert_eq!(dropped(|flush| flush.was_made_by_another()), 1);
        assert_eq!(dropped(|flush| flush.has_made(STACK)), 0);
        assert_eq!(dropped(|flush| !flush.is_directory), 1);
    }

    #[test]
    fn publishing_before_the_flush_exchanges_these_two_and_nothing_else() {
        let mut expected = trace().ops;
        expected.swap(5, 6);
        assert_eq!(published_before_the_flush(&trace(), ".snapshot."), expected);
        assert_eq!(published_before_the_flush(&trace(), ".lock."), trace().ops);
    }
}
