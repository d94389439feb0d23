use crate::envelope::journal::{self, Begun, Digest};
use crate::envelope::{Mark, Origin};
use crate::joined::JoinedLock;
use crate::recovery::{Recovered, until_known};
use crate::ticket::{Durability, Ticket};
use crate::{
    Appended, Change, Entry, Error, ErrorKind, Holder, Json, Lock, LockInfo, LockToken, Pointer, Revision,
    Snapshot, State, StateChange, Store, Wait, WriteOptions,
};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread::JoinHandle;

/// A journal of at least this many bytes is folded into a revision once it is larger than its base.
const FOLD_BYTES: u64 = 1 << 20;

/// One run of a tool, from lock to unlock: it makes changes durable one by one, and leaves one revision.
///
/// Any thread may change the document; [`put`](Run::put) and the like return once the change is durable, and threads that
/// change something at the same time share one flush. [`submit`](Run::submit) returns at once, with a [`Ticket`].
/// [`finish`](Run::finish) commits everything as one revision, makes it current and unlocks.
///
/// ([R1](crate::guarantees)) Once a change has returned `Ok`, it survives: if the process dies before it finishes, the next command that takes the
/// lock commits its changes, in the dead run's name.
///
/// # Errors
///
/// After [`Unavailable`](ErrorKind::Unavailable) or [`Io`](ErrorKind::Io) a change stays in the run, and is written together
/// with the next one: go on, or call [`commit`](Run::commit) again later. After an error that names the document, the change
/// was not made. Every other failure ends the run: each later call returns the same error, which [`check`](Run::check) also
/// returns.
///
/// ```
/// use sdk_state::encrypt::Noop;
/// use sdk_state::{Binding, Category, Entry, EntryKind, MemoryBackend, Store};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), sdk_state::Error> {
/// let store = Store::new(MemoryBackend::new("network/prod".parse()?), Noop);
/// let run = store.begin("apply", Duration::from_secs(60))?;
/// std::thread::scope(|scope| {
///     for number in 0..10 {
///         let run = &run;
///         scope.spawn(move || {
///             // … make the subnet, then:
///             let binding = Binding::new("aws", "subnet");
///             run.put(Entry::new(format!("resource.subnet-{number}"), EntryKind::Leaf, Category::Resource, binding))
///         });
///     }
/// });
/// run.finish("ten subnets")?;
/// assert_eq!(store.head()?.unwrap().document.len(), 10);
/// assert_eq!(store.list()?.len(), 1);
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping a run unlocks the stack and commits nothing"]
pub struct Run<D: Snapshot = State> {
    core: Arc<Core<D>>,
    took_over: Option<LockInfo>,
    recovered: u64,
}

/// What threads and tickets share.
struct Core<D: Snapshot> {
    store: Store<D>,
    holder: Holder,
    token: LockToken,
    run_id: String,
    /// Taken when the run ends.
    lock: Mutex<Option<Box<dyn Lock>>>,
    progress: Mutex<Progress<D>>,
    changed: Condvar,
}

struct Progress<D> {
    /// With every change that was submitted.
    document: Arc<D>,
    /// What is current.
    base: Option<Revision>,
    queue: Queue,
    /// Changes are numbered from 1. How many were submitted, given to a writer, and made durable.
    submitted: u64,
    attempted: u64,
    durable: u64,
    /// The right to write, which one thread has at a time.
    writer: Option<Box<Writer>>,
    /// Why the changes up to a number are not durable yet.
    delayed: Option<(u64, Error)>,
    /// Why the run takes no more changes.
    ended: Option<Error>,
    /// No change may be submitted while the document is replaced.
    is_replacing: bool,
    wakers: Vec<(u64, Waker)>,
    background: Option<JoinHandle<()>>,
    is_closing: bool,
    orphan: Option<Revision>,
}

/// Encoded changes.
#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    count: u32,
}

/// What the thread that writes knows about the stack.
struct Writer {
    base: Option<Base>,
    /// The run's own revision, which is current, and whether it was made without being asked for.
    own: Option<Revision>,
    own_is_automatic: bool,
    /// How many changes the current revision holds.
    committed: u64,
    journal: Option<Journal>,
    /// A sealed record that is not known to be in the journal. It is appended again as it is.
    pending: Option<Vec<u8>>,
    /// Changes that are in no record.
    backlog: Queue,
    /// False where no journal is kept: then each batch is a revision.
    keeps_journal: bool,
    /// Geneses of first runs that died.
    leftovers: Vec<Revision>,
}

