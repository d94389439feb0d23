use crate::sandbox::{Sandbox, snapshot};
use std::fs;

const PROD: &str = "demo/prod";

#[test]
fn set_current_repairs_a_damaged_or_dangling_current() {
    for damage in ["", "two\nlines\n", "../../x", "2026-07-10T12:00:00Z\n"] {
        let (sandbox, rev) = Sandbox::with_snapshot("first");
        fs::write(sandbox.stack().join("current"), damage).unwrap();
        sandbox.write("state.json", &snapshot("prod", "second"));
        for arguments in [
            &["current", PROD][..],
            &["pull", PROD],
            &["list", PROD],
            &["push", PROD, "state.json"],
            &["push", PROD, "state.json", "--force"],
        ] {
            sandbox.run(arguments).expect(5).says(&[
                "statectl set-current demo/prod REV",
                "statectl snapshots demo/prod",
            ]);
        }
        let listing = sandbox.run(&["snapshots", PROD]).expect(0).says(&["warning"]);
        assert!(listing.out.contains(&rev), "{damage:?}");
        assert_eq!(sandbox.answer(&["set-current", PROD, &rev]), rev);
        sandbox.run(&["pull", PROD]).expect(0);
    }
}

/// (N3) A revision became current that nobody could open.
#[test]
fn set_current_refuses_a_revision_that_does_not_open() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let second = sandbox.push("second", &["--expect", &first]);
    let file = sandbox.snapshot_file(&first);
    let whole = fs::read(&file).unwrap();
    for (damage, content) in [("cut short", &whole[..whole.len() - 9]), ("no sealed file", b"?")] {
        fs::write(&file, content).unwrap();
        sandbox
            .run(&["set-current", PROD, &first])
            .expect(5)
            .says(&["--unchecked"]);
        assert_eq!(sandbox.answer(&["current", PROD]), second, "{damage}");
    }
    fs::write(&file, &whole).unwrap();
    sandbox.run(&["set-current", PROD, &first]).expect(0);
}

/// (N3) The repair must not need a key that is elsewhere.
#[test]
fn set_current_unchecked_needs_no_key() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let second = sandbox.push("second", &["--expect", &first]);
    fs::remove_file(sandbox.default_key()).unwrap();
    sandbox
        .run(&["set-current", PROD, &first])
        .expect(5)
        .says(&["--unchecked"]);
    assert_eq!(sandbox.answer(&["current", PROD]), second);
    assert_eq!(
        sandbox.answer(&["set-current", PROD, &first, "--unchecked"]),
        first
    );
    assert_eq!(sandbox.answer(&["current", PROD]), first);
}

#[test]
fn set_current_compares_with_the_expected_revision() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let second = sandbox.push("second", &["--expect", &first]);
    sandbox
        .run(&["set-current", PROD, &first, "--expect", &first])
        .expect(6);
    sandbox
        .run(&["set-current", PROD, &first, "--expect", "none"])
        .expect(6);
    assert_eq!(sandbox.answer(&["current", PROD]), second);
    assert_eq!(
        sandbox.answer(&["set-current", PROD, &first, "--expect", &second]),
        first
    );
    assert_eq!(sandbox.answer(&["current", PROD]), first);
    sandbox
        .run(&["set-current", PROD, "2026-07-10T12:00:00Z"])
        .expect(3);
}

#[test]
fn delete_spares_the_current_revision() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let second = sandbox.push("second", &["--expect", &first]);
    sandbox
        .run(&["delete", PROD, &second])
        .expect(1)
        .says(&["set-current"]);
    assert_eq!(sandbox.document(&["delete", PROD, &first])["existed"], true);
    assert_eq!(sandbox.document(&["delete", PROD, &first])["existed"], false);
    sandbox
        .run(&["delete", PROD, &first])
        .expect(0)
        .says(&["there was no revision", &first]);
    assert_eq!(
        sandbox.document(&["snapshots", PROD])["revisions"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
