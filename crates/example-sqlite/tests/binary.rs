//! `statectl-sqlite` as an operator uses it: several processes, some of them killed, and files that are no database.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use tempfile::TempDir;

/// An empty directory, with nothing of the user's environment. The database is `state.db` in it.
struct Sandbox(TempDir);

impl Sandbox {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_statectl-sqlite"));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("USER", "alice")
            .env("STATECTL_BACKEND", "sqlite:state.db")
            .stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn run(&self, arguments: &[&str], code: i32) -> (String, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(arguments).output().unwrap();
        let (out, err) = (
            String::from_utf8(stdout).unwrap(),
            String::from_utf8(stderr).unwrap(),
        );
        assert_eq!(status.code(), Some(code), "{arguments:?}: {out}{err}");
        (out.trim_end().to_owned(), err)
    }

    #[track_caller]
    fn answer(&self, arguments: &[&str]) -> String {
        self.run(arguments, 0).0
    }

    /// Pushes a snapshot of demo/prod and returns its revision.
    #[track_caller]
    fn push(&self, note: &str, options: &[&str]) -> String {
        let file = self.path(note);
        fs::write(&file, snapshot(note)).unwrap();
        self.answer(&[&["push", "demo/prod", file.to_str().unwrap()], options].concat())
    }

    /// A process that holds the lock of demo/prod until it is killed.
    fn holder(&self) -> Child {
        let mut child = self
            .command(&["lock", "demo/prod", "--", "sh", "-c", "echo held; exec sleep 600"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "held\n");
        child
    }
}

fn snapshot(note: &str) -> String {
    format!(
        r#"{{"format-version":1,"factory":{{"name":"demo","version":"v1","content-revision":"1"}},"stack":"prod",
        "generated-at":"2026-07-10T12:00:00Z","entries":[{{"address":"resource.database","entry-kind":"leaf",
        "category":"resource","binding":{{"alias":"aws","kind":"database"}},"inputs":{{"note":"{note}"}},
        "outputs":{{}}}}]}}"#
    )
}

/// Pins and the trash need nothing of a backend that it does not have.
#[test]
fn revisions_are_pinned_pruned_and_restored() {
    let sandbox = Sandbox::new();
    let first = sandbox.push("first", &["--expect", "none"]);
    let second = sandbox.push("second", &["--expect", &first]);
    let third = sandbox.push("third", &["--expect", &second]);
    sandbox.answer(&["pin", "demo/prod", &first, "-m", "audit"]);
    sandbox.answer(&["policy", "demo/prod", "--keep-last", "1"]);
    sandbox.run(&["prune", "demo/prod"], 2);
    let pruned = sandbox.answer(&["prune", "--all", "--yes"]);
    assert!(
        pruned.ends_with("demo/prod: 2 kept, 1 to the trash, 0 in the trash, 0 removed"),
        "{pruned}"
    );
    assert_eq!(sandbox.answer(&["restore", "demo/prod", &second]), second);
    sandbox.answer(&["prune", "demo/prod", "--yes", "--now"]);
    let left = sandbox.answer(&["snapshots", "demo/prod"]);
    assert!(
        left.contains(&first) && !left.contains(&second) && left.contains(&third),
        "{left}"
    );
    assert!(!sandbox.answer(&["stacks"]).contains("settings"));
}

/// The commands of a team ask a backend for nothing that the contract does not have.
#[test]
fn a_teams_day_works_on_a_database() {
    let sandbox = Sandbox::new();
    sandbox.answer(&["keygen", "bob"]);
    let first = sandbox.push("first", &[]);
    let second = sandbox.push("second", &["--expect", &first]);
    let run = |arguments: &[&str]| sandbox.answer(&[arguments, &["--encrypter", "age:bob"]].concat());

    sandbox.answer(&["key", "add", "demo/prod", "age:bob"]);
    assert!(run(&["diff", "demo/prod", "@-", "@"]).contains("note"));
    assert!(run(&["log", "demo/prod", "resource.database"]).contains(&second));
    sandbox.answer(&["rekey", "demo/prod", "--deep"]);

    let back = run(&["rollback", "demo/prod", "@-", "-m", "undo", "--yes"]);
    assert!(run(&["show", "demo/prod", "resource.database"]).contains("first"));
    run(&["mv", "demo/prod", "resource.database", "resource.db"]);
    assert!(run(&["graph", "demo/prod"]).contains("resource.db"));
    run(&["stack", "copy", "demo/prod", "demo/copy"]);
    run(&["stack", "rename", "demo/copy", "demo/staging"]);
    assert!(run(&["log", "demo/staging"]).contains(&back));
    run(&["stack", "rm", "demo/staging", "--force", "--yes"]);
    run(&["stack", "restore", "demo/staging"]);
    assert!(run(&["check", "--all"]).contains("nothing is wrong"));
}

