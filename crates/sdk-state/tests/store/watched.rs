//! A backend in memory whose calls a test watches, refuses and interrupts.

use sdk_state::{
    Appended, Backend, Created, Error, ErrorKind, Expect, Holder, Irregularity, LockInfo, LockStatus,
    LockToken, MemoryBackend, Pointer, Prefix, Revision, StackId, TryLock,
};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Create,
    Read,
    Replace,
    Remove,
    List,
    Current,
    SetCurrent,
    Append,
    ReadJournal,
    TryLock,
    LockStatus,
    ForceUnlock,
}

/// How a call fails.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// It has no effect.
    Before(ErrorKind),
    /// It has its effect, and the answer is lost.
    After(ErrorKind),
    Panic,
}

/// Chooses the fault of a call: the method, and how often that was called, from 1.
type Hook = dyn Fn(Method, usize) -> Option<Fault> + Send + Sync;

#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) backend: MemoryBackend,
    calls: Arc<Mutex<Vec<Method>>>,
    records: Arc<Mutex<Vec<Vec<u8>>>>,
    hook: Arc<Mutex<Option<Arc<Hook>>>>,
    /// The number of the record that readers see damaged.
    damaged: Arc<Mutex<Option<u64>>>,
    /// The most bytes of a page of the journal.
    page: Arc<AtomicUsize>,
    hides_versions: Arc<AtomicBool>,
}

impl Watched {
    pub(crate) fn over(backend: MemoryBackend) -> Self {
        Self {
            backend,
            calls: Arc::default(),
            records: Arc::default(),
            hook: Arc::default(),
            damaged: Arc::default(),
            page: Arc::new(AtomicUsize::new(usize::MAX)),
            hides_versions: Arc::default(),
        }
    }

    pub(crate) fn fresh() -> Self {
        Self::over(MemoryBackend::new(super::support::id()))
    }

    /// Asks `hook` at the beginning of each call.
    pub(crate) fn hook(&self, hook: impl Fn(Method, usize) -> Option<Fault> + Send + Sync + 'static) {
        *self.hook.lock().unwrap() = Some(Arc::new(hook));
    }

    /// Lets one call fail.
    pub(crate) fn fail(&self, method: Method, nth: usize, fault: Fault) {
        self.hook(move |called, count| (called == method && count == nth).then(|| fault.clone()));
    }

    /// Lets every call of a method fail.
    pub(crate) fn fail_all(&self, method: Method, fault: Fault) {
        self.hook(move |called, _| (called == method).then(|| fault.clone()));
    }

    pub(crate) fn without_faults(&self) {
        *self.hook.lock().unwrap() = None;
    }

    pub(crate) fn damage_record(&self, number: Option<u64>) {
        *self.damaged.lock().unwrap() = number;
    }

    /// Returns one record a page.
    pub(crate) fn page_by_record(&self) {
        self.page.store(0, Ordering::SeqCst);
    }

    /// Reports version 0 for every move, as a local directory does.
    pub(crate) fn hide_versions(&self) {
        self.hides_versions.store(true, Ordering::SeqCst);
    }

    /// How often a method was called.
    pub(crate) fn count(&self, method: Method) -> usize {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|called| **called == method).count()
    }

    /// The records that were to be appended, in order.
    pub(crate) fn records(&self) -> Vec<Vec<u8>> {
        self.records.lock().unwrap().clone()
    }

    fn call<T>(&self, method: Method, run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let nth = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(method);
            calls.iter().filter(|called| **called == method).count()
        };
        let hook = self.hook.lock().unwrap().clone();
        match hook.and_then(|hook| hook(method, nth)) {
            None => run(),
            Some(Fault::Before(kind)) => Err(Error::new(kind, "refused")),
            Some(Fault::After(kind)) => {
                let _ = run();
                Err(Error::new(kind, "the answer is lost"))
            }
            Some(Fault::Panic) => panic!("a panic in the backend"),
        }
    }

    fn shown(&self, pointer: Pointer) -> Pointer {
        match self.hides_versions.load(Ordering::SeqCst) {
            true => Pointer::new(pointer.revision, 0),
            false => pointer,
        }
    }

    /// The pointer that was shown.
    fn meant(&self, shown: &Pointer) -> Pointer {
        match self.backend.current() {
            Ok(Some(pointer)) if self.shown(pointer.clone()) == *shown => pointer,
            _ => shown.clone(),
        }
    }
}

impl Backend for Watched {
    fn id(&self) -> &StackId {
        self.backend.id()
    }

    fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error> {
        let created = self.call(Method::Create, || self.backend.create(rev, sealed));
        created.map_err(|error| error.at_revision(rev))
    }

    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
        self.call(Method::Read, || self.backend.read(rev, limit))
    }

    fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
        self.backend.read_prefix(rev, most)
    }

    fn replace(&self, rev: &Revision, sealed: &[u8], token: &LockToken) -> Result<(), Error> {
        self.call(Method::Replace, || self.backend.replace(rev, sealed, token))
    }

    fn remove(&self, rev: &Revision, token: Option<&LockToken>) -> Result<(), Error> {
        self.call(Method::Remove, || self.backend.remove(rev, token))
    }

    fn list(&self) -> Result<Vec<Revision>, Error> {
        self.call(Method::List, || self.backend.list())
    }

    fn inspect(&self) -> Result<Vec<Irregularity>, Error> {
        self.backend.inspect()
    }

    fn current(&self) -> Result<Option<Pointer>, Error> {
        let current = self.call(Method::Current, || self.backend.current())?;
        Ok(current.map(|pointer| self.shown(pointer)))
    }

    fn set_current(&self, expect: Expect<'_>, rev: &Revision, token: &LockToken) -> Result<Pointer, Error> {
        let moved = self.call(Method::SetCurrent, || match expect {
            Expect::Pointer(pointer) => {
                let meant = self.meant(pointer);
                self.backend.set_current(Expect::Pointer(&meant), rev, token)
            }
            expect => self.backend.set_current(expect, rev, token),
        })?;
        Ok(self.shown(moved))
    }

    fn append(
        &self,
        base: &Pointer,
        index: u64,
        record: &[u8],
        token: &LockToken,
    ) -> Result<Appended, Error> {
        self.records.lock().unwrap().push(record.to_vec());
        self.call(Method::Append, || {
            self.backend.append(&self.meant(base), index, record, token)
        })
    }

    fn read_journal(&self, base: &Pointer, from: u64, most: usize) -> Result<Vec<Vec<u8>>, Error> {
        let most = most.min(self.page.load(Ordering::SeqCst));
        let mut page = self.call(Method::ReadJournal, || {
            self.backend.read_journal(&self.meant(base), from, most)
        })?;
        if let Some(damaged) = *self.damaged.lock().unwrap()
            && let Some(record) = damaged.checked_sub(from).and_then(|at| page.get_mut(at as usize))
            && let Some(last) = record.last_mut()
        {
            *last ^= 1;
        }
        Ok(page)
    }

    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error> {
        self.call(Method::TryLock, || self.backend.try_lock(holder))
    }

    fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
        self.call(Method::LockStatus, || self.backend.lock_status())
    }

    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        self.call(Method::ForceUnlock, || self.backend.force_unlock(expected))
    }
}
