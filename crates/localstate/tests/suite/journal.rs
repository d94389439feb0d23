//! The journal: what is appended is read, by everybody and after every trouble, and ends with a move of `current`.

use crate::support::{
    self, LONG, Slowed, backend, create, given_root, holder, lock_and_token, nth, stack_directory, succeeds,
    traced,
};
use crate::trouble::fill;
use localstate::{LocalBackend, LocalCatalog};
use sdk_state::encrypt::Noop;
use sdk_state::{
    Appended, Backend as _, Catalog as _, Error, ErrorKind, Expect, Json, Lock, LockToken, Pointer,
    Snapshot as _, State, Store, TryLock,
};
use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Two revisions, of which the first is current, and the lock.
pub(crate) fn prepare(root: &Path) -> (LocalBackend, Pointer, Box<dyn Lock>, LockToken) {
    let backend = backend(root);
    create(&backend, &nth(1));
    create(&backend, &nth(2));
    let (lock, token) = lock_and_token(root);
    let base = backend.set_current(Expect::Nothing, &nth(1), &token).unwrap();
    (backend, base, lock, token)
}

/// A record of its own length for each number.
pub(crate) fn record(number: u64) -> Vec<u8> {
    let seed = number.to_le_bytes().into_iter().chain(*b"record");
    let length = 30 + (number as usize * 97) % 1200;
    seed.cycle().take(length).map(|byte| byte | 0x80).collect()
}

pub(crate) fn append(backend: &LocalBackend, base: &Pointer, index: u64, token: &LockToken) {
    let appended = backend.append(base, index, &record(index), token).unwrap();
    assert_eq!(appended, Appended::Appended, "{index}");
}

pub(crate) fn all(backend: &LocalBackend, base: &Pointer) -> Vec<Vec<u8>> {
    backend.read_journal(base, 0, usize::MAX).unwrap()
}

pub(crate) fn records(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(record).collect()
}

pub(crate) fn journal_file(root: &Path) -> PathBuf {
    stack_directory(root).join("journal")
}

/// The token of the lock that a process got from its parent.
fn token_of(backend: &LocalBackend) -> LockToken {
    backend.lock_status().unwrap().unwrap().info.token.unwrap()
}

#[test]
fn records_are_read_in_order_and_in_pages() {
    let root = tempfile::tempdir().unwrap();
    let (backend, base, _lock, token) = prepare(root.path());
    assert_eq!(all(&backend, &base), records(0));
    // More than the zeros that are written at once.
    for index in 0..600 {
        append(&backend, &base, index, &token);
    }
    let reader = support::backend(root.path());
    assert_eq!(all(&reader, &base), records(600));
    assert_eq!(
        reader.read_journal(&base, 7, 0).unwrap(),
        [record(7)],
        "at least one"
    );
    let two_more = record(8).len() + record(9).len();
    assert_eq!(reader.read_journal(&base, 7, two_more).unwrap().len(), 3);
    assert_eq!(reader.read_journal(&base, 7, two_more - 1).unwrap().len(), 2);
    assert_eq!(reader.read_journal(&base, 600, usize::MAX).unwrap(), records(0));
    assert_eq!(
        reader.read_journal(&base, u64::MAX, usize::MAX).unwrap(),
        records(0)
    );
    let mode = fs::metadata(journal_file(root.path()))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert_eq!(support::leftovers(root.path()), [""; 0]);
}

#[test]
fn the_longest_record_is_kept_and_a_longer_one_refused() {
    let root = tempfile::tempdir().unwrap();
    let (backend, base, _lock, token) = prepare(root.path());
    let longest = vec![7; sdk_state::MAX_RECORD_BYTES];
    for index in 0..2 {
        let appended = backend.append(&base, index, &longest, &token).unwrap();
        assert_eq!(appended, Appended::Appended);
    }
    assert_eq!(all(&backend, &base), [longest.clone(), longest.clone()]);
    for refused in [&[longest.as_slice(), &[7]].concat(), &Vec::new()] {
        let error = backend.append(&base, 2, refused, &token).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::TooLarge);
    }
}

