//! What changed, who changed it, and the way back: `diff`, `log`, `rollback`.

use crate::sandbox::{Run, SECRET, Sandbox, snapshot, with_input};
use crate::schema::Schema;
use serde_json::{Value, json};

const PROD: &str = "demo/prod";
const STATECTL: &str = env!("CARGO_BIN_EXE_statectl");

/// Pushes the first snapshot of the sandbox after this edit, with a message, and returns its revision.
fn push(sandbox: &Sandbox, why: &str, edit: impl FnOnce(&mut Value)) -> String {
    let mut state: Value = serde_json::from_str(&snapshot("prod", "first")).unwrap();
    edit(&mut state);
    sandbox.write("state.json", &state.to_string());
    sandbox.answer(&["push", PROD, "state.json", "--message", why])
}

fn a_cache() -> Value {
    json!({
        "address": "resource.cache", "entry-kind": "leaf", "category": "resource",
        "binding": { "alias": "aws", "kind": "cache" }, "inputs": { "nodes": 1 },
    })
}

/// Four revisions: the database, then its password and note, then a cache, then the cache gone and an output.
fn history() -> (Sandbox, [String; 4]) {
    let sandbox = Sandbox::new();
    let revisions = [
        push(&sandbox, "first", |_| {}),
        push(&sandbox, "new password", |state| {
            state["entries"][0]["inputs"]["password"] = format!("{SECRET}-2").into();
            state["entries"][0]["inputs"]["note"] = "second".into();
        }),
        push(&sandbox, "a cache", |state| {
            state["entries"][0]["inputs"]["password"] = format!("{SECRET}-2").into();
            state["entries"][0]["inputs"]["note"] = "second".into();
            state["entries"].as_array_mut().unwrap().push(a_cache());
        }),
        push(&sandbox, "no cache", |state| {
            state["entries"][0]["inputs"]["note"] = "third".into();
            state["outputs"] = json!({ "url": SECRET });
        }),
    ];
    (sandbox, revisions)
}

fn revisions(log: &Value) -> Vec<&str> {
    let rows = log["revisions"].as_array().unwrap();
    rows.iter().map(|row| row["revision"].as_str().unwrap()).collect()
}

fn changes(row: &Value) -> Vec<u64> {
    let counts = ["added", "changed", "removed", "moved", "outputs"];
    counts
        .map(|count| row["changes"][count].as_u64().unwrap())
        .to_vec()
}

#[test]
fn diff_shows_fields_and_masks_secrets() {
    let (sandbox, [first, second, ..]) = history();
    let shown = sandbox.answer(&["diff", PROD, &first, &second]);
    assert!(
        shown.contains("~ resource.database  aws.database  2 fields"),
        "{shown}"
    );
    assert!(shown.contains("inputs.note: \"first\" → \"second\""), "{shown}");
    assert!(shown.contains("inputs.password: (sensitive), changed"), "{shown}");
    assert!(shown.ends_with("+0 ~1 −0"), "{shown}");
    let stat = sandbox.answer(&["diff", PROD, &first, &second, "--stat"]);
    assert!(stat.contains("2 fields") && !stat.contains("note"), "{stat}");
    for format in ["human", "json"] {
        let out = sandbox.answer(&["diff", PROD, &first, "latest", "--format", format]);
        assert!(!out.contains(SECRET), "{out}");
        assert!(out.contains("outputs.url"), "{out}");
    }
}

#[test]
fn diff_compares_the_current_revision_with_its_parent() {
    let (sandbox, [first, _, third, fourth]) = history();
    let last = sandbox.document(&["diff", PROD]);
    assert_eq!((&last["before"], &last["after"]), (&json!(third), &json!(fourth)));
    assert_eq!(last["diff"]["counts"]["removed"], 1);
    let since = sandbox.document(&["diff", PROD, "@-3"]);
    assert_eq!(
        (&since["before"], &since["after"]),
        (&json!(first), &json!(fourth))
    );
    assert_eq!(since["diff"]["counts"]["removed"], 0);
    let backwards = sandbox.document(&["diff", PROD, "@", "@-"]);
    assert_eq!(backwards["diff"]["entries"][0]["change"], "added");
    assert_eq!(backwards["diff"]["entries"][0]["address"], "resource.cache");
}

