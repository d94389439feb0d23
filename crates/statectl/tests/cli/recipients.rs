//! Who can open a stack, and how that changes (N1, N2).

use crate::sandbox::{Run, Sandbox, snapshot};
use serde_json::Value;
use std::process::Stdio;

const PROD: &str = "demo/prod";

/// Three revisions, sealed for the first of the keys `mine`, `yours` and `new`.
fn three() -> (Sandbox, [String; 3], Vec<String>) {
    let sandbox = Sandbox::new();
    let keys = ["mine", "yours", "new"].map(|name| sandbox.key(name));
    let mut revisions = Vec::new();
    for note in ["first", "second", "third"] {
        revisions.push(sandbox.push(note, &["--encrypter", &keys[0]]));
    }
    (sandbox, keys, revisions)
}

fn opens(sandbox: &Sandbox, rev: &str, key: &str) -> bool {
    let run = sandbox.run(&["pull", PROD, "--rev", rev, "--encrypter", key]);
    assert!([0, 5].contains(&run.code), "{run:?}");
    run.code == 0
}

fn identity(sandbox: &Sandbox, key: &str, which: &str) -> String {
    let listing = sandbox.document(&["key", "list", PROD, "--encrypter", key]);
    let rows = listing["recipients"].as_array().unwrap();
    let mut found = rows.iter().filter(|row| row[which] == true);
    found.next().unwrap()["identity"].as_str().unwrap().to_owned()
}

/// The documented rotation sealed nothing for the new key, and destroying the old one then lost the stack.
#[test]
fn rotation_is_two_commands_and_loses_nothing() {
    let (sandbox, [old, _, new], revisions) = three();
    let old_name = identity(&sandbox, &old, "given");
    sandbox
        .run(&["key", "add", PROD, &new, "--encrypter", &old])
        .expect(0);
    for rev in &revisions {
        assert!(opens(&sandbox, rev, &new) && opens(&sandbox, rev, &old));
    }
    let remove = ["key", "remove", PROD, &old_name, "--deep", "--encrypter", &new];
    let run = sandbox.run(&remove).expect(0);
    assert!(run.out.contains("no revision opens with"), "{}", run.out);
    std::fs::remove_file(sandbox.path("mine")).unwrap();
    for rev in &revisions {
        assert!(opens(&sandbox, rev, &new));
    }
    sandbox.push("fourth", &["--encrypter", &new]);
}

/// A colleague who pushed with her own key locked everybody else out.
#[test]
fn push_with_another_key_keeps_the_recipients() {
    let (sandbox, [mine, yours, _], _) = three();
    sandbox.write("state.json", &snapshot("prod", "hers"));
    let push = [
        "push",
        PROD,
        "state.json",
        "--encrypter",
        &yours,
        "--also-open",
        &mine,
    ];
    let run = sandbox.run(&push).expect(0);
    let rev = run.out.trim_end().to_owned();
    run.says(&["stays sealed for its own recipients", "statectl key add"]);
    assert!(opens(&sandbox, &rev, &mine) && !opens(&sandbox, &rev, &yours));
}

#[test]
fn push_that_cannot_keep_a_recipient_is_refused() {
    let (sandbox, [mine, yours, _], revisions) = three();
    sandbox
        .run(&["key", "add", PROD, &yours, "--encrypter", &mine])
        .expect(0);
    sandbox.write("state.json", &snapshot("prod", "hers"));
    let push = ["push", PROD, "state.json", "--encrypter", &yours];
    sandbox.run(&push).expect(5).says(&[
        "none of the given keys can seal for it",
        "--also-open",
        "statectl key remove",
    ]);
    let listing = sandbox.document(&["snapshots", PROD]);
    assert_eq!(listing["revisions"].as_array().unwrap().len(), revisions.len());
}

#[test]
fn from_now_keeps_the_history_closed() {
    let (sandbox, [mine, _, new], revisions) = three();
    sandbox
        .run(&["key", "add", PROD, &new, "--from-now", "--encrypter", &mine])
        .expect(0);
    let opened: Vec<bool> = revisions.iter().map(|rev| opens(&sandbox, rev, &new)).collect();
    assert_eq!(opened, [false, false, true]);
    let later = sandbox.push("fourth", &["--encrypter", &mine, "--also-open", &new]);
    assert!(opens(&sandbox, &later, &new));
    // A key that is added later does not open the closed part to the other one.
    sandbox
        .run(&["rekey", PROD, "--encrypter", &mine, "--also-open", &new])
        .expect(0);
    assert!(revisions.iter().all(|rev| opens(&sandbox, rev, &new)));
}

