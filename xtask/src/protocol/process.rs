//! Models the users of the stack (runs, a reader and a remover), and states what must hold whatever they do.

use super::medium::{Answer, Call, Document, Medium, Pointer, Record, Revision, Step, step};
use super::rules::{Rule, With, World};
use std::fmt;
use std::mem::take;

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
            Self::NeverWas => "somebody sees a state that never existed",
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
    /// This step has made its checks but not its change: only where [`Rule::OneStep`] is off.
    is_checked: bool,
    /// The last try of the call got no answer.
    is_unknown: bool,
    /// The changes to acknowledge or take back once the move is done.
    concerns: Document,
    /// Its own previous revision, which it removes after the next.
    previous: u8,
}

/// Reads the pointer, the revision, records, the pointer again and record 0 again, one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Reader {
    at: u8,
    base: Pointer,
    document: Document,
    first: Option<Record>,
    records: u8,
    is_damaged: bool,
    /// The changes acknowledged before it began.
    must: Document,
}

/// How much of each limit is used up.
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct State {
    pub(super) medium: Medium,
    runs: [Run; 3],
    reader: Reader,
    /// What is being removed without a lock, and the pointer that was flushed before.
    removal: Option<(u8, Pointer)>,
    /// Requests whose senders gave up waiting, with their tokens.
    late: [Option<(u8, Call)>; 2],
    used: Used,
    // What the oracle notes:
    acknowledged: Document,
    /// Changes that a rollback took back, and those that must stay away because the rollback was acknowledged.
    excused: Document,
    banned: Document,
    /// The documents that somebody could have seen, as a set.
    were: u16,
    pub(super) broken: Option<Broken>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    AnswerLost,
    Delayed,
    FlushFails,
}

/// What can happen next. The number is a run's, A, B or C.
#[derive(Debug, Clone, Copy)]
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
    Late(usize),
    Cut(usize),
    Read,
    Remove(u8),
}

impl State {
    pub(super) fn new(world: World) -> Self {
        let mut state = Self::default();
        if !world.config.has(With::Fresh) {
            state.used.revisions = 1;
            state.medium.begin_with(Revision::Holds(0));
        }
        state.settle(world);
        state
    }

    pub(super) fn actions(&self, world: World) -> Vec<Action> {
        let (config, used) = (world.config, &self.used);
        let mut all = Vec::new();
        if used.runs < config.runs {
            all.push(Action::Begin(used.runs.into()));
        }
        for at in 0..used.runs.into() {
            match (self.runs[at].phase, self.runs[at].call) {
                (Phase::Ended, _) => continue,
                (_, Some(call)) => self.steps(at, call, world, &mut all),
                (Phase::Locked, _) => all.push(Action::Look(at)),
                (Phase::Found, _) => {
                    all.push(Action::Load(at));
                    all.extend(config.has(With::Stays).then_some(Action::Stay(at)));
                }
                (Phase::Ready, _) => self.choices(at, world, &mut all),
            }
            all.extend(config.has(With::Remover).then_some(Action::Die(at)));
        }
        all.extend((0..2).filter(|slot| self.late[*slot].is_some()).map(Action::Late));
        if used.cuts < config.cuts {
            all.extend((0..self.medium.cut().len()).map(Action::Cut));
        }
        all.extend(config.has(With::Reader).then_some(Action::Read));
        if let Some((rev, _)) = self.removal {
            all.push(Action::Remove(rev));
        } else if config.has(With::Remover) && !used.has_removed && self.medium.is_free {
            let others = (1..=used.revisions).filter(|rev| *rev != self.medium.pointer().rev);
            all.extend(others.map(Action::Remove));
        }
        all
    }

    fn steps(&self, at: usize, call: Call, world: World, all: &mut Vec<Action>) {
        all.push(Action::Step(at, Fault::None));
        if self.used.faults == world.config.faults || matches!(call, Call::Create(..)) {
            return;
        }
        if !world.is_directory() {
            all.push(Action::Step(at, Fault::AnswerLost));
            all.push(Action::Step(at, Fault::Delayed));
        } else if step(call, self.runs[at].step, world) == Some(Step::FlushJournal) {
            all.push(Action::Step(at, Fault::FlushFails));
        }
    }