struct Base {
    pointer: Pointer,
    digest: Digest,
    sealed_bytes: u64,
}

struct Journal {
    sealer: journal::Writer,
    /// The number of the next record.
    next: u64,
    bytes: u64,
}

/// Why something was not written.
enum Problem {
    /// Nothing was changed, and a later try may succeed.
    Delay(Error),
    /// The run cannot go on.
    End(Error),
    /// The backend keeps no journal.
    NoJournal,
}

impl<D: Snapshot> Store<D> {
    /// Takes the lock and begins a run. Nothing is written before the first change.
    ///
    /// If a dead run left changes in its journal, they are committed first, as a revision of that run:
    /// [`took_over`](Run::took_over) and [`recovered`](Run::recovered) tell about it.
    ///
    /// # Errors
    ///
    /// * Those of [`lock`](Store::lock) and [`head`](Store::head).
    /// * Those of [`write`](Store::write) when changes are to be committed.
    /// * [`LockLost`](ErrorKind::LockLost) when somebody evicts this holder meanwhile.
    pub fn begin(&self, operation: &str, wait: impl Into<Wait>) -> Result<Run<D>, Error> {
        let lock = self.lock(operation, wait)?;
        self.run_under(lock, operation, true)
    }

    /// Begins a run under the lock that a parent process holds and [shares](Lock::share_with_children), by its token. The end
    /// of the run does not release the lock.
    ///
    /// Several children may have such runs at once, so each change is committed as a revision, compared with what the run
    /// stands on: if two change something at the same time, one of them ends with [`CurrentMoved`](ErrorKind::CurrentMoved).
    ///
    /// # Errors
    ///
    /// * [`LockLost`](ErrorKind::LockLost) when the lock no longer carries that token, or its holder is dead.
    /// * [`Unsupported`](ErrorKind::Unsupported) when the parent has a run with changes that it has not committed.
    /// * Those of [`begin`](Store::begin).
    pub fn join(&self, operation: &str, token: LockToken) -> Result<Run<D>, Error> {
        let lock = JoinedLock::new(self.shared_backend(), token)?;
        self.run_under(Box::new(lock), operation, false)
    }

    fn run_under(&self, lock: Box<dyn Lock>, operation: &str, keeps_journal: bool) -> Result<Run<D>, Error> {
        let Recovered {
            head,
            changes,
            leftovers,
        } = self.recover(&*lock)?;
        let holder = Holder::new(operation).with_provenance(self.provenance().clone());
        let current = head.as_ref().map(|head| head.pointer.revision.clone());
        let (base, document) = match head {
            Some(head) => {
                let base = Base {
                    pointer: head.pointer,
                    digest: head.digest,
                    sealed_bytes: head.sealed_bytes,
                };
                (Some(base), head.document)
            }
            None => (None, D::fresh(self.id())),
        };
        let writer = Writer {
            base,
            own: None,
            own_is_automatic: false,
            committed: 0,
            journal: None,
            pending: None,
            backlog: Queue::default(),
            keeps_journal: keeps_journal && !self.writes_v1(),
            leftovers,
        };
        let core = Core {
            store: self.clone(),
            holder,
            token: lock.token()?.clone(),
            run_id: journal::fresh_id()?,
            progress: Mutex::new(Progress {
                document: Arc::new(document),
                base: current,
                queue: Queue::default(),
                submitted: 0,
                attempted: 0,
                durable: 0,
                writer: Some(Box::new(writer)),
                delayed: None,
                ended: None,
                is_replacing: false,
                wakers: Vec::new(),
                background: None,
                is_closing: false,
                orphan: None,
            }),
            changed: Condvar::new(),
            lock: Mutex::default(),
        };
        let took_over = lock.took_over().cloned();
        *guard(&core.lock) = Some(lock);
        Ok(Run {
            core: Arc::new(core),
            took_over,
            recovered: changes,
        })
    }
}

impl<D: Snapshot> Run<D> {
    /// Returns the dead holder whose lock was taken over, if there was one: what it did to the infrastructure last may be
    /// recorded nowhere.
    pub fn took_over(&self) -> Option<&LockInfo> {
        self.took_over.as_ref()
    }

    /// Returns how many changes of a dead run were committed at the beginning.
    pub fn recovered(&self) -> u64 {
        self.recovered
    }

    /// Returns the fencing token of the lock.
    pub fn token(&self) -> &LockToken {
        &self.core.token
    }

