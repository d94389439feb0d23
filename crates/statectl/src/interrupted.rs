//! Interrupts what copies, renames and removes stacks at each of its writes, as a kill would, and repeats it.

use crate::commands::Arguments;
use crate::exit::{Failure, MISSING};
use crate::stack::Context;
use clap::Parser as _;
use localstate::LocalCatalog;
use sdk_state::encrypt::Noop;
use sdk_state::{
    Appended, Backend, Binding, Catalog, Category, Created, Entry, EntryKind, Error, ErrorKind, Expect,
    Holder, Irregularity, LockInfo, LockStatus, LockToken, MemoryCatalog, Pointer, Prefix, Registry,
    Revision, StackId, State, Store, TryLock,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

const FROM: &str = "demo/prod";
const TO: &str = "demo/staging";
const SETTINGS: &str = "demo/prod+settings";
/// More writes than any command makes.
const ENDLESS: usize = 1000;

/// The writes that a process makes before it is killed. Then nothing of it reaches the store any more.
#[derive(Clone)]
struct Life(Arc<AtomicUsize>);

impl Life {
    fn new(writes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(writes)))
    }

    fn has_ended(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }

    fn spend(&self) -> Result<(), Error> {
        let left = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match left {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::new(ErrorKind::Io, "the process was killed")),
        }
    }
}

/// The catalog as a process with such a life sees it.
struct Mortal<C> {
    inner: C,
    life: Life,
    /// Where the stacks are, to remove one file after another.
    root: Option<PathBuf>,
}

struct MortalBackend {
    inner: Box<dyn Backend>,
    life: Life,
}

impl<C: Catalog> Catalog for Mortal<C> {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn open(&self, id: &StackId) -> Result<Box<dyn Backend>, Error> {
        Ok(Box::new(MortalBackend {
            inner: self.inner.open(id)?,
            life: self.life.clone(),
        }))
    }

    fn stacks(&self) -> Result<Vec<StackId>, Error> {
        self.inner.stacks()
    }

    /// In the order that the contract demands: `current` first.
    fn remove(&self, id: &StackId) -> Result<(), Error> {
        if let Some(root) = &self.root {
            let stack = root.join(id.factory()).join(id.stack());
            let snapshots = fs::read_dir(stack.join("snapshots")).into_iter().flatten();
            let snapshots = snapshots.map(|file| file.unwrap().path());
            let files = [stack.join("current")].into_iter().chain(snapshots);
            for file in files.filter(|file| file.exists()) {
                self.life.spend()?;
                fs::remove_file(file).unwrap();
            }
        }
        self.life.spend()?;
        self.inner.remove(id)
    }
}

impl Backend for MortalBackend {
    fn id(&self) -> &StackId {
        self.inner.id()
    }
    fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error> {
        self.life.spend()?;
        self.inner.create(rev, sealed)
    }
    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
        self.inner.read(rev, limit)
    }
    fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
        self.inner.read_prefix(rev, most)
    }
    fn replace(&self, rev: &Revision, sealed: &[u8], token: &LockToken) -> Result<(), Error> {
        self.life.spend()?;
        self.inner.replace(rev, sealed, token)
    }
    fn remove(&self, rev: &Revision, token: Option<&LockToken>) -> Result<(), Error> {
        self.life.spend()?;
        self.inner.remove(rev, token)
    }
    fn list(&self) -> Result<Vec<Revision>, Error> {
        self.inner.list()
    }

    fn inspect(&self) -> Result<Vec<Irregularity>, Error> {
        self.inner.inspect()
    }
    fn current(&self) -> Result<Option<Pointer>, Error> {
        self.inner.current()
    }
    fn set_current(&self, expect: Expect<'_>, rev: &Revision, token: &LockToken) -> Result<Pointer, Error> {
        self.life.spend()?;
        self.inner.set_current(expect, rev, token)
    }
    fn append(
        &self,
        base: &Pointer,
        index: u64,
        record: &[u8],
        token: &LockToken,
    ) -> Result<Appended, Error> {
        self.life.spend()?;
        self.inner.append(base, index, record, token)
    }
    fn read_journal(&self, base: &Pointer, from: u64, most: usize) -> Result<Vec<Vec<u8>>, Error> {
        self.inner.read_journal(base, from, most)
    }
    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error> {
        self.life.spend()?;
        self.inner.try_lock(holder)
    }
    fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
        self.inner.lock_status()
    }
    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        self.life.spend()?;
        self.inner.force_unlock(expected)
    }
}

/// In memory, where flushes cost nothing.
fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn id(name: &str) -> StackId {
    name.parse().unwrap()
}

fn entry(address: &str) -> Entry {
    Entry::new(
        address,
        EntryKind::Leaf,
        Category::Resource,
        Binding::new("aws", "vpc"),
    )
}

fn store(catalog: &dyn Catalog, name: &str) -> Store {
    Store::new(catalog.open(&id(name)).unwrap(), Noop)
}

