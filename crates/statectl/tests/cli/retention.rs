//! Which revisions stay: prune, pins, the trash and policies.

use crate::sandbox::{Run, Sandbox, at_a_terminal, everything_in, snapshot, with_input};
use crate::schema::Schema;
use localstate::LocalBackend;
use sdk_state::encrypt::KeyFile;
use sdk_state::time::format_description::well_known::Rfc3339;
use sdk_state::time::{Duration, OffsetDateTime};
use sdk_state::{Binding, Category, Entry, EntryKind, Store};
use serde_json::{Value, json};
use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

const PROD: &str = "demo/prod";
const STATECTL: &str = env!("CARGO_BIN_EXE_statectl");

fn store_of(sandbox: &Sandbox, stack: &str) -> Store {
    let backend = LocalBackend::new(sandbox.path(".unobin/state"), stack.parse().unwrap());
    Store::new(backend, KeyFile::open_any(sandbox.default_key()).unwrap())
}

fn time(text: &str) -> OffsetDateTime {
    OffsetDateTime::parse(text, &Rfc3339).unwrap()
}

/// Stores one revision at each of these times, each the parent of the next.
fn write_at(sandbox: &Sandbox, stack: &str, times: impl IntoIterator<Item = OffsetDateTime>) -> Vec<String> {
    if !sandbox.default_key().exists() {
        fs::create_dir_all(sandbox.path("config/statectl")).unwrap();
        sandbox.run(&["keygen", "config/statectl/key"]).expect(0);
    }
    let store = store_of(sandbox, stack);
    let write = |(number, time): (usize, OffsetDateTime)| {
        let run = store
            .clone()
            .with_clock(move || time)
            .begin("apply", std::time::Duration::ZERO)
            .unwrap();
        let binding = Binding::new("aws", "subnet");
        let address = format!("resource.{}-{number}", time.unix_timestamp());
        run.put(Entry::new(address, EntryKind::Leaf, Category::Resource, binding))
            .unwrap();
        run.finish("a change").unwrap().unwrap().to_string()
    };
    times.into_iter().enumerate().map(write).collect()
}

/// A stack with a revision at noon of each of these many days in the past.
fn daily(days: i64) -> (Sandbox, Vec<String>) {
    let sandbox = match days {
        0..100 => Sandbox::new(),
        _ => Sandbox::in_memory(),
    };
    let first = time("2020-01-01T12:00:00Z");
    let revs = write_at(&sandbox, PROD, (0..days).map(|day| first + Duration::days(day)));
    (sandbox, revs)
}

/// The fate of each revision of the only stack of an answer, oldest first.
fn fates(document: &Value) -> Vec<&str> {
    Schema::new().check(document);
    let rows = document["stacks"][0]["revisions"].as_array().unwrap();
    rows.iter().map(|row| row["fate"].as_str().unwrap()).collect()
}

fn prune(sandbox: &Sandbox, options: &[&str]) -> Value {
    sandbox.document(&[&["prune", PROD, "--yes"], options].concat())
}

fn stored(sandbox: &Sandbox) -> Vec<String> {
    let revisions = store_of(sandbox, PROD).list().unwrap();
    revisions.iter().map(ToString::to_string).collect()
}

fn settings(sandbox: &Sandbox) -> Value {
    serde_json::from_str(&sandbox.answer(&["pull", "demo/prod+settings", "--raw"])).unwrap()
}

fn put_settings(sandbox: &Sandbox, settings: &Value) {
    sandbox.write("settings.json", &settings.to_string());
    let push = ["push", "demo/prod+settings", "settings.json", "--payload"];
    sandbox
        .run(&[&push[..], &["statectl-settings.v1"]].concat())
        .expect(0);
}

/// As if every revision in the trash had been there for so many days.
fn age_trash(sandbox: &Sandbox, days: i64) {
    let mut settings = settings(sandbox);
    for mark in settings["trash"].as_object_mut().unwrap().values_mut() {
        let since = time(mark["since"].as_str().unwrap()) - Duration::days(days);
        mark["since"] = since.format(&Rfc3339).unwrap().into();
    }
    put_settings(sandbox, &settings);
}

