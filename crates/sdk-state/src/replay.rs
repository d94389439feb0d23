//! Reads the head of a stack: the current revision, and the journal that continues it.

use crate::envelope::journal::{self, Batch, Begun, Digest, Reader};
use crate::envelope::{self, Mark};
use crate::{Backend, Change as _, Error, ErrorKind, MAX_RECORD_BYTES, Pointer, Snapshot, Store, Unfinished};
use sdk_encrypt::Recipient;

/// How much of a journal is read at once.
const PAGE_BYTES: usize = 4 << 20;

/// The head of a stack at one moment.
pub(crate) struct Loaded<D> {
    pub(crate) pointer: Pointer,
    /// The current revision's document, with the journal's changes as far as they could be opened.
    pub(crate) document: D,
    /// What the current revision's run noted in it.
    pub(crate) mark: Mark,
    /// Those of the current revision.
    pub(crate) recipients: Option<Vec<Recipient>>,
    pub(crate) digest: Digest,
    pub(crate) sealed_bytes: u64,
    pub(crate) journal: Option<Replayed>,
}

/// What one pass has read, to tell whether it belongs together.
#[derive(Default)]
struct Seen {
    digest: Option<Digest>,
    /// Record 0.
    first: Option<Vec<u8>>,
}

/// The live journal.
pub(crate) struct Replayed {
    pub(crate) begun: Begun,
    pub(crate) changes: u64,
}

impl Replayed {
    pub(crate) fn unfinished(self) -> Unfinished {
        Unfinished {
            changes: self.changes,
            by: self.begun.holder,
            token: Some(self.begun.token),
        }
    }
}

impl<D: Snapshot> Store<D> {
    /// Reads the head; `None` for a fresh stack.
    ///
    /// Reads the pointer, the snapshot and the pages of the journal one after the other. If the pointer and record 0 are the same
    /// afterwards, all belong together; otherwise somebody moved `current`, and it starts over.
    pub(crate) fn load(&self) -> Result<Option<Loaded<D>>, Error> {
        loop {
            let Some(pointer) = self.backend().current()? else {
                return self.demand_fresh().map(|_| None);
            };
            let mut seen = Seen::default();
            let loaded = self.load_at(&pointer, &mut seen);
            if self.backend().current()?.as_ref() != Some(&pointer) {
                continue;
            }
            if let Some(first) = &seen.first
                && self.backend().read_journal(&pointer, 0, 0)?.first() != Some(first)
            {
                continue;
            }
            // Somebody may have replaced the base's bytes, and begun a journal for the new ones.
            if loaded.is_err()
                && let (Some(_), Some(digest)) = (&seen.first, &seen.digest)
                && self
                    .read(&pointer.revision)
                    .is_ok_and(|sealed| journal::digest(&sealed) != *digest)
            {
                continue;
            }
            return match loaded {
                Err(error) if error.is_not_found() => Err(dangling(&pointer)),
                loaded => loaded.map(Some),
            };
        }
    }

    fn load_at(&self, pointer: &Pointer, seen: &mut Seen) -> Result<Loaded<D>, Error> {
        let mut loaded = self.load_base(pointer)?;
        seen.digest = Some(loaded.digest);
        self.replay(&mut loaded, &mut seen.first)?;
        Ok(loaded)
    }

    /// Reads the current revision without its journal.
    pub(crate) fn load_base(&self, pointer: &Pointer) -> Result<Loaded<D>, Error> {
        let sealed = self.read(&pointer.revision)?;
        let (digest, sealed_bytes) = (journal::digest(&sealed), sealed.len() as u64);
        let stored = self.open(&pointer.revision, sealed)?;
        Ok(Loaded {
            pointer: pointer.clone(),
            document: stored.document,
            mark: stored.mark,
            recipients: stored.recipients,
            digest,
            sealed_bytes,
            journal: None,
        })
    }

    /// Makes the changes of the journal. After an error, the changes before it have been made.
    pub(crate) fn replay(&self, loaded: &mut Loaded<D>, first: &mut Option<Vec<u8>>) -> Result<(), Error> {
        let mut reader: Option<Reader> = None;
        let base = loaded.pointer.clone();
        for_each_record(self.backend(), &base, self.journal_limit(), |_, record| {
            let batch = match &mut reader {
                Some(reader) => reader.next(record),
                None => {
                    *first = Some(record.clone());
                    self.begin_replay(loaded, &mut reader, record)
                }
            };
            batch.and_then(|batch| make(&batch, loaded)).map_err(|error| {
                error
                    .with_outcome("the changes that a run has not committed")
                    .at_revision(&base.revision)
            })
        })
    }

    /// The most bytes of a journal. A run folds one that is larger than its base, which may be as large as the limit.
    pub(crate) fn journal_limit(&self) -> u64 {
        self.limit()
            .saturating_add(envelope::OVERHEAD + MAX_RECORD_BYTES as u64)
    }

    fn begin_replay(
        &self,
        loaded: &mut Loaded<D>,
        reader: &mut Option<Reader>,
        record: Vec<u8>,
    ) -> Result<Batch, Error> {
        let base = &loaded.pointer.revision;
        let (opened, batch) = Reader::open(self.keyring(), self.id(), base, &loaded.digest, record)?;
        if opened.payload() != loaded.document.payload() {
            return Err(Error::other_payload(loaded.document.payload(), opened.payload()));
        }
        loaded.journal = Some(Replayed {
            begun: opened.begun().clone(),
            changes: 0,
        });
        *reader = Some(opened);
        Ok(batch)
    }
}

fn make<D: Snapshot>(batch: &Batch, loaded: &mut Loaded<D>) -> Result<(), Error> {
    let (document, journal) = (&mut loaded.document, &mut loaded.journal);
    batch.for_each(|change| {
        D::Change::decode(change)?.apply(document);
        if let Some(journal) = journal {
            journal.changes += 1;
        }
        Ok(())
    })
}

/// Returns what a journal of at most `limit` bytes says about itself, without a key.
pub(crate) fn unverified(
    backend: &dyn Backend,
    base: &Pointer,
    limit: u64,
) -> Result<Option<Unfinished>, Error> {
    let mut found: Option<Unfinished> = None;
    for_each_record(backend, base, limit, |number, record| {
        let (begun, count) = journal::unverified(number, &record)?;
        let unfinished = found.get_or_insert_with(|| {
            let (by, token) = begun.map(|begun| (begun.holder, begun.token)).unzip();
            Unfinished {
                changes: 0,
                by: by.unwrap_or_default(),
                token,
            }
        });
        unfinished.changes += u64::from(count);
        Ok(())
    })?;
    Ok(found)
}

/// Hands each record of a journal of at most `limit` bytes to `visit`, with its number.
fn for_each_record(
    backend: &dyn Backend,
    base: &Pointer,
    limit: u64,
    mut visit: impl FnMut(u64, Vec<u8>) -> Result<(), Error>,
) -> Result<(), Error> {
    let (mut number, mut bytes) = (0, 0);
    loop {
        let page = backend.read_journal(base, number, PAGE_BYTES)?;
        if page.is_empty() {
            return Ok(());
        }
        for record in page {
            bytes += record.len() as u64;
            if bytes > limit {
                return Err(envelope::too_large(bytes, limit));
            }
            visit(number, record)?;
            number += 1;
        }
    }
}

pub(crate) fn dangling(pointer: &Pointer) -> Error {
    Error::new(
        ErrorKind::Damaged,
        "`current` names this revision, which does not exist: make an existing one current",
    )
    .at_revision(&pointer.revision)
}
