//! The lock: one holder at a time among threads, processes and unobin; a dead one frees it.

use crate::support::{
    self, LONG, Partner, Watched, backend, create, current, holder, lock, lock_and_token, nth,
    stack_directory, store, store_over,
};
use fd_lock::RwLock;
use rustix::process::{Pid, Signal};
use sdk_state::{Backend as _, Cancel, Error, ErrorKind, Expect, Liveness, LockInfo, TryLock, Wait};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Proves exclusion without the lock that is tested: an flock on a file of its own, which the kernel takes from the dead.
///
/// Its handle has a higher number than all others: the kernel gives the flocks of the dead back from the last handle to the
/// first, and the next holder must not find the oracle still held.
struct Oracle(RwLock<File>);

/// More than the other handles of a test.
const HIGHER_THAN_ANY: i32 = 500;

impl Oracle {
    fn open(root: &Path) -> Self {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(root.join("oracle"))
            .unwrap();
        let last = rustix::io::fcntl_dupfd_cloexec(&file, HIGHER_THAN_ANY).unwrap();
        Self(RwLock::new(last.into()))
    }

    /// Enters and exits; panics when somebody else is inside.
    fn alone(&mut self) {
        let inside = self.0.try_write();
        assert!(inside.is_ok(), "two holders at once");
        thread::yield_now();
    }
}

fn marker(root: &Path) -> std::path::PathBuf {
    stack_directory(root).join("lock")
}

/// Locks as unobin does; false when the marker is there.
fn unobin_locks(root: &Path) -> bool {
    match File::create_new(marker(root)) {
        Ok(mut file) => {
            writeln!(file, "{}", std::process::id()).unwrap();
            true
        }
        Err(_) => false,
    }
}

fn unobin_unlocks(root: &Path) {
    fs::remove_file(marker(root)).unwrap();
}

/// Who holds it, if it cannot be had now.
fn busy(root: &Path) -> Option<LockInfo> {
    match backend(root).try_lock(&holder()).unwrap() {
        TryLock::Held(lock) => {
            lock.unlock().unwrap();
            None
        }
        TryLock::Busy { status, .. } => Some(status.info),
    }
}

fn liveness(root: &Path) -> Option<Liveness> {
    backend(root).lock_status().unwrap().map(|status| status.liveness)
}

/// A process that holds the lock, and has told so.
fn holding_process(root: &Path) -> Partner {
    let mut partner = Partner::start(support::process("locks::process_that_holds", root));
    partner.expect("held");
    partner
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_holds() {
    let Some(root) = support::given_root() else { return };
    let _lock = lock(&root);
    support::tell("held");
    support::hear();
}

#[test]
fn threads_processes_and_unobin_lock_one_at_a_time() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(stack_directory(root.path())).unwrap();
    let partners: Vec<_> = (0..2)
        .map(|_| Partner::start(support::process("locks::process_of_lockers", root.path())))
        .collect();
    let locking = AtomicBool::new(true);
    let unobins = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut oracle = Oracle::open(root.path());
            while locking.load(Ordering::SeqCst) {
                if unobin_locks(root.path()) {
                    oracle.alone();
                    unobin_unlocks(root.path());
                    unobins.fetch_add(1, Ordering::SeqCst);
                }
                thread::yield_now();
            }
        });
        lock_by_turns(root.path());
        for partner in partners {
            partner.end();
        }
        locking.store(false, Ordering::SeqCst);
    });
    assert!(unobins.into_inner() > 0);
    assert!(!marker(root.path()).exists());
    assert!(support::leftovers(root.path()).is_empty());
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_of_lockers() {
    if let Some(root) = support::given_root() {
        lock_by_turns(&root);
    }
}

fn lock_by_turns(root: &Path) {
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut oracle = Oracle::open(root);
                for _ in 0..15 {
                    let lock = lock(root);
                    oracle.alone();
                    assert_eq!(lock.took_over(), None);
                    lock.unlock().unwrap();
                }
            });
        }
    });
}

#[test]
fn two_threads_with_one_store_do_not_both_hold_it() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let held = store.lock("first", Wait::none()).unwrap();
    let error = store.lock("second", Wait::none()).unwrap_err();
    let ErrorKind::Locked(info) = error.kind() else {
        panic!("{error:?}");
    };
    assert_eq!(**info, *held.info());
    assert_eq!(info.holder.operation, "first");
    assert_eq!(info.pid, Some(std::process::id()));
    drop(held);
    assert!(store.lock("third", Wait::none()).is_ok());
}

