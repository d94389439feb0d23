//! Those who use the stack: runs, a reader, and somebody who removes revisions. And what must hold whatever they do.

use super::medium::{Answer, Call, Document, Medium, Pointer, Record, Revision, Step, step};
use super::rules::{Rule, With, World};
use std::fmt;

/// A violated promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Broken {
    Lost,
    Undone,
    NeverWas,
    Dangling,
    Damage,
    DeadJournal,
    Nonce,
    LostPointer,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "an acknowledged change is lost",
            Self::Undone => "a rollback is undone",
            Self::NeverWas => "somebody sees a state that never was",
            Self::Dangling => "current names no revision",
            Self::Damage => "an undamaged stack is reported as damaged",
            Self::DeadJournal => "a dead journal is read",
            Self::Nonce => "one key and nonce seal two plaintexts",
            Self::LostPointer => "a first run that died leaves a lost pointer",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Phase {
    #[default]
    Absent,
    Locked,
    /// It knows the pointer.
    Found,
    Ready,
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Run {
    phase: Phase,
    base: Pointer,
    document: Document,
    /// Its journal, or 0, and how many records it holds.
    journal: u8,
    records: u8,
    /// The nonces that were used with its key, as a set.
    sealed: u8,
    call: Option<Call>,
    step: u8,
    /// The checks of this step are done, and its change is not: only where [`Rule::OneStep`] is off.
    is_checked: bool,
    is_unknown: bool,
    /// What is acknowledged when the move that it is about is done.
    saves: Document,
    /// Its own previous revision, which it removes after the next.
    previous: u8,
}

/// Reads the pointer, the revision, the journal page by page, the pointer again and record 0 again: one each at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Reader {
    at: u8,
    base: Pointer,
    document: Document,
    first: Option<Record>,
    records: u8,
    opens_all: bool,
    /// What was acknowledged before it began.
    must: Document,
}

/// Removes a revision without holding the lock, and so only while nobody holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Remover {
    rev: u8,
    saw: Pointer,
}

/// What was used up of the configuration's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Used {
    runs: u8,
    changes: u8,
    revisions: u8,
    journals: u8,
    folds: u8,
    rollbacks: u8,
    faults: u8,
    cuts: u8,
    has_removed: bool,
}

/// What an omniscient witness notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Notes {
    acknowledged: Document,
    /// Changes that a rollback took back, and those that must not return since it was acknowledged.
    excused: Document,
    banned: Document,
    /// The documents that somebody could have seen, as a set.
    were: u64,
    broken: Option<Broken>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) medium: Medium,
    runs: [Run; 3],
    reader: Reader,
    remover: Remover,
    /// Requests whose senders gave up, with their tokens.
    late: [Option<(u8, Call)>; 2],
    used: Used,
    notes: Notes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    AnswerLost,
    Delayed,
    FlushFails,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Begin(usize),
    Look(usize),
    Load(usize),
    Put(usize),
    Fold(usize),
    Save(usize),
    Rollback(usize, u8),
    Stay(usize),
    Finish(usize),
    Die(usize),
    Step(usize, Fault),
    GiveUp(usize),
    Rebatch(usize),
    Late(usize),
    Cut(usize),
    Read,
    Remove(u8),
}

impl State {
    pub(super) fn new(world: World) -> Self {
        let config = world.config;
        let first = (!config.has(With::Fresh)).then_some(Revision::Holds(0));
        let used = Used {
            revisions: u8::from(!config.has(With::Fresh)),
            ..Used::default()
        };
        let notes = Notes {
            were: 1,
            ..Notes::default()
        };
        Self {
            medium: Medium::new(first),
            runs: <[Run; 3]>::default(),
            reader: Reader::default(),
            remover: Remover::default(),
            late: [None; 2],
            used,
            notes,
        }
    }

    pub(super) fn broken(&self) -> Option<Broken> {
        self.notes.broken
    }

    fn breaks(&mut self, broken: Broken) {
        self.notes.broken.get_or_insert(broken);
    }

