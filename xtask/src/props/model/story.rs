//! What may happen to a stack, and how it reads as sentences.

use proptest::prelude::*;
use std::fmt;

const LONGEST: usize = 120;
/// Revisions are called by the number of their write; a number that no write had yet is a revision that does not exist.
const NUMBERS: std::ops::Range<usize> = 1..4;

#[derive(Clone)]
pub(super) enum Event {
    /// The clock is set to some seconds from noon.
    Clock(i64),
    /// Somebody writes over `current` by hand.
    Damage(&'static str),
    Act(Actor, Deed),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Actor {
    Alice,
    Bob,
    Carol,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Deed {
    Write {
        text: u8,
        parent: Option<usize>,
    },
    Get(usize),
    Header(usize),
    Head,
    Current,
    CurrentRev,
    List,
    SetCurrent(usize),
    Move {
        to: usize,
        expected: Expected,
        with: Option<Guard>,
    },
    Delete {
        number: usize,
        with: Option<Guard>,
    },
    Lock(Patience),
    LockStatus,
    Check(Guard),
    Unlock(Guard),
    Drop(Guard),
    /// Whoever holds it, or only the holder of this lock.
    ForceUnlock(Option<Guard>),
    /// Goes on with another handle to the same place.
    Reopen,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Expected {
    Anything,
    WhatIsCurrent,
    Nothing,
    Number(usize),
}

/// Which lock an actor shows. Where there is none of the kind, nothing happens.
#[derive(Debug, Clone, Copy)]
pub(super) enum Guard {
    Own,
    /// One that the actor held until somebody forced it.
    Stale,
    Anothers,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Patience {
    None,
    Moment,
    /// The wait was cancelled before it began.
    Cancelled,
}

pub(super) fn stories() -> impl Strategy<Value = Vec<Event>> {
    let actor = || prop_oneof![Just(Actor::Alice), Just(Actor::Bob), Just(Actor::Carol)];
    let damage = prop_oneof![
        Just(""),
        Just("\0\0\0\0"),
        Just("../x\n"),
        Just("2026-07-10T12:00:00Z\n2026-07-10T12:00:01Z\n"),
        // A name like any other, of a revision that does not exist.
        Just("2026-07-10T12:00:00.5Z\n"),
    ];
    let event = prop_oneof![
        30 => (actor(), deed()).prop_map(|(actor, deed)| Event::Act(actor, deed)),
        2 => (-2_i64..3).prop_map(Event::Clock),
        1 => damage.prop_map(Event::Damage),
    ];
    prop::collection::vec(event, 1..LONGEST)
}

fn deed() -> impl Strategy<Value = Deed> {
    let number = || NUMBERS;
    let guard = || prop_oneof![3 => Just(Guard::Own), 3 => Just(Guard::Stale), 1 => Just(Guard::Anothers)];
    let with = || prop::option::weighted(0.6, guard());
    let expected = prop_oneof![
        Just(Expected::Anything),
        Just(Expected::WhatIsCurrent),
        Just(Expected::Nothing),
        number().prop_map(Expected::Number),
    ];
    let patience = prop_oneof![
        6 => Just(Patience::None),
        1 => Just(Patience::Moment),
        1 => Just(Patience::Cancelled),
    ];
    prop_oneof![
        6 => (any::<u8>(), prop::option::weighted(0.3, number())).prop_map(|(text, parent)| Deed::Write { text, parent }),
        14 => patience.prop_map(Deed::Lock),
        3 => number().prop_map(Deed::SetCurrent),
        12 => (number(), expected, with()).prop_map(|(to, expected, with)| Deed::Move { to, expected, with }),
        8 => (number(), with()).prop_map(|(number, with)| Deed::Delete { number, with }),
        6 => prop::option::weighted(0.6, guard()).prop_map(Deed::ForceUnlock),
        2 => guard().prop_map(Deed::Unlock),
        2 => guard().prop_map(Deed::Drop),
        2 => guard().prop_map(Deed::Check),
        1 => Just(Deed::LockStatus),
        1 => number().prop_map(Deed::Get),
        1 => number().prop_map(Deed::Header),
        1 => Just(Deed::Head),
        1 => Just(Deed::Current),
        1 => Just(Deed::CurrentRev),
        1 => Just(Deed::List),
        1 => Just(Deed::Reopen),
    ]
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clock(offset) => write!(f, "the clock is set to noon {offset:+} s"),
            Self::Damage(content) => write!(f, "somebody writes {content:?} over current"),
            Self::Act(actor, deed) => write!(f, "{actor} {deed}"),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alice => "alice",
            Self::Bob => "bob",
            Self::Carol => "carol",
        })
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |with: &Option<Guard>| with.map_or(String::new(), |guard| format!(" with {guard}"));
        match self {
            Self::Write { text, parent: None } => write!(f, "writes \"{text}\""),
            Self::Write {
                text,
                parent: Some(number),
            } => write!(f, "writes \"{text}\", made from #{number}"),
            Self::Get(number) => write!(f, "reads #{number}"),
            Self::Header(number) => write!(f, "reads the header of #{number}"),
            Self::Head => f.write_str("reads the head"),
            Self::Current => f.write_str("reads the current snapshot"),
            Self::CurrentRev => f.write_str("asks what is current"),
            Self::List => f.write_str("lists"),
            Self::SetCurrent(number) => write!(f, "sets current to #{number}"),
            Self::Move { to, expected, with } => {
                write!(f, "moves current to #{to} expecting {expected}{}", shown(with))
            }
            Self::Delete { number, with } => write!(f, "deletes #{number}{}", shown(with)),
            Self::Lock(Patience::None) => f.write_str("tries to lock"),
            Self::Lock(Patience::Moment) => f.write_str("waits a moment for the lock"),
            Self::Lock(Patience::Cancelled) => f.write_str("begins a cancelled wait for the lock"),
            Self::LockStatus => f.write_str("asks who holds the lock"),
            Self::Check(guard) => write!(f, "checks {guard}"),
            Self::Unlock(guard) => write!(f, "unlocks {guard}"),
            Self::Drop(guard) => write!(f, "drops {guard}"),
            Self::ForceUnlock(None) => f.write_str("forces the lock"),
            Self::ForceUnlock(Some(guard)) => write!(f, "forces the lock if it is {guard}"),
            Self::Reopen => f.write_str("opens the store anew"),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anything => f.write_str("anything"),
            Self::WhatIsCurrent => f.write_str("what is current"),
            Self::Nothing => f.write_str("nothing"),
            Self::Number(number) => write!(f, "#{number}"),
        }
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "their lock",
            Self::Stale => "their stale lock",
            Self::Anothers => "another's lock",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_reads_as_sentences() {
        let story = [
            Event::Act(
                Actor::Alice,
                Deed::Write {
                    text: 3,
                    parent: None,
                },
            ),
            Event::Act(
                Actor::Bob,
                Deed::Move {
                    to: 2,
                    expected: Expected::Number(1),
                    with: Some(Guard::Stale),
                },
            ),
            Event::Clock(-2),
            Event::Damage("../x\n"),
        ];
        assert_eq!(
            story.map(|event| format!("{event:?}")),
            [
                r#"alice writes "3""#,
                "bob moves current to #2 expecting #1 with their stale lock",
                "the clock is set to noon -2 s",
                r#"somebody writes "../x\n" over current"#,
            ]
        );
    }
}
