//! A disk that is full to the last page, or out of inodes, and a limit of the size of files.

use super::verdict::Contents;
use crate::place::{FACTORY, Line, Note, Place, scratch};
use crate::report::{Report, Trouble};
use crate::task::{Role, words};
use localstate::LocalBackend;
use sdk_state::encrypt::Noop;
use sdk_state::{
    Backend as _, Created, Error, ErrorKind, Expect, Holder, Lock, LockToken, Revision, StackId, Store,
    TryLock, Wait,
};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::Command;

/// What the shell ends with where a trial is not permitted.
const NOT_PERMITTED: i32 = 77;
const PAGE: usize = 4096;

/// Filesystems in memory, by their options of `mount`.
const DISKS: [&str; 4] = ["size=128k", "size=512k", "size=2m", "size=2m,nr_inodes=40"];
/// Limits of `ulimit -f`, in blocks of 512 bytes: nothing at all, less than a marker, a marker, and a part of a snapshot.
const LIMITS: [u32; 5] = [0, 1, 2, 8, 40];

/// The process that runs out of space.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Process {
    place: Place,
    /// Of the lock that the parent holds, if what the process finds was made before.
    token: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trial {
    /// The root is a small filesystem.
    Full,
    /// The process may make no large file, and what it finds was made before.
    Limited,
}

/// What was tried, and what was wrong.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Findings {
    tried: usize,
    refused: usize,
    problems: Vec<String>,
}

pub(super) fn try_all(report: &mut Report<'_>) {
    for disk in DISKS {
        let script = format!(
            r#"unshare -rm true || exit {NOT_PERMITTED}
               exec unshare -rm sh -c 'mount -t tmpfs -o {disk} tmpfs "$ROOT" || exit {NOT_PERMITTED}
                                       exec "$0" "$@"' "$0" "$@""#
        );
        try_one(&format!("a full disk with {disk}"), &script, Trial::Full, report);
    }
    for limit in LIMITS {
        let script = format!(
            r#"trap '' XFSZ && ulimit -f {limit} || exit {NOT_PERMITTED}
               exec "$0" "$@""#
        );
        try_one(
            &format!("files of at most {limit} blocks"),
            &script,
            Trial::Limited,
            report,
        );
    }
}

fn try_one(name: &str, script: &str, trial: Trial, report: &mut Report<'_>) {
    match findings(script, trial) {
        Ok(Some(found)) => {
            let counts = format!("{name}: {} of {} changes refused", found.refused, found.tried);
            report.check(counts, &found.problems);
        }
        Ok(None) => report.skips(format_args!(
            "{name}: not permitted here; it needs root, or user namespaces and util-linux's unshare"
        )),
        Err(trouble) => report.fails(name, &[trouble]),
    }
}

