//! Copies a stack with its whole history to another name or another place.

use crate::exit::{FAILED, Failure};
use crate::held::{self, Held};
use crate::moving;
use crate::progress;
use crate::settings;
use crate::stack::Stack;
use crate::unfinished;
use sdk_state::envelope::UnverifiedHeader;
use sdk_state::{Error, ErrorKind, Expect, Raw, Revision, Snapshot as _, StackId, State, Store};
use std::collections::BTreeSet;

/// What a copy consists of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) current: Revision,
    /// How many revisions the source has.
    pub(crate) revisions: usize,
    /// How many of them the destination did not have before.
    pub(crate) new: usize,
    /// Whether settings went along.
    pub(crate) settings: bool,
}

/// Copies `from` to `to` under both locks. A dead run's unfinished changes are committed first.
///
/// `current` comes last, so an interrupted copy is not taken for a whole stack, and goes on when it is repeated.
pub(crate) fn copy(from: &Stack<'_>, to: &Stack<'_>, operation: &str) -> Result<Copied, Failure> {
    from.demand_snapshot()?;
    // Before a lock makes a directory.
    demand_free(from, to)?;
    let held = held::take(from, operation)?;
    unfinished::commit(from, &held, operation)?;
    let current = from.current()?;
    moving::demand_unmoved(from, &current)?;
    let copied = into_locked(to, operation, |to_held| {
        copy_whole(from, &current, to, to_held, operation)
    })?;
    held.give_back_after_change(from);
    Ok(copied)
}

/// Copies the history, then the settings, then which revision is current. The caller holds both locks and has committed
/// unfinished changes.
pub(crate) fn copy_whole(
    from: &Stack<'_>,
    current: &Revision,
    to: &Stack<'_>,
    to_held: &Held,
    operation: &str,
) -> Result<Copied, Failure> {
    let found = demand_interrupted(from, current, to)?;
    let settings = settings_of_both(from, to)?;
    let (revisions, new) = copy_history(from, to, from.store().list()?)?;
    if let Some((from, to)) = &settings {
        copy_settings(from, to, operation)?;
    }
    if found.is_none() {
        let backend = to.store().backend();
        backend.set_current(Expect::Nothing, current, to_held.token())?;
    }
    Ok(Copied {
        current: current.clone(),
        revisions,
        new,
        settings: settings.is_some(),
    })
}

/// Copies those revisions of `from` that `to` does not have.
pub(crate) fn copy_missing(from: &Stack<'_>, to: &Stack<'_>) -> Result<(), Failure> {
    let there = names(to)?;
    let missing = from
        .store()
        .list()?
        .into_iter()
        .filter(|rev| !there.contains(rev));
    copy_history(from, to, missing.collect()).map(drop)
}

/// Works on a destination under its lock. If nothing comes of it, a stack that was not there before is removed again.
pub(crate) fn into_locked<T>(
    to: &Stack<'_>,
    operation: &str,
    work: impl FnOnce(&Held) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let was_empty = to.store().list()?.is_empty();
    let held = held::take(to, operation)?;
    match work(&held) {
        Ok(done) => {
            held.give_back_after_change(to);
            Ok(done)
        }
        Err(failure) => {
            let is_ours = was_empty && !held.is_joined();
            held.give_back(to);
            if is_ours && to.store().list().is_ok_and(|left| left.is_empty()) {
                // An empty directory that stays harms nobody.
                let _ = to.place().catalog.remove(to.id());
            }
            Err(failure)
        }
    }
}

/// The settings of a stack, if it has any.
pub(crate) fn settings_of<'a>(stack: &Stack<'a>) -> Result<Option<Stack<'a>>, Failure> {
    let Some(id) = settings::beside(stack.place(), stack.id())? else {
        return Ok(None);
    };
    let settings = stack.beside(&id)?;
    // An interrupted removal leaves an empty stack.
    let exist = !settings.store().list()?.is_empty();
    Ok(exist.then_some(settings))
}

/// The settings of the source, if it has any, and the place for those of the destination, which must be free too.
fn settings_of_both<'a>(from: &Stack<'a>, to: &Stack<'a>) -> Result<Option<(Stack<'a>, Stack<'a>)>, Failure> {
    match (settings_of(from)?, settings_of(to)?) {
        (None, None) => Ok(None),
        (None, Some(settings)) => Err(not_empty(&settings, &format!("{} has no settings", from.id()))),
        (Some(from), _) => {
            let to = to.beside(&settings::id_for(to.id())?)?;
            demand_free(&from, &to)?;
            Ok(Some((from, to)))
        }
    }
}

fn copy_settings(from: &Stack<'_>, to: &Stack<'_>, operation: &str) -> Result<(), Failure> {
    let held = held::take(from, operation)?;
    let current = from.current()?;
    into_locked(to, operation, |to_held| {
        let found = demand_interrupted(from, &current, to)?;
        copy_history(from, to, from.store().list()?)?;
        let backend = to.store().backend();
        backend.set_current(Expect::from(found.as_ref()), &current, to_held.token())?;
        Ok(())
    })?;
    held.give_back(from);
    Ok(())
}

/// Fails unless the destination is empty or an interrupted copy. Returns what is current there.
fn demand_interrupted(
    from: &Stack<'_>,
    current: &Revision,
    to: &Stack<'_>,
) -> Result<Option<Revision>, Failure> {
    let found = demand_free(from, to)?;
    match found.as_ref().filter(|other| *other != current) {
        Some(other) => {
            let why = format!("{other} is current there, and {current} in {}", from.id());
            Err(not_empty(to, &why))
        }
        None => Ok(found),
    }
}

