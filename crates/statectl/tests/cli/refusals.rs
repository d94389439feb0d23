use crate::sandbox::{Run, Sandbox, everything_in, snapshot};
use std::fs;

const PROD: &str = "demo/prod";

#[test]
fn hostile_names_build_no_path() {
    let sandbox = Sandbox::new();
    let long = format!("demo/{}", "x".repeat(129));
    for name in [
        "..",
        "../prod",
        "demo/..",
        "demo/../../x",
        "demo",
        "demo/",
        "/prod",
        "a/b/c",
        "demo/a b",
        "demo/\u{1b}[31m",
        &long,
        "",
    ] {
        for arguments in [
            &["pull", name][..],
            &["push", name, "state.json"],
            &["snapshots", name],
            &["lock", name, "--", "true"],
            &["lock", name, "--create", "--", "true"],
            &["lock-status", name],
            &["delete", name, "2026-07-10T12:00:00Z"],
        ] {
            let run = sandbox.run(arguments).expect(7);
            assert!(!run.err.contains('\u{1b}'), "{:?}", run.err);
        }
    }
    for rev in ["../x", "a/b", ".hidden", "", "x\ny"] {
        for arguments in [
            &["pull", PROD, "--rev", rev][..],
            &["set-current", PROD, rev],
            &["delete", PROD, rev],
            &["push", PROD, "state.json", "--expect", rev],
        ] {
            sandbox.run(arguments).expect(7);
        }
    }
    sandbox.run(&["force-unlock", PROD, "--token", "../x"]).expect(7);
    assert!(everything_in(&sandbox.path("")).is_empty());
}

#[test]
fn unknown_arguments_are_a_usage_error() {
    let sandbox = Sandbox::new();
    for arguments in [
        &[][..],
        &["frobnicate"],
        &["pull"],
        &["pull", PROD, "--wait", "soon"],
        &["pull", PROD, "--encrypter", "password:x"],
        &["pull", PROD, "--root", "a", "--backend", "local:b"],
        &["pull", PROD, "--backend", "s3:nowhere"],
        &["pull", PROD, "--backend", "nowhere"],
        &["lock", PROD],
        &["completions", "tcl"],
    ] {
        sandbox.run(arguments).expect(2);
    }
}

#[test]
fn missing_is_3_and_a_system_error_is_1() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    sandbox
        .run(&["show", PROD, "resource.nothing"])
        .expect(3)
        .says(&["statectl list demo/prod"]);
    sandbox
        .run(&["pull", PROD, "--rev", "2026-07-10T12:00:00Z"])
        .expect(3);
    sandbox
        .run(&["pull", "demo/staging"])
        .expect(3)
        .says(&["there is no stack demo/staging in local:", "statectl stacks"]);
    sandbox
        .run(&["push", PROD, "no-such-file"])
        .expect(1)
        .says(&["no-such-file"]);
    sandbox.run(&["push", PROD, "."]).expect(1);
}

#[test]
fn damaged_and_moved_files_do_not_open() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let second = sandbox.push("second", &["--expect", &first]);
    fs::copy(sandbox.snapshot_file(&first), sandbox.snapshot_file(&second)).unwrap();
    sandbox.run(&["pull", PROD]).expect(5);
    let mut bytes = fs::read(sandbox.snapshot_file(&first)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(sandbox.snapshot_file(&first), bytes).unwrap();
    sandbox.run(&["pull", PROD, "--rev", &first]).expect(5);
}

#[test]
fn root_is_named_in_four_ways() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    fs::rename(sandbox.path(".unobin/state"), sandbox.path("elsewhere")).unwrap();
    fs::remove_dir(sandbox.path(".unobin")).unwrap();
    sandbox.run(&["current", PROD]).expect(3);
    assert_eq!(sandbox.answer(&["current", PROD, "--root", "elsewhere"]), rev);
    assert_eq!(
        sandbox.answer(&["--backend", "local:elsewhere", "current", PROD]),
        rev
    );
    for (variable, value) in [
        ("STATECTL_ROOT", "elsewhere"),
        ("STATECTL_BACKEND", "local:elsewhere"),
    ] {
        let output = sandbox
            .command(&["current", PROD])
            .env(variable, value)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), rev);
        // The command line comes first.
        let output = sandbox
            .command(&["current", PROD, "--root", "x"])
            .env(variable, value)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(3));
    }
}

