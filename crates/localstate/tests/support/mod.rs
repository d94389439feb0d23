//! What the tests of this crate share: a tiny document, a storage that is watched, and processes to talk to.

#![allow(dead_code, reason = "each test file uses some of it")]

use localstate::LocalStorage;
use sdk_state::encrypt::Noop;
use sdk_state::{
    Created, Error, Expect, Holder, LockInfo, LockStatus, LockToken, Prefix, Revision, Snapshot, StackId,
    Storage, Store, TryLock,
};
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use time::OffsetDateTime;

pub(crate) const ROOT: &str = "LOCALSTATE_TEST_ROOT";

/// A document that is nothing but its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note(pub(crate) Vec<u8>);

impl Snapshot for Note {
    const PAYLOAD: &'static str = "note";

    fn encode<W: io::Write>(&self, mut out: W) -> Result<(), Error> {
        out.write_all(&self.0).unwrap();
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        Ok(Self(bytes.into()))
    }

    fn check_stack(&self, _: &StackId) -> Result<(), Error> {
        Ok(())
    }
}

pub(crate) fn note(text: impl std::fmt::Display) -> Note {
    Note(text.to_string().into_bytes())
}

/// The text of a note.
pub(crate) fn text(note: &Note) -> &str {
    str::from_utf8(&note.0).unwrap()
}

pub(crate) type NoteStore<S = LocalStorage> = Store<S, Note>;

pub(crate) fn storage(root: &Path) -> LocalStorage {
    LocalStorage::new(root, StackId::new("network", "prod").unwrap())
}

pub(crate) fn store(root: &Path) -> NoteStore {
    Store::new(storage(root), Noop)
}

/// A store whose clock stands still.
pub(crate) fn frozen(root: &Path, now: &str) -> NoteStore {
    let now = moment(now);
    store(root).with_clock(move || now)
}

pub(crate) fn moment(rev: &str) -> OffsetDateTime {
    revision(rev).time().unwrap()
}

pub(crate) fn revision(text: &str) -> Revision {
    text.parse().unwrap()
}

/// The revision of second `n`.
pub(crate) fn nth(n: u32) -> Revision {
    revision(&format!("2026-07-10T12:{:02}:{:02}Z", n / 60, n % 60))
}

pub(crate) fn create(storage: &impl Storage, rev: &Revision) {
    assert_eq!(storage.create(rev, b"sealed").unwrap(), Created::Created);
}

pub(crate) fn holder() -> Holder {
    Holder::new("test", OffsetDateTime::UNIX_EPOCH)
}

pub(crate) fn stack_directory(root: &Path) -> PathBuf {
    root.join("network/prod")
}

pub(crate) fn snapshot_file(root: &Path, rev: &Revision) -> PathBuf {
    stack_directory(root).join(format!("snapshots/{rev}.json.enc"))
}

/// Every name below `directory`, in order.
pub(crate) fn names_below(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            let below = names_below(&entry.path());
            names.extend(below.into_iter().map(|below| format!("{name}/{below}")));
        }
        names.push(name);
    }
    names.sort_unstable();
    names
}

/// The temporaries that lie anywhere below `directory`.
pub(crate) fn litter(directory: &Path) -> Vec<String> {
    let mut names = names_below(directory);
    names.retain(|name| name.rsplit('/').next().is_some_and(|name| name.starts_with('.')));
    names
}

/// A storage that counts what matters to a test.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    pub(crate) inner: S,
    pub(crate) creates: AtomicUsize,
    pub(crate) busy: AtomicUsize,
}

impl<S> Watched<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self {
            inner,
            creates: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
        }
    }

    /// Returns once somebody has found the lock busy through it.
    pub(crate) fn await_waiter(&self) {
        while self.busy.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
    }
}

impl<S: Storage> Storage for Watched<S> {
    fn id(&self) -> &StackId {
        self.inner.id()
    }

    fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error> {
        self.creates.fetch_add(1, Ordering::SeqCst);
        self.inner.create(rev, sealed)
    }

    fn replace(&self, rev: &Revision, sealed: &[u8]) -> Result<(), Error> {
        self.inner.replace(rev, sealed)
    }

    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
        self.inner.read(rev, limit)
    }

    fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
        self.inner.read_prefix(rev, most)
    }

    fn remove(&self, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error> {
        self.inner.remove(rev, held)
    }

    fn list(&self) -> Result<Vec<Revision>, Error> {
        self.inner.list()
    }

    fn current(&self) -> Result<Option<Revision>, Error> {
        self.inner.current()
    }

    fn set_current(&self, expect: Expect<'_>, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error> {
        self.inner.set_current(expect, rev, held)
    }

    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error> {
        let answer = self.inner.try_lock(holder)?;
        if matches!(answer, TryLock::Busy { .. }) {
            self.busy.fetch_add(1, Ordering::SeqCst);
        }
        Ok(answer)
    }

    fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
        self.inner.lock_status()
    }

    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        self.inner.force_unlock(expected)
    }
}

/// The command that runs the ignored test `test` of this file, and nothing else, in a process of its own.
pub(crate) fn process(test: &str, root: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(ROOT, root);
    command
}

/// The same command after `prelude` in a shell, skipped where that is not permitted.
pub(crate) fn after(prelude: &str, command: &Command) -> Command {
    by_shell(&format!("{prelude} || exit 77\nexec \"$0\" \"$@\""), command)
}

/// The same command, run by a script that executes `"$0" "$@"`, or ends with 77 where that is not permitted.
pub(crate) fn by_shell(script: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap());
    }
    shell
}

/// Runs it to its end; false, loudly, when the prelude is not permitted here.
#[allow(clippy::print_stderr, reason = "a step that was skipped must say so")]
pub(crate) fn succeeds(mut command: Command) -> bool {
    let output = command.output().unwrap();
    if output.status.code() == Some(77) {
        eprintln!("SKIPPED, not permitted here: {command:?}");
        return false;
    }
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    true
}

/// What the parent gave a process to work on; `None` where nobody did: somebody runs the ignored tests by hand.
pub(crate) fn given_root() -> Option<PathBuf> {
    std::env::var_os(ROOT).map(PathBuf::from)
}

/// Tells the parent something. The test harness talks on the same line, so it begins with a new one.
pub(crate) fn tell(line: impl AsRef<str>) {
    let mut out = io::stdout().lock();
    // Who killed the reader wants no answer.
    let _ = write!(out, "\n>{}\n", line.as_ref());
    let _ = out.flush();
}

/// Waits until the parent says something, or is gone.
pub(crate) fn hear() {
    let _ = io::stdin().read_line(&mut String::new());
}

/// A process to talk to, which does not outlive the test.
#[derive(Debug)]
pub(crate) struct Partner {
    pub(crate) child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Partner {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdin: child.stdin.take().unwrap(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it tells next; `None` when it has ended.
    pub(crate) fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        while self.stdout.read_line(&mut line).unwrap() > 0 {
            if let Some(told) = line.trim_end().strip_prefix('>') {
                return Some(told.into());
            }
            line.clear();
        }
        None
    }

    pub(crate) fn expect(&mut self, told: &str) {
        assert_eq!(self.hear().as_deref(), Some(told));
    }

    pub(crate) fn tell(&mut self) {
        self.stdin.write_all(b"\n").unwrap();
    }

    /// Kill −9, and how it died: perhaps on its own before.
    pub(crate) fn kill(&mut self) -> ExitStatus {
        self.child.kill().unwrap();
        self.child.wait().unwrap()
    }

    /// Its end, which must be a good one.
    pub(crate) fn end(mut self) {
        while self.hear().is_some() {}
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
