//! Where statectl finds its store.

use crate::sandbox::{Run, Sandbox, everything_in, snapshot};
use std::fs;
use std::path::Path;

const PROD: &str = "demo/prod";

/// Every command that is about an existing stack. Where no STACK is written, it comes last.
const COMMANDS: &[&str] = &[
    "check",
    "current",
    "delete STACK 2026",
    "diff",
    "edit",
    "force-unlock STACK --yes",
    "graph",
    "key list",
    "key add STACK env-key:NEW",
    "key remove STACK env-key:NEW",
    "list",
    "lock STACK -- true",
    "lock-status",
    "log",
    "mv STACK a b",
    "output",
    "pin STACK @",
    "policy",
    "policy STACK --keep-last 2",
    "prune STACK --keep-last 2 --yes",
    "pull",
    "recover",
    "rekey",
    "restore STACK @",
    "rm STACK a",
    "rollback STACK @- --yes",
    "set-current STACK @",
    "show STACK a",
    "snapshots",
    "stack copy STACK demo/copy",
    "stack rename STACK demo/other",
    "stack rm STACK --yes",
    "unpin STACK @",
];

fn run_in(sandbox: &Sandbox, directory: &str, arguments: &[&str]) -> Run {
    let mut command = sandbox.command(arguments);
    Run::of(command.current_dir(sandbox.path(directory)).output().unwrap())
}

/// Runs one of the `COMMANDS` about this stack.
fn run_about(sandbox: &Sandbox, command: &str, stack: &str) -> Run {
    let command = match command.contains("STACK") {
        true => command.replace("STACK", stack),
        false => format!("{command} {stack}"),
    };
    let words: Vec<&str> = command.split(' ').collect();
    let key = "c3dvcmRmaXNoLXN3b3JkZmlzaC1zd29yZGZpc2gtc3c=";
    let mut command = sandbox.command(&words);
    Run::of(command.env("NEW", key).env("EDITOR", "true").output().unwrap())
}

/// (N5) From a directory below, every stack was unknown, and a push made a second store without a word.
#[test]
fn store_is_found_from_a_directory_below() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    fs::create_dir_all(sandbox.path("modules/network")).unwrap();
    let current = run_in(&sandbox, "modules/network", &["current", PROD]).expect(0);
    assert_eq!(current.out.trim_end(), rev);
    sandbox.write("modules/network/state.json", &snapshot("prod", "second"));
    let push = ["push", PROD, "state.json", "--expect", &rev];
    let pushed = run_in(&sandbox, "modules/network", &push).expect(0);
    assert_eq!(sandbox.answer(&["current", PROD]), pushed.out.trim_end());
    assert!(!sandbox.path("modules/network/.unobin").exists());
    // The nearest one counts, and one that is named comes first.
    sandbox
        .run(&["push", PROD, "state.json", "--root", "modules/.unobin/state"])
        .expect(0);
    let current = run_in(&sandbox, "modules/network", &["current", PROD]).expect(0);
    assert_ne!(current.out, pushed.out);
    let root = ["current", PROD, "--root", "../../.unobin/state"];
    assert_eq!(
        run_in(&sandbox, "modules/network", &root).expect(0).out,
        pushed.out
    );
}

/// (N5) The wrong directory looked like an empty world.
#[test]
fn missing_store_is_told_with_where_it_was_looked_for() {
    let sandbox = Sandbox::new();
    for command in COMMANDS {
        run_about(&sandbox, command, PROD).expect(3).says(&[
            "no store here",
            &sandbox.path("").canonicalize().unwrap().display().to_string(),
            "--root",
            "push demo/prod FILE",
        ]);
    }
    sandbox.run(&["stacks"]).expect(0).says(&["no store here"]);
    assert!(everything_in(&sandbox.path("")).is_empty());
}

/// (N5) A new store and a first snapshot were made silently.
#[test]
fn new_store_and_first_snapshot_are_announced_with_their_place() {
    let sandbox = Sandbox::new();
    let place = sandbox.path("").canonicalize().unwrap().join(".unobin/state");
    let place = format!("local:{}", place.display());
    let push = |stack: &str| {
        sandbox.write("state.json", &snapshot(stack, "first"));
        sandbox
            .run(&["push", &format!("demo/{stack}"), "state.json"])
            .expect(0)
    };
    push("prod").says(&["made a new store", &place, PROD]);
    let dev = push("dev").says(&["first snapshot of demo/dev", &place]);
    assert!(!dev.err.contains("new store"), "{}", dev.err);
    let again = push("dev");
    assert!(!again.err.contains("first snapshot"), "{}", again.err);
}

/// (N5) A mistyped stack was an empty stack.
#[test]
fn mistyped_stack_suggests_the_nearest_name() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    let before = everything_in(&sandbox.path(""));
    for command in COMMANDS {
        run_about(&sandbox, command, "demo/prdo")
            .expect(3)
            .says(&["no stack demo/prdo", "did you mean demo/prod?"]);
    }
    assert_eq!(everything_in(&sandbox.path("")), before);
    let other = sandbox.run(&["pull", "network/staging"]).expect(3);
    assert!(!other.err.contains("did you mean"), "{}", other.err);
}

/// A stack that was locked and never pushed exists.
#[test]
fn stack_without_a_snapshot_is_told_from_an_unknown_one() {
    let sandbox = Sandbox::new();
    sandbox.run(&["lock", PROD, "--create", "--", "true"]).expect(0);
    sandbox
        .run(&["pull", PROD])
        .expect(3)
        .says(&["has no snapshot yet"]);
}

/// A store of another user above the working directory, as anybody can make one in `/tmp`, is not taken unasked.
#[test]
fn store_of_another_user_is_not_taken_unasked() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give a directory away");
        return;
    }
    let nobody = rustix::process::Uid::from_raw(65534);
    rustix::fs::chown(sandbox.path(".unobin/state"), Some(nobody), None).unwrap();
    // Root may take it: it is asked for as a user who is neither the owner nor root.
    let program = sandbox.path("statectl");
    fs::copy(env!("CARGO_BIN_EXE_statectl"), &program).unwrap();
    open_to_all(&sandbox.path(""));
    open_to_all(&sandbox.path(".unobin"));
    open_to_all(&program);
    let script = format!(
        "exec setpriv --reuid 65533 --clear-groups {} current {PROD}",
        program.display()
    );
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script]).current_dir(sandbox.path(""));
    Run::of(shell.output().unwrap())
        .expect(2)
        .says(&["belongs to another user", "--root"]);
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// (contract, rule 6) No address is printed with its password, also where it is not understood.
#[test]
fn address_that_is_not_understood_is_displayed_redacted() {
    let sandbox = Sandbox::new();
    for address in ["nowhere://alice:pa55@db/state", "pa55"] {
        for arguments in [
            &["stacks", "--backend", address][..],
            &["pull", PROD, "--backend", address],
        ] {
            let run = sandbox.run(arguments).expect(2);
            assert!(!run.err.contains("pa55"), "{run:?}");
        }
    }
}
