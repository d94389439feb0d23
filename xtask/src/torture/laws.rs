//! Judges a ledger: what each run and each reader found must be what the notes before it allow.

use super::ledger::{Began, Document, Note};
use super::segment::{Change, Segment};
use std::collections::{BTreeMap, BTreeSet};

/// Of so many segments the changes are kept: nobody reads for so long.
const KEPT: usize = 100;
/// No run folds its journal before it has made so many changes.
const FOLDED: u64 = 200;

/// Adds up the notes.
#[derive(Default)]
pub(super) struct Laws {
    /// Newest last. There is one before the first run, which is empty.
    segments: Vec<Segment>,
    beginning: BTreeSet<u64>,
    reading: BTreeMap<u64, (usize, Vec<usize>)>,
    revisions: BTreeSet<String>,
    /// How many revisions may be new when the next run begins.
    new_revisions: usize,
    /// How many more may appear, now or later: what an evicted run was storing stays, because the run may have named it.
    orphans: usize,
    /// Evicted processes that were storing nothing then.
    evicted: BTreeSet<u64>,
    notes: usize,
    has_power: bool,
    /// Who began a run last.
    pub(super) holder: Option<Holder>,
    pub(super) counts: Counts,
    pub(super) broken: Broken,
}

pub(super) struct Holder {
    pub(super) process: u64,
    pub(super) token: String,
    pub(super) threads: usize,
}

/// What happened.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) runs: usize,
    pub(super) acknowledged: usize,
    pub(super) refused: usize,
    pub(super) kills: usize,
    /// Of processes that had a run, by the number of its threads.
    pub(super) kills_in_runs: BTreeMap<usize, usize>,
    pub(super) evictions: usize,
    pub(super) fills: usize,
    pub(super) cuts: usize,
    pub(super) takeovers: usize,
    pub(super) recoveries: usize,
    pub(super) recovered: u64,
    pub(super) finished: usize,
    pub(super) rollbacks: usize,
    pub(super) reads: usize,
    /// Of a document that no run had found or left.
    pub(super) reads_of_unfinished: usize,
    pub(super) lost: usize,
}

/// What should not have happened.
#[derive(Default)]
pub(super) struct Broken {
    pub(super) changes: Vec<String>,
    pub(super) recovered: Vec<String>,
    pub(super) revisions: Vec<String>,
    pub(super) reads: Vec<String>,
    pub(super) problems: Vec<String>,
}