/// The answer of the first call may have been lost.
#[test]
fn only_the_last_record_is_appended_again() {
    let root = tempfile::tempdir().unwrap();
    let (one, base, _lock, token) = prepare(root.path());
    for index in 0..3 {
        append(&one, &base, index, &token);
    }
    for backend in [one, backend(root.path())] {
        let again = |index, record: &[u8]| backend.append(&base, index, record, &token).unwrap();
        assert_eq!(again(2, &record(2)), Appended::Appended);
        assert_eq!(again(2, &record(3)), Appended::Taken, "another record");
        assert_eq!(again(2, &record(2)[1..]), Appended::Taken, "a shorter one");
        assert_eq!(again(1, &record(1)), Appended::Taken, "not the last");
        assert_eq!(again(0, &record(0)), Appended::Taken);
        assert_eq!(again(4, &record(4)), Appended::Taken, "a gap");
    }
    assert_eq!(all(&backend(root.path()), &base), records(3));
}

/// Each handle counts the other's records, and appends only to records that it flushed itself.
#[test]
fn two_handles_with_one_token_take_turns() {
    let root = tempfile::tempdir().unwrap();
    let (one, base, _lock, token) = prepare(root.path());
    let other = backend(root.path());
    for index in [0, 2, 4] {
        append(&one, &base, index, &token);
        let late = other.append(&base, index, &record(99), &token).unwrap();
        assert_eq!(late, Appended::Taken);
        append(&other, &base, index + 1, &token);
        let late = one.append(&base, index + 1, &record(99), &token).unwrap();
        assert_eq!(late, Appended::Taken);
    }
    assert_eq!(all(&one, &base), records(6));
    assert_eq!(support::leftovers(root.path()), [""; 0]);
}

/// B began after A's eviction, but A's first record replaced B's; or A appended to what B had folded.
#[test]
fn an_evicted_holder_appends_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (evicted, base, lock, old) = prepare(root.path());
    append(&evicted, &base, 0, &old);
    let other = backend(root.path());
    other.force_unlock(None).unwrap();
    let refused = |index| evicted.append(&base, index, &record(index), &old).unwrap_err();
    assert!(refused(1).is_lock_lost());
    let (_held, token) = lock_and_token(root.path());
    for index in 0..3 {
        assert!(refused(index).is_lock_lost(), "{index}");
    }
    // It folds; the old revision becomes current again.
    other
        .set_current(Expect::Pointer(&base), &nth(2), &token)
        .unwrap();
    other.set_current(Expect::Anything, &nth(1), &token).unwrap();
    for index in 0..3 {
        assert!(refused(index).is_lock_lost(), "{index}");
    }
    append(&other, &base, 0, &token);
    assert!(refused(1).is_lock_lost());
    append(&other, &base, 1, &token);
    assert_eq!(all(&evicted, &base), records(2));
    drop(lock);
}

#[test]
fn a_move_ends_the_journal() {
    let root = tempfile::tempdir().unwrap();
    let (backend, base, _lock, token) = prepare(root.path());
    append(&backend, &base, 0, &token);
    append(&backend, &base, 1, &token);
    let next = backend
        .set_current(Expect::Pointer(&base), &nth(2), &token)
        .unwrap();
    assert!(!journal_file(root.path()).exists());
    assert_eq!(all(&backend, &base), records(0));
    assert_eq!(all(&backend, &next), records(0));
    let error = backend.append(&base, 2, &record(2), &token).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::CurrentMoved { .. }), "{error}");
    append(&backend, &next, 0, &token);
    // Back: what was there before does not come back, nor does a record that is late.
    let again = backend.set_current(Expect::Anything, &nth(1), &token).unwrap();
    assert_eq!((&again, all(&backend, &again)), (&base, records(0)));
    let late = backend.append(&base, 2, &record(2), &token).unwrap();
    assert_eq!(late, Appended::Taken);
    append(&backend, &again, 0, &token);
    assert_eq!(all(&backend, &again), records(1));
}

