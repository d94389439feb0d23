//! The threads of a run share flushes: one thread writes for all that wait (group commit).

use crate::envelope::Origin;
use crate::envelope::journal;
use crate::ticket::Durability;
use crate::writer::{Owner, Problem, Queue, Writer};
use crate::{Change as _, Error, ErrorKind, Revision, Snapshot};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread::{self, JoinHandle};

/// What threads and tickets share.
pub(crate) struct Core<D: Snapshot> {
    pub(crate) owner: Owner<D>,
    progress: Mutex<Progress<D>>,
    changed: Condvar,
}

pub(crate) struct Progress<D> {
    /// With every change that was submitted.
    pub(crate) document: Arc<D>,
    /// What is current.
    pub(crate) base: Option<Revision>,
    queue: Queue,
    /// The numbers of the last changes that were submitted, given to a writer, and made durable, counted from 1.
    pub(crate) submitted: u64,
    attempted: u64,
    durable: u64,
    /// The right to write, which one thread has at a time.
    writer: Option<Box<Writer>>,
    /// Why the changes up to a number are not durable yet.
    delayed: Option<(u64, Error)>,
    /// Why the run takes no more changes.
    pub(crate) ended: Option<Error>,
    /// No change may be submitted while the document is replaced.
    is_replacing: bool,
    /// How many threads wait for a change.
    waiting: usize,
    wakers: Vec<(u64, Waker)>,
    background: Option<JoinHandle<()>>,
    is_closing: bool,
    pub(crate) orphan: Option<Revision>,
}

