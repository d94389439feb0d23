//! The documents of `--format json`, as `docs/json.md` describes them.

use crate::sandbox::{Run, Sandbox, snapshot};
use crate::schema::Schema;
use serde_json::Value;
use std::collections::BTreeSet;

const PROD: &str = "demo/prod";
const STATECTL: &str = env!("CARGO_BIN_EXE_statectl");

fn lines(text: &str) -> impl Iterator<Item = Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap())
}

/// (N9) The documents were described nowhere.
#[test]
fn every_document_follows_its_schema() {
    let schema = Schema::new();
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    sandbox.write("state.json", &snapshot("prod", "second"));
    let mut seen = BTreeSet::new();
    for (kind, arguments) in [
        ("pushed", &["push", PROD, "state.json", "--message", "why"][..]),
        ("current", &["current", PROD]),
        ("log", &["snapshots", PROD]),
        ("log", &["log", PROD]),
        ("log", &["log", PROD, "--all"]),
        ("log", &["log", PROD, "resource.database"]),
        ("diff", &["diff", PROD]),
        ("diff", &["diff", PROD, "--file", "state.json"]),
        ("graph", &["graph", PROD]),
        ("page", &["graph", PROD, "--html", "page.html"]),
        ("rolled-back", &["rollback", PROD, "@-", "--yes"]),
        ("entries", &["list", PROD]),
        ("entry", &["show", PROD, "action.migrate"]),
        ("outputs", &["output", PROD]),
        ("edited", &["edit", PROD]),
        ("moved", &["mv", PROD, "action.migrate", "action.moved"]),
        ("forgotten", &["rm", PROD, "action.moved"]),
        ("current", &["set-current", PROD, &rev]),
        ("recovered", &["recover", PROD]),
        ("recipients", &["key", "list", PROD]),
        ("rekeyed", &["rekey", PROD]),
        ("deleted", &["delete", PROD, "2026-07-10T12:00:00Z"]),
        ("pin", &["pin", PROD, &rev, "--message", "why"]),
        ("policy", &["policy", PROD, "--keep-last", "9"]),
        ("pruned", &["prune", PROD, "--yes"]),
        ("restored", &["restore", PROD, &rev]),
        ("stack-copied", &["stack", "copy", PROD, "demo/copy"]),
        ("stack-renamed", &["stack", "rename", "demo/copy", "demo/new"]),
        ("stack-removed", &["stack", "rm", "demo/new", "--force", "--yes"]),
        ("stacks", &["stack", "list", "--all"]),
        ("stacks", &["stacks"]),
        ("checked", &["check", PROD]),
        ("lock-status", &["lock-status", PROD]),
        ("unlocked", &["force-unlock", PROD, "--yes"]),
        ("key", &["keygen"]),
        ("key", &["keygen", "key"]),
        ("key", &["keygen", "--base64"]),
        // With a holder.
        ("stacks", &["lock", PROD, "--", STATECTL, "stacks"]),
        (
            "lock-status",
            &["lock", PROD, "--", STATECTL, "lock-status", PROD],
        ),
        (
            "unlocked",
            &["lock", PROD, "--", STATECTL, "force-unlock", PROD, "--yes"],
        ),
    ] {
        let mut command = sandbox.command(arguments);
        command.env("EDITOR", "true").env("STATECTL_FORMAT", "json");
        let run = Run::of(command.output().unwrap());
        let answers: Vec<Value> = lines(&run.out).collect();
        assert!(
            matches!(&answers[..], [answer] if answer["kind"] == kind),
            "{arguments:?}: {run:?}"
        );
        for document in answers.into_iter().chain(lines(&run.err)) {
            seen.insert(schema.check(&document));
        }
    }
    // Damage fills the members that are empty otherwise.
    std::fs::write(sandbox.snapshot_file("2026-07-10T12:00:00Z"), "?").unwrap();
    std::fs::write(sandbox.stack().join("current"), "?").unwrap();
    for arguments in [&["snapshots", PROD][..], &["stacks"], &["pull", PROD]] {
        let run = sandbox.run(&[arguments, &["--json"]].concat());
        for document in lines(&run.out).chain(lines(&run.err)) {
            seen.insert(schema.check(&document));
        }
    }
    assert_eq!(seen, schema.kinds().into_iter().map(str::to_owned).collect());
}

