//! The processes that are killed: count under the lock, write, delete and read; the stand-in for unobin beside them; and the
//! journals in which they note what they were promised.

use crate::oracle::Oracle;
use crate::place::{Note, Place};
use crate::props::random;
use crate::report::Trouble;
use crate::unobin::Unobin;
use proptest::prelude::Rng as _;
use proptest::test_runner::TestRng;
use sdk_state::{ErrorKind, Lock, Revision, Store, Wait};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A lock that cannot be had for so long is stuck.
const STUCK: Duration = Duration::from_secs(20);
/// A critical section is made longer by several of these, so that many of the killed die in one.
const PAUSE: Duration = Duration::from_millis(1);
/// Unobin would starve between processes that look every few milliseconds if it looked every 500 ms, as it really does.
const UNOBIN_PAUSE: Duration = Duration::from_millis(15);
const UNOBIN_INSIDE: Duration = Duration::from_millis(3);
/// The name of unobin's journal.
pub(super) const UNOBIN: &str = "unobin";

/// The state that is tested, and beside it what watches it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ground {
    directory: PathBuf,
    pub(super) place: Place,
}

impl Ground {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.into(),
            place: Place::new(directory.join("root")),
        }
    }

    pub(super) fn journal(&self, name: &str) -> PathBuf {
        self.directory.join(format!("journal-{name}"))
    }

    fn oracle(&self) -> PathBuf {
        self.directory.join("oracle")
    }

    /// The file that tells everybody to come to an end.
    pub(super) fn stop(&self) -> PathBuf {
        self.directory.join("stop")
    }

    /// Whose process id the marker tells, read without the library.
    pub(super) fn marker_pid(&self) -> Option<u32> {
        let marker = fs::read(self.place.lock()).ok()?;
        let line = marker.split(|&byte| byte == b'\n').next()?;
        str::from_utf8(line).ok()?.parse().ok()
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(super) ground: Ground,
    pub(super) name: String,
    pub(super) seed: u64,
}

/// Acts until it is killed, or everybody comes to an end.
pub(crate) fn run(process: &Process) -> Result<(), Trouble> {
    let ground = &process.ground;
    let oracle = Oracle::open(&ground.oracle())?;
    let mut worker = Worker {
        store: ground.place.open()?,
        oracle: &oracle,
        journal: Journal::open(&ground.journal(&process.name))?,
        random: random(process.seed),
        signature: format!("{} {}", process.name, process.seed),
        own: Vec::new(),
    };
    while !ground.stop().exists() {
        if let Err(trouble) = worker.act() {
            worker.journal.note(&Entry::Problem(trouble.to_string()))?;
            return Err(trouble);
        }
    }
    Ok(())
}

/// Locks by turns. It is never killed: nobody may take its marker for a dead holder's, so nobody would go on.
pub(crate) fn run_unobin(process: &Process) -> Result<(), Trouble> {
    let ground = &process.ground;
    let unobin = Unobin::new(ground.place.lock());
    let oracle = Oracle::open(&ground.oracle())?;
    let mut journal = Journal::open(&ground.journal(&process.name))?;
    let mut random = random(process.seed);
    while !ground.stop().exists() {
        if unobin.try_lock()? {
            let inside = oracle.enter()?;
            journal.note(if inside.is_some() {
                &Entry::Section
            } else {
                &Entry::Overlap
            })?;
            Wait::forever().pause(up_to(&mut random, UNOBIN_INSIDE));
            drop(inside);
            if !unobin.unlock()? {
                journal.note(&Entry::Problem("somebody removed unobin's marker".into()))?;
            }
        }
        Wait::forever().pause(up_to(&mut random, UNOBIN_PAUSE));
    }
    Ok(())
}

/// Less than `limit`.
pub(super) fn up_to(random: &mut TestRng, limit: Duration) -> Duration {
    Duration::from_micros(random.next_u64() % limit.as_micros() as u64)
}

/// The text of a snapshot that holds the counter.
pub(super) fn count_of(text: &str) -> Option<u64> {
    text.strip_prefix("count ")?.split(' ').next()?.parse().ok()
}

struct Worker<'a> {
    store: Store<Note>,
    oracle: &'a Oracle,
    journal: Journal,
    random: TestRng,
    signature: String,
    /// Its own revisions, which nobody else deletes.
    own: Vec<Revision>,
}