    /// Returns the revision that is current, on which the run stands; `None` on a fresh stack.
    pub fn base(&self) -> Option<Revision> {
        self.core.progress().base.clone()
    }

    /// Returns the document with every change that was submitted.
    ///
    /// It is a view: later changes do not show in it. The first change after it copies the document, sharing its entries.
    pub fn state(&self) -> Arc<D> {
        Arc::clone(&self.core.progress().document)
    }

    /// Returns why the run takes no more changes, if it does not; asks nobody.
    ///
    /// # Errors
    ///
    /// The error that ended the run, [`LockLost`](ErrorKind::LockLost), or [`Finished`](ErrorKind::Finished).
    pub fn check(&self) -> Result<(), Error> {
        self.core.demand_open(&mut self.core.progress())
    }

    /// Makes a change and returns once it is durable.
    ///
    /// # Errors
    ///
    /// * [`InvalidSnapshot`](ErrorKind::InvalidSnapshot) when the document would break a rule: the change was not made.
    /// * [`Unavailable`](ErrorKind::Unavailable) or [`Io`](ErrorKind::Io): the change is in the run and not durable yet. It is
    ///   written together with the next one.
    /// * [`LockLost`](ErrorKind::LockLost), [`CurrentMoved`](ErrorKind::CurrentMoved),
    ///   [`OutcomeUnknown`](ErrorKind::OutcomeUnknown), [`Damaged`](ErrorKind::Damaged) end the run.
    /// * [`Finished`](ErrorKind::Finished) after `finish`.
    /// * Where revisions are written instead of a journal, those of [`Store::write`].
    pub fn apply(&self, change: impl Into<D::Change>) -> Result<(), Error> {
        let number = self.core.submit(change.into())?;
        self.core.wait(number)
    }

    /// Makes a change, and returns a ticket that tells when it is durable. Changes become durable in the order in which they
    /// were submitted.
    ///
    /// The first call starts a thread, which writes what is submitted until the run ends.
    pub fn submit(&self, change: impl Into<D::Change>) -> Ticket {
        let number = self.core.submit(change.into());
        let submitted = number.and_then(|number| {
            self.core.start_background()?;
            let core: Arc<dyn Durability> = Arc::clone(&self.core) as _;
            Ok((core, number))
        });
        Ticket::new(submitted)
    }

