//! `mv` and `rm`.

use crate::sandbox::Sandbox;
use crate::unfinished::{begin, left, revisions};
use serde_json::Value;

const PROD: &str = "demo/prod";
const STATECTL: &str = env!("CARGO_BIN_EXE_statectl");

/// The current document, with its two entries.
fn document(sandbox: &Sandbox) -> Value {
    serde_json::from_str(&sandbox.answer(&["pull", PROD])).unwrap()
}

fn message(sandbox: &Sandbox) -> Value {
    revisions(sandbox).last().unwrap()["message"].clone()
}

#[test]
fn moved_entry_keeps_its_place_and_its_dependents() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let mut expected = document(&sandbox);
    let run = sandbox
        .run(&["mv", PROD, "resource.database", "resource.db"])
        .expect(0);
    assert_eq!(run.out.trim_end(), sandbox.answer(&["current", PROD]));
    run.says(&["moved resource.database to resource.db, and the dependencies of action.migrate"]);
    expected["entries"][0]["address"] = "resource.db".into();
    expected["entries"][1]["depends-on"][0] = "resource.db".into();
    assert_eq!(document(&sandbox), expected);
    let rows = revisions(&sandbox);
    assert_eq!((rows.len(), &rows[1]["parent"]), (2, &first.as_str().into()));
    assert!(
        sandbox
            .answer(&["pull", PROD])
            .contains("18446744073709551616.10")
    );
}

/// (E4) Headers are not encrypted, and an address may hold a secret.
#[test]
fn default_messages_name_no_address() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    sandbox
        .run(&["mv", PROD, "resource.database", "resource.db"])
        .expect(0);
    assert_eq!(message(&sandbox), "moved an entry");
    sandbox
        .run(&["rm", PROD, "action.migrate", "resource.db"])
        .expect(0);
    assert_eq!(message(&sandbox), "forgot 2 entries");
    sandbox.push("second", &[]);
    sandbox
        .run(&["rm", PROD, "action.migrate", "-m", "not ours"])
        .expect(0);
    assert_eq!(message(&sandbox), "not ours");
}

#[test]
fn refused_moves_store_nothing_and_say_why() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    for (from, to, code, said) in [
        (
            "resource.databases",
            "resource.db",
            3,
            "did you mean resource.database?",
        ),
        ("database", "resource.db", 3, "did you mean resource.database?"),
        ("resource.cache", "resource.db", 3, "no entry \"resource.cache\""),
        (
            "resource.database",
            "action.migrate",
            1,
            "already has an entry \"action.migrate\"",
        ),
        ("resource.database", "resource.database", 2, "the same"),
        ("resource.database", "", 2, "empty"),
    ] {
        let run = sandbox.run(&["mv", PROD, from, to]).expect(code);
        assert_eq!(run.out, "");
        run.says(&[said]);
    }
    assert_eq!(revisions(&sandbox).len(), 1);
    assert_eq!(sandbox.document(&["lock-status", PROD])["locked"], false);
    assert_eq!(sandbox.answer(&["current", PROD]), first);
}

#[test]
fn entry_is_forgotten_only_with_what_depends_on_it() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let run = sandbox.run(&["rm", PROD, "resource.database"]).expect(1);
    assert_eq!(run.out, "");
    run.says(&["nothing was forgotten, because other entries depend on what you named: action.migrate"]);
    sandbox
        .run(&["rm", PROD, "action.migrat"])
        .expect(3)
        .says(&["did you mean action.migrate?"]);
    // None of them is forgotten if one is unknown.
    sandbox
        .run(&["rm", PROD, "action.migrate", "resource.cache"])
        .expect(3);
    assert_eq!(sandbox.answer(&["current", PROD]), first);
    let answer = sandbox.document(&[
        "rm",
        PROD,
        "resource.database",
        "action.migrate",
        "resource.database",
    ]);
    assert_eq!(
        answer["addresses"],
        serde_json::json!(["resource.database", "action.migrate"])
    );
    assert_eq!(document(&sandbox)["entries"], serde_json::json!([]));
}

#[test]
fn changes_of_a_dead_run_are_committed_before_a_move() {
    let (sandbox, _) = left(2);
    sandbox
        .run(&["mv", PROD, "resource.1", "resource.last"])
        .expect(0)
        .says(&["committed 2 unfinished changes of alice on build-7"]);
    assert_eq!(revisions(&sandbox).len(), 3);
    let (sandbox, _) = left(2);
    sandbox
        .run(&["rm", PROD, "resource.0"])
        .expect(0)
        .says(&["committed 2 unfinished changes of alice on build-7"]);
    let pulled = sandbox.answer(&["pull", PROD]);
    assert!(pulled.contains("resource.1") && !pulled.contains("resource.0"));
}

#[test]
fn moves_take_the_lock_or_join_it() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    let run = begin(&sandbox);
    sandbox
        .run(&["mv", PROD, "resource.database", "resource.db"])
        .expect(4);
    sandbox.run(&["rm", PROD, "action.migrate"]).expect(4);
    drop(run);
    let script =
        format!("{STATECTL} mv {PROD} resource.database resource.db && {STATECTL} rm {PROD} action.migrate");
    sandbox.run(&["lock", PROD, "--", "sh", "-c", &script]).expect(0);
    let entries = document(&sandbox)["entries"].clone();
    assert_eq!(entries.as_array().unwrap().len(), 1);
    assert_eq!(entries[0]["address"], "resource.db");
}
