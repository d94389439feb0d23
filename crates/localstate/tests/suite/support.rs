//! What the tests of this crate share: a tiny document, a backend that is watched, and processes to talk to.

use localstate::LocalBackend;
use sdk_state::encrypt::Noop;
use sdk_state::{
    Appended, Backend, Created, Error, Expect, Holder, Irregularity, Lock, LockInfo, LockStatus, LockToken,
    NoChange, Pointer, Prefix, Revision, Snapshot, StackId, Store, TryLock, WriteOptions,
};
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use time::OffsetDateTime;

/// Long enough for any machine; a test that needs it has failed.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) const ROOT: &str = "LOCALSTATE_TEST_ROOT";

/// A document that is nothing but its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note(pub(crate) Vec<u8>);

impl Snapshot for Note {
    const PAYLOAD: &'static str = "note";
    type Change = NoChange;

    fn fresh(_: &StackId) -> Self {
        Self(Vec::new())
    }

    fn encode(&self) -> Result<Vec<u8>, Error> {
        Ok(self.0.clone())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        Ok(Self(bytes.into()))
    }
}

pub(crate) fn note(text: impl std::fmt::Display) -> Note {
    Note(text.to_string().into_bytes())
}

/// The text of a note.
pub(crate) fn text(note: &Note) -> &str {
    str::from_utf8(&note.0).unwrap()
}

/// Writes a document and makes it current, if what is current is as expected.
pub(crate) fn save<'a, D: Snapshot>(
    store: &Store<D>,
    document: &D,
    message: impl Into<WriteOptions>,
    expect: impl Into<Expect<'a>>,
    token: &LockToken,
) -> Result<Revision, Error> {
    let rev = store.write(document, message)?;
    store.backend().set_current(expect.into(), &rev, token)?;
    Ok(rev)
}

pub(crate) type NoteStore = Store<Note>;

pub(crate) fn backend(root: &Path) -> LocalBackend {
    LocalBackend::new(root, StackId::new("network", "prod").unwrap())
}

pub(crate) fn store(root: &Path) -> NoteStore {
    store_over(backend(root))
}

pub(crate) fn store_over(backend: impl Backend + 'static) -> NoteStore {
    Store::new(backend, Noop).document()
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

pub(crate) fn create(backend: &(impl Backend + ?Sized), rev: &Revision) {
    assert_eq!(backend.create(rev, b"sealed").unwrap(), Created::Created);
}

pub(crate) fn holder() -> Holder {
    Holder::new("test")
}

/// The lock, waited for.
pub(crate) fn lock(root: &Path) -> Box<dyn Lock> {
    store(root).lock("test", LONG).unwrap()
}

/// The lock and its token.
pub(crate) fn lock_and_token(root: &Path) -> (Box<dyn Lock>, LockToken) {
    let lock = lock(root);
    let token = lock.token().unwrap().clone();
    (lock, token)
}

/// Moves `current`, whatever it is, under a lock that is free.
pub(crate) fn point_at(root: &Path, rev: &Revision) -> Result<(), Error> {
    store(root).set_current(rev)
}

/// The revision that `current` names.
pub(crate) fn current(root: &Path) -> Option<Revision> {
    backend(root).current().unwrap().map(|pointer| pointer.revision)
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

/// The leftover temporary files anywhere below `directory`.
pub(crate) fn leftovers(directory: &Path) -> Vec<String> {
    let mut names = names_below(directory);
    names.retain(|name| name.rsplit('/').next().is_some_and(|name| name.starts_with('.')));
    names
}

/// A backend that counts what matters to a test.
#[derive(Debug)]
pub(crate) struct Watched {
    inner: LocalBackend,
    pub(crate) creates: AtomicUsize,
    pub(crate) reads: AtomicUsize,
    pub(crate) prefixes: AtomicUsize,
    pub(crate) busy: AtomicUsize,
}

impl Watched {
    pub(crate) fn new(root: &Path) -> Arc<Self> {
        Arc::new(Self {
            inner: backend(root),
            creates: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
            prefixes: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
        })
    }

    /// Returns once somebody has found the lock busy through it.
    pub(crate) fn await_waiter(&self) {
        let begun = Instant::now();
        while self.busy.load(Ordering::SeqCst) == 0 {
            assert!(begun.elapsed() < LONG, "nobody waits");
            std::thread::yield_now();
        }
    }
}

impl Backend for Watched {
    fn id(&self) -> &StackId {
        self.inner.id()
    }

    fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error> {
        self.creates.fetch_add(1, Ordering::SeqCst);
        self.inner.create(rev, sealed)
    }

    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.read(rev, limit)
    }

    fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
        self.prefixes.fetch_add(1, Ordering::SeqCst);
        self.inner.read_prefix(rev, most)
    }

    fn replace(&self, rev: &Revision, sealed: &[u8], token: &LockToken) -> Result<(), Error> {
        self.inner.replace(rev, sealed, token)
    }

    fn remove(&self, rev: &Revision, token: Option<&LockToken>) -> Result<(), Error> {
        self.inner.remove(rev, token)
    }

    fn list(&self) -> Result<Vec<Revision>, Error> {
        self.inner.list()
    }

    fn inspect(&self) -> Result<Vec<Irregularity>, Error> {
        self.inner.inspect()
    }

    fn current(&self) -> Result<Option<Pointer>, Error> {
        self.inner.current()
    }

    fn set_current(&self, expect: Expect<'_>, rev: &Revision, token: &LockToken) -> Result<Pointer, Error> {
        self.inner.set_current(expect, rev, token)
    }

    fn append(
        &self,
        base: &Pointer,
        index: u64,
        record: &[u8],
        token: &LockToken,
    ) -> Result<Appended, Error> {
        self.inner.append(base, index, record, token)
    }

    fn read_journal(&self, base: &Pointer, from: u64, most: usize) -> Result<Vec<Vec<u8>>, Error> {
        self.inner.read_journal(base, from, most)
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

/// The command that runs the ignored test `test`, such as `locks::process_that_holds`, in a process of its own.
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

/// The same command in a mount namespace of its own, after the script `mounts`, which can use `$LOCALSTATE_TEST_ROOT`, an
/// empty directory of the caller's.
pub(crate) fn with_mounts(mounts: &str, command: &Command) -> Command {
    // As the superuser no user namespace is needed, in which overlays with some options and FUSE are refused.
    let script = format!(
        r#"as_root=$([ "$(id -u)" = 0 ] || echo --map-root-user)
           unshare $as_root --mount true || exit 77
           exec unshare $as_root --mount sh -c 'set -e; {{ {mounts}
           }} || exit 77
           exec "$0" "$@"' "$0" "$@""#
    );
    by_shell(&script, command)
}

