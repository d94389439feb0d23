//! How an operator names a revision: `@`, `@-3`, `latest`, the whole name or its beginning, or a time.

use crate::exit::{Failure, MISSING, USAGE};
use crate::history::{Ancestors, Step};
use crate::stack::{Context, Stack};
use crate::text::now;
use clap::Args;
use sdk_state::Revision;
use std::str::FromStr;
use time::format_description::parse_borrowed;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, PrimitiveDateTime, Time};

/// So many names are listed of an ambiguous beginning.
const MOST_CANDIDATES: usize = 8;

/// What a revision can be called, for the help of each command.
pub(crate) const SELECTORS: &str = "A revision: @ is the current one, @- its parent and @-3 the parent of the parent of the parent, latest the \
    newest stored one; else its name, or a beginning of the name that no other has";

/// A revision other than the current one, of a command that reads the current one by default.
#[derive(Debug, Args)]
pub(crate) struct RevisionOption {
    #[arg(long, value_name = "REV", help = "Use this revision instead of the current one", long_help = SELECTORS)]
    rev: Option<Selector>,
    #[command(flatten)]
    at: AtOption,
}

/// The revision that a command must be told.
#[derive(Debug, Args)]
pub(crate) struct RevisionArgument {
    #[arg(value_name = "REV", required_unless_present = "at", help = "The revision, such as @-", long_help = SELECTORS)]
    rev: Option<Selector>,
    #[command(flatten)]
    at: AtOption,
}

#[derive(Debug, Args)]
struct AtOption {
    /// The revision that was current at this time, as far as the parents tell: '2026-11-24 09:00' in UTC, with an offset such
    /// as +01:00 in another zone, or '2 hours ago'
    #[arg(long, value_name = "TIME", conflicts_with = "rev", value_parser = parse_time)]
    at: Option<OffsetDateTime>,
}

/// What names a revision. It means a certain revision only together with a stack, at a certain moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Selector {
    /// The current revision, and so many parents back.
    Current { back: u32 },
    /// The newest stored revision, whether or not it was ever current.
    Latest,
    /// A name, or the beginning of one.
    Name(String),
}

impl FromStr for Selector {
    type Err = String;

    /// A name is checked where the stack is known, so that an invalid one has the exit code of invalid names.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some(back) = text.strip_prefix('@') else {
            return Ok(match text {
                "latest" => Self::Latest,
                name => Self::Name(name.into()),
            });
        };
        let back = match back {
            "" => Some(0),
            "-" => Some(1),
            back => back
                .strip_prefix('-')
                .filter(|count| count.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|count| count.parse().ok()),
        };
        match back {
            Some(back) => Ok(Self::Current { back }),
            None => {
                Err("write @ for the current revision, @- for its parent, @-3 for the third one back".into())
            }
        }
    }
}

impl Context {
    /// The stack for a command that opens the chosen revision, or else the current one, which is `None`.
    pub(crate) fn readable_at(
        &self,
        name: &str,
        chosen: &RevisionOption,
    ) -> Result<(Stack<'_>, Option<Revision>), Failure> {
        let rev = match (&chosen.rev, chosen.at.at) {
            (None, None) => None,
            (rev, at) => Some(self.keyless(name)?.chosen(rev.as_ref(), at)?),
        };
        let stack = self.readable(name, rev.as_ref())?;
        Ok((stack, rev))
    }
}

impl Stack<'_> {
    /// The revision that was chosen on the command line. Needs no key.
    pub(crate) fn select(&self, argument: &RevisionArgument) -> Result<Revision, Failure> {
        self.chosen(argument.rev.as_ref(), argument.at.at)
    }

    fn chosen(&self, rev: Option<&Selector>, at: Option<OffsetDateTime>) -> Result<Revision, Failure> {
        match (rev, at) {
            (_, Some(time)) => self.current_at(time),
            (Some(selector), None) => self.resolve(selector),
            (None, None) => self.current(),
        }
    }

    /// The revision that a selector means now. Needs no key.
    ///
    /// A name that nothing stored begins with is returned as it is: not every command demands that its revision exists.
    pub(crate) fn resolve(&self, selector: &Selector) -> Result<Revision, Failure> {
        match selector {
            Selector::Current { back: 0 } => self.current(),
            Selector::Current { back } => self.parent(*back),
            Selector::Latest => match self.store().list()?.pop() {
                Some(newest) => Ok(newest),
                None => self.current(),
            },
            Selector::Name(name) => self.named(name),
        }
    }

    fn parent(&self, back: u32) -> Result<Revision, Failure> {
        let mut ancestors = Ancestors::of(self.store(), self.current()?);
        let mut last: Option<Step> = None;
        for _ in 0..=back {
            match (ancestors.next(), &last) {
                (None, Some(last)) => return Err(not_found(ancestors.end(last))),
                (step, _) => last = step,
            }
        }
        last.map_or_else(|| self.current(), |step| Ok(step.revision))
    }

    fn named(&self, name: &str) -> Result<Revision, Failure> {
        let rev: Revision = name.parse()?;
        // Most names are whole: then nothing is listed.
        if rev.is_writable() && self.store().backend().read_prefix(&rev, 0).is_ok() {
            return Ok(rev);
        }
        let stored = self.store().list()?;
        if stored.contains(&rev) {
            return Ok(rev);
        }
        let mut meant: Vec<Revision> = stored
            .into_iter()
            .filter(|stored| stored.to_string().starts_with(name))
            .collect();
        match (meant.pop(), meant.len()) {
            (None, _) => Ok(rev),
            (Some(only), 0) => Ok(only),
            (Some(newest), _) => {
                meant.push(newest);
                Err(ambiguous(name, &meant))
            }
        }
    }

    /// The newest revision on the way back that was written at or before this time.
    fn current_at(&self, time: OffsetDateTime) -> Result<Revision, Failure> {
        let mut ancestors = Ancestors::of(self.store(), self.current()?);
        let mut last = None;
        for step in ancestors.by_ref() {
            if step.time().is_some_and(|written| written <= time) {
                return Ok(step.revision);
            }
            last = Some(step);
        }
        let end = last.map(|last| ancestors.end(&last)).unwrap_or_default();
        let asked = time.format(&Rfc3339).unwrap_or_default();
        Err(not_found(format!(
            "nothing is known to have been current at {asked}; {end}"
        )))
    }
}