/// `check` asks the contract alone, so it works here as in a directory.
#[test]
fn check_finds_damage_in_the_database() {
    let sandbox = Sandbox::new();
    let first = sandbox.push("first", &[]);
    let second = sandbox.push("second", &[]);
    let sound = sandbox.answer(&["check", "--all"]);
    assert_eq!(sound, "demo/prod: 2 revisions, 2 opened: nothing is wrong");
    let database = rusqlite::Connection::open(sandbox.path("state.db")).unwrap();
    let cut = "UPDATE snapshots SET sealed = substr(sealed, 1, length(sealed) - 9) WHERE revision = ?1";
    assert_eq!(database.execute(cut, [&first]).unwrap(), 1);
    database
        .execute("UPDATE pointers SET revision = '?'", [])
        .unwrap();
    let (out, _) = sandbox.run(&["check", "demo/prod"], 5);
    assert!(out.contains(&format!("revision-damaged: {first}: ")), "{out}");
    assert!(
        out.contains("current-damaged: ") && out.contains(&second),
        "{out}"
    );
}

#[test]
fn snapshots_are_pushed_shown_moved_and_deleted() {
    let sandbox = Sandbox::new();
    assert!(sandbox.answer(&["--help"]).contains("statectl"));
    assert_eq!(sandbox.answer(&["stacks"]), "");
    assert!(!sandbox.path("state.db").exists(), "reading makes no database");
    let first = sandbox.push("first", &["--expect", "none"]);
    let second = sandbox.push("second", &["--expect", &first]);
    assert!(
        sandbox
            .answer(&["show", "demo/prod", "resource.database"])
            .contains("second")
    );
    let (_, err) = sandbox.run(&["push", "demo/prod", "first", "--expect", &first], 6);
    assert!(err.contains(&second), "{err}");
    sandbox.answer(&["set-current", "demo/prod", &first]);
    assert!(sandbox.answer(&["pull", "demo/prod"]).contains("first"));
    sandbox.answer(&["delete", "demo/prod", &second]);
    assert!(!sandbox.answer(&["snapshots", "demo/prod"]).contains(&second));
    assert!(sandbox.answer(&["stacks"]).contains("demo/prod"));
    let database = fs::read(sandbox.path("state.db")).unwrap();
    assert!(database.starts_with(b"SQLite format 3\0"));
    assert!(
        !String::from_utf8_lossy(&database).contains("resource.database"),
        "sealed"
    );
}

/// Completions are those of the program's own name and backend.
#[test]
fn stacks_are_completed_and_no_database_is_made() {
    let sandbox = Sandbox::new();
    let offered = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        let output = command.env("STATECTL_COMPLETE", "fish").output().unwrap();
        assert_eq!(output.stderr, b"");
        String::from_utf8(output.stdout).unwrap()
    };
    let words = ["--", "statectl-sqlite", "pull", "demo"];
    assert_eq!(offered(&words), "");
    assert!(!sandbox.path("state.db").exists());
    sandbox.push("first", &[]);
    assert_eq!(offered(&words), "demo/prod\n");
    let words = ["--", "statectl-sqlite", "show", "demo/prod", "res"];
    assert!(offered(&words).starts_with("resource.database\t"));
    let script = sandbox.answer(&["completions", "bash"]);
    assert!(script.contains("_statectl_sqlite statectl-sqlite"), "{script}");
}

#[test]
fn the_lock_excludes_processes_and_frees_itself_at_death() {
    let sandbox = Sandbox::new();
    sandbox.push("first", &[]);
    let mut holder = sandbox.holder();
    let (_, err) = sandbox.run(&["push", "demo/prod", "first"], 4);
    assert!(err.contains("alice"), "{err}");
    assert!(sandbox.answer(&["lock-status", "demo/prod"]).contains("alice"));

    // The lock lasts until the command has ended too.
    let children = format!("/proc/{0}/task/{0}/children", holder.id());
    let child = fs::read_to_string(children).unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
    sandbox.run(&["push", "demo/prod", "first"], 4);
    assert!(
        Command::new("kill")
            .args(["-9", child.trim()])
            .status()
            .unwrap()
            .success()
    );
    let (_, err) = sandbox.run(&["push", "demo/prod", "first", "--wait", "60s"], 0);
    assert!(err.contains("took over the lock of alice"), "{err}");
}

#[test]
fn an_evicted_process_changes_nothing() {
    let sandbox = Sandbox::new();
    let first = sandbox.push("first", &[]);
    let script = r#""$0" force-unlock demo/prod --yes >&2; "$0" push demo/prod first"#;
    let program = env!("CARGO_BIN_EXE_statectl-sqlite");
    sandbox.run(&["lock", "demo/prod", "--", "sh", "-c", script, program], 125);
    assert_eq!(sandbox.answer(&["current", "demo/prod"]), first);
}