#[test]
fn dry_run_says_why_each_revision_stays_or_goes() {
    let (sandbox, revs) = daily(5);
    sandbox.run(&["pin", PROD, &revs[0], "-m", "audit"]).expect(0);
    fs::write(sandbox.snapshot_file(&revs[1]), "?").unwrap();
    let before = everything_in(&sandbox.path(".unobin"));
    let dry = ["prune", PROD, "--keep-last", "2", "--dry-run"];
    let document = sandbox.document(&dry);
    let rows = document["stacks"][0]["revisions"].as_array().unwrap();
    assert_eq!(fates(&document), ["kept", "kept", "trashed", "kept", "kept"]);
    let reasons: Vec<&Value> = rows.iter().map(|row| &row["reasons"]).collect();
    assert_eq!(
        reasons,
        [
            &json!(["pinned"]),
            &json!(["unreadable"]),
            &json!([]),
            &json!(["last"]),
            &json!(["current", "last"])
        ]
    );
    assert_eq!(rows[0]["pin"]["message"], "audit");
    assert!(rows[1]["problem"].is_string() && rows[2]["removed-after"].is_string());
    let shown = sandbox.run(&dry).expect(0).says(&["dry run"]).out;
    for text in [
        "pinned by alice: audit",
        "unreadable: ",
        "current, last",
        "demo/prod: 4 kept, 1 to the trash",
    ] {
        assert!(shown.contains(text), "{text} is missing in {shown}");
    }
    assert_eq!(everything_in(&sandbox.path(".unobin")), before);
}

#[test]
fn trash_keeps_a_revision_for_seven_days() {
    let (sandbox, revs) = daily(4);
    let keep = ["--keep-last", "2"];
    assert_eq!(
        fates(&prune(&sandbox, &keep)),
        ["trashed", "trashed", "kept", "kept"]
    );
    sandbox.run(&["pull", PROD, "--rev", &revs[0]]).expect(0);
    age_trash(&sandbox, 6);
    assert_eq!(
        fates(&prune(&sandbox, &keep)),
        ["in-trash", "in-trash", "kept", "kept"]
    );
    // What is taken out begins anew.
    let restored = sandbox.document(&["restore", PROD, &revs[1], &revs[3]]);
    Schema::new().check(&restored);
    assert_eq!(restored["revisions"], json!([revs[1]]));
    assert_eq!(
        fates(&prune(&sandbox, &keep)),
        ["in-trash", "trashed", "kept", "kept"]
    );
    age_trash(&sandbox, 2);
    assert_eq!(
        fates(&prune(&sandbox, &keep)),
        ["removed", "in-trash", "kept", "kept"]
    );
    assert_eq!(stored(&sandbox), revs[1..]);
    // Other rules take it out too.
    assert_eq!(
        fates(&prune(&sandbox, &["--keep-last", "3"])),
        ["kept", "kept", "kept"]
    );
    assert_eq!(settings(&sandbox)["trash"], json!({}));
    sandbox.run(&["restore", PROD, &revs[0]]).expect(3);
}

#[test]
fn now_removes_at_once_and_leaves_no_settings() {
    let (sandbox, revs) = daily(4);
    let document = prune(&sandbox, &["--keep-last", "1", "--now"]);
    assert_eq!(fates(&document), ["removed", "removed", "removed", "kept"]);
    assert_eq!(stored(&sandbox), revs[3..]);
    assert!(!sandbox.path(".unobin/state/demo/prod+settings").exists());
    // The trash goes too.
    let (sandbox, revs) = daily(3);
    prune(&sandbox, &["--keep-last", "1"]);
    prune(&sandbox, &["--keep-last", "1", "--now"]);
    assert_eq!(stored(&sandbox), revs[2..]);
    assert_eq!(settings(&sandbox)["trash"], json!({}));
}

#[test]
fn pinned_revision_stays_until_it_is_unpinned() {
    let (sandbox, revs) = daily(3);
    let all = ["--keep-last", "1", "--now"];
    prune(&sandbox, &["--keep-last", "1"]);
    let pin = sandbox.document(&["pin", PROD, &revs[0], "-m", "before the migration"]);
    Schema::new().check(&pin);
    assert_eq!(pin["pin"]["message"], "before the migration");
    assert_eq!(fates(&prune(&sandbox, &all)), ["kept", "removed", "kept"]);
    assert_eq!(stored(&sandbox), [revs[0].as_str(), &revs[2]]);
    let unpinned = sandbox.document(&["unpin", PROD, &revs[0]]);
    Schema::new().check(&unpinned);
    assert_eq!(unpinned["pin"], Value::Null);
    sandbox
        .run(&["unpin", PROD, &revs[0]])
        .expect(0)
        .says(&["was not pinned"]);
    prune(&sandbox, &all);
    assert_eq!(stored(&sandbox), revs[2..]);
    sandbox.run(&["pin", PROD, &revs[0]]).expect(3);
}

