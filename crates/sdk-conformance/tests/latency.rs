//! A slow medium breaks no rule, and the kit stays quick.

use crate::support::Memory;
use sdk_conformance::{Fixture, Method, RULES, Rule, TransportFault, Violation};
use sdk_state::{
    Appended, Backend, Catalog, Created, Error, ErrorKind, Expect, Holder, Irregularity, Lock, LockInfo,
    LockStatus, LockToken, MemoryBackend, Pointer, Prefix, Revision, StackId, TryLock, Wait,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How many handles the slow place serves at once.
const CONNECTIONS: usize = 8;

/// A place in memory behind a slow line with few connections.
struct Slow {
    memory: Memory,
    line: Arc<Line>,
    /// Whether it looks in one round trip and changes in another.
    is_racy: bool,
}

#[derive(Debug)]
struct Line {
    latency: Duration,
    handles: AtomicUsize,
}

impl Slow {
    fn new(latency: Duration) -> Self {
        let handles = AtomicUsize::new(0);
        Self {
            memory: Memory::default(),
            line: Arc::new(Line { latency, handles }),
            is_racy: false,
        }
    }

    fn slow(&self, id: &StackId, inner: Box<dyn Backend>) -> Result<SlowBackend, Error> {
        let line = Arc::clone(&self.line);
        if line.handles.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS {
            line.handles.fetch_sub(1, Ordering::SeqCst);
            return Err(Error::new(
                ErrorKind::Unavailable,
                "there are too many connections",
            ));
        }
        let racy = self.is_racy.then(|| self.memory.backend(id));
        Ok(SlowBackend { inner, line, racy })
    }
}

impl Line {
    /// A round trip, with the work of the backend in the middle.
    fn trip<T>(&self, work: impl FnOnce() -> T) -> T {
        Wait::forever().pause(self.latency / 2);
        let answer = work();
        Wait::forever().pause(self.latency / 2);
        answer
    }
}

impl Fixture for Slow {
    fn open(&self, id: &StackId) -> Result<Box<dyn Backend>, Error> {
        Ok(Box::new(self.slow(id, self.memory.open(id)?)?))
    }

    fn latency(&self) -> Duration {
        self.line.latency
    }

    fn connections(&self) -> usize {
        CONNECTIONS
    }

    fn overwrite_pointer(&self, id: &StackId, content: &[u8]) -> Option<()> {
        self.memory.overwrite_pointer(id, content)
    }

    fn overwrite_snapshot(&self, id: &StackId, rev: &Revision, content: &[u8]) -> Option<()> {
        self.memory.overwrite_snapshot(id, rev, content)
    }

    fn kill_holder(&self, id: &StackId) -> Option<()> {
        self.memory.kill_holder(id)
    }

    fn exists(&self, id: &StackId) -> Option<bool> {
        self.memory.exists(id)
    }

    fn catalog(&self) -> Option<Box<dyn Catalog>> {
        self.memory.catalog()
    }

    fn open_faulty(&self, id: &StackId, method: Method, fault: TransportFault) -> Option<Box<dyn Backend>> {
        let faulty = self.memory.open_faulty(id, method, fault)?;
        Some(Box::new(self.slow(id, faulty).unwrap()))
    }
}

struct SlowBackend {
    inner: Box<dyn Backend>,
    line: Arc<Line>,
    /// The place, where it is racy.
    racy: Option<MemoryBackend>,
}

impl Drop for SlowBackend {
    fn drop(&mut self) {
        self.line.handles.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Backend for SlowBackend {
    fn id(&self) -> &StackId {
        self.inner.id()
    }

    fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error> {
        let Some(racy) = &self.racy else {
            return self.line.trip(|| self.inner.create(rev, sealed));
        };
        if self.line.trip(|| self.inner.read_prefix(rev, 0)).is_ok() {
            return Ok(Created::Exists);
        }
        self.line.trip(|| racy.overwrite_snapshot(rev, sealed));
        Ok(Created::Created)
    }

    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
        self.line.trip(|| self.inner.read(rev, limit))
    }

    fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
        self.line.trip(|| self.inner.read_prefix(rev, most))
    }

    fn replace(&self, rev: &Revision, sealed: &[u8], token: &LockToken) -> Result<(), Error> {
        self.line.trip(|| self.inner.replace(rev, sealed, token))
    }

    fn remove(&self, rev: &Revision, token: Option<&LockToken>) -> Result<(), Error> {
        self.line.trip(|| self.inner.remove(rev, token))
    }

    fn list(&self) -> Result<Vec<Revision>, Error> {
        self.line.trip(|| self.inner.list())
    }

    fn inspect(&self) -> Result<Vec<Irregularity>, Error> {
        self.line.trip(|| self.inner.inspect())
    }

    fn current(&self) -> Result<Option<Pointer>, Error> {
        self.line.trip(|| self.inner.current())
    }

    fn set_current(&self, expect: Expect<'_>, rev: &Revision, token: &LockToken) -> Result<Pointer, Error> {
        let Some(racy) = &self.racy else {
            return self.line.trip(|| self.inner.set_current(expect, rev, token));
        };
        let found = self.line.trip(|| racy.current())?;
        expect.check(found.as_ref())?;
        self.line.trip(|| racy.set_current(Expect::Anything, rev, token))
    }

    fn append(
        &self,
        base: &Pointer,
        index: u64,
        record: &[u8],
        token: &LockToken,
    ) -> Result<Appended, Error> {
        self.line.trip(|| self.inner.append(base, index, record, token))
    }

    fn read_journal(&self, base: &Pointer, from: u64, most: usize) -> Result<Vec<Vec<u8>>, Error> {
        self.line.trip(|| self.inner.read_journal(base, from, most))
    }

    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error> {
        Ok(match self.line.trip(|| self.inner.try_lock(holder))? {
            TryLock::Held(inner) => TryLock::Held(Box::new(SlowLock {
                inner: Some(inner),
                line: Arc::clone(&self.line),
            })),
            // A waiter looks no oftener than a round trip takes.
            TryLock::Busy { status, .. } => TryLock::Busy {
                status,
                poll: self.line.latency,
            },
        })
    }

    fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
        self.line.trip(|| self.inner.lock_status())
    }

    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        self.line.trip(|| self.inner.force_unlock(expected))
    }
}

