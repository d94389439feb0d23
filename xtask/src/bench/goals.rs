use super::figure::{Figure, digits};

/// What a figure should stay below.
#[derive(Debug, Clone, Copy)]
pub(super) enum Goal {
    /// In the figure's own unit.
    Value(f64),
    /// So many times its floor.
    Ratio(f64),
}

const GOALS: [(&str, &str, Goal); 18] = [
    ("write + set_current", "10 entries", Goal::Ratio(1.15)),
    ("write + set_current", "10000 entries", Goal::Value(0.010)),
    ("read current", "10000 entries", Goal::Value(0.015)),
    ("first read of a process", "10000 entries", Goal::Value(0.015)),
    ("peak memory, write", "10000 entries", Goal::Value(45e6)),
    ("peak memory, read", "10000 entries", Goal::Value(45e6)),
    ("list", "10000 revisions", Goal::Ratio(1.4)),
    ("hand-over, median", "1 waiter", Goal::Value(0.002)),
    ("hand-over, 99 of 100", "1 waiter", Goal::Value(0.050)),
    ("hand-over, median", "20 waiters", Goal::Value(0.005)),
    ("hand-over, 99 of 100", "20 waiters", Goal::Value(0.050)),
    ("hand-over, median", "a waiter of 5 s", Goal::Value(0.005)),
    ("hand-over, longest", "a waiter of 5 s", Goal::Value(0.050)),
    ("a waiter's share of a core", "a waiter of 5 s", Goal::Value(1.0)),
    ("start of statectl", "--version", Goal::Value(0.005)),
    ("start of statectl", "current", Goal::Value(0.005)),
    ("compile statectl", "release, clean", Goal::Value(60.0)),
    ("compile sdk-state", "release, clean", Goal::Value(30.0)),
];

/// What the original took, at another time on the same kind of machine: the lowest that was seen.
pub(super) const ORIGINAL: [(&str, &str, f64); 13] = [
    ("write", "10 entries", 0.000_66),
    ("write", "1000 entries", 0.022),
    ("write", "10000 entries", 0.214),
    ("set_current", "10 entries", 0.000_5),
    ("set_current", "10000 entries", 0.000_5),
    ("read current", "10 entries", 0.000_24),
    ("read current", "1000 entries", 0.018),
    ("read current", "10000 entries", 0.165),
    ("snapshot on disk", "10000 entries", 12.4e6),
    ("peak memory, write", "10000 entries", 119e6),
    ("peak memory, read", "10000 entries", 119e6),
    ("list", "10000 revisions", 0.010_6),
    ("hand-over, median", "1 waiter", 0.270),
];

/// What is to be compared and was not measured: the name of a figure has changed.
pub(super) fn unmatched(figures: &[Figure]) -> Vec<String> {
    let goals = GOALS.iter().map(|&(what, size, _)| (what, size));
    let original = ORIGINAL.iter().map(|&(what, size, _)| (what, size));
    goals
        .chain(original)
        .filter(|(what, size)| !figures.iter().any(|figure| figure.is(what, size)))
        .map(|(what, size)| format!("{what}, {size}"))
        .collect()
}

impl Goal {
    pub(super) fn of(figure: &Figure) -> Option<Self> {
        let goal = GOALS.iter().find(|(what, size, _)| figure.is(what, size));
        goal.map(|&(.., goal)| goal)
    }

    pub(super) fn is_held(self, figure: &Figure) -> bool {
        match self {
            Self::Value(limit) => figure.value < limit,
            Self::Ratio(limit) => figure.ratio().is_some_and(|ratio| ratio <= limit),
        }
    }

    pub(super) fn shown(self, figure: &Figure) -> String {
        match self {
            Self::Value(limit) => format!("< {}", figure.unit.show(limit)),
            Self::Ratio(limit) => format!("≤ {} ×", digits(limit)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figure::{Floor, Unit};

    #[test]
    fn a_goal_is_missed_by_the_value_or_by_the_ratio_that_it_is_about() {
        let mut figure = Figure {
            what: "write + set_current".into(),
            size: "10 entries".into(),
            unit: Unit::Seconds,
            value: 1.1,
            floor: Some(Floor {
                is: "a file".into(),
                value: 1.0,
            }),
        };
        let goal = Goal::of(&figure).unwrap();
        assert!(goal.is_held(&figure));
        figure.value = 1.2;
        assert!(!goal.is_held(&figure));
        figure.floor = None;
        assert!(!goal.is_held(&figure));
        figure.size = "10000 entries".into();
        figure.value = 0.009;
        assert!(Goal::of(&figure).unwrap().is_held(&figure));
        figure.value = 0.011;
        assert!(!Goal::of(&figure).unwrap().is_held(&figure));
    }
}