/// The move cleared the target's journal as dead, although it was live.
#[test]
fn a_move_to_the_current_revision_keeps_the_journal() {
    let root = tempfile::tempdir().unwrap();
    let (one, base, _lock, token) = prepare(root.path());
    append(&one, &base, 0, &token);
    for backend in [&one, &backend(root.path())] {
        for expect in [Expect::Anything, Expect::Pointer(&base)] {
            assert_eq!(backend.set_current(expect, &nth(1), &token).unwrap(), base);
            assert_eq!(all(backend, &base), records(1));
        }
    }
    append(&one, &base, 1, &token);
    assert_eq!(all(&one, &base), records(2));
}

/// A process moved `current` and died before it removed the journal.
#[test]
fn a_dead_journal_never_lives_again() {
    for is_handle_new in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let (one, base, _lock, token) = prepare(root.path());
        append(&one, &base, 0, &token);
        let dead = fs::read(journal_file(root.path())).unwrap();
        let next = one.set_current(Expect::Anything, &nth(2), &token).unwrap();
        let backend = if is_handle_new { backend(root.path()) } else { one };
        fs::write(journal_file(root.path()), &dead).unwrap();
        assert_eq!(all(&backend, &base), records(0));
        assert_eq!(all(&backend, &next), records(0));
        // Either it is replaced, or it is removed before its base is current again.
        append(&backend, &next, 0, &token);
        assert_eq!(all(&backend, &next), records(1));
        fs::write(journal_file(root.path()), &dead).unwrap();
        backend.set_current(Expect::Anything, &nth(1), &token).unwrap();
        assert!(!journal_file(root.path()).exists());
        let taken = backend.append(&base, 1, &record(1), &token).unwrap();
        assert_eq!(taken, Appended::Taken);
        append(&backend, &base, 0, &token);
    }
}

/// The handle had the journal open. Another process moved `current` away from it and died before it removed it.
#[test]
fn a_journal_that_has_died_is_not_appended_to() {
    let root = tempfile::tempdir().unwrap();
    let (backend, base, _lock, token) = prepare(root.path());
    append(&backend, &base, 0, &token);
    let stack = stack_directory(root.path());
    fs::write(stack.join("moved"), format!("{}\n", nth(2))).unwrap();
    fs::rename(stack.join("moved"), stack.join("current")).unwrap();
    let error = backend.append(&base, 1, &record(1), &token).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::CurrentMoved { .. }), "{error}");
}

/// Somebody damages or removes `current`.
fn damage_pointer(root: &Path, content: Option<&str>) {
    let current = stack_directory(root).join("current");
    match content {
        None => fs::remove_file(&current).unwrap(),
        Some(content) => fs::write(&current, content).unwrap(),
    }
}

const DAMAGES: [Option<&str>; 3] = [None, Some(""), Some("damaged pointer")];

/// Nobody knows whether the damaged pointer named the journal's base. The repair made another revision current, and changes that
/// had been acknowledged were gone without a word.
#[test]
fn a_repair_of_the_pointer_keeps_the_journal() {
    for content in DAMAGES {
        let root = tempfile::tempdir().unwrap();
        let (backend, base, _lock, token) = prepare(root.path());
        append(&backend, &base, 0, &token);
        damage_pointer(root.path(), content);
        let elsewhere = backend
            .set_current(Expect::Anything, &nth(2), &token)
            .unwrap_err();
        for error in [elsewhere, backend.current().unwrap_err()] {
            assert!(error.is_damaged(), "{error}");
            assert_eq!(error.revision(), Some(&nth(1)), "{error}");
            assert!(error.to_string().contains("make it current first"), "{error}");
        }
        assert_eq!(support::leftovers(root.path()), [""; 0]);
        backend.set_current(Expect::Anything, &nth(1), &token).unwrap();
        assert_eq!(all(&backend, &base), records(1), "{content:?}");
        append(&backend, &base, 1, &token);
        let next = backend.set_current(Expect::Anything, &nth(2), &token).unwrap();
        assert_eq!(all(&backend, &next), records(0));
        assert!(!journal_file(root.path()).exists());
    }
}