#[derive(Debug)]
struct SlowLock {
    /// `None` once it was unlocked.
    inner: Option<Box<dyn Lock>>,
    line: Arc<Line>,
}

impl SlowLock {
    fn inner(&self) -> &dyn Lock {
        self.inner.as_deref().unwrap()
    }
}

impl Lock for SlowLock {
    fn info(&self) -> &LockInfo {
        self.inner().info()
    }

    fn token(&self) -> Result<&LockToken, Error> {
        self.inner().token()
    }

    fn took_over(&self) -> Option<&LockInfo> {
        self.inner().took_over()
    }

    fn check(&self) -> Result<(), Error> {
        self.line.trip(|| self.inner().check())
    }

    fn is_lost(&self) -> bool {
        self.inner().is_lost()
    }

    fn share_with_children(&self) -> Result<(), Error> {
        self.inner().share_with_children()
    }

    fn unlock(mut self: Box<Self>) -> Result<(), Error> {
        let inner = self.inner.take().unwrap();
        self.line.trip(|| inner.unlock())
    }
}

impl Drop for SlowLock {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            self.line.trip(|| drop(inner));
        }
    }
}

/// Checks all rules at the same time, since they mostly sleep, and returns how long each took and how it was broken.
fn check_all(latency: Duration) -> Vec<(&'static Rule, Duration, Result<(), Violation>)> {
    thread::scope(|scope| {
        let check = |rule: &'static Rule| {
            let start = Instant::now();
            let outcome = rule.check(Arc::new(Slow::new(latency)));
            (rule, start.elapsed(), outcome)
        };
        let checks: Vec<_> = RULES
            .iter()
            .map(|rule| scope.spawn(move || check(rule)))
            .collect();
        checks.into_iter().map(|check| check.join().unwrap()).collect()
    })
}

fn is_broken(outcome: &Result<(), Violation>) -> bool {
    outcome
        .as_ref()
        .is_err_and(|violation| violation.missing_hook().is_none() && violation.not_applicable().is_none())
}

/// One rule after the other, as `Report::run` checks them, they would take the sum of their times.
#[test]
fn at_30_ms_a_round_trip_the_kit_takes_less_than_3_minutes() {
    let checked = check_all(Duration::from_millis(30));
    let total: Duration = checked.iter().map(|(_, took, _)| *took).sum();
    for (rule, took, outcome) in &checked {
        println!("{:<11} {:>6} ms", rule.id, took.as_millis());
        assert!(!is_broken(outcome), "{outcome:?}");
    }
    println!("{:<11} {:>6} ms", "all", total.as_millis());
    assert!(total < Duration::from_secs(180), "{total:?}");
}

#[test]
fn at_100_ms_a_round_trip_no_right_backend_breaks_a_rule() {
    let mut total = Duration::ZERO;
    for (rule, took, outcome) in check_all(Duration::from_millis(100)) {
        println!("{:<11} {:>6} ms", rule.id, took.as_millis());
        assert!(!is_broken(&outcome), "{outcome:?}");
        total += took;
    }
    println!("{:<11} {:>6} ms", "all", total.as_millis());
}

/// Eight threads, or the four that eight connections allow, are enough where a round trip is long.
#[test]
fn races_are_found_at_100_ms_a_round_trip() {
    for id in ["CREATE-03", "POINTER-04", "POINTER-05"] {
        let rule = RULES.iter().find(|rule| rule.id == id).unwrap();
        let mut place = Slow::new(Duration::from_millis(100));
        place.is_racy = true;
        assert!(is_broken(&rule.check(Arc::new(place))), "{id}");
    }
}
