//! The changes of a run that has not committed them, or died before it did.

use crate::sandbox::{SECRET, Sandbox, snapshot};
use crate::schema::Schema;
use localstate::LocalBackend;
use sdk_state::encrypt::KeyFile;
use sdk_state::{
    Binding, Category, Change, Entry, EntryKind, Error, Json, Provenance, Run, Snapshot, StackId, Store,
};
use serde_json::Value;
use std::env;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PROD: &str = "demo/prod";
const STATECTL: &str = env!("CARGO_BIN_EXE_statectl");
const ROOT: &str = "STATECTL_TEST_ROOT";
const KEY: &str = "STATECTL_TEST_KEY";

/// Another tool's store of demo/prod, which alice uses on build-7.
fn store_in(root: &Path, key: &Path) -> Store {
    let backend = LocalBackend::new(root, PROD.parse().unwrap());
    let provenance = Provenance::new().with_author("alice").with_host("build-7");
    Store::new(backend, KeyFile::open_any(key).unwrap()).with_provenance(provenance)
}

pub(crate) fn begin(sandbox: &Sandbox) -> Run {
    let store = store_in(&sandbox.path(".unobin/state"), &sandbox.default_key());
    store.begin("apply", Duration::ZERO).unwrap()
}

/// Adds resource.0 and so on.
fn put(run: &Run, count: usize) {
    for number in 0..count {
        let address = format!("resource.{number}");
        let binding = Binding::new("aws", "subnet");
        let mut entry = Entry::new(address, EntryKind::Leaf, Category::Resource, binding);
        entry.inputs = Some(Json::parse(format!("{{\"password\":\"{SECRET}\"}}")).unwrap());
        run.put(entry).unwrap();
    }
}

/// A stack whose last run made `count` changes and left without committing them, and its current revision.
pub(crate) fn left(count: usize) -> (Sandbox, String) {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    put(&begin(&sandbox), count);
    (sandbox, rev)
}

pub(crate) fn revisions(sandbox: &Sandbox) -> Vec<Value> {
    let listing = sandbox.document(&["snapshots", PROD]);
    let mut oldest_first = listing["revisions"].as_array().unwrap().clone();
    oldest_first.reverse();
    oldest_first
}

/// Changes one byte of the record with this number.
fn damage(sandbox: &Sandbox, number: usize) {
    let file = sandbox.stack().join("journal");
    let mut bytes = fs::read(&file).unwrap();
    let line_feed = |&byte: &u8| byte == b'\n';
    let mut frame = 12 + 1 + bytes[12..].iter().position(line_feed).unwrap();
    let length = |bytes: &[u8], frame: usize| {
        let length = bytes[frame..frame + 4].try_into().unwrap();
        usize::try_from(u32::from_le_bytes(length)).unwrap()
    };
    for _ in 0..number {
        frame += 12 + length(&bytes, frame);
    }
    let middle = frame + 12 + length(&bytes, frame) / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
}

fn assert_unfinished(document: &Value, changes: usize, being_made: bool) {
    assert_eq!(document["changes"], changes, "{document}");
    assert_eq!(document["being-made"], being_made, "{document}");
    assert_eq!(
        (&document["author"], &document["host"], &document["operation"]),
        (&"alice".into(), &"build-7".into(), &"apply".into())
    );
}

/// Checks what the commands that read say about two changes.
fn assert_shown(sandbox: &Sandbox, being_made: bool, said: &str) {
    let schema = Schema::new();
    for arguments in [
        &["current", PROD][..],
        &["snapshots", PROD],
        &["list", PROD],
        &["show", PROD, "resource.1"],
        &["lock-status", PROD],
    ] {
        sandbox
            .run(arguments)
            .expect(0)
            .says(&["2 changes by alice on build-7, begun ", said]);
        let document = sandbox.document(arguments);
        schema.check(&document);
        assert_unfinished(&document["unfinished"], 2, being_made);
    }
    let stacks = sandbox.document(&["stacks"]);
    schema.check(&stacks);
    assert_unfinished(&stacks["stacks"][0]["unfinished"], 2, being_made);
    let pulled = sandbox.run(&["pull", PROD]).expect(0).says(&[said]).out;
    assert!(pulled.contains("resource.1") && pulled.contains("resource.database"));
}

