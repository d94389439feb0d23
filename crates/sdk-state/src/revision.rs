use crate::stack_id::Excerpt;
use crate::{Error, ErrorKind};
use std::cmp::Ordering;
use std::fmt::{self, Write as _};
use std::str::FromStr;
use time::{Date, Duration, Month, OffsetDateTime, Time};

/// The name of a stored snapshot: the time when it was written, and a number if several writes share that time.
///
/// `2026-07-10T12:00:00.25Z_3` is RFC 3339 in UTC with up to nine fraction digits, trailing zeros left out, then optionally
/// `_N` with N from 1 to 999 999 999. Any other safe name, which somebody may have put there, can be listed, read and made
/// current, but no write uses one.
///
/// Revisions sort by time, then by number; names that are not times come last, by their text. Sorting the texts would be
/// wrong: `…00.1Z` sorts before `…00Z`, and `_10` before `_2`.
///
/// ```
/// use sdk_state::Revision;
///
/// # fn main() -> Result<(), sdk_state::Error> {
/// let second: Revision = "2026-07-10T12:00:00Z_2".parse()?;
/// let tenth: Revision = "2026-07-10T12:00:00Z_10".parse()?;
/// assert!(second < tenth);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Revision(Name);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Name {
    Moment(Moment),
    /// A safe name that is not a time.
    Other(Box<str>),
}

/// The derived order is by time, then by number (0 is the bare name).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Moment {
    seconds: i64,
    nanoseconds: u32,
    suffix: u32,
}

impl Revision {
    /// The longest name in bytes.
    pub const MAX_BYTES: usize = 128;
    /// The largest suffix.
    pub const MAX_SUFFIX: u32 = 999_999_999;

    /// Makes the revision of the first write at `time`. Only the years 0 to 9999 have names.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](ErrorKind::InvalidName) for another year.
    pub fn at(time: OffsetDateTime) -> Result<Self, Error> {
        // Close to the limits of the calendar, the offset alone can exceed them.
        let utc = time
            .checked_to_offset(time::UtcOffset::UTC)
            .filter(|utc| (0..=9999).contains(&utc.year()))
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidName,
                    format!(
                        "the clock is in the year {}: a revision has a year of four digits in UTC",
                        time.year()
                    ),
                )
            })?;
        Ok(Self::moment(utc.unix_timestamp(), utc.nanosecond(), 0))
    }

    /// Reads the content of a `current` file: one name and a line feed. A missing line feed and white space around the name are
    /// accepted, as unobin does.
    ///
    /// # Errors
    ///
    /// [`Damaged`](ErrorKind::Damaged) for everything else, including an empty file: it never means "no state yet".
    pub fn from_pointer(content: &[u8]) -> Result<Self, Error> {
        let name = str::from_utf8(content.trim_ascii()).ok();
        name.and_then(|name| name.parse().ok()).ok_or_else(|| {
            Error::new(
                ErrorKind::Damaged,
                "`current` does not hold the name of one revision: make a revision current, which replaces it",
            )
        })
    }

    /// Returns the time in the name, in UTC, if there is one: the time of the writer's clock or, if the clock stood still or
    /// was behind, that of the revision that was current.
    pub fn time(&self) -> Option<OffsetDateTime> {
        let Name::Moment(moment) = &self.0 else {
            return None;
        };
        Some(moment.time())
    }

    /// Returns the number after the time, 0 without a suffix; `None` if the name is not a time.
    pub fn suffix(&self) -> Option<u32> {
        match &self.0 {
            Name::Moment(moment) => Some(moment.suffix),
            Name::Other(_) => None,
        }
    }

    /// Whether a write may use this name, because it is a time.
    pub fn is_writable(&self) -> bool {
        matches!(self.0, Name::Moment(_))
    }

    /// Whether both have the same time, whatever their numbers.
    pub fn same_moment(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Name::Moment(mine), Name::Moment(theirs)) => {
                (mine.seconds, mine.nanoseconds) == (theirs.seconds, theirs.nanoseconds)
            }
            _ => false,
        }
    }

    /// The name of a write that begins at `now` while `current` is current: always after `current`, whatever the clock says.
    ///
    /// A `current` that is not a time is ignored.
    pub(crate) fn first_candidate(now: OffsetDateTime, current: Option<&Self>) -> Result<Self, Error> {
        let now = Self::at(now)?;
        match (&now.0, current.map(|current| &current.0)) {
            (Name::Moment(clock), Some(Name::Moment(moment)))
                if (clock.seconds, clock.nanoseconds) <= (moment.seconds, moment.nanoseconds) =>
            {
                Self(Name::Moment(*moment)).with_suffix(u64::from(moment.suffix) + 1)
            }
            _ => Ok(now),
        }
    }

    /// The same time with another number; the next nanosecond without a number if the numbers are used up.
    pub(crate) fn with_suffix(&self, suffix: u64) -> Result<Self, Error> {
        let Name::Moment(moment) = self.0 else {
            return Ok(self.clone());
        };
        match u32::try_from(suffix) {
            Ok(suffix) if suffix <= Self::MAX_SUFFIX => {
                Ok(Self::moment(moment.seconds, moment.nanoseconds, suffix))
            }
            _ => match moment.time().checked_add(Duration::nanoseconds(1)) {
                Some(next) => Self::at(next),
                None => Err(Error::new(
                    ErrorKind::InvalidName,
                    "no revision comes after the end of the year 9999",
                )),
            },
        }
    }

    fn moment(seconds: i64, nanoseconds: u32, suffix: u32) -> Self {
        Self(Name::Moment(Moment {
            seconds,
            nanoseconds,
            suffix,
        }))
    }
}

