//! How things are called for people: texts from elsewhere, sizes, ages.

use bytesize::ByteSize;
use std::fmt::Write as _;
use time::OffsetDateTime;
use timeago::Formatter;

/// A text that somebody else wrote, harmless to a terminal: what would move the cursor, change a colour or turn the
/// direction of writing is spelt out.
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

/// Directions and separators that show nothing of themselves.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The first line of a text, and whether there is more.
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
    fn a_foreign_text_cannot_steer_the_terminal() {
        assert_eq!(
            plain("a\u{1b}[31mb\u{9b}c\u{202e}d\u{61c}e\n"),
            "a\\u{1b}[31mb\\u{9b}c\\u{202e}d\\u{61c}e\\n"
        );
        assert_eq!(plain("größe \"L\" 🚀"), "größe \"L\" 🚀");
    }

    #[test]
    fn of_a_long_message_the_first_line_is_shown_and_that_there_is_more() {
        assert_eq!(first_line("one\ntwo"), "one …");
        assert_eq!(first_line("one\n"), "one");
    }

    #[test]
    fn an_age_is_told_in_words_and_the_future_is_named() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(1);
        assert_eq!(age(now - Duration::hours(3), now), "3 hours ago");
        assert_eq!(age(now + Duration::seconds(1), now), "in the future");
    }
}
