//! What somebody planted in the directory: nothing leads out of it, nothing foreign is touched, and modes are private.

use crate::support::{self, backend, create, holder, lock, nth, point_at, snapshot_file, stack_directory};
use localstate::LocalCatalog;
use rustix::fs::{CWD, FileType, Mode};
use sdk_state::{Backend, Catalog as _, Created, Error, ErrorKind, Expect, LockToken, Pointer, TryLock};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

/// A whole stack outside of the root, for links to point at.
fn victim() -> tempfile::TempDir {
    let victim = tempfile::tempdir().unwrap();
    let backend = backend(victim.path());
    create(&backend, &nth(1));
    create(&backend, &nth(2));
    point_at(victim.path(), &nth(1)).unwrap();
    victim
}

fn no_token() -> LockToken {
    LockToken::generate().unwrap()
}

/// Everything that a backend can be asked, each with what it answered.
fn every_answer(backend: &impl Backend) -> Vec<(&'static str, Result<(), Error>)> {
    let lock = match backend.try_lock(&holder()) {
        Ok(TryLock::Held(lock)) => lock.unlock(),
        Ok(TryLock::Busy { .. }) => Ok(()),
        Err(error) => Err(error),
    };
    vec![
        ("create", backend.create(&nth(9), b"sealed").map(drop)),
        ("replace", backend.replace(&nth(2), b"sealed", &no_token())),
        ("read", backend.read(&nth(2), 100).map(drop)),
        ("remove", backend.remove(&nth(2), None)),
        ("list", backend.list().map(drop)),
        ("current", backend.current().map(drop)),
        (
            "set_current",
            backend
                .set_current(Expect::Anything, &nth(2), &no_token())
                .map(drop),
        ),
        (
            "append",
            backend
                .append(&Pointer::new(nth(1), 0), 0, b"record", &no_token())
                .map(drop),
        ),
        (
            "read_journal",
            backend.read_journal(&Pointer::new(nth(1), 0), 0, 0).map(drop),
        ),
        ("try_lock", lock),
        ("lock_status", backend.lock_status().map(drop)),
        ("force_unlock", backend.force_unlock(None).map(drop)),
    ]
}

#[test]
fn a_link_in_place_of_a_directory_is_refused() {
    for (level, target) in [
        ("network", "network"),
        ("network/prod", "network/prod"),
        ("network/prod/snapshots", "network/prod/snapshots"),
    ] {
        let victim = victim();
        let before = support::names_below(victim.path());
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join(level);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(victim.path().join(target), &link).unwrap();
        for (what, answer) in every_answer(&backend(root.path())) {
            let error = answer.expect_err(what);
            assert_eq!(error.kind(), &ErrorKind::Damaged, "{level}: {what}");
            assert_eq!(error.path().unwrap(), link, "{level}: {what}");
        }
        assert_eq!(support::names_below(victim.path()), before, "{level}");
    }
}

#[test]
fn a_file_in_place_of_a_directory_is_refused() {
    for level in ["network", "network/prod", "network/prod/snapshots"] {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(level);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "precious").unwrap();
        for (what, answer) in every_answer(&backend(root.path())) {
            assert_eq!(
                answer.expect_err(what).kind(),
                &ErrorKind::Damaged,
                "{level}: {what}"
            );
        }
        assert_eq!(fs::read(&file).unwrap(), b"precious");
    }
}

#[test]
fn the_root_itself_may_be_a_link() {
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().join("real");
    fs::create_dir(&real).unwrap();
    let root = directory.path().join("root");
    symlink(&real, &root).unwrap();
    create(&backend(&root), &nth(1));
    assert_eq!(backend(&real).list().unwrap(), [nth(1)]);
}

#[test]
fn a_link_in_place_of_a_snapshot_is_not_followed() {
    let root = tempfile::tempdir().unwrap();
    let backend = backend(root.path());
    create(&backend, &nth(1));
    let victim = root.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    for target in [&victim, Path::new("/nonexistent")] {
        let link = snapshot_file(root.path(), &nth(2));
        symlink(target, &link).unwrap();
        assert_eq!(backend.create(&nth(2), b"sealed").unwrap(), Created::Exists);
        assert_eq!(
            backend.read(&nth(2), 100).unwrap_err().kind(),
            &ErrorKind::Damaged
        );
        let lock = lock(root.path());
        assert_eq!(
            backend
                .replace(&nth(2), b"sealed", lock.token().unwrap())
                .unwrap_err()
                .kind(),
            &ErrorKind::NotFound
        );
        lock.unlock().unwrap();
        backend.remove(&nth(2), None).unwrap();
        assert!(!link.is_symlink());
    }
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}

