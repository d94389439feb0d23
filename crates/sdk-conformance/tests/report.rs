//! What a report says of rules that are kept, broken, skipped and excepted: nothing is passed over silently.

use crate::support::Memory;
use sdk_conformance::{Exception, Fault, Faulty, Fixture, Method, Outcome, RULES, Report, Rule, try_rule};
use sdk_state::{Backend, Error, ErrorKind, StackId};
use serde_json::{Value, json};
use std::process::Command;
use std::sync::Arc;

/// A fixture without hooks, the first list of every handle of which fails.
#[derive(Default)]
struct Unlisted(Memory);

impl Fixture for Unlisted {
    fn open(&self, id: &StackId) -> Result<Box<dyn Backend>, Error> {
        let backend = Faulty::new(self.0.open(id)?);
        Ok(Box::new(backend.with(
            Method::List,
            1,
            Fault::FailBefore(ErrorKind::Io),
        )))
    }
}

fn rules(ids: &[&str]) -> Vec<&'static Rule> {
    RULES.iter().filter(|rule| ids.contains(&rule.id)).collect()
}

fn report(exceptions: &[Exception]) -> Report {
    let rules = rules(&["CREATE-05", "READ-04", "LIST-01", "POINTER-07"]);
    Report::run(rules, || Arc::new(Unlisted::default()), exceptions)
}

const DECLARED: Exception = Exception {
    rule: "LIST-01",
    reason: "the first list fails",
};

#[test]
fn a_report_tells_kept_broken_skipped_and_excepted() {
    let report = report(&[DECLARED]);
    let outcomes: Vec<_> = report
        .entries()
        .iter()
        .map(|entry| (entry.rule, &entry.outcome))
        .collect();
    assert_eq!(outcomes[0], ("CREATE-05", &Outcome::Kept));
    assert!(matches!(outcomes[1], ("READ-04", Outcome::Broken(violation))
        if violation.rule() == "READ-04" && violation.expected() == "listing to succeed"));
    assert_eq!(outcomes[2], ("LIST-01", &Outcome::Excepted(DECLARED.reason)));
    assert_eq!(
        outcomes[3],
        ("POINTER-07", &Outcome::Skipped("overwrite_pointer"))
    );
    assert_eq!(report.broken(), ["READ-04"]);
    assert!(!report.is_good());

    let table = report.to_string();
    for line in [
        "CREATE-05   kept           a snapshot of 16 MiB is kept\n",
        "READ-04     BROKEN         ",
        "                           the fixture has no hook `overwrite_pointer`, or it does not apply\n",
        "                           the first list fails\n",
        "\n1 of 4 rules are kept",
    ] {
        assert!(table.contains(line), "{table}");
    }
}

#[test]
fn an_exception_to_a_kept_rule_is_reported() {
    let kept = Exception {
        rule: "CREATE-05",
        reason: "small objects only",
    };
    let read = Exception {
        rule: "READ-04",
        reason: DECLARED.reason,
    };
    assert!(report(&[DECLARED, read]).is_good());
    let report = report(&[DECLARED, read, kept]);
    assert_eq!(
        report.entries()[0].outcome,
        Outcome::KeptAfterAll("small objects only")
    );
    assert!(!report.is_good());
    assert!(report.to_string().contains("CREATE-05   KEPT AFTER ALL "));
}

#[test]
fn a_failing_test_tells_rule_finding_and_where_to_read() {
    let failure = try_rule("READ-04", Arc::new(Unlisted::default()), &[]).unwrap_err();
    let lines: Vec<_> = failure.lines().collect();
    assert!(
        lines[0].starts_with("READ-04 BROKEN: expected listing to succeed; found "),
        "{failure}"
    );
    assert_eq!(
        lines[1..],
        [
            "  the rule: in a place that nobody wrote to nothing is listed, current or locked",
            "  more of it: where the documentation of `sdk-state` quotes READ-04",
        ]
    );

    let needless = Exception {
        rule: "READ-04",
        reason: "slow lists",
    };
    let failure = try_rule("READ-04", Arc::new(Memory::default()), &[needless]).unwrap_err();
    assert!(
        failure.starts_with("READ-04 KEPT AFTER ALL: the declared exception is not one: slow lists\n"),
        "{failure}"
    );
}

/// Two rules as the macro makes tests of them, for the test below.
mod passed_over {
    use super::*;

    #[test]
    fn excepted() {
        try_rule("LIST-01", Arc::new(Unlisted::default()), &[DECLARED]).unwrap();
    }

    #[test]
    fn skipped() {
        try_rule("POINTER-07", Arc::new(Unlisted::default()), &[]).unwrap();
    }
}