#[test]
fn diff_exit_code_says_whether_anything_differs() {
    let (sandbox, [first, ..]) = history();
    sandbox.run(&["diff", PROD]).expect(0);
    let same = &["diff", PROD, &first, &first, "--exit-code"];
    assert_eq!(sandbox.run(same).expect(0).says(&["nothing differs"]).out, "");
    sandbox.run(&["diff", PROD, "--exit-code"]).expect(1);
}

#[test]
fn diff_with_a_file_shows_what_a_push_would_change() {
    let (sandbox, [_, second, ..]) = history();
    let pulled = sandbox.answer(&["pull", PROD]);
    sandbox.write("pulled.json", &pulled);
    let compare = &["diff", PROD, "--file", "pulled.json", "--exit-code"];
    sandbox.run(compare).expect(0);
    sandbox.write("pulled.json", &pulled.replace("5432", "5433"));
    let run = sandbox.run(compare).expect(1);
    assert!(run.out.contains("outputs.port: 5432 → 5433"), "{}", run.out);
    let mut command = sandbox.command(&["diff", PROD, &second, "--file", "-", "--json"]);
    let document: Value =
        serde_json::from_str(&with_input(&mut command, pulled.as_bytes()).expect(0).out).unwrap();
    assert_eq!(document["before"], second.as_str());
    assert!(document["after"].is_null());
    assert_eq!(document["diff"]["counts"]["outputs"], 1);
    sandbox.write("pulled.json", &pulled.replace("\"prod\"", "\"dev\""));
    sandbox.run(compare).expect(7);
}

#[test]
fn log_counts_changes_along_the_parents() {
    let (sandbox, [first, second, third, fourth]) = history();
    let log = sandbox.document(&["log", PROD]);
    assert_eq!(revisions(&log), [&*fourth, &*third, &*second, &*first]);
    let counted: Vec<Vec<u64>> = log["revisions"].as_array().unwrap().iter().map(changes).collect();
    assert_eq!(
        counted,
        [[0, 1, 1, 0, 1], [1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [2, 0, 0, 0, 0]]
    );
    let shown = sandbox.answer(&["log", PROD]);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].contains("CHANGES"), "{shown}");
    assert!(
        lines[1].starts_with("* ") && lines[1].ends_with("no cache"),
        "{shown}"
    );
    assert!(
        lines[1].contains("+0 ~1 −1 outputs") && lines[2].contains("+1 ~0 −0"),
        "{shown}"
    );
    assert!(
        lines[4].contains("+2 ~0 −0") && lines[4].contains("alice@"),
        "{shown}"
    );
}

