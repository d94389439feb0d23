//! Shows the changes of a run that no revision holds yet, and commits those of a dead run.

use crate::exit::Failure;
use crate::held::{self, Held};
use crate::stack::Stack;
use crate::text::{age, now};
use sdk_state::{
    Error, ErrorKind, Holder, Liveness, LockStatus, LockToken, Raw, Revision, Run, State, Store, Unfinished,
};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Unfinished changes, for people and for programs.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct UnfinishedDocument {
    changes: u64,
    /// Whether their run still holds the lock, as far as one can tell.
    being_made: bool,
    author: Option<String>,
    host: Option<String>,
    run: Option<String>,
    tool: Option<String>,
    operation: Option<String>,
    since: Option<String>,
    #[serde(skip)]
    time: Option<OffsetDateTime>,
}

/// What was committed for a dead run.
pub(crate) struct Committed {
    pub(crate) revision: Option<Revision>,
    pub(crate) changes: u64,
}

impl UnfinishedDocument {
    /// Reads a stack's unfinished changes; needs no key.
    pub(crate) fn of(store: &Store) -> Result<Option<Self>, Error> {
        match store.unfinished()? {
            Some(unfinished) => Self::new(store, unfinished).map(Some),
            None => Ok(None),
        }
    }

    pub(crate) fn new(store: &Store, unfinished: Unfinished) -> Result<Self, Error> {
        let being_made = store
            .lock_status()?
            .is_some_and(|status| is_made_by(unfinished.token.as_ref(), &status));
        let Holder {
            provenance,
            operation,
            since,
            ..
        } = unfinished.by;
        Ok(Self {
            changes: unfinished.changes,
            being_made,
            author: provenance.author,
            host: provenance.host,
            run: provenance.run,
            tool: provenance.tool,
            operation: Some(operation).filter(|operation| !operation.is_empty()),
            since: since.and_then(|since| since.format(&Rfc3339).ok()),
            time: since,
        })
    }

    pub(crate) fn is_being_made(&self) -> bool {
        self.being_made
    }

    /// For a table.
    pub(crate) fn in_short(&self) -> String {
        let state = if self.being_made {
            "being made"
        } else {
            "unfinished"
        };
        format!("{} {state}", changes(self.changes))
    }

    /// A sentence.
    pub(crate) fn in_full(&self) -> String {
        let by = by(self.author.as_deref(), self.host.as_deref());
        let begun = self
            .time
            .map(|time| format!(", begun {}", age(time, now())))
            .unwrap_or_default();
        let changes = changes(self.changes);
        match self.being_made {
            true => format!("{changes} by {by}{begun}, not yet in a revision: the run goes on"),
            false => format!(
                "{changes} by {by}{begun}, unfinished: the next run, or `statectl recover`, commits them"
            ),
        }
    }
}

/// Whether this holder may be the run that makes the changes: it has their author and host, and was there when they began.
fn is_made_by(token: Option<&LockToken>, status: &LockStatus) -> bool {
    token.is_some()
        && status.info.token.as_ref() == token
        && !matches!(status.liveness, Liveness::Dead | Liveness::Expired)
}

/// Commits a dead run's unfinished changes under the lock, and says so.
pub(crate) fn commit(stack: &Stack<'_>, held: &Held, operation: &str) -> Result<Option<Committed>, Failure> {
    let left = stack
        .store()
        .unfinished()
        .map_err(|error| stack.explain_head(error))?;
    let Some(left) = left else {
        return Ok(None);
    };
    let run = held.begin::<State>(stack, operation).map_err(|error| {
        let left = described(&left);
        let is_of_other_tool = matches!(error.kind(), ErrorKind::OtherPayload { .. });
        match stack.explain_head(error) {
            failure if is_of_other_tool => failure.hint(format!(
                "first commit {left} with the tool that made this document"
            )),
            failure if failure.is_about_keys() => {
                failure.extend_hint(&format!("that key must also open {left}"))
            }
            failure => failure,
        }
    })?;
    let committed = Committed {
        revision: run.base(),
        changes: run.recovered(),
    };
    if let Some(rev) = committed.revision.as_ref().filter(|_| committed.changes > 0) {
        stack.context().output().revision(
            rev,
            format_args!(
                "committed {} of {} as {rev}",
                unfinished_changes(committed.changes),
                author_of(&left)
            ),
        );
    }
    Ok(Some(committed))
}

/// Takes the lock, commits a dead run's unfinished changes, and begins a run over the current document, whatever its type.
pub(crate) fn begin_settled(stack: &Stack<'_>, operation: &str) -> Result<(Held, Run<Raw>), Failure> {
    let held = held::take(stack, operation)?;
    commit(stack, &held, operation)?;
    let run = held
        .begin::<Raw>(stack, operation)
        .map_err(|error| stack.explain_head(error))?;
    Ok((held, run))
}

/// Warns that moving `current` to `rev` discards unfinished changes.
pub(crate) fn warn_of_loss(stack: &Stack<'_>, rev: &Revision) {
    let Ok(Some(pointer)) = stack.store().backend().current() else {
        return;
    };
    let output = stack.context().output();
    match stack.store().unfinished() {
        // A move to what is current keeps them.
        _ if pointer.revision == *rev => {}
        Ok(None) => {}
        Ok(Some(left)) => output.warning(format_args!("this discards {}", described(&left))),
        Err(error) => output.warning(format_args!(
            "this discards an unknown number of unfinished changes: {error}"
        )),
    }
}

/// Reports what the repair of a damaged or lost `current` has kept, or may have discarded. `damage` is why nobody could tell before.
pub(crate) fn after_repair(stack: &Stack<'_>, damage: &Error) -> Option<UnfinishedDocument> {
    let output = stack.context().output();
    match (stack.store().unfinished(), damage.revision()) {
        (Ok(None), Some(base)) => output.warning(format_args!(
            "the unfinished changes that stood on {base} are lost, because they or that revision cannot be read"
        )),
        (Ok(None), None) => output.warning(
            "`current` was damaged, so nobody can tell whether changes were unfinished: if so, they are lost",
        ),
        _ => return stack.unfinished(),
    }
    None
}

pub(crate) fn changes(count: u64) -> String {
    match count {
        1 => "1 change".into(),
        count => format!("{count} changes"),
    }
}

fn unfinished_changes(count: u64) -> String {
    match count {
        1 => "1 unfinished change".into(),
        count => format!("{count} unfinished changes"),
    }
}

fn described(unfinished: &Unfinished) -> String {
    format!(
        "{} of {}",
        unfinished_changes(unfinished.changes),
        author_of(unfinished)
    )
}

fn author_of(unfinished: &Unfinished) -> String {
    let provenance = &unfinished.by.provenance;
    by(provenance.author.as_deref(), provenance.host.as_deref())
}

fn by(author: Option<&str>, host: Option<&str>) -> String {
    match (author, host) {
        (Some(author), Some(host)) => format!("{author} on {host}"),
        (Some(name), None) | (None, Some(name)) => name.into(),
        (None, None) => "somebody".into(),
    }
}