/// What a lost pointer puts in danger must be readable: otherwise the repair could never be made.
#[test]
fn an_unreadable_journal_does_not_block_the_repair() {
    type Loss = fn(&Path);
    let losses: [(&str, Loss); 4] = [
        ("the base is gone", |stack| {
            fs::remove_file(stack.join(format!("snapshots/{}.json.enc", nth(1)))).unwrap();
        }),
        ("the base is empty", |stack| {
            fs::write(stack.join(format!("snapshots/{}.json.enc", nth(1))), "").unwrap();
        }),
        ("the base is unknown", |stack| {
            let mut journal = fs::read(stack.join("journal")).unwrap();
            journal[20] ^= 1;
            fs::write(stack.join("journal"), journal).unwrap();
        }),
        ("nothing was acknowledged", |stack| {
            let journal = fs::read(stack.join("journal")).unwrap();
            fs::write(stack.join("journal"), &journal[..50]).unwrap();
        }),
    ];
    for (loss, lose) in losses {
        for content in DAMAGES {
            let root = tempfile::tempdir().unwrap();
            let (backend, base, _lock, token) = prepare(root.path());
            append(&backend, &base, 0, &token);
            damage_pointer(root.path(), content);
            lose(&stack_directory(root.path()));
            let error = backend.current().unwrap_err();
            assert!(
                error.is_damaged() && error.to_string().contains("lost"),
                "{loss}: {error}"
            );
            backend.set_current(Expect::Anything, &nth(2), &token).unwrap();
            assert_eq!(backend.current().unwrap().unwrap().revision, nth(2), "{loss}");
            assert!(!journal_file(root.path()).exists(), "{loss}");
        }
    }
}

/// A copy of the file may bring back what is damaged, so the repair does not drop the journal.
#[test]
fn a_damaged_record_is_kept_by_a_repair() {
    let root = tempfile::tempdir().unwrap();
    let (backend, base, _lock, token) = prepare(root.path());
    append(&backend, &base, 0, &token);
    let mut journal = fs::read(journal_file(root.path())).unwrap();
    journal[60] ^= 1;
    fs::write(journal_file(root.path()), journal).unwrap();
    damage_pointer(root.path(), None);
    let refused = backend.set_current(Expect::Anything, &nth(2), &token);
    assert_eq!(refused.unwrap_err().revision(), Some(&nth(1)));
    backend.set_current(Expect::Anything, &nth(1), &token).unwrap();
    assert!(backend.read_journal(&base, 0, 0).unwrap_err().is_damaged());
}

#[test]
fn a_removed_stack_has_no_journal() {
    let root = tempfile::tempdir().unwrap();
    let (backend, base, lock, token) = prepare(root.path());
    append(&backend, &base, 0, &token);
    lock.unlock().unwrap();
    fs::write(stack_directory(root.path()).join(".journal.0123456789abcdef"), "").unwrap();
    LocalCatalog::new(root.path()).remove(backend.id()).unwrap();
    assert!(!stack_directory(root.path()).exists());
    assert_eq!(all(&backend, &base), records(0));
}

/// A reader finds every record that was acknowledged before it began, and no partial one.
#[test]
fn readers_see_a_prefix_while_records_are_appended() {
    const COUNT: u64 = 200;
    let root = tempfile::tempdir().unwrap();
    let (backend, base, _lock, token) = prepare(root.path());
    let acknowledged = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let reader = support::backend(root.path());
                loop {
                    let least = acknowledged.load(Ordering::SeqCst);
                    let read = all(&reader, &base);
                    assert!(read.len() as u64 >= least);
                    assert_eq!(read, records(read.len() as u64));
                    if least == COUNT {
                        break;
                    }
                }
            });
        }
        for index in 0..COUNT {
            append(&backend, &base, index, &token);
            acknowledged.store(index + 1, Ordering::SeqCst);
        }
    });
}

/// An append to a moved directory was acknowledged.
#[test]
fn a_journal_that_was_moved_is_lost_with_the_lock() {
    let root = tempfile::tempdir().unwrap();
    let (backend, base, _lock, token) = prepare(root.path());
    append(&backend, &base, 0, &token);
    let moved = root.path().join("moved");
    fs::rename(stack_directory(root.path()), &moved).unwrap();
    let before = fs::read(moved.join("journal")).unwrap();
    let error = backend.append(&base, 1, &record(1), &token).unwrap_err();
    assert!(error.is_lock_lost(), "{error}");
    assert_eq!(fs::read(moved.join("journal")).unwrap(), before);
    // It is moved back.
    fs::rename(&moved, stack_directory(root.path())).unwrap();
    append(&backend, &base, 1, &token);
    assert_eq!(all(&backend, &base), records(2));
}