impl Moment {
    #[expect(
        clippy::expect_used,
        reason = "a moment is only made from a valid date, whose years time knows"
    )]
    fn time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.seconds)
            .and_then(|time| time.replace_nanosecond(self.nanoseconds))
            .expect("years 0 to 9999")
    }
}

impl FromStr for Revision {
    type Err = Error;

    /// Accepts the canonical form of a time, and every other safe name: up to 128 ASCII letters, digits and `: . _ + -` that
    /// begin with a letter or a digit.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](ErrorKind::InvalidName) for everything else.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes = text.as_bytes();
        if let Some(moment) = parse_moment(bytes) {
            return Ok(Self(Name::Moment(moment)));
        }
        let is_safe = bytes.len() <= Self::MAX_BYTES
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b":._+-".contains(byte));
        if is_safe {
            return Ok(Self(Name::Other(text.into())));
        }
        Err(Error::new(
            ErrorKind::InvalidName,
            format!(
                "{} is not the name of a revision, such as 2026-07-10T12:00:00.25Z_3",
                Excerpt(text)
            ),
        ))
    }
}

/// Accepts canonical names only: `2026-07-10T12:00:00.10Z` and `…Z_01` are not times. Written by hand, because a general date
/// parser would be the slow part of listing.
fn parse_moment(text: &[u8]) -> Option<Moment> {
    let (date, rest) = text.split_first_chunk::<19>()?;
    let digits = |from: usize, to: usize| number(&date[from..to]);
    for (at, separator) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')] {
        if date[at] != separator {
            return None;
        }
    }
    let month = Month::try_from(digits(5, 7)? as u8).ok()?;
    let date = Date::from_calendar_date(digits(0, 4)? as i32, month, digits(8, 10)? as u8).ok()?;
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    let time = Time::from_hms(hour as u8, minute as u8, second as u8).ok()?;

    let (nanoseconds, rest) = match rest.strip_prefix(b".") {
        Some(rest) => {
            let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (fraction, rest) = rest.split_at(length);
            if !(1..=9).contains(&length) || fraction.ends_with(b"0") {
                return None;
            }
            (number(fraction)? * 10_u32.pow(9 - length as u32), rest)
        }
        None => (0, rest),
    };
    let suffix = match rest.strip_prefix(b"Z")? {
        b"" => 0,
        rest => {
            let digits = rest.strip_prefix(b"_")?;
            if digits.len() > 9 || digits.starts_with(b"0") {
                return None;
            }
            number(digits)?
        }
    };
    Some(Moment {
        seconds: OffsetDateTime::new_utc(date, time).unix_timestamp(),
        nanoseconds,
        suffix,
    })
}

/// One to nine ASCII digits.
fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u32, |number, byte| {
        byte.is_ascii_digit()
            .then(|| number * 10 + u32::from(byte - b'0'))
    })
}