#[test]
fn a_killed_holder_is_replaced_at_once_and_named() {
    let root = tempfile::tempdir().unwrap();
    let watched = Watched::new(root.path());
    let store = store_over(Arc::clone(&watched));
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        watched.busy.store(0, Ordering::SeqCst);
        let mut partner = holding_process(root.path());
        let (lock, taken) = thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let lock = store.lock("test", LONG).unwrap();
                (lock, Instant::now())
            });
            watched.await_waiter();
            partner.child.kill().unwrap();
            let killed = Instant::now();
            let (lock, taken) = waiter.join().unwrap();
            (lock, taken - killed)
        });
        assert_eq!(lock.took_over().unwrap().pid, Some(partner.pid()));
        assert_eq!(lock.info().pid, Some(std::process::id()));
        lock.check().unwrap();
        lock.unlock().unwrap();
        slowest = slowest.max(taken);
    }
    println!("at most {slowest:?} from the kill to the takeover");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert!(support::leftovers(root.path()).is_empty());
}

#[test]
fn kills_leave_neither_two_holders_nor_a_stuck_lock() {
    let root = tempfile::tempdir().unwrap();
    let start = || {
        Partner::start(support::process(
            "locks::process_that_locks_for_ever",
            root.path(),
        ))
    };
    let mut partners: Vec<_> = (0..3).map(|_| start()).collect();
    let mut takeovers = 0;
    for round in 0..60 {
        let partner = &mut partners[round % 3];
        // It goes on at once, so that the kill comes at any step.
        let first = partner.hear();
        for _ in 0..round % 7 {
            thread::yield_now();
        }
        let death = partner.kill();
        assert_eq!(death.signal(), Some(9), "two holders at once");
        takeovers += first.iter().filter(|told| *told == "took over").count();
        while let Some(told) = partner.hear() {
            takeovers += usize::from(told == "took over");
        }
        *partner = start();
    }
    for partner in &mut partners {
        partner.kill();
    }
    let asked = Instant::now();
    let lock = lock(root.path());
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    lock.unlock().unwrap();
    assert!(takeovers > 0);
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_locks_for_ever() {
    let Some(root) = support::given_root() else { return };
    let mut oracle = Oracle::open(&root);
    loop {
        let lock = lock(&root);
        oracle.alone();
        support::tell(lock.took_over().map_or("created", |_| "took over"));
        lock.unlock().unwrap();
    }
}

#[test]
fn an_evicted_holder_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let backend = store.backend();
    create(backend, &nth(1));
    let lost = |result: Result<(), Error>| assert_eq!(result.unwrap_err().kind(), &ErrorKind::LockLost);
    // Before anybody else has locked, and after.
    for is_locked_anew in [false, true] {
        let old = store.lock("old", Wait::none()).unwrap();
        let token = old.token().unwrap().clone();
        assert!(!old.is_lost());
        let evicted = store.force_unlock(Some(&token)).unwrap().unwrap();
        assert_eq!(evicted, *old.info());
        let new = is_locked_anew.then(|| lock(root.path()));
        let content = fs::read(marker(root.path())).ok();

        lost(old.check());
        assert!(old.is_lost());
        lost(backend.set_current(Expect::Anything, &nth(1), &token).map(drop));
        lost(backend.remove(&nth(1), Some(&token)));
        lost(backend.replace(&nth(1), b"other", &token));
        lost(old.unlock());
        assert_eq!(fs::read(marker(root.path())).ok(), content);
        if let Some(new) = new {
            new.check().unwrap();
            new.unlock().unwrap();
        }
    }
    assert_eq!(current(root.path()), None);
    assert_eq!(backend.read(&nth(1), 100).unwrap(), b"sealed");
    assert!(support::leftovers(root.path()).is_empty());
}

#[test]
fn dropping_an_evicted_lock_spares_the_new_holder() {
    let root = tempfile::tempdir().unwrap();
    let old = lock(root.path());
    store(root.path()).force_unlock(None).unwrap();
    let new = lock(root.path());
    drop(old);
    new.check().unwrap();
    assert_eq!(busy(root.path()).unwrap(), *new.info());
}

#[test]
fn the_holder_moves_current_and_deletes() {
    let root = tempfile::tempdir().unwrap();
    let backend = backend(root.path());
    create(&backend, &nth(1));
    create(&backend, &nth(2));
    let (lock, token) = lock_and_token(root.path());
    backend.set_current(Expect::Nothing, &nth(1), &token).unwrap();
    backend.remove(&nth(2), Some(&token)).unwrap();
    lock.unlock().unwrap();
    assert_eq!(current(root.path()), Some(nth(1)));
}