/// Fails unless the destination holds nothing but revisions of the source. Returns what is current there.
fn demand_free(from: &Stack<'_>, to: &Stack<'_>) -> Result<Option<Revision>, Failure> {
    let known = names(from)?;
    if let Some(other) = names(to)?.iter().find(|rev| !known.contains(rev)) {
        return Err(not_empty(to, &format!("{} has no revision {other}", from.id())));
    }
    if to.store().unfinished()?.is_some() {
        return Err(not_empty(to, "a run has unfinished changes there"));
    }
    Ok(to.store().backend().current()?.map(|pointer| pointer.revision))
}

fn not_empty(to: &Stack<'_>, why: &str) -> Failure {
    let message = format!("{} exists, and is no unfinished copy: {why}", to.id());
    let whole = settings::owner_of(to.id()).unwrap_or_else(|| to.id().clone());
    let options = match to.store().current() {
        Ok(Some(_)) => "",
        // No trash takes what is not whole.
        _ => " --now --force",
    };
    Failure::new(FAILED, "not-empty", message).hint(format!(
        "nothing was changed: choose another name, or remove that stack with `statectl stack rm {whole}{options}`"
    ))
}

fn names(stack: &Stack<'_>) -> Result<BTreeSet<Revision>, Error> {
    Ok(stack.store().list()?.into_iter().collect())
}

/// Copies these revisions and returns how many there are, and how many were new. Compares first what is there already, so that
/// nothing is added to another stack.
fn copy_history(
    from: &Stack<'_>,
    to: &Stack<'_>,
    revisions: Vec<Revision>,
) -> Result<(usize, usize), Failure> {
    let there = names(to)?;
    let (old, new): (Vec<_>, Vec<_>) = revisions.into_iter().partition(|rev| there.contains(rev));
    let source = from.store().document::<Raw>();
    let destination = to.store().document::<Raw>();
    let mut has_failed = false;
    let copied = progress::each("revisions", [old, new].concat(), |rev| {
        if has_failed {
            return Ok((false, rev));
        }
        let copied = copy_revision(&source, &destination, &rev);
        has_failed = copied.is_err();
        match copied {
            Ok(copied) => Ok((copied, rev)),
            Err(error) => Err((error, rev)),
        }
    });
    let (mut count, mut added) = (0, 0);
    for result in copied {
        match result {
            Ok((true, rev)) => {
                count += 1;
                added += usize::from(!there.contains(&rev));
            }
            Ok((false, _)) => {}
            Err((error, rev)) => {
                let is_other = error.kind() == &ErrorKind::Unsupported && there.contains(&rev);
                return Err(match is_other {
                    true => not_empty(to, &format!("revision {rev}: {error}")),
                    false => explain(from, error, &rev),
                });
            }
        }
    }
    Ok((count, added))
}

/// Why a revision could not be copied.
fn explain(from: &Stack<'_>, error: Error, rev: &Revision) -> Failure {
    let id = from.id();
    match error.kind() {
        // Unobin's files may have any name.
        ErrorKind::Damaged | ErrorKind::Misplaced | ErrorKind::InvalidSnapshot | ErrorKind::InvalidName => {
            Failure::from(error).hint(format!(
                "if nobody needs this revision, `statectl delete {id} {rev}` removes it"
            ))
        }
        _ => from.explain(error),
    }
}

/// Copies one revision, opens the copy and compares it. False for the mark of a rename, which is not copied.
fn copy_revision(source: &Store<Raw>, destination: &Store<Raw>, rev: &Revision) -> Result<bool, Error> {
    let header = source.header(rev)?;
    if moving::is_mark(source, rev, &header) {
        return Ok(false);
    }
    let mut expected = Vec::new();
    destination.copy_from(source, rev, |document| {
        let document = adapt(document, &header, source.id(), destination.id())?;
        expected.clone_from(&document.bytes);
        Ok(document)
    })?;
    let copy = destination.header(rev)?;
    if destination.get(rev)?.bytes == expected && is_same_record(&header, &copy) {
        return Ok(true);
    }
    let message = format!("{} has another revision under this name", destination.id());
    Err(Error::new(ErrorKind::Unsupported, message).at_revision(rev))
}

/// The document with the name of the destination in it. One that names no stack, as far as is known, stays as it is.
fn adapt(mut document: Raw, header: &UnverifiedHeader, from: &StackId, to: &StackId) -> Result<Raw, Error> {
    if header.is_genesis {
        // Its type is known to its header alone.
        if let Some(payload) = &header.payload {
            document.payload.clone_from(payload);
        }
        return Ok(document);
    }
    // Old files of unobin do not record what they hold, and have another layout.
    let is_of_unobin = header.version == 1;
    if is_of_unobin && document.payload == Raw::PAYLOAD {
        document.payload = State::PAYLOAD.into();
    }
    if document.payload == State::PAYLOAD && (is_of_unobin || from != to) {
        let mut state = State::decode(&document.bytes)?;
        state.factory.name = to.factory().into();
        state.stack = to.stack().into();
        document.bytes = state.encode()?;
    }
    Ok(document)
}

/// Whether two headers tell the same of a revision.
pub(crate) fn is_same_record(one: &UnverifiedHeader, other: &UnverifiedHeader) -> bool {
    let is_of_unobin = one.version == 1;
    let has_same_recipients = one.recipients.len() == other.recipients.len()
        && one
            .recipients
            .iter()
            .all(|key| other.recipients.iter().any(|same| same.is_same_key(key)));
    one.provenance == other.provenance
        && one.message == other.message
        && one.parent == other.parent
        && one.run_id == other.run_id
        && one.is_genesis == other.is_genesis
        // Files of unobin record neither.
        && (is_of_unobin || (one.written_at == other.written_at && has_same_recipients))
}