/// Every `STACK` in a hint became the stack's name, also in `FACTORY/STACK` and in the name of a variable.
#[test]
fn hint_names_the_stack_only_as_an_argument() {
    let sandbox = Sandbox::new();
    let key = sandbox.answer(&["keygen", "--base64"]);
    let run = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        Run::of(command.env("STACK_KEY", &key).output().unwrap())
    };
    sandbox.write("state.json", &snapshot("prod", "first"));
    run(&["push", PROD, "state.json", "--encrypter", "env-key:STACK_KEY"]).expect(0);
    run(&["pull", PROD])
        .expect(5)
        .says(&["pass --encrypter env-key:STACK_KEY"]);
    run(&["pull", PROD, "--rev", "a b"])
        .expect(7)
        .says(&["FACTORY/STACK", "`statectl snapshots demo/prod`"]);
}

/// From the environment such a root was read with its stray bytes replaced, so that a push went to another directory.
#[test]
fn root_that_is_not_utf_8_is_refused_everywhere() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let sandbox = Sandbox::new();
    sandbox.write("state.json", &snapshot("prod", "first"));
    let root = OsStr::from_bytes(b"root\xff");
    let push = ["push", PROD, "state.json", "--encrypter", "noop"];
    for variable in ["STATECTL_ROOT", "STATECTL_BACKEND"] {
        let mut command = sandbox.command(&push);
        Run::of(command.env(variable, root).output().unwrap())
            .expect(2)
            .says(&["not UTF-8"]);
    }
    let mut command = sandbox.command(&push);
    Run::of(command.arg("--root").arg(root).output().unwrap()).expect(2);
    assert_eq!(everything_in(&sandbox.path("")), [sandbox.path("state.json")]);
}

#[test]
fn empty_variable_counts_as_unset() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    for variable in [
        "STATECTL_ROOT",
        "STATECTL_BACKEND",
        "STATECTL_ENCRYPTER",
        "STATECTL_ALSO_OPEN",
        "STATECTL_ACCEPT_V1",
        "STATECTL_WAIT",
        "STATECTL_FORMAT",
        "STATECTL_LOCK",
    ] {
        let mut command = sandbox.command(&["set-current", PROD, &rev]);
        let run = Run::of(command.env(variable, "").output().unwrap());
        assert_eq!(run.expect(0).out.trim_end(), rev, "{variable}");
    }
    // One with a value is still read.
    let mut command = sandbox.command(&["current", PROD]);
    Run::of(command.env("STATECTL_WAIT", "soon").output().unwrap()).expect(2);
}

/// (N10) An error named one side of a difference, gave its advice twice, or spoke of functions.
#[test]
fn errors_name_both_sides_and_advise_once() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let second = sandbox.push("second", &["--expect", &first]);
    sandbox.write("dev.json", &snapshot("dev", "x"));
    let texts = [
        (&["push", PROD, "dev.json"][..], 7, vec!["dev", PROD]),
        (
            &["set-current", PROD, &first, "--expect", &first],
            6,
            vec![&first, &second],
        ),
        (
            &["pull", PROD, "--rev", "2026-07-10T12:00:00Z"],
            3,
            vec!["no revision 2026-07-10T12:00:00Z"],
        ),
        (
            &["delete", PROD, &second],
            1,
            vec![&second, "not deleted", "statectl set-current demo/prod REV"],
        ),
        (
            &["pull", PROD, "--backend", "nowhere:x"],
            2,
            vec!["nowhere", "local"],
        ),
        (&["pull", PROD, "--backend", "nowhere"], 2, vec!["local:DIR"]),
    ];
    for (arguments, code, expected) in texts {
        let run = sandbox.run(arguments).expect(code);
        for name in ["set_current(", "get(", "head(", "write(", "list(", "()"] {
            assert!(!run.err.contains(name), "{name}: {}", run.err);
        }
        // The same command is not named twice, neither in the message nor in the hint.
        for command in ["statectl snapshots", "statectl stacks", "list the revisions"] {
            assert!(run.err.matches(command).count() < 2, "{}", run.err);
        }
        run.says(&expected);
    }
}