    /// Every action that is possible, and the state after it.
    pub(super) fn next(&self, world: World, mut found: impl FnMut(Action, Self)) {
        let config = world.config;
        let mut take = |action, mut state: Self| {
            state.settle(world);
            found(action, state);
        };
        let begun = usize::from(self.used.runs);
        if self.used.runs < config.runs {
            take(Action::Begin(begun), self.begin(begun, world));
        }
        for at in 0..begun {
            self.next_of_run(at, world, &mut take);
        }
        for (slot, late) in self.late.iter().enumerate() {
            if let Some((token, call)) = *late {
                let mut state = *self;
                state.late[slot] = None;
                state.late.sort_by_key(Option::is_none);
                if let Some(step) = step(call, 0, world)
                    && self.medium.check(step, call, token, world) == Answer::Done
                {
                    state.change(step, call, world);
                }
                take(Action::Late(slot), state);
            }
        }
        if self.used.cuts < config.cuts {
            for (at, medium) in self.medium.cut().into_iter().enumerate() {
                take(Action::Cut(at), self.cut(medium, world));
            }
        }
        if config.has(With::Reader) {
            take(Action::Read, self.read(world));
        }
        for rev in 1..=self.used.revisions {
            if config.has(With::Remover)
                && (self.remover.rev == rev || self.remover.rev == 0 && !self.used.has_removed)
                && self.medium.revision(rev).document().is_some()
                && let Some(state) = self.remove(rev, world)
            {
                take(Action::Remove(rev), state);
            }
        }
    }

    fn next_of_run(&self, at: usize, world: World, take: &mut impl FnMut(Action, Self)) {
        let config = world.config;
        let run = &self.runs[at];
        if matches!(run.phase, Phase::Absent | Phase::Ended) {
            return;
        }
        if config.has(With::Remover) {
            take(Action::Die(at), self.end(at, world));
        }
        if let Some(call) = run.call {
            take(Action::Step(at, Fault::None), self.step(at, Fault::None, world));
            let is_create = matches!(call, Call::Create(..));
            let can_fail = self.used.faults < config.faults && !is_create;
            if can_fail && !world.is_directory() {
                take(
                    Action::Step(at, Fault::AnswerLost),
                    self.step(at, Fault::AnswerLost, world),
                );
                take(
                    Action::Step(at, Fault::Delayed),
                    self.step(at, Fault::Delayed, world),
                );
            }
            if can_fail && step(call, run.step, world) == Some(Step::FlushJournal) {
                take(
                    Action::Step(at, Fault::FlushFails),
                    self.step(at, Fault::FlushFails, world),
                );
            }
            if run.is_unknown
                && !world.has(Rule::RepeatsUntilKnown)
                && let Call::Commit { to, .. } = call
                && self.medium.pointer().rev != to
            {
                let mut state = *self;
                state.runs[at] = Run {
                    call: None,
                    step: 0,
                    is_unknown: false,
                    ..*run
                };
                take(Action::GiveUp(at), state);
            }
            if run.is_unknown
                && !world.has(Rule::RepeatKeepsBytes)
                && let Call::Append { base, mut record } = call
                && self.used.changes < config.changes
            {
                let mut state = *self;
                record.changes |= state.new_change();
                state.seal(at, record.index);
                state.runs[at].call = Some(Call::Append { base, record });
                take(Action::Rebatch(at), state);
            }
            return;
        }
        match run.phase {
            Phase::Locked => take(Action::Look(at), self.look(at)),
            Phase::Found => {
                take(Action::Load(at), self.load(at, world));
                if config.has(With::Stays) {
                    let call = Call::Rollback {
                        expect: run.base,
                        to: run.base.rev,
                        undoes: 0,
                    };
                    take(Action::Stay(at), self.call(at, call));
                }
            }
            _ => self.next_of_ready_run(at, world, take),
        }
    }

