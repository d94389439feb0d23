use crate::sandbox::{Run, Sandbox, snapshot, with_default_signals};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, ChildStdout, ExitStatus, Stdio};

const PROD: &str = "demo/prod";
const STATECTL: &str = env!("CARGO_BIN_EXE_statectl");

/// A `statectl lock` whose command says when it runs, and ends when it is told to.
struct Holding {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Holding {
    fn start(sandbox: &Sandbox) -> Self {
        Self::start_as(
            sandbox,
            &[
                "lock",
                PROD,
                "--create",
                "--",
                "sh",
                "-c",
                "echo held; read line; exit 5",
            ],
        )
    }

    fn start_as(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        let mut command = sandbox.command(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut holding = Self { child, input, output };
        assert_eq!(holding.line(), "held\n");
        holding
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Lets the command end, and waits until everybody who had its output has ended.
    fn release(mut self) -> ExitStatus {
        self.input.write_all(b"\n").unwrap();
        self.output.read_to_end(&mut Vec::new()).unwrap();
        self.child.wait().unwrap()
    }
}

fn liveness(sandbox: &Sandbox) -> Value {
    sandbox.document(&["lock-status", PROD])["holder"]["liveness"].clone()
}

#[test]
fn lock_passes_on_the_exit_code_and_is_free_again() {
    let sandbox = Sandbox::new();
    for (script, code) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -9 $$", 137),
        ("kill -15 $$", 143),
    ] {
        sandbox
            .run(&["lock", PROD, "--create", "--", "sh", "-c", script])
            .expect(code);
        assert_eq!(sandbox.document(&["lock-status", PROD])["locked"], false);
    }
    sandbox.run(&["lock", PROD, "--", "no-such-command"]).expect(127);
    sandbox.write("no-program", "");
    sandbox.run(&["lock", PROD, "--", "./no-program"]).expect(126);
    assert_eq!(sandbox.document(&["lock-status", PROD])["locked"], false);
}

#[test]
fn held_lock_is_4_at_once_or_waited_for() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    let holding = Holding::start(&sandbox);
    sandbox.write("state.json", &snapshot("prod", "second"));
    let push = ["push", PROD, "state.json", "--expect", &rev];
    for arguments in [
        &push[..],
        &["delete", PROD, &rev],
        &["set-current", PROD, &rev],
        &["lock", PROD, "--", "true"],
    ] {
        sandbox.run(arguments).expect(4).says(&[
            "alice",
            "lock",
            "--wait",
            "statectl force-unlock demo/prod",
        ]);
    }
    sandbox.run(&[&push[..], &["--wait", "20ms"]].concat()).expect(4);
    // Reading needs no lock.
    assert_eq!(sandbox.answer(&["current", PROD]), rev);

    let mut command = sandbox.command(&push);
    command
        .env("STATECTL_WAIT", "1m")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut waiting = command.spawn().unwrap();
    let mut said = String::new();
    let mut err = BufReader::new(waiting.stderr.take().unwrap());
    err.read_line(&mut said).unwrap();
    assert!(said.contains("waiting") && said.contains("alice"), "{said}");
    assert_eq!(holding.release().code(), Some(5));
    assert!(waiting.wait().unwrap().success());
}

#[test]
fn interrupt_ends_a_wait_at_once() {
    let sandbox = Sandbox::new();
    let holding = Holding::start(&sandbox);
    let mut command = sandbox.command(&["lock", PROD, "--wait", "1h", "--", "true"]);
    let mut waiting = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(waiting.stderr.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    kill_process(Pid::from_child(&waiting), Signal::INT).unwrap();
    assert_eq!(waiting.wait().unwrap().signal(), Some(2));
    holding.release();
}

#[test]
fn nested_statectl_joins_the_lock_at_any_depth() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    sandbox.write("state.json", &snapshot("prod", "second"));
    let script = format!(
        "{STATECTL} push {PROD} state.json --expect {rev} && \
         {STATECTL} lock {PROD} -- {STATECTL} lock demo/other --create -- {STATECTL} set-current {PROD} {rev} && exit 9"
    );
    let run = sandbox.run(&["lock", PROD, "--", "sh", "-c", &script]).expect(9);
    assert_eq!(run.err, "");
    assert_eq!(sandbox.answer(&["current", PROD]), rev);
    assert_eq!(sandbox.document(&["lock-status", PROD])["locked"], false);
}

/// `PLACE:FACTORY/STACK:TOKEN` of the lock that a command below `lock` finds.
fn announced(sandbox: &Sandbox, root: &str, stack: &str) -> String {
    let print = ["--", "sh", "-c", "printf %s $STATECTL_LOCK"];
    sandbox.answer(&[&["lock", stack, "--create", "--root", root][..], &print].concat())
}

#[test]
fn lock_of_another_stack_or_token_is_not_joined() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    let place = announced(&sandbox, ".unobin/state", PROD);
    let place = place.split(':').next().unwrap();
    let holding = Holding::start(&sandbox);
    let token = sandbox.document(&["lock-status", PROD])["holder"]["token"].clone();
    let token = token.as_str().unwrap();
    let set = |held: &str| {
        let mut command = sandbox.command(&["set-current", PROD, &rev]);
        Run::of(command.env("STATECTL_LOCK", held).output().unwrap())
    };
    set(&format!("{place}:demo/dev:{token}")).expect(4);
    set(&format!("{place}:{PROD}:0123456789abcdef"))
        .expect(1)
        .says(&["no longer holds the lock", "unset STATECTL_LOCK"]);
    set("nonsense").expect(4);
    set(&format!("{place}:{PROD}:{token}")).expect(0);
    holding.release();
}