/// A stack with two revisions, an orphan, unfinished changes of a dead run, and settings.
fn make(catalog: &dyn Catalog) {
    let store_of_stack = store(catalog, FROM);
    for number in 0..2 {
        let run = store_of_stack.begin("apply", sdk_state::Wait::none()).unwrap();
        run.put(entry(&format!("resource.{number}"))).unwrap();
        run.finish("why").unwrap();
    }
    let orphan = State::new(&id(FROM), "v1", "1", time::OffsetDateTime::UNIX_EPOCH).unwrap();
    store_of_stack.write(&orphan, "orphan").unwrap();
    let dead = store_of_stack.begin("apply", sdk_state::Wait::none()).unwrap();
    dead.put(entry("resource.unfinished")).unwrap();
    drop(dead);
    let settings = store(catalog, SETTINGS).document::<sdk_state::Raw>();
    let document = sdk_state::Raw {
        payload: "statectl-settings.v1".into(),
        bytes: b"pins".into(),
    };
    let rev = settings.write(&document, "").unwrap();
    settings.set_current(&rev).unwrap();
}

fn run(registry: Registry, arguments: &[&str]) -> Result<u8, Failure> {
    let arguments = [
        &["statectl", "--backend", "test:x", "--encrypter", "noop"],
        arguments,
    ]
    .concat();
    let arguments = Arguments::try_parse_from(arguments).unwrap();
    let context = Context::new(registry, arguments.options);
    arguments.command.run(&context)
}

fn run_on(root: &Path, life: &Life, arguments: &[&str]) -> Result<u8, Failure> {
    let (root, life) = (root.to_path_buf(), life.clone());
    let registry = Registry::new().register("test", move |_| {
        Ok(Mortal {
            inner: LocalCatalog::new(&root),
            life: life.clone(),
            root: Some(root.clone()),
        })
    });
    run(registry, arguments)
}

/// Whether the stack of this name is whole: every address is recorded in what is current, and its history is there.
fn is_whole(catalog: &dyn Catalog, name: &str) -> bool {
    let store = store(catalog, name);
    let Ok(Some(head)) = store.head() else {
        return false;
    };
    let addresses = ["resource.0", "resource.1", "resource.unfinished"];
    let messages: Vec<_> = store
        .list()
        .unwrap()
        .iter()
        .filter_map(|rev| store.header(rev).unwrap().message)
        .collect();
    head.document.stack == id(name).stack()
        && addresses
            .iter()
            .all(|address| head.document.find(address).is_some())
        && messages.iter().filter(|message| *message == "why").count() == 2
        && messages.iter().any(|message| message == "orphan")
}

fn has_settings(catalog: &dyn Catalog, name: &str) -> bool {
    let settings = store(catalog, &format!("{name}+settings")).document::<sdk_state::Raw>();
    settings
        .head()
        .unwrap()
        .is_some_and(|head| head.document.bytes == b"pins")
}

fn names(catalog: &dyn Catalog) -> Vec<String> {
    let stacks = catalog.stacks().unwrap();
    stacks.iter().map(StackId::to_string).collect()
}

/// The name under which the stack is found in the trash.
fn trash(catalog: &dyn Catalog) -> Option<String> {
    let is_trash = |name: &String| name.starts_with("demo/prod.trash-") && !name.contains('+');
    names(catalog).into_iter().find(is_trash)
}

/// Kills `arguments` after each number of writes, checks the store, and repeats them until they are done.
fn interrupt_at_each_write(arguments: &[&str], check: impl Fn(&dyn Catalog), done: impl Fn(&dyn Catalog)) {
    for writes in 0..ENDLESS {
        let directory = directory();
        let catalog = LocalCatalog::new(directory.path());
        make(&catalog);
        let life = Life::new(writes);
        let first = run_on(directory.path(), &life, arguments);
        assert!(first.is_ok() || life.has_ended(), "{first:?}");
        check(&catalog);
        match run_on(directory.path(), &Life::new(ENDLESS), arguments) {
            Ok(_) => {}
            // It was done, but for its answer.
            Err(failure) if failure.code() == MISSING && !names(&catalog).contains(&FROM.to_owned()) => {}
            Err(failure) => panic!("after {writes} writes: {failure:?}"),
        }
        done(&catalog);
        if first.is_ok() && !life.has_ended() {
            assert!(writes > 5, "{writes} writes were all");
            return;
        }
    }
    panic!("the command is never done");
}

#[test]
fn interrupted_copy_is_completed() {
    interrupt_at_each_write(
        &["stack", "copy", FROM, TO],
        |catalog| {
            assert!(is_whole(catalog, FROM) && has_settings(catalog, FROM));
            let copy = store(catalog, TO);
            assert!(!matches!(copy.current(), Ok(Some(_))) || is_whole(catalog, TO));
        },
        |catalog| {
            for name in [FROM, TO] {
                assert!(is_whole(catalog, name) && has_settings(catalog, name), "{name}");
            }
            assert_eq!(
                store(catalog, FROM).list().unwrap(),
                store(catalog, TO).list().unwrap()
            );
        },
    );
}

