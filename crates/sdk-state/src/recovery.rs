//! Commits what a dead run left in its journal.

use crate::envelope::{Mark, Origin};
use crate::replay::Loaded;
use crate::{Error, ErrorKind, Expect, Lock, LockToken, Pointer, Revision, Snapshot, Store, Wait};
use std::time::Duration;

/// The pauses before a call whose outcome is unknown is repeated.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(20),
    Duration::from_millis(200),
    Duration::from_secs(1),
];

/// What [`Store::salvage`] kept of a damaged journal.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Salvaged {
    /// The revision with the changes that could be read; now current.
    pub revision: Revision,
    /// How many changes could be read.
    pub changes: u64,
    /// Why the others could not be read; `None` if all could.
    pub lost: Option<Error>,
}

/// The head of a stack whose lock is held, with nothing unfinished.
pub(crate) struct Recovered<D> {
    /// `None` for a fresh stack.
    pub(crate) head: Option<Loaded<D>>,
    /// How many changes of a dead run were committed.
    pub(crate) changes: u64,
    /// The geneses of first runs that died.
    pub(crate) leftovers: Vec<Revision>,
}

impl<D: Snapshot> Store<D> {
    /// Commits a dead run's changes up to the first that does not open, and discards the rest for good, even if another key
    /// would open it. Returns `None` if nothing is unfinished.
    ///
    /// Use it when [`begin`](Store::begin) reports damage that no copy can repair, or when the key is lost. It takes the lock for
    /// the duration of the call and does not wait for it.
    ///
    /// # Errors
    ///
    /// * [`Locked`](ErrorKind::Locked) while somebody else holds the lock.
    /// * Those of [`get`](Store::get) when the current revision itself cannot be read: make another one current.
    /// * Those of [`write`](Store::write), and a [backend error](crate::Backend#backend-errors).
    pub fn salvage(&self) -> Result<Option<Salvaged>, Error> {
        let lock = self.lock("salvage", Wait::none())?;
        let Some(pointer) = self.backend().current()? else {
            return Ok(None);
        };
        let mut loaded = self.load_base(&pointer)?;
        let lost = match self.replay(&mut loaded, &mut None) {
            Ok(()) if loaded.journal.is_none() => return Ok(None),
            Ok(()) => None,
            Err(error) if is_transient(&error) => return Err(error),
            Err(error) => Some(error),
        };
        let changes = loaded.journal.as_ref().map_or(0, |journal| journal.changes);
        let head = self.commit_recovered(loaded, lock.token()?)?;
        Ok(Some(Salvaged {
            revision: head.pointer.revision,
            changes,
            lost,
        }))
    }

    /// Reads the head as the holder of the lock, and commits what a dead run left unfinished.
    pub(crate) fn recover(&self, lock: &dyn Lock) -> Result<Recovered<D>, Error> {
        let dead = lock.took_over().and_then(|dead| dead.token.as_ref());
        let recovered = self.recover_with(lock.token()?, dead);
        recovered.map_err(|error| match lock.check() {
            // This holder was evicted: what looks like damage may be somebody else's progress.
            Err(lost) if lost.is_lock_lost() => lost,
            _ => error,
        })
    }

    fn recover_with(&self, token: &LockToken, dead: Option<&LockToken>) -> Result<Recovered<D>, Error> {
        let Some(head) = self.load()? else {
            return Ok(Recovered {
                head: None,
                changes: 0,
                leftovers: self.demand_fresh()?,
            });
        };
        self.remove_replaced(&head, token);
        let Some(journal) = &head.journal else {
            return Ok(Recovered {
                head: Some(head),
                changes: 0,
                leftovers: Vec::new(),
            });
        };
        if journal.begun.token == *token {
            return Err(not_shared());
        }
        let changes = journal.changes;
        let is_of_the_dead = dead == Some(&journal.begun.token);
        let base = head.pointer.revision.clone();
        let head = self.commit_recovered(head, token)?;
        if is_of_the_dead {
            self.remove_unmoved(&base, &head, token);
        }
        Ok(Recovered {
            head: Some(head),
            changes,
            leftovers: Vec::new(),
        })
    }

