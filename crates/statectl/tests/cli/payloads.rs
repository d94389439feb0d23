//! Documents of types that statectl does not read.

use crate::sandbox::{Run, Sandbox, snapshot, with_input};

const PLANS: &str = "demo/plans";
/// No JSON and no UTF-8.
const PLAN: &[u8] = b"a plan \xff\x00 of two steps";

fn pushed(sandbox: &Sandbox, arguments: &[&str]) -> Run {
    with_input(
        &mut sandbox.command(&[&["push", PLANS, "-"], arguments].concat()),
        PLAN,
    )
}

#[test]
fn raw_pull_and_payload_push_move_any_document() {
    let sandbox = Sandbox::new();
    let rev = pushed(&sandbox, &["--payload", "plan"]).expect(0).out;
    let pulled = sandbox.command(&["pull", PLANS, "--raw"]).output().unwrap();
    assert_eq!(pulled.stdout, PLAN);
    let said = String::from_utf8(pulled.stderr).unwrap();
    assert!(
        said.contains(rev.trim_end()) && said.contains("of type plan"),
        "{said}"
    );
    let again = pushed(&sandbox, &["--payload", "plan"]).expect(0);
    assert_eq!(again.out, rev);
    again.says(&["nothing has changed"]);
    // Its revisions are moved and deleted like any others.
    let second = pushed(&sandbox, &["--payload", "plan", "--force"]).expect(0).out;
    sandbox.run(&["set-current", PLANS, rev.trim_end()]).expect(0);
    sandbox.run(&["delete", PLANS, second.trim_end()]).expect(0);
}

/// (contract, rule 8) Once the error said that somebody had moved the file here.
#[test]
fn other_document_type_is_told_as_such() {
    let sandbox = Sandbox::new();
    let rev = pushed(&sandbox, &["--payload", "plan"]).expect(0).out;
    sandbox.write("state.json", &snapshot("plans", "first"));
    for arguments in [
        &["pull", PLANS][..],
        &["list", PLANS],
        &["show", PLANS, "resource.database"],
        &["output", PLANS],
        &["edit", PLANS],
        &["mv", PLANS, "resource.database", "resource.db"],
        &["rm", PLANS, "resource.database"],
        &["push", PLANS, "state.json"],
        &["push", PLANS, "state.json", "--payload", "script"],
    ] {
        let mut command = sandbox.command(arguments);
        let run = Run::of(command.env("EDITOR", "true").output().unwrap()).expect(5);
        assert!(!run.err.contains("moved"), "{}", run.err);
        run.says(&["this stack holds documents of type plan"]);
    }
    assert_eq!(sandbox.answer(&["current", PLANS]), rev.trim_end());
    sandbox.run(&["push", PLANS, "state.json", "--force"]).expect(0);
    pushed(&sandbox, &["--payload", "plan"])
        .expect(5)
        .says(&["documents of type state", "leave out --payload"]);
}

#[test]
fn raw_pull_of_a_snapshot_is_what_was_sealed() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    let raw = sandbox.answer(&["pull", "demo/prod", "--raw"]);
    assert!(!raw.contains('\n') && raw.contains("18446744073709551616.10"));
    sandbox.write("raw.json", &raw);
    sandbox
        .run(&["push", "demo/prod", "raw.json"])
        .expect(0)
        .says(&["nothing has changed"]);
}

#[test]
fn payload_type_that_is_no_name_is_refused() {
    let sandbox = Sandbox::new();
    for payload in ["", "a b", "../x", &"x".repeat(65)] {
        let run = pushed(&sandbox, &["--payload", payload]);
        assert_eq!(run.code, 7, "{payload:?}: {}", run.err);
    }
}
