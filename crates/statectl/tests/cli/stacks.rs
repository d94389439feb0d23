//! Copies, renames, removes and restores whole stacks. `src/interrupted.rs` interrupts each at every write.

use crate::sandbox::{Run, Sandbox, everything_in, snapshot, with_input};
use localstate::LocalBackend;
use sdk_state::encrypt::KeyFile;
use sdk_state::{Binding, Category, Entry, EntryKind, Snapshot as _, State, Store, Wait};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

const PROD: &str = "demo/prod";
const NEW: &str = "demo/new";
const STATECTL: &str = env!("CARGO_BIN_EXE_statectl");
/// A store that unobin wrote, and its key.
const UNOBIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/root");
const UNOBIN_KEY: &str = include_str!("../data/key.base64");

/// What `snapshots` says about each revision, but for the size.
fn history(sandbox: &Sandbox, arguments: &[&str]) -> Vec<Value> {
    let listing = sandbox.document(&[&["snapshots"], arguments].concat());
    let mut revisions = listing["revisions"].as_array().unwrap().clone();
    for revision in &mut revisions {
        revision.as_object_mut().unwrap().remove("stored-bytes");
        revision.as_object_mut().unwrap().remove("length");
    }
    revisions
}

fn names(sandbox: &Sandbox, arguments: &[&str]) -> Vec<String> {
    let listing = sandbox.document(&[&["stack", "list"], arguments].concat());
    let stacks = listing["stacks"].as_array().unwrap();
    let names = stacks.iter().map(|row| row["stack"].as_str().unwrap().to_owned());
    names.collect()
}

fn store(sandbox: &Sandbox, name: &str) -> Store {
    let backend = LocalBackend::new(sandbox.path(".unobin/state"), name.parse().unwrap());
    Store::new(backend, KeyFile::open_any(sandbox.default_key()).unwrap())
}

/// demo/prod with three revisions, and one that was never current.
fn with_history() -> Sandbox {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    sandbox.push("second", &["--message", "open port 443"]);
    sandbox.push("third", &["--message", "close it"]);
    let orphan = State::decode(snapshot("prod", "orphan").as_bytes()).unwrap();
    store(&sandbox, PROD)
        .write(&orphan, "saved by an evicted run")
        .unwrap();
    sandbox
}

#[test]
fn copy_keeps_the_history_under_another_name() {
    let sandbox = with_history();
    sandbox.run(&["pin", PROD, "@", "--message", "audit"]).expect(0);
    let before = history(&sandbox, &[PROD]);
    let answer = sandbox.document(&["stack", "copy", PROD, NEW]);
    assert_eq!(
        (&answer["revisions"], &answer["copied"], &answer["settings"]),
        (&4.into(), &4.into(), &true.into())
    );
    assert_eq!(history(&sandbox, &[NEW]), before);
    assert_eq!(history(&sandbox, &[PROD]), before);
    assert_eq!(before.iter().filter(|row| row["current"] == true).count(), 1);
    for row in before {
        let rev = row["revision"].as_str().unwrap();
        let copied = sandbox.answer(&["pull", NEW, "--rev", rev]);
        let expected = sandbox.answer(&["pull", PROD, "--rev", rev]);
        assert_eq!(copied, expected.replace("\"prod\"", "\"new\""));
    }
    // It is a stack like any other.
    sandbox.write("state.json", &snapshot("new", "fourth"));
    sandbox.run(&["push", NEW, "state.json"]).expect(0);
}

#[test]
fn copy_goes_to_another_place() {
    let sandbox = with_history();
    let there = ["--root", "backup"];
    let copy = ["stack", "copy", PROD, PROD, "--to-root", "backup"];
    sandbox.run(&copy).expect(0);
    let copied = history(&sandbox, &[&[PROD][..], &there].concat());
    assert_eq!(copied, history(&sandbox, &[PROD]));
    let again = sandbox.document(&copy);
    assert_eq!((&again["revisions"], &again["copied"]), (&4.into(), &0.into()));
    let address = format!("local:{}", sandbox.path("backup").display());
    sandbox
        .run(&["stack", "copy", PROD, NEW, "--to", &address])
        .expect(0);
    assert_eq!(names(&sandbox, &there), [NEW, PROD]);
}