    /// Replaces the whole document, as a revision that becomes current, and returns its name. The run keeps only the last
    /// revision that it made.
    ///
    /// # Errors
    ///
    /// * [`Unsupported`](ErrorKind::Unsupported) when the run has changes that are not committed: the document may lack them.
    /// * Those of [`commit`](Run::commit).
    pub fn save(&self, document: D, options: impl Into<WriteOptions>) -> Result<Revision, Error> {
        let (mut progress, mut writer) = self.core.take_writer()?;
        if progress.submitted > writer.committed {
            self.core.give_back(progress, writer);
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the run has changes that are not committed, which the document may lack: commit them first",
            ));
        }
        let number = progress.submitted;
        progress.is_replacing = true;
        drop(progress);
        let document = Arc::new(document);
        let folded = self
            .core
            .fold(&mut writer, &document, number, options.into().message);
        let mut progress = self.core.progress();
        progress.is_replacing = false;
        if folded.is_ok() {
            progress.document = document;
        }
        let revision = writer.own.clone();
        self.core.settle(progress, writer, number, folded)?;
        revision.ok_or_else(finished)
    }

    /// Commits every change that was submitted, as one revision that becomes current, and returns its name: the run's
    /// revision, also if nothing has changed since it was made; `None` when the run has changed nothing.
    ///
    /// The run goes on. It keeps only the last revision that it made.
    ///
    /// # Errors
    ///
    /// * After [`Unavailable`](ErrorKind::Unavailable), [`Io`](ErrorKind::Io) and the errors of [`Store::write`] nothing is
    ///   committed: call it again.
    /// * [`LockLost`](ErrorKind::LockLost), [`CurrentMoved`](ErrorKind::CurrentMoved) and
    ///   [`OutcomeUnknown`](ErrorKind::OutcomeUnknown) end the run.
    pub fn commit(&self, options: impl Into<WriteOptions>) -> Result<Option<Revision>, Error> {
        self.core.commit(options.into().message)
    }

    /// Commits as [`commit`](Run::commit) does, and unlocks.
    ///
    /// After an error that does not end the run, call it again. After one that does, the document is saved as a revision that
    /// is not current, if the backend still takes one: see [`orphan`](Run::orphan).
    ///
    /// # Errors
    ///
    /// Those of [`commit`](Run::commit), and of [`Lock::unlock`]; after the latter everything is committed, and the error names
    /// the revision.
    pub fn finish(&self, options: impl Into<WriteOptions>) -> Result<Option<Revision>, Error> {
        let message = options.into().message;
        let committed = self.core.commit(message.clone());
        if let Err(error) = committed {
            self.core.keep_orphan(message);
            return Err(error);
        }
        self.core.progress().ended = Some(finished());
        self.core.changed.notify_all();
        let revision = committed?;
        let unlocked = guard(&self.core.lock).take().map_or(Ok(()), Lock::unlock);
        unlocked.map_err(|error| {
            let error = revision
                .iter()
                .fold(error, |error, revision| error.at_revision(revision));
            error.with_outcome("everything is committed, but the lock was not released")
        })?;
        Ok(revision)
    }

    /// Returns the revision that holds the document of a run that could not finish. It is not current.
    pub fn orphan(&self) -> Option<Revision> {
        self.core.progress().orphan.clone()
    }

    /// Makes a revision current, after everything that was submitted is committed; the document is that revision's from then
    /// on. Moving to what is current changes nothing.
    ///
    /// # Errors
    ///
    /// Those of [`Store::get`] and [`commit`](Run::commit).
    pub fn set_current(&self, rev: &Revision) -> Result<(), Error> {
        let (mut progress, mut writer) = self.core.take_committed()?;
        let number = progress.submitted;
        progress.is_replacing = true;
        drop(progress);
        let moved = self.core.go_to(&mut writer, rev);
        let mut progress = self.core.progress();
        progress.is_replacing = false;
        let moved = moved.map(|document| {
            if let Some(document) = document {
                progress.document = Arc::new(document);
            }
        });
        self.core.settle(progress, writer, number, moved)
    }

    /// Deletes a revision that is not current. It is not an error if it does not exist.
    ///
    /// # Errors
    ///
    /// Those of [`Backend::remove`](crate::Backend::remove).
    pub fn delete(&self, rev: &Revision) -> Result<(), Error> {
        self.check()?;
        self.core.store.backend().remove(rev, Some(&self.core.token))
    }

    /// Replaces the sealed bytes of a revision, for re-keying. Everything that was submitted is committed first, so that no
    /// journal stays wrapped for old recipients.
    ///
    /// # Errors
    ///
    /// Those of [`commit`](Run::commit) and [`Backend::replace`](crate::Backend::replace).
    pub fn replace(&self, rev: &Revision, sealed: &[u8]) -> Result<(), Error> {
        let (progress, mut writer) = self.core.take_committed()?;
        drop(progress);
        let replaced = self.core.store.backend().replace(rev, sealed, &self.core.token);
        if let Some(base) = writer.base.as_mut().filter(|base| base.pointer.revision == *rev) {
            base.digest = journal::digest(sealed);
            base.sealed_bytes = sealed.len() as u64;
        }
        self.core.give_back(self.core.progress(), writer);
        replaced
    }

    /// Lets processes that are started from now on [join](Store::join) the lock of this run. From then on each change is
    /// committed as a revision, because several processes cannot share a journal.
    ///
    /// # Errors
    ///
    /// Those of [`commit`](Run::commit) and [`Lock::share_with_children`].
    pub fn share_with_children(&self) -> Result<(), Error> {
        let (progress, mut writer) = self.core.take_committed()?;
        writer.keeps_journal = false;
        self.core.give_back(progress, writer);
        match &*guard(&self.core.lock) {
            Some(lock) => lock.share_with_children(),
            None => Err(finished()),
        }
    }
}

impl Run<State> {
    /// Adds the entry, or replaces the one with the same address, and returns once that is durable.
    ///
    /// # Errors
    ///
    /// Those of [`apply`](Run::apply).
    pub fn put(&self, entry: Entry) -> Result<(), Error> {
        self.apply(StateChange::Put(entry))
    }

    /// Removes the entry with this address, if there is one, and returns once that is durable.
    ///
    /// # Errors
    ///
    /// Those of [`apply`](Run::apply).
    pub fn remove(&self, address: impl Into<String>) -> Result<(), Error> {
        self.apply(StateChange::Remove(address.into()))
    }