#[test]
fn readers_see_unfinished_changes_and_whose_they_are() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    let run = begin(&sandbox);
    put(&run, 2);
    assert_shown(&sandbox, true, "not yet in a revision: the run goes on");
    assert!(sandbox.answer(&["stacks"]).contains("2 changes being made"));
    drop(run);
    assert_shown(
        &sandbox,
        false,
        "the next run, or `statectl recover`, commits them",
    );
    assert!(sandbox.answer(&["stacks"]).contains("2 changes unfinished"));
    // A named revision is what it was.
    let pulled = sandbox.run(&["pull", PROD, "--rev", &rev]).expect(0);
    assert!(!pulled.out.contains("resource.1") && !pulled.err.contains("unfinished"));
}

/// A dead run's changes do not belong to a later holder of the lock.
#[test]
fn later_holder_is_not_taken_for_the_run() {
    let (sandbox, _) = left(2);
    let store = store_in(&sandbox.path(".unobin/state"), &sandbox.default_key());
    let lock = store.lock("watch", Duration::ZERO).unwrap();
    assert_unfinished(&sandbox.document(&["current", PROD])["unfinished"], 2, false);
    lock.unlock().unwrap();
}

#[test]
fn push_commits_what_a_dead_run_left() {
    let (sandbox, first) = left(2);
    sandbox.write("state.json", &snapshot("prod", "second"));
    // It was pulled without the changes.
    let run = sandbox
        .run(&["push", PROD, "state.json", "--expect", &first])
        .expect(6);
    let recovered = sandbox.answer(&["current", PROD]);
    run.says(&[
        &format!("committed 2 unfinished changes of alice on build-7 as {recovered}"),
        &format!("expected {first}, found {recovered}"),
    ]);
    let rows = revisions(&sandbox);
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[1]["author"], &rows[1]["message"]),
        (&"alice".into(), &"recovered, 2 changes".into())
    );
    let pushed = sandbox
        .run(&["push", PROD, "state.json", "--expect", &recovered])
        .expect(0);
    assert_eq!(pushed.err, "");
    assert!(!sandbox.answer(&["pull", PROD]).contains("resource.1"));
}

#[test]
fn push_under_a_lock_commits_what_a_dead_run_left() {
    let (sandbox, _) = left(2);
    sandbox.write("state.json", &snapshot("prod", "second"));
    let push = ["lock", PROD, "--", STATECTL, "push", PROD, "state.json"];
    sandbox
        .run(&push)
        .expect(0)
        .says(&["committed 2 unfinished changes of alice on build-7"]);
    assert_eq!(revisions(&sandbox).len(), 3);
}

/// A new key must not end a journal that only the old key opens.
#[test]
fn push_with_a_new_key_keeps_changes_of_the_old_one() {
    let (sandbox, first) = left(2);
    let new = sandbox.key("new");
    sandbox.write("state.json", &snapshot("prod", "second"));
    let push = ["push", PROD, "state.json", "--new-key", "--encrypter", &new];
    sandbox
        .run(&push)
        .expect(5)
        .says(&["that key must also open 2 unfinished changes of alice on build-7"]);
    assert_eq!(sandbox.answer(&["current", PROD]), first);
    sandbox.run(&["recover", PROD]).expect(0);
    sandbox.run(&push).expect(0);
    assert_eq!(revisions(&sandbox).len(), 3);
}

#[test]
fn set_current_commits_what_a_dead_run_left() {
    let (sandbox, first) = left(2);
    let moved = sandbox.run(&["set-current", PROD, &first]).expect(0);
    assert_eq!(moved.out.trim_end(), first);
    let recovered = revisions(&sandbox)[1]["revision"].as_str().unwrap().to_owned();
    moved.says(&[&format!(
        "committed 2 unfinished changes of alice on build-7 as {recovered}"
    )]);
    let pulled = sandbox.answer(&["pull", PROD, "--rev", &recovered]);
    assert!(pulled.contains("resource.1"));
    assert!(!sandbox.answer(&["pull", PROD]).contains("resource.1"));
}

