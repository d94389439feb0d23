//! The way back from a revision along the parents that the headers name.

use sdk_state::envelope::UnverifiedHeader;
use sdk_state::{Error, Revision, Store};
use std::collections::HashSet;
use time::OffsetDateTime;

/// A revision on the way back.
pub(crate) struct Step {
    pub(crate) revision: Revision,
    /// The error of a header that cannot be read: the way ends there.
    pub(crate) header: Result<UnverifiedHeader, Error>,
}

/// Walks from a revision to its parent, and so on. Headers are not authenticated, so whoever can write to the store can lead the
/// way anywhere, but not in a circle.
pub(crate) struct Ancestors<'a> {
    store: &'a Store,
    next: Option<Revision>,
    seen: HashSet<Revision>,
    missing: Option<Revision>,
}

impl<'a> Ancestors<'a> {
    /// Begins with `revision` itself.
    pub(crate) fn of(store: &'a Store, revision: Revision) -> Self {
        Self {
            store,
            next: Some(revision),
            seen: HashSet::new(),
            missing: None,
        }
    }

    /// Why the walk ended, after its last step.
    pub(crate) fn end(&self, last: &Step) -> String {
        let why = match (&last.header, &self.missing) {
            (Err(error), _) => error.to_string(),
            (Ok(_), Some(missing)) => format!("its parent {missing} is not stored any more"),
            (Ok(_), None) => "it names no parent".into(),
        };
        format!("the history ends at {}: {why}", last.revision)
    }
}

impl Iterator for Ancestors<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let revision = self.next.take()?;
        let is_first = self.seen.is_empty();
        if !self.seen.insert(revision.clone()) {
            return None;
        }
        let header = self.store.header(&revision);
        match &header {
            Err(error) if error.is_not_found() && !is_first => {
                self.missing = Some(revision);
                return None;
            }
            Ok(header) => self.next = header.parent.clone(),
            Err(_) => {}
        }
        Some(Step { revision, header })
    }
}

impl Step {
    /// When it was written, as far as that is known.
    pub(crate) fn time(&self) -> Option<OffsetDateTime> {
        let header = self.header.as_ref().ok();
        header
            .and_then(|header| header.written_at)
            .or(self.revision.time())
    }
}
