use crate::sandbox::{Sandbox, snapshot, with_input};
use serde_json::json;

const PROD: &str = "demo/prod";

#[test]
fn the_first_push_prints_the_revision_alone_and_it_is_current() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    assert_eq!(sandbox.answer(&["current", PROD]), rev);
    assert_eq!(rev.lines().count(), 1);
}

#[test]
fn the_network_of_the_examples_is_pushed_and_comes_back_to_the_byte() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/network.json");
    let sandbox = Sandbox::new();
    sandbox.run(&["push", PROD, example]).expect(0);
    let pulled = sandbox.run(&["pull", PROD]).expect(0).out;
    assert_eq!(pulled, std::fs::read_to_string(example).unwrap());
    let entries = sandbox.document(&["list", PROD])["entries"]
        .as_array()
        .unwrap()
        .clone();
    for kind in ["leaf", "library-call", "action", "data-source"] {
        assert!(entries.iter().any(|entry| entry["entry-kind"] == kind), "{kind}");
    }
    assert!(entries.iter().all(|entry| entry["missing"] == json!([])));
}

#[test]
fn standard_input_is_pushed_as_well() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["push", PROD, "-"]);
    let run = with_input(&mut command, snapshot("prod", "piped").as_bytes()).expect(0);
    assert_eq!(run.out.trim_end(), sandbox.answer(&["current", PROD]));
}

#[test]
fn identical_bytes_write_nothing_unless_forced_also_when_the_file_is_indented() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    let pulled = sandbox.answer(&["pull", PROD]);
    sandbox.write("pulled.json", &pulled);
    let again = sandbox.run(&["push", PROD, "pulled.json"]).expect(0);
    assert_eq!(again.out.trim_end(), rev);
    again.says(&["nothing has changed", "--force"]);
    let forced = sandbox.answer(&["push", PROD, "pulled.json", "--force"]);
    assert_ne!(forced, rev);
    assert_eq!(
        sandbox.document(&["snapshots", PROD])["snapshots"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn a_push_without_an_expectation_warns_in_one_line_and_one_with_it_does_not() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    sandbox.write("state.json", &snapshot("prod", "second"));
    let run = sandbox.run(&["push", PROD, "state.json"]).expect(0);
    assert_eq!(run.err.lines().count(), 1);
    let second = run
        .says(&["warning", "--expect", &first])
        .out
        .trim_end()
        .to_owned();
    sandbox.write("state.json", &snapshot("prod", "third"));
    let run = sandbox
        .run(&["push", PROD, "state.json", "--expect", &second])
        .expect(0);
    assert_eq!(run.err, "");
}

#[test]
fn a_push_onto_another_revision_than_expected_writes_nothing() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let second = sandbox.push("second", &["--expect", &first]);
    for expected in [&first, "none"] {
        sandbox.write("state.json", &snapshot("prod", "third"));
        sandbox
            .run(&["push", PROD, "state.json", "--expect", expected])
            .expect(6)
            .says(&[&second, "pull"]);
    }
    assert_eq!(
        sandbox.document(&["snapshots", PROD])["snapshots"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(sandbox.answer(&["current", PROD]), second);
}

#[test]
fn the_parent_and_the_message_are_recorded_for_whoever_reads_the_list() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    sandbox.push(
        "second",
        &["--expect", &first, "--message", "open port 443\nfor the shop"],
    );
    let listing = sandbox.document(&["snapshots", PROD]);
    let second = &listing["snapshots"][1];
    assert_eq!(second["parent"], json!(first));
    assert_eq!(second["message"], json!("open port 443\nfor the shop"));
    assert_eq!(second["who"], json!("alice"));
    let human = sandbox.answer(&["snapshots", PROD]);
    assert!(
        human.contains("open port 443 …") && human.contains("alice@"),
        "{human}"
    );
}

#[test]
fn snapshots_without_a_current_one_are_no_fresh_start_unless_it_is_said() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    std::fs::remove_file(sandbox.stack().join("current")).unwrap();
    sandbox.write("state.json", &snapshot("prod", "second"));
    sandbox
        .run(&["push", PROD, "state.json"])
        .expect(3)
        .says(&["set-current", "--expect none"]);
    let second = sandbox.answer(&["push", PROD, "state.json", "--expect", "none"]);
    assert!(second > rev);
}

#[test]
fn a_file_that_no_store_may_keep_is_refused_before_anything_is_made() {
    let sandbox = Sandbox::new();
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let with_inputs = |inputs: &str| snapshot("prod", "x").replace("{\"argv\":[]}", inputs);
    for (what, content) in [
        ("empty", String::new()),
        ("no JSON", "{".into()),
        (
            "another factory",
            snapshot("prod", "x").replace("\"demo\"", "\"other\""),
        ),
        ("another stack", snapshot("dev", "x")),
        (
            "a newer version",
            snapshot("prod", "x").replace("\"format-version\":1", "\"format-version\":2"),
        ),
        ("a repeated member", with_inputs(r#"{"a":1,"a":2}"#)),
        ("too deep", with_inputs(&format!(r#"{{"a":{deep}}}"#))),
    ] {
        sandbox.write("state.json", &content);
        let run = sandbox.run(&["push", PROD, "state.json"]);
        assert_eq!((run.code, run.out.as_str()), (7, ""), "{what}: {}", run.err);
    }
    assert!(!sandbox.path(".unobin").exists());
    assert!(!sandbox.path("config").exists());
}

#[test]
fn a_document_of_pull_is_not_taken_for_a_snapshot() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    let document = sandbox.answer(&["pull", PROD, "--format", "json"]);
    sandbox.write("document.json", &document);
    sandbox.run(&["push", PROD, "document.json"]).expect(7);
}