    /// The actions of a run that waits for nothing.
    fn choices(&self, at: usize, world: World, all: &mut Vec<Action>) {
        let (config, used, run) = (world.config, &self.used, &self.runs[at]);
        let (is_fresh, is_folded) = (run.base.rev == 0, run.records == 0);
        let keeps_journal = !config.has(With::OneToken) || !world.has(Rule::JoinedRunsSave);
        if used.changes < config.changes {
            if is_fresh || keeps_journal && run.records < 3 {
                all.push(Action::Put(at));
            }
            let may_save = config.has(With::Saves) || !keeps_journal;
            if !is_fresh && may_save && (is_folded || !world.has(Rule::SaveFoldsFirst)) {
                all.push(Action::Save(at));
            }
        }
        if !is_folded {
            all.extend((used.folds < config.folds).then_some(Action::Fold(at)));
            return;
        }
        if used.rollbacks < config.rollbacks {
            let exists = |rev: &u8| self.medium.document_of(*rev).is_some() && *rev != run.base.rev;
            all.extend(
                (1..=used.revisions)
                    .filter(exists)
                    .map(|to| Action::Rollback(at, to)),
            );
        }
        all.push(Action::Finish(at));
    }

    pub(super) fn act(&mut self, action: Action, world: World) {
        match action {
            Action::Begin(at) => {
                // The old holder is evicted and goes on until it is told, or it has died.
                self.used.runs += 1;
                (self.medium.token, self.medium.is_free) = (token(at, world), false);
            }
            Action::Look(at) => self.look(at),
            Action::Load(at) => self.load(at, world),
            Action::Put(at) if self.runs[at].base.rev > 0 => self.put(at, world),
            Action::Put(at) if world.has(Rule::Genesis) => self.create(at, Revision::Genesis),
            Action::Put(at) | Action::Save(at) => self.save(at),
            Action::Fold(at) => {
                self.used.folds += 1;
                self.create(at, Revision::Holds(self.runs[at].document));
            }
            Action::Rollback(at, to) => {
                self.used.rollbacks += 1;
                self.roll_back(at, to);
            }
            Action::Stay(at) => self.roll_back(at, self.runs[at].base.rev),
            Action::Finish(at) | Action::Die(at) => self.end(at, world),
            Action::Step(at, fault) => self.step(at, fault, world),
            Action::Late(slot) => self.arrive(slot, world),
            Action::Cut(which) => self.cut(which, world),
            Action::Read => self.read(world),
            Action::Remove(rev) => self.remove(rev, world),
        }
        self.settle(world);
    }

    /// A run that finished, died, or was told that it cannot go on.
    fn end(&mut self, at: usize, world: World) {
        self.runs[at] = Run::default();
        self.runs[at].phase = Phase::Ended;
        if self.medium.token == token(at, world) {
            self.medium.is_free = !world.config.has(With::OneToken);
        }
    }

    fn look(&mut self, at: usize) {
        let base = self.medium.pointer();
        let is_genesis = |rev: &Revision| matches!(rev, Revision::Unused | Revision::Genesis);
        if base.rev == 0 && !self.medium.revisions.iter().all(is_genesis) {
            self.breaks(Broken::LostPointer);
        }
        self.runs[at].base = base;
        self.runs[at].phase = if base.rev == 0 { Phase::Ready } else { Phase::Found };
    }

    /// Reads revision and journal, and folds a dead run's journal.
    fn load(&mut self, at: usize, world: World) {
        let base = self.runs[at].base;
        let Some(mut document) = self.medium.document_of(base.rev) else {
            self.runs[at].phase = Phase::Locked;
            if !world.has(Rule::LooksBeforeDamage) || base.rev == self.medium.pointer().rev {
                self.breaks(Broken::Damage);
            }
            return;
        };
        let records: Vec<_> = (0..)
            .map_while(|index| self.medium.record(base, index, world))
            .collect();
        let run = &mut self.runs[at];
        run.phase = Phase::Ready;
        if world.has(Rule::BeginReplays) {
            document = records.iter().fold(document, |all, record| all | record.changes);
        }
        run.document = document;
        match records.first() {
            Some(first) if !world.has(Rule::RecoveryFolds) => {
                (run.journal, run.records) = (first.journal, records.len() as u8);
            }
            Some(_) if world.has(Rule::BeginReplays) => self.create(at, Revision::Holds(document)),
            _ => {}
        }
    }