#[test]
fn a_record_flushed_into_a_moved_directory_is_unknown() {
    let root = tempfile::tempdir().unwrap();
    let command = support::process("journal::process_that_appends_slowly", root.path());
    let Some(mut slowed) = Slowed::start(&command, "fdatasync", "1+") else {
        return;
    };
    slowed.await_call("/journal");
    fs::rename(stack_directory(root.path()), root.path().join("moved")).unwrap();
    slowed.partner.expect("unknown, then lost");
    slowed.partner.end();
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_appends_slowly() {
    let Some(root) = given_root() else { return };
    let (backend, base, _lock, token) = prepare(&root);
    append(&backend, &base, 0, &token);
    let refused = || backend.append(&base, 1, &record(1), &token).unwrap_err();
    let (first, second) = (refused(), refused());
    assert!(first.is_outcome_unknown(), "{first}");
    assert!(second.is_lock_lost(), "{second}");
    support::tell("unknown, then lost");
}

/// A failed flush was repeated, and the repeat reported success.
#[test]
fn a_record_whose_flush_failed_stays_unknown() {
    let root = tempfile::tempdir().unwrap();
    let command = support::process("journal::process_that_cannot_flush", root.path());
    traced(
        &command,
        "fdatasync",
        &["-e", "inject=fdatasync:error=EIO:when=2"],
    );
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_cannot_flush() {
    let Some(root) = given_root() else { return };
    let (backend, base, _lock, token) = prepare(&root);
    append(&backend, &base, 0, &token);
    append(&backend, &base, 1, &token);
    for index in [2, 2, 3, 0] {
        let error = backend.append(&base, index, &record(index), &token).unwrap_err();
        assert!(error.is_outcome_unknown(), "{index}: {error}");
        assert_eq!(error.revision(), Some(&nth(1)));
    }
    // Another handle makes what it finds durable itself, in another file.
    let other = support::backend(&root);
    append(&other, &base, 2, &token);
    append(&other, &base, 3, &token);
    append(&backend, &base, 4, &token);
    assert_eq!(all(&other, &base), records(5));
    // The next journal is another file.
    fs::rename(journal_file(&root), root.join("aside")).unwrap();
    append(&backend, &base, 0, &token);
}

/// The first flush is of the file, before it has its name; the second makes the name and the pointer durable.
#[test]
fn a_journal_that_is_not_begun_durably_is_none() {
    for (when, expected) in [(1, ErrorKind::Io), (2, ErrorKind::OutcomeUnknown)] {
        let root = tempfile::tempdir().unwrap();
        let (_, base, _lock, _) = prepare(root.path());
        let mut command = support::process("journal::process_that_cannot_begin", root.path());
        command.env("EXPECTED", format!("{expected:?}"));
        let inject = format!("inject=fsync:error=EIO:when={when}");
        if traced(&command, "fsync", &["-e", &inject]).is_none() {
            return;
        }
        let read = all(&backend(root.path()), &base).len();
        assert_eq!(read, if when == 1 { 0 } else { 1 });
        assert_eq!(support::leftovers(root.path()), [""; 0]);
    }
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_cannot_begin() {
    let Some(root) = given_root() else { return };
    let backend = backend(&root);
    let (base, token) = (backend.current().unwrap().unwrap(), token_of(&backend));
    let expected = std::env::var("EXPECTED").unwrap();
    let refused = || backend.append(&base, 0, &record(0), &token).unwrap_err();
    assert_eq!(format!("{:?}", refused().kind()), expected);
    if expected == "OutcomeUnknown" {
        assert!(refused().is_outcome_unknown());
    }
}

/// Without any one of these flushes, a power cut loses an acknowledged change or revives a dead journal.
#[test]
fn a_move_flushes_in_an_order_that_loses_nothing() {
    for (case, expected) in [
        ("begin", "begin flush"),
        ("new revision", "move flush"),
        ("new revision, live journal", "move flush unlink"),
        ("old revision", "flush move flush"),
        ("old revision, live journal", "flush move flush unlink"),
        ("old revision, dead journal", "unlink flush move flush"),
    ] {
        let root = tempfile::tempdir().unwrap();
        let (backend, base, _lock, token) = prepare(root.path());
        if case.ends_with("journal") {
            append(&backend, &base, 0, &token);
        }
        if case.ends_with("dead journal") {
            let dead = fs::read(journal_file(root.path())).unwrap();
            backend.set_current(Expect::Anything, &nth(2), &token).unwrap();
            fs::write(journal_file(root.path()), dead).unwrap();
        }
        let mut command = support::process("journal::process_that_is_watched", root.path());
        command.env("CASE", case);
        let Some(calls) = traced(&command, "fsync,renameat,renameat2,unlinkat", &[]) else {
            return;
        };
        let after_creation = calls.rsplit(".snapshot.").next().unwrap();
        let steps: Vec<_> = after_creation.lines().filter_map(step).collect();
        assert_eq!(steps.join(" "), expected, "{case}:\n{calls}");
    }
}

/// Once the base is gone, another revision may get its name: the journal would be live again.
#[test]
fn a_journal_is_removed_before_its_revision() {
    let root = tempfile::tempdir().unwrap();
    let (backend, base, lock, token) = prepare(root.path());
    append(&backend, &base, 0, &token);
    lock.unlock().unwrap();
    let command = support::process("journal::process_that_removes_the_stack", root.path());
    let Some(calls) = traced(&command, "fsync,unlinkat", &[]) else {
        return;
    };
    let steps: Vec<_> = calls.lines().filter_map(step).collect();
    assert_eq!(
        steps.join(" "),
        "forget flush unlink flush delete delete",
        "{calls}"
    );
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_removes_the_stack() {
    let Some(root) = given_root() else { return };
    LocalCatalog::new(&root).remove(backend(&root).id()).unwrap();
}

fn step(call: &str) -> Option<&'static str> {
    let ends = |name: &str| call.contains(&format!(", \"{name}\""));
    match () {
        () if call.contains(" fsync(") => call.contains("/network/prod>").then_some("flush"),
        () if call.contains(" unlinkat(") && ends("journal") => Some("unlink"),
        () if call.contains(" unlinkat(") && ends("current") => Some("forget"),
        () if call.contains(" unlinkat(") => call.contains(".json.enc").then_some("delete"),
        () if ends("current") => Some("move"),
        () if ends("journal") => Some("begin"),
        () => None,
    }
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_is_watched() {
    let Some(root) = given_root() else { return };
    let backend = backend(&root);
    let (base, token) = (backend.current().unwrap().unwrap(), token_of(&backend));
    match std::env::var("CASE").unwrap().as_str() {
        "begin" => append(&backend, &base, 0, &token),
        case => {
            if case.starts_with("new") {
                create(&backend, &nth(3));
            }
            let target = match (case.starts_with("new"), case.ends_with("dead journal")) {
                (true, _) => nth(3),
                (false, true) => nth(1),
                (false, false) => nth(2),
            };
            backend
                .set_current(Expect::Pointer(&base), &target, &token)
                .unwrap();
        }
    }
}

#[test]
fn a_full_disk_refuses_records_and_loses_none() {
    let root = tempfile::tempdir().unwrap();
    succeeds(support::with_mounts(
        r#"mount -t tmpfs -o size=2m tmpfs "$LOCALSTATE_TEST_ROOT""#,
        &support::process("journal::process_on_a_full_disk", root.path()),
    ));
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_on_a_full_disk() {
    let Some(root) = given_root() else { return };
    let (backend, base, lock, token) = prepare(&root);
    let full = |result: Result<Appended, Error>| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Io);
        assert!(error.to_string().contains("disk is full"), "{error}");
    };
    let filler = root.join("filler-0");
    fill(&root);
    full(backend.append(&base, 0, &record(0), &token));
    assert_eq!(all(&backend, &base), records(0));
    fs::remove_file(&filler).unwrap();
    append(&backend, &base, 0, &token);
    fill(&root);
    // The zeros that are there are used up, and no more fit.
    let mut index = 1;
    while let Ok(appended) = backend.append(&base, index, &record(index), &token) {
        assert_eq!(appended, Appended::Appended);
        index += 1;
    }
    full(backend.append(&base, index, &record(index), &token));
    assert!(index > 100, "{index}");
    let bytes = fs::metadata(journal_file(&root)).unwrap().len();
    assert_eq!(bytes % (256 << 10), 0, "cut back");
    assert_eq!(all(&backend, &base), records(index));
    fs::remove_file(&filler).unwrap();
    append(&backend, &base, index, &token);
    assert_eq!(all(&support::backend(&root), &base), records(index + 1));
    lock.unlock().unwrap();
    assert!(matches!(backend.try_lock(&holder()), Ok(TryLock::Held(_))));
    assert_eq!(support::leftovers(&root), [""; 0]);
}

/// A first run has made changes, of which no revision knows, when somebody removes `current`. The stack was fresh then, and
/// the next run dropped the journal.
#[test]
fn a_journal_without_pointer_is_no_fresh_stack() {
    let root = tempfile::tempdir().unwrap();
    let open = || Store::new(backend(root.path()), Noop);
    let run = open().begin("apply", LONG).unwrap();
    run.set_outputs(Some(Json::parse("{}").unwrap())).unwrap();
    run.remove("nothing").unwrap();
    let base = run.base().unwrap();
    fs::remove_file(stack_directory(root.path()).join("current")).unwrap();
    assert!(run.remove("nothing").unwrap_err().is_current_moved());
    drop(run);
    for error in [
        open().head().unwrap_err(),
        open().current().unwrap_err(),
        open().begin("apply", LONG).unwrap_err(),
        open().salvage().unwrap_err(),
    ] {
        assert!(error.is_damaged(), "{error}");
        assert_eq!(error.revision(), Some(&base));
    }
    let other = open().write(&State::fresh(open().id()), None).unwrap();
    let refused = open().set_current(&other).unwrap_err();
    assert!(refused.is_damaged(), "{refused}");
    assert_eq!(refused.revision(), Some(&base));
    open().set_current(&base).unwrap();
    let next = open().begin("apply", LONG).unwrap();
    assert_eq!(next.recovered(), 2);
}

/// Whoever can write to the directory can make a journal that never ends, of holes: it was read from the beginning for each
/// page, also by a move of `current`, which repairs the stack.
#[test]
fn an_endless_journal_costs_bounded_time() {
    let root = tempfile::tempdir().unwrap();
    let open = || Store::new(backend(root.path()), Noop).with_limit(1 << 20);
    let run = open().begin("apply", LONG).unwrap();
    run.remove("nothing").unwrap();
    let revision = run.commit("").unwrap().unwrap();
    run.remove("nothing").unwrap();
    drop(run);
    let path = journal_file(root.path());
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut bytes = vec![0; 64 << 10];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let first = 12 + bytes[12..].iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let length = u32::from_le_bytes(bytes[first..first + 4].try_into().unwrap());
    let hole = vec![0; 16 << 20];
    let mut frame = (hole.len() as u32).to_le_bytes().to_vec();
    frame.extend(crc32(&frame).to_le_bytes());
    frame.extend(crc32(&hole).to_le_bytes());
    let mut offset = first as u64 + 12 + u64::from(length);
    for _ in 0..400 {
        file.write_all_at(&frame, offset).unwrap();
        offset += (frame.len() + hole.len()) as u64;
    }
    file.set_len(offset).unwrap();
    let begun = Instant::now();
    let error = open().unfinished().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooLarge), "{error}");
    assert!(open().head().is_err());
    assert!(open().set_current(&nth(1)).is_err());
    assert!(begun.elapsed() < LONG);
    assert_eq!(open().current().unwrap(), Some(revision));
}

/// The checksum of IEEE 802.3.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, &byte: &u8| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
        })
    };
    !bytes.iter().fold(!0, step)
}