    /// Replaces the outputs of the stack, and returns once that is durable.
    ///
    /// # Errors
    ///
    /// Those of [`apply`](Run::apply).
    pub fn set_outputs(&self, outputs: Option<Json>) -> Result<(), Error> {
        self.apply(StateChange::SetOutputs(outputs))
    }

    /// Returns the entry with this address, with every change that was submitted.
    pub fn find(&self, address: &str) -> Option<Arc<Entry>> {
        self.core.progress().document.find_shared(address)
    }
}

impl<D: Snapshot> Drop for Run<D> {
    fn drop(&mut self) {
        let mut progress = self.core.progress();
        progress.is_closing = true;
        let background = progress.background.take();
        drop(progress);
        self.core.changed.notify_all();
        if let Some(background) = background {
            let _ = background.join();
        }
        // What was submitted and not waited for is written once.
        if let Ok((progress, writer)) = self.core.take_writer() {
            let progress = match progress.submitted > progress.durable {
                true => self.core.write(progress, writer),
                false => self.core.put_back(progress, writer),
            };
            drop(progress);
        }
        self.core.end(finished());
        drop(guard(&self.core.lock).take());
    }
}

impl<D: Snapshot> Core<D> {
    fn progress(&self) -> MutexGuard<'_, Progress<D>> {
        guard(&self.progress)
    }

    fn wait_for_change<'a>(&self, progress: MutexGuard<'a, Progress<D>>) -> MutexGuard<'a, Progress<D>> {
        self.changed
            .wait(progress)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn demand_open(&self, progress: &mut Progress<D>) -> Result<(), Error> {
        if progress.ended.is_none() && guard(&self.lock).as_ref().is_some_and(|lock| lock.is_lost()) {
            progress.ended = Some(Error::lock_lost());
        }
        progress.ended.clone().map_or(Ok(()), Err)
    }

    /// Makes the change in the document and queues it; returns its number.
    fn submit(&self, change: D::Change) -> Result<u64, Error> {
        let mut encoded = Vec::new();
        journal::push_change(&mut encoded, |out| change.encode(out))?;
        let mut progress = self.progress();
        while progress.is_replacing {
            progress = self.wait_for_change(progress);
        }
        self.demand_open(&mut progress)?;
        change.apply(Arc::make_mut(&mut progress.document));
        progress.queue.push(&encoded, 1);
        progress.submitted += 1;
        let number = progress.submitted;
        if progress.background.is_some() {
            self.changed.notify_all();
        }
        Ok(number)
    }

    /// Waits until nobody writes, and takes the right to write.
    fn take_writer(&self) -> Result<(MutexGuard<'_, Progress<D>>, Box<Writer>), Error> {
        let mut progress = self.progress();
        loop {
            self.demand_open(&mut progress)?;
            match progress.writer.take() {
                Some(writer) => return Ok((progress, writer)),
                None => progress = self.wait_for_change(progress),
            }
        }
    }

    /// The same, with everything that was submitted committed.
    fn take_committed(&self) -> Result<(MutexGuard<'_, Progress<D>>, Box<Writer>), Error> {
        loop {
            self.commit(None)?;
            let (progress, writer) = self.take_writer()?;
            if progress.submitted == writer.committed {
                return Ok((progress, writer));
            }
            self.give_back(progress, writer);
        }
    }

    fn put_back<'a>(
        &self,
        mut progress: MutexGuard<'a, Progress<D>>,
        writer: Box<Writer>,
    ) -> MutexGuard<'a, Progress<D>> {
        progress.writer = Some(writer);
        self.changed.notify_all();
        progress
    }

    fn give_back(&self, progress: MutexGuard<'_, Progress<D>>, writer: Box<Writer>) {
        drop(self.put_back(progress, writer));
    }

    /// Writes everything that was submitted, in the thread of the caller.
    fn write<'a>(
        &'a self,
        mut progress: MutexGuard<'a, Progress<D>>,
        mut writer: Box<Writer>,
    ) -> MutexGuard<'a, Progress<D>> {
        loop {
            writer.backlog.append(&mut progress.queue);
            let number = progress.submitted;
            progress.attempted = number;
            let document = writer.must_fold().then(|| Arc::clone(&progress.document));
            drop(progress);
            let panicking = EndOnPanic(self);
            let written = match document {
                Some(document) => self.fold(&mut writer, &document, number, None),
                None => self.append(&mut writer),
            };
            drop(panicking);
            progress = self.progress();
            if matches!(written, Err(Problem::NoJournal)) {
                writer.keeps_journal = false;
                continue;
            }
            return self.record(progress, writer, number, written);
        }
    }

    /// Notes what became of the changes up to `number`, and lets the next one write.
    fn record<'a>(
        &self,
        mut progress: MutexGuard<'a, Progress<D>>,
        writer: Box<Writer>,
        number: u64,
        written: Result<(), Problem>,
    ) -> MutexGuard<'a, Progress<D>> {
        progress.base = writer.base.as_ref().map(|base| base.pointer.revision.clone());
        match written {
            Ok(()) => {
                progress.durable = number;
                progress.delayed = None;
            }
            Err(Problem::Delay(error)) => progress.delayed = Some((number, error)),
            Err(Problem::End(error)) => progress.ended = Some(error),
            Err(Problem::NoJournal) => {}
        }
        let wakers = std::mem::take(&mut progress.wakers);
        for (number, waker) in wakers {
            match progress.answer(number) {
                Some(_) => waker.wake(),
                None => progress.wakers.push((number, waker)),
            }
        }
        self.put_back(progress, writer)
    }

    /// As `record`, and returns the problem to the caller.
    fn settle(
        &self,
        progress: MutexGuard<'_, Progress<D>>,
        writer: Box<Writer>,
        number: u64,
        written: Result<(), Problem>,
    ) -> Result<(), Error> {
        let answer = match &written {
            Err(Problem::Delay(error) | Problem::End(error)) => Err(error.clone()),
            _ => Ok(()),
        };
        drop(self.record(progress, writer, number, written));
        answer
    }

    fn commit(&self, message: Option<String>) -> Result<Option<Revision>, Error> {
        let (mut progress, mut writer) = self.take_writer()?;
        let number = progress.submitted;
        let wants_message = writer.own.is_some() && writer.own_is_automatic && message.is_some();
        if number == writer.committed && !wants_message {
            let own = writer.own.clone();
            self.give_back(progress, writer);
            return Ok(own);
        }
        writer.backlog.append(&mut progress.queue);
        progress.attempted = number;
        let document = Arc::clone(&progress.document);
        drop(progress);
        let panicking = EndOnPanic(self);
        let folded = self.fold(&mut writer, &document, number, message);
        drop(panicking);
        drop(document);
        let own = writer.own.clone();
        self.settle(self.progress(), writer, number, folded)?;
        Ok(own)
    }

    /// Appends what is pending, then the backlog, to the journal.
    fn append(&self, writer: &mut Writer) -> Result<(), Problem> {
        self.demand_base(writer)?;
        let Some(base) = &writer.base else {
            return Err(Problem::NoJournal);
        };
        loop {
            let record = match writer.pending.take() {
                Some(record) => record,
                None if writer.backlog.count == 0 => return Ok(()),
                None => {
                    let record = self
                        .seal(base, &mut writer.journal, &writer.backlog)
                        .map_err(Problem::Delay)?;
                    writer.backlog.clear();
                    record
                }
            };
            let Some(journal) = &mut writer.journal else {
                return Err(Problem::NoJournal);
            };
            let index = journal.next;
            let appended = self.token().and_then(|token| {
                until_known(|| self.store.backend().append(&base.pointer, index, &record, token))
            });
            match appended {
                Ok(Appended::Appended) => {
                    journal.next += 1;
                    journal.bytes += record.len() as u64;
                }
                Ok(Appended::Taken) => {
                    let message =
                        "the journal holds records of somebody else, although this run holds the lock";
                    return Err(Problem::End(Error::new(ErrorKind::Damaged, message)));
                }
                Err(error) => {
                    writer.pending = Some(record);
                    return Err(match error.kind() {
                        ErrorKind::Unsupported => Problem::NoJournal,
                        _ => Problem::of(error),
                    });
                }
            }
        }
    }

    fn seal(&self, base: &Base, journal: &mut Option<Journal>, backlog: &Queue) -> Result<Vec<u8>, Error> {
        let journal = match journal {
            Some(journal) => journal,
            None => {
                let payload = self.progress().document.payload().to_owned();
                let place = journal::Place {
                    payload: &payload,
                    id: self.store.id(),
                    base: &base.pointer.revision,
                    digest: &base.digest,
                };
                let begun = Begun {
                    run_id: self.run_id.clone(),
                    token: self.token.clone(),
                    holder: self.holder.clone(),
                };
                let sealer = journal::Writer::new(self.store.keyring(), place, &begun, self.store.now())?;
                journal.insert(Journal {
                    sealer,
                    next: 0,
                    bytes: 0,
                })
            }
        };
        journal.sealer.seal(backlog.count, &backlog.bytes)
    }

    /// Writes the document, which holds the changes up to `number`, as the run's revision, and makes it current, which ends
    /// the journal.
    fn fold(
        &self,
        writer: &mut Writer,
        document: &D,
        number: u64,
        message: Option<String>,
    ) -> Result<(), Problem> {
        self.demand_base(writer)?;
        let mark = Mark {
            run_id: Some(self.run_id.clone()),
            replaces: writer.own.clone(),
            is_genesis: false,
        };
        self.write_current(writer, document, message.as_deref(), &mark)?;
        writer.own_is_automatic = message.is_none();
        writer.committed = number;
        writer.journal = None;
        writer.pending = None;
        writer.backlog.clear();
        if let Some(replaced) = mark.replaces {
            // If it stays, the next run removes it.
            let _ = self.store.backend().remove(&replaced, Some(&self.token));
        }
        Ok(())
    }

    /// On a fresh stack, makes the genesis current: a first run that dies has then lost no pointer.
    fn demand_base(&self, writer: &mut Writer) -> Result<(), Problem> {
        if writer.base.is_some() || self.store.writes_v1() {
            return Ok(());
        }
        let mark = Mark {
            run_id: Some(self.run_id.clone()),
            replaces: None,
            is_genesis: true,
        };
        self.write_current(writer, &D::fresh(self.store.id()), None, &mark)?;
        for leftover in std::mem::take(&mut writer.leftovers) {
            let _ = self.store.backend().remove(&leftover, Some(&self.token));
        }
        Ok(())
    }

    fn write_current(
        &self,
        writer: &mut Writer,
        document: &D,
        message: Option<&str>,
        mark: &Mark,
    ) -> Result<(), Problem> {
        let base = writer.base.as_ref().map(|base| &base.pointer);
        let origin = Origin {
            message,
            parent: base.map(|pointer| &pointer.revision),
            mark,
            ..Origin::new(self.store.provenance(), self.store.now())
        };
        // Whatever becomes of it, nothing that was acknowledged depends on it before it is current.
        let written = self.store.write_as(document, &origin).map_err(Problem::Delay)?;
        let token = self.token().map_err(Problem::End)?;
        let pointer = self
            .store
            .move_current(base, &written.revision, token)
            .map_err(|error| {
                let problem = Problem::of(error.at_revision(&written.revision));
                if let Problem::Delay(_) = problem {
                    let _ = self.store.backend().remove(&written.revision, Some(token));
                }
                problem
            })?;
        writer.own = Some(written.revision);
        writer.base = Some(Base {
            pointer,
            digest: written.digest,
            sealed_bytes: written.sealed_bytes,
        });
        Ok(())
    }

    /// Makes another revision current; returns its document unless it is current already.
    fn go_to(&self, writer: &mut Writer, rev: &Revision) -> Result<Option<D>, Problem> {
        let base = writer.base.as_ref().map(|base| &base.pointer);
        if base.is_some_and(|pointer| pointer.revision == *rev) {
            return Ok(None);
        }
        let sealed = self.store.read(rev).map_err(Problem::Delay)?;
        let (digest, sealed_bytes) = (journal::digest(&sealed), sealed.len() as u64);
        let (document, _) = self.store.open(rev, sealed).map_err(Problem::Delay)?;
        let token = self.token().map_err(Problem::End)?;
        let pointer = self.store.move_current(base, rev, token).map_err(Problem::of)?;
        writer.base = Some(Base {
            pointer,
            digest,
            sealed_bytes,
        });
        writer.own = None;
        Ok(Some(document))
    }

    /// The token, unless this is a forked child.
    fn token(&self) -> Result<&LockToken, Error> {
        if let Some(lock) = &*guard(&self.lock) {
            lock.token()?;
        }
        Ok(&self.token)
    }

    /// Saves the document of a run that cannot finish, once.
    fn keep_orphan(&self, message: Option<String>) {
        let mut progress = self.progress();
        let committed = progress.writer.as_ref().map_or(0, |writer| writer.committed);
        let has_ended = progress
            .ended
            .as_ref()
            .is_some_and(|error| error.kind() != &ErrorKind::Finished);
        if !has_ended || progress.orphan.is_some() || progress.submitted == committed {
            return;
        }
        let base = progress.writer.as_ref().and_then(|writer| writer.base.as_ref());
        let base = base.map(|base| base.pointer.revision.clone());
        let origin = Origin {
            message: message.as_deref(),
            parent: base.as_ref(),
            ..Origin::new(self.store.provenance(), self.store.now())
        };
        let written = self.store.write_as(&progress.document, &origin);
        progress.orphan = written.ok().map(|written| written.revision);
    }

    /// Ends the run, unless it has ended.
    fn end(&self, error: Error) {
        let mut progress = self.progress();
        progress.ended.get_or_insert(error);
        for (_, waker) in std::mem::take(&mut progress.wakers) {
            waker.wake();
        }
        drop(progress);
        self.changed.notify_all();
    }

    fn start_background(self: &Arc<Self>) -> Result<(), Error> {
        let mut progress = self.progress();
        if progress.background.is_some() || progress.is_closing {
            return Ok(());
        }
        let core = Arc::clone(self);
        let thread = std::thread::Builder::new().name("state-run".into());
        let thread = thread
            .spawn(move || core.write_until_closed())
            .map_err(|source| {
                Error::new(ErrorKind::Unavailable, "no thread can be started").with_source(source)
            })?;
        progress.background = Some(thread);
        Ok(())
    }

    fn write_until_closed(&self) {
        let mut progress = self.progress();
        while !progress.is_closing && progress.ended.is_none() {
            let has_work = progress.submitted > progress.attempted;
            progress = match progress.writer.take_if(|_| has_work) {
                Some(writer) => self.write(progress, writer),
                None => self.wait_for_change(progress),
            };
        }
    }
}

