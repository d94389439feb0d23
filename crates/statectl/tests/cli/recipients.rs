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

/// The same 32 bytes have two names. What was skipped under the other one was said not to open any more.
#[test]
fn skipped_revision_is_told_under_either_name_of_a_key() {
    let sandbox = Sandbox::new();
    let [theirs, mine] = ["theirs", "mine"].map(|name| sandbox.key(name));
    let bytes = std::fs::read_to_string(sandbox.path("theirs")).unwrap();
    sandbox.write("state.json", &snapshot("prod", "first"));
    let mut push = sandbox.command(&["push", PROD, "state.json", "--encrypter", "env-key:THEIRS"]);
    let first = Run::of(push.env("THEIRS", &bytes).output().unwrap())
        .expect(0)
        .out;
    let keys = ["--encrypter", &mine, "--also-open", &theirs];
    let second = sandbox.push("second", &["--encrypter", &mine, "--new-key"]);
    sandbox
        .run(&[&["key", "add", PROD, &theirs][..], &keys].concat())
        .expect(0);
    sandbox.push("third", &keys);
    let file = sandbox.snapshot_file(&second);
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes
        .windows(11)
        .position(|window| window == b"provenance\"")
        .unwrap();
    let host = at
        + bytes[at..]
            .windows(7)
            .position(|window| window == b"\"tool\":")
            .unwrap()
        + 8;
    bytes[host] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let name = identity(&sandbox, &theirs, "given");
    let remove = ["key", "remove", PROD, &name, "--encrypter", &mine, "--json"];
    let run = sandbox.run(&remove).expect(5);
    let document: Value = serde_json::from_str(&run.out).unwrap();
    let revisions = document["stacks"][0]["removed"][0]["revisions"].to_string();
    assert!(
        revisions.contains(&second) && revisions.contains(first.trim_end()),
        "{document}"
    );
}

/// Every repetition added another salt, and so a recipient, until there were sixteen.
#[test]
fn passphrase_that_is_added_again_stays_one_recipient() {
    let (sandbox, [mine, ..], _) = three();
    sandbox.write("words", "correct horse battery staple");
    let add = ["key", "add", PROD, "passphrase", "--encrypter", &mine];
    let mut recipients = Vec::new();
    for _ in 0..2 {
        let mut command = sandbox.command(&[&add[..], &["--json"]].concat());
        let run = Run::of(command.env("STATECTL_PASSPHRASE_FILE", "words").output().unwrap());
        let document: Value = serde_json::from_str(&run.expect(0).out).unwrap();
        recipients.push(document["stacks"][0]["recipients"].clone());
    }
    assert_eq!(recipients[0].as_array().unwrap().len(), 2);
    assert_eq!(recipients[0], recipients[1]);
}

/// A key service that could no longer wrap left the current revision as it was and changed the whole history.
#[test]
fn history_is_left_alone_if_current_cannot_be_changed() {
    let (sandbox, [mine, yours, new], revisions) = three();
    let last = sandbox.push("last", &["--encrypter", &mine]);
    sandbox
        .run(&["key", "add", PROD, &yours, "--from-now", "--encrypter", &mine])
        .expect(0);
    // The current revision alone is also sealed for a key that is not given.
    let add = ["key", "add", PROD, &new, "--encrypter", &mine];
    sandbox.run(&add).expect(5);
    assert!(
        revisions
            .iter()
            .chain([&last])
            .all(|rev| !opens(&sandbox, rev, &new))
    );
}

#[test]
fn removal_that_was_not_deep_says_how_to_go_on() {
    let (sandbox, [mine, yours, _], _) = three();
    sandbox
        .run(&["key", "add", PROD, &yours, "--encrypter", &mine])
        .expect(0);
    let name = identity(&sandbox, &yours, "given");
    let remove = ["key", "remove", PROD, &name, "--encrypter", &mine];
    sandbox
        .run(&remove)
        .expect(0)
        .says(&["statectl rekey STACK --deep"]);
    sandbox
        .run(&[&remove[..], &["--deep"]].concat())
        .expect(3)
        .says(&["statectl rekey demo/prod --deep"]);
    sandbox
        .run(&["rekey", PROD, "--deep", "--encrypter", &mine])
        .expect(0);
}

/// What follows an old revision is sealed for its recipients, which may be others than those of today.
#[test]
fn move_to_other_recipients_is_told() {
    let (sandbox, [mine, _, new], revisions) = three();
    let set_current = ["set-current", PROD, &revisions[0], "--encrypter", &mine];
    let quiet = sandbox.run(&set_current).expect(0);
    assert!(!quiet.err.contains("recipients"), "{}", quiet.err);
    sandbox
        .run(&["key", "add", PROD, &new, "--from-now", "--encrypter", &mine])
        .expect(0);
    sandbox
        .run(&["set-current", PROD, &revisions[1], "--encrypter", &mine])
        .expect(0)
        .says(&["later snapshots are sealed for the recipients of"]);
}

#[test]
fn version_1_says_whom_it_locks_out() {
    let (sandbox, [mine, ..], _) = three();
    sandbox.write("state.json", &snapshot("prod", "for unobin"));
    let arguments = [
        "push",
        PROD,
        "state.json",
        "--write-v1",
        "--encrypter",
        "env-key:UNOBIN",
        "--also-open",
        &mine,
    ];
    let mut push = sandbox.command(&arguments);
    push.env("UNOBIN", sandbox.answer(&["keygen", "--base64"]));
    let name = identity(&sandbox, &mine, "given");
    Run::of(push.output().unwrap())
        .expect(0)
        .says(&["does not open with", &name]);
}

/// Whoever was to be removed could prevent it: a file of another kind of key with the same fingerprint made the name ambiguous.
#[test]
fn planted_header_does_not_prevent_a_removal() {
    let (sandbox, [mine, yours, _], revisions) = three();
    sandbox
        .run(&["key", "add", PROD, &yours, "--encrypter", &mine])
        .expect(0);
    let name = identity(&sandbox, &yours, "given");
    let sealed = std::fs::read(sandbox.snapshot_file(&revisions[0])).unwrap();
    let kind = b"\"key-file\"";
    let mut planted = sealed;
    for at in 0..planted.len() - kind.len() {
        if planted[at..].starts_with(kind) {
            planted[at..at + kind.len()].copy_from_slice(b"\"no-files\"");
        }
    }
    std::fs::write(sandbox.snapshot_file("2020-01-01T00:00:00Z"), planted).unwrap();
    let run = sandbox
        .run(&["key", "remove", PROD, &name, "--encrypter", &mine])
        .expect(5);
    assert!(run.out.contains("2020-01-01T00:00:00Z"), "{}", run.out);
    for rev in &revisions {
        assert!(opens(&sandbox, rev, &mine) && !opens(&sandbox, rev, &yours));
    }
}