#[test]
fn set_current_unchecked_warns_of_what_it_discards() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let second = sandbox.push("second", &["--expect", &first]);
    put(&begin(&sandbox), 2);
    // Nothing moves, so nothing is lost.
    let stays = sandbox
        .run(&["set-current", PROD, &second, "--unchecked"])
        .expect(0);
    assert_eq!(stays.err, "");
    assert_unfinished(&sandbox.document(&["current", PROD])["unfinished"], 2, false);
    sandbox
        .run(&["set-current", PROD, &first, "--unchecked"])
        .expect(0)
        .says(&["warning", "discards 2 unfinished changes of alice on build-7"]);
    assert!(!sandbox.answer(&["pull", PROD]).contains("resource.1"));
    assert_eq!(revisions(&sandbox).len(), 2);
}

/// The repair of `current` named another revision, and the changes were gone without a word.
#[test]
fn repair_of_current_keeps_unfinished_changes() {
    for damage in [None, Some(""), Some("two\nlines\n")] {
        for unchecked in [&[][..], &["--unchecked"]] {
            let (sandbox, first) = Sandbox::with_snapshot("first");
            let second = sandbox.push("second", &["--expect", &first]);
            put(&begin(&sandbox), 2);
            let current = sandbox.stack().join("current");
            match damage {
                None => fs::remove_file(&current).unwrap(),
                Some(content) => fs::write(&current, content).unwrap(),
            }
            let set = |rev: &str| sandbox.run(&[&["set-current", PROD, rev], unchecked].concat());
            set(&first).expect(5).says(&[
                "make it current first, which keeps them",
                &format!("`statectl set-current {PROD} {second}`"),
            ]);
            let journal = ["push", PROD, "state.json", "--expect", "none"];
            sandbox.run(&journal).expect(5).says(&[&second]);
            let repaired = set(&second).expect(0);
            assert_eq!(repaired.out.trim_end(), second);
            repaired.says(&[
                "2 changes by alice on build-7",
                "`statectl recover`, commits them",
            ]);
            assert_unfinished(&sandbox.document(&["current", PROD])["unfinished"], 2, false);
            sandbox.run(&["recover", PROD]).expect(0);
            assert!(sandbox.answer(&["pull", PROD]).contains("resource.1"));
        }
    }
}

#[test]
fn repair_says_which_changes_are_lost() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let second = sandbox.push("second", &["--expect", &first]);
    put(&begin(&sandbox), 2);
    fs::remove_file(sandbox.stack().join("current")).unwrap();
    fs::remove_file(sandbox.snapshot_file(&second)).unwrap();
    sandbox.run(&["set-current", PROD, &first]).expect(0).says(&[
        "warning",
        &format!("the unfinished changes that stood on {second} are lost"),
    ]);
    assert!(!sandbox.answer(&["pull", PROD]).contains("resource.1"));
}

#[test]
fn recover_commits_once_and_then_finds_nothing() {
    let schema = Schema::new();
    let (sandbox, _) = left(1);
    let run = sandbox.run(&["recover", PROD]).expect(0);
    let rev = sandbox.answer(&["current", PROD]);
    assert_eq!(run.out.trim_end(), rev);
    run.says(&["committed 1 unfinished change of alice on build-7"]);
    let again = sandbox.run(&["recover", PROD]).expect(0);
    assert_eq!(again.out, "");
    again.says(&["no unfinished changes"]);
    put(&begin(&sandbox), 2);
    let document = sandbox.document(&["recover", PROD]);
    assert_eq!(schema.check(&document), "recovered");
    assert_eq!(
        (&document["changes"], &document["lost"]),
        (&2.into(), &Value::Null)
    );
    assert!(sandbox.answer(&["pull", PROD]).contains("resource.1"));
}

#[test]
fn recover_waits_for_a_live_run() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    let run = begin(&sandbox);
    put(&run, 1);
    sandbox
        .run(&["recover", PROD])
        .expect(4)
        .says(&["alice", "apply"]);
    let revision = run.finish("done").unwrap().unwrap().to_string();
    assert_eq!(sandbox.answer(&["current", PROD]), revision);
}