/// The reason of a pin may name a customer or a leak: unlike a message it is not readable in the store.
#[test]
fn reason_of_a_pin_is_sealed() {
    let (sandbox, revs) = daily(1);
    sandbox
        .run(&["pin", PROD, &revs[0], "-m", "plain-reason"])
        .expect(0);
    for file in everything_in(&sandbox.path(".unobin"))
        .iter()
        .filter(|file| file.is_file())
    {
        let bytes = fs::read(file).unwrap();
        assert!(
            !bytes.windows(12).any(|window| window == b"plain-reason"),
            "{}",
            file.display()
        );
    }
}

#[test]
fn log_marks_pins_and_hides_the_trash() {
    let (sandbox, revs) = daily(4);
    sandbox.run(&["pin", PROD, "@-3", "-m", "audit"]).expect(0);
    prune(&sandbox, &["--keep-last", "2"]);
    let shown = |options: &[&str]| -> Vec<(String, bool, bool)> {
        let document = sandbox.document(&[&["log", PROD], options].concat());
        Schema::new().check(&document);
        let row = |row: &Value| {
            (
                row["revision"].as_str().unwrap().to_owned(),
                !row["pin"].is_null(),
                !row["trashed"].is_null(),
            )
        };
        document["revisions"]
            .as_array()
            .unwrap()
            .iter()
            .map(row)
            .collect()
    };
    let [first, second, third, fourth] = [0, 1, 2, 3].map(|index| revs[index].clone());
    let without = [
        (fourth.clone(), false, false),
        (third.clone(), false, false),
        (first.clone(), true, false),
    ];
    assert_eq!(shown(&[]), without);
    assert_eq!(shown(&["-n", "3"]), without);
    assert_eq!(
        shown(&["--all"]),
        [
            (fourth, false, false),
            (third, false, false),
            (second.clone(), false, true),
            (first, true, false)
        ]
    );
    let page = sandbox.answer(&["log", PROD, "--all"]);
    assert!(
        page.contains("(in the trash) a change") && page.contains("(pinned by alice: audit) a change"),
        "{page}"
    );
    sandbox.run(&["restore", PROD, &second[..10]]).expect(0);
    assert_eq!(shown(&[]).len(), 4);
    // Settings that do not open hide nothing.
    fs::write(sandbox.path(".unobin/state/demo/prod+settings/current"), "?").unwrap();
    let run = sandbox
        .run(&["log", PROD])
        .expect(0)
        .says(&["pins and the trash are not shown"]);
    assert_eq!(run.out.lines().count(), 5);
}

/// Somebody went back to a revision in the trash.
#[test]
fn current_revision_stays_whatever_its_mark_says() {
    let (sandbox, revs) = daily(4);
    prune(&sandbox, &["--keep-last", "2"]);
    age_trash(&sandbox, 30);
    sandbox.run(&["set-current", PROD, &revs[0]]).expect(0);
    let document = prune(&sandbox, &["--keep-last", "1", "--now"]);
    assert_eq!(fates(&document), ["kept", "removed", "removed", "removed"]);
    sandbox.run(&["pull", PROD]).expect(0);
    assert_eq!(settings(&sandbox)["trash"], json!({}));
}