#[test]
fn last_recipient_and_the_key_in_hand_are_not_removed() {
    let (sandbox, [mine, yours, _], _) = three();
    let mine_name = identity(&sandbox, &mine, "given");
    let remove = ["key", "remove", PROD, &mine_name, "--encrypter", &mine];
    sandbox.run(&remove).expect(2).says(&["the last recipient"]);
    sandbox
        .run(&["key", "add", PROD, &yours, "--encrypter", &mine])
        .expect(0);
    sandbox.run(&remove).expect(2).says(&["--also-open"]);
    sandbox
        .run(&["key", "remove", PROD, "0000000000000000", "--encrypter", &mine])
        .expect(3)
        .says(&["statectl key list"]);
    // Whoever pastes a key instead of its name must not find it in a log.
    let pasted = sandbox.answer(&["keygen"]);
    for command in ["add", "remove"] {
        let run = sandbox.run(&["key", command, PROD, &pasted, "--encrypter", &mine]);
        assert!(run.code != 0 && !run.err.contains(&pasted), "{run:?}");
    }
}

#[test]
fn revision_that_does_not_open_is_told_and_the_others_are_changed() {
    let (sandbox, [mine, yours, new], revisions) = three();
    sandbox.write("state.json", &snapshot("prod", "another"));
    sandbox
        .run(&["push", PROD, "state.json", "--encrypter", &yours, "--new-key"])
        .expect(0);
    let run = sandbox
        .run(&["key", "add", PROD, &new, "--encrypter", &yours])
        .expect(5);
    assert_eq!(run.out.matches("! ").count(), revisions.len(), "{}", run.out);
    let both = [
        "key",
        "add",
        PROD,
        &new,
        "--encrypter",
        &yours,
        "--also-open",
        &mine,
    ];
    let document = sandbox.document(&both);
    assert_eq!(document["stacks"][0]["changed"], revisions.len());
    assert_eq!(document["stacks"][0]["unchanged"], 1);
}

#[test]
fn every_stack_is_changed_at_once() {
    let sandbox = Sandbox::new();
    let [old, new] = ["old", "new"].map(|name| sandbox.key(name));
    for stack in ["prod", "dev"] {
        sandbox.write("state.json", &snapshot(stack, "first"));
        sandbox
            .run(&[
                "push",
                &format!("demo/{stack}"),
                "state.json",
                "--encrypter",
                &old,
            ])
            .expect(0);
    }
    let document = sandbox.document(&["key", "add", "--all", &new, "--encrypter", &old]);
    assert_eq!(document["stacks"].as_array().unwrap().len(), 2);
    for stack in ["demo/prod", "demo/dev"] {
        sandbox.run(&["pull", stack, "--encrypter", &new]).expect(0);
    }
}

#[test]
fn unfinished_changes_are_committed_before_keys_change() {
    let (sandbox, _, _) = three();
    let listing: Value = sandbox.document(&["lock-status", PROD]);
    assert!(listing["unfinished"].is_null());
    let mine = "key-file:mine";
    let run = sandbox.run(&[
        "lock",
        PROD,
        "--",
        env!("CARGO_BIN_EXE_statectl"),
        "key",
        "add",
        PROD,
        "key-file:new",
        "--encrypter",
        mine,
    ]);
    run.expect(0);
    sandbox
        .run(&["pull", PROD, "--encrypter", "key-file:new"])
        .expect(0);
}

/// Killed at any moment and run again, until it has got through: no revision is lost, and the last run finishes the work.
#[test]
fn killed_rekeying_goes_on_when_it_is_run_again() {
    let (sandbox, [mine, _, new], mut revisions) = three();
    for note in 0..12 {
        revisions.push(sandbox.push(&note.to_string(), &["--encrypter", &mine]));
    }
    sandbox
        .run(&["key", "add", PROD, &new, "--encrypter", &mine])
        .expect(0);
    let old_name = identity(&sandbox, &mine, "given");
    let remove = [
        "key",
        "remove",
        PROD,
        &old_name,
        "--deep",
        "--encrypter",
        &new,
        "--also-open",
        &mine,
        "--wait",
        "20s",
    ];
    let mut kills = 0;
    for pause in 0..40 {
        let mut child = sandbox
            .command(&remove)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::park_timeout(std::time::Duration::from_millis(pause));
        kills += i32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        for rev in revisions.iter().step_by(5) {
            assert!(opens(&sandbox, rev, &new), "{rev} after {pause} ms");
        }
    }
    assert!(kills > 5, "{kills}");
    let run = Run::of(sandbox.command(&remove).output().unwrap());
    assert!(run.code == 0 || run.err.contains("no revision of"), "{run:?}");
    for rev in &revisions {
        assert!(
            opens(&sandbox, rev, &new) && !opens(&sandbox, rev, &mine),
            "{rev}"
        );
    }
}
