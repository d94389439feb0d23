//! How revisions are named: `@`, `@-`, `latest`, the beginning of a name, a time.

use crate::sandbox::Sandbox;

const PROD: &str = "demo/prod";

/// Three revisions, each the parent of the next.
fn three() -> (Sandbox, [String; 3]) {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let second = sandbox.push("second", &["--expect", &first]);
    let third = sandbox.push("third", &["--expect", &second]);
    (sandbox, [first, second, third])
}

/// The revision that a selector means to `list`.
fn meant(sandbox: &Sandbox, selector: &[&str]) -> String {
    let listed = sandbox.document(&[&["list", PROD], selector].concat());
    listed["revision"].as_str().unwrap().to_owned()
}

#[test]
fn revisions_are_counted_back_from_the_current_one() {
    let (sandbox, [first, second, third]) = three();
    assert_eq!(meant(&sandbox, &["--rev", "@"]), third);
    assert_eq!(meant(&sandbox, &["--rev", "@-"]), second);
    assert_eq!(meant(&sandbox, &["--rev", "@-2"]), first);
    sandbox.answer(&["set-current", PROD, "@-"]);
    assert_eq!(sandbox.answer(&["current", PROD]), second);
    assert_eq!(meant(&sandbox, &["--rev", "@-"]), first);
    assert_eq!(meant(&sandbox, &["--rev", "latest"]), third);
}

#[test]
fn selectors_work_in_every_command_that_takes_a_revision() {
    let (sandbox, [first, second, third]) = three();
    let prefix = &second[..second.len() - 3];
    for selector in [&["--rev", "@-"][..], &["--rev", prefix], &["--at", &second]] {
        let pulled = sandbox.run(&[&["pull", PROD], selector].concat()).expect(0);
        assert!(pulled.out.contains("\"second\""), "{selector:?}");
        let show = &["show", PROD, "resource.database"];
        assert!(sandbox.answer(&[show, selector].concat()).contains("\"second\""));
        assert_eq!(meant(&sandbox, selector), second);
    }
    sandbox.answer(&["set-current", PROD, "--at", &first]);
    assert_eq!(sandbox.answer(&["current", PROD]), first);
    sandbox.answer(&["set-current", PROD, "latest", "--unchecked"]);
    assert_eq!(sandbox.answer(&["current", PROD]), third);
    let deleted = sandbox.document(&["delete", PROD, "@-"]);
    assert_eq!(deleted["revision"], second.as_str());
    assert_eq!(deleted["existed"], true);
}

#[test]
fn ambiguous_beginning_lists_what_it_could_mean() {
    let (sandbox, revisions) = three();
    let run = sandbox.run(&["pull", PROD, "--rev", "20"]).expect(2);
    let mut run = run.says(&["\"20\" may mean ", "give more of the name"]);
    for rev in &revisions {
        run = run.says(&[rev]);
    }
    assert_eq!(run.out, "");
}

/// The name of the first revision of a moment is the beginning of the others of that moment.
#[test]
fn whole_name_is_not_ambiguous() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let twin = format!("{first}_1");
    std::fs::copy(sandbox.snapshot_file(&first), sandbox.snapshot_file(&twin)).unwrap();
    assert_eq!(meant(&sandbox, &["--rev", &first]), first);
    let ambiguous = &first[..first.len() - 1];
    sandbox
        .run(&["pull", PROD, "--rev", ambiguous])
        .expect(2)
        .says(&[&twin]);
}

#[test]
fn time_means_the_revision_that_was_current_then() {
    let (sandbox, [first, second, third]) = three();
    // It was stored last, and is on no way back.
    sandbox.answer(&["set-current", PROD, &first]);
    let other = sandbox.push("other", &["--expect", &first]);
    for (time, expected) in [
        (&first, &first),
        (&second, &first),
        (&third, &first),
        (&other, &other),
        (&"now".to_owned(), &other),
        (&"0s ago".to_owned(), &other),
    ] {
        assert_eq!(&meant(&sandbox, &["--at", time]), expected, "{time}");
    }
    sandbox
        .run(&["list", PROD, "--at", "1 hour ago"])
        .expect(3)
        .says(&["nothing is known to have been current at", &first]);
    sandbox
        .run(&["list", PROD, "--at", "yesterday"])
        .expect(2)
        .says(&["2 hours ago"]);
    sandbox
        .run(&["list", PROD, "--at", "now", "--rev", "@"])
        .expect(2);
    sandbox.run(&["set-current", PROD]).expect(2).says(&["REV"]);
}

#[test]
fn history_ends_at_a_parent_that_was_deleted() {
    let (sandbox, [_, second, third]) = three();
    sandbox.answer(&["delete", PROD, &second]);
    assert_eq!(meant(&sandbox, &["--rev", "@-0"]), third);
    for selector in [&["--rev", "@-"][..], &["--rev", "@-2"], &["--at", &second]] {
        sandbox
            .run(&[&["list", PROD], selector].concat())
            .expect(3)
            .says(&[&format!("its parent {second} is not stored any more")]);
    }
}

#[test]
fn selectors_need_a_key_only_where_something_is_opened() {
    let (sandbox, [first, second, _]) = three();
    std::fs::remove_file(sandbox.default_key()).unwrap();
    sandbox.answer(&["set-current", PROD, "@-", "--unchecked"]);
    assert_eq!(sandbox.answer(&["current", PROD]), second);
    assert_eq!(
        sandbox.document(&["delete", PROD, "@-"])["revision"],
        first.as_str()
    );
    let run = sandbox.run(&["pull", PROD, "--rev", "@"]);
    run.expect(5).says(&["key"]);
    // A missing revision is named before a missing key.
    sandbox.run(&["pull", PROD, "--rev", "@-7"]).expect(3);
}
