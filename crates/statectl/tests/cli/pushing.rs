use crate::sandbox::{Sandbox, snapshot, with_input};
use serde_json::json;
use std::process::{Command, Stdio};

const PROD: &str = "demo/prod";
const STATECTL: &str = env!("CARGO_BIN_EXE_statectl");

#[test]
fn first_push_prints_the_revision_alone() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    assert_eq!(sandbox.answer(&["current", PROD]), rev);
    assert_eq!(rev.lines().count(), 1);
}

#[test]
fn example_network_comes_back_to_the_byte() {
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
fn push_reads_standard_input() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["push", PROD, "-"]);
    let run = with_input(&mut command, snapshot("prod", "piped").as_bytes()).expect(0);
    assert_eq!(run.out.trim_end(), sandbox.answer(&["current", PROD]));
}

#[test]
fn equal_snapshot_is_stored_only_with_force() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    let pulled = sandbox.answer(&["pull", PROD]);
    sandbox.write("pulled.json", &pulled);
    let again = sandbox.run(&["push", PROD, "pulled.json"]).expect(0);
    assert_eq!(again.out.trim_end(), rev);
    again.says(&["nothing has changed", "--force"]);
    let forced = sandbox.answer(&["push", PROD, "pulled.json", "--force"]);
    assert_ne!(forced, rev);
    assert_eq!(
        sandbox.document(&["snapshots", PROD])["revisions"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

/// (N11) Every push without `--expect` warned, also where nobody can have changed anything.
#[test]
fn push_warns_only_where_an_edit_can_be_lost() {
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
    // Equal to the current one.
    let run = sandbox.run(&["push", PROD, "state.json"]).expect(0);
    assert!(!run.err.contains("warning"), "{}", run.err);
    // Under a lock that was held before the pull.
    let script = format!(
        "{STATECTL} pull {PROD} | sed s/third/fourth/ > state.json && {STATECTL} push {PROD} state.json"
    );
    let run = sandbox.run(&["lock", PROD, "--", "sh", "-c", &script]).expect(0);
    assert!(!run.err.contains("warning"), "{}", run.err);
    assert_ne!(run.out, "");
}

/// (N11) Nothing was to be seen while a large push ran.
#[test]
fn long_push_shows_on_the_terminal_what_it_does() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use std::fs::{File, OpenOptions};
    use std::io::{Read as _, Write as _};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    let (sandbox, rev) = Sandbox::with_snapshot("first");
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let mut command = sandbox.command(&["push", PROD, "-", "--expect", &rev]);
    let side = OpenOptions::new().read(true).write(true).open(name).unwrap();
    let mut child = command
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(side)
        .spawn()
        .unwrap();
    drop(command);
    // It waits for its input, which comes when the screen shows something.
    let mut input = child.stdin.take().unwrap();
    let (shown, is_shown) = channel();
    let mut screen = File::from(terminal);
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let mut buffer = [0; 1024];
        while !String::from_utf8_lossy(&text).contains("reading standard input") {
            // The end of the program, if it comes first.
            let Ok(length) = screen.read(&mut buffer) else {
                return;
            };
            text.extend_from_slice(&buffer[..length]);
        }
        shown.send(()).unwrap();
        // The program must not wait for somebody to read its screen.
        let _ = screen.read_to_end(&mut text);
    });
    let is_shown = is_shown.recv_timeout(Duration::from_secs(30));
    input.write_all(snapshot("prod", "second").as_bytes()).unwrap();
    drop(input);
    assert!(child.wait().unwrap().success());
    assert_eq!(is_shown, Ok(()));
}

#[test]
fn push_onto_an_unexpected_revision_stores_nothing() {
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
        sandbox.document(&["snapshots", PROD])["revisions"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(sandbox.answer(&["current", PROD]), second);
}

#[test]
fn snapshots_show_parent_message_and_author() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    sandbox.push(
        "second",
        &["--expect", &first, "--message", "open port 443\nfor the shop"],
    );
    let listing = sandbox.document(&["snapshots", PROD]);
    let second = &listing["revisions"][0];
    assert_eq!(second["parent"], json!(first));
    assert_eq!(second["message"], json!("open port 443\nfor the shop"));
    assert_eq!(second["author"], json!("alice"));
    let human = sandbox.answer(&["snapshots", PROD]);
    assert!(
        human.contains("open port 443 …") && human.contains("alice@"),
        "{human}"
    );
}

#[test]
fn lost_pointer_is_no_fresh_start_unless_expected() {
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
fn invalid_file_is_refused_before_anything_is_made() {
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

/// (F2) Under `lock --`, a push whose last flush had failed was repeated: "nothing has changed", exit 0, and no flush. A power
/// cut then moved `current` back.
#[test]
fn nothing_has_changed_only_once_it_is_durable() {
    let strace = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync"];
    let traces = Command::new("strace").args(strace).arg("true").status();
    if !traces.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "CI needs strace");
        eprintln!("skipped: strace is missing or may not trace");
        return;
    }
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    let pushed = |inject: &[&str]| {
        let strace = [&["strace"], &strace[..], inject].concat().join(" ");
        let script = format!("{strace} {STATECTL} push {PROD} state.json");
        sandbox.run(&["lock", PROD, "--", "sh", "-c", &script])
    };
    let failed = pushed(&["-e", "inject=fsync,fdatasync:error=EIO"]);
    assert_ne!(failed.code, 0, "{failed:?}");
    assert!(!failed.err.contains("nothing has changed"), "{}", failed.err);
    let repeated = pushed(&[]).expect(0);
    assert_eq!(repeated.out.trim_end(), rev);
    repeated.says(&["nothing has changed"]);
}