/// Eight processes push at once, and half of them are killed at random. What was printed was durable: each revision that a push
/// printed is found.
#[test]
fn nothing_acknowledged_is_lost_when_pushers_are_killed() {
    let sandbox = Sandbox::new();
    sandbox.push("first", &[]);
    let (acknowledged, killed) = thread::scope(|scope| {
        let workers: Vec<_> = (0..8_u32)
            .map(|worker| {
                let sandbox = &sandbox;
                scope.spawn(move || {
                    let (mut acknowledged, mut killed) = (Vec::new(), 0);
                    for turn in 0..8 {
                        // Of its own, since what is current already is not written again.
                        let note = format!("worker-{worker}-turn-{turn}");
                        fs::write(sandbox.path(&note), snapshot(&note)).unwrap();
                        let mut command = sandbox.command(&["push", "demo/prod", &note, "--wait", "120s"]);
                        let mut child = command
                            .stdout(Stdio::piped())
                            .stderr(Stdio::null())
                            .spawn()
                            .unwrap();
                        // From nothing to longer than a push takes without waiting.
                        if turn % 2 == 0 {
                            let _ = sdk_state::Wait::forever()
                                .pause(std::time::Duration::from_millis(u64::from(worker * 7 + turn * 5)));
                            child.kill().unwrap();
                        }
                        let output = child.wait_with_output().unwrap();
                        killed += usize::from(output.status.code().is_none());
                        let printed = String::from_utf8(output.stdout).unwrap();
                        acknowledged.extend(printed.lines().map(|rev| (rev.to_owned(), note.clone())));
                    }
                    (acknowledged, killed)
                })
            })
            .collect();
        let done = workers.into_iter().map(|worker| worker.join().unwrap());
        done.fold(
            (BTreeMap::new(), 0),
            |(mut all, count), (acknowledged, killed)| {
                all.extend(acknowledged);
                (all, count + killed)
            },
        )
    });
    assert!(
        acknowledged.len() >= 32,
        "{} revisions were acknowledged",
        acknowledged.len()
    );
    assert!(killed > 0, "nobody was killed");
    let listed = sandbox.answer(&["snapshots", "demo/prod"]);
    for (rev, note) in &acknowledged {
        assert!(listed.contains(rev), "{rev} is lost");
        let pulled = sandbox.answer(&["pull", "demo/prod", "--rev", rev]);
        assert!(pulled.contains(&format!("\"{note}\"")), "{rev} is not {note}");
    }
    sandbox.answer(&["pull", "demo/prod"]);
    let sound = rusqlite::Connection::open(sandbox.path("state.db")).unwrap();
    let verdict: String = sound
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(verdict, "ok");
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("state.json"), snapshot("first")).unwrap();
    let push = |backend: &str, code: i32, texts: &[&str]| {
        let (_, err) = sandbox.run(&["push", "demo/prod", "state.json", "--backend", backend], code);
        assert!(texts.iter().all(|text| err.contains(text)), "{err}");
        sandbox.run(&["stacks", "--backend", backend], code)
    };
    fs::write(
        sandbox.path("text.db"),
        "no database, but a text that is long enough ".repeat(100),
    )
    .unwrap();
    push("sqlite:text.db", 5, &["text.db", "file is not a database"]);
    assert!(
        fs::read(sandbox.path("text.db"))
            .unwrap()
            .starts_with(b"no database")
    );
    fs::create_dir(sandbox.path("directory.db")).unwrap();
    push("sqlite:directory.db", 1, &["directory.db", "unable to open"]);
    push("sqlite:", 2, &["sqlite:FILE"]);

    // What does not exist is empty, and made by the first write.
    assert_eq!(
        sandbox.answer(&["stacks", "--backend", "sqlite:new/state.db"]),
        ""
    );
    assert!(!sandbox.path("new").exists());
    sandbox.answer(&[
        "push",
        "demo/prod",
        "state.json",
        "--backend",
        "sqlite:new/state.db",
    ]);
    assert!(sandbox.path("new/state.db").exists());
    sandbox.run(&["snapshots", "demo/prod", "--backend", "sqlite::memory:"], 3);
    assert!(!sandbox.path(":memory:").exists());
    sandbox.answer(&["push", "demo/prod", "state.json", "--backend", "sqlite::memory:"]);
    assert!(sandbox.path(":memory:").exists(), "a name like any other");
}

#[test]
fn a_database_that_cannot_be_written_can_be_read() {
    let sandbox = Sandbox::new();
    let first = sandbox.push("first", &[]);
    fs::set_permissions(sandbox.path("state.db"), Permissions::from_mode(0o444)).unwrap();
    assert!(sandbox.answer(&["pull", "demo/prod"]).contains("first"));
    assert_eq!(sandbox.answer(&["current", "demo/prod"]), first);
    // Root writes all the same.
    if fs::File::options()
        .append(true)
        .open(sandbox.path("state.db"))
        .is_err()
    {
        let (_, err) = sandbox.run(&["push", "demo/prod", "first"], 1);
        assert!(err.contains("readonly"), "{err}");
    }
}
