//! Models the place of one stack (revisions, pointer, journal, lock) and the calls that change it, step by step.

use super::process::Broken;
use super::rules::{Rule, World};
use std::fmt;

/// A set of changes, which is all that the model knows of a document. Bit 0 is the change c1.
pub(super) type Document = u8;

/// A revision, and the number of the move that made it current. Revision 0 means that nothing is current.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Pointer {
    pub(super) rev: u8,
    pub(super) number: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Revision {
    #[default]
    Unused,
    Genesis,
    Holds(Document),
    Removed(Document),
}

impl Revision {
    /// What it holds, or held.
    pub(super) fn changes(self) -> Document {
        match self {
            Self::Unused | Self::Genesis => 0,
            Self::Holds(document) | Self::Removed(document) => document,
        }
    }
}

/// A record opens only after its predecessor in the same journal, and the first one only on its base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Record {
    pub(super) journal: u8,
    pub(super) index: u8,
    pub(super) base: u8,
    pub(super) changes: Document,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Journal {
    base: Pointer,
    records: [Record; 4],
    len: u8,
    /// Sets of unflushed records, and of those whose flush failed, which can be read until the power is cut, but which no later
    /// flush writes.
    dirty: u8,
    unwritten: u8,
    is_rotten: bool,
}

impl Journal {
    fn records(&self) -> &[Record] {
        &self.records[..usize::from(self.len)]
    }

    fn push(&mut self, record: Record) {
        if let Some(free) = self.records.get_mut(usize::from(self.len)) {
            *free = record;
            self.dirty |= 1 << self.len;
            self.len += 1;
        }
    }

    fn open(&self) -> Result<Document, Broken> {
        let mut document = 0;
        for (index, record) in (0..).zip(self.records()) {
            let is_next = record.index == index && record.journal == self.records[0].journal;
            if self.is_rotten || !is_next || record.base != self.base.rev {
                return Err(Broken::Damage);
            }
            document |= record.changes;
        }
        Ok(document)
    }

    /// After a power cut. Torn records at the end are dropped, and one before a whole record is damage.
    fn without(mut self, gone: u8) -> Self {
        while self.len > 0 && gone & (1 << (self.len - 1)) != 0 {
            self.len -= 1;
            self.records[usize::from(self.len)] = Record::default();
        }
        self.is_rotten = gone & ((1 << self.len) - 1) != 0;
        (self.dirty, self.unwritten) = (0, 0);
        self
    }
}

/// A run's request to the backend, fixed before the first try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Call {
    Create(u8, Revision),
    /// A move, from a pointer, to a revision that was just created.
    Commit(Pointer, u8),
    /// Any other move, and the changes begun by then that its target lacks.
    Rollback(Pointer, u8, Document),
    Append(Pointer, Record),
    Remove(u8),
    /// Removes the journal of a base: only where [`Rule::MoveEndsJournal`] is off.
    Clear(u8),
}

impl Call {
    /// The revision that a move makes current.
    pub(super) fn target(self) -> Option<u8> {
        match self {
            Self::Commit(_, to) | Self::Rollback(_, to, _) => Some(to),
            _ => None,
        }
    }