#[test]
fn copy_commits_unfinished_changes_first() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let run = store(&sandbox, PROD).begin("apply", Wait::none()).unwrap();
    let binding = Binding::new("aws", "subnet");
    run.put(Entry::new(
        "resource.last",
        EntryKind::Leaf,
        Category::Resource,
        binding,
    ))
    .unwrap();
    drop(run);
    sandbox.run(&["stack", "copy", PROD, NEW]).expect(0);
    assert!(sandbox.answer(&["list", NEW]).contains("resource.last"));
    assert_ne!(sandbox.answer(&["current", PROD]), first);
    assert_eq!(
        sandbox.answer(&["current", PROD]),
        sandbox.answer(&["current", NEW])
    );
}

#[test]
fn documents_of_other_types_are_copied_byte_for_byte() {
    let sandbox = Sandbox::new();
    let plan = b"a plan \xff\x00 of two steps";
    with_input(
        &mut sandbox.command(&["push", PROD, "-", "--payload", "plan"]),
        plan,
    )
    .expect(0);
    sandbox.run(&["stack", "copy", PROD, NEW]).expect(0);
    let pulled = sandbox.command(&["pull", NEW, "--raw"]).output().unwrap();
    assert_eq!(pulled.stdout, plan);
    sandbox.run(&["stack", "rm", NEW, "--yes"]).expect(1).says(&[
        "demo/new may record resources: its current document is of type plan",
        "--force",
    ]);
}

#[test]
fn files_of_unobin_are_copied_as_files_of_this_project() {
    let sandbox = Sandbox::new();
    copy_directory(Path::new(UNOBIN), &sandbox.path("root"));
    let run = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command
            .env("UB_STATE_KEY", UNOBIN_KEY.trim())
            .env("STATECTL_ROOT", sandbox.path("root"))
            .env("STATECTL_ENCRYPTER", "env-key:UB_STATE_KEY");
        Run::of(command.output().unwrap())
    };
    let copy = ["stack", "copy", "network/prod", "network/new"];
    run(&copy).expect(5).says(&["--accept-v1"]);
    assert!(!sandbox.path("root/network/new").exists());
    let accepted = [&copy[..], &["--accept-v1"]].concat();
    // A name that this project never writes.
    run(&accepted)
        .expect(7)
        .says(&["`statectl delete network/prod not-a-revision`"]);
    run(&["delete", "network/prod", "not-a-revision"]).expect(0);
    run(&accepted).expect(0);
    let pulled = run(&["pull", "network/new"]).expect(0);
    assert!(pulled.out.contains("\"stack\": \"new\"") || pulled.out.contains("\"stack\":\"new\""));
    assert!(!run(&["snapshots", "network/new"]).out.contains("version 1"));
}

/// Colons, which no name in a package of cargo's can hold, are written as `%3A` there.
fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap().to_str().unwrap().replace("%3A", ":"));
        match path.is_dir() {
            true => copy_directory(&path, &to),
            false => fs::copy(&path, to).map(drop).unwrap(),
        }
    }
}

#[test]
fn existing_stack_is_no_destination_and_stays_as_it_is() {
    let sandbox = with_history();
    sandbox.write("state.json", &snapshot("new", "another one"));
    sandbox.run(&["push", NEW, "state.json"]).expect(0);
    let before = everything_in(&sandbox.path(".unobin/state"));
    for command in ["copy", "rename"] {
        sandbox.run(&["stack", command, PROD, NEW]).expect(1).says(&[
            "demo/new exists, and is no unfinished copy",
            "nothing was changed",
        ]);
    }
    let after = everything_in(&sandbox.path(".unobin/state"));
    let of_stack = |files: &[std::path::PathBuf]| {
        let files = files
            .iter()
            .filter(|file| file.to_string_lossy().contains("snapshots"));
        files.cloned().collect::<Vec<_>>()
    };
    assert_eq!(of_stack(&after), of_stack(&before));
}

/// Equal names do not make two stacks the same.
#[test]
fn destination_with_another_document_of_that_name_is_refused() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    // After what is current, as every revision is named.
    let then = time::OffsetDateTime::UNIX_EPOCH + time::Duration::days(300_000);
    for (name, stack, note) in [(PROD, "prod", "ours"), (NEW, "new", "theirs")] {
        let document = State::decode(snapshot(stack, note).as_bytes()).unwrap();
        let rev = store(&sandbox, name)
            .with_clock(move || then)
            .write(&document, "same moment")
            .unwrap();
        assert_eq!(rev.time(), Some(then));
    }
    sandbox
        .run(&["stack", "copy", PROD, NEW])
        .expect(1)
        .says(&["demo/new has another document under this name"]);
    assert_eq!(store(&sandbox, NEW).list().unwrap().len(), 1);
}