#[test]
fn damaged_changes_are_discarded_only_when_told_to() {
    let (sandbox, first) = left(3);
    damage(&sandbox, 1);
    sandbox.write("state.json", &snapshot("prod", "second"));
    for arguments in [
        &["list", PROD][..],
        &["pull", PROD],
        &["push", PROD, "state.json"],
        &["set-current", PROD, &first],
        &["recover", PROD],
    ] {
        sandbox.run(arguments).expect(5).says(&[
            "statectl pull demo/prod --rev REV",
            "statectl recover demo/prod --discard-damaged",
        ]);
    }
    for arguments in [
        &["current", PROD][..],
        &["snapshots", PROD],
        &["lock-status", PROD],
    ] {
        sandbox
            .run(arguments)
            .expect(0)
            .says(&["warning", "--discard-damaged"]);
    }
    assert!(sandbox.document(&["stacks"])["stacks"][0]["problem"].is_string());
    sandbox.run(&["pull", PROD, "--rev", &first]).expect(0);
    let lock = ["lock", PROD, "--", STATECTL];
    sandbox
        .run(&[&lock[..], &["recover", PROD, "--discard-damaged"]].concat())
        .expect(2);

    let run = sandbox.run(&["recover", PROD, "--discard-damaged"]).expect(0);
    let rev = sandbox.answer(&["current", PROD]);
    assert_eq!(run.out.trim_end(), rev);
    run.says(&["committed 1 change as", "the other changes are lost"]);
    assert!(sandbox.answer(&["pull", PROD]).contains("resource.database"));
    assert_eq!(revisions(&sandbox).len(), 2);
}

#[test]
fn set_current_unchecked_moves_away_from_damage() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    sandbox.push("second", &["--expect", &first]);
    put(&begin(&sandbox), 2);
    damage(&sandbox, 0);
    sandbox
        .run(&["set-current", PROD, &first])
        .expect(5)
        .says(&["--unchecked"]);
    sandbox
        .run(&["set-current", PROD, &first, "--unchecked"])
        .expect(0)
        .says(&["warning", "an unknown number of unfinished changes"]);
    sandbox.run(&["pull", PROD]).expect(0);
}

/// A first run that died lost no pointer, and a push that expects a fresh stack does not overwrite its changes.
#[test]
fn first_run_that_died_is_committed_before_a_push() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("config/statectl")).unwrap();
    sandbox.run(&["keygen", "config/statectl/key"]).expect(0);
    put(&begin(&sandbox), 2);
    assert_shown_entries(&sandbox, 2);
    sandbox.write("state.json", &snapshot("prod", "first"));
    sandbox
        .run(&["push", PROD, "state.json", "--expect", "none"])
        .expect(6)
        .says(&["committed 2 unfinished changes"]);
    assert_shown_entries(&sandbox, 2);
    assert_eq!(revisions(&sandbox).len(), 1);
}

fn assert_shown_entries(sandbox: &Sandbox, count: usize) {
    let entries = &sandbox.document(&["list", PROD])["entries"];
    assert_eq!(entries.as_array().unwrap().len(), count);
    sandbox.run(&["pull", PROD]).expect(0);
}

/// A first run that dies before its first change is durable leaves an empty document.
#[test]
fn stack_with_an_empty_beginning_counts_as_fresh() {
    let sandbox = Sandbox::new();
    sandbox.write("state.json", &snapshot("prod", "first"));
    fs::create_dir_all(sandbox.path("config/statectl")).unwrap();
    sandbox.run(&["keygen", "config/statectl/key"]).expect(0);
    put(&begin(&sandbox), 1);
    fs::remove_file(sandbox.stack().join("journal")).unwrap();
    assert_shown_entries(&sandbox, 0);
    let empty = sandbox.answer(&["current", PROD]);
    assert!(sandbox.answer(&["snapshots", PROD]).contains("(empty: "));
    let pushed = sandbox
        .run(&["push", PROD, "state.json", "--expect", "none"])
        .expect(0)
        .says(&["stored the first snapshot of demo/prod"]);
    assert!(pushed.out.trim_end() > empty.as_str());
    assert!(!pushed.err.contains("warning"), "{}", pushed.err);
    sandbox
        .run(&["push", PROD, "state.json", "--expect", "none"])
        .expect(6);
}

/// A document of another tool: a number.
#[derive(Debug, Clone)]
struct Number(u64);

struct Add(u64);

impl Snapshot for Number {
    const PAYLOAD: &'static str = "number";
    type Change = Add;

    fn fresh(_: &StackId) -> Self {
        Self(0)
    }

    fn encode(&self) -> Result<Vec<u8>, Error> {
        Ok(self.0.to_string().into())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        Ok(Self(str::from_utf8(bytes).unwrap().parse().unwrap()))
    }
}