/// (F11) Under a lock in one store, every change in another store with a stack of that name failed.
#[test]
fn lock_in_one_store_does_not_hinder_another() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    let push = format!("{STATECTL} push {PROD} state.json --root other");
    let run = sandbox.run(&["lock", PROD, "--", "sh", "-c", &push]).expect(0);
    assert_eq!(
        sandbox.answer(&["current", PROD, "--root", "other"]),
        run.out.trim_end()
    );
    assert_eq!(sandbox.answer(&["current", PROD]), rev);
    let variable = announced(&sandbox, "other", PROD);
    assert!(!variable.contains("other") && variable != announced(&sandbox, "third", PROD));
}

/// (N7) Locking a mistyped name left a stack behind that nobody could remove.
#[test]
fn lock_makes_no_unknown_stack_without_create() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    sandbox
        .run(&["lock", "demo/prdo", "--", "touch", "ran"])
        .expect(3)
        .says(&["demo/prdo", "demo/prod", "--create"]);
    assert!(!sandbox.path("ran").exists());
    let stacks = || sandbox.document(&["stacks"])["stacks"].as_array().unwrap().len();
    assert_eq!(stacks(), 1);
    sandbox
        .run(&["lock", "demo/new", "--create", "--", "true"])
        .expect(0);
    assert_eq!(stacks(), 2);
    sandbox.run(&["lock", "demo/new", "--", "true"]).expect(0);
}

#[test]
fn lock_outlives_a_killed_statectl_with_its_command() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    let mut holding = Holding::start(&sandbox);
    holding.signal(Signal::KILL);
    assert_eq!(holding.child.wait().unwrap().signal(), Some(9));
    assert_eq!(liveness(&sandbox), "alive");
    sandbox.run(&["set-current", PROD, &rev]).expect(4);
    holding.release();
    // The command is ending: its handles are closed one after the other.
    sandbox
        .run(&["set-current", PROD, &rev, "--wait", "1m"])
        .expect(0)
        .says(&["took over the lock of alice"]);
}

#[test]
fn signals_reach_the_command() {
    let sandbox = Sandbox::new();
    let sleeper = [
        "lock",
        PROD,
        "--create",
        "--",
        "sh",
        "-c",
        "echo held; exec sleep 60",
    ];
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut holding = Holding::start_as(&sandbox, &sleeper);
        holding.signal(signal);
        assert_eq!(holding.child.wait().unwrap().code(), Some(code));
        assert_eq!(sandbox.document(&["lock-status", PROD])["locked"], false);
    }
    let holding = Holding::start(&sandbox);
    holding.signal(Signal::INT);
    assert_eq!(holding.release().code(), Some(5));
}

#[cfg(target_os = "linux")]
#[test]
fn ignored_hangup_stays_ignored() {
    let sandbox = Sandbox::new();
    let lock = format!("exec {STATECTL} lock {PROD} --create -- sh -c 'kill -HUP $$; exit 5'");
    for (script, code) in [(format!("trap '' HUP; {lock}"), 5), (lock, 129)] {
        let mut command = with_default_signals("sh");
        command.args(["-c", &script]).current_dir(sandbox.path(""));
        Run::of(command.output().unwrap()).expect(code);
    }
}

