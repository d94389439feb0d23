//! Gives a stack another name, with its whole history.
//!
//! The stack is copied, the copy made current, and the old name marked as moved before it is removed. The mark is a current
//! revision that no tool can open as its document, so nothing can be added to the old name once its lock is free. At each
//! moment one of both is whole and current.

use crate::copying::{self, Copied};
use crate::exit::{FAILED, Failure, USAGE};
use crate::held::{self, Held};
use crate::settings;
use crate::stack::Stack;
use crate::unfinished;
use sdk_state::envelope::UnverifiedHeader;
use sdk_state::{Error, ErrorKind, Expect, NoChange, Raw, Revision, Snapshot, StackId, Store};
use serde::{Deserialize, Serialize};

/// The payload type of a mark.
pub(crate) const PAYLOAD: &str = Moved::PAYLOAD;

/// Takes the place of the current document of a stack that moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Moved {
    /// Where to; `None` if the stack is being removed for good.
    pub(crate) to: Option<String>,
}

/// How far a move was when it was interrupted.
enum Stage {
    /// The source is whole.
    Whole,
    /// The source is marked: the destination is whole, and may have gone on.
    Marked,
    /// The source has been removed in part.
    Removing,
}

impl Snapshot for Moved {
    const PAYLOAD: &'static str = "statectl-moved.v1";
    type Change = NoChange;

    fn fresh(_: &StackId) -> Self {
        Self { to: None }
    }

    fn encode(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(self).map_err(invalid)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(bytes).map_err(invalid)
    }
}

fn invalid(error: serde_json::Error) -> Error {
    Error::new(
        ErrorKind::InvalidSnapshot,
        "this is no valid mark of a stack that moved",
    )
    .with_source(error)
}