impl Change<Number> for Add {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        out.extend(self.0.to_le_bytes());
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        Ok(Self(u64::from_le_bytes(bytes.try_into().unwrap())))
    }

    fn apply(self, number: &mut Number) {
        number.0 += self.0;
    }
}

/// Only the tool that knows the document can read and commit its changes.
#[test]
fn changes_of_another_document_are_left_to_its_tool() {
    let sandbox = Sandbox::new();
    sandbox.write("number", "7");
    let push = ["push", PROD, "number", "--payload", "number"];
    sandbox.run(&push).expect(0);
    let store = store_in(&sandbox.path(".unobin/state"), &sandbox.default_key()).document::<Number>();
    let run = store.begin("count", Duration::ZERO).unwrap();
    run.apply(Add(2)).unwrap();
    drop(run);
    let pulled = sandbox.run(&["pull", PROD, "--raw"]).expect(0);
    assert_eq!(pulled.out, "7");
    pulled.says(&["warning", "unfinished changes are not shown"]);
    for arguments in [&push[..], &["recover", PROD]] {
        sandbox
            .run(arguments)
            .expect(5)
            .says(&["first commit 1 unfinished change of alice on build-7"]);
    }
    assert_eq!(store.head().unwrap().unwrap().document.0, 9);
    // Nothing but changes: there is no document that could be shown.
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("config/statectl")).unwrap();
    sandbox.run(&["keygen", "config/statectl/key"]).expect(0);
    let store = store_in(&sandbox.path(".unobin/state"), &sandbox.default_key()).document::<Number>();
    store
        .begin("count", Duration::ZERO)
        .unwrap()
        .apply(Add(2))
        .unwrap();
    let run = sandbox.run(&["pull", PROD]).expect(5);
    assert_eq!(run.out, "");
    run.says(&["number"]);
}

#[test]
fn killed_run_is_named_and_committed() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    let died = Command::new(env::current_exe().unwrap())
        .args(["--exact", "unfinished::run_that_dies", "--ignored"])
        .env(ROOT, sandbox.path(".unobin/state"))
        .env(KEY, sandbox.default_key())
        .output()
        .unwrap();
    assert_eq!(died.status.signal(), Some(6), "{died:?}");
    assert_eq!(
        sandbox.document(&["lock-status", PROD])["holder"]["liveness"],
        "dead"
    );
    assert_shown(&sandbox, false, "unfinished");
    sandbox.run(&["recover", PROD]).expect(0).says(&[
        "took over the lock of alice",
        "committed 2 unfinished changes of alice on build-7",
    ]);
}

/// The process that the test above starts.
#[test]
#[ignore = "it kills its process"]
fn run_that_dies() {
    let [root, key] = [ROOT, KEY].map(|name| env::var_os(name).unwrap());
    let store = store_in(root.as_ref(), key.as_ref());
    let run = store.begin("apply", Duration::ZERO).unwrap();
    put(&run, 2);
    std::process::abort();
}

#[test]
fn rollback_commits_what_a_dead_run_left() {
    let (sandbox, first) = left(2);
    let diff = sandbox.document(&["diff", PROD, &first]);
    assert_eq!(diff["diff"]["counts"]["added"], 2);
    assert_unfinished(&diff["unfinished"], 2, false);
    let run = sandbox.run(&["rollback", PROD, &first, "--yes"]).expect(0);
    assert!(!sandbox.answer(&["pull", PROD]).contains("resource.1"));
    let rows = revisions(&sandbox);
    assert_eq!(rows.len(), 3);
    let recovered = rows[1]["revision"].as_str().unwrap();
    assert_eq!(rows[2]["parent"], recovered);
    assert!(
        sandbox
            .answer(&["pull", PROD, "--rev", recovered])
            .contains("resource.1")
    );
    run.says(&[
        "- resource.1",
        "committed 2 unfinished changes of alice on build-7",
    ]);
}

/// The changes of a run that goes on are shown, and cannot be taken back.
#[test]
fn rollback_waits_for_a_run_that_goes_on() {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let run = begin(&sandbox);
    put(&run, 2);
    sandbox.run(&["rollback", PROD, &first, "--yes"]).expect(4);
    run.finish("two").unwrap();
    sandbox.run(&["rollback", PROD, &first, "--yes"]).expect(0);
}
