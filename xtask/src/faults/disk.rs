//! A disk that is full to the last page, or out of inodes, and a limit of the size of files.

use super::report::Report;
use super::{Place, Trouble};
use clap::{Args, ValueEnum};
use localstate::LocalStorage;
use sdk_state::{Created, Error, ErrorKind, Expect, Holder, Revision, StackId, Storage as _, TryLock};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use time::OffsetDateTime;

/// What the shell ends with where a trial is not permitted.
const NOT_PERMITTED: i32 = 77;
const PAGE: usize = 4096;

/// Filesystems in memory, by their options of `mount`.
const DISKS: [&str; 4] = ["size=128k", "size=512k", "size=2m", "size=2m,nr_inodes=40"];
/// Limits of `ulimit -f`, in blocks of 512 bytes: nothing at all, less than a marker, a marker, and a part of a snapshot.
const LIMITS: [u32; 5] = [0, 1, 2, 8, 40];

/// The arguments of the process that runs out of space.
#[derive(Args)]
pub(crate) struct DiskOptions {
    #[arg(long)]
    root: PathBuf,
    #[arg(long)]
    trial: Trial,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Trial {
    /// The root is a small filesystem.
    Full,
    /// The process may make no large file, and what it finds was made before.
    Limited,
}

pub(super) fn try_all(report: &mut Report) {
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

pub(crate) fn run(options: &DiskOptions) -> ExitCode {
    let mut out = io::stdout().lock();
    let told = match try_here(&options.root, options.trial) {
        Ok(watch) => watch.tell(&mut out),
        Err(trouble) => writeln!(out, "broken the trial itself: {trouble}"),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The same process, run by a shell that arranges the trouble before.
fn try_one(name: &str, script: &str, trial: Trial, report: &mut Report) {
    let told = || -> Result<Option<String>, Trouble> {
        let place = Place::new()?;
        fs::create_dir_all(&place.root)?;
        if trial == Trial::Limited {
            Watch::prepare(&place.root)?;
        }
        let trial = trial.to_possible_value().ok_or("a trial without a name")?;
        let output = Command::new("sh")
            .args(["-c", script])
            .arg(std::env::current_exe()?)
            .args(["faults-disk", "--trial", trial.get_name(), "--root"])
            .arg(&place.root)
            .env("ROOT", &place.root)
            .output()?;
        match output.status.code() {
            Some(NOT_PERMITTED) => Ok(None),
            Some(0) => Ok(Some(String::from_utf8(output.stdout)?)),
            _ => Err(format!(
                "it ended with {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            )
            .into()),
        }
    };
    match told() {
        Ok(Some(told)) => {
            let broken: Vec<_> = told
                .lines()
                .filter_map(|line| line.strip_prefix("broken "))
                .collect();
            match broken.as_slice() {
                [] => report.pass(format!("{name}: {}", told.trim())),
                some => report.fail(format!("{name}:\n    {}", some.join("\n    "))),
            }
        }
        Ok(None) => report.skip(format!(
            "{name}: not permitted here; it needs root, or user namespaces and util-linux's unshare"
        )),
        Err(trouble) => report.fail(format!("{name}: {trouble}")),
    }
}

fn try_here(root: &Path, trial: Trial) -> Result<Watch, Trouble> {
    let mut watch = Watch::prepare(root)?;
    match trial {
        Trial::Full => {
            // The filler is a page and an inode a file. With more and more of them free, each change gets further.
            let mut filler = Filler::new(root);
            for free in 0..12 {
                filler.fill()?;
                filler.free(free)?;
                for size in [1, PAGE, 3 * PAGE] {
                    watch.change_everything(&format!("{free} pages free"), size);
                }
            }
            filler.free(usize::MAX)?;
        }
        Trial::Limited => {
            for size in [1, 600, PAGE, 100_000] {
                watch.change_everything("limited", size);
            }
            return Ok(watch);
        }
    }
    let refused = watch.refused;
    watch.change_everything("freed", 3 * PAGE);
    if watch.refused != refused {
        watch.problems.push("it does not go on once space is free".into());
    }
    if refused == 0 {
        watch.problems.push("the disk was never full".into());
    }
    Ok(watch)
}

/// A stack and what should be in it.
struct Watch {
    storage: LocalStorage,
    root: PathBuf,
    expected: BTreeMap<Revision, Vec<u8>>,
    current: Revision,
    next: u32,
    tried: usize,
    refused: usize,
    problems: Vec<String>,
}

impl Watch {
    /// Two snapshots, the first of them current; made where they are missing.
    fn prepare(root: &Path) -> Result<Self, Trouble> {
        let storage = LocalStorage::new(root, StackId::new("faults", "disk")?);
        let (first, second) = (nth(0)?, nth(1)?);
        if storage.list()?.is_empty() {
            for rev in [&first, &second] {
                let Created::Created = storage.create(rev, b"sealed")? else {
                    return Err("somebody else is here".into());
                };
            }
            storage.set_current(Expect::Anything, &first, None)?;
        }
        Ok(Self {
            storage,
            root: root.into(),
            current: first.clone(),
            expected: [(first, b"sealed".to_vec()), (second, b"sealed".to_vec())].into(),
            next: 2,
            tried: 0,
            refused: 0,
            problems: Vec::new(),
        })
    }

    /// Each change once, with a snapshot of `size` bytes. What was added is deleted, which needs no space.
    fn change_everything(&mut self, context: &str, size: usize) {
        let Ok(rev) = nth(self.next) else { return };
        self.next += 1;
        let content = vec![b'x'; size];
        if let Some(Created::Created) = self.note(context, "create", self.storage.create(&rev, &content)) {
            self.expected.insert(rev.clone(), content.clone());
        }
        self.compare(&format!("{context}, create of {size} bytes"));

        let other = self.expected.keys().find(|rev| **rev != self.current).cloned();
        if let Some(other) = other {
            let moved = self
                .storage
                .set_current(Expect::Exactly(Some(&self.current)), &other, None);
            if self.note(context, "set_current", moved).is_some() {
                self.current = other.clone();
            }
            self.compare(&format!("{context}, set_current"));
            if self
                .note(context, "replace", self.storage.replace(&other, &content))
                .is_some()
            {
                self.expected.insert(other, content);
            }
            self.compare(&format!("{context}, replace by {size} bytes"));
        }

        let holder = Holder::new("full", OffsetDateTime::UNIX_EPOCH);
        match self.note(context, "lock", self.storage.try_lock(&holder)) {
            Some(TryLock::Held(lock)) => {
                if let Err(error) = lock.unlock() {
                    self.problems
                        .push(format!("{context}: unlock needs no space: {error}"));
                }
            }
            Some(TryLock::Busy { info, .. }) => self.problems.push(format!("{context}: locked by {info}")),
            None => {}
        }
        self.compare(&format!("{context}, lock"));

        for rev in self.expected.keys().cloned().collect::<Vec<_>>() {
            if rev != self.current && self.expected.len() > 2 {
                match self.storage.remove(&rev, None) {
                    Ok(()) => drop(self.expected.remove(&rev)),
                    Err(error) => self
                        .problems
                        .push(format!("{context}: delete needs no space: {error}")),
                }
            }
        }
        self.compare(&format!("{context}, delete"));
    }

    /// The answer of a change that may fail for want of space, and with nothing else.
    fn note<T>(&mut self, context: &str, change: &str, result: Result<T, Error>) -> Option<T> {
        self.tried += 1;
        match result {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.refused += 1;
                if error.kind() != &ErrorKind::Io || !error.to_string().contains("disk is full") {
                    self.problems.push(format!(
                        "{context}: {change} fails with {:?}: {error}",
                        error.kind()
                    ));
                }
                None
            }
        }
    }

    fn compare(&mut self, context: &str) {
        let listed = self.storage.list().map(|mut listed| {
            listed.sort();
            listed
        });
        if !matches!(&listed, Ok(listed) if listed.iter().eq(self.expected.keys())) {
            self.problems.push(format!(
                "{context}: {listed:?} are stored instead of {:?}",
                self.expected.keys()
            ));
        }
        for (rev, content) in &self.expected {
            if !matches!(self.storage.read(rev, u64::MAX), Ok(read) if read == *content) {
                self.problems.push(format!("{context}: {rev} is lost or changed"));
            }
        }
        let current = self.storage.current();
        if !matches!(&current, Ok(Some(current)) if *current == self.current) {
            self.problems.push(format!(
                "{context}: current is {current:?} instead of {}",
                self.current
            ));
        }
        let stack = self.root.join("faults/disk");
        for directory in [stack.join("snapshots"), stack] {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let name = entry.file_name();
                if name == "lock" || name.as_encoded_bytes().starts_with(b".") {
                    self.problems
                        .push(format!("{context}: {} was left", name.display()));
                }
            }
        }
    }

    fn tell(&self, out: &mut impl io::Write) -> io::Result<()> {
        for problem in &self.problems {
            writeln!(out, "broken {problem}")?;
        }
        writeln!(out, "{} of {} changes refused", self.refused, self.tried)
    }
}

/// Files of one page that take all the space that is left.
struct Filler {
    directory: PathBuf,
    files: usize,
}

impl Filler {
    fn new(root: &Path) -> Self {
        Self {
            directory: root.into(),
            files: 0,
        }
    }

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