/// Moves `from` to `to`, in the same place, or goes on where an interrupted move stopped. `check` decides under the lock whether
/// the stack may move at all.
pub(crate) fn rename(
    from: &Stack<'_>,
    to: &Stack<'_>,
    operation: &str,
    check: impl FnOnce(&Stack<'_>) -> Result<(), Failure>,
) -> Result<Copied, Failure> {
    from.demand_known()?;
    let held = take_alone(from, operation)?;
    let copied = copying::into_locked(to, operation, |to_held| {
        let copied = match stage(from, to)? {
            Stage::Whole => {
                unfinished::commit(from, &held, operation)?;
                let current = from.current()?;
                check(from)?;
                let copied = copying::copy_whole(from, &current, to, to_held, operation)?;
                mark(from, &held, &current, Some(to.id()))?;
                copied
            }
            Stage::Marked | Stage::Removing => Copied {
                current: to.current()?,
                revisions: to.store().list()?.len(),
                new: 0,
                settings: copying::settings_of(to)?.is_some(),
            },
        };
        // A holder that was evicted may still have saved its document.
        copying::copy_missing(from, to)?;
        Ok(copied)
    })?;
    held.give_back(from);
    remove(from).map_err(|failure| {
        failure.hint(format!(
            "{} is whole: run the command again to remove what is left of {}",
            to.id(),
            from.id()
        ))
    })?;
    Ok(copied)
}

/// Takes the lock of a stack that will be removed, which a process above cannot keep.
pub(crate) fn take_alone(stack: &Stack<'_>, operation: &str) -> Result<Held, Failure> {
    let held = held::take(stack, operation)?;
    match held.is_joined() {
        true => Err(Failure::new(
            USAGE,
            "usage",
            format!("{} cannot be removed under its own `statectl lock`", stack.id()),
        )
        .hint("run the command without `statectl lock`: it takes the lock itself")),
        false => Ok(held),
    }
}

/// Removes a stack and its settings, although somebody may be about to change it: nothing is removed while it is locked.
pub(crate) fn remove_unmarked(stack: &Stack<'_>) -> Result<(), Failure> {
    let catalog = &stack.place().catalog;
    catalog.remove(stack.id())?;
    if let Some(settings) = settings::beside(stack.place(), stack.id())? {
        catalog.remove(&settings)?;
    }
    Ok(())
}

/// Removes a stack that is marked, and its settings.
pub(crate) fn remove(stack: &Stack<'_>) -> Result<(), Failure> {
    let catalog = &stack.place().catalog;
    // The stack itself comes last, so that the command finds it when it is repeated.
    if let Some(settings) = settings::beside(stack.place(), stack.id())? {
        catalog.remove(&settings)?;
    }
    Ok(catalog.remove(stack.id())?)
}

/// Makes a mark the current revision, which is `current` now. From then on nothing can be added to the stack.
pub(crate) fn mark(
    stack: &Stack<'_>,
    held: &Held,
    current: &Revision,
    to: Option<&StackId>,
) -> Result<(), Failure> {
    let moved = Moved {
        to: to.map(StackId::to_string),
    };
    let message = match to {
        Some(to) => format!("moved to {to}"),
        None => "removed".into(),
    };
    let store = stack.store().document::<Moved>();
    let mark = store
        .write(&moved, message)
        .map_err(|error| stack.explain(error))?;
    let backend = store.backend();
    backend.set_current(Expect::Revision(current), &mark, held.token())?;
    Ok(())
}

/// The mark that this revision is, if it is one.
pub(crate) fn mark_at(stack: &Stack<'_>, rev: &Revision) -> Result<Option<Moved>, Failure> {
    match stack.store().header(rev) {
        Ok(header) if header.payload.as_deref() == Some(PAYLOAD) => {}
        // Whoever opens it will say what is wrong with it.
        _ => return Ok(None),
    }
    let moved = stack.store().document::<Moved>().get(rev);
    Ok(Some(moved.map_err(|error| stack.explain(error))?))
}

/// Whether a revision is a mark, once it has been opened.
pub(crate) fn is_mark(store: &Store<Raw>, rev: &Revision, header: &UnverifiedHeader) -> bool {
    header.payload.as_deref() == Some(PAYLOAD) && store.document::<Moved>().get(rev).is_ok()
}

/// Fails if the current revision is the mark of a move.
pub(crate) fn demand_unmoved(stack: &Stack<'_>, current: &Revision) -> Result<(), Failure> {
    match mark_at(stack, current)? {
        Some(moved) => Err(moved_elsewhere(stack, current, &moved)),
        None => Ok(()),
    }
}

/// Whether a removal for good marked the stack before it was interrupted. Fails if the stack moved to another name.
pub(crate) fn is_being_removed(stack: &Stack<'_>, current: &Revision) -> Result<bool, Failure> {
    match mark_at(stack, current)? {
        None => Ok(false),
        Some(Moved { to: None }) => Ok(true),
        Some(moved) => Err(moved_elsewhere(stack, current, &moved)),
    }
}

fn moved_elsewhere(stack: &Stack<'_>, current: &Revision, moved: &Moved) -> Failure {
    let id = stack.id();
    let failure = |what: String| Failure::new(FAILED, "moved", what);
    let back = match stack
        .store()
        .header(current)
        .ok()
        .and_then(|header| header.parent)
    {
        Some(parent) => format!("; `statectl set-current {id} {parent}` undoes the first step"),
        None => String::new(),
    };
    match &moved.to {
        Some(to) => failure(format!("{id} is being renamed to {to}, which is whole"))
            .hint(format!("`statectl stack rename {id} {to}` completes it{back}")),
        None => failure(format!("{id} is being removed"))
            .hint(format!("`statectl stack rm {id} --now` completes it{back}")),
    }
}

fn stage(from: &Stack<'_>, to: &Stack<'_>) -> Result<Stage, Failure> {
    let lost = match from.store().current() {
        Ok(Some(rev)) => {
            return match mark_at(from, &rev)? {
                None => Ok(Stage::Whole),
                Some(moved) if moved.to.as_deref() == Some(to.id().to_string().as_str()) => {
                    match to.store().current() {
                        Ok(Some(_)) => Ok(Stage::Marked),
                        _ => Err(moved_elsewhere(from, &rev, &moved).hint(format!(
                            "{} has no current revision: make one of its revisions current",
                            to.id()
                        ))),
                    }
                }
                Some(moved) => Err(moved_elsewhere(from, &rev, &moved)),
            };
        }
        Ok(None) => from.no_current(),
        Err(error) if matches!(error.kind(), ErrorKind::PointerLost { .. }) => from.explain(error),
        Err(error) => return Err(from.explain(error)),
    };
    match is_left_of(from, to)? {
        true => Ok(Stage::Removing),
        false => Err(lost),
    }
}

/// Whether `from`, which has no current revision, is what an interrupted removal has left of the stack that moved to `to`.
pub(crate) fn is_left_of(from: &Stack<'_>, to: &Stack<'_>) -> Result<bool, Failure> {
    if !matches!(to.store().current(), Ok(Some(_))) {
        return Ok(false);
    }
    let source = from.store().document::<Raw>();
    for rev in source.list()? {
        let header = source.header(&rev)?;
        let is_there = || {
            to.store()
                .header(&rev)
                .is_ok_and(|copy| copying::is_same_record(&header, &copy))
        };
        if !is_mark(&source, &rev, &header) && !is_there() {
            return Ok(false);
        }
    }
    Ok(true)
}
