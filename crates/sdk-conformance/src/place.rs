//! What the checks share: the place of one rule, revisions, locks, and a race.

use crate::Method;
use crate::expect::{Check, Flaw, done, equal, hook, same_bytes};
use crate::fixture::{Fixture, TransportFault};
use crate::rule::panicked;
use sdk_state::{
    Backend, Created, Error, ErrorKind, Expect, Holder, Lock, LockToken, Pointer, Provenance, Revision,
    StackId, TryLock, Wait,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;
use time::OffsetDateTime;

/// How many threads take part in a race where a round trip takes no time.
const RACERS: usize = 32;
/// Handles that a check keeps beside those of its racers.
const OTHER_HANDLES: usize = 3;
/// More than any snapshot of the rules has.
pub(crate) const NO_LIMIT: u64 = 1 << 30;

/// The place of one rule, and the stack that most checks use.
pub(crate) struct Place {
    pub(crate) fixture: Arc<dyn Fixture>,
    pub(crate) stack: StackId,
    names: AtomicUsize,
}

impl Place {
    pub(crate) fn new(fixture: Arc<dyn Fixture>) -> Check<Self> {
        let stack = id("conformance", "one")?;
        let names = AtomicUsize::new(1000);
        Ok(Self {
            fixture,
            stack,
            names,
        })
    }

    /// A handle to the stack that most checks use.
    pub(crate) fn open(&self) -> Check<Box<dyn Backend>> {
        self.open_stack(&self.stack)
    }

    pub(crate) fn open_stack(&self, id: &StackId) -> Check<Box<dyn Backend>> {
        done("opening a backend", self.fixture.open(id))
    }

    /// Opens a handle whose next request for `method` meets `fault`.
    pub(crate) fn open_faulty(&self, method: Method, fault: TransportFault) -> Check<Box<dyn Backend>> {
        hook(
            "open_faulty",
            self.fixture.open_faulty(&self.stack, method, fault),
        )
    }

    /// A revision that was never created: the name of a removed one may stay taken.
    pub(crate) fn unused(&self) -> Check<Revision> {
        nth(self.names.fetch_add(1, Ordering::SeqCst))
    }

    pub(crate) fn overwrite_pointer(&self, content: &[u8]) -> Check {
        hook(
            "overwrite_pointer",
            self.fixture.overwrite_pointer(&self.stack, content),
        )
    }

    pub(crate) fn overwrite_snapshot(&self, rev: &Revision, content: &[u8]) -> Check {
        hook(
            "overwrite_snapshot",
            self.fixture.overwrite_snapshot(&self.stack, rev, content),
        )
    }

    pub(crate) fn kill_holder(&self) -> Check {
        hook("kill_holder", self.fixture.kill_holder(&self.stack))
    }

    /// How many threads race, an even number.
    pub(crate) fn racers(&self) -> usize {
        let handles = self.fixture.connections().saturating_sub(OTHER_HANDLES);
        (RACERS / self.slowness()).min(handles).max(2) / 2 * 2
    }

    /// How often something is repeated that is repeated `most` times where a round trip takes no time.
    pub(crate) fn turns(&self, most: usize) -> usize {
        (most / self.slowness()).max(2)
    }

    /// A limit for what ends much earlier on every right backend.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(60) + 500 * self.fixture.latency()
    }

    /// What divides the numbers of racers and turns. The window of a race is a round trip: the longer it is, the fewer
    /// must run into it.
    fn slowness(&self) -> usize {
        match self.fixture.latency().as_millis() {
            0..5 => 1,
            5..50 => 2,
            _ => 4,
        }
    }

    /// Lets many threads, each with a handle of its own, run at once, and returns what they bring home.
    pub(crate) fn race<T: Send>(
        &self,
        run: impl Fn(usize, &dyn Backend) -> Check<T> + Sync,
    ) -> Check<Vec<T>> {
        self.race_of(self.racers(), run)
    }

    /// The same with a given number at most: where each has a part of its own, more would only wait for a processor.
    pub(crate) fn race_of<T: Send>(
        &self,
        racers: usize,
        run: impl Fn(usize, &dyn Backend) -> Check<T> + Sync,
    ) -> Check<Vec<T>> {
        let racers = racers.min(self.racers());
        let handles: Vec<Box<dyn Backend>> = (0..racers).map(|_| self.open()).collect::<Check<_>>()?;
        race_on(&handles, |n, backend| run(n, &**backend))
    }
}

/// A race on anything that threads can share.
pub(crate) fn race_on<H: Sync, T: Send>(
    handles: &[H],
    run: impl Fn(usize, &H) -> Check<T> + Sync,
) -> Check<Vec<T>> {
    let start = Barrier::new(handles.len());
    let (start, run) = (&start, &run);
    thread::scope(|scope| {
        let racers: Vec<_> = handles
            .iter()
            .enumerate()
            .map(|(n, handle)| {
                scope.spawn(move || {
                    start.wait();
                    run(n, handle)
                })
            })
            .collect();
        let outcomes: Vec<_> = racers
            .into_iter()
            .map(|racer| racer.join().unwrap_or_else(|panic| Err(panicked(panic.as_ref()))))
            .collect();
        outcomes.into_iter().collect()
    })
}

