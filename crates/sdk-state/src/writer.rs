//! Appends to the journal and writes revisions for a run, in one thread at a time.

use crate::envelope::journal::{self, Begun, Digest};
use crate::envelope::{Mark, Origin};
use crate::group_commit::guard;
use crate::recovery::{is_transient, not_shared, until_known};
use crate::{Appended, Error, ErrorKind, Holder, Lock, LockToken, Pointer, Revision, Snapshot, Store};
use sdk_encrypt::Recipient;
use std::sync::Mutex;

/// A journal of at least this many bytes is folded into a revision once it is larger than its base.
const FOLD_BYTES: u64 = 1 << 20;

/// The store and the lock of a run.
pub(crate) struct Owner<D> {
    pub(crate) store: Store<D>,
    pub(crate) holder: Holder,
    pub(crate) token: LockToken,
    /// Taken when the run ends.
    pub(crate) lock: Mutex<Option<Box<dyn Lock>>>,
}

/// Encoded changes.
#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) bytes: Vec<u8>,
    pub(crate) count: u32,
}

/// What the writing thread knows about the stack.
pub(crate) struct Writer {
    /// Names the revisions of which the run leaves only the last.
    run_id: String,
    pub(crate) base: Option<Base>,
    /// The run's own revision, which is current.
    pub(crate) own: Option<Revision>,
    /// Whether the run made it without a message of the caller, who may still give one.
    pub(crate) own_is_automatic: bool,
    /// How many changes the current revision holds.
    pub(crate) committed: u64,
    journal: Option<Journal>,
    /// The journal is not folded before it has so many bytes.
    fold_later: u64,
    /// A sealed record that may not be in the journal. It is appended again, unchanged.
    pending: Option<Vec<u8>>,
    /// Changes that are in no record.
    pub(crate) backlog: Queue,
    /// False where no journal is kept: then each batch is a revision.
    pub(crate) keeps_journal: bool,
    /// A revision that was stored but may not have become current.
    pub(crate) orphan: Option<Revision>,
    /// Revisions to be removed: those that the current one replaces, those that did not become current, and geneses of first
    /// runs that died.
    leftovers: Vec<Revision>,
}

pub(crate) struct Base {
    pub(crate) pointer: Pointer,
    /// Of its document, which need not be the first one that its Rust type names.
    pub(crate) payload: String,
    /// Which the next revision gets too; `None` if it is of version 1, which has none.
    pub(crate) recipients: Option<Vec<Recipient>>,
    /// The revision that it was made from.
    pub(crate) parent: Option<Revision>,
    /// The next revision replaces it, whoever made it.
    pub(crate) is_genesis: bool,
    pub(crate) digest: Digest,
    pub(crate) sealed_bytes: u64,
}

struct Journal {
    sealer: journal::Writer,
    /// The number of the next record.
    next: u64,
    pub(crate) bytes: u64,
}

/// Why something was not written.
pub(crate) enum Problem {
    /// Nothing was changed, and a later try may succeed.
    Delay(Error),
    /// The run cannot go on.
    End(Error),
    /// The backend keeps no journal.
    NoJournal,
}

impl<D: Snapshot> Owner<D> {
    /// The token, unless this is a forked child.
    pub(crate) fn token(&self) -> Result<&LockToken, Error> {
        if let Some(lock) = &*guard(&self.lock) {
            lock.token()?;
        }
        Ok(&self.token)
    }
}

impl Writer {
    pub(crate) fn new(
        run_id: String,
        base: Option<Base>,
        keeps_journal: bool,
        leftovers: Vec<Revision>,
    ) -> Self {
        Self {
            run_id,
            base,
            own: None,
            own_is_automatic: false,
            committed: 0,
            journal: None,
            fold_later: 0,
            pending: None,
            backlog: Queue::default(),
            keeps_journal,
            orphan: None,
            leftovers,
        }
    }

    /// What is current.
    pub(crate) fn current(&self) -> Option<Revision> {
        self.base.as_ref().map(|base| base.pointer.revision.clone())
    }