    fn next_of_ready_run(&self, at: usize, world: World, take: &mut impl FnMut(Action, Self)) {
        let config = world.config;
        let run = self.runs[at];
        let may_change = self.used.changes < config.changes;
        let keeps_journal = !(config.has(With::OneToken) && world.has(Rule::JoinedRunsSave));
        if run.base.rev == 0 {
            if may_change {
                take(Action::Put(at), self.first_change(at, world));
            }
        } else if may_change && keeps_journal && run.records < 3 {
            take(Action::Put(at), self.put(at, world));
        }
        let may_save = config.has(With::Saves) || !keeps_journal;
        let is_folded = run.records == 0;
        if may_change && may_save && run.base.rev > 0 && (is_folded || !world.has(Rule::SaveFoldsFirst)) {
            let mut state = *self;
            // The document was made before the changes of the journal.
            let old = self
                .medium
                .revision(run.base.rev)
                .document()
                .unwrap_or(run.document);
            let change = state.new_change();
            state.runs[at].saves = change;
            let document = if is_folded { run.document } else { old };
            take(
                Action::Save(at),
                state.create(at, Revision::Holds(document | change)),
            );
        }
        if !is_folded && self.used.folds < config.folds {
            let mut state = self.create(at, Revision::Holds(run.document));
            state.used.folds += 1;
            take(Action::Fold(at), state);
        }
        if is_folded && self.used.rollbacks < config.rollbacks {
            for to in 1..=self.used.revisions {
                if let Some(document) = self.medium.revision(to).document()
                    && to != run.base.rev
                {
                    let undoes = ((1 << self.used.changes) - 1) & !document;
                    let mut state = self.call(
                        at,
                        Call::Rollback {
                            expect: run.base,
                            to,
                            undoes,
                        },
                    );
                    state.used.rollbacks += 1;
                    take(Action::Rollback(at, to), state);
                }
            }
        }
        if is_folded {
            take(Action::Finish(at), self.end(at, world));
        }
    }

    /// Takes the lock from whoever holds it: a holder that was evicted goes on until it is told, one that died does not.
    fn begin(&self, at: usize, world: World) -> Self {
        let mut state = *self;
        state.used.runs += 1;
        state.runs[at].phase = Phase::Locked;
        state.medium.token = token(at, world);
        state.medium.is_free = false;
        state
    }

    /// A run that finished, died, or was told that it cannot go on.
    fn end(&self, at: usize, world: World) -> Self {
        let mut state = *self;
        state.runs[at] = Run {
            phase: Phase::Ended,
            ..Run::default()
        };
        if state.medium.token == token(at, world) {
            state.medium.is_free = !world.config.has(With::OneToken);
        }
        state
    }

    fn look(&self, at: usize) -> Self {
        let mut state = *self;
        let base = self.medium.pointer();
        let is_genesis = |rev: &Revision| matches!(rev, Revision::Unused | Revision::Genesis);
        if base.rev == 0 && !self.medium.revisions.iter().all(is_genesis) {
            state.breaks(Broken::LostPointer);
        }
        let phase = if base.rev == 0 { Phase::Ready } else { Phase::Found };
        state.runs[at] = Run {
            phase,
            base,
            ..self.runs[at]
        };
        state
    }

    /// Reads revision and journal, and folds what a dead run left.
    fn load(&self, at: usize, world: World) -> Self {
        let mut state = *self;
        let base = self.runs[at].base;
        let Some(mut document) = self.medium.revision(base.rev).document() else {
            if world.has(Rule::LooksBeforeDamage) && base.rev != self.medium.pointer().rev {
                state.runs[at].phase = Phase::Locked;
            } else {
                state.breaks(Broken::Damage);
            }
            return state;
        };
        let record = |index| self.medium.read_record(base, index, world);
        let records: Vec<Record> = (0..4).map_while(record).collect();
        state.runs[at].phase = Phase::Ready;
        if world.has(Rule::BeginReplays) {
            document = records.iter().fold(document, |all, record| all | record.changes);
        }
        state.runs[at].document = document;
        match records.first() {
            Some(first) if !world.has(Rule::RecoveryFolds) => {
                state.runs[at].journal = first.journal;
                state.runs[at].records = records.len() as u8;
                state
            }
            Some(_) if world.has(Rule::BeginReplays) => state.create(at, Revision::Holds(document)),
            _ => state,
        }
    }

    fn call(&self, at: usize, call: Call) -> Self {
        let mut state = *self;
        state.runs[at] = Run {
            call: Some(call),
            step: 0,
            ..self.runs[at]
        };
        state
    }

    fn create(&self, at: usize, revision: Revision) -> Self {
        let mut state = *self;
        state.used.revisions += 1;
        state.call(at, Call::Create(state.used.revisions, revision))
    }