#[test]
fn interrupted_rename_is_completed_and_loses_nothing() {
    interrupt_at_each_write(
        &["stack", "rename", FROM, TO],
        |catalog| assert!(is_whole(catalog, FROM) || is_whole(catalog, TO)),
        |catalog| {
            assert!(is_whole(catalog, TO) && has_settings(catalog, TO));
            assert_eq!(names(catalog), [TO, "demo/staging+settings"]);
        },
    );
}

#[test]
fn interrupted_removal_is_completed_and_loses_nothing() {
    interrupt_at_each_write(
        &["stack", "rm", FROM, "--force", "--yes"],
        |catalog| {
            let trash = trash(catalog);
            assert!(is_whole(catalog, FROM) || trash.is_some_and(|name| is_whole(catalog, &name)));
        },
        |catalog| {
            let trash = trash(catalog).unwrap();
            assert!(is_whole(catalog, &trash) && has_settings(catalog, &trash));
            assert_eq!(names(catalog), [trash.clone(), format!("{trash}+settings")]);
        },
    );
}

#[test]
fn interrupted_restoration_is_completed_and_loses_nothing() {
    for writes in 0..ENDLESS {
        let directory = directory();
        let catalog = LocalCatalog::new(directory.path());
        make(&catalog);
        let endless = Life::new(ENDLESS);
        run_on(
            directory.path(),
            &endless,
            &["stack", "rm", FROM, "--force", "--yes"],
        )
        .unwrap();
        let name = trash(&catalog).unwrap();
        let life = Life::new(writes);
        let first = run_on(directory.path(), &life, &["stack", "restore", FROM]);
        assert!(is_whole(&catalog, FROM) || is_whole(&catalog, &name));
        let again = run_on(directory.path(), &endless, &["stack", "restore", FROM]);
        assert!(again.is_ok() || trash(&catalog).is_none(), "{again:?}");
        assert!(is_whole(&catalog, FROM) && has_settings(&catalog, FROM));
        assert_eq!(names(&catalog), [FROM, SETTINGS]);
        if first.is_ok() && !life.has_ended() {
            return;
        }
    }
}

/// A tool that begins a run under the old name, between a rename that was killed and the next one, either changes the stack that
/// the rename then moves, or is refused.
#[test]
fn run_between_two_renames_loses_nothing() {
    let mut kept = [0; 3];
    for writes in 0..ENDLESS {
        let directory = directory();
        let catalog = LocalCatalog::new(directory.path());
        make(&catalog);
        let life = Life::new(writes);
        let first = run_on(directory.path(), &life, &["stack", "rename", FROM, TO]);
        if first.is_ok() && !life.has_ended() {
            break;
        }
        let changed = store(&catalog, FROM)
            .begin("apply", sdk_state::Wait::none())
            .and_then(|run| {
                // After the removal the stack is fresh.
                let was_there = run.base().is_some();
                run.put(entry("resource.between"))?;
                run.finish("between")?;
                Ok(was_there)
            });
        let again = run_on(
            directory.path(),
            &Life::new(ENDLESS),
            &["stack", "rename", FROM, TO],
        );
        let found = |name| {
            let head = store(&catalog, name).head();
            head.is_ok_and(|head| head.is_some_and(|head| head.document.find("resource.between").is_some()))
        };
        match (changed, again) {
            (Ok(true), Ok(_)) => {
                kept[0] += 1;
                assert!(found(TO) && is_whole(&catalog, TO), "{writes}");
            }
            (Ok(_), Err(_)) => {
                kept[1] += 1;
                assert!(found(FROM), "{writes}");
            }
            (Err(_), again) => {
                kept[2] += 1;
                assert!(again.is_ok() && is_whole(&catalog, TO), "{writes}: {again:?}");
            }
            (Ok(false), Ok(_)) => panic!("{writes}: a fresh stack was renamed over another one"),
        }
    }
    assert!(kept.iter().all(|&count| count > 0), "{kept:?}");
}

#[test]
fn other_backends_copy_rename_and_remove_alike() {
    let catalog = MemoryCatalog::new();
    make(&catalog);
    let on = |arguments: &[&str]| {
        let shown = catalog.clone();
        let root = directory();
        let address = format!("local:{}", root.path().display());
        let registry = Registry::new()
            .register("test", move |_| Ok(shown.clone()))
            .register("local", LocalCatalog::open);
        let arguments = arguments.iter().map(|word| match *word {
            "LOCAL" => address.as_str(),
            word => word,
        });
        let done = run(registry, &arguments.collect::<Vec<_>>());
        assert!(done.is_ok(), "{done:?}");
        root
    };
    let root = on(&["stack", "copy", FROM, FROM, "--to", "LOCAL"]);
    let local = LocalCatalog::new(root.path());
    assert!(is_whole(&local, FROM) && has_settings(&local, FROM));
    on(&["stack", "rename", FROM, TO]);
    assert!(is_whole(&catalog, TO) && has_settings(&catalog, TO));
    on(&["stack", "rm", TO, "--force", "--yes"]);
    on(&["stack", "restore", TO]);
    assert!(is_whole(&catalog, TO) && has_settings(&catalog, TO));
    on(&["stack", "rm", TO, "--force", "--now", "--yes"]);
    assert_eq!(names(&catalog), Vec::<String>::new());
}