impl Ord for Revision {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Revision {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = match &self.0 {
            Name::Moment(moment) => moment,
            Name::Other(name) => return f.pad(name),
        };
        let time = moment.time();
        let mut name = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            time.year(),
            u8::from(time.month()),
            time.day(),
            time.hour(),
            time.minute(),
            time.second()
        );
        if moment.nanoseconds != 0 {
            write!(name, ".{:09}", moment.nanoseconds)?;
            name.truncate(name.trim_end_matches('0').len());
        }
        name.push('Z');
        if moment.suffix != 0 {
            write!(name, "_{}", moment.suffix)?;
        }
        f.pad(&name)
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revision({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(text: &str) -> Revision {
        text.parse().unwrap()
    }

    #[test]
    fn revisions_sort_by_time_number_and_text() {
        let sorted = [
            "0000-01-01T00:00:00Z",
            "2026-07-10T12:00:00Z",
            "2026-07-10T12:00:00Z_2",
            "2026-07-10T12:00:00Z_10",
            "2026-07-10T12:00:00.000000001Z",
            "2026-07-10T12:00:00.1Z",
            "2026-07-10T12:00:00.1Z_999999999",
            "9999-12-31T23:59:59.999999999Z",
            "2026-07-10T12:00:00.10Z",
            "not-a-revision",
        ];
        let mut shuffled: Vec<Revision> = sorted.iter().rev().map(|text| revision(text)).collect();
        shuffled.sort();
        let texts: Vec<String> = shuffled.iter().map(Revision::to_string).collect();
        assert_eq!(texts, sorted);
    }

    #[test]
    fn only_the_canonical_form_of_a_moment_is_a_moment() {
        for text in [
            "2026-07-10T12:00:00.10Z",
            "2026-07-10T12:00:00.0Z",
            "2026-07-10T12:00:00.Z",
            "2026-07-10T12:00:00.1234567891Z",
            "2026-07-10T12:00:00Z_0",
            "2026-07-10T12:00:00Z_01",
            "2026-07-10T12:00:00Z_",
            "2026-07-10T12:00:00Z_1000000000",
            "2026-07-10T12:00:00Z_+1",
            "2026-07-10T12:00:00",
            "2026-07-10t12:00:00z",
            "2026-07-10T12:00:00+00:00",
            "2026-02-30T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-07-10T24:00:00Z",
            "2026-07-10T12:00:60Z",
            "2026-07-10T12:00:00Zx",
            "1x26-07-10T12:00:00Z",
        ] {
            let revision = revision(text);
            assert!(!revision.is_writable(), "{text}");
            assert_eq!(revision.to_string(), text);
            assert_eq!((revision.time(), revision.suffix()), (None, None));
        }
    }

    #[test]
    fn an_unsafe_name_is_no_revision() {
        let long = "r".repeat(129);
        for text in [
            "", ".", "..", ".x", "_1", "a/b", "../x", "a b", "a\n", "a\0", "é", &long,
        ] {
            let error = text.parse::<Revision>().unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::InvalidName, "{text:?}");
        }
        assert!("r".repeat(128).parse::<Revision>().is_ok());
    }

    #[test]
    fn a_write_comes_after_the_current_revision() {
        let now = revision("2026-07-10T12:00:00.5Z").time().unwrap();
        for (current, expected) in [
            (None, "2026-07-10T12:00:00.5Z"),
            (Some("not-a-revision"), "2026-07-10T12:00:00.5Z"),
            (Some("2026-07-10T12:00:00.4Z_7"), "2026-07-10T12:00:00.5Z"),
            (Some("2026-07-10T12:00:00.5Z"), "2026-07-10T12:00:00.5Z_1"),
            (Some("2026-07-10T12:00:00.5Z_9"), "2026-07-10T12:00:00.5Z_10"),
            (Some("2026-07-11T12:00:00Z"), "2026-07-11T12:00:00Z_1"),
            (
                Some("2026-07-11T12:00:00.999999999Z_999999999"),
                "2026-07-11T12:00:01Z",
            ),
        ] {
            let current = current.map(revision);
            let candidate = Revision::first_candidate(now, current.as_ref()).unwrap();
            assert_eq!(candidate.to_string(), expected);
        }
    }

    #[test]
    fn the_last_moment_of_the_year_9999_is_an_error() {
        let last = revision("9999-12-31T23:59:59.999999999Z_999999999");
        let error = Revision::first_candidate(OffsetDateTime::UNIX_EPOCH, Some(&last)).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::InvalidName);
    }

    #[test]
    fn a_clock_outside_the_calendar_is_an_error() {
        use time::{PrimitiveDateTime, UtcOffset};

        for (local, hours) in [(PrimitiveDateTime::MAX, -1), (PrimitiveDateTime::MIN, 1)] {
            let time = local.assume_offset(UtcOffset::from_hms(hours, 0, 0).unwrap());
            assert_eq!(Revision::at(time).unwrap_err().kind(), &ErrorKind::InvalidName);
        }
    }

    #[test]
    fn a_revision_is_padded_like_any_text() {
        assert_eq!(
            format!("{:>24}", revision("2026-07-10T12:00:00Z")),
            "    2026-07-10T12:00:00Z"
        );
    }

    proptest::proptest! {
        #[test]
        fn a_moment_survives_its_text_and_keeps_its_order(
            a in (-62_167_219_200_i64..253_402_300_800, 0_u32..1_000_000_000, 0_u32..1_000_000_000),
            b in (-62_167_219_200_i64..253_402_300_800, 0_u32..1_000_000_000, 0_u32..1_000_000_000),
        ) {
            let (left, right) = (Revision::moment(a.0, a.1, a.2), Revision::moment(b.0, b.1, b.2));
            proptest::prop_assert_eq!(&revision(&left.to_string()), &left);
            proptest::prop_assert_eq!(left.cmp(&right), a.cmp(&b));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
            if let Ok(revision) = text.parse::<Revision>() {
                proptest::prop_assert_eq!(revision.to_string(), text);
            }
        }
    }
}