#[test]
fn policy_applies_where_no_rules_are_given() {
    let (sandbox, revs) = daily(4);
    write_at(&sandbox, "demo/dev", [time("2026-01-01T12:00:00Z")]);
    sandbox
        .run(&["prune", PROD, "--yes"])
        .expect(2)
        .says(&["no policy", "statectl policy demo/prod"]);
    sandbox
        .run(&["policy", PROD])
        .expect(0)
        .says(&["demo/prod has no policy"]);
    sandbox.run(&["policy", PROD, "--clear"]).expect(0);
    assert!(!sandbox.path(".unobin/state/demo/prod+settings").exists());
    let rules = ["--keep-last", "2", "--keep-yearly", "1"];
    let document = sandbox.document(&[&["policy", PROD], &rules[..]].concat());
    Schema::new().check(&document);
    assert_eq!(document["rules"], json!({"keep-last": 2, "keep-yearly": 1}));
    // What is printed can be given again.
    assert_eq!(sandbox.answer(&["policy", PROD]), rules.join(" "));
    let run = sandbox
        .run(&["prune", "--all", "--yes", "--json"])
        .expect(0)
        .says(&["demo/dev has no policy"]);
    let document: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(fates(&document), ["trashed", "trashed", "kept", "kept"]);
    assert_eq!(document["stacks"].as_array().unwrap().len(), 1);
    // Given rules replace it.
    assert_eq!(fates(&prune(&sandbox, &["--keep-last", "4"])), ["kept"; 4]);
    sandbox
        .run(&["policy", PROD, "--clear", "--keep-last", "1"])
        .expect(2);
    sandbox.run(&["policy", PROD, "--clear"]).expect(0);
    sandbox.run(&["prune", PROD, "--yes"]).expect(2);
    assert_eq!(stored(&sandbox), revs);
}

#[test]
fn nonsense_rules_are_usage_errors() {
    let (sandbox, _) = daily(2);
    for rules in [
        &["--keep-last", "0"][..],
        &["--keep-daily", "-1"],
        &["--keep-within", "soon"],
        &["--keep-last", "1", "--all"],
    ] {
        sandbox
            .run(&[&["prune", PROD, "--yes"], rules].concat())
            .expect(2);
    }
    sandbox.run(&["prune", "--keep-last", "1"]).expect(2);
    sandbox
        .run(&["prune", "demo/dev", "--keep-last", "1", "--yes"])
        .expect(3);
    assert_eq!(stored(&sandbox).len(), 2);
}

#[test]
fn nothing_goes_where_nobody_can_be_asked() {
    let (sandbox, revs) = daily(3);
    let keep = ["prune", PROD, "--keep-last", "1"];
    sandbox.run(&keep).expect(2).says(&["--yes", "--dry-run"]);
    let run = with_input(&mut sandbox.command(&keep), b"y\n").expect(2);
    assert_eq!(run.out, "");
    assert_eq!(stored(&sandbox), revs);
    assert!(!sandbox.path(".unobin/state/demo/prod+settings").exists());
    // Nothing is asked if nothing goes.
    sandbox.run(&["prune", PROD, "--keep-last", "9"]).expect(0);
}

#[test]
fn question_at_the_terminal_is_obeyed() {
    let (sandbox, revs) = daily(4);
    prune(&sandbox, &["--keep-last", "3"]);
    age_trash(&sandbox, 8);
    let keep = ["prune", PROD, "--keep-last", "2"];
    let no = at_a_terminal(&mut sandbox.command(&keep), || {}, "n\n").expect(1);
    assert_eq!((no.out.as_str(), stored(&sandbox).len()), ("", 4));
    let question = "move 1 revision to the trash, and remove 1 for good? [y/N]";
    let no = no.says(&[question, "every revision stays", "WHY"]);
    assert!(no.err.contains(&revs[1]), "{}", no.err);
    let yes = at_a_terminal(&mut sandbox.command(&keep), || {}, "y\n").expect(0);
    assert_eq!(
        yes.out,
        "demo/prod: 2 kept, 1 to the trash, 0 in the trash, 1 removed\n"
    );
    assert_eq!(stored(&sandbox), revs[1..]);
}

/// What nobody was asked about stays: a push between question and answer let one more revision go.
#[test]
fn revision_that_was_not_shown_does_not_go() {
    let (sandbox, revs) = daily(3);
    let keep = ["prune", PROD, "--keep-last", "2", "--now", "--json"];
    let push = || {
        write_at(&sandbox, PROD, [time("2021-01-01T12:00:00Z")]);
    };
    let run = at_a_terminal(&mut sandbox.command(&keep), push, "y\n").expect(0);
    let document: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(fates(&document), ["removed", "kept", "kept", "kept"]);
    let rows = &document["stacks"][0]["revisions"];
    assert_eq!(rows[1]["reasons"], json!(["not-shown"]));
    assert_eq!(stored(&sandbox)[..2], revs[1..]);
}