fn not_found(message: String) -> Failure {
    Failure::new(MISSING, "not-found", message).hint("`statectl log STACK --all` lists every stored revision")
}

fn ambiguous(name: &str, meant: &[Revision]) -> Failure {
    // The newest are meant most often.
    let listed: Vec<String> = meant
        .iter()
        .rev()
        .take(MOST_CANDIDATES)
        .map(Revision::to_string)
        .collect();
    let more = match meant.len() - listed.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Failure::new(
        USAGE,
        "ambiguous",
        format!("{name:?} may mean {}{more}", listed.join(", ")),
    )
    .hint("give more of the name")
}

/// A moment: a date, a date and a time, with or without an offset (else UTC, as in the names of revisions), or how long ago.
pub(crate) fn parse_time(text: &str) -> Result<OffsetDateTime, String> {
    parse_time_at(text, now())
}

fn parse_time_at(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime, String> {
    let text = text.trim();
    if text == "now" {
        return Ok(now);
    }
    let duration = text.strip_suffix("ago").unwrap_or(text).trim();
    if let Ok(duration) = humantime::parse_duration(duration) {
        return time::Duration::try_from(duration)
            .ok()
            .and_then(|duration| now.checked_sub(duration))
            .ok_or_else(|| "that is too long ago".into());
    }
    parse_date(&text.replacen(' ', "T", 1)).ok_or_else(|| {
        "write a time like '2026-11-24 09:00', in UTC, or '2026-11-24T09:00:00+01:00', or '2 hours ago'"
            .into()
    })
}

/// `T` stands between the date and the time.
fn parse_date(text: &str) -> Option<OffsetDateTime> {
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(time);
    }
    let text = text.strip_suffix('Z').unwrap_or(text);
    for format in [
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond]",
        "[year]-[month]-[day]T[hour]:[minute]:[second]",
        "[year]-[month]-[day]T[hour]:[minute]",
    ] {
        if let Ok(time) = PrimitiveDateTime::parse(text, &parse_borrowed::<2>(format).ok()?) {
            return Some(time.assume_utc());
        }
        let with_offset = format!("{format}[offset_hour sign:mandatory]:[offset_minute]");
        if let Ok(time) = OffsetDateTime::parse(text, &parse_borrowed::<2>(&with_offset).ok()?) {
            return Some(time);
        }
    }
    let date = time::Date::parse(text, &parse_borrowed::<2>("[year]-[month]-[day]").ok()?).ok()?;
    Some(PrimitiveDateTime::new(date, Time::MIDNIGHT).assume_utc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;

    #[test]
    fn selectors_are_told_from_names() {
        for (text, expected) in [
            ("@", Some(Selector::Current { back: 0 })),
            ("@-", Some(Selector::Current { back: 1 })),
            ("@-12", Some(Selector::Current { back: 12 })),
            ("latest", Some(Selector::Latest)),
            ("2026-11", Some(Selector::Name("2026-11".into()))),
            ("@+1", None),
            ("@--2", None),
            ("@-+2", None),
            ("@2026", None),
            ("@-99999999999", None),
        ] {
            assert_eq!(text.parse::<Selector>().ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_time_is_a_date_or_a_duration_in_utc() {
        let now = OffsetDateTime::parse("2026-11-24T12:00:00Z", &Rfc3339).unwrap();
        for (text, expected) in [
            ("now", "2026-11-24T12:00:00Z"),
            ("2026-11-24", "2026-11-24T00:00:00Z"),
            ("2026-11-24 09:00", "2026-11-24T09:00:00Z"),
            ("2026-11-24T09:00", "2026-11-24T09:00:00Z"),
            ("2026-11-24 09:00:30", "2026-11-24T09:00:30Z"),
            ("2026-11-24 09:00:30.25", "2026-11-24T09:00:30.25Z"),
            ("2026-11-24 09:00Z", "2026-11-24T09:00:00Z"),
            ("2026-11-24 09:00+01:00", "2026-11-24T08:00:00Z"),
            ("2026-11-24T09:00:00.5-02:30", "2026-11-24T11:30:00.5Z"),
            ("2 hours ago", "2026-11-24T10:00:00Z"),
            ("1 day 30m ago", "2026-11-23T11:30:00Z"),
            ("90s", "2026-11-24T11:58:30Z"),
        ] {
            let expected = OffsetDateTime::parse(expected, &Rfc3339).unwrap();
            assert_eq!(parse_time_at(text, now), Ok(expected), "{text}");
        }
        for text in [
            "",
            "ago",
            "yesterday",
            "2026-13-01",
            "9",
            "in 2 hours",
            "24.11.2026",
        ] {
            assert!(parse_time_at(text, now).is_err(), "{text}");
        }
        assert!(parse_time_at("999999999999 years ago", now + Duration::days(1)).is_err());
    }
}