#[test]
fn force_unlock_evicts_only_the_expected_holder() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    assert_eq!(store.force_unlock(None).unwrap(), None);
    let first = store.lock("first", Wait::none()).unwrap();
    let expected = first.token().unwrap().clone();
    assert_eq!(
        store.force_unlock(Some(&expected)).unwrap().as_ref(),
        Some(first.info())
    );
    let second = store.lock("second", Wait::none()).unwrap();
    let error = store.force_unlock(Some(&expected)).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Locked(Box::new(second.info().clone())));
    second.check().unwrap();
    assert_eq!(store.force_unlock(None).unwrap().as_ref(), Some(second.info()));
    assert_eq!(store.lock_status().unwrap(), None);
}

#[test]
fn a_marker_of_unobin_is_never_taken_over() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(stack_directory(root.path())).unwrap();
    let longest = " ".repeat(1023);
    for (content, pid) in [
        ("", None),
        ("999999999\n", Some(999_999_999)),
        ("x", None),
        (&*longest, None),
    ] {
        fs::write(marker(root.path()), content).unwrap();
        let info = busy(root.path()).expect(content);
        assert_eq!(info.pid, pid);
        assert_eq!(liveness(root.path()), Some(Liveness::Unknown));
        assert_eq!(fs::read_to_string(marker(root.path())).unwrap(), content);
    }
    assert!(store(root.path()).force_unlock(None).unwrap().is_some());
    assert!(busy(root.path()).is_none());
}

#[test]
fn our_marker_keeps_unobin_out() {
    let root = tempfile::tempdir().unwrap();
    let lock = lock(root.path());
    assert!(!unobin_locks(root.path()));
    let content = fs::read_to_string(marker(root.path())).unwrap();
    assert_eq!(content.len(), 1024);
    assert_eq!(content.lines().next(), Some(&*std::process::id().to_string()));
    lock.unlock().unwrap();
    assert!(unobin_locks(root.path()));
}

#[test]
fn a_marker_of_our_length_without_flock_is_taken_over() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(stack_directory(root.path())).unwrap();
    fs::write(marker(root.path()), [0; 1024]).unwrap();
    let lock = lock(root.path());
    assert_eq!(lock.took_over(), Some(&LockInfo::default()));
    lock.unlock().unwrap();
}

#[test]
fn a_status_tells_the_living_from_the_dead() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(backend(root.path()).lock_status().unwrap(), None);
    let mut partner = holding_process(root.path());
    let status = backend(root.path()).lock_status().unwrap().unwrap();
    assert_eq!(status.liveness, Liveness::Alive);
    assert_eq!(status.info.pid, Some(partner.pid()));
    partner.kill();
    let status = backend(root.path()).lock_status().unwrap().unwrap();
    assert_eq!(status.liveness, Liveness::Dead);
    assert_eq!(status.info.pid, Some(partner.pid()));
}

#[test]
fn concurrent_looks_are_not_taken_for_a_holder() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(stack_directory(root.path())).unwrap();
    fs::write(marker(root.path()), [b' '; 1024]).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let backend = backend(root.path());
                for _ in 0..1000 {
                    let status = backend.lock_status().unwrap().unwrap();
                    assert_eq!(status.liveness, Liveness::Dead);
                }
            });
        }
    });
}

/// A status opened the marker, the holder gave the lock back, and the status found nobody's flock on a file that no longer
/// had a name: it reported a dead holder although everybody was alive.
#[test]
fn unlocking_during_a_look_is_not_reported_as_death() {
    let root = tempfile::tempdir().unwrap();
    let locking = AtomicBool::new(true);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let backend = backend(root.path());
                while locking.load(Ordering::SeqCst) {
                    let status = backend.lock_status().unwrap();
                    assert!(status.is_none_or(|status| status.liveness == Liveness::Alive));
                }
            });
        }
        for _ in 0..200 {
            lock(root.path()).unlock().unwrap();
        }
        locking.store(false, Ordering::SeqCst);
    });
}

#[test]
fn a_wait_that_ends_leaves_no_file_and_no_handle() {
    let root = tempfile::tempdir().unwrap();
    assert!(support::succeeds(support::process(
        "locks::process_that_waits_in_vain",
        root.path()
    )));
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_waits_in_vain() {
    let Some(root) = support::given_root() else { return };
    let open_files = || fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let held = lock(&root);
    let watched = Watched::new(&root);
    let store = store_over(Arc::clone(&watched));
    let _ = store.lock("test", Wait::none()).unwrap_err();
    let before = (open_files(), support::names_below(&root));

    let slowest = Mutex::new(Duration::ZERO);
    for _ in 0..20 {
        let cancel = Cancel::new();
        watched.busy.store(0, Ordering::SeqCst);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let error = store.lock("test", Wait::forever().unless(&cancel)).unwrap_err();
                assert_eq!(error.kind(), &ErrorKind::Cancelled);
                Instant::now()
            });
            watched.await_waiter();
            let cancelled = Instant::now();
            cancel.cancel();
            let mut slowest = slowest.lock().unwrap();
            *slowest = slowest.max(waiter.join().unwrap() - cancelled);
        });
        let limit = Duration::from_millis(5);
        let begun = Instant::now();
        let error = store.lock("test", limit).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Locked(Box::new(held.info().clone())));
        assert!((limit..Duration::from_secs(1)).contains(&begun.elapsed()));
    }
    let slowest = slowest.into_inner().unwrap();
    println!("at most {slowest:?} from the cancellation to its answer");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert_eq!((open_files(), support::names_below(&root)), before);
}