    /// The first change of a stack: the genesis revision comes first.
    fn first_change(&self, at: usize, world: World) -> Self {
        let mut state = *self;
        if world.has(Rule::Genesis) {
            return state.create(at, Revision::Genesis);
        }
        let change = state.new_change();
        state.runs[at].saves = change;
        state.create(at, Revision::Holds(change))
    }

    fn put(&self, at: usize, world: World) -> Self {
        let mut state = *self;
        let changes = state.new_change();
        let run = &mut state.runs[at];
        if run.records == 0 {
            state.used.journals += 1;
            run.journal = state.used.journals;
            if world.has(Rule::KeyPerJournal) {
                run.sealed = 0;
            }
        }
        let (journal, index, base) = (run.journal, run.records, run.base);
        let record = Record {
            journal,
            index,
            base: base.rev,
            changes,
        };
        state.seal(at, index);
        state.call(at, Call::Append { base, record })
    }

    fn new_change(&mut self) -> Document {
        self.used.changes += 1;
        1 << (self.used.changes - 1)
    }

    fn seal(&mut self, at: usize, nonce: u8) {
        if self.runs[at].sealed & (1 << nonce) != 0 {
            self.breaks(Broken::Nonce);
        }
        self.runs[at].sealed |= 1 << nonce;
    }

    /// Changes the medium, and notes what a rollback takes back.
    fn change(&mut self, step: Step, call: Call, world: World) {
        let before = self.medium.pointer();
        self.medium.change(step, call, world);
        if let (Step::Move, Call::Rollback { to, undoes, .. }) = (step, call)
            && before != self.medium.pointer()
        {
            let document = self.medium.revision(to).document().unwrap_or(0);
            self.notes.excused |= undoes;
            self.notes.banned &= !document;
            // What an earlier rollback took back, and is not told yet, may be back.
            for call in self.runs.iter_mut().filter_map(|run| run.call.as_mut()) {
                if let Call::Rollback { undoes, .. } = call {
                    *undoes &= !document;
                }
            }
        }
    }

    /// The next step of a run's call.
    fn step(&self, at: usize, fault: Fault, world: World) -> Self {
        let mut state = *self;
        let run = self.runs[at];
        let Some(mut call) = run.call else { return state };
        if run.is_unknown && !world.has(Rule::RepeatKeepsPointer) {
            call = call.standing_on(self.medium.pointer());
        }
        let Some(step) = step(call, run.step, world) else {
            return state;
        };
        let is_directory = world.is_directory();
        state.used.faults += u8::from(fault != Fault::None);
        state.runs[at].is_unknown = matches!(fault, Fault::AnswerLost | Fault::Delayed);
        if fault == Fault::Delayed {
            if let Some(slot) = state.late.iter_mut().find(|slot| slot.is_none()) {
                *slot = Some((token(at, world), call));
            }
            return state;
        }
        if let (Fault::FlushFails, Call::Append { record, .. }) = (fault, call) {
            state.medium.fail_flush(record.journal);
            return match world.has(Rule::FailedFlushEnds) {
                true => state.end(at, world),
                false => state,
            };
        }
        let answer = match run.is_checked {
            true => Answer::Done,
            false => self.medium.check(step, call, token(at, world), world),
        };
        let is_move_done = run.is_unknown && call.target() == Some(self.medium.pointer().rev);
        match answer {
            Answer::Done if is_directory && !run.is_checked && !world.has(Rule::OneStep) && step.checks() => {
                state.runs[at].is_checked = true;
                return state;
            }
            Answer::Done => state.change(step, call, world),
            // The move is done already, and its next holder clears what it left.
            Answer::LockLost if step == Step::UnlinkOfOldBase => {}
            Answer::CurrentMoved if is_move_done => {}
            _ if fault == Fault::AnswerLost => return state,
            _ => return state.end(at, world),
        }
        state.runs[at].is_checked = false;
        if fault == Fault::AnswerLost {
            return state;
        }
        if step == Step::Move {
            state.runs[at].base = state.medium.pointer();
        }
        state.runs[at].step += 1;
        if step == Step::UnlinkDeadOfTarget && state.medium == self.medium && world.has(Rule::FlushCleared) {
            // There was none: the flush is left out.
            state.runs[at].step += 1;
        }
        if super::medium::step(call, state.runs[at].step, world).is_none() {
            state.done(at, call, world);
        }
        state
    }