#[test]
fn log_of_an_entry_shows_who_changed_it_and_how() {
    let (sandbox, [first, second, third, fourth]) = history();
    let log = sandbox.document(&["log", PROD, "resource.database"]);
    assert_eq!(revisions(&log), [&*fourth, &*second, &*first]);
    let changes: Vec<&str> = log["revisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["entry"]["change"].as_str().unwrap())
        .collect();
    assert_eq!(changes, ["changed", "changed", "added"]);
    let cache = sandbox.document(&["log", PROD, "resource.cache"]);
    assert_eq!(revisions(&cache), [&*fourth, &*third]);
    let shown = sandbox.answer(&["log", PROD, "resource.database", "-n", "1"]);
    assert!(
        shown.contains("no cache") && !shown.contains("new password"),
        "{shown}"
    );
    assert!(shown.contains("inputs.note: \"second\" → \"third\""), "{shown}");
    assert!(shown.contains("inputs.password: (sensitive), changed"), "{shown}");
    assert!(!shown.contains(SECRET), "{shown}");
    let none = sandbox.run(&["log", PROD, "resource.nosuch"]).expect(0);
    let none = none.says(&["no revision changed an entry \"resource.nosuch\""]);
    assert_eq!(none.out, "");
}

#[test]
fn abandoned_revisions_are_shown_only_with_all() {
    let (sandbox, [first, second, third, fourth]) = history();
    sandbox.answer(&["set-current", PROD, &second]);
    let fifth = push(&sandbox, "another way", |_| {});
    assert_eq!(
        revisions(&sandbox.document(&["log", PROD])),
        [&*fifth, &*second, &*first]
    );
    let all = sandbox.document(&["log", PROD, "--all"]);
    assert_eq!(revisions(&all), [&*fifth, &*fourth, &*third, &*second, &*first]);
    let abandoned: Vec<bool> = all["revisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["abandoned"].as_bool().unwrap())
        .collect();
    assert_eq!(abandoned, [false, true, true, false, false]);
    assert_eq!(changes(&all["revisions"][2]), [1, 0, 0, 0, 0]);
    assert!(
        sandbox
            .answer(&["log", PROD, "--all"])
            .contains("(abandoned) no cache")
    );
    assert!(
        sandbox
            .answer(&["snapshots", PROD])
            .contains("(abandoned) no cache")
    );
}

#[test]
fn log_goes_on_after_a_gap() {
    let (sandbox, [first, second, third, fourth]) = history();
    sandbox.answer(&["delete", PROD, &third]);
    sandbox.answer(&["delete", PROD, &second]);
    let log = sandbox.document(&["log", PROD]);
    assert_eq!(revisions(&log), [&*fourth, &*first]);
    // From what is still there.
    assert_eq!(changes(&log["revisions"][0]), [0, 1, 0, 0, 1]);
    let entry = sandbox.document(&["log", PROD, "resource.database"]);
    assert_eq!(revisions(&entry), [&*fourth, &*first]);
}

#[test]
fn log_is_cut_by_number_time_and_author() {
    let (sandbox, [.., third, fourth]) = history();
    assert_eq!(
        revisions(&sandbox.document(&["log", PROD, "-n", "2"])),
        [&*fourth, &*third]
    );
    assert_eq!(
        revisions(&sandbox.document(&["log", PROD, "--since", &third])),
        [&*fourth, &*third]
    );
    let count = |options: &[&str]| revisions(&sandbox.document(&[&["log", PROD], options].concat())).len();
    assert_eq!(count(&["--since", "1 hour ago"]), 4);
    assert_eq!(count(&["--author", "lic"]), 4);
    assert_eq!(count(&["--author", "bob"]), 0);
    let run = sandbox.run(&["log", PROD, "--author", "bob"]).expect(0);
    run.says(&["no revision matches"]);
}

#[test]
fn log_without_a_key_shows_headers_alone() {
    let (sandbox, [.., fourth]) = history();
    std::fs::remove_file(sandbox.default_key()).unwrap();
    let run = sandbox.run(&["log", PROD, "--json"]).expect(0);
    let log: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(log["revisions"][0]["revision"], fourth.as_str());
    assert_eq!(log["revisions"][0]["message"], "no cache");
    assert!(log["revisions"][0]["changes"].is_null());
    run.says(&["changes are not shown"]);
    sandbox.run(&["log", PROD, "resource.database"]).expect(5);
}

#[test]
fn revision_that_does_not_open_hides_no_other() {
    let (sandbox, [_, second, third, _]) = history();
    let file = sandbox.snapshot_file(&second);
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let run = sandbox.run(&["log", PROD, "--json"]).expect(0);
    let log: Value = serde_json::from_str(&run.out).unwrap();
    let known: Vec<bool> = log["revisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["changes"].is_object())
        .collect();
    assert_eq!(known, [true, false, false, true]);
    run.says(&["the changes of 2 revisions are not known", &third]);
}

/// More revisions than are compared at a time, and each with its own count.
#[test]
fn long_history_is_shown_in_order() {
    let sandbox = Sandbox::new();
    let mut pushed: Vec<String> = (0..140)
        .map(|number| {
            push(&sandbox, &format!("number {number}"), |state| {
                let entries = state["entries"].as_array_mut().unwrap();
                let cache = (0..number % 5).map(|at| {
                    let mut cache = a_cache();
                    cache["address"] = format!("resource.cache-{number}-{at}").into();
                    cache
                });
                entries.extend(cache);
            })
        })
        .collect();
    pushed.reverse();
    let log = sandbox.document(&["log", PROD]);
    assert_eq!(revisions(&log), pushed);
    for (row, number) in log["revisions"].as_array().unwrap().iter().zip((1..140).rev()) {
        let (added, removed) = (number % 5, (number - 1) % 5);
        let moved = added.min(removed);
        assert_eq!(
            changes(row),
            [added - moved, 0, removed - moved, moved, 0],
            "{row}"
        );
    }
    let shown = sandbox.answer(&["log", PROD]);
    assert_eq!(shown.lines().count(), 141);
    assert!(shown.lines().nth(140).unwrap().ends_with("number 0"));
}

#[test]
fn rollback_stores_the_old_content_after_the_current_revision() {
    let (sandbox, [first, _, _, fourth]) = history();
    let before = sandbox.answer(&["pull", PROD, "--rev", &first]);
    let run = sandbox
        .run(&["rollback", PROD, &first, "-m", "it was better", "--yes"])
        .expect(0)
        .says(&["inputs.note: \"third\" → \"first\"", "(sensitive)"]);
    let fifth = run.out.trim_end().to_owned();
    assert_eq!(sandbox.answer(&["current", PROD]), fifth);
    assert_eq!(sandbox.answer(&["pull", PROD]), before);
    let log = sandbox.document(&["log", PROD, "--all"]);
    assert_eq!(log["revisions"].as_array().unwrap().len(), 5);
    assert_eq!(log["revisions"][0]["parent"], fourth.as_str());
    assert_eq!(log["revisions"][0]["message"], "it was better");
    let again = sandbox.run(&["rollback", PROD, &first, "--yes"]).expect(0);
    assert_eq!(again.out.trim_end(), fifth);
    again.says(&["nothing was stored"]);
}

#[test]
fn rollback_asks_unless_it_is_told_yes() {
    let (sandbox, [.., fourth]) = history();
    sandbox
        .run(&["rollback", PROD, "@-"])
        .expect(2)
        .says(&["+ resource.cache", "--yes"]);
    assert_eq!(sandbox.answer(&["current", PROD]), fourth);
    sandbox
        .run(&["rollback", PROD, "2026-01-01T00:00:00Z", "--yes"])
        .expect(3);
    sandbox.run(&["rollback", "demo/nosuch", "@-", "--yes"]).expect(3);
    let long = "x".repeat(5000);
    sandbox
        .run(&["rollback", PROD, "@-", "--yes", "-m", &long])
        .expect(2);
    assert_eq!(sandbox.answer(&["current", PROD]), fourth);
}

/// Runs a command at a terminal where somebody has typed this.
fn at_a_terminal(sandbox: &Sandbox, arguments: &[&str], typed: &str) -> Run {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use std::fs::{File, OpenOptions};
    use std::io::Write as _;

    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let side = OpenOptions::new().read(true).write(true).open(name).unwrap();
    let mut keyboard = File::from(terminal);
    keyboard.write_all(typed.as_bytes()).unwrap();
    Run::of(sandbox.command(arguments).stdin(side).output().unwrap())
}

#[test]
fn rollback_does_what_was_answered() {
    let (sandbox, [.., fourth]) = history();
    let run = at_a_terminal(&sandbox, &["rollback", PROD, "@-"], "no\n").expect(1);
    run.says(&["+ resource.cache", "go back to ", "nothing was changed"]);
    assert_eq!(sandbox.answer(&["current", PROD]), fourth);
    let run = at_a_terminal(&sandbox, &["rollback", PROD, "@-"], "y\n").expect(0);
    assert_eq!(sandbox.answer(&["current", PROD]), run.out.trim_end());
    assert!(sandbox.answer(&["list", PROD]).contains("resource.cache"));
}

#[test]
fn rollback_joins_the_lock_around_it_and_respects_others() {
    let (sandbox, [first, .., fourth]) = history();
    let joined = sandbox.run(&["lock", PROD, "--", STATECTL, "rollback", PROD, "@-", "--yes"]);
    assert_ne!(joined.expect(0).out.trim_end(), fourth);
    let mut other = sandbox.command(&["lock", PROD, "--", STATECTL, "rollback", PROD, "@-", "--yes"]);
    other.env_remove("STATECTL_LOCK");
    Run::of(other.output().unwrap()).expect(0);
    let refused = format!("env -u STATECTL_LOCK {STATECTL} rollback {PROD} {first} --yes");
    sandbox.run(&["lock", PROD, "--", "sh", "-c", &refused]).expect(4);
}

#[test]
fn documents_of_the_history_follow_their_schemas() {
    let schema = Schema::new();
    let (sandbox, _) = history();
    for arguments in [
        &["log", PROD][..],
        &["log", PROD, "resource.cache"],
        &["diff", PROD, "@-2"],
        &["rollback", PROD, "@-2", "--yes"],
    ] {
        schema.check(&sandbox.document(arguments));
    }
}