/// Runs the process by a shell that arranges the trouble before; `None` where that is not permitted.
fn findings(script: &str, trial: Trial) -> Result<Option<Findings>, Trouble> {
    let directory = scratch()?;
    let place = Place::new(directory.path().join("root"));
    fs::create_dir_all(place.root())?;
    let lock = match trial {
        Trial::Full => None,
        Trial::Limited => {
            Watch::prepare(&place)?;
            Some(lock(&place.backend()?)?)
        }
    };
    let token = lock
        .as_ref()
        .map(|lock| lock.token())
        .transpose()?
        .map(ToString::to_string);
    let root = place.root().to_owned();
    let mut command = Command::new("sh");
    let process = Process { place, token };
    command
        .args(["-c", script])
        .args(words(&Role::FullDisk(process))?);
    let output = command.env("ROOT", root).output()?;
    match output.status.code() {
        Some(NOT_PERMITTED) => Ok(None),
        Some(0) => Ok(Some(serde_json::from_slice(&output.stdout)?)),
        _ => Err(format!(
            "it ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )
        .into()),
    }
}

/// The process: prints its findings.
pub(crate) fn run(process: &Process) -> Result<(), Trouble> {
    let mut watch = Watch::prepare(&process.place)?;
    match &process.token {
        None => watch.fill_the_disk()?,
        Some(token) => {
            let token = token.parse()?;
            for held in [Some(&token), None] {
                for size in [1, 600, PAGE, 100_000] {
                    watch.change_everything("limited", size, held);
                }
                // To evict the parent needs no space.
                watch.backend.force_unlock(held)?;
            }
        }
    }
    Ok(io::stdout().write_all(&serde_json::to_vec(&watch.findings)?)?)
}

/// A stack and what should be in it.
struct Watch {
    backend: LocalBackend,
    place: Place,
    expected: Contents,
    next: u32,
    findings: Findings,
}

impl Watch {
    /// Two snapshots, the first of them current; made where they are missing.
    fn prepare(place: &Place) -> Result<Self, Trouble> {
        let backend = place.backend()?;
        let (first, second) = (nth(0)?, nth(1)?);
        if backend.list()?.is_empty() {
            for rev in [&first, &second] {
                let Created::Created = backend.create(rev, b"sealed")? else {
                    return Err("somebody else is here".into());
                };
            }
            let lock = lock(&backend)?;
            backend.set_current(Expect::Nothing, &first, lock.token()?)?;
            lock.unlock()?;
        }
        Ok(Self {
            backend,
            place: place.clone(),
            expected: Contents {
                stored: [(first.clone(), b"sealed".to_vec()), (second, b"sealed".to_vec())].into(),
                current: Some(first),
            },
            next: 2,
            findings: Findings::default(),
        })
    }

    /// The filler is a page and an inode a file. With more and more of them free, each change gets further; once under a lock
    /// that was taken before, and once without.
    fn fill_the_disk(&mut self) -> Result<(), Trouble> {
        let mut filler = Filler {
            directory: self.place.root().into(),
            files: 0,
        };
        let mut held = Some(lock(&self.backend)?);
        for _ in 0..2 {
            let token = held.as_ref().map(|lock| lock.token()).transpose()?;
            for free in 0..12 {
                filler.fill()?;
                filler.free(free)?;
                for size in [1, PAGE, 3 * PAGE] {
                    self.change_everything(&format!("{free} pages free"), size, token);
                }
            }
            filler.fill()?;
            if let Some(lock) = held.take() {
                lock.unlock()?;
            }
        }
        filler.free(usize::MAX)?;
        let refused = self.findings.refused;
        self.change_everything("freed", 3 * PAGE, None);
        if self.findings.refused != refused {
            self.problem("it does not go on once space is free");
        }
        if refused == 0 {
            self.problem("the disk was never full");
        }
        self.run_out_of_space(&mut filler)
    }

    /// The disk fills in the middle of a run's puts. Once space is free, the same run goes on, and nothing is lost: what was
    /// acknowledged, and what was delayed.
    fn run_out_of_space(&mut self, filler: &mut Filler) -> Result<(), Trouble> {
        let backend = LocalBackend::new(self.place.root(), StackId::new(FACTORY, "run")?);
        let store: Store<Note> = Store::new(backend, Noop).document();
        let run = store.begin("full", Wait::none())?;
        let mut expected = String::new();
        let mut put = |watch: &mut Self, letter: &str, size| {
            let line = letter.repeat(size);
            expected.push_str(&line);
            expected.push('\n');
            watch.note("a run", "put", run.apply(Line(line))).is_some()
        };
        put(self, "a", 1);
        filler.fill()?;
        // Where the inodes run out, not before the journal is folded.
        let letters = ('b'..'z').map(String::from);
        let refused = letters
            .filter(|letter| !put(self, letter, 100_000))
            .take(3)
            .count();
        if refused == 0 {
            self.problem("the disk was not full for a run");
        }
        filler.free(usize::MAX)?;
        put(self, "z", 1);
        // Where even an empty disk has no room for a journal, everything fits into a revision.
        if self.note("a run", "finish", run.finish(None)).is_none() {
            self.problem("a run does not finish once space is free");
        }
        match store.head()? {
            Some(head) if head.document.0 == expected => {}
            _ => self.problem("a run has lost a change on a full disk"),
        }
        Ok(())
    }

    /// Each change once, with a snapshot of `size` bytes: those that need a token if there is one, otherwise those that do
    /// not. What was added is deleted, which needs no space and no lock.
    fn change_everything(&mut self, context: &str, size: usize, token: Option<&LockToken>) {
        let Ok(rev) = nth(self.next) else { return };
        self.next += 1;
        let content = vec![b'x'; size];
        if let Some(Created::Created) = self.note(context, "create", self.backend.create(&rev, &content)) {
            self.expected.stored.insert(rev, content.clone());
        }
        self.compare(&format!("{context}, create of {size} bytes"));

        match token {
            Some(token) => self.change_under_the_lock(context, &content, token),
            None => match self.note(context, "lock", lock(&self.backend)).map(Lock::unlock) {
                Some(Err(error)) => self.problem(format!("{context}: unlock needs no space: {error}")),
                _ if self.place.lock().exists() => self.problem(format!("{context}: the marker was left")),
                _ => {}
            },
        }

        for rev in self.expected.stored.keys().cloned().collect::<Vec<_>>() {
            if Some(&rev) != self.expected.current.as_ref() && self.expected.stored.len() > 2 {
                match self.backend.remove(&rev, token) {
                    Ok(()) => drop(self.expected.stored.remove(&rev)),
                    Err(error) => self.problem(format!("{context}: delete needs no space: {error}")),
                }
            }
        }
        self.compare(&format!("{context}, delete"));
    }

    fn change_under_the_lock(&mut self, context: &str, content: &[u8], token: &LockToken) {
        let is_other = |rev: &&Revision| Some(*rev) != self.expected.current.as_ref();
        let Some(other) = self.expected.stored.keys().find(is_other).cloned() else {
            return;
        };
        let moved = self
            .backend
            .set_current(self.expected.current.as_ref().into(), &other, token);
        if self.note(context, "set_current", moved).is_some() {
            self.expected.current = Some(other.clone());
        }
        self.compare(&format!("{context}, set_current"));
        if self
            .note(context, "replace", self.backend.replace(&other, content, token))
            .is_some()
        {
            self.expected.stored.insert(other, content.into());
        }
        self.compare(&format!("{context}, replace by {} bytes", content.len()));
    }

    /// The answer of a change that may fail for want of space, and with nothing else.
    fn note<T>(&mut self, context: &str, change: &str, result: Result<T, Error>) -> Option<T> {
        self.findings.tried += 1;
        result
            .map_err(|error| {
                self.findings.refused += 1;
                let says_why = |why| error.to_string().contains(why);
                if error.kind() != &ErrorKind::Io || !(says_why("disk is full") || says_why("ulimit -f")) {
                    self.problem(format!(
                        "{context}: {change} fails with {:?}: {error}",
                        error.kind()
                    ));
                }
            })
            .ok()
    }

    fn compare(&mut self, context: &str) {
        let read = |rev: &Revision| self.backend.read(rev, u64::MAX);
        let mut problems = self
            .expected
            .differences(self.backend.list(), self.backend.current(), read);
        match self.place.leftovers() {
            Ok(leftovers) if leftovers.is_empty() => {}
            leftovers => problems.push(format!("leftover files: {leftovers:?}")),
        }
        for problem in problems {
            self.problem(format!("{context}: {problem}"));
        }
    }

    fn problem(&mut self, problem: impl Into<String>) {
        self.findings.problems.push(problem.into());
    }
}

fn lock(backend: &LocalBackend) -> Result<Box<dyn Lock>, Error> {
    match backend.try_lock(&Holder::new("full"))? {
        TryLock::Held(lock) => Ok(lock),
        TryLock::Busy { status, .. } => Err(Error::locked(status.info)),
    }
}

/// Files of one page that take all the space that is left.
struct Filler {
    directory: PathBuf,
    files: usize,
}

impl Filler {
    fn fill(&mut self) -> io::Result<()> {
        loop {
            let path = self.path(self.files);
            match fs::write(&path, [0; PAGE]) {
                Ok(()) => self.files += 1,
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    // Where the inodes do not run out, the last file is there, and empty.
                    return match fs::remove_file(path) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                        _ => Ok(()),
                    };
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn free(&mut self, pages: usize) -> io::Result<()> {
        for _ in 0..pages.min(self.files) {
            self.files -= 1;
            fs::remove_file(self.path(self.files))?;
        }
        Ok(())
    }

    fn path(&self, number: usize) -> PathBuf {
        self.directory.join(format!("filler-{number}"))
    }
}

/// The revision of second `n`.
fn nth(n: u32) -> Result<Revision, Error> {
    format!("2026-07-10T12:{:02}:{:02}Z", n / 60, n % 60).parse()
}