    /// The call has returned.
    fn done(&mut self, at: usize, call: Call, world: World) {
        let run = &mut self.runs[at];
        let expect = run.base;
        (run.call, run.step) = (None, 0);
        match call {
            Call::Create(to, _) => run.call = Some(Call::Commit { expect, to }),
            Call::Append { record, .. } => {
                run.records += 1;
                run.document |= record.changes;
                self.notes.acknowledged |= record.changes;
            }
            Call::Commit { expect, to } => {
                let saved = self.medium.revision(to).document().unwrap_or(run.document);
                self.notes.acknowledged |= run.saves;
                let previous = std::mem::replace(&mut run.previous, to);
                (run.document, run.saves, run.journal, run.records) = (saved, 0, 0, 0);
                if !world.has(Rule::MoveEndsJournal) && !world.is_directory() {
                    run.call = Some(Call::Clear(expect.rev));
                } else if previous > 0 && world.config.has(With::Cleans) {
                    run.call = Some(Call::Remove(previous));
                }
            }
            Call::Rollback { expect, to, undoes } => {
                // A move that found its target current took back nothing.
                self.notes.banned |= undoes & self.notes.excused;
                run.document = self.medium.revision(to).document().unwrap_or(0);
                run.previous = 0;
                if expect.rev == to {
                    *self = self.end(at, world);
                } else if !world.has(Rule::MoveEndsJournal) && !world.is_directory() {
                    run.call = Some(Call::Clear(expect.rev));
                }
            }
            Call::Remove(_) | Call::Clear(_) => {}
        }
    }

    fn cut(&self, medium: Medium, world: World) -> Self {
        let mut state = Self {
            medium,
            reader: Reader::default(),
            remover: Remover::default(),
            ..*self
        };
        state.used.cuts += 1;
        for at in 0..usize::from(self.used.runs) {
            state = state.end(at, world);
        }
        match medium.document(world) {
            Ok(document) if self.notes.were & (1 << document) == 0 => state.breaks(Broken::NeverWas),
            _ => {}
        }
        state
    }

    fn read(&self, world: World) -> Self {
        let mut state = *self;
        let notes = &self.notes;
        let reader = &mut state.reader;
        let read = |index| self.medium.read_record(reader.base, index, world);
        match reader.at {
            0 => {
                *reader = Reader {
                    at: 1,
                    opens_all: true,
                    ..Reader::default()
                };
                reader.base = self.medium.pointer();
                reader.must = notes.acknowledged & !notes.excused;
            }
            1 => match self.medium.revision(reader.base.rev).document() {
                Some(document) => (reader.at, reader.document) = (2, document),
                None if world.has(Rule::LooksBeforeDamage) => *reader = Reader::default(),
                None => state.breaks(Broken::Damage),
            },
            2 => match read(reader.records) {
                Some(record) => {
                    reader.first.get_or_insert(record);
                    let is_next = record.index == reader.records;
                    reader.opens_all &=
                        is_next && reader.first.map(|first| first.journal) == Some(record.journal);
                    reader.records += 1;
                    reader.document |= record.changes;
                }
                None => reader.at = 3,
            },
            3 if reader.base.rev != self.medium.pointer().rev && world.has(Rule::ReaderReadsCurrentAgain) => {
                *reader = Reader::default();
            }
            3 => reader.at = 4,
            _ => {
                let is_same = read(0) == reader.first || !world.has(Rule::ReaderReadsRecord0Again);
                let seen = std::mem::take(reader);
                if is_same && !seen.opens_all {
                    state.breaks(Broken::Damage);
                } else if is_same && seen.must & !notes.excused & !seen.document != 0 {
                    state.breaks(Broken::Lost);
                } else if is_same && notes.were & (1 << seen.document) == 0 {
                    state.breaks(Broken::NeverWas);
                }
            }
        }
        state
    }

