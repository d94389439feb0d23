use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A value that no notice and no error may ever show.
pub(crate) const SECRET: &str = "swordfish-5c1d";

/// An empty directory, with nothing of the user's environment.
pub(crate) struct Sandbox(TempDir);

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// In memory where the system has a directory for that: flushes cost nothing there, and a large history is made at once.
    pub(crate) fn in_memory() -> Self {
        Self(tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap()))
    }

    /// With this snapshot as the current one of demo/prod.
    pub(crate) fn with_snapshot(note: &str) -> (Self, String) {
        let sandbox = Self::new();
        let rev = sandbox.push(note, &["--expect", "none"]);
        (sandbox, rev)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The directory of demo/prod.
    pub(crate) fn stack(&self) -> PathBuf {
        self.path(".unobin/state/demo/prod")
    }

    pub(crate) fn snapshot_file(&self, rev: &str) -> PathBuf {
        self.stack().join(format!("snapshots/{rev}.json.enc"))
    }

    pub(crate) fn default_key(&self) -> PathBuf {
        self.path("config/statectl/key")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = with_default_signals(env!("CARGO_BIN_EXE_statectl"));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("USER", "alice")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments).output().unwrap())
    }

    /// The answer of a command that succeeds.
    pub(crate) fn answer(&self, arguments: &[&str]) -> String {
        self.run(arguments).expect(0).out.trim_end().to_owned()
    }

    /// The document that a command answers with.
    pub(crate) fn document(&self, arguments: &[&str]) -> Value {
        let out = self.answer(&[arguments, &["--format", "json"]].concat());
        serde_json::from_str(&out).unwrap()
    }

    /// Pushes a snapshot of demo/prod with this note in it, and returns what is current then.
    pub(crate) fn push(&self, note: &str, options: &[&str]) -> String {
        self.write("state.json", &snapshot("prod", note));
        self.answer(&[&["push", "demo/prod", "state.json"], options].concat())
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Makes a key file of that name, of 32 bytes, for which only its holder can seal, and returns its SPEC.
    pub(crate) fn key(&self, name: &str) -> String {
        self.run(&["keygen", "--base64", name]).expect(0);
        format!("key-file:{name}")
    }
}

/// The program, with the signals as a terminal gives them. Tests that run in the background, or under `nohup`, have inherited
/// that some are ignored, and a program keeps to that.
pub(crate) fn with_default_signals(program: &str) -> Command {
    const HANGUP_AND_INTERRUPT: u64 = 1 | 1 << 1;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    if ignored.unwrap_or_default() & HANGUP_AND_INTERRUPT == 0 {
        return Command::new(program);
    }
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP,INT", program]);
    command
}

impl Run {
    pub(crate) fn of(output: Output) -> Self {
        let run = Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!run.err.contains(SECRET), "a secret in: {}", run.err);
        assert!(!run.err.contains("panicked"), "{}", run.err);
        run
    }

    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Whether standard error says all of this.
    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.err.contains(text), "{text:?} is missing in {}", self.err);
        }
        self
    }
}

/// A small snapshot of demo/STACK with secrets in it.
pub(crate) fn snapshot(stack: &str, note: &str) -> String {
    json!({
        "format-version": 1,
        "factory": { "name": "demo", "version": "v1", "content-revision": "1" },
        "stack": stack,
        "generated-at": "2026-07-10T12:00:00Z",
        "entries": [
            {
                "address": "resource.database", "entry-kind": "leaf", "category": "resource",
                "binding": { "alias": "aws", "kind": "database" },
                "sensitive-inputs": ["password", "tags.token"], "sensitive-outputs": ["connection"],
                "inputs": { "note": note, "password": SECRET, "tags": { "token": SECRET }, "size": 0 },
                "outputs": { "port": 5432, "connection": format!("db://{SECRET}") },
            },
            {
                "address": "action.migrate", "entry-kind": "action", "category": "action",
                "binding": { "alias": "core", "kind": "command" },
                "inputs": { "argv": [] },
                "depends-on": ["resource.database", "resource.gone"],
            },
        ],
    })
    .to_string()
    // No number that survives a parser of floating points.
    .replace("\"size\":0", "\"size\":18446744073709551616.10")
}

/// Every file and directory below.
pub(crate) fn everything_in(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything_in(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

/// Says that something is not tested here. In CI that is a failure.
#[expect(clippy::print_stderr, reason = "a test that is skipped must say so")]
pub(crate) fn skip(why: &str) {
    assert!(
        !std::env::var("CI").is_ok_and(|ci| ci == "true"),
        "CI must not skip: {why}"
    );
    eprintln!("SKIPPED: {why}");
}

/// Runs a command with this on its standard input.
pub(crate) fn with_input(command: &mut Command, input: &[u8]) -> Run {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    Run::of(child.wait_with_output().unwrap())
}

/// Runs a command that asks at the terminal. Once it has asked, `meanwhile` happens, and then this is typed.
pub(crate) fn at_a_terminal(command: &mut Command, meanwhile: impl FnOnce(), typed: &str) -> Run {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let keyboard = OpenOptions::new().read(true).write(true).open(name).unwrap();
    command
        .stdin(keyboard)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut error = child.stderr.take().unwrap();
    let mut asked = Vec::new();
    let mut byte = [0];
    while !asked.ends_with(b"[y/N] ") && error.read(&mut byte).unwrap() == 1 {
        asked.push(byte[0]);
    }
    meanwhile();
    File::from(terminal).write_all(typed.as_bytes()).unwrap();
    error.read_to_end(&mut asked).unwrap();
    let mut output = child.wait_with_output().unwrap();
    output.stderr = asked;
    Run::of(output)
}