    pub(super) fn standing_on(self, pointer: Pointer) -> Self {
        match self {
            Self::Commit(_, to) => Self::Commit(pointer, to),
            Self::Rollback(_, to, lacks) => Self::Rollback(pointer, to, lacks),
            Self::Append(_, record) => Self::Append(pointer, record),
            other => other,
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(rev, _) => write!(f, "create r{rev}"),
            Self::Commit(from, to) | Self::Rollback(from, to, _) => {
                write!(f, "move from r{} to r{to}", from.rev)
            }
            Self::Append(base, record) => write!(f, "append record {} to r{}", record.index, base.rev),
            Self::Remove(rev) => write!(f, "remove r{rev}"),
            Self::Clear(rev) => write!(f, "clear the journal of r{rev}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    LockLost,
    CurrentMoved,
    /// The revision does not exist, or another number of records is there.
    Refused,
}

/// An atomic step. A call in a database is one of the first five; in a directory it is several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    Move,
    Write,
    Remove,
    Clear,
    UnlinkDeadOfTarget,
    UnlinkOfOldBase,
    FlushDirectory,
    /// Flushes the directory if the previous step unlinked something there, or if there is a journal to replace.
    FlushIfNeeded,
    FlushJournal,
}

impl Step {
    pub(super) fn checks(self) -> bool {
        use Step::*;
        matches!(self, Move | Write | Remove | UnlinkDeadOfTarget | UnlinkOfOldBase)
    }
}

/// The steps of a call, each with the rule that demands it. A first record has a file of its own, which is flushed before it is
/// linked.
#[rustfmt::skip]
fn steps(call: Call, is_directory: bool) -> &'static [(Step, Option<Rule>)] {
    use {Rule::*, Step::*};
    match (call, is_directory) {
        (Call::Create(..), _) => &[(Create, None)],
        (Call::Remove(_), _) => &[(Remove, None)],
        (Call::Clear(_), _) => &[(Clear, None)],
        (Call::Commit(..) | Call::Rollback(..), false) => &[(Move, None)],
        (Call::Append(..), false) => &[(Write, None)],
        (Call::Commit(..), true) => &[(Move, None), (FlushDirectory, Some(FlushMove)), (UnlinkOfOldBase, None)],
        (Call::Rollback(..), true) => &[
            (FlushDirectory, Some(FlushBeforeRollback)),
            (UnlinkDeadOfTarget, Some(ClearTarget)), (FlushIfNeeded, Some(FlushCleared)),
            (Move, None), (FlushDirectory, Some(FlushMove)), (UnlinkOfOldBase, None),
        ],
        (Call::Append(_, Record { index: 0, .. }), true) => &[
            (FlushIfNeeded, Some(FlushBeforeReplacing)), (Write, None), (FlushDirectory, Some(FlushFirstRecord)),
        ],
        (Call::Append(..), true) => &[(Write, None), (FlushJournal, Some(FlushRecord))],
    }
}

pub(super) fn step(call: Call, number: u8, world: World) -> Option<Step> {
    let steps = steps(call, world.is_directory()).iter();
    let mut demanded = steps.filter(|(_, rule)| rule.is_none_or(|rule| world.has(rule)));
    demanded.nth(number.into()).map(|(step, _)| *step)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Medium {
    pub(super) revisions: [Revision; 8],
    /// The revision that each move made current; the numbers of the visible and of the last move.
    moved_to: [u8; 10],
    number: u8,
    moves: u8,
    /// The journals by their ids, and the visible one, or 0.
    journals: [Journal; 5],
    journal: u8,
    /// The moves and journals to which the names may lead after a power cut, as sets.
    durable_moves: u16,
    durable_journals: u16,
    /// Whether the last mover cleared a journal of its target and has not flushed since.
    has_cleared: bool,
    pub(super) token: u8,
    pub(super) is_free: bool,
}

impl Medium {
    pub(super) fn begin_with(&mut self, revision: Revision) {
        self.revisions[1] = revision;
        self.move_to(1);
        self.is_free = true;
        self.flush_directory();
    }

    pub(super) fn pointer(&self) -> Pointer {
        let (rev, number) = (self.moved_to[usize::from(self.number)], self.number);
        Pointer { rev, number }
    }

    pub(super) fn document_of(&self, rev: u8) -> Option<Document> {
        match self.revisions[usize::from(rev)] {
            Revision::Unused | Revision::Removed(_) => None,
            Revision::Genesis => Some(0),
            Revision::Holds(document) => Some(document),
        }
    }

    /// Whether this is the current pointer, as far as the medium tells.
    fn is_current(&self, named: Pointer, rule: Rule, world: World) -> bool {
        let pointer = self.pointer();
        pointer.rev == named.rev && (!world.compares_numbers(rule) || pointer.number == named.number)
    }

    /// The journal that a reader takes for that of the current revision.
    fn live(&self, world: World) -> Option<&Journal> {
        let journal = &self.journals[usize::from(self.journal)];
        (self.journal > 0 && self.is_current(journal.base, Rule::AppendNamesMove, world)).then_some(journal)
    }

    pub(super) fn record(&self, base: Pointer, index: u8, world: World) -> Option<Record> {
        let live = self
            .live(world)
            .filter(|_| self.is_current(base, Rule::AppendNamesMove, world))?;
        live.records().get(usize::from(index)).copied()
    }

    /// The document of revision and journal together.
    pub(super) fn document(&self, world: World) -> Result<Document, Broken> {
        let document = self.document_of(self.pointer().rev).ok_or(Broken::Dangling)?;
        let changes = self.live(world).map_or(Ok(0), Journal::open)?;
        Ok(document | changes)
    }

    /// Whether a journal is read although `current` has left its base since it began.
    pub(super) fn reads_dead_journal(&self, world: World) -> bool {
        self.live(world)
            .is_some_and(|journal| journal.base != self.pointer())
    }

    /// What a step checks before it changes anything.
    pub(super) fn check(&self, step: Step, call: Call, token: u8, world: World) -> Answer {
        let is_held = !self.is_free && self.token == token;
        let demands: &[(Rule, bool, Answer)] = match (step, call) {
            (Step::Move, Call::Commit(_, to) | Call::Rollback(_, to, _))
                if self.document_of(to).is_none() =>
            {
                return Answer::Refused;
            }
            (Step::Move, Call::Commit(from, _) | Call::Rollback(from, ..)) => {
                let is_met = self.is_current(from, Rule::MoveNamesMove, world);
                &[
                    (Rule::MoveChecksToken, is_held, Answer::LockLost),
                    (Rule::MoveComparesPointer, is_met, Answer::CurrentMoved),
                ]
            }
            (Step::Write, Call::Append(base, record)) => {
                let is_current = self.is_current(base, Rule::AppendNamesMove, world);
                let records = self.live(world).map_or(&[][..], Journal::records);
                let fits = match records.len().checked_sub(record.index.into()) {
                    Some(0) => true,
                    // Repeated.
                    Some(1) => records.last() == Some(&record),
                    _ => false,
                };
                &[
                    (Rule::AppendChecksToken, is_held, Answer::LockLost),
                    (Rule::AppendChecksBase, is_current, Answer::CurrentMoved),
                    (Rule::AppendChecksIndex, fits, Answer::Refused),
                ]
            }
            (Step::UnlinkDeadOfTarget, _) => &[(Rule::ClearingChecks, is_held, Answer::LockLost)],
            (Step::UnlinkOfOldBase, _) => &[(Rule::MoveEndsJournal, is_held, Answer::LockLost)],
            (Step::Remove, Call::Remove(rev)) => {
                let is_allowed = is_held && self.pointer().rev != rev;
                &[(Rule::RemovalIsOneStep, is_allowed, Answer::LockLost)]
            }
            _ => &[],
        };
        let failed = demands.iter().find(|(rule, holds, _)| world.has(*rule) && !holds);
        failed.map_or(Answer::Done, |(_, _, answer)| *answer)
    }

    pub(super) fn change(&mut self, step: Step, call: Call, world: World) {
        match (step, call) {
            (Step::Create, Call::Create(rev, revision)) => self.revisions[usize::from(rev)] = revision,
            (Step::Move, Call::Commit(_, to) | Call::Rollback(_, to, _)) => {
                if self.pointer().rev == to && world.has(Rule::SameRevisionStays) {
                    return;
                }
                self.move_to(to);
                if !world.is_directory() && world.has(Rule::MoveEndsJournal) {
                    self.link_journal(0);
                }
            }
            (Step::Write, Call::Append(base, record)) => self.write(base, record, world),
            (Step::Remove, Call::Remove(rev)) => {
                // In fact before the step, which starts over if the pointer has changed by then.
                if world.has(Rule::FlushBeforeRemoval) {
                    self.flush_directory();
                }
                self.remove(rev);
            }
            (Step::Clear, Call::Clear(rev)) => self.unlink_journal_of(rev),
            (Step::UnlinkDeadOfTarget, Call::Rollback(_, to, _)) => {
                let (is_dead, before) = (self.pointer().rev != to, self.journal);
                if is_dead || !world.has(Rule::ClearingChecks) || !world.has(Rule::SameRevisionStays) {
                    self.unlink_journal_of(to);
                }
                self.has_cleared = self.journal != before;
            }
            (Step::UnlinkOfOldBase, Call::Commit(from, to) | Call::Rollback(from, to, _))
                if from.rev != to =>
            {
                self.unlink_journal_of(from.rev);
            }
            (Step::FlushIfNeeded, Call::Append(..)) if self.journal == 0 => {}
            (Step::FlushIfNeeded, Call::Rollback(..)) if !self.has_cleared => {}
            (Step::FlushDirectory | Step::FlushIfNeeded, _) => self.flush_directory(),
            (Step::FlushJournal, Call::Append(_, record)) => {
                self.journals[usize::from(record.journal)].dirty = 0;
            }
            _ => {}
        }
    }

    fn write(&mut self, base: Pointer, record: Record, world: World) {
        let live = self.live(world);
        if live.is_some_and(|live| live.records().last() == Some(&record)) {
            return;
        }
        // A process writes to the file that it opened, wherever the name leads now. Rows have no names.
        let written = match live {
            Some(_) if !world.is_directory() => self.journal,
            _ => record.journal,
        };
        if record.index == 0 && written == record.journal {
            self.journals[usize::from(written)] = Journal {
                base,
                ..Journal::default()
            };
            self.link_journal(written);
        }
        let journal = &mut self.journals[usize::from(written)];
        journal.push(record);
        if record.index == 0 || !world.is_directory() {
            journal.dirty = 0;
        }
    }

    /// The kernel reports a failed flush once, and then treats the pages as clean.
    pub(super) fn fail_flush(&mut self, journal: u8) {
        let journal = &mut self.journals[usize::from(journal)];
        journal.unwritten |= std::mem::take(&mut journal.dirty);
    }

    pub(super) fn remove(&mut self, rev: u8) {
        if let Some(document) = self.document_of(rev) {
            self.revisions[usize::from(rev)] = Revision::Removed(document);
        }
    }

    pub(super) fn flush_directory(&mut self) {
        (self.durable_moves, self.durable_journals) = (1 << self.number, 1 << self.journal);
        self.has_cleared = false;
    }

    fn move_to(&mut self, rev: u8) {
        self.moves += 1;
        self.number = self.moves;
        self.moved_to[usize::from(self.number)] = rev;
        self.durable_moves |= 1 << self.number;
    }

    fn link_journal(&mut self, journal: u8) {
        self.journal = journal;
        self.durable_journals |= 1 << journal;
    }

    fn unlink_journal_of(&mut self, rev: u8) {
        if self.journal > 0 && self.journals[usize::from(self.journal)].base.rev == rev {
            self.link_journal(0);
        }
    }

    /// Forgets what is unreachable.
    pub(super) fn tidy(&mut self, world: World) {
        if !world.is_directory() {
            self.flush_directory();
        }
        for (id, journal) in self.journals.iter_mut().enumerate() {
            if self.durable_journals & (1 << id) == 0 {
                *journal = Journal::default();
            }
        }
    }

    /// Every place that a power cut can leave: each name leads where it led at some time since the last flush, and each unflushed
    /// record is whole or torn.
    pub(super) fn cut(&self) -> Vec<Self> {
        let members = |set: u16| (0..16).filter(move |member| set & (1 << member) != 0);
        let mut left = Vec::new();
        for number in members(self.durable_moves) {
            for journal in members(self.durable_journals) {
                let file = self.journals[usize::from(journal)];
                for torn in (0..16).filter(|torn| torn & !file.dirty == 0) {
                    let mut medium = *self;
                    (medium.number, medium.journal) = (number, journal);
                    medium.journals[usize::from(journal)] = file.without(torn | file.unwritten);
                    medium.flush_directory();
                    left.push(medium);
                }
            }
        }
        left
    }

    /// Describes the place.
    pub(super) fn tell(&self, world: World) -> String {
        let names = |set: Document| -> String {
            let members = (0..8).filter(|bit| set & (1 << bit) != 0);
            members.map(|bit| format!(" c{}", bit + 1)).collect()
        };
        let Pointer { rev, number } = self.pointer();
        let holds = match self.document_of(rev) {
            None => " missing".into(),
            Some(0) => " nothing".into(),
            Some(document) => names(document),
        };
        let journal = &self.journals[usize::from(self.journal)];
        let records = names(
            journal
                .records()
                .iter()
                .fold(0, |all, record| all | record.changes),
        );
        let is = if self.live(world).is_some() {
            "live"
        } else {
            "dead"
        };
        let current = format!("current r{rev} (move {number}):{holds}");
        match self.journal {
            0 => current,
            _ => format!("{current}; {is} journal of r{}:{records}", journal.base.rev),
        }
    }
}
