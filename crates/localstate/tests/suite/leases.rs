//! Leases (`fcntl(2)`, `F_SETLEASE`), as file servers take them on the files of their clients.

use crate::support::{
    self, LONG, Partner, Watched, backend, create, current, nth, stack_directory, store_over,
};
use sdk_state::Backend as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;

/// A file server's lease on the marker ended a wait with `EAGAIN`.
#[test]
fn a_leased_marker_is_waited_for() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(stack_directory(root.path())).unwrap();
    let marker = stack_directory(root.path()).join("lock");
    fs::write(&marker, "4711\n").unwrap();
    let Some(mut server) = lessee(&marker) else {
        return;
    };
    let watched = Watched::new(root.path());
    let store = store_over(Arc::clone(&watched));
    let lock = thread::scope(|scope| {
        let waiter = scope.spawn(|| store.lock("test", LONG));
        watched.await_waiter();
        server.expect("asked");
        server.tell();
        while server.hear().unwrap() != "given back" {}
        fs::remove_file(&marker).unwrap();
        waiter.join().unwrap().unwrap()
    });
    lock.unlock().unwrap();
}

/// So did one on the pointer or on a snapshot.
#[test]
fn a_leased_pointer_or_snapshot_is_waited_for() {
    let root = tempfile::tempdir().unwrap();
    create(&backend(root.path()), &nth(1));
    support::point_at(root.path(), &nth(1)).unwrap();
    for leased in [
        stack_directory(root.path()).join("current"),
        support::snapshot_file(root.path(), &nth(1)),
    ] {
        let Some(mut server) = lessee(&leased) else { return };
        let root = root.path();
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                assert_eq!(current(root), Some(nth(1)));
                assert_eq!(backend(root).read(&nth(1), 100).unwrap(), b"sealed");
            });
            server.expect("asked");
            server.tell();
            while server.hear().unwrap() != "given back" {}
            reader.join().unwrap();
        });
    }
}

/// A process that has a write lease on a file, as a file server does for its clients, and gives it back when it is told.
fn lessee(file: &Path) -> Option<Partner> {
    const PROGRAM: &str = "
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, lambda *_: print('>asked', flush=True))
file = os.open(sys.argv[1], os.O_RDONLY)
try:
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
except OSError as error:
    print('>refused', error, flush=True)
    sys.exit()
print('>leased', flush=True)
sys.stdin.readline()
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
print('>given back', flush=True)
";
    let mut command = Command::new("python3");
    command.args(["-c", PROGRAM]).arg(file);
    let Ok(mut partner) = Partner::try_start(command) else {
        support::skip("leases: there is no python3");
        return None;
    };
    match partner.hear() {
        Some(told) if told == "leased" => Some(partner),
        told => {
            support::skip(&format!("leases: {told:?}"));
            None
        }
    }
}
