use crate::sandbox::{Run, SECRET, Sandbox, everything_in, snapshot};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

const PROD: &str = "demo/prod";

fn name_of_default(sandbox: &Sandbox) -> String {
    let snapshots = sandbox.document(&["snapshots", PROD]);
    let sealed_for = snapshots["revisions"][0]["sealed-for"][0].as_str().unwrap();
    sealed_for.strip_prefix("age ").unwrap().to_owned()
}

#[test]
fn first_push_makes_the_default_key_and_says_so() {
    let sandbox = Sandbox::new();
    sandbox.write("state.json", &snapshot("prod", "first"));
    let run = sandbox.run(&["push", PROD, "state.json"]).expect(0);
    run.says(&["made the key", "back it up", &name_of_default(&sandbox)]);
    let mode = fs::metadata(sandbox.default_key()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let directory = sandbox.path("config/statectl");
    assert_eq!(
        fs::metadata(&directory).unwrap().permissions().mode() & 0o7777,
        0o700
    );
    assert_eq!(everything_in(&directory), [sandbox.default_key()]);
    sandbox.write("state.json", &snapshot("prod", "second"));
    let run = sandbox.run(&["push", PROD, "state.json"]).expect(0);
    assert!(!run.err.contains("made the key"), "{}", run.err);
}

#[test]
fn racing_first_pushes_share_one_new_key() {
    for _ in 0..10 {
        let sandbox = Sandbox::new();
        let push = |stack: &str| {
            let file = format!("{stack}.json");
            sandbox.write(&file, &snapshot(stack, "first"));
            sandbox.run(&["push", &format!("demo/{stack}"), &file])
        };
        let runs: Vec<Run> = std::thread::scope(|scope| {
            let threads = ["prod", "dev", "test"].map(|stack| scope.spawn(move || push(stack)));
            threads.map(|thread| thread.join().unwrap()).into()
        });
        let made = runs.iter().filter(|run| run.err.contains("made the key")).count();
        assert_eq!(made, 1, "{runs:?}");
        for (stack, run) in ["demo/prod", "demo/dev", "demo/test"].into_iter().zip(runs) {
            run.expect(0);
            sandbox.run(&["pull", stack]).expect(0);
        }
    }
}

#[test]
fn missing_key_beside_snapshots_is_not_replaced() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    let fingerprint = name_of_default(&sandbox);
    fs::rename(sandbox.default_key(), sandbox.path("saved")).unwrap();
    sandbox.write("dev.json", &snapshot("dev", "first"));
    for arguments in [
        &["push", PROD, "state.json"][..],
        &["push", "demo/dev", "dev.json"],
        &["pull", PROD],
        &["list", PROD, "--rev", &rev],
        &["show", PROD, "resource.database"],
    ] {
        let run = sandbox.run(arguments).expect(5);
        run.says(&[&fingerprint, "config/statectl/key", "--encrypter age:PATH"]);
        assert!(!sandbox.default_key().exists());
    }
    // What needs no key still works, and what does not exist is still told.
    assert_eq!(sandbox.answer(&["current", PROD]), rev);
    assert!(sandbox.answer(&["snapshots", PROD]).contains(&rev));
    sandbox
        .run(&["pull", PROD, "--rev", "2026-07-10T12:00:00Z"])
        .expect(3);
    sandbox.run(&["pull", "demo/dev"]).expect(3);
    sandbox
        .run(&[
            "pull",
            PROD,
            "--encrypter",
            &format!("age:{}", sandbox.path("saved").display()),
        ])
        .expect(0);
}

/// The hint names each option once, and how to get a key that the stack is sealed for.
#[test]
fn newcomer_is_told_how_to_be_let_in() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    sandbox.run(&["keygen", "spare"]).expect(0);
    sandbox.run(&["key", "add", PROD, "age:spare"]).expect(0);
    let mut list = sandbox.command(&["list", PROD]);
    let output = list.env("XDG_CONFIG_HOME", sandbox.path("bob")).output();
    let run = Run::of(output.unwrap()).expect(5);
    assert_eq!(run.err.matches("age:PATH").count(), 1, "{}", run.err);
    run.says(&[
        "`statectl keygen ",
        "bob/statectl/key`",
        "`statectl key add demo/prod`",
    ]);
}