/// The harness keeps what a test that passes prints with a macro, and an exception would go unseen.
#[test]
fn passing_tests_print_what_was_excepted_and_skipped() {
    let this = std::env::current_exe().unwrap();
    let run = Command::new(this).arg("passed_over").output().unwrap();
    assert!(run.status.success(), "{run:?}");
    let printed = String::from_utf8(run.stderr).unwrap();
    for line in [
        "LIST-01 excepted: the first list fails\n",
        "POINTER-07 skipped: the fixture has no hook `overwrite_pointer`, or it does not apply\n",
    ] {
        assert!(printed.contains(line), "{printed}");
    }
}

/// A place in memory whose backend keeps no journal.
#[derive(Default)]
struct Unjournalled(Memory);

impl Fixture for Unjournalled {
    fn open(&self, id: &StackId) -> Result<Box<dyn Backend>, Error> {
        let backend = Faulty::new(self.0.open(id)?);
        let no_journal = || Fault::FailBefore(ErrorKind::Unsupported);
        Ok(Box::new((1..=10).fold(backend, |backend, nth| {
            backend.with(Method::Append, nth, no_journal())
        })))
    }
}

#[test]
fn rules_about_a_journal_do_not_apply_without_one() {
    let rules = RULES.iter().filter(|rule| rule.id.starts_with("JOURNAL"));
    let report = Report::run(rules, || Arc::new(Unjournalled::default()), &[]);
    let not_applicable = Outcome::NotApplicable("the backend keeps no journal");
    for entry in report.entries() {
        let expected = match entry.rule {
            "JOURNAL-16" => &Outcome::Kept,
            _ => &not_applicable,
        };
        assert_eq!(&entry.outcome, expected, "{}", entry.rule);
    }
    assert!(report.is_good());
    let table = report.to_string();
    let line = "JOURNAL-02  not applicable a record of 16 MiB is kept\n";
    assert!(table.contains(line), "{table}");
    assert!(report.to_json().contains(r#""outcome":"not-applicable""#));
}

#[test]
fn an_exception_to_no_rule_is_reported() {
    let unknown = Exception {
        rule: "CREATE-99",
        reason: "a slip of the pen",
    };
    let report = Report::run(rules(&["CREATE-05"]), || Arc::new(Memory::default()), &[unknown]);
    assert!(!report.is_good());
    assert!(report.to_string().contains("CREATE-99   UNUSED"), "{report}");
    assert!(report.to_json().contains(r#""unused-exceptions":["CREATE-99"]"#));
}

#[test]
fn a_second_exception_to_a_rule_is_reported() {
    let second = Exception {
        reason: "so does the second",
        ..DECLARED
    };
    let report = report(&[DECLARED, second]);
    assert!(
        report
            .to_string()
            .ends_with("so does the second\n1 of 4 rules are kept"),
        "{report}"
    );
    assert!(report.to_json().contains(r#""unused-exceptions":["LIST-01"]"#));
}

#[test]
fn the_json_has_the_shape_that_is_documented() {
    let kept = Exception {
        rule: "CREATE-05",
        reason: "small objects only",
    };
    let unknown = Exception {
        rule: "CREATE-99",
        reason: "a slip of the pen",
    };
    let found: Value = serde_json::from_str(&report(&[DECLARED, kept, unknown]).to_json()).unwrap();
    assert_eq!(
        found,
        json!({
            "good": false,
            "kept": 0,
            "broken": ["READ-04"],
            "unused-exceptions": ["CREATE-99"],
            "rules": [
                {
                    "rule": "CREATE-05",
                    "sentence": "a snapshot of 16 MiB is kept",
                    "outcome": "kept-after-all",
                    "detail": "the declared exception is not one: small objects only",
                },
                {
                    "rule": "READ-04",
                    "sentence": "in a place that nobody wrote to nothing is listed, current or locked",
                    "outcome": "broken",
                    "detail": found["rules"][1]["detail"],
                },
                {
                    "rule": "LIST-01",
                    "sentence": "every snapshot is listed exactly once, whatever the order of creation",
                    "outcome": "excepted",
                    "detail": "the first list fails",
                },
                {
                    "rule": "POINTER-07",
                    "sentence": "a pointer that is anything but one valid name is Damaged and never none",
                    "outcome": "skipped",
                    "detail": "the fixture has no hook `overwrite_pointer`, or it does not apply",
                },
            ],
        })
    );
    let detail = found["rules"][1]["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("expected listing to succeed; found "),
        "{detail}"
    );

    let good: Value = serde_json::from_str(&kept_only().to_json()).unwrap();
    assert_eq!((&good["good"], &good["kept"]), (&json!(true), &json!(1)));
    assert_eq!(good["rules"][0]["outcome"], json!("kept"));
    assert_eq!(good["rules"][0]["detail"], Value::Null);
}

fn kept_only() -> Report {
    Report::run(rules(&["CREATE-05"]), || Arc::new(Memory::default()), &[])
}