/// Unobin's envelope names no parents.
#[test]
fn files_of_unobin_are_pruned_too() {
    let sandbox = Sandbox::new();
    let key = sandbox.answer(&["keygen", "--base64"]);
    let run = |arguments: &[&str]| {
        let options = ["--encrypter", "env-key:STATE_KEY", "--write-v1"];
        let mut command = sandbox.command(&[arguments, &options].concat());
        Run::of(command.env("STATE_KEY", &key).output().unwrap())
            .expect(0)
            .out
    };
    for note in ["first", "second", "third"] {
        sandbox.write("state.json", &snapshot("prod", note));
        run(&["push", PROD, "state.json"]);
    }
    let prune = ["prune", PROD, "--keep-last", "2", "--yes", "--json"];
    let document: Value = serde_json::from_str(&run(&prune)).unwrap();
    assert_eq!(fates(&document), ["trashed", "kept", "kept"]);
    run(&["prune", PROD, "--keep-last", "1", "--yes", "--now"]);
    assert!(run(&["pull", PROD]).contains("third"));
    assert_eq!(run(&["snapshots", PROD]).lines().count(), 2);
}

/// A prune that overlooked pins would remove what was to be kept for ever.
#[test]
fn settings_that_do_not_open_stop_every_prune() {
    let (sandbox, revs) = daily(3);
    sandbox.run(&["pin", PROD, &revs[0]]).expect(0);
    let keep = ["prune", PROD, "--keep-last", "1", "--now", "--yes"];
    let file = &everything_in(&sandbox.path(".unobin/state/demo/prod+settings/snapshots"))[0];
    let good = fs::read(file).unwrap();
    let mut bad = good.clone();
    let middle = bad.len() - 40;
    bad[middle] ^= 1;
    fs::write(file, bad).unwrap();
    sandbox
        .run(&keep)
        .expect(5)
        .says(&["demo/prod+settings holds the pins"]);
    fs::remove_file(file).unwrap();
    sandbox.run(&keep).expect(5);
    fs::write(file, good).unwrap();
    let pointer = sandbox.path(".unobin/state/demo/prod+settings/current");
    let saved = fs::read(&pointer).unwrap();
    fs::remove_file(&pointer).unwrap();
    sandbox
        .run(&keep)
        .expect(3)
        .says(&["statectl set-current demo/prod+settings REV"]);
    assert_eq!(stored(&sandbox), revs);
    fs::write(&pointer, saved).unwrap();
    sandbox.run(&keep).expect(0);
    assert_eq!(stored(&sandbox), [revs[0].as_str(), &revs[2]]);
}

#[test]
fn rule_of_a_newer_version_is_not_overlooked() {
    let (sandbox, revs) = daily(3);
    sandbox.run(&["policy", PROD, "--keep-last", "1"]).expect(0);
    let mut settings = settings(&sandbox);
    settings["policy"]["keep-tagged"] = true.into();
    put_settings(&sandbox, &settings);
    sandbox.run(&["prune", PROD, "--yes"]).expect(7);
    assert_eq!(stored(&sandbox), revs);
}

#[test]
fn stack_of_settings_is_hidden_and_no_state() {
    let (sandbox, revs) = daily(2);
    sandbox.run(&["pin", PROD, &revs[0]]).expect(0);
    assert!(!sandbox.answer(&["stacks"]).contains("settings"));
    for arguments in [&["list"][..], &["pull"], &["show"]] {
        let entry: &[&str] = if arguments == ["show"] {
            &["resource.x"]
        } else {
            &[]
        };
        sandbox
            .run(&[arguments, &["demo/prod+settings"], entry].concat())
            .expect(5)
            .says(&["statectl-settings.v1"]);
    }
    sandbox.write("state.json", &snapshot("prod+settings", "x"));
    sandbox
        .run(&["push", "demo/prod+settings", "state.json"])
        .expect(5);
    for arguments in [
        &["pin", "demo/prod+settings", &revs[0]][..],
        &["policy", "demo/prod+settings"],
    ] {
        sandbox.run(arguments).expect(2).says(&["name demo/prod instead"]);
    }
    // Without its owner it is shown, so that somebody removes it.
    fs::remove_dir_all(sandbox.stack()).unwrap();
    assert!(sandbox.answer(&["stacks"]).contains("demo/prod+settings"));
}

