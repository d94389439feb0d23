//! The place where one stack is kept, as the model has it: revisions, pointer, journal, lock; the calls that change it, and
//! the single steps that a call consists of.

use super::rules::{Rule, World};
use std::fmt;

/// A set of changes: all that the model knows of a document. Bit 0 is the change c1.
pub(super) type Document = u8;

/// A revision and the number of the move that made it current; revision 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Pointer {
    pub(super) rev: u8,
    pub(super) number: u8,
}

/// A record opens only behind its predecessor of the same journal (key, nonce, tag), and the first one only on its base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Record {
    pub(super) journal: u8,
    pub(super) index: u8,
    pub(super) base: u8,
    pub(super) changes: Document,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Journal {
    pub(super) base: Pointer,
    pub(super) records: [Record; 4],
    pub(super) len: u8,
    /// The records that are not flushed, as a set.
    dirty: u8,
    /// The records whose flush failed: they can be read until the power is cut, and no later flush writes them.
    unwritten: u8,
    is_rotten: bool,
}

impl Journal {
    pub(super) fn records(&self) -> &[Record] {
        &self.records[..usize::from(self.len)]
    }

    fn push(&mut self, record: Record) {
        if let Some(free) = self.records.get_mut(usize::from(self.len)) {
            *free = record;
            self.dirty |= 1 << self.len;
            self.len += 1;
        }
    }

    /// The changes of all records, if each one opens.
    fn open(&self) -> Option<Document> {
        let records = self.records();
        let opens = |(index, record): (usize, &Record)| {
            usize::from(record.index) == index
                && record.journal == records[0].journal
                && record.base == self.base.rev
        };
        let is_intact = !self.is_rotten && records.iter().enumerate().all(opens);
        is_intact.then(|| records.iter().fold(0, |all, record| all | record.changes))
    }
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
    pub(super) fn document(self) -> Option<Document> {
        match self {
            Self::Unused | Self::Removed(_) => None,
            Self::Genesis => Some(0),
            Self::Holds(document) => Some(document),
        }
    }
}

/// A change of the medium. What it names is fixed before the first try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Call {
    Create(u8, Revision),
    /// A move to a revision that was just created.
    Commit {
        expect: Pointer,
        to: u8,
    },
    /// A move to any other revision. `undoes` are the changes, of those begun by then, that it takes back.
    Rollback {
        expect: Pointer,
        to: u8,
        undoes: Document,
    },
    Append {
        base: Pointer,
        record: Record,
    },
    Remove(u8),
    /// Removes the journal of a base: only where [`Rule::MoveEndsJournal`] is off.
    Clear(u8),
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(rev, _) => write!(f, "create r{rev}"),
            Self::Commit { expect, to } | Self::Rollback { expect, to, .. } => {
                write!(f, "move r{} to r{to}", expect.rev)
            }
            Self::Append { base, record } => write!(f, "append {} to r{}", record.index, base.rev),
            Self::Remove(rev) => write!(f, "remove r{rev}"),
            Self::Clear(rev) => write!(f, "clear the journal of r{rev}"),
        }
    }
}

impl Call {
    /// The revision that a move makes current.
    pub(super) fn target(self) -> Option<u8> {
        match self {
            Self::Commit { to, .. } | Self::Rollback { to, .. } => Some(to),
            _ => None,
        }
    }