    /// Whether to write the backlog as a revision, not to the journal.
    pub(crate) fn must_fold(&self) -> bool {
        let journal = self.journal.as_ref().map_or(0, |journal| journal.bytes);
        let base = self.base.as_ref().map_or(0, |base| base.sealed_bytes);
        !self.keeps_journal
            || journal + self.backlog.bytes.len() as u64 > base.max(FOLD_BYTES).max(self.fold_later)
                && journal > 0
            || self.backlog.bytes.len() > journal::MAX_BATCH_BYTES
    }

    /// Puts off a fold that failed, as when the key service does not answer, until the journal is twice as long. Returns whether
    /// the backlog may go to the journal meanwhile.
    pub(crate) fn postpone_fold(&mut self, limit: u64) -> bool {
        let journal = self.journal.as_ref().map_or(0, |journal| journal.bytes);
        self.fold_later = 2 * journal;
        let is_readable = journal + self.backlog.bytes.len() as u64 <= limit;
        self.keeps_journal
            && is_readable
            && journal > 0
            && self.backlog.bytes.len() <= journal::MAX_BATCH_BYTES
    }

    /// Appends what is pending, then the backlog, to the journal.
    pub(crate) fn append<D: Snapshot>(&mut self, owner: &Owner<D>) -> Result<(), Problem> {
        self.demand_base(owner)?;
        let Some(base) = &self.base else {
            return Err(Problem::NoJournal);
        };
        loop {
            let record = match self.pending.take() {
                Some(record) => record,
                None if self.backlog.count == 0 => return Ok(()),
                None => {
                    let record = Self::seal(owner, &self.run_id, base, &mut self.journal, &self.backlog)
                        .map_err(Problem::Delay)?;
                    self.backlog.clear();
                    record
                }
            };
            let Some(journal) = &mut self.journal else {
                return Err(Problem::NoJournal);
            };
            let index = journal.next;
            let appended = owner.token().and_then(|token| {
                until_known(|| owner.store.backend().append(&base.pointer, index, &record, token))
            });
            match appended {
                Ok(Appended::Appended) => {
                    journal.next += 1;
                    journal.bytes += record.len() as u64;
                }
                Ok(Appended::Taken) => {
                    let message =
                        "the journal holds records of another process, although this run holds the lock";
                    return Err(Problem::End(Error::new(ErrorKind::Damaged, message)));
                }
                Err(error) => {
                    self.pending = Some(record);
                    return Err(match error.kind() {
                        ErrorKind::Unsupported => Problem::NoJournal,
                        _ => Problem::of(error),
                    });
                }
            }
        }
    }

