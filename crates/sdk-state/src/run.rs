use crate::envelope::{self, Place, journal};
use crate::group_commit::{Core, finished, guard};
use crate::joined::JoinedLock;
use crate::provenance::MAX_TEXT_BYTES;
use crate::recovery::Recovered;
use crate::ticket::{Durability, Ticket};
use crate::writer::{Base, Owner, Problem, Writer};
use crate::{
    Depth, Entry, Error, ErrorKind, Holder, Json, Lock, LockInfo, LockToken, Revision, Snapshot, State,
    StateChange, Store, Wait, WriteOptions,
};
use sdk_encrypt::Recipient;
use std::fmt;
use std::sync::{Arc, Mutex};

/// One run of a tool, from lock to unlock. It makes changes durable one by one, and leaves one revision.
///
/// Any thread may change the document. [`put`](Run::put) and the like return once the change is durable; simultaneous changes
/// share one flush. [`submit`](Run::submit) returns at once, with a [`Ticket`]. [`finish`](Run::finish) commits everything as one
/// revision, makes it current and unlocks.
///
/// ([R1](crate::guarantees)) A change whose call has returned `Ok` survives: if the process dies before it finishes, the next
/// command that takes the lock commits its changes, in the dead run's name.
///
/// # Errors
///
/// After [`Unavailable`](ErrorKind::Unavailable) or [`Io`](ErrorKind::Io) a change stays in the run, and is written together
/// with the next one: go on, or call [`commit`](Run::commit) later. After [`InvalidSnapshot`](ErrorKind::InvalidSnapshot) the
/// change was not made. Every other failure ends the run: each later call, and [`check`](Run::check), returns the same error.
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

impl<D: Snapshot> Store<D> {
    /// Takes the lock and begins a run. Nothing is written before the first change.
    ///
    /// If a dead run left changes in its journal, they are committed first, as a revision of that run.
    /// [`took_over`](Run::took_over) names its holder, and [`recovered`](Run::recovered) counts the changes.
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

    /// Begins a run under the lock that a parent process holds and [shares](Lock::share_with_children); the token names it. The
    /// run does not release the lock.
    ///
    /// Several children may have such runs at once, so each change becomes a revision, if `current` is still the run's base.
    /// If two children change something at the same time, one run ends with [`CurrentMoved`](ErrorKind::CurrentMoved).
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
        // Now, because a change that is in a journal must stay readable.
        self.provenance().check(None)?;
        if operation.len() > MAX_TEXT_BYTES {
            return Err(envelope::too_large(operation.len() as u64, MAX_TEXT_BYTES as u64));
        }
        let Recovered {
            head,
            changes,
            leftovers,
        } = self.recover(&*lock)?;
        let (base, document) = match head {
            Some(head) => {
                let base = Base {
                    pointer: head.pointer,
                    payload: head.document.payload().to_owned(),
                    recipients: head.recipients,
                    parent: head.mark.parent,
                    is_genesis: head.mark.is_genesis,
                    digest: head.digest,
                    sealed_bytes: head.sealed_bytes,
                };
                (Some(base), head.document)
            }
            None => (None, D::fresh(self.id())),
        };
        let took_over = lock.took_over().cloned();
        let owner = Owner {
            store: self.clone(),
            holder: Holder::new(operation).with_provenance(self.provenance().clone()),
            token: lock.token()?.clone(),
            lock: Mutex::new(Some(lock)),
        };
        let writer = Writer::new(
            journal::fresh_id()?,
            base,
            keeps_journal && !self.writes_v1(),
            leftovers,
        );
        Ok(Run {
            core: Arc::new(Core::new(owner, document, writer)),
            took_over,
            recovered: changes,
        })
    }
}

impl<D: Snapshot> Run<D> {
    /// Returns the dead holder whose lock was taken over, if there was one. Its last work on the infrastructure may not be
    /// recorded.
    pub fn took_over(&self) -> Option<&LockInfo> {
        self.took_over.as_ref()
    }

    /// Returns how many changes of a dead run [`begin`](Store::begin) committed.
    pub fn recovered(&self) -> u64 {
        self.recovered
    }

