//! Mutants: edits of a trace that a careless library would leave. The promises must notice each of them.

use super::script::{Mark, Request};
use super::trace::{BASE, Change, Inode, Op, Trace};
use crate::place::{CURRENT, FACTORY, JOURNAL, LOCK, SNAPSHOTS, STACK};
use std::collections::{BTreeMap, BTreeSet};

/// A sentence, and the edit.
pub(super) type Mutant = (&'static str, fn(&Trace) -> Vec<Op>);

#[rustfmt::skip]
pub(super) const MUTANTS: [Mutant; 32] = [
    ("no file is flushed", |trace| without_flushes(trace, |flush| !flush.is_directory)),
    ("a snapshot's file is not flushed", |trace| without_flushes(trace, |flush| flush.name.starts_with(".snapshot."))),
    ("the pointer's file is not flushed", |trace| without_flushes(trace, |flush| flush.name.starts_with(".current."))),
    ("the lock marker is not flushed", |trace| without_flushes(trace, |flush| flush.name.starts_with(".lock."))),
    ("no directory is flushed", |trace| without_flushes(trace, |flush| flush.is_directory)),
    ("no parent of a directory that was made is flushed", |trace| without_flushes(trace, |flush| flush.made.is_some())),
    ("the parent of the first missing directory is not flushed", |trace| without_flushes(trace, |flush| flush.inode == BASE)),
    ("the parent of the root is not flushed", |trace| without_flushes(trace, |flush| flush.has_made("root"))),
    ("the factory's parent is not flushed", |trace| without_flushes(trace, |flush| flush.has_made(FACTORY))),
    ("the stack's parent is not flushed", |trace| without_flushes(trace, |flush| flush.has_made(STACK))),
    ("the parent of the snapshots' directory is not flushed", |trace| without_flushes(trace, |flush| flush.has_made(SNAPSHOTS))),
    ("a process that finds a directory made does not flush its parent", |trace| without_flushes(trace, |flush| flush.was_made_by_another())),
    ("a write does not flush the snapshots' directory", |trace| without_flushes(trace, |flush| flush.name == SNAPSHOTS && flush.writes())),
    ("set_current does not flush the snapshots' directory", |trace| without_flushes(trace, |flush| flush.name == SNAPSHOTS && flush.moves())),
    ("set_current does not flush the stack's directory", |trace| without_flushes(trace, |flush| flush.name == STACK && flush.moves())),
    ("delete does not flush the stack's directory", |trace| without_flushes(trace, |flush| flush.name == STACK && flush.deletes())),
    ("delete does not flush the snapshots' directory", |trace| without_flushes(trace, |flush| flush.name == SNAPSHOTS && flush.deletes())),
    ("a snapshot is flushed after it is published", |trace| published_before_the_flush(trace, ".snapshot.")),
    ("the pointer is flushed after it is published", |trace| published_before_the_flush(trace, ".current.")),
    ("the lock marker is flushed after it is published", |trace| published_before_the_flush(trace, ".lock.")),
    ("the old pointer is removed before the new one gets its name", |trace| with_before(trace, removed_pointer)),
    ("a dead holder's marker is cut before it is replaced", |trace| with_before(trace, cut_marker)),
    ("a put is acknowledged before its record is flushed", |trace| without_flushes(trace, |flush| flush.name.starts_with(".journal.") && flush.is_published)),
    ("a new journal's file is not flushed", |trace| without_flushes(trace, |flush| flush.name.starts_with(".journal.") && !flush.is_published)),
    ("a new journal is flushed after it is published", |trace| published_before_the_flush(trace, ".journal.")),
    ("the first put does not flush the stack's directory", |trace| without_flushes(trace, |flush| flush.name == STACK && flush.puts() && flush.has_given(JOURNAL))),
    ("the old journal is removed before the pointer moves", |trace| with_before(trace, removed_journal)),
    ("a run's pointer and the removal of the old journal become durable together", |trace| without_flushes(trace, |flush| flush.name == STACK && flush.is_of_a_run() && flush.has_given(CURRENT) && !flush.has_given(JOURNAL))),
    ("the genesis is not durable", |trace| without_flushes(trace, |flush| flush.name == SNAPSHOTS && flush.puts())),
    ("what a dead run has left is recovered without a flush", |trace| without_flushes(trace, |flush| flush.name == SNAPSHOTS && flush.begins())),
    ("a run goes back without flushing the stack's directory before", |trace| without_flushes(trace, |flush| flush.name == STACK && flush.goes_back() && !flush.has_given(CURRENT))),
    ("a dead journal is replaced before the move that ended it is durable", |trace| without_flushes(trace, |flush| flush.name == STACK && flush.puts() && flush.has_journal && !flush.has_given(JOURNAL) && !flush.has_given(CURRENT))),
];

/// A flush and its purpose.
struct Flush<'a> {
    inode: Inode,
    name: &'a str,
    is_directory: bool,
    /// The last directory that was made in this one and not flushed before.
    made: Option<&'a Made>,
    by: usize,
    request: Option<&'a Request>,
    /// The file has its real name.
    is_published: bool,
    /// There is a journal.
    has_journal: bool,
    /// The names that the request has given to other files.
    given: &'a [&'a str],
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

    fn puts(&self) -> bool {
        matches!(self.request, Some(Request::Put(_)))
    }

    fn begins(&self) -> bool {
        matches!(self.request, Some(Request::Begin))
    }

    fn goes_back(&self) -> bool {
        matches!(self.request, Some(Request::Rollback(_)))
    }

    fn is_of_a_run(&self) -> bool {
        let commits = matches!(self.request, Some(Request::Commit | Request::Finish));
        commits || self.puts() || self.begins() || self.goes_back()
    }

    fn has_given(&self, name: &str) -> bool {
        self.given.contains(&name)
    }
}

