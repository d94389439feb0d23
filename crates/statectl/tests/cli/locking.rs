use crate::sandbox::{Run, Sandbox, snapshot, with_default_signals};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
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
            &["lock", PROD, "--", "sh", "-c", "echo held; read line; exit 5"],
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
fn the_exit_code_of_the_command_is_passed_on_and_the_lock_is_free_again() {
    let sandbox = Sandbox::new();
    for (script, code) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -9 $$", 137),
        ("kill -15 $$", 143),
    ] {
        sandbox
            .run(&["lock", PROD, "--", "sh", "-c", script])
            .expect(code);
        assert_eq!(sandbox.document(&["lock-status", PROD])["locked"], false);
    }
    sandbox.run(&["lock", PROD, "--", "no-such-command"]).expect(127);
    sandbox.write("no-program", "");
    sandbox.run(&["lock", PROD, "--", "./no-program"]).expect(126);
    assert_eq!(sandbox.document(&["lock-status", PROD])["locked"], false);
}

#[test]
fn a_second_one_gets_four_at_once_and_the_lock_when_it_waits() {
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
fn an_interrupt_ends_a_wait_at_once() {
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
fn a_statectl_below_uses_the_lock_above_it_at_any_depth() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    sandbox.write("state.json", &snapshot("prod", "second"));
    let script = format!(
        "{STATECTL} push {PROD} state.json --expect {rev} && \
         {STATECTL} lock {PROD} -- {STATECTL} lock demo/other -- {STATECTL} set-current {PROD} {rev} && exit 9"
    );
    let run = sandbox.run(&["lock", PROD, "--", "sh", "-c", &script]).expect(9);
    assert_eq!(run.err, "");
    assert_eq!(sandbox.answer(&["current", PROD]), rev);
    assert_eq!(sandbox.document(&["lock-status", PROD])["locked"], false);
}

#[test]
fn the_lock_of_another_stack_is_no_lock_and_one_with_another_token_is_lost() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    let holding = Holding::start(&sandbox);
    let token = sandbox.document(&["lock-status", PROD])["holder"]["token"].clone();
    let token = token.as_str().unwrap();
    let set = |held: &str| {
        let mut command = sandbox.command(&["set-current", PROD, &rev]);
        Run::of(command.env("STATECTL_LOCK", held).output().unwrap())
    };
    set(&format!("demo/dev:{token}")).expect(4);
    set(&format!("{PROD}:0123456789abcdef"))
        .expect(1)
        .says(&["no longer held"]);
    set("nonsense").expect(4);
    set(&format!("{PROD}:{token}")).expect(0);
    holding.release();
}

#[test]
fn the_lock_outlives_a_killed_statectl_as_long_as_its_command_runs() {
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
fn what_ends_a_process_is_passed_on_to_the_command_and_an_interrupt_is_left_to_it() {
    let sandbox = Sandbox::new();
    let sleeper = ["lock", PROD, "--", "sh", "-c", "echo held; exec sleep 60"];
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
fn a_hangup_that_the_parent_wants_ignored_is_ignored_by_the_command_too() {
    let sandbox = Sandbox::new();
    let lock = format!("exec {STATECTL} lock {PROD} -- sh -c 'kill -HUP $$; exit 5'");
    for (script, code) in [(format!("trap '' HUP; {lock}"), 5), (lock, 129)] {
        let mut command = with_default_signals("sh");
        command.args(["-c", &script]).current_dir(sandbox.path(""));
        Run::of(command.output().unwrap()).expect(code);
    }
}

#[test]
fn a_command_below_an_evicted_lock_moves_nothing_and_it_is_said_at_the_end() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    let second = sandbox.push("second", &[]);
    let script = format!(
        "{STATECTL} force-unlock {PROD} --token ${{STATECTL_LOCK#*:}} >&2; {STATECTL} set-current {PROD} {rev} && exit 6; exit 5"
    );
    let run = sandbox.run(&["lock", PROD, "--", "sh", "-c", &script]).expect(5);
    assert_eq!(sandbox.answer(&["current", PROD]).trim(), second);
    run.says(&[
        "evicted from demo/prod",
        "that STATECTL_LOCK names is no longer held",
        "could not be given back",
    ]);
    sandbox.run(&["set-current", PROD, &rev]).expect(0);
}

#[test]
fn an_eviction_needs_a_word_and_meets_only_the_holder_that_is_meant() {
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
    assert_eq!(document["evicted"]["who"], "alice");
    assert_eq!(sandbox.document(&["lock-status", PROD])["locked"], false);
    sandbox
        .run(&["force-unlock", PROD, "--yes"])
        .expect(0)
        .says(&["not locked"]);
    holding.release();
}