#[test]
fn what_is_no_regular_snapshot_file_is_damage() {
    let root = tempfile::tempdir().unwrap();
    let backend = backend(root.path());
    create(&backend, &nth(1));
    fs::create_dir(snapshot_file(root.path(), &nth(2))).unwrap();
    make_pipe(&snapshot_file(root.path(), &nth(3)));
    fs::write(snapshot_file(root.path(), &nth(4)), "").unwrap();
    drop(std::os::unix::net::UnixListener::bind(snapshot_file(root.path(), &nth(5))).unwrap());
    for n in 2..6 {
        assert_eq!(
            backend.read(&nth(n), 100).unwrap_err().kind(),
            &ErrorKind::Damaged,
            "{n}"
        );
        assert_eq!(
            backend.create(&nth(n), b"sealed").unwrap(),
            Created::Exists,
            "{n}"
        );
    }
    assert_eq!(backend.read(&nth(1), 5).unwrap_err().kind(), &ErrorKind::TooLarge);
    assert_eq!(backend.read(&nth(1), 6).unwrap(), b"sealed");
}

#[test]
fn foreign_files_are_not_listed_and_survive() {
    let root = tempfile::tempdir().unwrap();
    let backend = backend(root.path());
    create(&backend, &nth(1));
    let snapshots = stack_directory(root.path()).join("snapshots");
    for name in [
        "README",
        ".DS_Store",
        ".2026-07-10T12:00:00Z.json.enc.tmp",
        "2026-07-10T12:00:00Z.json",
        "a b.json.enc",
        ".json.enc",
        "\u{e9}.json.enc",
        ".snapshot.0123456789abcdef.bak",
    ] {
        fs::write(snapshots.join(name), "").unwrap();
    }
    fs::create_dir(snapshots.join("directory")).unwrap();
    make_pipe(&snapshots.join("pipe"));
    fs::write(snapshots.join("not-a-revision.json.enc"), "foreign").unwrap();
    let before = support::names_below(root.path());

    let mut listed = backend.list().unwrap();
    listed.sort();
    assert_eq!(listed, [nth(1), support::revision("not-a-revision")]);
    assert_eq!(backend.create(&nth(1), b"other").unwrap(), Created::Exists);
    backend.remove(&nth(2), None).unwrap();
    drop(backend.try_lock(&holder()).unwrap());
    assert_eq!(support::names_below(root.path()), before);
    assert_eq!(
        backend.read(&support::revision("not-a-revision"), 100).unwrap(),
        b"foreign"
    );
    let error = backend
        .create(&support::revision("other-name"), b"sealed")
        .unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::InvalidName);
}

/// A pipe made the lock fail with `EAGAIN`, and a link with no word of what to do.
#[test]
fn what_is_no_regular_lock_file_is_damage_and_stays() {
    type Plant = fn(&Path);
    let plants: [(&str, Plant); 4] = [
        ("a link", |path| symlink("victim", path).unwrap()),
        ("a link to nothing", |path| symlink("nothing", path).unwrap()),
        ("a directory", |path| fs::create_dir(path).unwrap()),
        ("a pipe", make_pipe),
    ];
    for (what, plant) in plants {
        let root = tempfile::tempdir().unwrap();
        let backend = backend(root.path());
        create(&backend, &nth(1));
        fs::write(stack_directory(root.path()).join("victim"), [b' '; 1024]).unwrap();
        plant(&stack_directory(root.path()).join("lock"));
        let before = support::names_below(root.path());
        for error in [
            backend.try_lock(&holder()).unwrap_err(),
            backend.lock_status().unwrap_err(),
            backend.force_unlock(None).unwrap_err(),
        ] {
            assert_eq!(error.kind(), &ErrorKind::Damaged, "{what}");
            assert!(error.path().unwrap().ends_with("lock"), "{what}");
        }
        assert_eq!(support::names_below(root.path()), before, "{what}");
        assert_eq!(
            fs::read(stack_directory(root.path()).join("victim")).unwrap(),
            [b' '; 1024]
        );
    }
}

