//! The notes of all processes in the order of events: each process appends to one file, a line at a time.

use crate::report::Trouble;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// A state: the value at each address.
pub(super) type Document = BTreeMap<String, String>;

/// A line of the ledger. A note that a call begins comes before the call, and one that it ended comes after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Note {
    Beginning,
    /// `begin` has returned.
    Began(Box<Began>),
    /// `begin` failed, as it may when its process is evicted or the disk is full.
    NotBegun(String),
    /// A thread is about to put a value, or to remove it.
    Trying {
        thread: usize,
        address: String,
        value: Option<String>,
    },
    /// The change that the thread tried last is durable.
    Acknowledged(usize),
    /// The run is about to make an older revision current, which holds this document.
    RollingBack(Document),
    RolledBack,
    /// The revision was deleted meanwhile: `current` has not moved.
    Stayed,
    Finishing,
    Finished,
    /// The run ended with an error, as it may when its process is evicted or the disk is full.
    Ended(String),
    Reading,
    Read(Document),
    /// The process with this number is about to be killed.
    Killed(u64),
    /// The process with this number is about to be evicted, if it still holds the lock.
    Evicted(u64),
    Filled,
    /// The disk is about to lose its power: from here on any error is allowed.
    Cut,
    /// The disk has power again, and every process that used it before is dead.
    Mounted,
    /// A broken law that a process saw itself.
    Problem(String),
}

/// What a run found when it began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Began {
    pub(super) token: String,
    pub(super) threads: usize,
    pub(super) took_over: bool,
    pub(super) recovered: u64,
    /// Whether its changes are so long that it folds its journal.
    pub(super) folds: bool,
    pub(super) document: Document,
    pub(super) revisions: Vec<String>,
}

/// The handle with which a process writes to the ledger.
#[derive(Debug)]
pub(super) struct Ledger {
    file: File,
    process: u64,
}

impl Ledger {
    pub(super) fn open(path: &Path, process: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { file, process })
    }

    /// A kill −9 removes nothing that was written to a file.
    pub(super) fn note(&self, note: &Note) -> Result<(), Trouble> {
        let mut line = serde_json::to_vec(&(self.process, note))?;
        line.push(b'\n');
        // One call, so that the lines of processes do not mix.
        match (&self.file).write(&line)? {
            length if length == line.len() => Ok(()),
            _ => Err("a note was cut".into()),
        }
    }
}

/// Reads the ledger as it grows.
pub(super) struct Reader {
    file: File,
    rest: Vec<u8>,
}

impl Reader {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        Ok(Self {
            file,
            rest: Vec::new(),
        })
    }

    /// The notes since the last call, with their processes.
    pub(super) fn news(&mut self) -> Result<Vec<(u64, Note)>, Trouble> {
        self.file.read_to_end(&mut self.rest)?;
        let complete = self.rest.iter().rposition(|&byte| byte == b'\n');
        let complete = complete.map_or(0, |position| position + 1);
        let lines = self.rest[..complete].split(|&byte| byte == b'\n');
        let notes = lines.filter(|line| !line.is_empty()).map(serde_json::from_slice);
        let notes = notes.collect::<Result<_, _>>()?;
        self.rest.drain(..complete);
        Ok(notes)
    }
}
