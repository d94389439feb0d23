//! `edit`, with programs that edit in place of somebody.

use crate::sandbox::{Run, SECRET, Sandbox, everything_in, snapshot};
use crate::unfinished::{begin, left, revisions};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

const PROD: &str = "demo/prod";
const STATECTL: &str = env!("CARGO_BIN_EXE_statectl");
const CHANGES: &str = "sed -i s/first/second/";
const BREAKS: &str = "sed -i 's/resource.database/&\"/'";
/// Says that it is open, and saves when its input ends.
const WAITS: &str = r#"sh -c 'echo open; read line; sed -i s/first/second/ "$1"' sh"#;

/// The command, with this editor, and with a directory of its own for private files.
fn command(sandbox: &Sandbox, editor: &str, arguments: &[&str]) -> Command {
    fs::create_dir_all(sandbox.path("run")).unwrap();
    let mut command = sandbox.command(arguments);
    command
        .env("EDITOR", editor)
        .env("XDG_RUNTIME_DIR", sandbox.path("run"));
    command
}

fn edit(sandbox: &Sandbox, editor: &str) -> Run {
    Run::of(command(sandbox, editor, &["edit", PROD]).output().unwrap())
}

/// What is left in the directory for private files.
fn drafts(sandbox: &Sandbox) -> Vec<PathBuf> {
    everything_in(&sandbox.path("run"))
        .into_iter()
        .filter(|path| path.is_file())
        .collect()
}

/// Checks that the edit was kept as this one private file, and that the error says where.
#[track_caller]
fn assert_kept(sandbox: &Sandbox, run: Run, text: &str) {
    let drafts = drafts(sandbox);
    assert_eq!(drafts.len(), 1, "{drafts:?}");
    assert!(fs::read_to_string(&drafts[0]).unwrap().contains(text));
    assert_private(&drafts[0]);
    run.says(&[&format!("kept in {}, secrets included", drafts[0].display())]);
}

fn assert_private(file: &Path) {
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(file), mode(file.parent().unwrap())), (0o600, 0o700));
}

fn assert_unchanged(sandbox: &Sandbox, rev: &str) {
    assert_eq!(revisions(sandbox).len(), 1);
    assert_eq!(sandbox.answer(&["current", PROD]), rev);
    assert_eq!(sandbox.document(&["lock-status", PROD])["locked"], false);
}

#[test]
fn edited_snapshot_becomes_current_and_leaves_no_file() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    // Standard output is for the answer.
    let editor = r#"sh -c 'echo noise; sed -i s/first/second/ "$1"' sh"#;
    let run = edit(&sandbox, editor).expect(0);
    assert_eq!(run.out.trim_end(), sandbox.answer(&["current", PROD]));
    run.says(&["noise"]);
    let rows = revisions(&sandbox);
    assert_eq!(
        (&rows[1]["parent"], &rows[1]["message"]),
        (&first.into(), &"edited".into())
    );
    let pulled = sandbox.answer(&["pull", PROD]);
    assert!(pulled.contains("\"second\"") && pulled.contains("18446744073709551616.10"));
    assert_eq!(everything_in(&sandbox.path("run")), [] as [PathBuf; 0]);
    let mut visual = command(&sandbox, "false", &["edit", PROD, "-m", "why"]);
    visual.env("VISUAL", "sed -i s/second/third/");
    Run::of(visual.output().unwrap()).expect(0);
    assert_eq!(revisions(&sandbox)[2]["message"], "why");
}

#[test]
fn edit_that_changes_nothing_stores_nothing() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    // Only the layout differs.
    for editor in ["true", "sed -i 's/^ *//'"] {
        let run = edit(&sandbox, editor).expect(0);
        assert_eq!(run.out.trim_end(), first);
        run.says(&["nothing has changed"]);
        assert_unchanged(&sandbox, &first);
    }
    let json = command(&sandbox, "true", &["edit", PROD, "--json"])
        .output()
        .unwrap();
    assert!(Run::of(json).out.contains("\"written\":false"));
    assert_eq!(drafts(&sandbox), [] as [PathBuf; 0]);
}