impl<D: Snapshot> Core<D> {
    pub(crate) fn new(owner: Owner<D>, document: D, writer: Writer) -> Self {
        Self {
            owner,
            progress: Mutex::new(Progress {
                document: Arc::new(document),
                base: writer.current(),
                queue: Queue::default(),
                submitted: 0,
                attempted: 0,
                durable: 0,
                writer: Some(Box::new(writer)),
                delayed: None,
                ended: None,
                is_replacing: false,
                waiting: 0,
                wakers: Vec::new(),
                background: None,
                is_closing: false,
                orphan: None,
            }),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn progress(&self) -> MutexGuard<'_, Progress<D>> {
        guard(&self.progress)
    }

    fn wait_for_change<'a>(&self, mut progress: MutexGuard<'a, Progress<D>>) -> MutexGuard<'a, Progress<D>> {
        progress.waiting += 1;
        let mut progress = self
            .changed
            .wait(progress)
            .unwrap_or_else(PoisonError::into_inner);
        progress.waiting -= 1;
        progress
    }

    pub(crate) fn demand_open(&self, progress: &mut Progress<D>) -> Result<(), Error> {
        if progress.ended.is_none()
            && guard(&self.owner.lock)
                .as_ref()
                .is_some_and(|lock| lock.is_lost())
        {
            progress.ended = Some(Error::lock_lost());
            self.changed.notify_all();
        }
        progress.ended.clone().map_or(Ok(()), Err)
    }

    /// Makes the change in the document and queues it; returns its number.
    pub(crate) fn submit(&self, change: D::Change) -> Result<u64, Error> {
        let mut encoded = Vec::new();
        journal::push_change(&mut encoded, |out| change.encode(out))?;
        // A change that panics may have been made in part, and is not queued: the document is not to be written. It is dropped
        // after the guard.
        let panicking = EndOnPanic(self);
        let mut progress = self.progress();
        while progress.is_replacing && progress.ended.is_none() {
            progress = self.wait_for_change(progress);
        }
        if let Err(error) = self.demand_open(&mut progress) {
            panicking.disarm();
            return Err(error);
        }
        change.apply(Arc::make_mut(&mut progress.document));
        panicking.disarm();
        progress.queue.push(&encoded, 1);
        progress.submitted += 1;
        let number = progress.submitted;
        if progress.background.is_some() {
            self.changed.notify_all();
        }
        Ok(number)
    }

    /// Waits until nobody writes, and takes the right to write.
    pub(crate) fn take_writer(&self) -> Result<(MutexGuard<'_, Progress<D>>, Box<Writer>), Error> {
        let mut progress = self.progress();
        loop {
            self.demand_open(&mut progress)?;
            match progress.writer.take() {
                Some(writer) => return Ok((progress, writer)),
                None => progress = self.wait_for_change(progress),
            }
        }
    }

    /// The same, once every submitted change is committed.
    pub(crate) fn take_committed(&self) -> Result<(MutexGuard<'_, Progress<D>>, Box<Writer>), Error> {
        loop {
            self.commit(None)?;
            let (progress, writer) = self.take_writer()?;
            if progress.submitted == writer.committed {
                return Ok((progress, writer));
            }
            self.give_back(progress, writer);
        }
    }

    pub(crate) fn put_back<'a>(
        &self,
        mut progress: MutexGuard<'a, Progress<D>>,
        writer: Box<Writer>,
    ) -> MutexGuard<'a, Progress<D>> {
        progress.writer = Some(writer);
        // Even a notification of nobody costs a system call.
        if progress.waiting > 0 {
            self.changed.notify_all();
        }
        progress
    }

    pub(crate) fn give_back(&self, progress: MutexGuard<'_, Progress<D>>, writer: Box<Writer>) {
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
                Some(document) => match writer.fold(&self.owner, &document, number, None) {
                    Err(Problem::Delay(_)) if writer.postpone_fold(self.owner.store.limit()) => {
                        writer.append(&self.owner)
                    }
                    folded => folded,
                },
                None => writer.append(&self.owner),
            };
            panicking.disarm();
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
        &'a self,
        mut progress: MutexGuard<'a, Progress<D>>,
        writer: Box<Writer>,
        number: u64,
        written: Result<(), Problem>,
    ) -> MutexGuard<'a, Progress<D>> {
        progress.base = writer.current();
        match written {
            Ok(()) => {
                progress.durable = number;
                progress.delayed = None;
            }
            Err(Problem::Delay(error)) => progress.delayed = Some((number, error)),
            Err(Problem::End(error)) => {
                progress.ended.get_or_insert(error);
            }
            Err(Problem::NoJournal) => {}
        }
        let (known, waiting) = std::mem::take(&mut progress.wakers)
            .into_iter()
            .partition(|(number, _)| progress.answer(*number).is_some());
        progress.wakers = waiting;
        let progress = self.put_back(progress, writer);
        self.wake(progress, known)
    }

    /// Wakes tasks without the mutex: a task may use the run at once, or drop it.
    fn wake<'a>(
        &'a self,
        progress: MutexGuard<'a, Progress<D>>,
        wakers: Vec<(u64, Waker)>,
    ) -> MutexGuard<'a, Progress<D>> {
        if wakers.is_empty() {
            return progress;
        }
        drop(progress);
        for (_, waker) in wakers {
            // A task that panics takes neither this thread's answer nor the others'.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
        self.progress()
    }

    /// As `record`, and returns the problem to the caller.
    pub(crate) fn settle(
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

    pub(crate) fn commit(&self, message: Option<&str>) -> Result<Option<Revision>, Error> {
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
        let folded = writer.fold(&self.owner, &document, number, message);
        panicking.disarm();
        drop(document);
        let own = writer.own.clone();
        self.settle(self.progress(), writer, number, folded)?;
        Ok(own)
    }

    /// Commits, and ends the run before anybody can change more.
    pub(crate) fn finish(&self, message: Option<&str>) -> Result<Option<Revision>, Error> {
        loop {
            let revision = self.commit(message)?;
            let (mut progress, mut writer) = self.take_writer()?;
            if progress.submitted > writer.committed {
                self.give_back(progress, writer);
                continue;
            }
            progress.ended = Some(finished());
            drop(progress);
            writer.remove_leftovers(&self.owner);
            self.give_back(self.progress(), writer);
            return Ok(revision);
        }
    }

    /// Replaces the document with what `make` has made current, and returns the run's own revision. Submissions wait meanwhile.
    pub(crate) fn replace_document(
        &self,
        mut progress: MutexGuard<'_, Progress<D>>,
        mut writer: Box<Writer>,
        make: impl FnOnce(&Owner<D>, &mut Writer, u64) -> Result<Option<Arc<D>>, Problem>,
    ) -> Result<Option<Revision>, Error> {
        let number = progress.submitted;
        progress.is_replacing = true;
        drop(progress);
        let panicking = EndOnPanic(self);
        let made = make(&self.owner, &mut writer, number);
        panicking.disarm();
        let mut progress = self.progress();
        progress.is_replacing = false;
        let made = made.map(|document| {
            if let Some(document) = document {
                progress.document = document;
            }
        });
        let own = writer.own.clone();
        self.settle(progress, writer, number, made)?;
        Ok(own)
    }

    /// Saves the document of a run that cannot finish, once.
    pub(crate) fn keep_orphan(&self, message: Option<&str>) {
        let mut progress = self.progress();
        let committed = progress.writer.as_ref().map_or(0, |writer| writer.committed);
        let has_ended = progress
            .ended
            .as_ref()
            .is_some_and(|error| error.kind() != &ErrorKind::Finished);
        if !has_ended || progress.orphan.is_some() || progress.submitted == committed {
            return;
        }
        // The run may have ended when a revision with everything was to become current.
        if let Some(stored) = progress.writer.as_ref().and_then(|writer| writer.orphan.clone())
            && progress.attempted == progress.submitted
            && !self
                .owner
                .store
                .header(&stored)
                .is_err_and(|error| error.is_not_found())
        {
            progress.orphan = Some(stored);
            return;
        }
        let base = progress.base.clone();
        let known = progress.writer.as_ref().and_then(|writer| writer.base.as_ref());
        let recipients = match known {
            Some(base) => self.owner.store.recipients_after_base(base),
            None => self.owner.store.recipients_to_follow(base.as_ref()),
        };
        let Ok(recipients) = recipients else {
            return;
        };
        let origin = Origin {
            message,
            parent: base.as_ref(),
            recipients: recipients.as_deref(),
            ..Origin::new(self.owner.store.provenance(), self.owner.store.now())
        };
        let written = self.owner.store.write_as(&progress.document, &origin);
        progress.orphan = written.ok().map(|written| written.revision);
    }

    /// Stops the thread, tries once to write what is not durable yet, and ends the run.
    pub(crate) fn close(&self) {
        let mut progress = self.progress();
        progress.is_closing = true;
        let background = progress.background.take();
        drop(progress);
        self.changed.notify_all();
        // A task that the thread woke may have dropped the run.
        if let Some(background) = background
            && background.thread().id() != thread::current().id()
        {
            let _ = background.join();
        }
        if let Ok((progress, writer)) = self.take_writer() {
            drop(match progress.submitted > progress.durable {
                true => self.write(progress, writer),
                false => self.put_back(progress, writer),
            });
        }
        self.end(finished());
    }

    /// Ends the run, unless it has ended.
    pub(crate) fn end(&self, error: Error) {
        let mut progress = self.progress();
        progress.ended.get_or_insert(error);
        let wakers = std::mem::take(&mut progress.wakers);
        self.changed.notify_all();
        drop(self.wake(progress, wakers));
    }

    pub(crate) fn start_background(self: &Arc<Self>) -> Result<(), Error> {
        let mut progress = self.progress();
        if progress.background.is_some() || progress.is_closing {
            return Ok(());
        }
        let core = Arc::clone(self);
        let thread = thread::Builder::new().name("state-run".into());
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
        if progress.ended.is_some() {
            let wakers = std::mem::take(&mut progress.wakers);
            drop(self.wake(progress, wakers));
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
    /// Whether the changes up to `number` are durable; `None` if that is not known yet.
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

/// Ends the run if the thread that writes panics, because no other thread could write any more.
struct EndOnPanic<'a, D: Snapshot>(&'a Core<D>);

impl<D: Snapshot> EndOnPanic<'_, D> {
    /// The thread may be panicking already, and this call be made by a destructor: so it is told that all went well.
    fn disarm(self) {
        std::mem::forget(self);
    }
}

impl<D: Snapshot> Drop for EndOnPanic<'_, D> {
    fn drop(&mut self) {
        let message = "the thread that wrote the changes panicked";
        self.0.end(Error::new(ErrorKind::OutcomeUnknown, message));
    }
}

pub(crate) fn finished() -> Error {
    Error::new(ErrorKind::Finished, "the run has ended: begin another one")
}

pub(crate) fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each value is consistent whenever its guard is dropped.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
