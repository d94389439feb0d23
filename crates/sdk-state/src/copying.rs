//! Copies revisions between stacks.

use crate::envelope::{self, Mark, Origin, Subject};
use crate::{Created, Error, ErrorKind, Revision, Snapshot, Store};
use time::OffsetDateTime;

impl<D: Snapshot> Store<D> {
    /// Copies a revision of `source` into this stack, under the same name and with the same author, time, message and parent.
    /// It does not become current.
    ///
    /// `adapt` may change the document, such as the name of the stack in it. The copy is sealed for the recipients of the
    /// revision, or for those of [`with_recipients`](Store::with_recipients), always as envelope version 2. A revision of that
    /// name that holds the same document for the same recipients is left as it is, so an interrupted copy can be repeated.
    ///
    /// # Errors
    ///
    /// * Those of [`get`](Store::get) for the revision of `source`.
    /// * [`Unsupported`](ErrorKind::Unsupported) when this stack has another document under that name, or the same one for other
    ///   recipients, or this store writes version 1.
    /// * Those of [`write`](Store::write).
    pub fn copy_from(
        &self,
        source: &Self,
        rev: &Revision,
        adapt: impl FnOnce(D) -> Result<D, Error>,
    ) -> Result<(), Error> {
        if self.writes_v1() {
            let message = "a copy is never written in envelope version 1";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let sealed = source.read(rev)?;
        let header = envelope::header(&sealed).map_err(|error| error.at_revision(rev))?;
        let stored = source.open(rev, sealed)?;
        let document = adapt(stored.document)?;
        let written_at = header
            .written_at
            .or(rev.time())
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let origin = Origin {
            message: header.message.as_deref(),
            parent: header.parent.as_ref(),
            // What it replaced is not copied.
            mark: &Mark {
                replaces: None,
                ..stored.mark
            },
            recipients: self.recipients_after(stored.recipients.as_deref()),
            ..Origin::new(&header.provenance, written_at)
        };
        let subject = Subject {
            payload: document.payload(),
            id: self.id(),
            revision: rev,
        };
        let copy = self.seal(subject, &origin, &document)?;
        match self
            .backend()
            .create(rev, &copy)
            .map_err(|error| error.at_revision(rev))?
        {
            Created::Created => Ok(()),
            Created::Exists if self.get(rev)?.encode()? == document.encode()? => {
                let wanted = envelope::header(&copy)?.recipients;
                match self.recipients(rev)? == wanted {
                    true => Ok(()),
                    false => Err(Error::new(
                        ErrorKind::Unsupported,
                        format!(
                            "{} has this document already, sealed for other recipients: change them, or delete it",
                            self.id()
                        ),
                    )
                    .at_revision(rev)),
                }
            }
            Created::Exists => Err(Error::new(
                ErrorKind::Unsupported,
                format!("{} has another document under this name", self.id()),
            )
            .at_revision(rev)),
        }
    }
}