impl Worker<'_> {
    fn act(&mut self) -> Result<(), Trouble> {
        match self.random.next_u32() % 10 {
            0..5 => self.count(),
            5 => self.count_late(),
            6 => self.write("aside").map(drop),
            7 | 8 => self.delete(),
            _ => self.read(),
        }
    }

    /// A run of a tool: lock, read, write, move `current` by comparison, unlock. Nobody evicts, so the lock is never lost.
    fn count(&mut self) -> Result<(), Trouble> {
        let lock = self.store.lock("torture", STUCK)?;
        let oracle = self.oracle;
        let inside = oracle.enter()?;
        if inside.is_none() {
            self.journal.note(&Entry::Overlap)?;
        }
        self.journal.note(&Entry::Section)?;
        if lock.took_over().is_some() {
            self.journal.note(&Entry::TookOver)?;
        }
        let (current, count, rev) = self.prepare()?;
        self.move_on(current.as_ref(), &rev, count, &*lock)?;
        drop(inside);
        Ok(lock.unlock()?)
    }

    /// The same, but it reads and writes before it takes the lock, so another process may move `current` first.
    fn count_late(&mut self) -> Result<(), Trouble> {
        let (current, count, rev) = self.prepare()?;
        let lock = self.store.lock("torture", STUCK)?;
        self.move_on(current.as_ref(), &rev, count, &*lock)?;
        Ok(lock.unlock()?)
    }

    /// Reads the counter and writes the next one.
    fn prepare(&mut self) -> Result<(Option<Revision>, u64, Revision), Trouble> {
        self.pause();
        let (current, count) = match self.store.head() {
            Ok(None) => (None, 0),
            Ok(Some(head)) => (
                Some(head.revision),
                count_of(&head.document.0).ok_or("current is no counter")?,
            ),
            // Somebody has written the first one, and was killed before it was current, or is about to make it so.
            Err(error) if matches!(error.kind(), ErrorKind::PointerLost { .. }) => (None, 0),
            Err(error) => return Err(error.into()),
        };
        let rev = self.write(&format!("count {}", count + 1))?;
        self.pause();
        Ok((current, count + 1, rev))
    }

    fn move_on(
        &mut self,
        current: Option<&Revision>,
        rev: &Revision,
        count: u64,
        lock: &dyn Lock,
    ) -> Result<(), Trouble> {
        match self
            .store
            .backend()
            .set_current(current.into(), rev, lock.token()?)
        {
            Ok(_) => self.journal.note(&Entry::Counted(count))?,
            Err(error) if error.is_current_moved() => {}
            Err(error) => return Err(error.into()),
        }
        self.pause();
        Ok(())
    }

    fn write(&mut self, text: &str) -> Result<Revision, Trouble> {
        let text = format!("{text} by {} at {}", self.signature, self.random.next_u64());
        let rev = self.store.write(&Note(text.clone()), None)?;
        self.journal.note(&Entry::Wrote(rev.to_string(), text))?;
        self.own.push(rev.clone());
        Ok(rev)
    }

    fn delete(&mut self) -> Result<(), Trouble> {
        if self.own.is_empty() {
            return Ok(());
        }
        let position = self.random.next_u32() as usize % self.own.len();
        let rev = self.own[position].clone();
        // What is current now may be no longer when the delete looks, and the other way round: both answers are right.
        self.journal.note(&Entry::Deleting(rev.to_string()))?;
        match self.store.delete(&rev) {
            Ok(()) => drop(self.own.swap_remove(position)),
            Err(error) if error.is_locked() || error.kind() == &ErrorKind::RevisionIsCurrent => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), Trouble> {
        for rev in self.store.list()?.into_iter().rev().take(3) {
            match self.store.get(&rev) {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn pause(&mut self) {
        Wait::forever().pause(up_to(&mut self.random, PAUSE));
    }
}

/// What a process was promised, noted before it goes on: kill −9 takes nothing from a file that was written to.
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
        // The process that had it before may have died in the middle of a line.
        file.write_all(b"\n")?;
        Ok(Self(file))
    }

    pub(super) fn note(&mut self, entry: &Entry) -> Result<(), Trouble> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        Ok(self.0.write_all(&line)?)
    }
}

/// Everything that a process has noted, in all its lives.
pub(super) fn read_journal(path: &Path) -> Result<Vec<Entry>, Trouble> {
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
        assert_eq!(read_journal(&path).unwrap(), entries);
        Journal::open(&path).unwrap().note(&Entry::TookOver).unwrap();
        assert_eq!(read_journal(&path).unwrap().last(), Some(&Entry::TookOver));
    }
}