impl<D: Snapshot> Durability for Core<D> {
    fn wait(&self, number: u64) -> Result<(), Error> {
        let mut progress = self.progress();
        loop {
            if let Some(answer) = progress.answer(number) {
                return answer;
            }
            progress = match progress.writer.take() {
                Some(writer) => self.write(progress, writer),
                None => self.wait_for_change(progress),
            };
        }
    }

    fn poll(&self, number: u64, waker: &Waker) -> Poll<Result<(), Error>> {
        let mut progress = self.progress();
        match progress.answer(number) {
            Some(answer) => Poll::Ready(answer),
            None => {
                let known = |(other, known): &(u64, Waker)| *other == number && known.will_wake(waker);
                if !progress.wakers.iter().any(known) {
                    progress.wakers.push((number, waker.clone()));
                }
                Poll::Pending
            }
        }
    }
}

impl<D> Progress<D> {
    /// Whether the changes up to `number` are durable, if that is known.
    fn answer(&self, number: u64) -> Option<Result<(), Error>> {
        if self.durable >= number {
            return Some(Ok(()));
        }
        match (&self.ended, &self.delayed) {
            (Some(error), _) => Some(Err(error.clone())),
            (None, Some((delayed, error))) if *delayed >= number => Some(Err(error.clone())),
            _ => None,
        }
    }
}

