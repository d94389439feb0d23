//! The processes that make runs until they are killed, and a reader beside them.

use super::ledger::{Began, Document, Ledger, Note};
use super::segment::address;
use super::worker::up_to;
use crate::place::Place;
use crate::props::random;
use crate::report::Trouble;
use proptest::prelude::Rng as _;
use proptest::test_runner::TestRng;
use sdk_state::encrypt::Noop;
use sdk_state::{Binding, Category, Entry, EntryKind, Error, ErrorKind, Json, Run, State, Store, Wait};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// A lock that stays taken for this long is stuck.
const STUCK: Duration = Duration::from_secs(20);
/// The pause before a failed call is tried again, and between two reads.
const PAUSE: Duration = Duration::from_millis(5);
/// The number of entries that each thread changes again and again.
const PLACES: usize = 20;
/// The number of revisions that stay beside the current one.
const KEPT_REVISIONS: usize = 12;
/// The bytes of a change in a run that folds its journal.
const LONG: usize = 4000;
/// How often `finish` is tried on a full disk.
const TRIES: usize = 40;

/// What all processes share.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Field {
    pub(super) place: Place,
    pub(super) ledger: PathBuf,
    /// The file that tells every process to end.
    pub(super) stop: PathBuf,
    /// The disk is full now and then.
    pub(super) fills: bool,
}

