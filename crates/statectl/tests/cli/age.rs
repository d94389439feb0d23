//! Keys of age, and the programs of others that make and read them.

use crate::sandbox::{Run, SECRET, Sandbox, skip, snapshot};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

const PROD: &str = "demo/prod";

fn public_key(sandbox: &Sandbox, name: &str) -> String {
    let document = sandbox.document(&["keygen", name]);
    document["public-key"].as_str().unwrap().to_owned()
}

/// Debian has the program in its package `age`. Where it is missing, the test says so; CI installs it.
fn age_keygen(sandbox: &Sandbox, arguments: &[&str]) -> Option<String> {
    let run = Command::new("age-keygen")
        .args(arguments)
        .current_dir(sandbox.path("."))
        .output();
    match run {
        Ok(output) => Some(Run::of(output).expect(0).out),
        Err(error) => {
            skip(&format!("age-keygen: {error}"));
            None
        }
    }
}

#[test]
fn key_file_of_age_keygen_seals_and_opens() {
    let sandbox = Sandbox::new();
    if age_keygen(&sandbox, &["-o", "theirs"]).is_none() {
        return;
    }
    let rev = sandbox.push("first", &["--encrypter", "age:theirs"]);
    let pull = ["pull", PROD, "--rev", &rev, "--encrypter", "age:theirs"];
    assert!(sandbox.run(&pull).expect(0).out.contains(SECRET));
    let public = age_keygen(&sandbox, &["-y", "theirs"]).unwrap();
    let snapshots = sandbox.document(&["snapshots", PROD]);
    assert_eq!(
        snapshots["revisions"][0]["sealed-for"][0],
        format!("age {}", public.trim())
    );
}

#[test]
fn age_keygen_reads_our_key_file() {
    let sandbox = Sandbox::new();
    let ours = public_key(&sandbox, "ours");
    if let Some(public) = age_keygen(&sandbox, &["-y", "ours"]) {
        assert_eq!(public.trim(), ours);
    }
}

#[test]
fn key_in_a_variable_is_the_key_in_a_file() {
    let sandbox = Sandbox::new();
    let rev = sandbox.push("first", &[]);
    let key = fs::read_to_string(sandbox.default_key()).unwrap();
    let secret = key.lines().last().unwrap();
    for text in [&key, secret] {
        let mut command = sandbox.command(&["pull", PROD, "--rev", &rev, "--encrypter", "age-env:KEY"]);
        Run::of(command.env("KEY", text).output().unwrap()).expect(0);
    }
    sandbox
        .run(&["pull", PROD, "--encrypter", "age-env:KEY"])
        .expect(5)
        .says(&["$KEY is not set", "--encrypter age:PATH"]);
}

/// Bob needs Ada's public key to let her in, and she needs his to go on sealing for him.
#[test]
fn colleagues_share_a_stack_by_their_public_keys() {
    let sandbox = Sandbox::new();
    let [ada, bob] = ["ada", "bob"].map(|name| public_key(&sandbox, name));
    let first = sandbox.push("first", &["--encrypter", "age:bob"]);
    let pull = |rev: &str, key: &str| {
        let run = sandbox.run(&["pull", PROD, "--rev", rev, "--encrypter", key]);
        run.code
    };
    assert_eq!(pull(&first, "age:ada"), 5);
    sandbox
        .run(&["key", "add", PROD, &ada, "--encrypter", "age:bob"])
        .expect(0);
    assert_eq!(pull(&first, "age:ada"), 0);
    let second = sandbox.push("second", &["--encrypter", "age:ada"]);
    assert_eq!(pull(&second, "age:bob"), 0);
    sandbox
        .run(&["key", "remove", PROD, &bob, "--deep", "--encrypter", "age:ada"])
        .expect(0);
    assert_eq!((pull(&second, "age:bob"), pull(&second, "age:ada")), (5, 0));
}

#[test]
fn public_key_seals_and_never_opens() {
    let sandbox = Sandbox::new();
    let public = public_key(&sandbox, "key");
    let rev = sandbox.push("first", &["--encrypter", &public]);
    sandbox.run(&["pull", PROD, "--encrypter", &public]).expect(5);
    sandbox
        .run(&["pull", PROD, "--also-open", &public])
        .expect(2)
        .says(&["a public key opens nothing"]);
    sandbox
        .run(&["pull", PROD, "--rev", &rev, "--encrypter", "age:key"])
        .expect(0);
    let typo = format!("{}q", &public[..61]);
    sandbox
        .run(&["push", PROD, "state.json", "--encrypter", &typo])
        .expect(2)
        .says(&["typing error"]);
}

#[test]
fn secret_key_in_the_place_of_its_path_is_not_shown() {
    let sandbox = Sandbox::new();
    let secret = sandbox.answer(&["keygen"]);
    for spec in [
        secret.clone(),
        format!("age:{secret}"),
        format!("age-env:{secret}"),
    ] {
        sandbox.write("state.json", &snapshot("prod", "first"));
        let run = sandbox.run(&["push", PROD, "state.json", "--encrypter", &spec]);
        assert!([2, 5].contains(&run.code), "{run:?}");
        assert!(!run.err.contains(&secret[20..40]), "{}", run.err);
    }
}

/// Stores were made before keys of age were the default.
#[test]
fn default_key_of_32_bytes_still_works() {
    let sandbox = Sandbox::new();
    let key = sandbox.answer(&["keygen", "--base64"]);
    fs::create_dir_all(sandbox.path("config/statectl")).unwrap();
    sandbox.write("config/statectl/key", &key);
    fs::set_permissions(sandbox.default_key(), fs::Permissions::from_mode(0o600)).unwrap();
    let rev = sandbox.push("first", &[]);
    sandbox.run(&["pull", PROD, "--rev", &rev]).expect(0);
    let snapshots = sandbox.document(&["snapshots", PROD]);
    let sealed_for = snapshots["revisions"][0]["sealed-for"][0].as_str().unwrap();
    assert!(sealed_for.starts_with("key-file "), "{sealed_for}");
}

/// The error spoke of damage, and its hint led to an older revision.
#[test]
fn public_key_that_should_open_says_what_is_missing() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    let listing = sandbox.document(&["key", "list", PROD]);
    let public = listing["recipients"][0]["identity"].as_str().unwrap();
    let run = sandbox.run(&["list", PROD, "--encrypter", public]).expect(5);
    assert!(!run.err.contains("changed after it was sealed"), "{}", run.err);
    run.says(&["a public key opens nothing"]);
}