fn without_flushes(trace: &Trace, is_dropped: impl Fn(&Flush<'_>) -> bool) -> Vec<Op> {
    let mut made: BTreeMap<Inode, Made> = BTreeMap::new();
    let mut requests = BTreeMap::new();
    let mut running = 0;
    let mut given: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    let mut published = BTreeSet::new();
    let mut has_journal = false;
    let mut kept = Vec::new();
    for op in &trace.ops {
        match op {
            Op::Mark(Mark::Runs(process)) => running = *process,
            Op::Mark(Mark::Begins(request)) => {
                requests.insert(running, request);
                given.remove(&running);
            }
            Op::Change(Change {
                dir,
                verb: "make",
                names,
            }) => {
                for (name, _) in names
                    .iter()
                    .filter(|(_, inode)| inode.is_some_and(|inode| trace.inodes[inode].is_directory))
                {
                    let name = name.clone();
                    made.insert(*dir, Made { name, by: running });
                }
            }
            Op::Change(change) => {
                for (name, inode) in &change.names {
                    published.extend(inode.filter(|_| !name.starts_with('.')));
                    if inode.is_some() {
                        given.entry(running).or_default().push(name);
                    }
                    if name == JOURNAL {
                        has_journal = inode.is_some();
                    }
                }
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
                    is_published: published.contains(inode),
                    has_journal,
                    given: given.get(&running).map_or(&[], Vec::as_slice),
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
        let Op::Change(change) = &ops[at] else { continue };
        let is_temporary = |inode: &Inode| trace.inodes[*inode].name.starts_with(temporary);
        let given = change
            .names
            .iter()
            .find_map(|(name, _)| change.gives(name).filter(is_temporary));
        let is_its_flush = |op: &Op| matches!(op, Op::Flush { inode } if Some(*inode) == given);
        if let Some(flush) = ops[..at].iter().rposition(is_its_flush) {
            ops.swap(flush, at);
        }
    }
    ops
}

/// Adds an operation before those for which `before` gives one.
fn with_before(trace: &Trace, before: fn(&Change) -> Option<Op>) -> Vec<Op> {
    let mut ops = Vec::new();
    for op in &trace.ops {
        if let Op::Change(change) = op {
            ops.extend(before(change));
        }
        ops.push(op.clone());
    }
    ops
}

fn removed_pointer(change: &Change) -> Option<Op> {
    change.gives(CURRENT)?;
    Some(Op::Change(Change {
        dir: change.dir,
        verb: "unlink",
        names: vec![(CURRENT.into(), None)],
    }))
}

fn removed_journal(change: &Change) -> Option<Op> {
    change.gives(CURRENT)?;
    Some(Op::Change(Change {
        dir: change.dir,
        verb: "unlink",
        names: vec![(JOURNAL.into(), None)],
    }))
}

/// The other name of an exchange leads to the dead holder's marker afterwards.
fn cut_marker(change: &Change) -> Option<Op> {
    let new = change.gives(LOCK).filter(|_| change.verb == "exchange")?;
    let old = change
        .names
        .iter()
        .find_map(|(_, inode)| inode.filter(|inode| *inode != new))?;
    Some(Op::Truncate {
        inode: old,
        length: 0,
    })
}