impl Laws {
    pub(super) fn new() -> Self {
        Self {
            segments: vec![Segment {
                is_finished: true,
                ..Segment::default()
            }],
            has_power: true,
            // The genesis.
            new_revisions: 1,
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, process: u64, note: Note) {
        self.notes += 1;
        match note {
            Note::Beginning => {
                self.beginning.insert(process);
                self.evicted.remove(&process);
            }
            Note::Began(began) => self.begin(process, *began),
            Note::NotBegun(_) => self.begin_in_vain(process),
            Note::Trying {
                thread,
                address,
                value,
            } => self.try_change(process, thread, address, value),
            Note::Acknowledged(thread) => self.acknowledge(process, thread),
            Note::RollingBack(document) => self.roll_back(process, document),
            Note::RolledBack => self.is_rolled_back(process),
            Note::Stayed => self.stay(process),
            Note::Finishing => {
                self.store(process);
                if let Some(segment) = self.last_of(process) {
                    segment.may_be_committed = true;
                }
            }
            Note::Finished => self.finish(process),
            Note::Ended(_) => {}
            Note::Reading => {
                let oldest = self.oldest_possible();
                self.reading
                    .insert(process, (oldest, self.segments[oldest].acknowledged()));
            }
            Note::Read(document) => self.read(process, &document),
            Note::Killed(killed) => {
                self.counts.kills += 1;
                if let Some(holder) = self.holder.as_ref().filter(|holder| holder.process == killed) {
                    *self.counts.kills_in_runs.entry(holder.threads).or_default() += 1;
                }
                self.reading.remove(&killed);
                if self.beginning.contains(&killed) {
                    self.begin_in_vain(killed);
                }
            }
            Note::Evicted(evicted) => self.evict(evicted),
            Note::Filled => self.counts.fills += 1,
            Note::Cut => {
                self.counts.cuts += 1;
                self.has_power = false;
            }
            Note::Mounted => self.has_power = true,
            Note::Problem(problem) if self.has_power => {
                self.broken.problems.push(format!("process {process}: {problem}"));
            }
            Note::Problem(_) => {}
        }
    }

    fn evict(&mut self, process: u64) {
        self.counts.evictions += 1;
        self.evicted.insert(process);
        let stores = |segment: &Segment| segment.folds || segment.may_be_committed || segment.is_unsure;
        if self.last_of(process).is_some_and(|segment| stores(segment)) {
            self.store(process);
        }
    }

    /// A run stores a revision. If it is evicted, that one stays.
    fn store(&mut self, process: u64) {
        self.orphans += usize::from(self.evicted.remove(&process));
    }

    /// The segment that counts, or the one before it, to which a rollback was not done.
    fn oldest_possible(&self) -> usize {
        let last = self.segments.len() - 1;
        last - usize::from(self.segments[last].is_unsure)
    }

    fn last_of(&mut self, process: u64) -> Option<&mut Segment> {
        self.segments
            .last_mut()
            .filter(|segment| segment.process == process)
    }

    /// It may have committed what a dead run had left, and noted nothing.
    fn begin_in_vain(&mut self, process: u64) {
        self.beginning.remove(&process);
        let oldest = self.oldest_possible();
        for segment in &mut self.segments[oldest..] {
            segment.may_be_committed = true;
        }
        self.new_revisions += 1;
    }

    fn begin(&mut self, process: u64, began: Began) {
        self.beginning.remove(&process);
        let last = self.segments.len() - 1;
        let possible = self.oldest_possible()..=last;
        let fit = |segment: &Segment| segment.fit(&began.document, &segment.acknowledged());
        let fits = possible.rev().map(|index| (index, fit(&self.segments[index])));
        let mut why = String::new();
        let mut found = None;
        for (index, fit) in fits {
            match fit {
                Ok(included) => {
                    found = Some((index, included));
                    break;
                }
                Err(error) => why = error,
            }
        }
        match found {
            Some((index, included)) => {
                self.check_recovered(&self.segments[index], &included, &began)
                    .unwrap_or_else(|problem| self.broken.recovered.push(problem));
                for after in &mut self.segments[index + 1..] {
                    after.included = Some(Vec::new());
                }
                self.segments[index].included = Some(included);
            }
            None => {
                // How much is missing, if that can be told.
                let segment = &self.segments[last];
                let lost = segment.fit(&began.document, &[]).map_or(1, |included| {
                    let pairs = segment.threads.iter().zip(included);
                    pairs
                        .map(|(thread, count)| thread.acknowledged.saturating_sub(count))
                        .sum()
                });
                self.counts.lost += lost.max(1);
                self.broken
                    .changes
                    .push(format!("process {process} began and found: {why}"));
            }
        }
        let revisions: BTreeSet<String> = began.revisions.into_iter().collect();
        let new = revisions.difference(&self.revisions).count();
        let orphans = new.saturating_sub(self.new_revisions);
        match self.orphans.checked_sub(orphans) {
            Some(rest) => self.orphans = rest,
            None => self.broken.revisions.push(format!(
                "process {process} found {new} new revisions, and {} runs had ended",
                self.new_revisions
            )),
        }
        self.revisions = revisions;
        self.new_revisions = 1;
        self.counts.runs += 1;
        self.counts.takeovers += usize::from(began.took_over);
        self.counts.recoveries += usize::from(began.recovered > 0);
        self.counts.recovered += began.recovered;
        self.holder = Some(Holder {
            process,
            token: began.token,
            threads: began.threads,
        });
        self.push(Segment {
            process,
            base: began.document,
            folds: began.folds,
            ..Segment::default()
        });
    }

    fn check_recovered(&self, segment: &Segment, included: &[usize], began: &Began) -> Result<(), String> {
        let changes = included.iter().sum::<usize>() as u64;
        let recovered = began.recovered;
        let fits = match recovered {
            _ if recovered == changes => true,
            0 if segment.may_be_committed => true,
            // A fold has committed the others.
            _ => segment.folds && changes >= FOLDED && recovered < changes,
        };
        match fits && !(segment.is_finished && recovered > 0) {
            true => Ok(()),
            false => Err(format!(
                "{recovered} changes were recovered after process {}, which had made {changes}",
                segment.process
            )),
        }
    }

    fn push(&mut self, segment: Segment) {
        self.segments.push(segment);
        if let Some(old) = self.segments.len().checked_sub(KEPT) {
            self.segments[old].base.clear();
            for thread in &mut self.segments[old].threads {
                thread.changes = Vec::new();
            }
        }
    }

    fn try_change(&mut self, process: u64, thread: usize, address: String, value: Option<String>) {
        let tried_at = self.notes;
        let Some(segment) = latest_of(&mut self.segments, process) else {
            return;
        };
        let thread = segment.thread(thread);
        self.counts.refused += usize::from(thread.acknowledged < thread.changes.len());
        thread.changes.push(Change {
            tried_at,
            durable_at: None,
            address,
            value,
        });
    }

    fn acknowledge(&mut self, process: u64, number: usize) {
        self.counts.acknowledged += 1;
        let durable_at = self.notes;
        let Some(segment) = latest_of(&mut self.segments, process) else {
            return;
        };
        let thread = segment.thread(number);
        thread.acknowledged = thread.changes.len();
        let count = thread.acknowledged;
        if let Some(change) = thread.changes.last_mut() {
            change.durable_at = Some(durable_at);
        }
        // The next run has begun already: an evicted process was slow to note what was durable before.
        if let Some(included) = &segment.included
            && included.get(number).copied().unwrap_or_default() < count
        {
            self.counts.lost += 1;
            self.broken.changes.push(format!(
                "change {count} of thread {number} of process {process} was acknowledged, and the next run did not find it"
            ));
        }
    }

    fn roll_back(&mut self, process: u64, document: Document) {
        self.store(process);
        let Some(segment) = self.last_of(process) else {
            return;
        };
        // It is committed first.
        segment.may_be_committed = true;
        let folds = segment.folds;
        self.new_revisions += 1;
        self.push(Segment {
            process,
            base: document,
            folds,
            is_unsure: true,
            ..Segment::default()
        });
    }

    fn is_rolled_back(&mut self, process: u64) {
        self.counts.rollbacks += 1;
        let Some(index) = self
            .segments
            .iter()
            .rposition(|segment| segment.process == process)
        else {
            return;
        };
        let is_last = index + 1 == self.segments.len();
        self.segments[index].is_unsure = false;
        // Set to a number for each thread when the next run found it; empty when that run found the one before.
        let before = index.checked_sub(1).map(|before| &self.segments[before]);
        if !is_last && before.is_some_and(|before| before.included.is_some()) {
            self.broken
                .changes
                .push(format!("the rollback of process {process} was lost"));
        }
    }

    fn stay(&mut self, process: u64) {
        if self.last_of(process).is_some_and(|segment| segment.is_unsure) {
            self.segments.pop();
        }
    }

    fn finish(&mut self, process: u64) {
        self.counts.finished += 1;
        if let Some(segment) = self.last_of(process) {
            segment.is_finished = true;
            for thread in &mut segment.threads {
                thread.acknowledged = thread.changes.len();
            }
        }
    }

    fn read(&mut self, process: u64, document: &Document) {
        let Some((oldest, acknowledged)) = self.reading.remove(&process) else {
            return;
        };
        self.counts.reads += 1;
        let mut why = String::new();
        for index in (oldest..self.segments.len()).rev() {
            let at_least = if index == oldest {
                acknowledged.as_slice()
            } else {
                &[]
            };
            match self.segments[index].fit(document, at_least) {
                Ok(included) => {
                    let is_unfinished =
                        included.iter().any(|&count| count > 0) && !self.segments[index].is_finished;
                    self.counts.reads_of_unfinished += usize::from(is_unfinished);
                    return;
                }
                Err(error) => why = error,
            }
        }
        self.broken.reads.push(why);
    }
}

/// The latest segment that this process made.
fn latest_of(segments: &mut [Segment], process: u64) -> Option<&mut Segment> {
    segments
        .iter_mut()
        .rev()
        .find(|segment| segment.process == process)
}

#[cfg(test)]
mod tests {
    use super::super::segment::address;
    use super::*;

