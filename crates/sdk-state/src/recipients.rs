//! Who can open a stack: its recipients, and how to change them.

use crate::envelope::{self, Place, journal};
use crate::writer::Base;
use crate::{Error, ErrorKind, Revision, Snapshot, Store};
use sdk_encrypt::Recipient;

/// How many revisions are looked at for the recipients of a stack whose current revision cannot be read.
const MAX_TRIES: usize = 16;

/// How much of a revision is sealed anew for other recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The header: the same data key is wrapped again. A recipient that was removed may have kept the data key, which opens
    /// the new file too.
    Header,
    /// Everything, under a fresh data key.
    Body,
}

impl<D: Snapshot> Store<D> {
    /// Returns the recipients that a revision is sealed for, authenticated with a key of the keyring. None if it is not
    /// encrypted, or of version 1. Reads only the beginning of the file.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Store::get), except those about the document.
    pub fn recipients(&self, rev: &Revision) -> Result<Vec<Recipient>, Error> {
        self.recipients_of(rev).map(Option::unwrap_or_default)
    }

    /// The recipients of a revision that follows `current`; `None` for those of the keyring.
    pub(crate) fn recipients_to_follow(
        &self,
        current: Option<&Revision>,
    ) -> Result<Option<Vec<Recipient>>, Error> {
        if self.chooses_recipients() {
            return Ok(None);
        }
        let mut unreadable = None;
        if let Some(rev) = current {
            match self.recipients_of(rev) {
                Err(error) if is_about_the_file(&error) => {}
                recipients => return recipients,
            }
        }
        for rev in self.list()?.iter().rev().take(MAX_TRIES) {
            match self.recipients_of(rev) {
                Err(error) if is_about_the_file(&error) => unreadable = Some(error),
                recipients => return recipients,
            }
        }
        // The keyring alone must not decide who is locked out.
        unreadable.map_or(Ok(None), Err)
    }

    /// The recipients of a revision that follows the base of a run. Somebody may have changed them since the run read them: a
    /// process that shares its lock, or whoever evicted it.
    pub(crate) fn recipients_after_base(&self, base: &Base) -> Result<Option<Vec<Recipient>>, Error> {
        if self.chooses_recipients() {
            return Ok(None);
        }
        let rev = &base.pointer.revision;
        let changed = match self.beginning(rev) {
            Ok(beginning) if journal::digest(&beginning) == base.digest => None,
            Ok(_) => Some(self.recipients_of(rev)),
            Err(error) => Some(Err(error)),
        };
        match changed {
            None => Ok(base.recipients.clone()),
            Some(Err(error)) if is_about_the_file(&error) => Ok(base.recipients.clone()),
            Some(recipients) => recipients,
        }
    }

    /// Whether what was written after `current` for these recipients is not sealed for those that the stack has now. An error is
    /// ignored, because the revision exists.
    pub(crate) fn has_other_recipients(&self, written_for: Option<&[Recipient]>) -> bool {
        let current = self.backend().current().ok().flatten();
        let Some(pointer) = current.filter(|_| !self.chooses_recipients()) else {
            return false;
        };
        let recipients = self.recipients_to_follow(Some(&pointer.revision));
        recipients.is_ok_and(|recipients| recipients.as_deref() != written_for)
    }

    fn recipients_of(&self, rev: &Revision) -> Result<Option<Vec<Recipient>>, Error> {
        let place = Place {
            id: self.id(),
            revision: rev,
        };
        envelope::recipients(self.keyring(), place, &self.beginning(rev)?)
            .map_err(|error| error.at_revision(rev))
    }
}

/// Whether another revision may tell the recipients.
fn is_about_the_file(error: &Error) -> bool {
    error.is_damaged() || error.is_not_found() || matches!(error.kind(), ErrorKind::Misplaced)
}
