//! Keys that are in a head, or that another program keeps.

use crate::sandbox::{Run, Sandbox, snapshot};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

const PROD: &str = "demo/prod";
const WORDS: &str = "correct horse battery staple";

/// Runs the program on a terminal of its own, and types an answer to each prompt once the terminal no longer echoes.
const ON_A_TERMINAL: &str = r#"
import os, pty, sys, termios, time
program, *answers = sys.argv[1].split("\n")
pid, terminal = pty.fork()
if pid == 0:
    os.execv(program, [program] + sys.argv[2:])
seen = b""
while True:
    try:
        read = os.read(terminal, 1024)
    except OSError:
        break
    if not read:
        break
    seen += read
    if seen.endswith(b": ") and answers:
        while termios.tcgetattr(terminal)[3] & termios.ECHO:
            time.sleep(0.001)
        os.write(terminal, answers.pop(0).encode() + b"\n")
sys.stdout.write(seen.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

/// What the terminal showed is in `out`. `None` without Python.
fn on_a_terminal(sandbox: &Sandbox, answers: &[&str], arguments: &[&str]) -> Option<Run> {
    let environment = sandbox.command(&[]);
    let program = [&[env!("CARGO_BIN_EXE_statectl")], answers].concat().join("\n");
    let run = Command::new("python3")
        .args([&["-c", ON_A_TERMINAL, &program], arguments].concat())
        .current_dir(sandbox.path("."))
        .env_clear()
        .envs(
            environment
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .output();
    match run {
        Ok(output) => Some(Run::of(output)),
        Err(error) => {
            crate::sandbox::skip(&format!("python3: {error}"));
            None
        }
    }
}

fn with_variable(sandbox: &Sandbox, variable: &str, value: &str, arguments: &[&str]) -> Run {
    let mut command = sandbox.command(arguments);
    Run::of(command.env(variable, value).output().unwrap())
}

#[test]
fn passphrase_from_a_file_or_a_command_opens() {
    let sandbox = Sandbox::new();
    sandbox.write("state.json", &snapshot("prod", "first"));
    sandbox.write("words", &format!("{WORDS}\n"));
    sandbox.write("wrong", "swordfish");
    let (file, command) = ("STATECTL_PASSPHRASE_FILE", "STATECTL_PASSPHRASE_COMMAND");
    let push = ["push", PROD, "state.json", "--encrypter", "passphrase"];
    with_variable(&sandbox, file, "words", &push).expect(0);
    let pull = ["pull", PROD, "--encrypter", "passphrase"];
    with_variable(&sandbox, file, "words", &pull).expect(0);
    with_variable(&sandbox, command, &format!("printf '%s' '{WORDS}'"), &pull).expect(0);
    with_variable(&sandbox, file, "wrong", &pull)
        .expect(5)
        .says(&["sealed for passphrase"]);
    with_variable(&sandbox, file, "missing", &pull)
        .expect(1)
        .says(&[file]);
    with_variable(&sandbox, command, "exit 3", &pull)
        .expect(1)
        .says(&[command, "exit status: 3"]);
    // A second write is for the same recipient, with the same salt.
    sandbox.write("state.json", &snapshot("prod", "second"));
    with_variable(&sandbox, file, "words", &push).expect(0);
    let listing = sandbox.document(&["snapshots", PROD]);
    let sealed_for = |at: usize| listing["revisions"][at]["sealed-for"].clone();
    assert_eq!(sealed_for(0), sealed_for(1));
}

#[test]
fn passphrase_without_a_terminal_is_a_usage_error() {
    let sandbox = Sandbox::new();
    sandbox.write("state.json", &snapshot("prod", "first"));
    sandbox
        .run(&["push", PROD, "state.json", "--encrypter", "passphrase"])
        .expect(2)
        .says(&["no terminal", "STATECTL_PASSPHRASE_FILE"]);
    assert!(!sandbox.stack().exists());
}

/// A typing error in the passphrase of a new stack would lock everybody out.
#[test]
fn new_passphrase_is_asked_for_twice_and_never_shown() {
    let sandbox = Sandbox::new();
    sandbox.write("state.json", &snapshot("prod", "first"));
    let push = ["push", PROD, "state.json", "--encrypter", "passphrase"];
    let Some(run) = on_a_terminal(&sandbox, &[WORDS, "something else"], &push) else {
        return;
    };
    assert!(run.out.contains("two passphrases"), "{run:?}");
    assert_eq!(run.code, 2);
    let run = on_a_terminal(&sandbox, &[WORDS, WORDS], &push).unwrap().expect(0);
    assert!(!run.out.contains("correct"), "{run:?}");
    let pull = ["pull", PROD, "--encrypter", "passphrase"];
    let run = on_a_terminal(&sandbox, &[WORDS], &pull).unwrap().expect(0);
    assert_eq!(run.out.matches("assphrase").count(), 1, "{run:?}");
    on_a_terminal(&sandbox, &["swordfish"], &pull).unwrap().expect(5);
}

#[test]
fn passphrase_is_added_to_a_stack_with_its_history() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    sandbox.write("words", WORDS);
    let run = |arguments: &[&str]| with_variable(&sandbox, "STATECTL_PASSPHRASE_FILE", "words", arguments);
    run(&["key", "add", PROD, "passphrase"]).expect(0);
    sandbox.write("state.json", &snapshot("prod", "second"));
    let push = ["push", PROD, "state.json", "--expect", &rev];
    sandbox.run(&push).expect(5).says(&["passphrase", "--also-open"]);
    let second = run(&[&push[..], &["--also-open", "passphrase"]].concat())
        .expect(0)
        .out;
    for rev in [&*rev, second.trim()] {
        run(&["pull", PROD, "--rev", rev, "--encrypter", "passphrase"]).expect(0);
    }
    // Nobody is asked for a passphrase that goes.
    sandbox.run(&["key", "remove", PROD, "passphrase"]).expect(0);
    run(&["pull", PROD, "--encrypter", "passphrase"]).expect(5);
}

#[test]
fn program_seals_and_opens() {
    let sandbox = Sandbox::new();
    let example = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../sdk-encrypt/examples/key_program.py"
    );
    if let Err(error) = Command::new("python3").arg("--version").output() {
        return crate::sandbox::skip(&format!("python3: {error}"));
    }
    fs::copy(example, sandbox.path("program")).unwrap();
    fs::set_permissions(sandbox.path("program"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(sandbox.path("secret"), [7; 32]).unwrap();
    sandbox.write("state.json", &snapshot("prod", "first"));
    let spec = format!("command:{}", sandbox.path("program").display());
    let run = |arguments: &[&str]| {
        let arguments = [arguments, &["--encrypter", &spec]].concat();
        with_variable(&sandbox, "KEY_PROGRAM_FILE", "secret", &arguments)
    };
    run(&["push", PROD, "state.json"]).expect(0);
    run(&["pull", PROD]).expect(0);
    sandbox.write("state.json", &snapshot("prod", "second"));
    fs::remove_file(sandbox.path("secret")).unwrap();
    run(&["push", PROD, "state.json"])
        .expect(1)
        .says(&["program", "failed"]);
    let listing = sandbox.document(&["snapshots", PROD]);
    assert_eq!(listing["revisions"].as_array().unwrap().len(), 1);
}
