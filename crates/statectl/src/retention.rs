//! Decides which revisions of a stack stay: by calendar, as restic's `forget` does, and never without a reason.

use crate::rules::{Rules, Unit, Within, count};
use sdk_state::Revision;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use time::OffsetDateTime;

/// How long a revision stays in the trash.
pub(crate) const TRASH_TIME: time::Duration = time::Duration::days(7);

/// A stored revision.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) revision: Revision,
    /// `None` if its header cannot be read.
    pub(crate) header: Option<Dated>,
}

/// What a rule looks at in a header.
#[derive(Debug, Clone)]
pub(crate) struct Dated {
    pub(crate) time: Option<OffsetDateTime>,
    pub(crate) parent: Parent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parent {
    Of(Revision),
    /// It began the stack.
    None,
    /// Envelope version 1 does not record it.
    Unknown,
}

/// Why a revision stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reason {
    Current,
    Pinned,
    Last,
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Yearly,
    Within,
    /// Nobody knows what it is, so nobody decides about it.
    Unreadable,
    /// Neither its header nor its name has a time.
    Undated,
    /// A clock was wrong: that of its writer, or this one.
    Future,
    /// The operator agreed before it was there, or before a rule let it go.
    NotShown,
}

/// What becomes of a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fate {
    Kept,
    /// It goes to the trash.
    Trashed,
    /// It is there, and stays.
    InTrash,
    Removed,
}

/// Whether what goes can be restored for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trash {
    SevenDays,
    None,
}

/// The reasons for which each revision stays; one without reasons goes. `stored` is sorted.
///
/// A revision that is unreadable, undated or from the future counts for no calendar rule, so that it displaces no other.
pub(crate) fn reasons(
    stored: &[Stored],
    current: &Revision,
    pins: &BTreeSet<Revision>,
    rules: &Rules,
    now: OffsetDateTime,
) -> Vec<Vec<Reason>> {
    let mut reasons = vec![Vec::new(); stored.len()];
    let mut dated = Vec::new();
    for (index, Stored { revision, header }) in stored.iter().enumerate() {
        let mut stays = |reason| reasons[index].push(reason);
        if revision == current {
            stays(Reason::Current);
        }
        if pins.contains(revision) {
            stays(Reason::Pinned);
        }
        match header.as_ref().map(|header| header.time) {
            None => stays(Reason::Unreadable),
            Some(None) => stays(Reason::Undated),
            Some(Some(time)) if time > now => stays(Reason::Future),
            Some(Some(time)) => dated.push((index, time)),
        }
    }
    let readable = line_of(stored, current)
        .into_iter()
        .filter(|index| stored[*index].header.is_some());
    for index in readable.take(rules.keep_last.map_or(0, count)) {
        reasons[index].push(Reason::Last);
    }
    for (reason, units, unit_of) in rules.by_calendar() {
        // The last of a unit replaces those before it.
        let last: BTreeMap<Unit, usize> = dated
            .iter()
            .map(|(index, time)| (unit_of(*time), *index))
            .collect();
        for index in last.values().rev().take(units) {
            reasons[*index].push(reason);
        }
    }
    // Back from the newest revision, not from now: a stack that rests loses nothing, and a clock that is ahead removes nothing.
    let newest = dated.iter().map(|(_, time)| *time).max();
    if let (Some(Within(within)), Some(newest)) = (rules.keep_within, newest) {
        let is_within = |time: OffsetDateTime| (newest - time).unsigned_abs() <= within;
        for (index, _) in dated.iter().filter(|(_, time)| is_within(*time)) {
            reasons[*index].push(Reason::Within);
        }
    }
    for reasons in &mut reasons {
        reasons.sort_unstable();
    }
    reasons
}

/// What becomes of a revision that goes, or that was in the trash since `trashed`.
pub(crate) fn fate(
    reasons: &[Reason],
    trashed: Option<OffsetDateTime>,
    trash: Trash,
    now: OffsetDateTime,
) -> Fate {
    match (trashed, trash) {
        _ if !reasons.is_empty() => Fate::Kept,
        (_, Trash::None) => Fate::Removed,
        (None, Trash::SevenDays) => Fate::Trashed,
        (Some(since), Trash::SevenDays) if now - since >= TRASH_TIME => Fate::Removed,
        (Some(_), Trash::SevenDays) => Fate::InTrash,
    }
}