    fn document(entries: &[(&str, &str)]) -> Document {
        let entries = entries
            .iter()
            .map(|(address, value)| ((*address).into(), (*value).into()));
        entries.collect()
    }

    fn began(entries: &[(&str, &str)], recovered: u64) -> Note {
        Note::Began(Box::new(Began {
            document: document(entries),
            recovered,
            ..Began::default()
        }))
    }

    fn put(thread: usize, value: &str) -> Note {
        Note::Trying {
            thread,
            address: address(thread, 0),
            value: Some(value.into()),
        }
    }

    fn judged(notes: &[(u64, Note)]) -> Laws {
        let mut laws = Laws::new();
        for (process, note) in notes {
            laws.add(*process, note.clone());
        }
        laws
    }

    /// Two acknowledged changes of two threads, and one that is not.
    fn a_run() -> Vec<(u64, Note)> {
        vec![
            (1, Note::Beginning),
            (1, began(&[], 0)),
            (1, put(0, "a")),
            (1, Note::Acknowledged(0)),
            (1, put(1, "b")),
            (1, Note::Acknowledged(1)),
            (1, put(0, "c")),
            (0, Note::Killed(1)),
            (2, Note::Beginning),
        ]
    }

    fn after_a_run(note: Note) -> Laws {
        judged(&[a_run(), vec![(2, note)]].concat())
    }