    /// Returns the fencing token of the lock.
    pub fn token(&self) -> &LockToken {
        &self.core.owner.token
    }

    /// Returns the current revision, on which the run stands; `None` on a fresh stack.
    pub fn base(&self) -> Option<Revision> {
        self.core.progress().base.clone()
    }

    /// Returns the document with every change that was submitted.
    ///
    /// Later changes do not show in it. The first later change copies the document, but shares its entries.
    pub fn state(&self) -> Arc<D> {
        Arc::clone(&self.core.progress().document)
    }

    /// Checks that the run still takes changes, without asking the backend.
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

    /// Makes a change, and returns a ticket that resolves when the change is durable. Changes become durable in the order of
    /// their submission.
    ///
    /// It waits only for a [`save`](Run::save), [`reseal`](Run::reseal) or [`set_current`](Run::set_current) under way. The first
    /// call starts a thread that writes submitted changes until the run ends.
    pub fn submit(&self, change: impl Into<D::Change>) -> Ticket {
        let number = self.core.submit(change.into());
        let submitted = number.and_then(|number| {
            self.core.start_background()?;
            let core: Arc<dyn Durability> = Arc::clone(&self.core) as _;
            Ok((core, number))
        });
        Ticket::new(submitted)
    }

    /// Replaces the whole document, writes it as a revision, makes that current and returns its name. The run removes its
    /// previous revision.
    ///
    /// # Errors
    ///
    /// * [`Unsupported`](ErrorKind::Unsupported) when the run has changes that are not committed: the document may lack them.
    /// * Those of [`commit`](Run::commit).
    pub fn save(&self, document: D, options: impl Into<WriteOptions>) -> Result<Revision, Error> {
        let (progress, writer) = self.core.take_writer()?;
        if progress.submitted > writer.committed {
            self.core.give_back(progress, writer);
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the run has changes that are not committed, which the document may lack: commit them first",
            ));
        }
        let document = Arc::new(document);
        let message = options.into().message;
        let own = self
            .core
            .replace_document(progress, writer, |owner, writer, number| {
                writer.fold(owner, &document, number, message.as_deref())?;
                Ok(Some(document))
            });
        own?.ok_or_else(finished)
    }

    /// Commits every submitted change as one revision, makes it current and returns its name. The run goes on, and removes its
    /// previous revision.
    ///
    /// If nothing has changed since the run's last revision, returns that one; `None` if the run has changed nothing, or nothing
    /// since it moved `current`.
    ///
    /// # Errors
    ///
    /// * After [`Unavailable`](ErrorKind::Unavailable), [`Io`](ErrorKind::Io) and the errors of [`Store::write`] nothing is
    ///   committed: call `commit` again.
    /// * [`LockLost`](ErrorKind::LockLost), [`CurrentMoved`](ErrorKind::CurrentMoved) and an unknown outcome of the move end the
    ///   run: see [`check`](Run::check).
    pub fn commit(&self, options: impl Into<WriteOptions>) -> Result<Option<Revision>, Error> {
        self.core.commit(options.into().message.as_deref())
    }

    /// Commits as [`commit`](Run::commit) does, and unlocks.
    ///
    /// After an error that does not end the run, call `finish` again. After one that does, the document is saved as a revision
    /// that is not current, if the backend still takes one: see [`orphan`](Run::orphan).
    ///
    /// # Errors
    ///
    /// Those of [`commit`](Run::commit) and [`Lock::unlock`]. After an error of `unlock` everything is committed, and the error
    /// names the revision.
    pub fn finish(&self, options: impl Into<WriteOptions>) -> Result<Option<Revision>, Error> {
        let message = options.into().message;
        let committed = self.core.finish(message.as_deref());
        if committed.is_err() {
            self.core.keep_orphan(message.as_deref());
        }
        let revision = committed?;
        let unlocked = guard(&self.core.owner.lock).take().map_or(Ok(()), Lock::unlock);
        unlocked.map_err(|error| {
            let error = revision
                .iter()
                .fold(error, |error, revision| error.at_revision(revision));
            error.with_outcome("everything is committed, but the lock was not released")
        })?;
        Ok(revision)
    }

    /// Returns the revision that holds the document of a run that could not finish. It is not current, unless the move to it was
    /// the [unknown outcome](ErrorKind::OutcomeUnknown) that ended the run.
    pub fn orphan(&self) -> Option<Revision> {
        self.core.progress().orphan.clone()
    }

    /// Commits every submitted change, then makes `rev` current; the run goes on with its document. A move to what is current
    /// after the commit changes nothing.
    ///
    /// # Errors
    ///
    /// Those of [`Store::get`] and [`commit`](Run::commit).
    pub fn set_current(&self, rev: &Revision) -> Result<(), Error> {
        let (progress, writer) = self.core.take_committed()?;
        let moved = self.core.replace_document(progress, writer, |owner, writer, _| {
            Ok(writer.go_to(owner, rev)?.map(Arc::new))
        });
        moved.map(drop)
    }

    /// Deletes a revision that is not current. It is not an error if it does not exist.
    ///
    /// # Errors
    ///
    /// Those of [`Backend::remove`](crate::Backend::remove).
    pub fn delete(&self, rev: &Revision) -> Result<(), Error> {
        self.check()?;
        self.core
            .owner
            .store
            .backend()
            .remove(rev, Some(&self.core.owner.token))
    }

    /// Seals a stored revision for `recipients` instead of those that it has. If it is current, the run's next revisions are
    /// sealed for them too. Every submitted change is committed first, so that no journal stays sealed for old recipients.
    ///
    /// The keyring must open the revision and be able to wrap for each of `recipients`. After an error the revision is as it
    /// was, unless the outcome is [unknown](ErrorKind::OutcomeUnknown); it may be called again.
    ///
    /// # Errors
    ///
    /// * [`MissingKey`](ErrorKind::MissingKey) for a recipient that the keyring cannot wrap for.
    /// * [`Unsupported`](ErrorKind::Unsupported) when the revision is not encrypted or of version 1, for no recipients, more than
    ///   16, or one twice, or when a key of the keyring does not unwrap what was wrapped for it.
    /// * Those of [`Store::get`], except those about the document, of [`commit`](Run::commit), and of
    ///   [`Backend::replace`](crate::Backend::replace).
    pub fn reseal(&self, rev: &Revision, recipients: &[Recipient], depth: Depth) -> Result<(), Error> {
        let (progress, writer) = self.core.take_committed()?;
        let replaced = self.core.replace_document(progress, writer, |owner, writer, _| {
            let store = &owner.store;
            let place = Place {
                id: store.id(),
                revision: rev,
            };
            let sealed = store.read(rev).and_then(|sealed| {
                envelope::reseal(store.keyring(), place, sealed, recipients, depth)
                    .map_err(|error| error.at_revision(rev))
            });
            let sealed = sealed.map_err(Problem::Delay)?;
            writer.replace(owner, rev, &sealed, recipients).map(|()| None)
        });
        replaced.map(drop)
    }

    /// Lets processes that are started from now on [join](Store::join) the lock of this run. Each change is a revision from then
    /// on, because several processes cannot share a journal.
    ///
    /// # Errors
    ///
    /// Those of [`commit`](Run::commit) and [`Lock::share_with_children`].
    pub fn share_with_children(&self) -> Result<(), Error> {
        let (progress, mut writer) = self.core.take_committed()?;
        writer.keeps_journal = false;
        // A child may commit before this run finishes, which then has no revision to add a message to.
        writer.own_is_automatic = false;
        self.core.give_back(progress, writer);
        match &*guard(&self.core.owner.lock) {
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

    /// Returns the entry with this address, as of the last submitted change.
    pub fn find(&self, address: &str) -> Option<Arc<Entry>> {
        self.core.progress().document.find_shared(address)
    }
}

impl<D: Snapshot> Drop for Run<D> {
    fn drop(&mut self) {
        self.core.close();
        drop(guard(&self.core.owner.lock).take());
    }
}

impl<D: Snapshot> fmt::Debug for Run<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("store", &self.core.owner.store)
            .field("holder", &self.core.owner.holder)
            .finish_non_exhaustive()
    }
}
