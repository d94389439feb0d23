//! The trash of stacks: a removed stack keeps its history for a week, under a name that says since when it is there.

use crate::exit::Failure;
use crate::moving;
use crate::place::Place;
use crate::settings;
use crate::stack::Stack;
use sdk_state::{Error, StackId};
use time::format_description::{self, BorrowedFormatItem};
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

/// How long a stack stays in the trash.
pub(crate) const DAYS: i64 = 7;
/// Between the name of a stack and the time of its removal.
const TRASH: &str = ".trash-";
const TIME: &str = "[year][month][day]T[hour][minute][second]Z";
/// A removal that was interrupted longer ago than this begins anew, so that the stack gets its full time in the trash.
const RESUMED: Duration = Duration::days(1);

/// What the name of a stack in the trash says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Trashed {
    /// The name that the stack had.
    pub(crate) name: StackId,
    pub(crate) since: OffsetDateTime,
}

impl Trashed {
    /// Reads the name of a stack; `None` if it is not in the trash.
    pub(crate) fn parse(id: &StackId) -> Option<Self> {
        let (name, since) = id.stack().rsplit_once(TRASH)?;
        let since = PrimitiveDateTime::parse(since, &format()?).ok()?;
        Some(Self {
            name: StackId::new(id.factory(), name).ok()?,
            since: since.assume_utc(),
        })
    }

    /// The name that this stack gets in the trash.
    pub(crate) fn id(&self) -> Result<StackId, Error> {
        let since = format().and_then(|format| self.since.format(&format).ok());
        let stack = format!("{}{TRASH}{}", self.name.stack(), since.unwrap_or_default());
        StackId::new(self.name.factory(), &stack)
    }

    fn is_expired(&self, now: OffsetDateTime) -> bool {
        now - self.since > Duration::days(DAYS)
    }
}

fn format() -> Option<Vec<BorrowedFormatItem<'static>>> {
    format_description::parse_borrowed::<2>(TIME).ok()
}

/// Every stack of a place, and since when it is in the trash.
pub(crate) fn stacks(place: &Place) -> Result<Vec<(StackId, Option<Trashed>)>, Error> {
    let ids = settings::stacks_without_settings(place)?.into_iter();
    Ok(ids
        .map(|id| {
            let trashed = Trashed::parse(&id);
            (id, trashed)
        })
        .collect())
}

/// What is in the trash of this name, oldest first.
pub(crate) fn of_name(place: &Place, name: &StackId) -> Result<Vec<StackId>, Error> {
    let stacks = stacks(place)?.into_iter();
    let is_of_name = |trashed: &Option<Trashed>| trashed.as_ref().is_some_and(|one| one.name == *name);
    Ok(stacks
        .filter(|(_, trashed)| is_of_name(trashed))
        .map(|(id, _)| id)
        .collect())
}

/// The name in the trash to which a removal moves this stack: that of an interrupted removal, or a new one.
pub(crate) fn name_for<'a>(stack: &Stack<'a>, now: OffsetDateTime) -> Result<Stack<'a>, Failure> {
    let current = stack.store().current();
    if let Ok(Some(rev)) = &current
        && let Some(moved) = moving::mark_at(stack, rev)?
        && let Some(to) = moved.to.and_then(|to| to.parse::<StackId>().ok())
        && Trashed::parse(&to).is_some_and(|trashed| trashed.name == *stack.id())
    {
        return stack.beside(&to);
    }
    let revisions = stack.store().list()?;
    for id in of_name(stack.place(), stack.id())?.into_iter().rev() {
        let is_recent = Trashed::parse(&id).is_some_and(|trashed| now - trashed.since < RESUMED);
        if !is_recent {
            continue;
        }
        let candidate = stack.beside(&id)?;
        let copied = candidate.store().list()?;
        let is_interrupted = match &current {
            Ok(Some(rev)) => {
                let there = candidate.store().backend().current()?;
                copied.iter().all(|rev| revisions.contains(rev))
                    && there.is_none_or(|pointer| pointer.revision == *rev)
            }
            _ => moving::is_left_of(stack, &candidate)?,
        };
        if is_interrupted {
            return Ok(candidate);
        }
    }
    let known = stack.place().catalog.stacks()?;
    let mut trashed = Trashed {
        name: stack.id().clone(),
        since: now,
    };
    loop {
        let id = trashed.id().map_err(|error| {
            Failure::from(error).hint("the name is too long for the trash: --now removes the stack at once")
        })?;
        if !known.contains(&id) {
            return stack.beside(&id);
        }
        // Another stack of this name was removed in the same second.
        trashed.since += Duration::SECOND;
    }
}

/// Removes what is in the trash for more than a week and not locked, and returns the names.
pub(crate) fn remove_expired(place: &Place, now: OffsetDateTime) -> Result<Vec<StackId>, Failure> {
    let is_expired = |id: &StackId| Trashed::parse(id).is_some_and(|trashed| trashed.is_expired(now));
    let mut removed = Vec::new();
    for id in place.catalog.stacks()?.into_iter().filter(is_expired) {
        match place.catalog.remove(&id) {
            Ok(()) => removed.push(id),
            // Somebody is restoring it.
            Err(error) if error.is_locked() => {}
            Err(error) => return Err(error.into()),
        }
    }
    // Last, so that a stack that is being restored keeps its settings.
    let left = place.catalog.stacks()?;
    for id in &left {
        if settings::owner_of(id).is_some_and(|owner| is_expired(&owner) && !left.contains(&owner)) {
            place.catalog.remove(id)?;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(seconds).unwrap()
    }

    #[test]
    fn name_in_the_trash_is_read_back() {
        let trashed = Trashed {
            name: "demo/prod".parse().unwrap(),
            since: at(1_783_684_800),
        };
        let id = trashed.id().unwrap();
        assert_eq!(id.to_string(), "demo/prod.trash-20260710T120000Z");
        assert_eq!(Trashed::parse(&id), Some(trashed));
    }

    #[test]
    fn other_names_are_not_in_the_trash() {
        for name in [
            "demo/prod",
            "demo/prod.trash-",
            "demo/prod.trash-20261310T120000Z",
            "demo/prod.trash-20260710T120000Z+settings",
            "demo/prod.trash-20260710T120000",
        ] {
            assert_eq!(Trashed::parse(&name.parse().unwrap()), None, "{name}");
        }
    }
}