/// The copy is not made to follow what happened to the source since: it may be in use.
#[test]
fn rename_refuses_if_both_stacks_were_used_since() {
    let sandbox = with_history();
    sandbox.run(&["stack", "copy", PROD, NEW]).expect(0);
    let (copied, went_on) = (
        sandbox.answer(&["current", NEW]),
        sandbox.push("fifth", &["--message", "since"]),
    );
    sandbox.run(&["stack", "rename", PROD, NEW]).expect(1).says(&[
        &copied,
        &went_on,
        "statectl stack rm demo/new",
    ]);
    assert_eq!(sandbox.answer(&["current", PROD]), went_on);
    assert_eq!(sandbox.answer(&["current", NEW]), copied);
}

#[test]
fn damaged_revision_is_named_and_nothing_is_removed() {
    let sandbox = with_history();
    let first = history(&sandbox, &[PROD])[0]["revision"]
        .as_str()
        .unwrap()
        .to_owned();
    let file = sandbox.snapshot_file(&first);
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    for arguments in [
        &["stack", "rename", PROD, NEW][..],
        &["stack", "rm", PROD, "--force", "--yes"],
    ] {
        sandbox
            .run(arguments)
            .expect(5)
            .says(&[&format!("`statectl delete {PROD} {first}`")]);
        assert!(names(&sandbox, &[]).contains(&PROD.to_owned()));
    }
    sandbox.run(&["pull", PROD]).expect(0);
}

#[test]
fn key_that_cannot_seal_for_a_recipient_leaves_no_copy() {
    let sandbox = Sandbox::new();
    let (one, two) = (sandbox.key("one"), sandbox.key("two"));
    sandbox.push("first", &["--encrypter", &one, "--encrypter", &two]);
    sandbox
        .run(&["stack", "copy", PROD, NEW, "--encrypter", &one])
        .expect(5)
        .says(&["--also-open"]);
    assert_eq!(names(&sandbox, &["--all"]), [PROD]);
    let both = ["--encrypter", &one, "--also-open", &two];
    sandbox
        .run(&[&["stack", "copy", PROD, NEW][..], &both].concat())
        .expect(0);
    sandbox.run(&["pull", NEW, "--encrypter", &two]).expect(0);
}

#[test]
fn wrong_names_are_refused() {
    let sandbox = with_history();
    let trash = "demo/prod.trash-20260710T120000Z";
    for (code, arguments, said) in [
        (3, &["copy", "demo/prdo", NEW][..], "did you mean demo/prod"),
        (3, &["rename", "demo/prdo", NEW], "did you mean demo/prod"),
        (3, &["rm", "demo/prdo", "--yes"], "did you mean demo/prod"),
        (
            3,
            &["restore", "demo/other"],
            "there is no demo/other in the trash",
        ),
        (2, &["copy", PROD, PROD], "both names are demo/prod"),
        (2, &["rename", PROD, PROD], "both names are demo/prod"),
        (2, &["rename", PROD, trash], "a name in the trash"),
        (2, &["copy", PROD, "demo/x+settings"], "the settings of demo/x"),
        (2, &["rm", PROD], "pass --yes"),
        (7, &["copy", PROD, "demo/../x"], "not allowed"),
    ] {
        let arguments = [&["stack"], arguments].concat();
        sandbox.run(&arguments).expect(code).says(&[said]);
    }
    assert_eq!(names(&sandbox, &["--all"]), [PROD]);
}

#[test]
fn stack_without_a_snapshot_has_nothing_to_copy() {
    let sandbox = with_history();
    sandbox
        .run(&["lock", "demo/ghost", "--create", "--", "true"])
        .expect(0);
    for command in ["copy", "rename"] {
        sandbox
            .run(&["stack", command, "demo/ghost", NEW])
            .expect(3)
            .says(&["demo/ghost has no snapshot yet"]);
    }
    let answer = sandbox.document(&["stack", "rm", "demo/ghost", "--yes"]);
    assert!(answer["trash"].is_null());
    assert_eq!(names(&sandbox, &["--all"]), [PROD]);
}