/// Counts a racer out at its end, also when the backend panics: the others would wait for it.
pub(crate) struct Leaving<'a>(pub(crate) &'a AtomicUsize);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Lets the others in: a medium need not be fair to those who wait.
pub(crate) fn breathe() {
    Wait::forever().pause(Duration::from_millis(1));
}

pub(crate) fn id(factory: &str, stack: &str) -> Check<StackId> {
    done("a valid name of a stack", StackId::new(factory, stack))
}

/// The revision of second `n`.
pub(crate) fn nth(n: usize) -> Check<Revision> {
    let time = OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000) + time::Duration::seconds(n as i64);
    done("a revision", Revision::at(time))
}

pub(crate) fn revision(text: &str) -> Check<Revision> {
    done("a revision", text.parse())
}

/// The bytes of the snapshot of second `n`, unlike all others.
pub(crate) fn sealed(n: usize) -> Vec<u8> {
    format!("sealed snapshot number {n}").into_bytes()
}

/// Creates the snapshots of seconds 0 to `count` − 1.
pub(crate) fn create_many(backend: &dyn Backend, count: usize) -> Check<Vec<Revision>> {
    (0..count)
        .map(|n| {
            let rev = nth(n)?;
            create(backend, &rev, &sealed(n))?;
            Ok(rev)
        })
        .collect()
}

pub(crate) fn create(backend: &dyn Backend, rev: &Revision, bytes: &[u8]) -> Check {
    let answer = done("creating a snapshot", backend.create(rev, bytes))?;
    equal(
        "the answer to creating under a free name",
        &answer,
        &Created::Created,
    )
}

pub(crate) fn reads(backend: &dyn Backend, rev: &Revision, expected: &[u8]) -> Check {
    let found = done("reading a snapshot", backend.read(rev, NO_LIMIT))?;
    same_bytes("what is read of a snapshot", &found, expected)
}

/// Demands that exactly these are listed, each once.
pub(crate) fn lists(backend: &dyn Backend, expected: &[Revision]) -> Check {
    let mut found = done("listing", backend.list())?;
    let mut expected = expected.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    equal("the listed revisions", &found, &expected)
}

pub(crate) fn points_at(backend: &dyn Backend, expected: Option<&Revision>) -> Check {
    let found = done("reading the pointer", backend.current())?;
    let found = found.as_ref().map(|pointer| &pointer.revision);
    equal("what is current", &found, &expected)
}

/// Moves `current` whatever it is.
pub(crate) fn point(backend: &dyn Backend, rev: &Revision, token: &LockToken) -> Check<Pointer> {
    done(
        "moving `current`",
        backend.set_current(Expect::Anything, rev, token),
    )
}

/// Whether a move was done, or refused because another one came first.
pub(crate) fn won(result: Result<Pointer, Error>) -> Check<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.is_current_moved() => Ok(false),
        Err(error) => Err(Flaw::new(
            "a move that is done or refused as CurrentMoved",
            format!("{error:?}"),
        )),
    }
}

/// A lock that a check holds.
pub(crate) struct Held {
    pub(crate) lock: Box<dyn Lock>,
    pub(crate) token: LockToken,
}

pub(crate) fn holder(operation: &str) -> Holder {
    let provenance = Provenance::new()
        .with_author("alice")
        .with_host("build-7")
        .with_run("run-42")
        .with_tool("conformance");
    Holder::new(operation)
        .with_provenance(provenance)
        .with_since(OffsetDateTime::UNIX_EPOCH)
}

/// Takes a lock that is free.
pub(crate) fn lock(backend: &dyn Backend, operation: &str) -> Check<Held> {
    match done("locking", backend.try_lock(&holder(operation)))? {
        TryLock::Held(lock) => {
            let token = done("the token of a held lock", lock.token())?.clone();
            Ok(Held { lock, token })
        }
        TryLock::Busy { status, .. } => Err(Flaw::new(
            "a free lock",
            format!("one that is held by {}", status.info),
        )),
    }
}

/// Demands that this token holds the lock; `None` for nobody.
pub(crate) fn held_by(backend: &dyn Backend, expected: Option<&LockToken>) -> Check {
    let status = done("the status of the lock", backend.lock_status())?;
    let found = status.as_ref().map(|status| status.info.token.as_ref());
    equal("the token of the lock's holder", &found, &expected.map(Some))
}

/// Whether this is [`Locked`](ErrorKind::Locked) by the holder of `token`.
pub(crate) fn names_holder(kind: &ErrorKind, token: &LockToken) -> bool {
    matches!(kind, ErrorKind::Locked(info) if info.token.as_ref() == Some(token))
}