    /// The same call on another pointer.
    pub(super) fn standing_on(self, pointer: Pointer) -> Self {
        match self {
            Self::Commit { to, .. } => Self::Commit { expect: pointer, to },
            Self::Rollback { to, undoes, .. } => Self::Rollback {
                expect: pointer,
                to,
                undoes,
            },
            Self::Append { record, .. } => Self::Append {
                base: pointer,
                record,
            },
            other => other,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Done,
    LockLost,
    CurrentMoved,
    /// `NotFound` or `Taken`.
    Refused,
}

/// What happens at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    /// Moves the pointer, and ends the journal if this is a database.
    Move,
    /// Adds a record; the first one brings a new journal.
    Write,
    Remove,
    Clear,
    // Only in a directory:
    UnlinkDeadOfTarget,
    UnlinkOfOldBase,
    FlushDirectory,
    /// The same, if there is a journal.
    FlushBeforeReplacing,
    FlushJournal,
}

impl Step {
    pub(super) fn checks(self) -> bool {
        !matches!(
            self,
            Self::Create
                | Self::Clear
                | Self::FlushDirectory
                | Self::FlushBeforeReplacing
                | Self::FlushJournal
        )
    }
}

type Steps = &'static [(Step, Option<Rule>)];

/// The steps in a directory, each with the rule that demands it.
fn steps_in_directory(call: Call) -> Steps {
    match call {
        Call::Create(..) => &[(Step::Create, None)],
        Call::Commit { .. } => &[
            (Step::Move, None),
            (Step::FlushDirectory, Some(Rule::FlushMove)),
            (Step::UnlinkOfOldBase, None),
        ],
        Call::Rollback { .. } => &[
            (Step::FlushDirectory, Some(Rule::FlushBeforeRollback)),
            (Step::UnlinkDeadOfTarget, Some(Rule::ClearTarget)),
            (Step::FlushDirectory, Some(Rule::FlushCleared)),
            (Step::Move, None),
            (Step::FlushDirectory, Some(Rule::FlushMove)),
            (Step::UnlinkOfOldBase, None),
        ],
        Call::Append { record, .. } if record.index == 0 => &[
            (Step::FlushBeforeReplacing, Some(Rule::FlushBeforeReplacing)),
            (Step::Write, None),
            (Step::FlushDirectory, Some(Rule::FlushFirstRecord)),
        ],
        Call::Append { .. } => &[(Step::Write, None), (Step::FlushJournal, Some(Rule::FlushRecord))],
        Call::Remove(_) => &[(Step::FlushDirectory, None), (Step::Remove, None)],
        Call::Clear(_) => &[],
    }
}

/// A database does everything in one transaction.
fn steps_in_database(call: Call) -> Steps {
    match call {
        Call::Create(..) => &[(Step::Create, None)],
        Call::Commit { .. } | Call::Rollback { .. } => &[(Step::Move, None)],
        Call::Append { .. } => &[(Step::Write, None)],
        Call::Remove(_) => &[(Step::Remove, None)],
        Call::Clear(_) => &[(Step::Clear, None)],
    }
}

pub(super) fn step(call: Call, number: u8, world: World) -> Option<Step> {
    let steps = match world.is_directory() {
        true => steps_in_directory(call),
        false => steps_in_database(call),
    };
    let demanded = |(_, rule): &&(Step, Option<Rule>)| rule.is_none_or(|rule| world.has(rule));
    let step = steps.iter().filter(demanded).nth(usize::from(number));
    step.map(|(step, _)| *step)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Medium {
    pub(super) revisions: [Revision; 8],
    /// The revision that each move made current; `number` is the move that is visible, `moves` the last one.
    moved_to: [u8; 9],
    number: u8,
    moves: u8,
    /// The journals by their ids; `journal` is the one that is visible, or 0.
    journals: [Journal; 5],
    journal: u8,
    /// What the names could lead to after a power cut: sets of moves and of journals.
    durable_moves: u16,
    durable_journals: u8,
    pub(super) token: u8,
    pub(super) is_free: bool,
}

impl Medium {
    pub(super) fn new(revision: Option<Revision>) -> Self {
        let mut medium = Self {
            is_free: true,
            ..Self::default()
        };
        if let Some(revision) = revision {
            medium.revisions[1] = revision;
            medium.move_to(1);
        }
        medium.flush_directory();
        medium
    }

    pub(super) fn pointer(&self) -> Pointer {
        Pointer {
            rev: self.moved_to[usize::from(self.number)],
            number: self.number,
        }
    }

    pub(super) fn revision(&self, rev: u8) -> Revision {
        self.revisions[usize::from(rev)]
    }

    /// Whether `named` is the current pointer, as far as the medium can tell.
    pub(super) fn is_current(&self, named: Pointer, by_number: bool) -> bool {
        let pointer = self.pointer();
        pointer.rev == named.rev && (!by_number || pointer.number == named.number)
    }

    /// What is there, in words.
    pub(super) fn tell(&self, world: World) -> String {
        let names = |set: Document| -> String {
            (0..8)
                .filter(|bit| set & (1 << bit) != 0)
                .map(|bit| format!(" c{}", bit + 1))
                .collect()
        };
        let Pointer { rev, number } = self.pointer();
        let holds = self.revision(rev).document().map_or(" (missing)".into(), names);
        let journal = &self.journals[usize::from(self.journal)];
        let records = names(
            journal
                .records()
                .iter()
                .fold(0, |all, record| all | record.changes),
        );
        let state = if self.live(world).is_some() {
            "live"
        } else {
            "dead"
        };
        match self.journal {
            0 => format!("| r{rev} by move {number}:{holds}"),
            _ => format!(
                "| r{rev} by move {number}:{holds}; {state} journal of r{}:{records}",
                journal.base.rev
            ),
        }
    }

    /// The journal that is read as the one of the current revision.
    pub(super) fn live(&self, world: World) -> Option<&Journal> {
        let journal = &self.journals[usize::from(self.journal)];
        let by_number = world.compares_numbers(Rule::AppendNamesMove);
        (self.journal > 0 && self.is_current(journal.base, by_number)).then_some(journal)
    }

    pub(super) fn read_record(&self, base: Pointer, index: u8, world: World) -> Option<Record> {
        let journal = self.live(world)?;
        let is_of_base = self.is_current(base, world.compares_numbers(Rule::AppendNamesMove));
        journal
            .records()
            .get(usize::from(index))
            .filter(|_| is_of_base)
            .copied()
    }

    /// What a reader would see in one step: revision and journal. `Err` is damage.
    pub(super) fn document(&self, world: World) -> Result<Document, ()> {
        let document = self.revision(self.pointer().rev).document().ok_or(())?;
        let changes = match self.live(world) {
            Some(journal) => journal.open().ok_or(())?,
            None => 0,
        };
        Ok(document | changes)
    }

    /// Whether the visible journal is read although its base was left since.
    pub(super) fn a_dead_journal_lives(&self, world: World) -> bool {
        self.live(world)
            .is_some_and(|journal| journal.base != self.pointer())
    }

    /// What a step checks before it changes anything.
    pub(super) fn check(&self, step: Step, call: Call, token: u8, world: World) -> Answer {
        let demand = |rule, holds: bool, answer| match !world.has(rule) || holds {
            true => Ok(()),
            false => Err(answer),
        };
        let is_held = !self.is_free && self.token == token;
        let checked = match (step, call) {
            (Step::Move, Call::Commit { expect, to } | Call::Rollback { expect, to, .. }) => {
                let is_met = self.is_current(expect, world.compares_numbers(Rule::MoveNamesMove));
                match self.revision(to).document() {
                    None => Err(Answer::Refused),
                    Some(_) => demand(Rule::MoveChecksToken, is_held, Answer::LockLost)
                        .and_then(|()| demand(Rule::MoveComparesPointer, is_met, Answer::CurrentMoved)),
                }
            }
            (Step::Write, Call::Append { base, record }) => {
                let is_current = self.is_current(base, world.compares_numbers(Rule::AppendNamesMove));
                let records = self.live(world).map_or(&[][..], Journal::records);
                let is_next = records.len() == usize::from(record.index);
                let is_repeated =
                    records.len() == usize::from(record.index) + 1 && records.last() == Some(&record);
                demand(Rule::AppendChecksToken, is_held, Answer::LockLost)
                    .and_then(|()| demand(Rule::AppendChecksBase, is_current, Answer::CurrentMoved))
                    .and_then(|()| demand(Rule::AppendChecksIndex, is_next || is_repeated, Answer::Refused))
            }
            (Step::UnlinkDeadOfTarget, _) => demand(Rule::ClearingChecks, is_held, Answer::LockLost),
            (Step::UnlinkOfOldBase, _) => demand(Rule::MoveEndsJournal, is_held, Answer::LockLost),
            (Step::Remove, Call::Remove(rev)) => match self.pointer().rev {
                _ if !is_held => Err(Answer::LockLost),
                current if current == rev => Err(Answer::CurrentMoved),
                _ => Ok(()),
            },
            _ => Ok(()),
        };
        checked.map_or_else(|answer| answer, |()| Answer::Done)
    }

    pub(super) fn change(&mut self, step: Step, call: Call, world: World) {
        match (step, call) {
            (Step::Create, Call::Create(rev, revision)) => self.revisions[usize::from(rev)] = revision,
            (Step::Move, Call::Commit { to, .. } | Call::Rollback { to, .. }) => {
                if self.pointer().rev == to && world.has(Rule::SameRevisionStays) {
                    return;
                }
                self.move_to(to);
                if !world.is_directory() && world.has(Rule::MoveEndsJournal) {
                    self.link_journal(0);
                }
            }
            (Step::Write, Call::Append { base, record }) => self.write(base, record, world),
            (Step::Remove, Call::Remove(rev)) => self.remove(rev),
            (Step::UnlinkDeadOfTarget, Call::Rollback { to, .. }) => {
                let is_dead = self.pointer().rev != to;
                if is_dead || !world.has(Rule::ClearingChecks) || !world.has(Rule::SameRevisionStays) {
                    self.unlink_journal_of(to);
                }
            }
            (Step::UnlinkOfOldBase, Call::Commit { expect, to } | Call::Rollback { expect, to, .. }) => {
                if expect.rev != to {
                    self.unlink_journal_of(expect.rev);
                }
            }
            (Step::Clear, Call::Clear(rev)) => self.unlink_journal_of(rev),
            (Step::FlushDirectory, _) => self.flush_directory(),
            (Step::FlushBeforeReplacing, _) if self.journal > 0 => self.flush_directory(),
            (Step::FlushJournal, Call::Append { record, .. }) => {
                self.journals[usize::from(record.journal)].dirty = 0;
            }
            _ => {}
        }
    }

    fn write(&mut self, base: Pointer, record: Record, world: World) {
        if self
            .live(world)
            .is_some_and(|live| live.records().last() == Some(&record))
        {
            return;
        }
        let open = usize::from(record.journal);
        // A process writes to the file that it opened, whatever has become of its name; rows have no names.
        let written = match self.live(world) {
            Some(_) if !world.is_directory() => usize::from(self.journal),
            _ => open,
        };
        if record.index == 0 && (world.is_directory() || written == open) {
            self.journals[open] = Journal {
                base,
                ..Journal::default()
            };
            self.link_journal(record.journal);
        }
        self.journals[written].push(record);
        if record.index == 0 || !world.is_directory() {
            // Flushed before it gets its name.
            self.journals[written].dirty = 0;
        }
    }

    /// The flush fails: the kernel reports it once, and holds the pages to be clean from then on.
    pub(super) fn fail_flush(&mut self, journal: u8) {
        let journal = &mut self.journals[usize::from(journal)];
        journal.unwritten |= journal.dirty;
        journal.dirty = 0;
    }

    pub(super) fn remove(&mut self, rev: u8) {
        if let Some(document) = self.revision(rev).document() {
            self.revisions[usize::from(rev)] = Revision::Removed(document);
        }
    }

    pub(super) fn flush_directory(&mut self) {
        self.durable_moves = 1 << self.number;
        self.durable_journals = 1 << self.journal;
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

    /// Forgets what nothing leads to.
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

    /// Every place that a power cut can leave: each name leads to what it led to at some time since the last flush, and each
    /// record that was not flushed is whole or torn.
    pub(super) fn cut(&self) -> Vec<Self> {
        let mut left = Vec::new();
        let members = |set: u16| (0..16_u8).filter(move |member| set & (1 << member) != 0);
        for number in members(self.durable_moves) {
            for journal in members(self.durable_journals.into()) {
                for torn in 0..16_u8 {
                    let file = self.journals[usize::from(journal)];
                    if torn & !file.dirty == 0 {
                        let mut medium = Self {
                            number,
                            journal,
                            is_free: true,
                            ..*self
                        };
                        medium.journals[usize::from(journal)] = file.without(torn | file.unwritten);
                        medium.flush_directory();
                        left.push(medium);
                    }
                }
            }
        }
        left
    }
}

impl Journal {
    /// Torn records at the end are dropped; one before a whole record is damage.
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
