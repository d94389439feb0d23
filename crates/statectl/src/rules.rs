//! Which revisions of a stack to keep, as options of the command line and as a stored policy.

use crate::retention::Reason;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;
use time::OffsetDateTime;

/// Which revisions to keep. What no rule keeps goes.
///
/// A stored policy with a rule that this version does not know is refused: without that rule, more would go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Rules; what no rule keeps, goes")]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Rules {
    /// Keep the current revision and its N-1 nearest parents
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep_last: Option<NonZeroU32>,
    /// Keep the last revision of each of the N newest hours that have one, in UTC
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep_hourly: Option<NonZeroU32>,
    /// The same for days
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep_daily: Option<NonZeroU32>,
    /// The same for weeks, which begin on Monday
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep_weekly: Option<NonZeroU32>,
    /// The same for months
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep_monthly: Option<NonZeroU32>,
    /// The same for years
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep_yearly: Option<NonZeroU32>,
    /// Keep every revision of this time before the newest one, such as 30d
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep_within: Option<Within>,
}

/// A length of time, written as `30d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Within(pub(crate) Duration);

/// An hour, a day, a week, a month or a year, so that later ones are greater.
pub(crate) type Unit = (i32, u16, u8);

/// Returns the unit of a time.
type UnitOf = fn(OffsetDateTime) -> Unit;

impl Rules {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn by_calendar(&self) -> impl Iterator<Item = (Reason, usize, UnitOf)> {
        let rules: [(Reason, Option<NonZeroU32>, UnitOf); 5] = [
            (Reason::Hourly, self.keep_hourly, |time| {
                (time.year(), time.ordinal(), time.hour())
            }),
            (Reason::Daily, self.keep_daily, |time| {
                (time.year(), time.ordinal(), 0)
            }),
            (Reason::Weekly, self.keep_weekly, |time| {
                let (year, week, _) = time.to_iso_week_date();
                (year, week.into(), 0)
            }),
            (Reason::Monthly, self.keep_monthly, |time| {
                (time.year(), u8::from(time.month()).into(), 0)
            }),
            (Reason::Yearly, self.keep_yearly, |time| (time.year(), 0, 0)),
        ];
        rules
            .into_iter()
            .filter_map(|(reason, units, unit_of)| Some((reason, count(units?), unit_of)))
    }
}

/// How many units a rule keeps.
pub(crate) fn count(number: NonZeroU32) -> usize {
    usize::try_from(number.get()).unwrap_or(usize::MAX)
}

/// As options of the command line.
impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            ("last", self.keep_last),
            ("hourly", self.keep_hourly),
            ("daily", self.keep_daily),
            ("weekly", self.keep_weekly),
            ("monthly", self.keep_monthly),
            ("yearly", self.keep_yearly),
        ];
        let counts = counts
            .into_iter()
            .filter_map(|(rule, number)| Some(format!("--keep-{rule} {}", number?)));
        let within = self.keep_within.map(|within| format!("--keep-within {within}"));
        f.write_str(&counts.chain(within).collect::<Vec<_>>().join(" "))
    }
}

impl FromStr for Within {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match humantime::parse_duration(text) {
            Ok(duration) => Ok(Self(duration)),
            Err(error) => Err(format!("{error}; write it like 30d or 12h")),
        }
    }
}

impl TryFrom<String> for Within {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Within> for String {
    fn from(within: Within) -> Self {
        within.to_string()
    }
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = humantime::format_duration(self.0).to_string();
        f.write_str(&text.replace(' ', ""))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rules that these options give.
    pub(crate) fn rules(options: &str) -> Rules {
        use clap::Parser;
        #[derive(Parser)]
        struct Command {
            #[command(flatten)]
            rules: Rules,
        }
        Command::try_parse_from([""].into_iter().chain(options.split_whitespace()))
            .unwrap()
            .rules
    }

    pub(crate) fn any_rules() -> impl Strategy<Value = Rules> {
        let number = || prop::option::of((1..5_u32).prop_map(|number| NonZeroU32::new(number).unwrap()));
        let within =
            prop::option::of((0..20_000_u64).prop_map(|hours| Within(Duration::from_secs(hours * 3600))));
        let counts = (number(), number(), number(), number(), number(), number());
        (counts, within).prop_map(|((last, hourly, daily, weekly, monthly, yearly), within)| Rules {
            keep_last: last,
            keep_hourly: hourly,
            keep_daily: daily,
            keep_weekly: weekly,
            keep_monthly: monthly,
            keep_yearly: yearly,
            keep_within: within,
        })
    }

    #[test]
    fn rules_survive_their_text_and_their_document() {
        let options = "--keep-last 3 --keep-hourly 1 --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --keep-yearly 9 \
                       --keep-within 1day12h";
        let given = rules(options);
        assert_eq!(given.to_string(), options);
        let document = serde_json::to_string(&given).unwrap();
        assert_eq!(serde_json::from_str::<Rules>(&document).unwrap(), given);
        assert!(rules("").is_empty() && !given.is_empty());
        for bad in [
            r#"{"keep-last":0}"#,
            r#"{"keep-best":1}"#,
            r#"{"keep-within":"soon"}"#,
        ] {
            assert!(serde_json::from_str::<Rules>(bad).is_err(), "{bad}");
        }
    }
}