impl Queue {
    fn push(&mut self, bytes: &[u8], count: u32) {
        self.bytes.extend_from_slice(bytes);
        self.count += count;
    }

    fn append(&mut self, other: &mut Self) {
        if self.count == 0 {
            std::mem::swap(self, other);
        } else {
            self.push(&other.bytes, other.count);
        }
        other.clear();
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }
}

impl Writer {
    /// Whether the backlog is written as a revision, not to the journal.
    fn must_fold(&self) -> bool {
        let journal = self.journal.as_ref().map_or(0, |journal| journal.bytes);
        let base = self.base.as_ref().map_or(0, |base| base.sealed_bytes);
        !self.keeps_journal
            || journal + self.backlog.bytes.len() as u64 > base.max(FOLD_BYTES) && journal > 0
            || self.backlog.bytes.len() > journal::MAX_BATCH_BYTES
    }
}

impl Problem {
    fn of(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Io => Self::Delay(error),
            _ => Self::End(error),
        }
    }
}

/// Ends the run if the thread that writes panics: nobody else could write any more.
struct EndOnPanic<'a, D: Snapshot>(&'a Core<D>);

impl<D: Snapshot> Drop for EndOnPanic<'_, D> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let message = "the thread that wrote the changes panicked";
            self.0.end(Error::new(ErrorKind::OutcomeUnknown, message));
        }
    }
}

impl<D: Snapshot> fmt::Debug for Run<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("store", &self.core.store)
            .field("holder", &self.core.holder)
            .finish_non_exhaustive()
    }
}

fn finished() -> Error {
    Error::new(ErrorKind::Finished, "the run has ended: begin another one")
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each value is consistent whenever its guard is dropped.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
