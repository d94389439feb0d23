//! What a process was promised, noted before it goes on: kill −9 takes nothing from a file that was written to.

use crate::report::Trouble;
use sdk_state::Revision;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

#[derive(Debug)]
pub(super) struct Journal(File);

/// A line of it. Revisions are kept by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Entry {
    /// A critical section was entered.
    Section,
    /// It was entered in the place of a dead holder.
    TookOver,
    /// Somebody else was in one.
    Overlap,
    /// A write has returned: its name and its text.
    Wrote(String, String),
    /// The counter in the current snapshot was moved to this.
    Counted(u64),
    /// A delete begins: from here on it may be gone.
    Deleting(String),
    /// Something that should not happen.
    Problem(String),
}

impl Journal {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        // Whoever had it before may have died in the middle of a line.
        file.write_all(b"\n")?;
        Ok(Self(file))
    }

    pub(super) fn note(&mut self, entry: &Entry) -> Result<(), Trouble> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        Ok(self.0.write_all(&line)?)
    }

    pub(super) fn note_write(&mut self, rev: &Revision, text: &str) -> Result<(), Trouble> {
        self.note(&Entry::Wrote(rev.to_string(), text.into()))
    }
}

/// Everything that a process has noted, in all its lives.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, Trouble> {
    let text = fs::read_to_string(path)?;
    // A line without its end was never acknowledged.
    let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
    let lines = complete.lines().filter(|line| !line.is_empty());
    // Nor was one whose end is that of the next life's first line.
    Ok(lines.filter_map(|line| serde_json::from_str(line).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        let entries = [
            Entry::Section,
            Entry::Wrote("a".into(), "count 1".into()),
            Entry::Counted(1),
        ];
        for entry in &entries {
            journal.note(entry).unwrap();
        }
        journal.0.write_all(b"{\"Counted\":2").unwrap();
        assert_eq!(read(&path).unwrap(), entries);
        Journal::open(&path).unwrap().note(&Entry::TookOver).unwrap();
        assert_eq!(read(&path).unwrap().last(), Some(&Entry::TookOver));
    }
}
