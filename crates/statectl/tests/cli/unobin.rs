use crate::sandbox::{Run, Sandbox};
use std::fs;
use std::path::Path;

/// A store that unobin wrote, and its key.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/root");
const KEY: &str = include_str!("../data/key.base64");

fn run(sandbox: &Sandbox, arguments: &[&str]) -> Run {
    let mut command = sandbox.command(arguments);
    command
        .env("UB_STATE_KEY", KEY.trim())
        .env("STATECTL_ROOT", sandbox.path("root"));
    Run::of(command.output().unwrap())
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    copy(Path::new(ROOT), &sandbox.path("root"));
    sandbox
}

/// Colons, which no name in a package of cargo's can hold, are written as `%3A` there.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let to = to.join(name.replace("%3A", ":"));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, to).unwrap();
        }
    }
}

#[test]
fn unobin_file_opens_only_as_the_hint_says() {
    let sandbox = sandbox();
    let hint = ["--encrypter env-key:UB_STATE_KEY and --accept-v1"];
    run(&sandbox, &["pull", "network/prod"]).expect(5).says(&hint);
    let with_key = ["pull", "network/prod", "--encrypter", "env-key:UB_STATE_KEY"];
    run(&sandbox, &with_key).expect(5).says(&hint);
    let pulled = run(&sandbox, &[&with_key[..], &["--accept-v1"]].concat()).expect(0);
    assert!(pulled.out.contains("\"network\""));
    let mut command = sandbox.command(&with_key);
    command
        .env("UB_STATE_KEY", KEY.trim())
        .env("STATECTL_ROOT", sandbox.path("root"))
        .env("STATECTL_ACCEPT_V1", "1");
    assert_eq!(Run::of(command.output().unwrap()).expect(0).out, pulled.out);

    let noop = ["pull", "network/dev", "--encrypter", "noop"];
    run(&sandbox, &noop).expect(5).says(&["--accept-v1"]);
    run(&sandbox, &[&noop[..], &["--accept-v1"]].concat()).expect(0);
    run(
        &sandbox,
        &[
            "pull",
            "network/empty",
            "--encrypter",
            "env-key:UB_STATE_KEY",
            "--accept-v1",
        ],
    )
    .expect(0);
}

#[test]
fn unobin_snapshots_are_listed_without_a_key() {
    let sandbox = sandbox();
    let out = run(&sandbox, &["snapshots", "network/prod"]).expect(0).out;
    assert!(
        out.contains("version 1") && out.contains("not-a-revision"),
        "{out}"
    );
}

#[test]
fn edit_is_written_for_unobin_only_with_write_v1() {
    let sandbox = sandbox();
    let options = ["--encrypter", "env-key:UB_STATE_KEY"];
    let pull = run(
        &sandbox,
        &[&["pull", "network/prod", "--accept-v1"], &options[..]].concat(),
    )
    .expect(0);
    sandbox.write(
        "one.json",
        &pull.out.replace("\"generated-at\": \"2", "\"generated-at\": \"3"),
    );
    sandbox.write("two.json", &pull.out);
    let push = |file: &str, how: &str| {
        run(
            &sandbox,
            &[&["push", "network/prod", file, how], &options[..]].concat(),
        )
        .expect(0);
        let listing = run(&sandbox, &["snapshots", "network/prod", "--format", "json"])
            .expect(0)
            .out;
        let listing: serde_json::Value = serde_json::from_str(&listing).unwrap();
        let rows = listing["revisions"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["current"] == true).unwrap()["envelope-version"].clone()
    };
    assert_eq!(push("one.json", "--write-v1"), 1);
    assert_eq!(push("two.json", "--accept-v1"), 2);
    run(&sandbox, &[&["pull", "network/prod"], &options[..]].concat()).expect(0);
}

#[test]
fn unobin_files_know_no_key_file() {
    let sandbox = sandbox();
    let key = sandbox.key("key");
    for option in ["--accept-v1", "--write-v1"] {
        let arguments = ["pull", "network/prod", option, "--encrypter", &key];
        run(&sandbox, &arguments).expect(2).says(&["env-key"]);
    }
}

/// (F18) A wrong key did not say which variable sealed the file, as unobin's own error does.
#[test]
fn wrong_key_for_a_unobin_file_names_its_variable() {
    let sandbox = sandbox();
    let other = sandbox.answer(&["keygen", "--base64"]);
    let pull = ["pull", "network/prod", "--accept-v1", "--encrypter"];
    for (variable, hint) in [
        ("OTHER", "pass --encrypter env-key:UB_STATE_KEY"),
        ("UB_STATE_KEY", "set $UB_STATE_KEY to the key"),
    ] {
        let key = format!("env-key:{variable}");
        let mut command = sandbox.command(&[&pull[..], &[&key]].concat());
        command
            .env(variable, &other)
            .env("STATECTL_ROOT", sandbox.path("root"));
        let run = Run::of(command.output().unwrap()).expect(5);
        let error = run.err.lines().next().unwrap();
        assert!(
            error.contains("written with \"env-key ($UB_STATE_KEY)\""),
            "{}",
            run.err
        );
        run.says(&[hint]);
    }
}

/// With `--write-v1` the snapshot was sealed for the `--also-open` key alone, and the key that it was to be sealed for
/// could not open it.
#[test]
fn write_v1_needs_a_key_to_seal_for() {
    let sandbox = sandbox();
    let key = sandbox.key("key");
    let keys = ["--encrypter", &key, "--also-open", "env-key:UB_STATE_KEY"];
    let pull = ["pull", "network/prod", "--accept-v1"];
    let pulled = run(&sandbox, &[&pull[..], &keys].concat()).expect(0);
    sandbox.write("state.json", &pulled.out);
    let push = ["push", "network/prod", "state.json", "--force", "--write-v1"];
    run(&sandbox, &[&push[..], &keys].concat())
        .expect(2)
        .says(&["env-key"]);
}
