//! `check`: a catalogue of damages, each of which is found, and sound stacks, in which nothing is.

use crate::sandbox::{SECRET, Sandbox, snapshot};
use crate::schema::Schema;
use localstate::LocalBackend;
use sdk_state::encrypt::KeyFile;
use sdk_state::{Binding, Category, Entry, EntryKind, Store};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

const PROD: &str = "demo/prod";

/// Three revisions without a flaw, of which the last is current.
struct Sound {
    sandbox: Sandbox,
    revisions: Vec<String>,
}

impl Sound {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let revisions = ["first", "second", "third"].map(|note| push(&sandbox, note, &[]));
        Self {
            sandbox,
            revisions: revisions.to_vec(),
        }
    }

    /// The same stack in another place.
    fn copied(&self) -> Self {
        let sandbox = Sandbox::new();
        for directory in ["config", ".unobin"] {
            copy_tree(&self.sandbox.path(directory), &sandbox.path(directory));
        }
        Self {
            sandbox,
            revisions: self.revisions.clone(),
        }
    }

    /// The file of a revision, counted from the oldest.
    fn snapshot(&self, number: usize) -> PathBuf {
        self.sandbox.snapshot_file(&self.revisions[number])
    }

    fn file(&self, name: &str) -> PathBuf {
        self.sandbox.stack().join(name)
    }

    fn store(&self) -> Store {
        let backend = LocalBackend::new(self.sandbox.path(".unobin/state"), PROD.parse().unwrap());
        Store::new(backend, KeyFile::open_any(self.sandbox.default_key()).unwrap())
    }

    /// The changes of a run that ends without a commit.
    fn leave_changes(&self) {
        let run = self.store().begin("apply", Duration::ZERO).unwrap();
        let binding = Binding::new("aws", "subnet");
        for address in ["resource.a", "resource.b"] {
            run.put(Entry::new(
                address,
                EntryKind::Leaf,
                Category::Resource,
                binding.clone(),
            ))
            .unwrap();
        }
    }
}