/// Runs it to its end; false, loudly, where it is not permitted. In CI nothing is skipped.
#[allow(clippy::print_stderr, reason = "a step that was skipped must say so")]
pub(crate) fn succeeds(mut command: Command) -> bool {
    let output = command.output().unwrap();
    let said = format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    if output.status.code() == Some(77) {
        skip(&format!("not permitted here: {command:?}\n{said}"));
        return false;
    }
    assert!(output.status.success(), "{said}");
    true
}

/// Says that something is not tested here. In CI that is a failure.
#[allow(clippy::print_stderr, reason = "a step that was skipped must say so")]
pub(crate) fn skip(why: &str) {
    assert!(
        !std::env::var("CI").is_ok_and(|ci| ci == "true"),
        "CI must not skip: {why}"
    );
    eprintln!("SKIPPED: {why}");
}

/// The root that the parent gave a process; `None` when somebody runs the ignored tests by hand.
pub(crate) fn given_root() -> Option<PathBuf> {
    std::env::var_os(ROOT).map(PathBuf::from)
}

/// Tells the parent something. The test harness talks on the same line, so it begins with a new one.
pub(crate) fn tell(line: impl AsRef<str>) {
    let mut out = io::stdout().lock();
    // A parent that is gone needs no answer.
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
    pub(crate) fn start(command: Command) -> Self {
        Self::try_start(command).unwrap()
    }

    /// Fails where there is no such program.
    pub(crate) fn try_start(mut command: Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        Ok(Self {
            stdin: child.stdin.take().unwrap(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its next line; `None` when it has ended.
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

/// Runs a command under strace, which logs these system calls with the paths of their handles. `options` can make some
/// fail (`strace(1)`). The log; `None` where there is no strace.
pub(crate) fn traced(command: &Command, calls: &str, options: &[&str]) -> Option<String> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut strace = under_strace(command, log.path(), calls, options);
    match strace.output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout);
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}\n{complaint}");
            Some(fs::read_to_string(log.path()).unwrap())
        }
        Err(error) => {
            skip(&format!("strace: {error}"));
            None
        }
    }
}

/// A process of which a system call waits for two seconds before it begins.
#[derive(Debug)]
pub(crate) struct Slowed {
    pub(crate) partner: Partner,
    log: tempfile::NamedTempFile,
}

impl Slowed {
    /// Starts the command; each `call` waits, or those that `when` selects, such as `6+`. `None` where there is no strace.
    pub(crate) fn start(command: &Command, call: &str, when: &str) -> Option<Self> {
        let log = tempfile::NamedTempFile::new().unwrap();
        let inject = format!("inject={call}:delay_enter=2000000:when={when}");
        match Partner::try_start(under_strace(command, log.path(), call, &["-e", &inject])) {
            Ok(partner) => Some(Self { partner, log }),
            Err(error) => {
                skip(&format!("strace: {error}"));
                None
            }
        }
    }

    /// Returns once a call with this argument waits to begin.
    pub(crate) fn await_call(&self, argument: &str) {
        let begun = Instant::now();
        while !fs::read_to_string(self.log.path()).unwrap().contains(argument) {
            assert!(begun.elapsed() < LONG, "there is no call with {argument}");
            std::thread::yield_now();
        }
    }
}

fn under_strace(command: &Command, log: &Path, calls: &str, options: &[&str]) -> Command {
    let mut strace = Command::new("strace");
    strace
        .args(["--follow-forks", "--decode-fds=path", "-qq", "-o"])
        .arg(log)
        .args(["-e", &format!("trace={calls}")])
        .args(options)
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        strace.env(name, value.unwrap());
    }
    strace
}
