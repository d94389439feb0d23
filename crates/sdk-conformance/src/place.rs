//! What the checks share: a stack, revisions, locks, and a race.

use crate::expect::{done, equal, same_bytes};
use crate::medium::Medium;
use crate::rule::panicked;
use crate::violation::{Check, Flaw};
use sdk_state::{
    Created, Error, ErrorKind, Expect, Holder, Lock, LockToken, Revision, StackId, Storage, TryLock, Wait,
};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use time::{Duration, OffsetDateTime};

/// How many take part in a race.
pub(crate) const RACERS: usize = 32;
/// More than any snapshot of the rules has.
pub(crate) const NO_LIMIT: u64 = 1 << 30;

/// The stack that most checks use.
pub(crate) fn stack() -> Check<StackId> {
    id("conformance", "one")
}

pub(crate) fn id(factory: &str, stack: &str) -> Check<StackId> {
    done("a valid name of a stack", StackId::new(factory, stack))
}

/// A handle to the stack that most checks use.
pub(crate) fn open(medium: &dyn Medium) -> Check<Box<dyn Storage>> {
    open_stack(medium, &stack()?)
}

pub(crate) fn open_stack(medium: &dyn Medium, id: &StackId) -> Check<Box<dyn Storage>> {
    done("opening a storage", medium.open(id))
}

/// The revision of second `n`.
pub(crate) fn nth(n: usize) -> Check<Revision> {
    let time = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000) + Duration::seconds(n as i64);
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
pub(crate) fn create_many(storage: &dyn Storage, count: usize) -> Check<Vec<Revision>> {
    (0..count)
        .map(|n| {
            let rev = nth(n)?;
            create(storage, &rev, &sealed(n))?;
            Ok(rev)
        })
        .collect()
}

pub(crate) fn create(storage: &dyn Storage, rev: &Revision, bytes: &[u8]) -> Check {
    let answer = done("creating a snapshot", storage.create(rev, bytes))?;
    equal(
        "the answer to creating under a free name",
        &answer,
        &Created::Created,
    )
}

pub(crate) fn reads(storage: &dyn Storage, rev: &Revision, expected: &[u8]) -> Check {
    let found = done("reading a snapshot", storage.read(rev, NO_LIMIT))?;
    same_bytes("what is read of a snapshot", &found, expected)
}

/// That exactly these are listed, each once.
pub(crate) fn lists(storage: &dyn Storage, expected: &[Revision]) -> Check {
    let mut found = done("listing", storage.list())?;
    let mut expected = expected.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    equal("the listed revisions", &found, &expected)
}

pub(crate) fn points_at(storage: &dyn Storage, expected: Option<&Revision>) -> Check {
    let found = done("reading the pointer", storage.current())?;
    equal("what is current", &found.as_ref(), &expected)
}

/// Moves `current` whatever it is.
pub(crate) fn point(storage: &dyn Storage, rev: &Revision) -> Check {
    done(
        "moving `current`",
        storage.set_current(Expect::Anything, rev, None),
    )
}

pub(crate) fn holder(operation: &str) -> Holder {
    let mut holder = Holder::new(operation, OffsetDateTime::UNIX_EPOCH);
    holder.user = Some("alice".into());
    holder.host = Some("build-7".into());
    holder.tool = Some("conformance".into());
    holder
}

/// Takes a lock that is free.
pub(crate) fn lock(storage: &dyn Storage, operation: &str) -> Check<Box<dyn Lock>> {
    match done("locking", storage.try_lock(&holder(operation)))? {
        TryLock::Held(lock) => Ok(lock),
        TryLock::Busy { info, .. } => Err(Flaw::new("a free lock", format!("one that is held by {info}"))),
    }
}

pub(crate) fn token(lock: &dyn Lock) -> Check<&LockToken> {
    done("the token of a held lock", lock.token())
}

/// Who holds the lock, by the token.
pub(crate) fn held_by(storage: &dyn Storage, expected: Option<&LockToken>) -> Check {
    let status = done("the status of the lock", storage.lock_status())?;
    let found = status.as_ref().map(|status| status.info.token.as_ref());
    equal("the token of the lock's holder", &found, &expected.map(Some))
}

/// What must be passed to a move that compares and to a remove: a held lock on a medium that does neither without, and
/// nothing on all others.
pub(crate) struct Fence(Option<(Box<dyn Lock>, LockToken)>);

impl Fence {
    /// In a place that has a snapshot: in an empty one there is nothing to refuse.
    pub(crate) fn raise(storage: &dyn Storage) -> Check<Self> {
        let absent = revision("1999-01-01T00:00:00Z")?;
        let is_demanded =
            |refused: Result<(), Error>| refused.is_err_and(|error| error.kind() == &ErrorKind::Unsupported);
        if is_demanded(storage.remove(&absent, None))
            || is_demanded(storage.set_current(Expect::Exactly(Some(&absent)), &absent, None))
        {
            let lock = lock(storage, "fence")?;
            let token = token(&*lock)?.clone();
            return Ok(Self(Some((lock, token))));
        }
        Ok(Self(None))
    }

    pub(crate) fn token(&self) -> Option<&LockToken> {
        self.0.as_ref().map(|(_, token)| token)
    }
}

/// Lets 32 threads, each with a handle of its own, run at once, and returns what they bring home.
pub(crate) fn race<T: Send>(
    medium: &dyn Medium,
    run: impl Fn(usize, &dyn Storage) -> Check<T> + Sync,
) -> Check<Vec<T>> {
    race_of(RACERS, medium, run)
}

/// The same with fewer, where each has a part of its own and more of them would only wait for a processor.
pub(crate) fn race_of<T: Send>(
    racers: usize,
    medium: &dyn Medium,
    run: impl Fn(usize, &dyn Storage) -> Check<T> + Sync,
) -> Check<Vec<T>> {
    let handles: Vec<Box<dyn Storage>> = (0..racers).map(|_| open(medium)).collect::<Check<_>>()?;
    race_on(&handles, |n, storage| run(n, &**storage))
}

/// The same on anything that threads can share.
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
        let mut outcomes = Vec::new();
        for racer in racers {
            outcomes.push(racer.join().unwrap_or_else(|panic| Err(panicked(panic.as_ref()))));
        }
        outcomes.into_iter().collect()
    })
}

/// Whether a move was refused because another one came first.
pub(crate) fn won(result: Result<(), Error>) -> Check<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::CurrentMoved { .. }) => Ok(false),
        Err(error) => Err(Flaw::new(
            "a move that is done or refused as CurrentMoved",
            format!("{error:?}"),
        )),
    }
}

/// What is found of who has lost a compared move as often as there are racers. Each loss is the move of another one, and
/// each of those moves once.
pub(crate) fn never_won() -> Flaw {
    Flaw::new(
        "a compared move to be done once all others are",
        format!("{RACERS} that were refused as CurrentMoved"),
    )
}

/// Lets the others in: a medium need not be fair to who waits.
pub(crate) fn breathe() {
    Wait::forever().pause(std::time::Duration::from_millis(1));
}

/// Counts a racer out at its end, also when the storage panics: the others would wait for it.
pub(crate) struct Leaving<'a>(pub(crate) &'a AtomicUsize);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
