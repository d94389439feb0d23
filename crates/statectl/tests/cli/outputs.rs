//! `output`.

use crate::sandbox::{SECRET, Sandbox, snapshot};
use serde_json::{Value, json};

const PROD: &str = "demo/prod";

/// A stack whose outputs have a value of each type, and its revision.
fn with_outputs() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let mut document: Value = serde_json::from_str(&snapshot("prod", "first")).unwrap();
    document["outputs"] = json!({
        "url": "https://prod.example.com/\u{1b}[2J", "port": 5432, "open": true, "nothing": null,
        "connection": { "url": format!("db://{SECRET}") },
    });
    sandbox.write("outputs.json", &document.to_string());
    let rev = sandbox.answer(&["push", PROD, "outputs.json"]);
    (sandbox, rev)
}

/// A snapshot does not record which outputs are secret.
#[test]
fn outputs_are_masked_unless_they_are_revealed() {
    let (sandbox, rev) = with_outputs();
    for format in ["human", "json"] {
        let output = ["output", PROD, "--format", format];
        let masked = sandbox.answer(&output);
        assert!(!masked.contains(SECRET) && !masked.contains("5432"), "{masked}");
        assert!(
            masked.contains("connection") && masked.contains("(sensitive)"),
            "{masked}"
        );
        let revealed = sandbox.answer(&[&output[..], &["--reveal"]].concat());
        assert!(
            revealed.contains(SECRET) && revealed.contains("5432"),
            "{revealed}"
        );
        assert!(!revealed.contains("(sensitive)") && !revealed.contains('\u{1b}'));
    }
    let one = sandbox.document(&["output", PROD, "port"]);
    assert_eq!(
        (&one["revision"], &one["masked"], &one["outputs"]),
        (&rev.into(), &json!(["port"]), &json!({"port": "(sensitive)"}))
    );
    assert_eq!(sandbox.answer(&["output", PROD, "port", "--reveal"]), "5432");
}

#[test]
fn raw_output_is_for_one_simple_value() {
    let (sandbox, _) = with_outputs();
    let raw = |name: &str, code| {
        let run = sandbox
            .run(&["output", PROD, name, "--raw", "--reveal"])
            .expect(code);
        assert!(run.err.is_empty() || code != 0);
        run.out
    };
    assert_eq!(raw("url", 0), "https://prod.example.com/\u{1b}[2J");
    assert_eq!((raw("port", 0), raw("open", 0)), ("5432".into(), "true".into()));
    assert_eq!(
        (raw("connection", 1), raw("nothing", 1)),
        (String::new(), String::new())
    );
    let hidden = sandbox.run(&["output", PROD, "url", "--raw"]).expect(2);
    assert_eq!(hidden.out, "");
    hidden.says(&["--reveal"]);
    sandbox.run(&["output", PROD, "--raw", "--reveal"]).expect(2);
}

#[test]
fn unknown_output_suggests_the_nearest() {
    let (sandbox, _) = with_outputs();
    let run = sandbox.run(&["output", PROD, "urls", "--reveal"]).expect(3);
    assert_eq!(run.out, "");
    run.says(&["no output \"urls\"", "did you mean url?"]);
}

#[test]
fn outputs_of_an_older_revision_are_printed() {
    let (sandbox, first) = with_outputs();
    sandbox.push("second", &["--expect", &first]);
    let run = sandbox.run(&["output", PROD]).expect(0);
    assert_eq!(run.out, "");
    run.says(&["has no outputs"]);
    assert_eq!(sandbox.document(&["output", PROD])["outputs"], json!({}));
    let older = ["output", PROD, "port", "--raw", "--reveal", "--rev", &first];
    assert_eq!(sandbox.answer(&older), "5432");
}