/// Somebody may have a stack of that name already.
#[test]
fn stack_of_state_is_not_taken_for_settings() {
    let (sandbox, revs) = daily(2);
    write_at(&sandbox, "demo/prod+settings", [time("2026-01-01T12:00:00Z")]);
    assert!(sandbox.answer(&["stacks"]).contains("demo/prod+settings"));
    sandbox
        .run(&["pin", PROD, &revs[0]])
        .expect(5)
        .says(&["give demo/prod+settings another name"]);
    sandbox
        .run(&["prune", PROD, "--keep-last", "1", "--yes"])
        .expect(5);
    sandbox.run(&["list", "demo/prod+settings"]).expect(0);
    assert_eq!(stored(&sandbox), revs);
}

/// The writer's clock was ahead once: its revision must not use up the days that are kept.
#[test]
fn revision_of_a_wrong_clock_stays_and_displaces_nothing() {
    let sandbox = Sandbox::new();
    let revs = write_at(
        &sandbox,
        PROD,
        [
            "2026-01-01T12:00:00Z",
            "2099-01-01T12:00:00Z",
            "2026-01-02T12:00:00Z",
            "2026-01-03T12:00:00Z",
        ]
        .map(time),
    );
    // Their names are of 2099, so that they sort after their parents; their headers have the real time.
    assert!(revs[3].starts_with("2099"));
    let document = prune(&sandbox, &["--keep-daily", "2"]);
    assert_eq!(fates(&document), ["trashed", "kept", "kept", "kept"]);
    assert_eq!(
        document["stacks"][0]["revisions"][1]["reasons"],
        json!(["future"])
    );
}

#[test]
fn prune_commits_what_a_dead_run_left() {
    let (sandbox, revs) = daily(3);
    let run = store_of(&sandbox, PROD)
        .begin("apply", std::time::Duration::ZERO)
        .unwrap();
    run.put(Entry::new(
        "resource.new",
        EntryKind::Leaf,
        Category::Resource,
        Binding::new("aws", "x"),
    ))
    .unwrap();
    // A live run excludes it.
    let keep = ["prune", PROD, "--keep-last", "2", "--now", "--yes"];
    sandbox.run(&keep).expect(4);
    assert_eq!(stored(&sandbox), revs);
    drop(run);
    sandbox
        .run(&keep)
        .expect(0)
        .says(&["committed 1 unfinished change"]);
    assert_eq!(stored(&sandbox)[0], revs[2]);
    assert!(sandbox.answer(&["pull", PROD]).contains("resource.new"));
    assert_eq!(stored(&sandbox).len(), 2);
}

#[test]
fn commands_join_the_lock_above_them() {
    let (sandbox, revs) = daily(3);
    let script = format!(
        "{STATECTL} pin {PROD} {} && {STATECTL} prune {PROD} --keep-last 1 --yes && {STATECTL} policy {PROD} --keep-last 1",
        revs[0]
    );
    sandbox.run(&["lock", PROD, "--", "sh", "-c", &script]).expect(0);
    assert_eq!(fates(&prune(&sandbox, &[])), ["kept", "in-trash", "kept"]);
    assert_eq!(sandbox.document(&["lock-status", PROD])["locked"], false);
}

#[test]
fn every_type_of_document_is_pruned() {
    let sandbox = Sandbox::new();
    for number in ["1", "2", "3"] {
        sandbox.write("number", number);
        sandbox
            .run(&["push", PROD, "number", "--payload", "number"])
            .expect(0);
    }
    assert_eq!(
        fates(&prune(&sandbox, &["--keep-last", "1", "--now"])),
        ["removed", "removed", "kept"]
    );
    assert_eq!(sandbox.answer(&["pull", PROD, "--raw"]), "3");
}

#[test]
fn one_stack_with_a_problem_does_not_stop_the_others() {
    let (sandbox, revs) = daily(3);
    write_at(
        &sandbox,
        "demo/dev",
        ["2026-01-01T12:00:00Z", "2026-01-02T12:00:00Z"].map(time),
    );
    fs::write(sandbox.path(".unobin/state/demo/dev/current"), "?").unwrap();
    let run = sandbox
        .run(&["prune", "--all", "--keep-last", "1", "--now", "--yes", "--json"])
        .expect(5);
    let document: Value = serde_json::from_str(&run.out).unwrap();
    Schema::new().check(&document);
    assert!(document["stacks"][0]["problem"].is_string() && document["stacks"][1]["problem"].is_null());
    run.says(&["demo/dev is left as it is", "1 of 2 stacks were not pruned"]);
    assert_eq!(stored(&sandbox), revs[2..]);
}