impl Field {
    pub(super) fn store(&self) -> Result<Store, Error> {
        Ok(Store::new(self.place.backend()?, Noop))
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(super) field: Field,
    pub(super) number: u64,
    pub(super) threads: usize,
    pub(super) seed: u64,
}

/// Makes one run after the other.
pub(crate) fn run(process: &Process) -> Result<(), Trouble> {
    let ledger = Ledger::open(&process.field.ledger, process.number)?;
    let mut executor = Executor::new(process, &ledger)?;
    while !process.field.stop.exists() {
        if let Err(trouble) = executor.make_run() {
            ledger.note(&Note::Problem(trouble.to_string()))?;
            return Err(trouble);
        }
    }
    Ok(())
}

/// Makes a run that changes nothing.
pub(super) fn look(process: &Process) -> Result<(), Trouble> {
    let ledger = Ledger::open(&process.field.ledger, process.number)?;
    let mut executor = Executor::new(process, &ledger)?;
    match executor.begin()? {
        Some((run, ..)) => executor.finish(&run),
        None => Err("the last run did not begin".into()),
    }
}

/// Reads the head again and again.
pub(crate) fn read(process: &Process) -> Result<(), Trouble> {
    let ledger = Ledger::open(&process.field.ledger, process.number)?;
    let store = process.field.store()?;
    let mut random = random(process.seed);
    while !process.field.stop.exists() {
        ledger.note(&Note::Reading)?;
        match store.head() {
            Ok(head) => {
                let head = head.as_ref().map(|head| document_of(&head.document));
                ledger.note(&Note::Read(head.unwrap_or_default()))?;
            }
            Err(error) => ledger.note(&Note::Problem(format!("a reader: {error}")))?,
        }
        Wait::forever().pause(up_to(&mut random, PAUSE * 4));
    }
    Ok(())
}

/// The value at each address.
pub(super) fn document_of(state: &State) -> Document {
    let value = |entry: &Entry| {
        let text = entry.outputs.as_ref().map_or("", Json::as_str);
        let value = text
            .strip_prefix("{\"value\":\"")
            .and_then(|rest| rest.strip_suffix("\"}"));
        value.unwrap_or(text).to_owned()
    };
    let entries = state.entries();
    entries
        .map(|entry| (entry.address.clone(), value(entry)))
        .collect()
}

fn entry(address: &str, value: &str, padding: &str) -> Result<Entry, Error> {
    let binding = Binding::new("aws", "instance");
    let mut entry = Entry::new(address, EntryKind::Leaf, Category::Resource, binding);
    entry.inputs = Some(Json::parse(format!(r#"{{"padding":"{padding}"}}"#))?);
    entry.outputs = Some(Json::parse(format!(r#"{{"value":"{value}"}}"#))?);
    Ok(entry)
}

struct Executor<'a> {
    store: Store,
    random: TestRng,
    ledger: &'a Ledger,
    process: &'a Process,
    /// How many values the threads have taken; no two changes put the same value.
    values: u64,
}

/// Whether a run goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    GoesOn,
    HasEnded,
}

impl<'a> Executor<'a> {
    fn new(process: &'a Process, ledger: &'a Ledger) -> Result<Self, Trouble> {
        Ok(Self {
            store: process.field.store()?,
            random: random(process.seed),
            ledger,
            process,
            values: 0,
        })
    }

    fn make_run(&mut self) -> Result<(), Trouble> {
        let Some((run, document, folds)) = self.begin()? else {
            Wait::forever().pause(PAUSE);
            return Ok(());
        };
        if self.change(&run, &document, folds)? == Next::HasEnded {
            return Ok(());
        }
        match self.random.next_u32() % 8 {
            // A dropped run is like a dead one.
            0 => return Ok(()),
            1 | 2 => {
                let next = self.roll_back(&run)?;
                let document = document_of(&run.state());
                if next == Next::HasEnded || self.change(&run, &document, folds)? == Next::HasEnded {
                    return Ok(());
                }
            }
            _ => {}
        }
        self.finish(&run)
    }

    /// Begins a run and notes what it finds; `None` after an error that is allowed.
    fn begin(&mut self) -> Result<Option<(Run, Document, bool)>, Trouble> {
        self.ledger.note(&Note::Beginning)?;
        let run = match self.store.begin("torture", STUCK) {
            Ok(run) => run,
            Err(error) if self.is_expected(&error) => {
                self.ledger.note(&Note::NotBegun(error.to_string()))?;
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let document = document_of(&run.state());
        let folds = self.random.next_u32().is_multiple_of(4);
        let revisions = self.store.list()?;
        self.ledger.note(&Note::Began(Box::new(Began {
            token: run.token().to_string(),
            threads: self.process.threads,
            took_over: run.took_over().is_some(),
            recovered: run.recovered(),
            folds,
            document: document.clone(),
            revisions: revisions.iter().map(ToString::to_string).collect(),
        })))?;
        for old in revisions.iter().rev().skip(KEPT_REVISIONS) {
            match run.delete(old) {
                Err(error) if error.kind() == &ErrorKind::RevisionIsCurrent || self.is_expected(&error) => {}
                outcome => outcome?,
            }
        }
        Ok(Some((run, document, folds)))
    }

    /// Whether an eviction, a full disk or a power cut explains the error.
    fn is_expected(&self, error: &Error) -> bool {
        error.is_lock_lost()
            || self.process.field.fills
                && (error.is_outcome_unknown()
                    || matches!(error.kind(), ErrorKind::Io | ErrorKind::Unavailable))
    }

    /// All threads put and remove.
    fn change(&mut self, run: &Run, document: &Document, folds: bool) -> Result<Next, Trouble> {
        // A run of short changes must stay too short to fold its journal.
        let most = 1000 / self.process.threads as u64;
        let count = 1 + self.random.next_u64() % most;
        let first = self.values;
        self.values += most;
        let seeds: Vec<u64> = (0..self.process.threads)
            .map(|_| self.random.next_u64())
            .collect();
        let this = &*self;
        let ends = thread::scope(|scope| {
            let start = |(number, seed): (usize, u64)| {
                let values = first..first + count;
                scope.spawn(move || this.change_own(run, document, number, seed, values, folds))
            };
            let threads: Vec<_> = seeds.into_iter().enumerate().map(start).collect();
            let ends = threads.into_iter().map(|thread| thread.join());
            ends.map(|end| end.unwrap_or_else(|_| Err("a thread panicked".into())))
                .collect::<Result<Vec<Next>, Trouble>>()
        })?;
        Ok(match ends.contains(&Next::HasEnded) {
            true => Next::HasEnded,
            false => Next::GoesOn,
        })
    }

    /// Changes the entries that belong to one thread.
    fn change_own(
        &self,
        run: &Run,
        document: &Document,
        thread: usize,
        seed: u64,
        values: std::ops::Range<u64>,
        folds: bool,
    ) -> Result<Next, Trouble> {
        let mut random = random(seed);
        let padding = "p".repeat(if folds { LONG } else { 0 });
        // An older entry is removed at most once, so no state of the thread occurs twice.
        let places = (0..PLACES).map(|place| address(thread, place));
        let mut removable: Vec<String> = places.filter(|address| document.contains_key(address)).collect();
        for number in values {
            let is_removal = random.next_u32().is_multiple_of(8);
            let removed = removable.pop_if(|_| is_removal);
            let address = removed.clone();
            let address = address.unwrap_or_else(|| address_at(&mut random, thread));
            removable.retain(|other| *other != address);
            let value = match removed {
                Some(_) => None,
                None => Some(format!("{}.{number}", self.process.number)),
            };
            self.ledger.note(&Note::Trying {
                thread,
                address: address.clone(),
                value: value.clone(),
            })?;
            let outcome = match value {
                Some(value) => run.put(entry(&address, &value, &padding)?),
                None => run.remove(address),
            };
            match outcome {
                Ok(()) => self.ledger.note(&Note::Acknowledged(thread))?,
                Err(error) if self.is_expected(&error) => {
                    if let Err(end) = run.check() {
                        self.ledger.note(&Note::Ended(end.to_string()))?;
                        return Ok(Next::HasEnded);
                    }
                    Wait::forever().pause(PAUSE);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Next::GoesOn)
    }

    fn roll_back(&mut self, run: &Run) -> Result<Next, Trouble> {
        let revisions = self.store.list()?;
        let Some(position) = self.random.next_u64().checked_rem(revisions.len() as u64) else {
            return Ok(Next::GoesOn);
        };
        let rev = &revisions[position as usize];
        let document = match self.store.get(rev) {
            Ok(document) => document_of(&document),
            // Another process is evicting this one.
            Err(error) if error.is_not_found() || self.is_expected(&error) => return Ok(Next::GoesOn),
            Err(error) => return Err(error.into()),
        };
        self.ledger.note(&Note::RollingBack(document))?;
        match run.set_current(rev) {
            Ok(()) => self.ledger.note(&Note::RolledBack)?,
            Err(error) if error.is_not_found() => self.ledger.note(&Note::Stayed)?,
            Err(error) if self.is_expected(&error) => {
                self.ledger.note(&Note::Ended(error.to_string()))?;
                return Ok(Next::HasEnded);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(Next::GoesOn)
    }

    fn finish(&self, run: &Run) -> Result<(), Trouble> {
        self.ledger.note(&Note::Finishing)?;
        let mut tries = 0;
        loop {
            tries += 1;
            match run.finish(None) {
                Ok(_) => return self.ledger.note(&Note::Finished),
                Err(error) if self.is_expected(&error) => {
                    if tries == TRIES || run.check().is_err() {
                        return self.ledger.note(&Note::Ended(error.to_string()));
                    }
                    Wait::forever().pause(PAUSE);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn address_at(random: &mut TestRng, thread: usize) -> String {
    address(thread, random.next_u32() as usize % PLACES)
}