#[test]
fn another_key_writes_only_with_new_key() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let other = sandbox.key("other");
    let fingerprint = name_of_default(&sandbox);
    sandbox
        .run(&["pull", PROD, "--encrypter", &other])
        .expect(5)
        .says(&[&fingerprint]);
    sandbox.write("state.json", &snapshot("prod", "second"));
    let push = [
        "push",
        PROD,
        "state.json",
        "--expect",
        &first,
        "--encrypter",
        &other,
    ];
    sandbox.run(&push).expect(5).says(&[&fingerprint, "--new-key"]);
    let run = sandbox.run(&[&push[..], &["--new-key"]].concat()).expect(0);
    run.says(&["warning: ", &fingerprint, "cannot open the new revision"]);
    sandbox.run(&["pull", PROD]).expect(5);
    sandbox.run(&["pull", PROD, "--encrypter", &other]).expect(0);
}

/// (N4) Damage in the wrapped key read "sealed for key 3c10…, and given was key 3c10…", with the hint to use another key.
#[test]
fn damaged_header_is_damage_and_not_a_wrong_key() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    let file = sandbox.snapshot_file(&rev);
    let mut bytes = fs::read(&file).unwrap();
    let name = b"\"wrapped-key\":\"";
    let at = bytes
        .windows(name.len())
        .position(|window| window == name)
        .unwrap()
        + name.len();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    fs::write(&file, bytes).unwrap();
    let run = sandbox.run(&["pull", PROD]).expect(5);
    assert!(!run.err.contains("--encrypter"), "{}", run.err);
    run.says(&["changed after it was sealed", "statectl snapshots demo/prod"]);
}

#[test]
fn first_push_chooses_the_recipients() {
    let sandbox = Sandbox::new();
    let [a, b, other] = ["a", "b", "other"].map(|name| sandbox.key(name));
    let keys = ["--encrypter", &a, "--encrypter", &b, "--also-open", &other];
    sandbox.push("first", &keys);
    for key in [&a, &b] {
        sandbox.run(&["pull", PROD, "--encrypter", key]).expect(0);
    }
    sandbox.run(&["pull", PROD, "--encrypter", &other]).expect(5);
    let mut command = sandbox.command(&["pull", PROD]);
    command.env("STATECTL_ENCRYPTER", &other);
    Run::of(command.output().unwrap()).expect(5);
    command.env("STATECTL_ALSO_OPEN", &b);
    Run::of(command.output().unwrap()).expect(0);
    let listing = sandbox.document(&["snapshots", PROD]);
    assert_eq!(listing["revisions"][0]["sealed-for"].as_array().unwrap().len(), 2);
}

#[test]
fn env_key_seals_opens_and_is_named_when_missing() {
    let sandbox = Sandbox::new();
    let key = sandbox.answer(&["keygen", "--base64"]);
    sandbox.write("state.json", &snapshot("prod", "first"));
    let run = |arguments: &[&str], key: Option<&str>| {
        let mut command = sandbox.command(arguments);
        command.env("STATECTL_ENCRYPTER", "env-key:MY_KEY");
        key.map(|key| command.env("MY_KEY", key));
        Run::of(command.output().unwrap())
    };
    run(&["push", PROD, "state.json"], Some(&key)).expect(0);
    assert!(run(&["pull", PROD], Some(&key)).expect(0).out.contains(SECRET));
    run(&["pull", PROD], None)
        .expect(5)
        .says(&["$MY_KEY is not set", "set $MY_KEY"]);
    let wrong = run(&["pull", PROD], Some("not a key")).expect(5);
    assert!(!wrong.err.contains("not a key"));
    assert!(!sandbox.default_key().exists());
}