/// Without a key nobody can see pins, so nobody may prune.
#[test]
fn prune_without_the_key_changes_nothing() {
    let (sandbox, revs) = daily(3);
    let other = sandbox.key("other");
    for key in [other.as_str(), "key-file:gone", "noop"] {
        let run = sandbox.run(&[
            "prune",
            PROD,
            "--keep-last",
            "1",
            "--now",
            "--yes",
            "--encrypter",
            key,
        ]);
        run.expect(5);
    }
    assert_eq!(stored(&sandbox), revs);
}

/// Whoever may open the stack must see its pins, and nobody else.
#[test]
fn settings_have_the_recipients_of_their_stack() {
    let (sandbox, revs) = daily(3);
    sandbox.run(&["pin", PROD, &revs[0]]).expect(0);
    let other = sandbox.key("other");
    let added = sandbox.document(&["key", "add", "--all", &other]);
    assert_eq!(added["stacks"].as_array().unwrap().len(), 1);
    let with_other = ["--encrypter", other.as_str()];
    let dry = ["prune", PROD, "--keep-last", "1", "--now", "--dry-run"];
    let document = sandbox.document(&[&dry[..], &with_other].concat());
    assert_eq!(fates(&document), ["kept", "removed", "kept"]);
    let pull = ["pull", "demo/prod+settings", "--raw"];
    sandbox.run(&[&pull[..], &with_other].concat()).expect(0);
    sandbox.run(&["key", "remove", PROD, &other]).expect(0);
    sandbox.run(&[&pull[..], &with_other].concat()).expect(5);
    sandbox.run(&pull).expect(0);
}

/// A key that was stolen must go, whatever else is broken.
#[test]
fn damaged_settings_do_not_keep_a_key_from_being_removed() {
    let (sandbox, revs) = daily(2);
    let other = sandbox.key("other");
    sandbox.run(&["pin", PROD, &revs[0]]).expect(0);
    sandbox.run(&["key", "add", PROD, &other]).expect(0);
    // Who cannot seal for all recipients of the stack cannot pin, and is told which stack it is about.
    sandbox
        .run(&["pin", PROD, &revs[1]])
        .expect(5)
        .says(&["statectl key remove demo/prod RECIPIENT"]);
    fs::write(sandbox.path(".unobin/state/demo/prod+settings/current"), "?").unwrap();
    sandbox
        .run(&["key", "remove", PROD, &other])
        .expect(0)
        .says(&["demo/prod+settings stays sealed as it was"]);
    sandbox.run(&["pull", PROD, "--encrypter", &other]).expect(5);
}

/// Somebody who has another key besides must not lock the others out of the settings.
#[test]
fn first_settings_are_sealed_for_the_recipients_of_the_stack() {
    let (sandbox, revs) = daily(1);
    let other = sandbox.key("other");
    let default = format!("age:{}", sandbox.default_key().display());
    sandbox
        .run(&[
            "pin",
            PROD,
            &revs[0],
            "--encrypter",
            &other,
            "--also-open",
            &default,
        ])
        .expect(0);
    assert_eq!(settings(&sandbox)["pins"].as_object().unwrap().len(), 1);
}

/// Runs a command on the same store again and again, kills it at moments that are spread over its duration, and looks at what it
/// left each time.
fn kill_at_many_moments(sandbox: &Sandbox, arguments: &[&str], look: impl Fn()) {
    const KILLS: u32 = 16;
    let copy = |from: &str, to: &str| {
        let paths = [from, to].map(|name| sandbox.path(name));
        let copied = Command::new("cp").arg("-a").args(paths).status().unwrap();
        assert!(copied.success());
    };
    copy(".unobin", "saved");
    let begun = Instant::now();
    sandbox.run(arguments).expect(0);
    let duration = begun.elapsed();
    for kill in 0..KILLS {
        fs::remove_dir_all(sandbox.path(".unobin")).unwrap();
        copy("saved", ".unobin");
        let mut command = sandbox.command(arguments);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + duration * kill / KILLS;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        look();
    }
}

fn marked(sandbox: &Sandbox, what: &str) -> Vec<String> {
    let settings = settings(sandbox);
    settings[what].as_object().unwrap().keys().cloned().collect()
}