/// (N9) `STATECTL_FORMAT=json` made `pull > f; push f` fail with a misleading error.
#[test]
fn pull_prints_the_snapshot_in_every_format() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    let human = sandbox.run(&["pull", PROD]).expect(0);
    let mut command = sandbox.command(&["pull", PROD]);
    let json = Run::of(command.env("STATECTL_FORMAT", "json").output().unwrap()).expect(0);
    assert_eq!(json.out, human.out);
    let notice: Value = serde_json::from_str(&json.err).unwrap();
    assert_eq!(
        (&notice["kind"], &notice["revision"]),
        (&"notice".into(), &rev.as_str().into())
    );
    sandbox.write("pulled.json", &json.out);
    let mut command = sandbox.command(&["push", PROD, "pulled.json"]);
    let pushed = Run::of(command.env("STATECTL_FORMAT", "json").output().unwrap()).expect(0);
    let pushed: Value = serde_json::from_str(&pushed.out).unwrap();
    assert_eq!(
        (&pushed["written"], &pushed["revision"]),
        (&false.into(), &rev.as_str().into())
    );
}

/// (N9) Errors had another envelope than answers, without a version.
#[test]
fn errors_have_the_envelope_of_answers() {
    let schema = Schema::new();
    let (sandbox, _) = Sandbox::with_snapshot("first");
    for (kind, code, arguments) in [
        ("no-such-stack", 3, &["pull", "demo/dev"][..]),
        ("not-found", 3, &["pull", PROD, "--rev", "2026-07-10T12:00:00Z"]),
        (
            "current-moved",
            6,
            &["set-current", PROD, "REV", "--expect", "none"],
        ),
        ("invalid-name", 7, &["pull", "../x"]),
        ("usage", 2, &["pull"]),
        ("usage", 2, &["pull", PROD, "--backend", "nowhere:x"]),
        ("io", 1, &["push", PROD, "no-such-file"]),
        ("invalid-key", 5, &["pull", PROD, "--encrypter", "key-file:."]),
        (
            "missing-key",
            5,
            &["pull", PROD, "--encrypter", "key-file:no-such-file"],
        ),
    ] {
        let rev = sandbox.answer(&["current", PROD]);
        let arguments: Vec<&str> = arguments
            .iter()
            .map(|argument| if *argument == "REV" { &rev } else { *argument })
            .collect();
        let run = sandbox.run(&[&arguments[..], &["--json"]].concat()).expect(code);
        assert_eq!(run.out, "");
        let document: Value = serde_json::from_str(&run.err).unwrap();
        assert_eq!(schema.check(&document), "error");
        assert_eq!(
            (&document["error"], &document["exit-code"]),
            (&kind.into(), &code.into()),
            "{}",
            run.err
        );
    }
}

/// (N9) `--json` was not accepted.
#[test]
fn json_is_short_for_the_format_everywhere() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    for arguments in [
        &["--json", "current", PROD][..],
        &["current", PROD, "--json"],
        &["current", "--json", PROD],
        &["current", PROD, "--format=json"],
    ] {
        let document: Value = serde_json::from_str(&sandbox.answer(arguments)).unwrap();
        assert_eq!(document["kind"], "current");
    }
    let usage = sandbox.run(&["--json", "frobnicate"]).expect(2);
    assert_eq!(lines(&usage.err).next().unwrap()["error"], "usage");
    // The command's own option is left to it.
    let usage = sandbox.run(&["lock", "--", "--json"]).expect(2);
    assert!(!usage.err.starts_with('{'), "{}", usage.err);
}

/// The page shows an example of each document.
#[test]
fn examples_of_the_page_follow_their_schemas() {
    let schema = Schema::new();
    let page = include_str!("../../../../docs/json.md");
    let blocks = page.split("```json\n").skip(1);
    let seen: BTreeSet<String> = blocks
        .map(|block| {
            let text = block.split("```").next().unwrap();
            schema.check(&serde_json::from_str(text).unwrap())
        })
        .collect();
    assert_eq!(seen, schema.kinds().into_iter().map(str::to_owned).collect());
}

#[test]
fn format_comes_from_the_environment() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    let output = sandbox
        .command(&["current", PROD])
        .env("STATECTL_FORMAT", "json")
        .output()
        .unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["revision"], rev.as_str());
}