#[test]
fn a_name_that_leads_elsewhere_opens_no_store() {
    for (factory, stack) in [
        ("..", "prod"),
        ("network", ".."),
        ("a/b", "prod"),
        ("network", "/etc"),
        ("", ""),
    ] {
        let error = localstate::open("root", factory, stack, sdk_state::encrypt::Noop).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::InvalidName, "{factory} {stack}");
    }
}

#[test]
fn reading_creates_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    let asked = |backend: &dyn Backend| {
        assert_eq!(backend.list().unwrap(), []);
        assert_eq!(backend.current().unwrap(), None);
        assert_eq!(backend.lock_status().unwrap(), None);
        assert_eq!(backend.force_unlock(None).unwrap(), None);
        assert_eq!(
            backend.read(&nth(1), 100).unwrap_err().kind(),
            &ErrorKind::NotFound
        );
        assert!(
            backend
                .set_current(Expect::Anything, &nth(1), &no_token())
                .is_err()
        );
        backend.remove(&nth(1), None).unwrap();
    };
    asked(&backend(&root));
    assert!(support::names_below(directory.path()).is_empty());
    assert_eq!(LocalCatalog::new(&root).stacks().unwrap(), []);
    // unobin has locked and never written.
    fs::create_dir_all(stack_directory(&root)).unwrap();
    asked(&backend(&root));
    assert_eq!(support::names_below(&root), ["network", "network/prod"]);
}

#[test]
fn stacks_are_listed_and_links_and_files_beside_them_are_not() {
    let root = tempfile::tempdir().unwrap();
    let catalog = LocalCatalog::new(root.path());
    for id in ["network/prod", "network/test", "web/prod"] {
        create(&*catalog.open(&id.parse().unwrap()).unwrap(), &nth(1));
    }
    fs::write(root.path().join("file"), "").unwrap();
    fs::write(root.path().join("web/file"), "").unwrap();
    fs::create_dir(root.path().join(".hidden")).unwrap();
    symlink("network", root.path().join("link")).unwrap();
    let names: Vec<String> = catalog
        .stacks()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(names, ["network/prod", "network/test", "web/prod"]);
}

#[test]
fn directories_and_files_are_private_whatever_the_umask() {
    for umask in ["000", "022", "077", "777"] {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("state/root");
        let command = support::after(
            &format!("umask {umask}"),
            &support::process("hostile::process_that_makes", &root),
        );
        assert!(support::succeeds(command));
        assert_private(&directory.path().join("state"), umask);
    }
}

/// The superuser may enter a directory that its own umask has closed; everybody else found that the first write failed,
/// and left a directory that no later one could open.
#[test]
fn a_umask_that_shuts_the_owner_out_stops_nobody() {
    if !rustix::process::geteuid().is_root() {
        // The test above shows it already.
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let root = directory.path().join("state/root");
    let process = support::process("hostile::process_that_makes", &root);
    let unprivileged = support::by_shell(
        r#"as_nobody="setpriv --reuid 65534 --clear-groups"
           $as_nobody test -x "$0" || exit 77
           umask 777
           exec $as_nobody "$0" "$@""#,
        &process,
    );
    if !support::succeeds(unprivileged) {
        return;
    }
    assert_private(&directory.path().join("state"), "777");
}

fn assert_private(path: &Path, umask: &str) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let mode = metadata.permissions().mode() & 0o7777;
    if metadata.is_dir() {
        assert_eq!(mode, 0o700, "umask {umask}: {}", path.display());
        for entry in fs::read_dir(path).unwrap() {
            assert_private(&entry.unwrap().path(), umask);
        }
    } else {
        assert_eq!(mode, 0o600, "umask {umask}: {}", path.display());
    }
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn process_that_makes() {
    let Some(root) = support::given_root() else { return };
    let backend = backend(&root);
    create(&backend, &nth(1));
    point_at(&root, &nth(1)).unwrap();
    let TryLock::Held(lock) = backend.try_lock(&holder()).unwrap() else {
        panic!("nobody else locks");
    };
    // The marker stays for the parent to look at.
    std::mem::forget(lock);
}

fn make_pipe(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}