#[test]
fn a_child_that_shares_the_lock_holds_it_until_it_ends() {
    let root = tempfile::tempdir().unwrap();
    let (mut partner, child) = process_with_child(root.path(), "shared");
    partner.kill();
    assert_eq!(liveness(root.path()), Some(Liveness::Alive));
    assert_eq!(busy(root.path()).unwrap().pid, Some(partner.pid()));
    rustix::process::kill_process(child, Signal::KILL).unwrap();
    let lock = lock(root.path());
    assert_eq!(lock.took_over().unwrap().pid, Some(partner.pid()));
}

#[test]
fn a_child_does_not_hold_a_lock_that_is_not_shared() {
    let root = tempfile::tempdir().unwrap();
    let (mut partner, child) = process_with_child(root.path(), "kept");
    partner.kill();
    // Not at once: a child that has just been started closes what it does not share a moment after its parent goes on.
    assert!(lock(root.path()).took_over().is_some());
    rustix::process::kill_process(child, Signal::KILL).unwrap();
}

#[test]
fn unlocking_ends_the_hold_of_a_child_that_shared_the_lock() {
    let root = tempfile::tempdir().unwrap();
    let (mut partner, child) = process_with_child(root.path(), "shared");
    partner.tell();
    partner.expect("unlocked");
    let lock = lock(root.path());
    assert_eq!(lock.took_over(), None);
    rustix::process::kill_process(child, Signal::KILL).unwrap();
}

fn process_with_child(root: &Path, sharing: &str) -> (Partner, Pid) {
    let mut command = support::process("locks::process_that_holds_and_has_a_child", root);
    command.env("SHARING", sharing);
    let mut partner = Partner::start(command);
    let child = partner.hear().unwrap().parse().unwrap();
    (partner, Pid::from_raw(child).unwrap())
}

#[test]
#[ignore = "run by another test in a process of its own"]
#[expect(
    clippy::zombie_processes,
    reason = "the child outlives this process, and the parent ends it"
)]
fn process_that_holds_and_has_a_child() {
    let Some(root) = support::given_root() else { return };
    let lock = lock(&root);
    if std::env::var("SHARING").unwrap() == "shared" {
        lock.share_with_children().unwrap();
    }
    let child = Command::new("sleep")
        .arg("60")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    support::tell(child.id().to_string());
    support::hear();
    lock.unlock().unwrap();
    support::tell("unlocked");
}

/// Somebody linked a file of 1024 bytes as `lock`: it was overwritten, wherever else it had a name.
#[test]
fn adopting_a_hard_link_spares_the_other_name() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(stack_directory(root.path())).unwrap();
    let precious = root.path().join("precious");
    fs::write(&precious, [b'p'; 1024]).unwrap();
    fs::hard_link(&precious, marker(root.path())).unwrap();
    let lock = lock(root.path());
    assert!(lock.took_over().is_some());
    lock.check().unwrap();
    assert_eq!(busy(root.path()).unwrap(), *lock.info());
    assert_eq!(fs::metadata(marker(root.path())).unwrap().nlink(), 1);
    lock.unlock().unwrap();
    assert_eq!(fs::read(&precious).unwrap(), [b'p'; 1024]);
    assert!(support::leftovers(root.path()).is_empty());
}

/// A look took a shared flock for a moment, in which a try found a dead lock held: up to 9 of 100 tries failed.
#[test]
fn looking_makes_no_try_on_a_dead_lock_fail() {
    let root = tempfile::tempdir().unwrap();
    let looking = AtomicBool::new(true);
    fs::create_dir_all(stack_directory(root.path())).unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let backend = backend(root.path());
                while looking.load(Ordering::SeqCst) {
                    backend.lock_status().unwrap();
                }
            });
        }
        let store = store(root.path());
        for turn in 0..300 {
            fs::write(marker(root.path()), [b' '; 1024]).unwrap();
            let lock = store.lock("test", Wait::none());
            let is_held = lock.as_ref().is_ok_and(|lock| lock.took_over().is_some());
            looking.store(is_held && turn < 299, Ordering::SeqCst);
            lock.unwrap_or_else(|error| panic!("try {turn}: {error}"))
                .unlock()
                .unwrap();
        }
    });
}