#[test]
fn edit_without_a_working_editor_stores_nothing() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    sandbox.run(&["edit", PROD]).expect(2).says(&["VISUAL", "EDITOR"]);
    for (editor, code, said) in [
        ("", 2, "neither VISUAL nor EDITOR"),
        (" ", 2, "EDITOR is no command"),
        ("no-such-editor --wait", 1, "cannot run the editor no-such-editor"),
        ("false", 1, "the editor false failed"),
        (
            r#"sh -c 'sed -i s/first/second/ "$1"; exit 3' sh"#,
            1,
            "exit status: 3",
        ),
    ] {
        let run = edit(&sandbox, editor).expect(code);
        assert_eq!(run.out, "");
        run.says(&[said]);
        assert_unchanged(&sandbox, &first);
        assert_eq!(drafts(&sandbox), [] as [PathBuf; 0], "{editor}");
    }
}

#[test]
fn invalid_edit_is_refused_and_kept() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let run = edit(&sandbox, BREAKS).expect(7);
    assert_eq!(run.out, "");
    let run = run.says(&[&format!("statectl push demo/prod FILE --expect {first}")]);
    assert_kept(&sandbox, run, "resource.database\"");
    assert_unchanged(&sandbox, &first);
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let run = edit(&sandbox, "sed -i s/demo/other/").expect(7);
    assert_kept(&sandbox, run, "other");
    assert_unchanged(&sandbox, &first);
}

/// An `edit` at a terminal, whose editor breaks the document, and mends it if it is broken already.
struct AtTerminal {
    child: Child,
    err: ChildStderr,
    said: String,
    terminal: fs::File,
}

impl AtTerminal {
    fn start(sandbox: &Sandbox) -> Self {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

        sandbox.write("good.json", &snapshot("prod", "second"));
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
        let side = fs::OpenOptions::new().read(true).write(true).open(name).unwrap();
        let mend = r#"echo mending; read line; cp good.json "$1""#;
        let editor =
            format!(r#"sh -c 'if grep -q broken "$1"; then {mend}; else echo broken > "$1"; fi' sh"#);
        let mut child = command(sandbox, &editor, &["edit", PROD])
            .stdin(side)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            err: child.stderr.take().unwrap(),
            child,
            said: String::new(),
            terminal: terminal.into(),
        }
    }

    /// Waits until the program has said this.
    fn wait_for(&mut self, text: &str) {
        while !self.said.contains(text) {
            let mut byte = [0];
            self.err.read_exact(&mut byte).unwrap();
            self.said.push(byte[0].into());
        }
    }

    fn reply(&mut self, line: &str) {
        self.terminal.write_all(line.as_bytes()).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn end(mut self) -> (ExitStatus, Run) {
        self.err.read_to_string(&mut self.said).unwrap();
        let status = self.child.wait().unwrap();
        let run = Run {
            code: status.code().unwrap_or(-1),
            out: String::new(),
            err: self.said,
        };
        (status, run)
    }
}

#[test]
fn invalid_edit_is_edited_again_if_the_operator_wants() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    let mut edit = AtTerminal::start(&sandbox);
    edit.wait_for("edit it again? [y/N]");
    edit.reply("y\n");
    edit.wait_for("mending");
    // It belongs to this editor too.
    edit.signal(Signal::INT);
    edit.reply("\n");
    let (_, run) = edit.end();
    run.expect(0).says(&["error: the snapshot is not valid"]);
    assert!(sandbox.answer(&["pull", PROD]).contains("second"));
    assert_eq!(drafts(&sandbox), [] as [PathBuf; 0]);
}

#[test]
fn invalid_edit_is_kept_if_the_operator_gives_up() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let mut edit = AtTerminal::start(&sandbox);
    edit.wait_for("edit it again? [y/N]");
    edit.reply("n\n");
    let (_, run) = edit.end();
    assert_kept(&sandbox, run.expect(7), "broken");
    assert_unchanged(&sandbox, &first);
}

/// Once the editor is closed, a signal ends the program again.
#[test]
fn interrupt_at_the_question_keeps_the_edit() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let mut edit = AtTerminal::start(&sandbox);
    edit.wait_for("edit it again? [y/N]");
    edit.signal(Signal::INT);
    let (status, run) = edit.end();
    assert_eq!(status.signal(), Some(Signal::INT.as_raw()), "{run:?}");
    let left = drafts(&sandbox);
    assert_eq!(fs::read_to_string(&left[0]).unwrap(), "broken\n");
    run.says(&[&format!("in {}", left[0].display())]);
    assert_unchanged(&sandbox, &first);
}