/// The current revision, its parent and so on. Where a parent is gone or unknown, the newest revision before it stands for it.
fn line_of(stored: &[Stored], current: &Revision) -> Vec<usize> {
    let find = |rev: &Revision| stored.binary_search_by(|stored| stored.revision.cmp(rev));
    let mut line = Vec::new();
    // Headers can be forged: their parents may form a circle.
    let mut seen = BTreeSet::new();
    let mut next = find(current).ok();
    while let Some(index) = next.filter(|index| seen.insert(*index)) {
        line.push(index);
        let parent = stored[index].header.as_ref().map(|header| &header.parent);
        next = match parent {
            Some(Parent::Of(parent)) => find(parent).map_or_else(|place| place.checked_sub(1), Some),
            Some(Parent::None) => None,
            Some(Parent::Unknown) | None => index.checked_sub(1),
        };
    }
    line
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Current => "current",
            Self::Pinned => "pinned",
            Self::Last => "last",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
            Self::Within => "within",
            Self::Unreadable => "unreadable",
            Self::Undated => "undated",
            Self::Future => "in the future",
            Self::NotShown => "not shown before",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::{any_rules, rules};
    use proptest::prelude::*;
    use std::num::NonZeroU32;
    use time::format_description::well_known::Rfc3339;
    use time::{Date, Weekday};

    fn time(text: &str) -> OffsetDateTime {
        OffsetDateTime::parse(text, &Rfc3339).unwrap()
    }

    fn rev(text: &str) -> Revision {
        text.parse().unwrap()
    }

    /// A revision that was written at the time in its name.
    fn stored(name: &str, parent: Parent) -> Stored {
        let revision = rev(name);
        Stored {
            header: Some(Dated {
                time: revision.time(),
                parent,
            }),
            revision,
        }
    }

    /// Revisions at these times, each the parent of the next. The last one is current.
    fn line(names: &[&str]) -> Vec<Stored> {
        let mut parent = Parent::None;
        names
            .iter()
            .map(|name| stored(name, std::mem::replace(&mut parent, Parent::Of(rev(name)))))
            .collect()
    }

    /// The names of what stays, at a moment after all of them.
    #[track_caller]
    fn assert_stays(stored: &[Stored], current: &str, options: &str, expected: &[&str]) {
        let now = time("2100-01-01T00:00:00Z");
        let reasons = reasons(stored, &rev(current), &BTreeSet::new(), &rules(options), now);
        let stays: Vec<String> = stored
            .iter()
            .zip(reasons)
            .filter(|(_, reasons)| !reasons.is_empty())
            .map(|(stored, _)| stored.revision.to_string())
            .collect();
        assert_eq!(stays, expected, "{options}");
    }

    #[test]
    fn each_calendar_rule_keeps_the_last_of_its_units() {
        let names = [
            "2024-12-29T23:00:00Z", // Sunday of week 52
            "2024-12-30T08:00:00Z", // Monday of week 1 of 2025
            "2025-01-05T08:10:00Z", // Sunday of that week
            "2025-01-05T08:50:00Z",
            "2025-01-05T09:00:00Z",
            "2025-02-01T00:00:00Z",
        ];
        let stored = line(&names);
        for (options, expected) in [
            ("--keep-hourly 3", &[3, 4, 5][..]),
            ("--keep-daily 3", &[1, 4, 5]),
            ("--keep-weekly 3", &[0, 4, 5]),
            ("--keep-monthly 3", &[1, 4, 5]),
            ("--keep-yearly 3", &[1, 5]),
            ("--keep-last 2", &[4, 5]),
            ("--keep-within 26d15h", &[4, 5]),
            ("--keep-within 31d --keep-yearly 9", &[1, 2, 3, 4, 5]),
        ] {
            let expected: Vec<&str> = expected.iter().map(|index| names[*index]).collect();
            assert_stays(&stored, names[5], options, &expected);
        }
    }

    #[test]
    fn keep_last_counts_parents_and_skips_the_abandoned() {
        let mut revisions = line(&["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]);
        revisions.push(stored(
            "2026-01-03T00:00:00Z",
            Parent::Of(rev("2026-01-02T00:00:00Z")),
        ));
        revisions.push(stored(
            "2026-01-04T00:00:00Z",
            Parent::Of(rev("2026-01-02T00:00:00Z")),
        ));
        assert_stays(
            &revisions,
            "2026-01-04T00:00:00Z",
            "--keep-last 2",
            &["2026-01-02T00:00:00Z", "2026-01-04T00:00:00Z"],
        );
    }

    /// A parent that was removed earlier must not end the count: everything older would go.
    #[test]
    fn keep_last_goes_on_where_a_parent_is_gone() {
        let mut revisions = line(&[
            "2026-01-01T00:00:00Z",
            "2026-01-02T00:00:00Z",
            "2026-01-03T00:00:00Z",
        ]);
        revisions.remove(1);
        assert_stays(
            &revisions,
            "2026-01-03T00:00:00Z",
            "--keep-last 5",
            &["2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z"],
        );
        let of_unobin = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"];
        let stored = of_unobin.map(|name| stored(name, Parent::Unknown));
        assert_stays(&stored, of_unobin[1], "--keep-last 2", &of_unobin);
    }

    /// An unreadable revision in a day must not displace the readable one.
    #[test]
    fn unreadable_and_undated_revisions_stay_and_displace_nothing() {
        let mut stored = line(&[
            "2026-01-01T01:00:00Z",
            "2026-01-01T02:00:00Z",
            "2026-01-01T03:00:00Z",
            "odd",
        ]);
        stored[2].header = None;
        for options in ["--keep-daily 1", "--keep-last 1"] {
            assert_stays(
                &stored,
                "2026-01-01T02:00:00Z",
                options,
                &["2026-01-01T02:00:00Z", "2026-01-01T03:00:00Z", "odd"],
            );
        }
    }

    /// A writer whose clock was ahead once must not use up the days that are kept.
    #[test]
    fn revision_from_the_future_stays_and_displaces_nothing() {
        let names = [
            "2026-01-01T00:00:00Z",
            "2026-01-02T00:00:00Z",
            "2099-01-01T00:00:00Z",
        ];
        let stored = line(&names);
        let now = time("2026-01-03T00:00:00Z");
        let keep =
            |options: &str, now| reasons(&stored, &rev(names[1]), &BTreeSet::new(), &rules(options), now);
        assert_eq!(
            keep("--keep-daily 1 --keep-within 1h", now),
            [
                vec![],
                vec![Reason::Current, Reason::Daily, Reason::Within],
                vec![Reason::Future]
            ]
        );
        // A clock that is behind removes nothing.
        let past = time("1970-01-01T00:00:00Z");
        assert!(
            keep("--keep-last 1", past)
                .iter()
                .all(|reasons| !reasons.is_empty())
        );
    }

    #[test]
    fn trash_holds_a_revision_for_seven_days() {
        let now = time("2026-01-08T00:00:00Z");
        for (since, trash, expected) in [
            (None, Trash::SevenDays, Fate::Trashed),
            (Some("2026-01-01T00:00:01Z"), Trash::SevenDays, Fate::InTrash),
            (Some("2026-01-01T00:00:00Z"), Trash::SevenDays, Fate::Removed),
            (Some("2027-01-01T00:00:00Z"), Trash::SevenDays, Fate::InTrash),
            (None, Trash::None, Fate::Removed),
        ] {
            assert_eq!(fate(&[], since.map(time), trash, now), expected, "{since:?}");
        }
        let long_ago = Some(time("2020-01-01T00:00:00Z"));
        for trash in [Trash::SevenDays, Trash::None] {
            assert_eq!(fate(&[Reason::Pinned], long_ago, trash, now), Fate::Kept);
        }
    }

    /// A history in which every revision has a random parent, time and state.
    fn histories() -> impl Strategy<Value = Vec<Stored>> {
        let header = (0..70_000_i64, any::<prop::sample::Index>(), 0..12_u8);
        prop::collection::vec(header, 1..24).prop_map(|rows| {
            let name = |number: usize| rev(&format!("2026-01-01T00:00:{number:02}Z"));
            let row = |(number, (hours, parent, kind)): (usize, &(i64, prop::sample::Index, u8))| {
                let parent = match kind {
                    0 => Parent::None,
                    1 => Parent::Unknown,
                    // Also one that is gone, and, forged, itself or a later one.
                    2 => Parent::Of(name(parent.index(60))),
                    _ => Parent::Of(name(number.saturating_sub(1 + parent.index(3)))),
                };
                let time = OffsetDateTime::UNIX_EPOCH + time::Duration::hours(*hours);
                Stored {
                    revision: name(number * 2),
                    header: (*kind != 3).then_some(Dated {
                        time: (*kind != 4).then_some(time),
                        parent,
                    }),
                }
            };
            rows.iter().enumerate().map(row).collect()
        })
    }

    /// Whether a revision stays, by looking at one revision at a time, and at the texts of dates.
    fn model_keeps(
        stored: &[Stored],
        this: &Stored,
        current: &Revision,
        pins: &BTreeSet<Revision>,
        rules: &Rules,
        now: OffsetDateTime,
    ) -> bool {
        fn steps(stored: &[Stored], from: &Stored, to: &Revision, used: &mut Vec<Revision>) -> Option<u32> {
            if used.contains(&from.revision) {
                return None;
            }
            used.push(from.revision.clone());
            let own = u32::from(from.header.is_some());
            if from.revision == *to {
                return Some(own);
            }
            let at_most = |limit: &dyn Fn(&Revision) -> bool| {
                stored.iter().rev().find(|stored| limit(&stored.revision))
            };
            let next = match from.header.as_ref().map(|header| header.parent.clone()) {
                Some(Parent::None) => None,
                Some(Parent::Of(parent)) => at_most(&|rev| *rev <= parent),
                _ => at_most(&|rev| *rev < from.revision),
            }?;
            Some(own + steps(stored, next, to, used)?)
        }
        let Some(Dated { time: Some(time), .. }) = this.header else {
            return true;
        };
        if time > now || this.revision == *current || pins.contains(&this.revision) {
            return true;
        }
        let start = stored.iter().find(|stored| stored.revision == *current).unwrap();
        let number = steps(stored, start, &this.revision, &mut Vec::new());
        if number.is_some_and(|number| rules.keep_last.is_some_and(|last| number <= last.get())) {
            return true;
        }
        let others: Vec<(&Revision, OffsetDateTime)> = stored
            .iter()
            .filter_map(|stored| Some((&stored.revision, stored.header.as_ref()?.time?)))
            .filter(|(_, time)| *time <= now)
            .collect();
        let monday = |date: Date| match date.weekday() {
            Weekday::Monday => date,
            _ => date.prev_occurrence(Weekday::Monday),
        };
        let by_text = |units: Option<NonZeroU32>, text: &dyn Fn(OffsetDateTime) -> String| {
            let is_last = !others
                .iter()
                .any(|(rev, other)| **rev > this.revision && text(*other) == text(time));
            let later: BTreeSet<String> = others
                .iter()
                .map(|(_, other)| text(*other))
                .filter(|other| *other > text(time))
                .collect();
            is_last && units.is_some_and(|units| later.len() < units.get() as usize)
        };
        let prefix =
            |length: usize| move |time: OffsetDateTime| time.format(&Rfc3339).unwrap()[..length].to_owned();
        by_text(rules.keep_hourly, &prefix(13))
            || by_text(rules.keep_daily, &prefix(10))
            || by_text(rules.keep_weekly, &|time| monday(time.date()).to_string())
            || by_text(rules.keep_monthly, &prefix(7))
            || by_text(rules.keep_yearly, &prefix(4))
            || rules
                .keep_within
                .is_some_and(|Within(within)| others.iter().all(|(_, other)| *other <= time + within))
    }

    proptest! {
        #[test]
        fn what_stays_is_what_the_model_keeps(
            stored in histories(),
            current: prop::sample::Index,
            pinned: prop::sample::Index,
            rules in any_rules(),
            hours in 0..80_000_i64,
        ) {
            let current = &stored[current.index(stored.len())].revision;
            let pins = BTreeSet::from([stored[pinned.index(stored.len())].revision.clone()]);
            let now = OffsetDateTime::UNIX_EPOCH + time::Duration::hours(hours);
            let reasons = reasons(&stored, current, &pins, &rules, now);
            for (this, reasons) in stored.iter().zip(&reasons) {
                prop_assert_eq!(
                    !reasons.is_empty(),
                    model_keeps(&stored, this, current, &pins, &rules, now),
                    "{}: {:?}", this.revision, reasons
                );
            }
            // Once more, nothing else goes.
            let left: Vec<Stored> = stored
                .iter()
                .zip(&reasons)
                .filter(|(_, reasons)| !reasons.is_empty())
                .map(|(stored, _)| stored.clone())
                .collect();
            let again = super::reasons(&left, current, &pins, &rules, now);
            prop_assert!(again.iter().all(|reasons| !reasons.is_empty()), "{:?}", again);
        }
    }
}