    /// Writes the replayed document as the dead run's revision, and makes it current, which ends the journal.
    fn commit_recovered(&self, mut head: Loaded<D>, token: &LockToken) -> Result<Loaded<D>, Error> {
        let journal = head.journal.take();
        let changes = journal.as_ref().map_or(0, |journal| journal.changes);
        let begun = journal.map(|journal| journal.begun);
        let base = head.pointer.revision.clone();
        let run_id = begun.as_ref().map(|begun| begun.run_id.clone());
        let mark = Mark {
            // If the dead run made its base too, it leaves one revision. A genesis never stays.
            replaces: Some(base.clone())
                .filter(|_| run_id.is_some() && head.mark.run_id == run_id || head.mark.is_genesis),
            run_id,
            parent: None,
            is_genesis: false,
        };
        let parent = match &mark.replaces {
            Some(_) => head.mark.parent.clone(),
            None => Some(base.clone()),
        };
        let provenance = begun.map(|begun| begun.holder.provenance);
        let message = format!(
            "recovered, {changes} {}",
            if changes == 1 { "change" } else { "changes" }
        );
        let written = self.write_as(
            &head.document,
            &Origin {
                message: Some(&message),
                parent: parent.as_ref(),
                after: Some(&base),
                mark: &mark,
                recipients: head.recipients.as_deref(),
                ..Origin::new(provenance.as_ref().unwrap_or(self.provenance()), self.now())
            },
        )?;
        let moved = self.move_current(Some(&head.pointer), &written.revision, token);
        let pointer = moved.inspect_err(|error| {
            // The next try writes it again. After any other error somebody else may be about to use it.
            if is_transient(error) {
                let _ = self.backend().remove(&written.revision, Some(token));
            }
        })?;
        head = Loaded {
            pointer,
            document: head.document,
            mark,
            recipients: head.recipients,
            digest: written.digest,
            sealed_bytes: written.sealed_bytes,
            journal: None,
        };
        self.remove_replaced(&head, token);
        Ok(head)
    }

    /// Removes the revision that the current one replaces, and those before it, if their run could not: it died first, or its
    /// backend refused. After a failure the next run tries again.
    fn remove_replaced(&self, head: &Loaded<D>, token: &LockToken) {
        let mut next = head.mark.replaces.clone();
        while let Some(replaced) = next.take()
            && let Ok(header) = self.header(&replaced)
            && (header.run_id == head.mark.run_id || header.is_genesis)
            && self.backend().remove(&replaced, Some(token)).is_ok()
        {
            next = header.replaces;
        }
    }

    /// Removes what a run stored and had not made current when it died, because `head` holds every acknowledged change. The
    /// orphan of an evicted run stays, because that run may have named it. A failure is ignored.
    fn remove_unmoved(&self, base: &Revision, head: &Loaded<D>, token: &LockToken) {
        let stored = self.backend().list().unwrap_or_default();
        for rev in stored
            .iter()
            .filter(|rev| *rev > base && **rev != head.pointer.revision)
        {
            if self
                .header(rev)
                .is_ok_and(|header| header.run_id.is_some() && header.run_id == head.mark.run_id)
            {
                let _ = self.backend().remove(rev, Some(token));
            }
        }
    }

    /// Makes a new revision current if `expected` still is, and finds out whether it did.
    pub(crate) fn move_current(
        &self,
        expected: Option<&Pointer>,
        rev: &Revision,
        token: &LockToken,
    ) -> Result<Pointer, Error> {
        let expect = expected.map_or(Expect::Nothing, Expect::Pointer);
        match until_known(|| self.backend().set_current(expect, rev, token)) {
            // An earlier call moved it, and its answer was lost.
            Err(error) if found(&error) == Some(rev) => match self.backend().current()? {
                Some(pointer) if pointer.revision == *rev => Ok(pointer),
                _ => Err(error),
            },
            moved => moved,
        }
    }
}

/// Repeats the identical call until its outcome is known. It never looks and goes on, because a late call could still change
/// what it saw.
pub(crate) fn until_known<T>(call: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    let mut pauses = PAUSES.into_iter();
    let mut unknown: Option<Error> = None;
    loop {
        let error = match (call(), unknown) {
            (Err(error), _) if error.is_outcome_unknown() => error,
            // This call changed nothing, but an earlier one may have, or still may.
            (Err(error), Some(unknown)) if is_transient(&error) => unknown,
            (known, _) => return known,
        };
        match pauses.next() {
            Some(pause) => Wait::at_most(pause).pause(pause),
            None => return Err(error),
        };
        unknown = Some(error);
    }
}

pub(crate) fn not_shared() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "the process that holds the lock has uncommitted changes: it must share the lock before it starts another process",
    )
}

/// Whether nothing changed, and a later try may succeed.
pub(crate) fn is_transient(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Io)
}

fn found(error: &Error) -> Option<&Revision> {
    match error.kind() {
        ErrorKind::CurrentMoved { found, .. } => found.as_ref(),
        _ => None,
    }
}