/// The other writer can write, because nobody holds the lock while the editor is open.
#[test]
fn edit_of_what_is_no_longer_current_is_kept() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    sandbox.write("other.json", &snapshot("prod", "theirs"));
    let push = format!("{STATECTL} push {PROD} other.json --expect {first}");
    let editor = format!(r#"sh -c '{push} && sed -i s/first/mine/ "$1"' sh"#);
    let run = edit(&sandbox, &editor).expect(6);
    assert_eq!(run.out, "");
    let theirs = sandbox.answer(&["current", PROD]);
    let run = run.says(&[
        &format!("expected {first}, found {theirs}"),
        "statectl edit demo/prod",
    ]);
    assert_kept(&sandbox, run, "mine");
    assert!(sandbox.answer(&["pull", PROD]).contains("theirs"));
    assert_eq!(revisions(&sandbox).len(), 2);
}

/// (nothing is lost) Somebody took the lock while the editor was open.
#[test]
fn edit_that_cannot_get_the_lock_is_kept() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let mut open = Open::start(&sandbox);
    let run = begin(&sandbox);
    // At the beginning it is said at once.
    edit(&sandbox, "no-such-editor").expect(4);
    let (status, err) = open.save();
    assert_eq!(status.code(), Some(4), "{err}");
    drop(run);
    let run = Run {
        code: 4,
        out: String::new(),
        err,
    };
    assert_kept(&sandbox, run, "second");
    assert_unchanged(&sandbox, &first);
}

#[test]
fn edit_joins_the_lock_around_it() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    let arguments = ["lock", PROD, "--", STATECTL, "edit", PROD];
    let run = Run::of(command(&sandbox, CHANGES, &arguments).output().unwrap()).expect(0);
    assert_eq!(run.out.trim_end(), sandbox.answer(&["current", PROD]));
    assert!(sandbox.answer(&["pull", PROD]).contains("second"));
}

#[test]
fn changes_of_a_dead_run_are_committed_before_an_edit() {
    let (sandbox, _) = left(2);
    edit(&sandbox, CHANGES)
        .expect(0)
        .says(&["committed 2 unfinished changes of alice on build-7"]);
    assert_eq!(revisions(&sandbox).len(), 3);
    let pulled = sandbox.answer(&["pull", PROD]);
    assert!(pulled.contains("resource.1") && pulled.contains("second"));
}

/// An editor that is open.
struct Open {
    child: Child,
    err: BufReader<ChildStderr>,
}

impl Open {
    fn start(sandbox: &Sandbox) -> Self {
        let mut child = command(sandbox, WAITS, &["edit", PROD])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut err = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while line != "open\n" {
            line.clear();
            assert_ne!(err.read_line(&mut line).unwrap(), 0);
        }
        Self { child, err }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Lets the editor save and end, and waits for both programs.
    fn save(&mut self) -> (ExitStatus, String) {
        drop(self.child.stdin.take());
        let mut err = String::new();
        self.err.read_to_string(&mut err).unwrap();
        assert!(!err.contains(SECRET), "{err}");
        (self.child.wait().unwrap(), err)
    }
}

/// What the editor saves after that is not lost either.
#[test]
fn killed_edit_loses_nothing_and_holds_no_lock() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let mut open = Open::start(&sandbox);
    assert_private(&drafts(&sandbox)[0]);
    open.signal(Signal::KILL);
    open.save();
    assert_unchanged(&sandbox, &first);
    let left = drafts(&sandbox);
    assert!(fs::read_to_string(&left[0]).unwrap().contains("second"));
    assert_private(&left[0]);
    edit(&sandbox, CHANGES).expect(0);
    assert_eq!(drafts(&sandbox), left);
}

/// A terminal sends it to the editor too, which decides what it means.
#[test]
fn interrupt_is_left_to_the_editor() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    let mut open = Open::start(&sandbox);
    open.signal(Signal::INT);
    let (status, err) = open.save();
    assert!(status.success(), "{err}");
    assert!(sandbox.answer(&["pull", PROD]).contains("second"));
    assert_eq!(drafts(&sandbox), [] as [PathBuf; 0]);
}

#[test]
fn termination_ends_the_editor_and_leaves_no_file() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let mut open = Open::start(&sandbox);
    open.signal(Signal::TERM);
    // The editor does not get the end of its input before it has ended.
    let status = open.child.wait().unwrap();
    let (_, err) = open.save();
    assert_eq!(status.code(), Some(1), "{err}");
    assert!(err.contains("signal: 15"), "{err}");
    assert_unchanged(&sandbox, &first);
    assert_eq!(drafts(&sandbox), [] as [PathBuf; 0]);
}
