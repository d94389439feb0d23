//! What may happen to a lock, and how it reads as sentences.

use proptest::prelude::*;
use std::fmt;

const LONGEST: usize = 40;
pub(super) const NAMES: [&str; 4] = ["thread anna", "thread ben", "process carl", "process dora"];

/// One of [`NAMES`].
pub(super) type Who = usize;

#[derive(Clone)]
pub(super) enum Event {
    Try(Who),
    Wait(Who),
    Cancel(Who),
    Check(Who, Which),
    Move(Who, Which),
    Unlock(Who, Which),
    Drop(Who, Which),
    Force(Who),
    /// Evicts the holder only if it holds this lock of the other one's.
    ForceIf(Who, Who, Which),
    Kill(Who),
    OriginalLocks,
    OriginalUnlocks,
}

/// An actor that was evicted and has locked again has several.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    First,
    Last,
}

pub(super) fn stories() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(event(), 1..LONGEST)
}

fn event() -> impl Strategy<Value = Event> {
    let who = || 0..NAMES.len();
    let guard = || (who(), prop_oneof![Just(Which::Last), Just(Which::First)]);
    prop_oneof![
        8 => who().prop_map(Event::Try),
        3 => who().prop_map(Event::Wait),
        1 => who().prop_map(Event::Cancel),
        2 => guard().prop_map(|(who, which)| Event::Check(who, which)),
        4 => guard().prop_map(|(who, which)| Event::Move(who, which)),
        4 => guard().prop_map(|(who, which)| Event::Unlock(who, which)),
        3 => guard().prop_map(|(who, which)| Event::Drop(who, which)),
        3 => who().prop_map(Event::Force),
        3 => (who(), guard()).prop_map(|(who, (whose, which))| Event::ForceIf(who, whose, which)),
        2 => (2..NAMES.len()).prop_map(Event::Kill),
        2 => Just(Event::OriginalLocks),
        2 => Just(Event::OriginalUnlocks),
    ]
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (who, deed) = match self {
            Self::Try(who) => (who, "tries to lock".into()),
            Self::Wait(who) => (who, "waits for the lock".into()),
            Self::Cancel(who) => (who, "waits no longer".into()),
            Self::Check(who, which) => (who, format!("checks their {which} lock")),
            Self::Move(who, which) => (who, format!("moves current with their {which} lock")),
            Self::Unlock(who, which) => (who, format!("unlocks their {which} lock")),
            Self::Drop(who, which) => (who, format!("drops their {which} lock")),
            Self::Force(who) => (who, "forces the lock".into()),
            Self::ForceIf(who, whose, which) => (
                who,
                format!("forces the lock if it is the {which} one of {}", NAMES[*whose]),
            ),
            Self::Kill(who) => (who, "is killed".into()),
            Self::OriginalLocks => return f.write_str("the original tries to lock"),
            Self::OriginalUnlocks => return f.write_str("the original unlocks"),
        };
        write!(f, "{} {deed}", NAMES[*who])
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first",
            Self::Last => "last",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_reads_as_sentences() {
        let story = [
            Event::Try(0),
            Event::Kill(2),
            Event::ForceIf(1, 3, Which::First),
            Event::OriginalLocks,
        ];
        assert_eq!(
            story.map(|event| format!("{event:?}")),
            [
                "thread anna tries to lock",
                "process carl is killed",
                "thread ben forces the lock if it is the first one of process dora",
                "the original tries to lock",
            ]
        );
    }
}