    #[test]
    fn what_was_not_acknowledged_may_be_there_or_not() {
        for (value, recovered) in [("a", 2), ("c", 3)] {
            let laws = after_a_run(began(
                &[("resource.t0-0", value), ("resource.t1-0", "b")],
                recovered,
            ));
            assert!(laws.broken.changes.is_empty() && laws.broken.recovered.is_empty());
            assert_eq!((laws.counts.lost, laws.counts.kills_in_runs.len()), (0, 1));
        }
    }

    #[test]
    fn a_lost_change_is_seen_and_counted() {
        let laws = after_a_run(began(&[("resource.t0-0", "a")], 1));
        assert_eq!((laws.counts.lost, laws.broken.changes.len()), (1, 1));
        assert_eq!(after_a_run(began(&[], 0)).counts.lost, 2);
    }

    #[test]
    fn a_wrong_number_of_recovered_changes_is_seen() {
        let laws = after_a_run(began(&[("resource.t0-0", "a"), ("resource.t1-0", "b")], 1));
        assert_eq!(laws.broken.recovered.len(), 1);
    }

    /// The first change of thread 1 was tried after that of thread 0 was durable.
    #[test]
    fn a_reader_that_skips_a_change_is_seen() {
        let mut notes = a_run();
        notes.insert(2, (9, Note::Reading));
        let read = |entries: &[(&str, &str)]| {
            let mut notes = notes.clone();
            notes.push((9, Note::Read(document(entries))));
            judged(&notes).broken.reads.len()
        };
        assert_eq!(read(&[]), 0);
        assert_eq!(read(&[("resource.t0-0", "a")]), 0);
        assert_eq!(read(&[("resource.t1-0", "b")]), 1);
        let mut late = a_run();
        late.push((9, Note::Reading));
        late.push((9, Note::Read(document(&[("resource.t0-0", "a")]))));
        assert_eq!(judged(&late).broken.reads.len(), 1);
    }

    #[test]
    fn a_change_that_an_evicted_run_acknowledges_late_is_lost() {
        let mut notes = a_run();
        notes.push((2, began(&[("resource.t0-0", "a"), ("resource.t1-0", "b")], 2)));
        notes.push((1, Note::Acknowledged(0)));
        assert_eq!(judged(&notes).counts.lost, 1);
    }

    #[test]
    fn a_rollback_is_done_or_not_until_it_returned() {
        let mut notes = a_run();
        notes.truncate(6);
        notes.push((1, Note::RollingBack(document(&[]))));
        let full = [("resource.t0-0", "a"), ("resource.t1-0", "b")];
        let found = |notes: &[(u64, Note)], entries: &[(&str, &str)]| {
            let began = [(2, began(entries, 0))];
            judged(&[notes, &began].concat()).broken.changes.len()
        };
        assert_eq!(found(&notes, &[]), 0);
        assert_eq!(found(&notes, &full), 0);
        notes.push((1, Note::RolledBack));
        assert_eq!(found(&notes, &[]), 0);
        assert_eq!(found(&notes, &full), 1);
    }

    #[test]
    fn too_many_revisions_are_seen() {
        let revisions = ["a", "b", "c"].map(String::from).to_vec();
        let laws = after_a_run(Note::Began(Box::new(Began {
            revisions,
            ..Began::default()
        })));
        assert_eq!(laws.broken.revisions.len(), 1);
    }
}