    fn put(&mut self, at: usize, world: World) {
        let changes = self.new_change();
        let run = &mut self.runs[at];
        if run.records == 0 {
            self.used.journals += 1;
            run.journal = self.used.journals;
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
        run.call = Some(Call::Append(base, record));
        self.seal(at, index);
    }

    fn seal(&mut self, at: usize, nonce: u8) {
        if self.runs[at].sealed & (1 << nonce) != 0 {
            self.breaks(Broken::Nonce);
        }
        self.runs[at].sealed |= 1 << nonce;
    }

    /// Saves a document that was made before the changes of the journal.
    fn save(&mut self, at: usize) {
        let change = self.new_change();
        let run = &mut self.runs[at];
        run.concerns = change;
        let old = self.medium.document_of(run.base.rev).filter(|_| run.records > 0);
        let document = old.unwrap_or(run.document) | change;
        self.create(at, Revision::Holds(document));
    }

    fn create(&mut self, at: usize, revision: Revision) {
        self.used.revisions += 1;
        self.runs[at].call = Some(Call::Create(self.used.revisions, revision));
    }

    fn roll_back(&mut self, at: usize, to: u8) {
        let lacks = ((1 << self.used.changes) - 1) & !self.medium.document_of(to).unwrap_or(0);
        self.runs[at].call = Some(Call::Rollback(self.runs[at].base, to, lacks));
    }

    fn new_change(&mut self) -> Document {
        self.used.changes += 1;
        1 << (self.used.changes - 1)
    }

    /// The next step of a run's call.
    fn step(&mut self, at: usize, fault: Fault, world: World) {
        let run = self.runs[at];
        let Some(mut call) = run.call else { return };
        let pointer = self.medium.pointer();
        let moves_there = call.target() == Some(pointer.rev);
        if run.is_unknown {
            match call {
                Call::Commit(..) if !world.has(Rule::RepeatsUntilKnown) && !moves_there => {
                    // It looked, and concludes that the move did not happen.
                    (self.runs[at].call, self.runs[at].is_unknown) = (None, false);
                    return;
                }
                Call::Append(_, record) if !world.has(Rule::RepeatKeepsBytes) => self.seal(at, record.index),
                _ if !world.has(Rule::RepeatKeepsPointer) => call = call.standing_on(pointer),
                _ => {}
            }
        }
        let Some(step) = step(call, run.step, world) else {
            return;
        };
        self.used.faults += u8::from(fault != Fault::None);
        self.runs[at].is_unknown = matches!(fault, Fault::AnswerLost | Fault::Delayed);
        if fault == Fault::Delayed {
            let slot = usize::from(self.late[0].is_some());
            self.late[slot] = Some((token(at, world), call));
            return;
        }
        if let (Fault::FlushFails, Call::Append(_, record)) = (fault, call) {
            self.medium.fail_flush(record.journal);
            if world.has(Rule::FailedFlushEnds) {
                self.end(at, world);
            }
            return;
        }
        if !run.is_checked {
            match self.medium.check(step, call, token(at, world), world) {
                Answer::Done if world.is_directory() && step.checks() && !world.has(Rule::OneStep) => {
                    self.runs[at].is_checked = true;
                    return;
                }
                Answer::Done => self.change(Some(at), step, call, world),
                // Its move is done, and the next holder may clear what it left.
                Answer::LockLost if step == Step::UnlinkOfOldBase => {}
                // The unanswered try did it.
                Answer::CurrentMoved if run.is_unknown && moves_there => {}
                _ if fault == Fault::AnswerLost => return,
                _ => return self.end(at, world),
            }
        } else {
            self.change(Some(at), step, call, world);
        }
        if fault == Fault::None {
            self.advance(at, step, call, world);
        }
    }

    /// Changes the medium, and notes what a rollback takes back.
    fn change(&mut self, at: Option<usize>, step: Step, call: Call, world: World) {
        let (before, seen) = (self.medium.pointer(), self.medium.document(world).unwrap_or(0));
        self.medium.change(step, call, world);
        if let (Step::Move, Call::Rollback(_, to, lacks)) = (step, call)
            && before != self.medium.pointer()
        {
            let document = self.medium.document_of(to).unwrap_or(0);
            self.excused |= lacks;
            self.banned &= !document;
            // Changes that an earlier, unacknowledged rollback took back may be back.
            for run in &mut self.runs {
                if matches!(run.call, Some(Call::Rollback(..))) {
                    run.concerns &= !document;
                }
            }
            if let Some(at) = at {
                self.runs[at].concerns = seen & lacks;
            }
        }
    }

    fn advance(&mut self, at: usize, done: Step, call: Call, world: World) {
        let run = &mut self.runs[at];
        run.is_checked = false;
        run.step += 1;
        if done == Step::Move {
            run.base = self.medium.pointer();
        }
        if step(call, run.step, world).is_some() {
            return;
        }
        (run.call, run.step) = (None, 0);
        let must_clear = !world.has(Rule::MoveEndsJournal) && !world.is_directory();
        match call {
            Call::Create(to, _) => run.call = Some(Call::Commit(run.base, to)),
            Call::Append(_, record) => {
                run.records += 1;
                run.document |= record.changes;
                self.acknowledged |= record.changes;
            }
            Call::Commit(from, to) => {
                let previous = std::mem::replace(&mut run.previous, to);
                run.document = self.medium.document_of(to).unwrap_or(run.document);
                (run.journal, run.records) = (0, 0);
                self.acknowledged |= take(&mut run.concerns);
                if must_clear {
                    run.call = Some(Call::Clear(from.rev));
                } else if previous > 0 && world.config.has(With::Cleans) {
                    run.call = Some(Call::Remove(previous));
                }
            }
            Call::Rollback(from, to, _) => {
                run.document = self.medium.document_of(to).unwrap_or(0);
                run.previous = 0;
                run.call = must_clear.then_some(Call::Clear(from.rev));
                self.banned |= take(&mut run.concerns);
                if from.rev == to {
                    self.end(at, world);
                }
            }
            Call::Remove(_) | Call::Clear(_) => {}
        }
    }

    /// Executes a request whose sender learns nothing.
    fn arrive(&mut self, slot: usize, world: World) {
        let Some((token, call)) = self.late[slot].take() else {
            return;
        };
        self.late.sort_by_key(Option::is_none);
        if let Some(step) = step(call, 0, world)
            && self.medium.check(step, call, token, world) == Answer::Done
        {
            self.change(None, step, call, world);
        }
    }

    /// Cuts the power: every process is gone, and only what was durable stays.
    fn cut(&mut self, which: usize, world: World) {
        self.medium = self.medium.cut()[which];
        (self.reader, self.removal) = (Reader::default(), None);
        self.used.cuts += 1;
        (0..self.used.runs.into()).for_each(|at| self.end(at, world));
        if self
            .medium
            .document(world)
            .is_ok_and(|seen| self.were & (1 << seen) == 0)
        {
            self.breaks(Broken::NeverWas);
        }
    }

    fn read(&mut self, world: World) {
        let pointer = self.medium.pointer();
        let reader = &mut self.reader;
        let record = |reader: &Reader, index| self.medium.record(reader.base, index, world);
        match reader.at {
            0 => {
                (reader.at, reader.base) = (1, pointer);
                reader.must = self.acknowledged & !self.excused;
            }
            1 => match self.medium.document_of(reader.base.rev) {
                Some(document) => (reader.at, reader.document) = (2, document),
                None if world.has(Rule::LooksBeforeDamage) => *reader = Reader::default(),
                None => self.breaks(Broken::Damage),
            },
            2 => match record(reader, reader.records) {
                Some(record) => {
                    let first = reader.first.get_or_insert(record);
                    // A record opens only after its predecessor.
                    reader.is_damaged |= record.index != reader.records || record.journal != first.journal;
                    reader.records += 1;
                    reader.document |= record.changes;
                }
                None => reader.at = 3,
            },
            3 if world.has(Rule::ReaderReadsCurrentAgain) && reader.base.rev != pointer.rev => {
                *reader = Reader::default();
            }
            3 => reader.at = 4,
            _ => {
                let seen = take(reader);
                if world.has(Rule::ReaderReadsRecord0Again) && record(&seen, 0) != seen.first {
                    // It starts over.
                } else if seen.is_damaged {
                    self.breaks(Broken::Damage);
                } else if seen.must & !self.excused & !seen.document != 0 {
                    self.breaks(Broken::Lost);
                } else if self.were & (1 << seen.document) == 0 {
                    self.breaks(Broken::NeverWas);
                }
            }
        }
    }

    /// First flushes the pointer that it sees; then checks and removes in one step, if that is still the pointer.
    fn remove(&mut self, rev: u8, world: World) {
        let pointer = self.medium.pointer();
        match self.removal.take() {
            None => {
                self.used.has_removed = true;
                self.removal = Some((rev, pointer));
                if world.has(Rule::FlushBeforeRemoval) {
                    self.medium.flush_directory();
                }
            }
            Some((_, saw)) => {
                let is_allowed = self.medium.is_free && pointer.rev != rev && pointer == saw;
                if is_allowed || !world.has(Rule::RemovalIsOneStep) {
                    self.medium.remove(rev);
                }
            }
        }
    }

    fn breaks(&mut self, broken: Broken) {
        self.broken.get_or_insert(broken);
    }

    /// What must hold in every state.
    fn settle(&mut self, world: World) {
        self.medium.tidy(world);
        if self.medium.pointer().rev == 0 {
            return;
        }
        let seen = match self.medium.document(world) {
            Ok(seen) => seen,
            Err(broken) => return self.breaks(broken),
        };
        // Changes that a rollback takes back stay in a revision.
        let kept = self
            .medium
            .revisions
            .iter()
            .fold(seen, |all, rev| all | rev.changes());
        if self.acknowledged & !(self.excused | seen) != 0 || self.acknowledged & !kept != 0 {
            self.breaks(Broken::Lost);
        } else if self.banned & seen != 0 {
            self.breaks(Broken::Undone);
        } else if self.medium.reads_dead_journal(world) {
            self.breaks(Broken::DeadJournal);
        } else if world.config.has(With::Reader) || world.config.cuts > 0 {
            self.were |= 1 << seen;
        }
    }

    /// Describes an action in this state.
    pub(super) fn tell(&self, action: Action, world: World) -> String {
        let change = self.used.changes + 1;
        let (at, does) = match action {
            Action::Begin(at) if self.medium.is_free => (at, "takes the lock".into()),
            Action::Begin(at) => (at, "evicts the holder and takes the lock".into()),
            Action::Look(at) => (at, "reads current".into()),
            Action::Load(at) => (at, format!("reads r{} and its journal", self.runs[at].base.rev)),
            Action::Put(at) => (at, format!("puts c{change}")),
            Action::Fold(at) => (at, "folds its journal".into()),
            Action::Save(at) => (at, format!("saves a document with c{change}")),
            Action::Rollback(at, to) => (at, format!("rolls back to r{to}")),
            Action::Stay(at) => (at, "makes current what is current".into()),
            Action::Finish(at) => (at, "finishes".into()),
            Action::Die(at) => (at, "dies".into()),
            Action::Step(at, fault) => {
                let call = self.runs[at].call;
                let step = call.and_then(|call| step(call, self.runs[at].step, world));
                let what = match fault {
                    Fault::None => "",
                    Fault::AnswerLost => ", the answer is lost",
                    Fault::Delayed => ", the request is delayed",
                    Fault::FlushFails => ", which fails",
                };
                let call = call.map_or(String::new(), |call| call.to_string());
                (
                    at,
                    format!("calls \"{call}\": {:?}{what}", step.unwrap_or(Step::Create)),
                )
            }
            Action::Late(slot) => {
                let call = self.late[slot].map_or(String::new(), |(_, call)| call.to_string());
                return format!("late: {call}");
            }
            Action::Cut(_) => return "the power is cut".into(),
            Action::Read => return format!("reader: step {}", self.reader.at),
            Action::Remove(rev) => return format!("somebody removes r{rev}"),
        };
        format!("{} {does}", ["A", "B", "C"][at])
    }
}

/// Runs that join a lock have its holder's token.
fn token(at: usize, world: World) -> u8 {
    match world.config.has(With::OneToken) {
        true => 1,
        false => at as u8 + 1,
    }
}