#[test]
fn rm_refuses_while_resources_are_recorded() {
    let sandbox = with_history();
    for now in [&[][..], &["--now"]] {
        sandbox
            .run(&[&["stack", "rm", PROD, "--yes"], now].concat())
            .expect(1)
            .says(&["demo/prod still records 2 entries", "--force"]);
    }
    let empty = snapshot("prod", "x");
    let mut empty: Value = serde_json::from_str(&empty).unwrap();
    empty["entries"] = Value::Array(Vec::new());
    sandbox.write("state.json", &empty.to_string());
    sandbox.run(&["push", PROD, "state.json"]).expect(0);
    sandbox.run(&["stack", "rm", PROD, "--yes"]).expect(0);
    assert_eq!(names(&sandbox, &[]), Vec::<String>::new());
}

#[test]
fn removed_stack_is_in_the_trash_until_it_is_restored() {
    let sandbox = with_history();
    let before = history(&sandbox, &[PROD]);
    let answer = sandbox.document(&["stack", "rm", PROD, "--force", "--yes"]);
    let trash = answer["trash"].as_str().unwrap().to_owned();
    assert!(trash.starts_with("demo/prod.trash-2"), "{trash}");
    sandbox.run(&["pull", PROD]).expect(3);
    assert_eq!(names(&sandbox, &[]), Vec::<String>::new());
    assert_eq!(names(&sandbox, &["--all"]), [trash.as_str()]);
    let listed = sandbox.document(&["stack", "list", "--all"]);
    assert!(listed["stacks"][0]["trashed"].is_string());
    assert!(
        sandbox
            .answer(&["stack", "list", "--all"])
            .contains("in the trash since 2")
    );

    sandbox
        .run(&["stack", "rm", &trash, "--yes"])
        .expect(2)
        .says(&["--now"]);
    sandbox.run(&["stack", "restore", PROD]).expect(0);
    assert_eq!(history(&sandbox, &[PROD]), before);
    assert_eq!(names(&sandbox, &["--all"]), [PROD]);
}

#[test]
fn restore_asks_which_if_a_name_is_in_the_trash_twice() {
    let sandbox = with_history();
    let remove = || {
        let answer = sandbox.document(&["stack", "rm", PROD, "--force", "--yes"]);
        answer["trash"].as_str().unwrap().to_owned()
    };
    let first = remove();
    // Within the same second, in most cases.
    sandbox.push("anew", &["--new-key"]);
    let second = remove();
    sandbox
        .run(&["stack", "restore", PROD])
        .expect(2)
        .says(&[&first, &second]);
    sandbox.run(&["stack", "restore", &first]).expect(0);
    assert_eq!(history(&sandbox, &[PROD]).len(), 4);
}

#[test]
fn rm_removes_what_was_in_the_trash_for_a_week() {
    let sandbox = with_history();
    let trash = |name: &str| sandbox.path(".unobin/state/demo").join(name);
    for name in ["old.trash-20200101T000000Z", "old.trash-99990101T000000Z"] {
        copy_directory(&sandbox.stack(), &trash(name));
    }
    let old = "demo/old.trash-20200101T000000Z";
    sandbox
        .run(&["lock", "demo/ghost", "--create", "--", "true"])
        .expect(0);
    // Somebody is restoring it.
    let rm = [STATECTL, "stack", "rm", "demo/ghost", "--yes"];
    sandbox.run(&[&["lock", old, "--"], &rm[..]].concat()).expect(0);
    assert!(names(&sandbox, &["--all"]).contains(&old.to_owned()));
    sandbox.run(&["prune", "--all", "--dry-run"]).expect(0);
    let answer = sandbox.document(&["stack", "rm", PROD, "--force", "--now", "--yes"]);
    assert_eq!(answer["expired"], serde_json::json!([old]));
    fs::create_dir(trash("old.trash-20200101T000000Z")).unwrap();
    sandbox.run(&["prune", "--all", "--yes"]).expect(0).says(&[old]);
    assert_eq!(names(&sandbox, &["--all"]), ["demo/old.trash-99990101T000000Z"]);
}