/// With modes.
fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_tree(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// Pushes a document whose entries need only what is there.
fn push(sandbox: &Sandbox, note: &str, options: &[&str]) -> String {
    push_with(sandbox, note, &json!(["resource.database"]), options)
}

fn push_with(sandbox: &Sandbox, note: &str, needs: &Value, options: &[&str]) -> String {
    let text =
        snapshot("prod", note).replace("[\"resource.database\",\"resource.gone\"]", &needs.to_string());
    sandbox.write("state.json", &text);
    sandbox.answer(&[&["push", PROD, "state.json"], options].concat())
}

/// The answer, and the exit code.
fn checked(sandbox: &Sandbox, options: &[&str]) -> (Value, i32) {
    let run = sandbox.run(&[&["check", PROD, "--json"], options].concat());
    assert!(!run.out.contains(SECRET));
    let document: Value = serde_json::from_str(&run.out).unwrap();
    Schema::new().check(&document);
    (document, run.code)
}

#[track_caller]
fn check(sandbox: &Sandbox, options: &[&str], code: i32) -> Value {
    let (document, found) = checked(sandbox, options);
    assert_eq!(found, code, "{document:#}");
    document
}

fn findings(document: &Value) -> &[Value] {
    document["stacks"][0]["findings"].as_array().unwrap()
}

fn codes(document: &Value) -> Vec<&str> {
    findings(document)
        .iter()
        .map(|finding| finding["code"].as_str().unwrap())
        .collect()
}

fn cut(file: PathBuf) {
    let whole = fs::read(&file).unwrap();
    fs::write(file, &whole[..whole.len() / 2]).unwrap();
}

/// Changes one bit of the byte that is `from_end` bytes before the end.
fn flip(file: PathBuf, from_end: usize) {
    let mut whole = fs::read(&file).unwrap();
    let position = whole.len() - from_end;
    whole[position] ^= 1;
    fs::write(file, whole).unwrap();
}

fn empty(file: PathBuf) {
    fs::write(file, "").unwrap();
}

fn swap(one: PathBuf, other: PathBuf) {
    let (first, second) = (fs::read(&one).unwrap(), fs::read(&other).unwrap());
    fs::write(one, second).unwrap();
    fs::write(other, first).unwrap();
}

fn put_directory(file: PathBuf) {
    let _ = fs::remove_file(&file);
    fs::create_dir(file).unwrap();
}

fn put_broken_link(file: PathBuf) {
    let _ = fs::remove_file(&file);
    symlink("nowhere", file).unwrap();
}

type Damage = (&'static str, &'static [&'static str], fn(&Sound));

/// What is planted, and all that is found then.
const DAMAGES: &[Damage] = &[
    ("snapshot cut", &["revision-damaged"], |sound| {
        cut(sound.snapshot(0));
    }),
    ("snapshot flipped", &["revision-damaged"], |sound| {
        flip(sound.snapshot(1), 9);
    }),
    ("snapshot emptied", &["revision-damaged"], |sound| {
        empty(sound.snapshot(1));
    }),
    (
        "snapshot replaced by a directory",
        &["revision-damaged"],
        |sound| put_directory(sound.snapshot(1)),
    ),
    (
        "snapshot replaced by a broken link",
        &["revision-damaged"],
        |sound| {
            put_broken_link(sound.snapshot(1));
        },
    ),
    ("snapshot of rubbish", &["revision-damaged"], |sound| {
        fs::write(sound.snapshot(1), vec![b'?'; 100_000]).unwrap();
    }),
    ("current snapshot cut", &["revision-damaged"], |sound| {
        cut(sound.snapshot(2));
    }),
    (
        "two snapshots swapped",
        &["revision-misplaced", "revision-misplaced"],
        |sound| {
            swap(sound.snapshot(0), sound.snapshot(1));
        },
    ),
    ("snapshot renamed", &["revision-misplaced"], |sound| {
        fs::rename(
            sound.snapshot(0),
            sound.sandbox.snapshot_file("2020-01-01T00:00:00Z"),
        )
        .unwrap();
    }),
    (
        "snapshot under a name that is no time",
        &["revision-misplaced", "name-not-a-time"],
        |sound| {
            fs::copy(sound.snapshot(0), sound.sandbox.snapshot_file("before-the-move")).unwrap();
        },
    ),
    ("snapshot of another stack", &["revision-misplaced"], |sound| {
        sound.sandbox.write("state.json", &snapshot("dev", "first"));
        let rev = sound.sandbox.answer(&["push", "demo/dev", "state.json"]);
        let file = sound.sandbox.path(".unobin/state/demo/dev/snapshots");
        fs::copy(file.join(format!("{rev}.json.enc")), sound.snapshot(0)).unwrap();
    }),
    (
        "snapshot that is not encrypted",
        &["revision-refused", "recipients-differ"],
        |sound| {
            let plain = Sandbox::new();
            let rev = push(&plain, "plain", &["--encrypter", "noop"]);
            fs::copy(plain.snapshot_file(&rev), sound.sandbox.snapshot_file(&rev)).unwrap();
        },
    ),
    (
        "snapshot of another key",
        &["revision-wrong-key", "recipients-differ"],
        |sound| {
            let other = Sandbox::new();
            let rev = push(&other, "other", &[]);
            fs::copy(other.snapshot_file(&rev), sound.sandbox.snapshot_file(&rev)).unwrap();
        },
    ),
    ("current emptied", &["current-damaged"], |sound| {
        empty(sound.file("current"));
    }),
    ("current cut", &["current-dangling"], |sound| {
        fs::write(sound.file("current"), "2026-07\n").unwrap();
    }),
    ("current of two lines", &["current-damaged"], |sound| {
        fs::write(sound.file("current"), "two\nlines\n").unwrap();
    }),
    ("current replaced by a directory", &["current-damaged"], |sound| {
        put_directory(sound.file("current"));
    }),
    (
        "current replaced by a broken link",
        &["current-damaged"],
        |sound| {
            put_broken_link(sound.file("current"));
        },
    ),
    ("current lost", &["current-lost"], |sound| {
        fs::remove_file(sound.file("current")).unwrap();
    }),
    ("current renamed", &["current-lost", "foreign-file"], |sound| {
        fs::rename(sound.file("current"), sound.file("current.bak")).unwrap();
    }),
    ("current lost under a run", &["current-lost"], |sound| {
        sound.leave_changes();
        fs::remove_file(sound.file("current")).unwrap();
    }),
    (
        "current snapshot removed by hand",
        &["current-dangling"],
        |sound| {
            fs::remove_file(sound.snapshot(2)).unwrap();
        },
    ),
    ("run unfinished", &["unfinished-changes"], Sound::leave_changes),
    ("journal flipped", &["changes-damaged"], |sound| {
        sound.leave_changes();
        let journal = fs::read(sound.file("journal")).unwrap();
        let last = journal.iter().rposition(|byte| *byte != 0).unwrap();
        flip(sound.file("journal"), journal.len() - last);
    }),
    ("journal emptied", &["changes-damaged"], |sound| {
        sound.leave_changes();
        empty(sound.file("journal"));
    }),
    (
        "journal cut inside its beginning",
        &["changes-damaged"],
        |sound| {
            sound.leave_changes();
            let whole = fs::read(sound.file("journal")).unwrap();
            fs::write(sound.file("journal"), &whole[..20]).unwrap();
        },
    ),
    ("journal replaced by a directory", &["changes-damaged"], |sound| {
        put_directory(sound.file("journal"));
    }),
    ("journal renamed", &["foreign-file"], |sound| {
        sound.leave_changes();
        fs::rename(sound.file("journal"), sound.file("journal.bak")).unwrap();
    }),
    ("base of the journal sealed anew", &["changes-damaged"], |sound| {
        sound.leave_changes();
        let journal = fs::read(sound.file("journal")).unwrap();
        sound.sandbox.run(&["recover", PROD]).expect(0);
        fs::write(sound.file("current"), format!("{}\n", sound.revisions[2])).unwrap();
        sound.sandbox.run(&["rekey", PROD, "--deep"]).expect(0);
        fs::write(sound.file("journal"), journal).unwrap();
        private(sound.file("journal"));
    }),
    ("journal of an older revision", &["leftover-file"], |sound| {
        sound.leave_changes();
        fs::write(sound.file("current"), format!("{}\n", sound.revisions[1])).unwrap();
    }),
    ("current of another stack", &["current-dangling"], |sound| {
        sound.sandbox.write("state.json", &snapshot("dev", "first"));
        sound.sandbox.run(&["push", "demo/dev", "state.json"]).expect(0);
        let other = sound.sandbox.path(".unobin/state/demo/dev/current");
        fs::copy(other, sound.file("current")).unwrap();
    }),
    ("lock of a dead process, flipped", &["lock-dead"], |sound| {
        leave_lock(sound);
        flip(sound.file("lock"), 900);
    }),
    ("lock cut", &["lock-unknown"], |sound| {
        fs::write(sound.file("lock"), "{").unwrap();
        private(sound.file("lock"));
    }),
    ("lock emptied", &["lock-unknown"], |sound| {
        empty(sound.file("lock"));
        private(sound.file("lock"));
    }),
    ("lock replaced by a directory", &["lock-damaged"], |sound| {
        put_directory(sound.file("lock"));
    }),
    ("lock of a dead process", &["lock-dead"], |sound| {
        leave_lock(sound);
    }),
    ("lock renamed", &["foreign-file"], |sound| {
        fs::write(sound.file("lock.old"), "{}").unwrap();
    }),
    (
        "directory of the snapshots lost",
        &["current-dangling"],
        |sound| {
            fs::remove_dir_all(sound.file("snapshots")).unwrap();
        },
    ),
    (
        "directory of the snapshots replaced by a link",
        &["stack-unreadable"],
        |sound| {
            fs::rename(sound.file("snapshots"), sound.sandbox.path("elsewhere")).unwrap();
            symlink(sound.sandbox.path("elsewhere"), sound.file("snapshots")).unwrap();
        },
    ),
    ("temporary file of a dead writer", &["leftover-file"], |sound| {
        fs::write(sound.file("snapshots/.snapshot.0123456789abcdef"), "half").unwrap();
    }),
    ("file of somebody else", &["foreign-file"], |sound| {
        fs::write(sound.file("notes.txt"), "?").unwrap();
        fs::write(sound.file("snapshots/2026-07-10T12:00:00Z.json"), "{}").unwrap();
    }),
    ("name that is no revision", &["foreign-file"], |sound| {
        fs::copy(sound.snapshot(0), sound.file("snapshots/a b.json.enc")).unwrap();
    }),
    ("snapshot that others can read", &["file-exposed"], |sound| {
        fs::set_permissions(sound.snapshot(0), Permissions::from_mode(0o644)).unwrap();
    }),
    ("dependency missing", &["dependency-missing"], |sound| {
        push_with(&sound.sandbox, "fourth", &json!(["resource.gone"]), &[]);
    }),
    ("dependency on itself", &["dependency-cycle"], |sound| {
        push_with(&sound.sandbox, "fourth", &json!(["action.migrate"]), &[]);
    }),
    (
        "revision of an older recipient",
        &["recipients-differ"],
        |sound| {
            let key = sound.sandbox.key("other");
            sound
                .sandbox
                .run(&["key", "add", PROD, &key, "--from-now"])
                .expect(0);
        },
    ),
];

/// The lock of a process that died while it held it.
fn leave_lock(sound: &Sound) {
    let lock = sound.store().lock("apply", Duration::ZERO).unwrap();
    let marker = fs::read(sound.file("lock")).unwrap();
    lock.unlock().unwrap();
    fs::write(sound.file("lock"), marker).unwrap();
    private(sound.file("lock"));
}

fn private(file: PathBuf) {
    fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn every_damage_of_the_catalogue_is_found() {
    let (mut seen, mut missed) = (BTreeSet::new(), Vec::new());
    let template = Sound::new();
    for (name, expected, plant) in DAMAGES {
        let sound = template.copied();
        plant(&sound);
        let (document, exit) = checked(&sound.sandbox, &[]);
        if codes(&document) != *expected {
            missed.push(format!("{name}: {document:#}"));
        }
        let is_sound = findings(&document)
            .iter()
            .all(|finding| finding["severity"] != "error");
        assert_eq!(
            (&document["sound"], exit),
            (&is_sound.into(), if is_sound { 0 } else { 5 }),
            "{name}"
        );
        let human = sound.sandbox.run(&["check", PROD]);
        for finding in findings(&document) {
            for text in ["code", "message"].map(|member| finding[member].as_str().unwrap()) {
                assert!(
                    human.out.contains(text),
                    "{name}: {text} is missing in {}",
                    human.out
                );
            }
            let code = finding["code"].as_str().unwrap();
            assert!(
                finding["repair"].is_string() || code == "lock-damaged",
                "{name}: {finding}"
            );
            seen.insert(code.to_owned());
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    assert!(seen.len() > 18, "{seen:?}");
}

/// A flip in the header may look like another place, key or version, but never like nothing.
#[test]
fn every_flipped_byte_of_a_snapshot_is_an_error() {
    let sound = Sound::new();
    let whole = fs::read(sound.snapshot(0)).unwrap();
    for position in (0..whole.len()).step_by(29) {
        flip(sound.snapshot(0), whole.len() - position);
        let document = check(&sound.sandbox, &[], 5);
        let code = codes(&document)[0];
        assert!(code.starts_with("revision-"), "{position}: {code}");
        assert_eq!(findings(&document)[0]["revisions"], json!([sound.revisions[0]]));
        fs::write(sound.snapshot(0), &whole).unwrap();
    }
}

#[test]
fn sound_stack_has_no_finding() {
    let sound = Sound::new();
    let sandbox = &sound.sandbox;
    // A run that finishes, one that dies and is committed, a deletion, a rollback, and a lock that was given back.
    let run = sound.store().begin("apply", Duration::ZERO).unwrap();
    run.put(Entry::new(
        "resource.x",
        EntryKind::Leaf,
        Category::Resource,
        Binding::new("aws", "vpc"),
    ))
    .unwrap();
    run.finish("done").unwrap();
    sound.leave_changes();
    sandbox.run(&["recover", PROD]).expect(0);
    // The parent of the second revision is gone, which is normal.
    sandbox.run(&["delete", PROD, &sound.revisions[0]]).expect(0);
    sandbox.run(&["set-current", PROD, &sound.revisions[1]]).expect(0);
    sandbox.run(&["lock", PROD, "--", "true"]).expect(0);
    for options in [&[][..], &["--read-data", "1%"], &["--read-data", "0%"]] {
        let document = check(sandbox, options, 0);
        assert_eq!(findings(&document), [] as [Value; 0], "{document:#}");
        assert_eq!(document["stacks"][0]["current"], sound.revisions[1].as_str());
    }
    let human = sandbox.run(&["check", "--all"]).expect(0);
    assert_eq!(human.out, "demo/prod: 4 revisions, 4 opened: nothing is wrong\n");
    assert_eq!(human.err, "");
}

#[test]
fn living_run_is_no_finding() {
    let sound = Sound::new();
    let run = sound.store().begin("apply", Duration::ZERO).unwrap();
    run.put(Entry::new(
        "resource.x",
        EntryKind::Leaf,
        Category::Resource,
        Binding::new("aws", "vpc"),
    ))
    .unwrap();
    assert_eq!(codes(&check(&sound.sandbox, &[], 0)), [] as [&str; 0]);
    drop(run);
    assert_eq!(codes(&check(&sound.sandbox, &[], 0)), ["unfinished-changes"]);
}

#[test]
fn share_of_the_revisions_is_opened() {
    let sound = Sound::new();
    let opened = |share| check(&sound.sandbox, &["--read-data", share], 0)["stacks"][0]["opened"].clone();
    assert_eq!(["0%", "1%", "50%", "100%"].map(opened), [0, 1, 2, 3]);
    for share in ["10", "101%", "half"] {
        sound
            .sandbox
            .run(&["check", PROD, "--read-data", share])
            .expect(2);
    }
    // A file that is not opened still says where it belongs.
    swap(sound.snapshot(0), sound.snapshot(1));
    let document = check(&sound.sandbox, &["--read-data", "0%"], 5);
    assert_eq!(codes(&document), ["revision-misplaced", "revision-misplaced"]);
}

#[test]
fn check_needs_a_key_only_to_open() {
    let sound = Sound::new();
    fs::remove_file(sound.sandbox.default_key()).unwrap();
    sound
        .sandbox
        .run(&["check", PROD])
        .expect(5)
        .says(&["--encrypter"]);
    check(&sound.sandbox, &["--read-data", "0%"], 0);
    // Another key opens nothing, and the finding says which one would.
    let key = sound.sandbox.key("other");
    let document = check(&sound.sandbox, &["--encrypter", &key], 5);
    assert_eq!(codes(&document), ["revision-wrong-key"]);
    assert_eq!(findings(&document)[0]["revisions"].as_array().unwrap().len(), 3);
    assert_eq!(findings(&document)[0]["repair"], "pass --encrypter age:PATH");
}

#[test]
fn check_of_all_looks_at_every_stack() {
    let sound = Sound::new();
    sound.sandbox.write("state.json", &snapshot("dev", "first"));
    let dev = sound.sandbox.answer(&["push", "demo/dev", "state.json"]);
    let damaged = format!(".unobin/state/demo/dev/snapshots/{dev}.json.enc");
    empty(sound.sandbox.path(&damaged));
    let run = sound.sandbox.run(&["check", "--all"]).expect(5);
    assert!(
        run.out.starts_with("demo/dev: 1 revision, 0 opened: 1 error\n"),
        "{}",
        run.out
    );
    assert!(
        run.out
            .contains("\ndemo/prod: 3 revisions, 3 opened: nothing is wrong\n"),
        "{}",
        run.out
    );
    let before = fs::read(sound.file("current")).unwrap();
    sound
        .sandbox
        .run(&["check", PROD, "demo/nosuch"])
        .expect(3)
        .says(&["demo/nosuch"]);
    sound.sandbox.run(&["check"]).expect(2);
    sound.sandbox.run(&["check", PROD, "--all"]).expect(2);
    assert_eq!(fs::read(sound.file("current")).unwrap(), before);
}

/// The commands that the findings name do repair.
#[test]
fn repairs_of_the_findings_work() {
    for (name, plant) in [
        (
            "lost",
            (|sound| fs::remove_file(sound.file("current")).unwrap()) as fn(&Sound),
        ),
        ("damaged", |sound| empty(sound.snapshot(0))),
        ("current damaged", |sound| empty(sound.snapshot(2))),
        ("unfinished", Sound::leave_changes),
    ] {
        let sound = Sound::new();
        plant(&sound);
        let (document, _) = checked(&sound.sandbox, &[]);
        let repair = findings(&document)[0]["repair"].as_str().unwrap();
        let command = repair
            .split('`')
            .nth(1)
            .unwrap()
            .replace("REV", &sound.revisions[1]);
        let arguments: Vec<&str> = command.strip_prefix("statectl ").unwrap().split(' ').collect();
        sound.sandbox.run(&arguments).expect(0);
        let after = check(&sound.sandbox, &[], if name == "current damaged" { 5 } else { 0 });
        // What was current is an old revision now, and can be deleted.
        assert_eq!(
            codes(&after).len(),
            usize::from(name == "current damaged"),
            "{name}: {after:#}"
        );
    }
}
