use crate::sandbox::{SECRET, Sandbox, everything_in};
use std::process::Stdio;

const PROD: &str = "demo/prod";

#[test]
fn reading_commands_create_nothing() {
    let sandbox = Sandbox::new();
    for (arguments, code) in [
        (&["pull", PROD][..], 3),
        (&["pull", PROD, "--rev", "2026-07-10T12:00:00Z"], 3),
        (&["current", PROD], 3),
        (&["snapshots", PROD], 3),
        (&["log", PROD], 3),
        (&["diff", PROD], 3),
        (&["rollback", PROD, "@-", "--yes"], 3),
        (&["list", PROD], 3),
        (&["show", PROD, "resource.database"], 3),
        (&["output", PROD], 3),
        (&["mv", PROD, "resource.database", "resource.db"], 3),
        (&["rm", PROD, "resource.database"], 3),
        (&["edit", PROD], 2),
        (&["stacks"], 0),
        (&["lock-status", PROD], 3),
        (&["force-unlock", PROD, "--yes"], 3),
        (&["delete", PROD, "2026-07-10T12:00:00Z"], 3),
        (&["set-current", PROD, "2026-07-10T12:00:00Z"], 3),
        (&["keygen"], 0),
        (&["completions", "bash"], 0),
    ] {
        sandbox.run(arguments).expect(code);
        let path = sandbox.path("");
        assert_eq!(
            everything_in(&path),
            [] as [std::path::PathBuf; 0],
            "{arguments:?}"
        );
    }
}

#[test]
fn pull_prints_values_as_they_are() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    let run = sandbox.run(&["pull", PROD]).expect(0).says(&[&rev]);
    assert!(run.out.contains(SECRET) && run.out.contains("\"size\": 18446744073709551616.10"));
    assert!(run.out.starts_with("{\n  \"format-version\": 1") && run.out.ends_with("}\n"));
}

#[test]
fn older_revision_is_read_by_name() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    sandbox.push("second", &["--expect", &first]);
    for arguments in [
        &["pull", PROD, "--rev", &first][..],
        &["show", PROD, "resource.database", "--rev", &first],
    ] {
        let out = sandbox.answer(arguments);
        assert!(out.contains("\"first\"") && !out.contains("\"second\""), "{out}");
    }
    assert_eq!(
        sandbox.document(&["list", PROD, "--rev", &first])["revision"],
        first.as_str()
    );
}

#[test]
fn show_masks_sensitive_members_in_both_formats() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    let show = ["show", PROD, "resource.database"];
    for format in ["human", "json"] {
        let masked = sandbox.answer(&[&show[..], &["--format", format]].concat());
        assert!(!masked.contains(SECRET), "{masked}");
        assert_eq!(masked.matches("(sensitive)").count(), 3, "{masked}");
        assert!(masked.contains("first") && masked.contains("5432"), "{masked}");
        let revealed = sandbox.answer(&[&show[..], &["--format", format, "--reveal"]].concat());
        assert_eq!(revealed.matches(SECRET).count(), 3, "{revealed}");
        assert!(!revealed.contains("(sensitive)"));
    }
    let document = sandbox.document(&show);
    let names = serde_json::json!(["inputs.password", "inputs.tags", "outputs.connection"]);
    assert_eq!(document["masked"], names);
}

#[test]
fn list_marks_sensitive_and_missing_without_values() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    let out = sandbox.answer(&["list", PROD]);
    assert!(!out.contains(SECRET));
    let line = |address: &str| {
        out.lines()
            .find(|line| line.starts_with(address))
            .unwrap()
            .to_owned()
    };
    assert!(line("resource.database").ends_with("sensitive"));
    assert!(line("action.migrate").contains("core.command"));
    assert!(line("action.migrate").ends_with("! needs resource.gone, which is not here"));
}

#[test]
fn current_revision_is_marked_by_more_than_colour() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let second = sandbox.push("second", &["--expect", &first]);
    let out = sandbox.answer(&["snapshots", PROD]);
    let marked: Vec<&str> = out.lines().filter(|line| line.starts_with('*')).collect();
    assert!(matches!(marked[..], [line] if line.contains(&second)), "{out}");
    assert!(!out.contains('\u{1b}'));
    let colourful = sandbox.answer(&["snapshots", PROD, "--color", "always"]);
    assert!(colourful.contains('\u{1b}'));
}

#[test]
fn damaged_files_are_listed_and_hide_nothing() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    std::fs::write(sandbox.snapshot_file("not-a-revision"), "what is this").unwrap();
    std::fs::write(sandbox.snapshot_file("2026-07-10T12:00:00Z"), "").unwrap();
    std::fs::copy(
        sandbox.snapshot_file(&rev),
        sandbox.snapshot_file("2026-07-11T12:00:00Z"),
    )
    .unwrap();
    let listing = sandbox.document(&["snapshots", PROD]);
    let problems: Vec<(&str, bool)> = listing["revisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["revision"].as_str().unwrap(), row["problem"].is_string()))
        .collect();
    assert_eq!(
        problems,
        [
            ("not-a-revision", true),
            (&rev, false),
            ("2026-07-11T12:00:00Z", true),
            ("2026-07-10T12:00:00Z", true)
        ]
    );
    assert_eq!(sandbox.answer(&["snapshots", PROD]).matches(" ! ").count(), 3);
}

#[test]
fn message_cannot_steer_the_terminal() {
    let sandbox = Sandbox::new();
    sandbox.push("first", &["--message", "\u{1b}[2Jboo\u{202e}"]);
    let out = sandbox.answer(&["snapshots", PROD, "--color", "always"]);
    assert!(
        out.contains("\\u{1b}[2Jboo\\u{202e}") && !out.contains("\u{1b}[2J"),
        "{out:?}"
    );
}

#[test]
fn stacks_shows_problems_and_hides_no_stack() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    sandbox.write("dev.json", &crate::sandbox::snapshot("dev", "first"));
    sandbox.run(&["push", "demo/dev", "dev.json"]).expect(0);
    std::fs::write(sandbox.path(".unobin/state/demo/dev/current"), "?").unwrap();
    let stacks = sandbox.document(&["stacks"])["stacks"].clone();
    assert_eq!(
        (&stacks[0]["stack"], &stacks[1]["stack"]),
        (&"demo/dev".into(), &PROD.into())
    );
    assert!(stacks[0]["problem"].is_string() && stacks[0]["current"].is_null());
    assert!(stacks[1]["problem"].is_null() && stacks[1]["current"] == rev.as_str());
    assert_eq!(stacks[1]["snapshots"], 1);
    let out = sandbox.answer(&["stacks"]);
    assert!(out.contains("demo/dev") && out.contains(&rev), "{out}");
}

#[test]
fn closed_pipe_is_quiet() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    for arguments in [
        &["pull", PROD][..],
        &["list", PROD],
        &["snapshots", PROD, "--format", "json"],
        &["completions", "bash"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = sandbox
            .command(arguments)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {err}");
        assert!(!err.contains("error") && !err.contains("panicked"), "{err}");
    }
}