    /// Flushes the pointer that it sees, then checks and removes in one step; starts over if the pointer has moved.
    fn remove(&self, rev: u8, world: World) -> Option<Self> {
        let mut state = *self;
        let pointer = self.medium.pointer();
        let is_allowed = self.medium.is_free && pointer.rev != rev;
        if self.remover.rev == 0 {
            if world.has(Rule::FlushBeforeRemoval) {
                state.medium.flush_directory();
            }
            state.remover = Remover { rev, saw: pointer };
            state.used.has_removed = true;
            return is_allowed.then_some(state);
        }
        state.remover = Remover::default();
        if !world.has(Rule::RemovalIsOneStep) || is_allowed && self.remover.saw == pointer {
            state.medium.remove(rev);
        }
        Some(state)
    }

    /// What must hold in every state.
    fn settle(&mut self, world: World) {
        self.medium.tidy(world);
        if self.medium.pointer().rev == 0 {
            return;
        }
        let notes = self.notes;
        let stored = |rev: &Revision| match rev {
            Revision::Holds(document) | Revision::Removed(document) => *document,
            Revision::Unused | Revision::Genesis => 0,
        };
        let kept = self
            .medium
            .revisions
            .iter()
            .map(stored)
            .fold(0, |all, one| all | one);
        let broken = match self.medium.document(world) {
            Err(())
                if self
                    .medium
                    .revision(self.medium.pointer().rev)
                    .document()
                    .is_none() =>
            {
                Broken::Dangling
            }
            Err(()) => Broken::Damage,
            Ok(seen) if notes.acknowledged & !notes.excused & !seen != 0 => Broken::Lost,
            // What a rollback takes back stays in a revision.
            Ok(seen) if notes.acknowledged & !kept & !seen != 0 => Broken::Lost,
            Ok(seen) if notes.banned & seen != 0 => Broken::Undone,
            Ok(_) if self.medium.a_dead_journal_lives(world) => Broken::DeadJournal,
            Ok(seen) => {
                if world.config.has(With::Reader) || world.config.cuts > 0 {
                    self.notes.were |= 1 << seen;
                }
                return;
            }
        };
        self.breaks(broken);
    }
}

impl State {
    /// What an action does in this state, in words.
    pub(super) fn tell(&self, action: Action, world: World) -> String {
        let name = |at: usize| ["A", "B", "C"][at];
        let change = self.used.changes + 1;
        match action {
            Action::Begin(at) if self.medium.is_free => format!("{} takes the lock", name(at)),
            Action::Begin(at) => format!("{} evicts the holder and takes the lock", name(at)),
            Action::Look(at) => format!("{} reads current", name(at)),
            Action::Load(at) => format!("{} reads r{} and its journal", name(at), self.runs[at].base.rev),
            Action::Put(at) => format!("{} puts c{change}", name(at)),
            Action::Fold(at) => format!("{} folds its journal", name(at)),
            Action::Save(at) => format!("{} saves a document with c{change}", name(at)),
            Action::Rollback(at, to) => format!("{} rolls back to r{to}", name(at)),
            Action::Stay(at) => format!("{} makes current what is current", name(at)),
            Action::Finish(at) => format!("{} finishes", name(at)),
            Action::Die(at) => format!("{} dies", name(at)),
            Action::GiveUp(at) => format!("{} looks, sees that nothing has happened, and goes on", name(at)),
            Action::Rebatch(at) => format!("{} adds c{change} to the record that it repeats", name(at)),
            Action::Late(slot) => match self.late[slot] {
                Some((_, call)) => format!("a late request arrives: {call}"),
                None => String::new(),
            },
            Action::Cut(_) => "the power is cut".into(),
            Action::Read => format!("the reader takes its step {}", self.reader.at),
            Action::Remove(rev) => format!("somebody removes r{rev}"),
            Action::Step(at, fault) => {
                let Some(call) = self.runs[at].call else {
                    return String::new();
                };
                let step = step(call, self.runs[at].step, world);
                let what = match fault {
                    Fault::None => "",
                    Fault::AnswerLost => "; the answer is lost",
                    Fault::Delayed => "; it is delayed",
                    Fault::FlushFails => "; it fails",
                };
                format!("{} {call}: {step:?}{what}", name(at))
            }
        }
    }
}

/// Children that join a lock have the token of their parent.
fn token(at: usize, world: World) -> u8 {
    match world.config.has(With::OneToken) {
        true => 1,
        false => at as u8 + 1,
    }
}
