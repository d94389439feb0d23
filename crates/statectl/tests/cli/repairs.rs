use crate::sandbox::{Sandbox, snapshot};
use std::fs;

const PROD: &str = "demo/prod";

#[test]
fn a_damaged_or_dangling_current_is_said_to_be_so_and_set_current_repairs_it() {
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

#[test]
fn set_current_goes_back_and_forth_as_expected() {
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
fn delete_spares_the_current_revision_and_what_is_not_there_is_fine() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let second = sandbox.push("second", &["--expect", &first]);
    sandbox
        .run(&["delete", PROD, &second])
        .expect(1)
        .says(&["set-current"]);
    assert_eq!(sandbox.document(&["delete", PROD, &first])["existed"], true);
    assert_eq!(sandbox.document(&["delete", PROD, &first])["existed"], false);
    assert_eq!(
        sandbox.document(&["snapshots", PROD])["snapshots"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
