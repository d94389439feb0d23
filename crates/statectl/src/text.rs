//! How things look to people: styles, texts that somebody else wrote, sizes, ages.

use anstyle::{AnsiColor, Style};
use bytesize::ByteSize;
use std::fmt::Write as _;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use timeago::Formatter;

pub(crate) const HEADING: Style = Style::new().bold();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const CAREFUL: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const FAINT: Style = Style::new().dimmed();

/// A text that somebody else wrote, made harmless to a terminal: characters that move the cursor, change a colour or turn the
/// direction of writing are escaped.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || is_invisible(character) {
            // To a string this does not fail.
            let _ = write!(plain, "{}", character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

/// Directions and separators that have no shape of their own.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The first line of a text, with an ellipsis if there is more.
pub(crate) fn first_line(text: &str) -> String {
    let text = text.trim();
    match text.split_once('\n') {
        Some((line, _)) => format!("{} …", plain(line.trim_end())),
        None => plain(text),
    }
}

pub(crate) fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// The time from which ages are counted, and how long something stays in the trash.
#[expect(clippy::disallowed_methods, reason = "the program's one look at the clock")]
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// For programs.
pub(crate) fn rfc3339(time: OffsetDateTime) -> Option<String> {
    time.format(&Rfc3339).ok()
}

/// The same time without fractions, to be read by people.
pub(crate) fn whole_seconds(time: OffsetDateTime) -> OffsetDateTime {
    time.replace_nanosecond(0).unwrap_or(time)
}

/// How long ago `then` was.
pub(crate) fn age(then: OffsetDateTime, now: OffsetDateTime) -> String {
    match (now - then).try_into() {
        Ok(duration) => Formatter::new().convert(duration),
        Err(_) => "in the future".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;

    #[test]
    fn plain_text_cannot_steer_the_terminal() {
        assert_eq!(
            plain("a\u{1b}[31mb\u{9b}c\u{202e}d\u{61c}e\n"),
            "a\\u{1b}[31mb\\u{9b}c\\u{202e}d\\u{61c}e\\n"
        );
        assert_eq!(plain("größe \"L\" 🚀"), "größe \"L\" 🚀");
    }

    #[test]
    fn first_line_marks_that_more_follows() {
        assert_eq!(first_line("one\ntwo"), "one …");
        assert_eq!(first_line("one\n"), "one");
    }

    #[test]
    fn age_is_in_words_and_names_the_future() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(1);
        assert_eq!(age(now - Duration::hours(3), now), "3 hours ago");
        assert_eq!(age(now + Duration::seconds(1), now), "in the future");
    }
}
