//! The changes of a run, and the documents that they allow.

use super::ledger::Document;

/// Changes of one run on one document: from its beginning, or from a rollback on.
#[derive(Default)]
pub(super) struct Segment {
    pub(super) process: u64,
    pub(super) base: Document,
    pub(super) threads: Vec<Thread>,
    /// A rollback that has not returned: the segment before may be the one that counts.
    pub(super) is_unsure: bool,
    /// All of it is in a revision, if the process has come so far.
    pub(super) may_be_committed: bool,
    pub(super) is_finished: bool,
    pub(super) folds: bool,
    /// How many changes of each thread the next run found.
    pub(super) included: Option<Vec<usize>>,
}

#[derive(Default)]
pub(super) struct Thread {
    pub(super) changes: Vec<Change>,
    pub(super) acknowledged: usize,
}

pub(super) struct Change {
    /// The number of the note that it was tried, and of the note that it was durable.
    pub(super) tried_at: usize,
    pub(super) durable_at: Option<usize>,
    pub(super) address: String,
    pub(super) value: Option<String>,
}

impl Segment {
    pub(super) fn acknowledged(&self) -> Vec<usize> {
        self.threads.iter().map(|thread| thread.acknowledged).collect()
    }

    pub(super) fn thread(&mut self, number: usize) -> &mut Thread {
        if self.threads.len() <= number {
            self.threads.resize_with(number + 1, Thread::default);
        }
        &mut self.threads[number]
    }

    /// How many changes of each thread the document holds, at least as many as given; an error if it is none of the documents
    /// that it may be: a prefix for each thread, and together one that leaves out nothing that was durable before something
    /// that it holds was tried.
    pub(super) fn fit(&self, document: &Document, at_least: &[usize]) -> Result<Vec<usize>, String> {
        let mut included = Vec::new();
        for (number, thread) in self.threads.iter().enumerate() {
            let least = at_least.get(number).copied().unwrap_or_default();
            let most = self.included.as_ref().map_or(thread.changes.len(), |included| {
                included.get(number).copied().unwrap_or_default()
            });
            let found = thread.fit(
                &of_thread(document, number),
                of_thread(&self.base, number),
                least,
                most,
            );
            included.push(found.ok_or_else(|| {
                format!(
                    "thread {number} of process {} had made {least} to {most} changes, and the document holds another number",
                    self.process
                )
            })?);
        }
        let ours = |address: &str| self.threads.iter().enumerate().any(|(n, _)| is_of(address, n));
        let others = |document: &Document| -> Document {
            let others = document.iter().filter(|(address, _)| !ours(address));
            others
                .map(|(address, value)| (address.clone(), value.clone()))
                .collect()
        };
        if others(document) != others(&self.base) {
            return Err(format!(
                "entries that process {} did not touch have changed",
                self.process
            ));
        }
        let pairs = || self.threads.iter().zip(&included);
        let latest =
            pairs().filter_map(|(thread, &count)| Some(thread.changes.get(count.checked_sub(1)?)?.tried_at));
        let latest = latest.max().unwrap_or_default();
        let left_out = pairs().filter_map(|(thread, &count)| thread.changes.get(count)?.durable_at);
        match left_out.min() {
            Some(durable) if durable < latest => Err(format!(
                "the document holds a change that was tried after another one was durable, which it lacks (process {})",
                self.process
            )),
            _ => Ok(included),
        }
    }
}

impl Thread {
    fn fit(&self, wanted: &Document, base: Document, least: usize, most: usize) -> Option<usize> {
        let mut document = base;
        let mut found = None;
        for count in 0..=most.min(self.changes.len()) {
            if let Some(change) = count.checked_sub(1).and_then(|last| self.changes.get(last)) {
                match &change.value {
                    Some(value) => drop(document.insert(change.address.clone(), value.clone())),
                    None => drop(document.remove(&change.address)),
                }
            }
            if count >= least && document == *wanted {
                found = Some(count);
            }
        }
        found
    }
}

/// The address of one of the places of a thread.
pub(super) fn address(thread: usize, place: usize) -> String {
    format!("resource.t{thread}-{place}")
}

fn is_of(address: &str, thread: usize) -> bool {
    let rest = address
        .strip_prefix("resource.t")
        .and_then(|rest| rest.split_once('-'));
    rest.is_some_and(|(number, _)| number.parse() == Ok(thread))
}

fn of_thread(document: &Document, thread: usize) -> Document {
    let ours = document.iter().filter(|(address, _)| is_of(address, thread));
    ours.map(|(address, value)| (address.clone(), value.clone()))
        .collect()
}
