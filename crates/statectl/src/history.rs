//! The revisions of a stack: the way back along the parents that the headers name, and what a revision holds.

use crate::document::Document;
use crate::exit::Failure;
use crate::stack::Stack;
use crate::unfinished::UnfinishedDocument;
use sdk_state::envelope::UnverifiedHeader;
use sdk_state::{Error, ErrorKind, Raw, Revision, Snapshot as _, State, Store};
use std::collections::{HashMap, HashSet};
use std::iter::Peekable;
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
    /// Where the way goes on after a gap: every stored revision, oldest first.
    stored: Vec<Revision>,
}

impl<'a> Ancestors<'a> {
    /// Begins with `revision` itself, and ends where a parent is not known or not stored any more.
    pub(crate) fn of(store: &'a Store, revision: Revision) -> Self {
        Self::across_gaps(store, revision, Vec::new())
    }

    /// The same, but where a parent is not known or not stored any more, because it was deleted, because unobin wrote the file
    /// or because it is damaged, the way goes on with the next older one of `stored`. It may be one that was never current.
    pub(crate) fn across_gaps(store: &'a Store, revision: Revision, stored: Vec<Revision>) -> Self {
        Self {
            store,
            next: Some(revision),
            seen: HashSet::new(),
            missing: None,
            stored,
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

    /// The newest of `stored` that is older.
    fn older(&mut self, than: &Revision) -> Option<Revision> {
        let count = self.stored.partition_point(|stored| stored < than);
        self.stored.truncate(count);
        self.stored.pop()
    }
}

impl Iterator for Ancestors<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let mut revision = self.next.take()?;
        loop {
            if !self.seen.insert(revision.clone()) {
                return None;
            }
            let is_first = self.seen.len() == 1;
            let header = self.store.header(&revision);
            match &header {
                Err(error) if error.is_not_found() && !is_first => {
                    self.missing = Some(revision.clone());
                    revision = self.older(&revision)?;
                    continue;
                }
                Ok(header) if header.version > 1 => self.next = header.parent.clone(),
                _ => self.next = self.older(&revision),
            }
            return Some(Step { revision, header });
        }
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

/// A revision in the history of a stack.
pub(crate) struct Node {
    pub(crate) step: Step,
    /// What its changes are counted from.
    pub(crate) base: Base,
    /// Whether the current revision does not follow it.
    pub(crate) is_abandoned: bool,
}

/// What a revision's document is compared with.
#[derive(Clone)]
pub(crate) enum Base {
    /// It was the first one.
    Nothing,
    Revision(Revision),
    Unknown,
}

/// The revisions that the current one follows, newest first, each with the next one as its base.
pub(crate) struct Way<'a>(Peekable<Ancestors<'a>>);

impl<'a> Way<'a> {
    pub(crate) fn back_from(store: &'a Store, current: Revision) -> Result<Self, Error> {
        let stored = store.list()?;
        Ok(Self(Ancestors::across_gaps(store, current, stored).peekable()))
    }
}

impl Iterator for Way<'_> {
    type Item = Node;

    fn next(&mut self) -> Option<Node> {
        let step = self.0.next()?;
        let base = match (&step.header, self.0.peek()) {
            (Ok(header), _) if is_first(header) => Base::Nothing,
            (_, Some(next)) => Base::Revision(next.revision.clone()),
            (_, None) => Base::Unknown,
        };
        Some(Node {
            step,
            base,
            is_abandoned: false,
        })
    }
}

/// Every stored revision, newest first.
pub(crate) fn all<'a>(
    store: &'a Store,
    current: Option<&Revision>,
) -> Result<impl Iterator<Item = Node> + 'a, Error> {
    let mut on_the_way: HashMap<Revision, Node> = HashMap::new();
    if let Some(current) = current {
        let way = Way::back_from(store, current.clone())?;
        on_the_way.extend(way.map(|node| (node.step.revision.clone(), node)));
    }
    let is_current_known = current.is_some();
    let nodes = store.list()?.into_iter().rev().map(move |revision| {
        on_the_way
            .remove(&revision)
            .unwrap_or_else(|| Node::aside(store, revision, is_current_known))
    });
    Ok(nodes)
}

impl Node {
    /// A revision that the current one does not follow, if there is a current one.
    fn aside(store: &Store, revision: Revision, is_abandoned: bool) -> Self {
        let header = store.header(&revision);
        let base = match &header {
            Ok(header) if is_first(header) => Base::Nothing,
            Ok(header) => header.parent.clone().map_or(Base::Unknown, Base::Revision),
            Err(_) => Base::Unknown,
        };
        Self {
            step: Step { revision, header },
            base,
            is_abandoned,
        }
    }
}

/// Whether the history begins here. Files of unobin name no parents.
pub(crate) fn is_first(header: &UnverifiedHeader) -> bool {
    header.parent.is_none() && header.version > 1
}

/// A revision that was opened.
pub(crate) struct Opened {
    pub(crate) revision: Revision,
    pub(crate) document: Document,
    pub(crate) unfinished: Option<UnfinishedDocument>,
}

impl Stack<'_> {
    /// The entries of a state; of the current one with its unfinished changes, if no revision is named.
    pub(crate) fn opened(&self, rev: Option<&Revision>) -> Result<Opened, Failure> {
        let found = self.document(rev)?;
        Ok(Opened {
            document: self.split(&found.revision, found.document)?,
            revision: found.revision,
            unfinished: found.unfinished,
        })
    }

    /// The entries of a document that was opened.
    pub(crate) fn split(&self, rev: &Revision, document: Raw) -> Result<Document, Failure> {
        let Raw { bytes, .. } = self.state_of(rev, document)?;
        Document::split(bytes).map_err(|error| self.explain(error.at_revision(rev)))
    }

    /// A document that was opened, in the layout of this project, if it is a state.
    pub(crate) fn state_of(&self, rev: &Revision, document: Raw) -> Result<Raw, Failure> {
        if document.payload != State::PAYLOAD {
            let found = document.payload;
            return Err(Error::new(ErrorKind::OtherPayload { found }, "another type").into());
        }
        self.canonical(rev, document)
    }
}