/// (N6) A command below an evicted lock ended with its own exit code, as if nothing had happened.
#[test]
fn eviction_during_a_command_is_125() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    let second = sandbox.push("second", &[]);
    let evict = format!("{STATECTL} force-unlock {PROD} --token ${{STATECTL_LOCK##*:}} >&2");
    let script = format!("{evict}; {STATECTL} set-current {PROD} {rev} && exit 6; exit 5");
    let run = sandbox
        .run(&["lock", PROD, "--", "sh", "-c", &script])
        .expect(125);
    assert_eq!(sandbox.answer(&["current", PROD]).trim(), second);
    run.says(&[
        "evicted from demo/prod",
        "no longer holds the lock",
        "lost while the command ran",
        "exit code 5",
    ]);
    sandbox.run(&["set-current", PROD, &rev]).expect(0);
    // Also seen from a `lock` that joined the lost one.
    let inner = format!("{STATECTL} lock {PROD} -- sh -c '{evict}'; echo inner $?");
    let run = sandbox.run(&["lock", PROD, "--", "sh", "-c", &inner]).expect(125);
    assert!(run.out.contains("inner 125"), "{}", run.out);
}

/// (F6) When `statectl lock` had been killed, `lock-status` named its pid, which was gone.
#[cfg(target_os = "linux")]
#[test]
fn lock_status_names_the_process_that_keeps_the_lock() {
    let sandbox = Sandbox::new();
    let mut holding = Holding::start(&sandbox);
    let pid = holding.child.id();
    let status = sandbox.document(&["lock-status", PROD]);
    assert_eq!(
        (&status["holder"]["pid"], &status["holder"]["kept-by"]),
        (&pid.into(), &json!([]))
    );
    holding.signal(Signal::KILL);
    holding.child.wait().unwrap();
    let holder = sandbox.document(&["lock-status", PROD])["holder"].clone();
    assert_eq!(holder["liveness"], "alive");
    let kept_by = holder["kept-by"].as_array().unwrap();
    assert!(
        matches!(&kept_by[..], [process] if process["command"] == "sh" && process["pid"] != pid),
        "{holder}"
    );
    let status = sandbox.answer(&["lock-status", PROD]);
    let said = format!(
        "{pid}, which has ended; the lock is still held by {} (sh)",
        kept_by[0]["pid"]
    );
    assert!(status.contains(&said), "{status}");
    holding.release();
}

/// (F6) What the command leaves running has inherited the lock, and does not keep it.
#[test]
fn lock_ends_with_its_command_whatever_that_left_running() {
    let sandbox = Sandbox::new();
    let script = "sleep 600 >/dev/null 2>&1 & echo $!";
    let run = sandbox
        .run(&["lock", PROD, "--create", "--", "sh", "-c", script])
        .expect(0);
    let left: i32 = run.out.trim().parse().unwrap();
    assert_eq!(sandbox.document(&["lock-status", PROD])["locked"], false);
    kill_process(Pid::from_raw(left).unwrap(), Signal::KILL).unwrap();
}

/// (F6) A command that closes inherited files and outlives `statectl lock` does not keep the lock; one that inherits them
/// does. `docs/operators.md` says so.
#[cfg(target_os = "linux")]
#[test]
fn child_that_closes_inherited_files_does_not_keep_the_lock() {
    let sandbox = Sandbox::new();
    let close = "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-";
    let script = format!("{close}; echo held; read line; exit 5");
    let mut holding = Holding::start_as(&sandbox, &["lock", PROD, "--create", "--", "sh", "-c", &script]);
    assert_eq!(liveness(&sandbox), "alive");
    holding.signal(Signal::KILL);
    holding.child.wait().unwrap();
    assert_eq!(liveness(&sandbox), "dead");
    holding.release();
}

#[test]
fn force_unlock_asks_and_spares_another_holder() {
    let sandbox = Sandbox::new();
    let holding = Holding::start(&sandbox);
    let status = sandbox.answer(&["lock-status", PROD]);
    for text in ["is locked", "alice", "alive", "lock", "now"] {
        assert!(status.contains(text), "{status}");
    }
    sandbox
        .run(&["force-unlock", PROD])
        .expect(2)
        .says(&["alice", "--yes", "--token"]);
    sandbox
        .run(&["force-unlock", PROD, "--token", "0123456789abcdef"])
        .expect(4);
    assert_eq!(liveness(&sandbox), "alive");
    let document = sandbox.document(&["force-unlock", PROD, "--yes"]);
    assert_eq!(document["evicted"]["author"], "alice");
    assert_eq!(sandbox.document(&["lock-status", PROD])["locked"], false);
    sandbox
        .run(&["force-unlock", PROD, "--yes"])
        .expect(0)
        .says(&["not locked"]);
    holding.release();
}