/// A lost key or a damaged `current` must not keep a stack for ever.
#[test]
fn rm_now_by_force_needs_no_key() {
    let sandbox = with_history();
    fs::remove_file(sandbox.default_key()).unwrap();
    sandbox
        .run(&["stack", "rm", PROD, "--yes"])
        .expect(5)
        .says(&["--now --force"]);
    fs::write(sandbox.stack().join("current"), "?").unwrap();
    sandbox
        .run(&["stack", "rm", PROD, "--force", "--now", "--yes"])
        .expect(0);
    assert_eq!(names(&sandbox, &["--all"]), Vec::<String>::new());
}

#[test]
fn copy_joins_a_lock_and_rename_says_that_it_cannot() {
    let sandbox = with_history();
    let under_lock =
        |arguments: &[&str]| sandbox.run(&[&["lock", PROD, "--", STATECTL, "stack"], arguments].concat());
    under_lock(&["copy", PROD, NEW]).expect(0);
    under_lock(&["rename", PROD, "demo/other"])
        .expect(2)
        .says(&["demo/prod cannot be removed under its own `statectl lock`"]);
    under_lock(&["rm", PROD, "--force", "--yes"]).expect(2);
    assert_eq!(names(&sandbox, &["--all"]), [NEW, PROD]);
}

#[test]
fn locked_stack_is_neither_copied_nor_removed() {
    let sandbox = with_history();
    let run = store(&sandbox, PROD).begin("apply", Wait::none()).unwrap();
    for arguments in [
        &["copy", PROD, NEW][..],
        &["rename", PROD, NEW],
        &["rm", PROD, "--force", "--yes"],
        &["rm", PROD, "--force", "--now", "--yes"],
    ] {
        sandbox.run(&[&["stack"], arguments].concat()).expect(4);
    }
    drop(run);
    assert_eq!(names(&sandbox, &["--all"]), [PROD]);
}

#[test]
fn settings_of_a_stack_are_not_listed() {
    let sandbox = with_history();
    sandbox.run(&["pin", PROD, "@", "--message", "audit"]).expect(0);
    assert_eq!(names(&sandbox, &["--all"]), [PROD]);
    assert_eq!(
        sandbox.document(&["stacks"]),
        sandbox.document(&["stack", "list"])
    );
}

/// Kills each command with SIGKILL after longer and longer times, until it is done before.
#[test]
fn killed_commands_lose_nothing_and_are_completed() {
    let sandbox = with_history();
    for number in 0..12 {
        let message = format!("revision {number}");
        sandbox.push(&message, &["--message", &message]);
    }
    let expected: Vec<Value> = history(&sandbox, &[PROD]);
    let holds_all = |name: &str| {
        let run = sandbox.run(&["snapshots", name, "--json"]);
        let listing: Value = serde_json::from_str(&run.out).unwrap_or_default();
        let found = listing["revisions"].as_array().cloned().unwrap_or_default();
        expected
            .iter()
            .all(|row| found.iter().any(|there| there["revision"] == row["revision"]))
            && sandbox.run(&["current", name]).code == 0
    };
    let mut kills = 0;
    for (there, back) in [
        (
            &["stack", "rename", PROD, NEW][..],
            &["stack", "rename", NEW, PROD][..],
        ),
        (
            &["stack", "rm", PROD, "--force", "--yes"],
            &["stack", "restore", PROD],
        ),
    ] {
        for (command, from) in [(there, PROD), (back, NEW)] {
            for pause in (0..).map(|turn| Duration::from_millis(1).mul_f64(1.5_f64.powi(turn))) {
                let mut child = sandbox
                    .command(command)
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                thread::park_timeout(pause);
                child.kill().unwrap();
                let is_done = child.wait().unwrap().success();
                let known = names(&sandbox, &["--all"]);
                assert!(known.iter().any(|name| holds_all(name)), "{command:?} {known:?}");
                if is_done || (from == PROD && !known.contains(&PROD.to_owned())) {
                    break;
                }
                kills += 1;
            }
            // The last one may have been killed after its last write.
            let last = sandbox.run(command);
            assert!([0, 3].contains(&last.code), "{last:?}");
            let left = names(&sandbox, &["--all"]);
            assert_eq!(left.len(), 1, "{command:?}: {left:?}");
        }
    }
    assert!(kills > 4, "{kills}");
    assert_eq!(history(&sandbox, &[PROD]), expected);
}
