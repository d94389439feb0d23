//! A store in a directory, and what lies there.

use localstate::LocalBackend;
use sdk_state::encrypt::Noop;
use sdk_state::{
    Change, Error, ErrorKind, Expect, Lock, LockToken, Revision, Snapshot, StackId, Store, Wait,
};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use time::OffsetDateTime;

pub(crate) const FACTORY: &str = "proof";
pub(crate) const STACK: &str = "prod";
pub(crate) const SNAPSHOTS: &str = "snapshots";
pub(crate) const CURRENT: &str = "current";
pub(crate) const JOURNAL: &str = "journal";
pub(crate) const LOCK: &str = "lock";

/// 2026-07-10T12:00:00Z.
const NOON: i64 = 1_783_684_800;
/// Longer than a leftover file has to lie there before it is cleaned.
const OLD: Duration = Duration::from_secs(2 * 3600);
/// A lock that cannot be had for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// The smallest document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note(pub(crate) String);

impl Snapshot for Note {
    const PAYLOAD: &'static str = "note";
    type Change = Line;

    fn fresh(_: &StackId) -> Self {
        Self(String::new())
    }

    fn encode(&self) -> Result<Vec<u8>, Error> {
        Ok(self.0.clone().into_bytes())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        match str::from_utf8(bytes) {
            Ok(text) => Ok(Self(text.into())),
            Err(_) => Err(Error::new(ErrorKind::InvalidSnapshot, "the note is not UTF-8")),
        }
    }
}

/// The change of a note: one more line.
pub(crate) struct Line(pub(crate) String);

impl Change<Note> for Line {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        Note::decode(bytes).map(|note| Self(note.0))
    }

    fn apply(self, note: &mut Note) {
        note.0.push_str(&self.0);
        note.0.push('\n');
    }
}

/// Writes a note and makes it current, if what is current is as expected. An error names the note that was stored.
pub(crate) fn save(
    store: &Store<Note>,
    text: &str,
    expect: Expect<'_>,
    token: &LockToken,
) -> Result<Revision, Error> {
    let rev = store.write(&Note(text.into()), None)?;
    match store.backend().set_current(expect, &rev, token) {
        Ok(_) => Ok(rev),
        Err(error) => Err(error.at_revision(&rev)),
    }
}

/// The only stack of a place.
pub(crate) fn id() -> Result<StackId, Error> {
    StackId::new(FACTORY, STACK)
}

/// So many nanoseconds after noon, on a day in July.
pub(crate) fn after_noon(nanoseconds: i64) -> OffsetDateTime {
    let noon = OffsetDateTime::from_unix_timestamp(NOON).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    noon + time::Duration::nanoseconds(nanoseconds)
}

/// A directory in memory, if the machine has one: what is tested is not the disk.
pub(crate) fn scratch() -> io::Result<TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

/// The root of one stack.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Place {
    root: PathBuf,
}

impl Place {
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A handle of its own: what the backend remembers in one must not matter to the others.
    pub(crate) fn backend(&self) -> Result<LocalBackend, Error> {
        Ok(LocalBackend::new(&self.root, id()?))
    }

    pub(crate) fn open(&self) -> Result<Store<Note>, Error> {
        Ok(Store::new(self.backend()?, Noop).document())
    }

    /// A store whose clock stands still at noon, so that every further revision needs a suffix.
    pub(crate) fn open_at_noon(&self) -> Result<Store<Note>, Error> {
        Ok(self.open()?.with_clock(|| after_noon(0)))
    }

    pub(crate) fn stack(&self) -> PathBuf {
        self.root.join(FACTORY).join(STACK)
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.stack().join(SNAPSHOTS)
    }

    pub(crate) fn snapshot(&self, name: &str) -> PathBuf {
        self.snapshots().join(format!("{name}.json.enc"))
    }

    pub(crate) fn current(&self) -> PathBuf {
        self.stack().join(CURRENT)
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.stack().join(LOCK)
    }

    /// Temporary files that somebody left.
    pub(crate) fn leftovers(&self) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for directory in [self.stack(), self.snapshots()] {
            let entries = match fs::read_dir(directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?;
                if entry.file_name().as_encoded_bytes().starts_with(b".") {
                    found.push(entry.path());
                }
            }
        }
        Ok(found)
    }

    /// Makes the leftover files old and lets the library clean them, as the next users of the store do. Returns what is
    /// wrong afterwards.
    ///
    /// Each of them cleans for a short time, and the first one frees the second name of a marker: it ends when two in a row
    /// have found nothing to clean.
    pub(crate) fn clean(&self) -> Result<Vec<String>, Error> {
        let io_error = |error: io::Error| Error::new(ErrorKind::Io, error.to_string());
        let mut problems = Vec::new();
        let mut left = self.leftovers().map_err(io_error)?;
        let mut in_vain = 0;
        while in_vain < 2 && problems.is_empty() && (in_vain == 0 || !left.is_empty()) {
            for path in &left {
                File::options()
                    .write(true)
                    .open(path)
                    .and_then(|file| make_old(&file))
                    .map_err(io_error)?;
            }
            let lock = self.open()?.lock("clean", Wait::at_most(PATIENCE));
            problems.extend(
                lock.and_then(Lock::unlock)
                    .err()
                    .map(|error| format!("the lock is stuck: {error}")),
            );
            let now = self.leftovers().map_err(io_error)?;
            in_vain = if now.len() < left.len() { 0 } else { in_vain + 1 };
            left = now;
        }
        problems.extend(
            left.iter()
                .map(|path| format!("an old leftover file stays: {}", path.display())),
        );
        Ok(problems)
    }
}

/// Makes a file old enough to be cleaned away, if it is a leftover file.
pub(crate) fn make_old(file: &File) -> io::Result<()> {
    file.set_modified(file.metadata()?.modified()? - OLD)
}
