use crate::sandbox::{Sandbox, snapshot};
use serde_json::Value;

const PROD: &str = "demo/prod";

#[test]
fn every_command_answers_with_one_document_of_its_kind() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    sandbox.write("state.json", &snapshot("prod", "second"));
    for (kind, arguments) in [
        ("pushed", &["push", PROD, "state.json", "--expect", &rev][..]),
        ("snapshot", &["pull", PROD]),
        ("current", &["current", PROD]),
        ("snapshots", &["snapshots", PROD]),
        ("entries", &["list", PROD]),
        ("entry", &["show", PROD, "action.migrate"]),
        ("current", &["set-current", PROD, &rev]),
        ("deleted", &["delete", PROD, "2026-07-10T12:00:00Z"]),
        ("stacks", &["stacks"]),
        ("lock-status", &["lock-status", PROD]),
        ("unlocked", &["force-unlock", PROD, "--yes"]),
        ("key", &["keygen"]),
        ("key", &["keygen", "key"]),
    ] {
        let run = sandbox
            .run(&[arguments, &["--format", "json"]].concat())
            .expect(0);
        assert_eq!(run.out.lines().count(), 1, "{}", run.out);
        let document: Value = serde_json::from_str(&run.out).unwrap();
        assert_eq!(document["kind"], kind, "{arguments:?}");
        assert_eq!(document["format-version"], 1, "{arguments:?}");
        for line in run.err.lines() {
            serde_json::from_str::<Value>(line).unwrap();
        }
    }
}

#[test]
fn pull_has_the_revision_and_the_snapshot_in_its_document_to_the_digit() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    let out = sandbox.answer(&["pull", PROD, "--format", "json"]);
    assert!(out.contains("18446744073709551616.10"));
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["revision"], rev.as_str());
    assert_eq!(document["snapshot"]["stack"], "prod");
    assert!(
        sandbox
            .answer(&["show", PROD, "resource.database"])
            .contains("18446744073709551616.10")
    );
}

#[test]
fn an_error_is_a_document_on_standard_error() {
    let sandbox = Sandbox::new();
    for (kind, code, arguments) in [
        ("no-current", 3, &["pull", PROD][..]),
        ("invalid-name", 7, &["pull", "../x"]),
        ("usage", 2, &["pull"]),
        ("usage", 2, &["pull", PROD, "--backend", "nowhere:x"]),
        ("io", 1, &["push", PROD, "no-such-file"]),
    ] {
        let run = sandbox
            .run(&[arguments, &["--format", "json"]].concat())
            .expect(code);
        assert_eq!(run.out, "");
        let document: Value = serde_json::from_str(&run.err).unwrap();
        assert_eq!(document["error"]["kind"], kind, "{}", run.err);
        assert!(document["error"]["message"].is_string());
        assert!(document["error"].get("hint").is_some());
    }
}

#[test]
fn the_format_may_come_from_the_environment() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    let output = sandbox
        .command(&["current", PROD])
        .env("STATECTL_FORMAT", "json")
        .output()
        .unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["revision"], rev.as_str());
}

#[test]
fn the_help_of_every_command_has_an_example() {
    let sandbox = Sandbox::new();
    let help = sandbox.answer(&["--help"]);
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names: Vec<&str> = commands
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty() && *name != "help")
        .collect();
    assert_eq!(names.len(), 14, "{names:?}");
    for name in names {
        let help = sandbox.answer(&[name, "--help"]);
        assert!(help.contains("Example:\n  statectl "), "{help}");
    }
}

#[test]
fn completions_know_the_commands() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(sandbox.answer(&["completions", shell]).contains("force-unlock"));
    }
}