    fn seal<D: Snapshot>(
        owner: &Owner<D>,
        run_id: &str,
        base: &Base,
        journal: &mut Option<Journal>,
        backlog: &Queue,
    ) -> Result<Vec<u8>, Error> {
        let journal = match journal {
            Some(journal) => journal,
            None => {
                let place = journal::Place {
                    payload: &base.payload,
                    id: owner.store.id(),
                    base: &base.pointer.revision,
                    digest: &base.digest,
                };
                let begun = Begun {
                    run_id: run_id.to_owned(),
                    token: owner.token.clone(),
                    holder: owner.holder.clone(),
                };
                let recipients = owner.store.recipients_after(base.recipients.as_deref());
                let keyring = owner.store.keyring();
                let sealer = journal::Writer::new(keyring, recipients, place, &begun, owner.store.now())?;
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
    pub(crate) fn fold<D: Snapshot>(
        &mut self,
        owner: &Owner<D>,
        document: &D,
        number: u64,
        message: Option<&str>,
    ) -> Result<(), Problem> {
        if self.base.is_none() {
            // Before anything is made for the stack.
            owner.store.check(document).map_err(Problem::Delay)?;
        }
        self.demand_base(owner)?;
        self.demand_no_other_journal(owner)?;
        let genesis = self.base.as_ref().filter(|base| base.is_genesis);
        let genesis = genesis.map(|base| base.pointer.revision.clone());
        let mark = Mark {
            run_id: Some(self.run_id.clone()),
            replaces: self.own.clone().or(genesis),
            parent: None,
            is_genesis: false,
        };
        self.write_current(owner, document, message, &mark)?;
        self.own_is_automatic = message.is_none();
        self.committed = number;
        self.journal = None;
        self.fold_later = 0;
        self.pending = None;
        self.backlog.clear();
        // If this run dies before the removal, the next one removes it.
        self.leftovers.extend(mark.replaces);
        self.remove_leftovers(owner);
        Ok(())
    }

    /// On a fresh stack, makes a genesis current, so that a first run that dies loses no pointer.
    fn demand_base<D: Snapshot>(&mut self, owner: &Owner<D>) -> Result<(), Problem> {
        if self.base.is_some() || owner.store.writes_v1() {
            return Ok(());
        }
        // Those of first runs that died: many of them would no longer be taken for a fresh stack.
        self.remove_leftovers(owner);
        let mark = Mark {
            run_id: Some(self.run_id.clone()),
            replaces: None,
            parent: None,
            is_genesis: true,
        };
        self.write_current(owner, &D::fresh(owner.store.id()), None, &mark)?;
        self.remove_leftovers(owner);
        Ok(())
    }

    /// Removes the leftovers. After a transient error a revision stays for another try.
    pub(crate) fn remove_leftovers<D: Snapshot>(&mut self, owner: &Owner<D>) {
        let remove = |rev: &Revision| owner.store.backend().remove(rev, Some(&owner.token));
        self.leftovers
            .retain(|rev| remove(rev).is_err_and(|error| is_transient(&error)));
    }

    /// Refuses to end another run's journal. A run without a journal moves `current` away from the base, on which a parent that
    /// does not share its lock may keep one. The parent may still begin one after this check.
    fn demand_no_other_journal<D: Snapshot>(&self, owner: &Owner<D>) -> Result<(), Problem> {
        let Some(base) = self.base.as_ref().filter(|_| !self.keeps_journal) else {
            return Ok(());
        };
        let first = owner.store.backend().read_journal(&base.pointer, 0, 0);
        match first.map_err(Problem::of)?.is_empty() || self.journal.is_some() {
            true => Ok(()),
            false => Err(Problem::End(not_shared())),
        }
    }

    fn write_current<D: Snapshot>(
        &mut self,
        owner: &Owner<D>,
        document: &D,
        message: Option<&str>,
        mark: &Mark,
    ) -> Result<(), Problem> {
        let base = self.base.as_ref().map(|base| base.pointer.clone());
        let after = base.as_ref().map(|pointer| &pointer.revision);
        // A parent that is about to be removed would cut the history.
        let parent = match &mark.replaces {
            Some(replaced) if after == Some(replaced) => {
                self.base.as_ref().and_then(|base| base.parent.clone())
            }
            _ => after.cloned(),
        };
        let recipients = self
            .base
            .as_ref()
            .map(|base| owner.store.recipients_after_base(base));
        let recipients = recipients.transpose().map_err(Problem::Delay)?.flatten();
        let origin = Origin {
            message,
            parent: parent.as_ref(),
            after,
            recipients: recipients.as_deref(),
            mark,
            ..Origin::new(owner.store.provenance(), owner.store.now())
        };
        // No acknowledged change depends on this revision before it is current.
        let written = owner.store.write_as(document, &origin).map_err(|error| {
            self.leftovers.extend(error.revision().cloned());
            self.remove_leftovers(owner);
            Problem::Delay(error)
        })?;
        let token = owner.token().map_err(Problem::End)?;
        let pointer = owner
            .store
            .move_current(base.as_ref(), &written.revision, token)
            .map_err(|error| {
                let has_lost = error.is_current_moved();
                let problem = Problem::of(error.at_revision(&written.revision));
                match problem {
                    // Another child of the same lock may have been the first: this genesis is of no use.
                    _ if mark.is_genesis && has_lost => {
                        self.leftovers.push(written.revision.clone());
                        self.remove_leftovers(owner);
                    }
                    Problem::Delay(_) => {
                        self.leftovers.push(written.revision.clone());
                        self.remove_leftovers(owner);
                    }
                    _ if !mark.is_genesis => self.orphan = Some(written.revision.clone()),
                    _ => {}
                }
                problem
            })?;
        self.own = Some(written.revision).filter(|_| !mark.is_genesis);
        self.base = Some(Base {
            pointer,
            payload: document.payload().to_owned(),
            recipients: written.recipients,
            parent,
            is_genesis: mark.is_genesis,
            digest: written.digest,
            sealed_bytes: written.sealed_bytes,
        });
        Ok(())
    }

    /// Makes another revision current; returns its document unless it is current already.
    pub(crate) fn go_to<D: Snapshot>(
        &mut self,
        owner: &Owner<D>,
        rev: &Revision,
    ) -> Result<Option<D>, Problem> {
        let base = self.base.as_ref().map(|base| &base.pointer);
        if base.is_some_and(|pointer| pointer.revision == *rev) {
            return Ok(None);
        }
        self.demand_no_other_journal(owner)?;
        let sealed = owner.store.read(rev).map_err(Problem::Delay)?;
        let (digest, sealed_bytes) = (journal::digest(&sealed), sealed.len() as u64);
        let stored = owner.store.open(rev, sealed).map_err(Problem::Delay)?;
        // A fresh id, because the run's next revision must not replace what it has committed so far.
        let run_id = journal::fresh_id().map_err(Problem::Delay)?;
        let token = owner.token().map_err(Problem::End)?;
        let pointer = owner.store.move_current(base, rev, token).map_err(Problem::of)?;
        self.base = Some(Base {
            pointer,
            payload: stored.document.payload().to_owned(),
            recipients: stored.recipients,
            parent: stored.mark.parent,
            is_genesis: stored.mark.is_genesis,
            digest,
            sealed_bytes,
        });
        self.own = None;
        self.run_id = run_id;
        self.leftovers.retain(|leftover| leftover != rev);
        Ok(Some(stored.document))
    }

    /// Replaces the sealed bytes of a revision by those that are sealed for `recipients`.
    pub(crate) fn replace<D: Snapshot>(
        &mut self,
        owner: &Owner<D>,
        rev: &Revision,
        sealed: &[u8],
        recipients: &[Recipient],
    ) -> Result<(), Problem> {
        let token = owner.token().map_err(Problem::End)?;
        let replaced = until_known(|| owner.store.backend().replace(rev, sealed, token));
        let base = self.base.as_mut().filter(|base| base.pointer.revision == *rev);
        match (replaced, base) {
            (Ok(()), Some(base)) => {
                base.digest = journal::digest(sealed);
                base.sealed_bytes = sealed.len() as u64;
                base.recipients = Some(recipients.to_vec());
                Ok(())
            }
            (Ok(()), None) => Ok(()),
            // A journal records the digest of its base, which is unknown now.
            (Err(error), Some(_)) if error.is_outcome_unknown() => Err(Problem::End(error)),
            (Err(error), _) if error.is_lock_lost() => Err(Problem::End(error)),
            (Err(error), _) => Err(Problem::Delay(error)),
        }
    }
}

impl Queue {
    pub(crate) fn push(&mut self, bytes: &[u8], count: u32) {
        self.bytes.extend_from_slice(bytes);
        self.count += count;
    }

    pub(crate) fn append(&mut self, other: &mut Self) {
        if self.count == 0 {
            std::mem::swap(self, other);
        } else {
            self.push(&other.bytes, other.count);
        }
        other.clear();
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }
}

impl Problem {
    pub(crate) fn of(error: Error) -> Self {
        match is_transient(&error) {
            true => Self::Delay(error),
            false => Self::End(error),
        }
    }
}