/// Wherever a prune is killed, what stays is there, and the next prune does the rest.
#[test]
fn killed_prune_loses_nothing_and_is_finished_by_the_next() {
    let (sandbox, revs) = daily(16);
    sandbox.run(&["pin", PROD, &revs[2]]).expect(0);
    // Half of what goes was in the trash, so that each step of a prune has something to do.
    prune(&sandbox, &["--keep-last", "8"]);
    age_trash(&sandbox, 8);
    let keep = ["prune", PROD, "--keep-last", "3", "--yes"];
    let kept = [&revs[2..3], &revs[13..]].concat();
    let trashed = &revs[8..13];
    kill_at_many_moments(&sandbox, &keep, || {
        let left = stored(&sandbox);
        let must_be_left: Vec<&String> = kept.iter().chain(trashed).collect();
        assert!(must_be_left.iter().all(|rev| left.contains(rev)), "{left:?}");
        sandbox.run(&["pull", PROD]).expect(0);
        sandbox.run(&["pull", PROD, "--rev", &revs[2]]).expect(0);
        sandbox.run(&keep).expect(0);
        assert_eq!(stored(&sandbox), [&revs[2..3], &revs[8..]].concat());
        assert_eq!(
            (marked(&sandbox, "trash"), marked(&sandbox, "pins")),
            (trashed.into(), revs[2..3].into())
        );
        assert_eq!(store_of(&sandbox, "demo/prod+settings").list().unwrap().len(), 1);
    });
}

/// The first settings of a stack begin with an empty document, as every stack does.
#[test]
fn killed_first_change_of_settings_is_made_by_the_next() {
    let (sandbox, revs) = daily(4);
    for arguments in [
        &["prune", PROD, "--keep-last", "2", "--yes"][..],
        &["pin", PROD, &revs[0]],
    ] {
        kill_at_many_moments(&sandbox, arguments, || {
            assert_eq!(stored(&sandbox), revs);
            assert!(!sandbox.answer(&["stacks"]).contains("settings"));
            sandbox
                .run(&["prune", PROD, "--keep-last", "2", "--dry-run"])
                .expect(0);
            sandbox.run(arguments).expect(0);
            let mark = if arguments[0] == "pin" { "pins" } else { "trash" };
            assert_eq!(marked(&sandbox, mark)[0], revs[0]);
            assert_eq!(store_of(&sandbox, "demo/prod+settings").list().unwrap().len(), 1);
        });
        fs::remove_dir_all(sandbox.path(".unobin")).unwrap();
        fs::rename(sandbox.path("saved"), sandbox.path(".unobin")).unwrap();
    }
}

/// Somebody who is killed between the two steps of a removal, or deletes by hand, leaves a mark of nothing.
#[test]
fn mark_of_a_revision_that_is_gone_is_dropped() {
    let (sandbox, revs) = daily(4);
    sandbox.run(&["pin", PROD, &revs[0]]).expect(0);
    prune(&sandbox, &["--keep-last", "2"]);
    for rev in &revs[..2] {
        fs::remove_file(sandbox.snapshot_file(rev)).unwrap();
    }
    prune(&sandbox, &["--keep-last", "2"]);
    let settings = settings(&sandbox);
    assert_eq!((&settings["pins"], &settings["trash"]), (&json!({}), &json!({})));
}

#[test]
fn thousand_revisions_are_pruned_in_reasonable_time() {
    let (sandbox, revs) = daily(1000);
    let begun = Instant::now();
    let document = sandbox.document(&["prune", PROD, "--keep-monthly", "12", "--dry-run"]);
    assert_eq!(
        fates(&document).iter().filter(|fate| **fate == "kept").count(),
        12
    );
    prune(&sandbox, &["--keep-monthly", "12"]);
    prune(&sandbox, &["--keep-monthly", "12", "--now"]);
    assert_eq!(stored(&sandbox).len(), 12);
    assert_eq!(stored(&sandbox)[11], revs[999]);
    // A third of a second where flushes cost nothing.
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
}

#[test]
fn people_are_told_what_became_of_their_revisions() {
    let (sandbox, _) = daily(3);
    let run: Run = sandbox
        .run(&["prune", PROD, "--keep-last", "1", "--yes"])
        .expect(0);
    assert_eq!(run.err, "");
    assert!(
        run.out
            .ends_with("demo/prod: 1 kept, 2 to the trash, 0 in the trash, 0 removed\n"),
        "{}",
        run.out
    );
}