#[test]
fn noop_stands_alone() {
    let sandbox = Sandbox::new();
    sandbox.push("first", &["--encrypter", "noop"]);
    assert!(!sandbox.default_key().exists());
    sandbox.run(&["pull", PROD, "--encrypter", "noop"]).expect(0);
    let key = sandbox.key("key");
    // A real ring refuses plaintext, whatever the file says.
    sandbox
        .run(&["pull", PROD, "--encrypter", &key])
        .expect(5)
        .says(&["--encrypter noop"]);
    sandbox
        .run(&["pull", PROD, "--encrypter", "noop", "--encrypter", &key])
        .expect(2);
    sandbox
        .run(&["pull", PROD, "--encrypter", &key, "--also-open", "noop"])
        .expect(2);
    let given_by_mistake = sandbox.run(&["pull", PROD, "--encrypter", SECRET]);
    assert_eq!(given_by_mistake.code, 2);
}

#[test]
fn keygen_makes_a_private_file_and_replaces_none() {
    let sandbox = Sandbox::new();
    let document = sandbox.document(&["keygen", "key"]);
    let content = fs::read_to_string(sandbox.path("key")).unwrap();
    assert_eq!(
        fs::metadata(sandbox.path("key")).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    let public_key = document["public-key"].as_str().unwrap();
    assert_eq!(
        content.lines().nth(1),
        Some(&*format!("# public key: {public_key}"))
    );
    assert!(!document.to_string().contains(content.lines().nth(2).unwrap()));
    sandbox.run(&["keygen", "key"]).expect(1);
    assert_eq!(fs::read_to_string(sandbox.path("key")).unwrap(), content);
    assert!(sandbox.answer(&["keygen"]).starts_with("AGE-SECRET-KEY-1"));
    assert_ne!(sandbox.answer(&["keygen"]), sandbox.answer(&["keygen"]));
    let base64 = sandbox.document(&["keygen", "--base64", "other"]);
    assert_eq!(base64["fingerprint"].as_str().unwrap().len(), 16);
    assert_eq!(fs::read_to_string(sandbox.path("other")).unwrap().len(), 45);
    assert_eq!(sandbox.answer(&["keygen", "--base64"]).len(), 44);
}

#[test]
fn key_given_twice_is_a_usage_error() {
    let sandbox = Sandbox::new();
    let key = sandbox.key("one");
    sandbox.write("state.json", &snapshot("prod", "first"));
    let before = everything_in(&sandbox.path("."));
    sandbox
        .run(&[
            "--encrypter",
            &key,
            "--encrypter",
            &key,
            "push",
            PROD,
            "state.json",
        ])
        .expect(2)
        .says(&["given twice"]);
    assert_eq!(everything_in(&sandbox.path(".")), before);
}

/// Whoever pastes a key where its place belongs must not find it in a log, or in the name of a file.
#[test]
fn pasted_key_is_refused_and_not_repeated() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    let before = everything_in(&sandbox.path("."));
    let base64 = sandbox.answer(&["keygen", "--base64"]);
    for key in [
        &sandbox.answer(&["keygen"]),
        &base64,
        base64.trim_end_matches('='),
    ] {
        for kind in ["age", "age-env", "command", "env-key", "key-file"] {
            let run = sandbox.run(&["pull", PROD, "--encrypter", &format!("{kind}:{key}")]);
            // Without its padding, a key with a slash could be a path.
            let is_path = key.len() == 43 && key.contains('/');
            assert!(run.code != 0 && (is_path || !run.err.contains(key)), "{run:?}");
        }
    }
    sandbox.run(&["keygen", &base64]).expect(2);
    assert_eq!(everything_in(&sandbox.path(".")), before);
}

#[test]
fn passphrase_in_place_of_its_file_is_not_repeated() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    let mut command = sandbox.command(&["pull", PROD, "--encrypter", "passphrase"]);
    let run = Run::of(
        command
            .env("STATECTL_PASSPHRASE_FILE", "correct horse")
            .output()
            .unwrap(),
    );
    assert!(!run.err.contains("correct horse"), "{}", run.err);
    run.expect(1).says(&["STATECTL_PASSPHRASE_FILE"]);
}
