//! Reads a JSON text (RFC 8259) once, from front to back: checks its grammar and gives strings, integers and raw values.
//!
//! Nothing here recurses, and no error quotes the text.

use super::scan::{is_white, special_in_string, white_end};
use std::borrow::Cow;
use std::fmt;

/// How deeply lists and objects nest in a value that other programs can read.
pub(super) const MAX_DEPTH: usize = 128;

/// Fails unless the text is one value without a defect; the error says what it has.
pub(crate) fn check(text: &str, max_depth: usize) -> Result<(), String> {
    let mut reader = Reader::new(text);
    reader.value.max_depth = max_depth;
    let defect = reader.value().map(|value| value.defect);
    match defect.and_then(|defect| reader.end().map(|()| defect)) {
        Ok(None) => Ok(()),
        Ok(Some(defect)) => Err(defect.describe(max_depth)),
        Err(_) => Err("text that is not one JSON value".into()),
    }
}

/// A place in a text: always at a token or at the end, never at white space.
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    value: Value<'a>,
}

/// The state of reading a raw value. Kept from one value to the next, so that memory is allocated once.
struct Value<'a> {
    max_depth: usize,
    /// The brackets that close the open lists and objects.
    closing: Vec<u8>,
    /// The open objects. Neither they nor their names are kept once a defect was found.
    objects: Vec<Object>,
    /// The names of the open objects, as they are spelt.
    names: Vec<&'a str>,
    /// The value without its white space, up to `copied`.
    compact: String,
    copied: usize,
    /// Whether a line feed stands between its tokens.
    has_lines: bool,
    defect: Option<Defect>,
}

struct Object {
    /// Where its names begin.
    first_name: usize,
    /// Whether each of its names is greater than the one before: then no name is repeated.
    is_sorted: bool,
    has_escapes: bool,
}

/// One value as its text: without white space around it, and without any if it spans several lines.
pub(crate) struct RawText<'r> {
    pub(super) text: &'r str,
    pub(super) defect: Option<Defect>,
}

/// A defect of a grammatical value that not all programs read alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    /// Lists and objects that nest more deeply than allowed.
    TooDeep,
    /// The same name twice in one object, however it is escaped.
    RepeatedName,
    /// Half of a surrogate pair in a name, which is not Unicode text and cannot be compared.
    BrokenName,
}

/// The reason why a text cannot be read. Boxed, because the functions that may return it are called for each token.
#[derive(Debug)]
pub(crate) struct Problem(Box<Details>);

#[derive(Debug)]
struct Details {
    message: String,
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the first token of `text`.
    pub(crate) fn new(text: &'a str) -> Self {
        let mut reader = Self {
            text,
            at: 0,
            value: Value {
                max_depth: MAX_DEPTH,
                closing: Vec::new(),
                objects: Vec::new(),
                names: Vec::new(),
                compact: String::new(),
                copied: 0,
                has_lines: false,
                defect: None,
            },
        };
        reader.pass_white();
        reader
    }

    /// How much is still to be read.
    pub(crate) fn rest_length(&self) -> usize {
        self.rest().len()
    }

    /// Fails unless the text ends here.
    pub(crate) fn end(&self) -> Result<(), Problem> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.problem("expected the end of the text")),
        }
    }

    /// Opens a list or an object; `what` names it in the error.
    pub(crate) fn open(&mut self, bracket: u8, what: &str) -> Result<(), Problem> {
        if self.peek() != Some(bracket) {
            return Err(self.expected(what));
        }
        self.at += 1;
        self.pass_white();
        Ok(())
    }

    /// Moves to the value of the next member of an object and returns its name, or moves past the object. `is_first` is true
    /// right after [`open`](Self::open).
    pub(crate) fn next_name(&mut self, is_first: &mut bool) -> Result<Option<Cow<'a, str>>, Problem> {
        if !self.next(b'}', is_first)? {
            return Ok(None);
        }
        if self.peek() != Some(b'"') {
            return Err(self.expected("the name of a member"));
        }
        let name = self.string()?;
        self.pass_colon()?;
        self.pass_white();
        Ok(Some(name))
    }

    /// Moves to the next element of a list, or past the list.
    pub(crate) fn next_element(&mut self, is_first: &mut bool) -> Result<bool, Problem> {
        self.next(b']', is_first)
    }

    fn next(&mut self, closing: u8, is_first: &mut bool) -> Result<bool, Problem> {
        let is_first = std::mem::take(is_first);
        match self.peek() {
            // After a comma the bracket is not an element; reading the element reports that.
            Some(byte) if byte == closing => {
                self.at += 1;
                self.pass_white();
                Ok(false)
            }
            _ if is_first => Ok(true),
            Some(b',') => {
                self.at += 1;
                self.pass_white();
                Ok(true)
            }
            _ => Err(self.expected(after_item(closing))),
        }
    }

    /// Passes over `null`, if that is next.
    pub(crate) fn null(&mut self) -> bool {
        let is_null = self.rest().starts_with(b"null");
        if is_null {
            self.at += 4;
            self.pass_white();
        }
        is_null
    }

    /// The text of a string, borrowed unless it has escapes.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, Problem> {
        if self.peek() != Some(b'"') {
            return Err(self.expected("a string"));
        }
        let start = self.at;
        let has_escapes = self.pass_string()?;
        let text = unquote(&self.text[start..self.at], has_escapes)
            .ok_or_else(|| Problem::new("half of a surrogate pair in a string", start))?;
        self.pass_white();
        Ok(text)
    }

    /// A number without fraction and exponent that fits into 64 bits.
    pub(crate) fn integer(&mut self) -> Result<i64, Problem> {
        let start = self.at;
        if matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
            self.pass_number()?;
        }
        let digits = &self.text[start..self.at];
        // The sign of -0 would be lost.
        let integer = digits.parse().ok().filter(|_| digits != "-0");
        self.pass_white();
        integer.ok_or_else(|| Problem::new("expected an integer of 64 bits", start))
    }

    /// Any value, as its text.
    pub(crate) fn value(&mut self) -> Result<RawText<'_>, Problem> {
        let start = self.at;
        self.value.start(start);
        self.pass_value()?;
        let end = self.at;
        self.pass_white();
        let value = &mut self.value;
        let text = if value.has_lines {
            value.compact.push_str(&self.text[value.copied..end]);
            value.compact.as_str()
        } else {
            &self.text[start..end]
        };
        Ok(RawText {
            text,
            defect: value.defect,
        })
    }

    fn pass_value(&mut self) -> Result<(), Problem> {
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.pass_string()?;
                }
                Some(b'{') => {
                    self.open_inside(b'}');
                    if self.peek() != Some(b'}') {
                        self.pass_name()?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.open_inside(b']');
                    if self.peek() != Some(b']') {
                        continue;
                    }
                }
                Some(b'-' | b'0'..=b'9') => self.pass_number()?,
                Some(b't') => self.pass_word("true")?,
                Some(b'f') => self.pass_word("false")?,
                Some(b'n') => self.pass_word("null")?,
                _ => return Err(self.expected("a value")),
            }
            // Behind a value, or at the end of an empty list or object.
            loop {
                let Some(&closing) = self.value.closing.last() else {
                    return Ok(());
                };
                self.pass_white_inside();
                match self.peek() {
                    Some(byte) if byte == closing => {
                        self.at += 1;
                        self.value.close();
                    }
                    Some(b',') => {
                        self.at += 1;
                        self.pass_white_inside();
                        if closing == b'}' {
                            self.pass_name()?;
                        }
                        break;
                    }
                    _ => return Err(self.expected(after_item(closing))),
                }
            }
        }
    }

    fn open_inside(&mut self, closing: u8) {
        self.value.open(closing);
        self.at += 1;
        self.pass_white_inside();
    }

    /// The name of a member inside a raw value, up to the member's value.
    fn pass_name(&mut self) -> Result<(), Problem> {
        if self.peek() != Some(b'"') {
            return Err(self.expected("the name of a member"));
        }
        let start = self.at;
        let has_escapes = self.pass_string()?;
        self.value.add_name(&self.text[start..self.at], has_escapes);
        self.pass_white_inside();
        self.pass_colon()?;
        self.pass_white_inside();
        Ok(())
    }

    fn pass_colon(&mut self) -> Result<(), Problem> {
        if self.peek() != Some(b':') {
            return Err(self.expected("a colon"));
        }
        self.at += 1;
        Ok(())
    }

    /// Passes over a string and says whether it has escapes.
    #[inline]
    fn pass_string(&mut self) -> Result<bool, Problem> {
        let bytes = self.text.as_bytes();
        let mut has_escapes = false;
        self.at += 1;
        loop {
            self.at = special_in_string(bytes, self.at);
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(has_escapes);
                }
                Some(b'\\') => {
                    has_escapes = true;
                    self.pass_escape()?;
                }
                Some(_) => return Err(self.problem("a control character in a string: escape it")),
                None => return Err(self.expected("the end of a string")),
            }
        }
    }

    fn pass_escape(&mut self) -> Result<(), Problem> {
        self.at += match self.rest() {
            [_, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [_, b'u', digits @ ..]
                if digits
                    .first_chunk::<4>()
                    .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) =>
            {
                6
            }
            _ => return Err(self.problem("not an escape that JSON knows")),
        };
        Ok(())
    }

    fn pass_number(&mut self) -> Result<(), Problem> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
            if matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(self.problem("a number with a zero in front"));
            }
        } else {
            self.pass_digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.pass_digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.pass_digits()?;
        }
        Ok(())
    }

    fn pass_digits(&mut self) -> Result<(), Problem> {
        let digits = self
            .rest()
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits == 0 {
            return Err(self.expected("a digit"));
        }
        self.at += digits;
        Ok(())
    }

    fn pass_word(&mut self, word: &str) -> Result<(), Problem> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(self.expected("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    #[inline]
    fn pass_white(&mut self) {
        if self.is_at_white() {
            self.at = white_end(self.text.as_bytes(), self.at);
        }
    }

    /// Between the tokens of a raw value.
    #[inline]
    fn pass_white_inside(&mut self) {
        if self.is_at_white() {
            self.leave_white_out();
        }
    }

    /// Passes over white space inside a raw value, and copies what stands before it.
    fn leave_white_out(&mut self) {
        let end = white_end(self.text.as_bytes(), self.at);
        let value = &mut self.value;
        value.compact.push_str(&self.text[value.copied..self.at]);
        // One line feed is enough to know.
        value.has_lines = value.has_lines || self.text.as_bytes()[self.at..end].contains(&b'\n');
        value.copied = end;
        self.at = end;
    }

    #[inline]
    fn is_at_white(&self) -> bool {
        self.peek().is_some_and(is_white)
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn expected(&self, what: &str) -> Problem {
        let but = if self.peek().is_none() {
            ", and the text ends"
        } else {
            ""
        };
        self.problem(&format!("expected {what}{but}"))
    }

    /// A problem at the next token.
    pub(crate) fn problem(&self, message: &str) -> Problem {
        Problem::new(message, self.at)
    }
}

impl<'a> Value<'a> {
    fn start(&mut self, at: usize) {
        self.closing.clear();
        self.objects.clear();
        self.names.clear();
        self.compact.clear();
        self.copied = at;
        self.has_lines = false;
        self.defect = None;
    }

    fn open(&mut self, closing: u8) {
        if self.closing.len() == self.max_depth && self.defect.is_none() {
            self.defect = Some(Defect::TooDeep);
        }
        self.closing.push(closing);
        if closing == b'}' && self.defect.is_none() {
            self.objects.push(Object {
                first_name: self.names.len(),
                is_sorted: true,
                has_escapes: false,
            });
        }
    }

    #[inline]
    fn add_name(&mut self, string: &'a str, has_escapes: bool) {
        let (None, Some(object)) = (self.defect, self.objects.last_mut()) else {
            return;
        };
        let before = self.names[object.first_name..].last();
        object.is_sorted &= before.is_none_or(|before| *before < string);
        object.has_escapes |= has_escapes;
        self.names.push(string);
    }

    #[inline]
    fn close(&mut self) {
        if self.closing.pop() == Some(b'}')
            && self.defect.is_none()
            && let Some(object) = self.objects.pop()
        {
            let names = &mut self.names[object.first_name..];
            if object.has_escapes {
                self.defect = defect_of(names);
            } else if !object.is_sorted && is_repeated(names) {
                self.defect = Some(Defect::RepeatedName);
            }
            self.names.truncate(object.first_name);
        }
    }
}

/// Returns what is wrong with the names of an object, some of which have escapes.
fn defect_of(names: &[&str]) -> Option<Defect> {
    let names: Option<Vec<Cow<'_, str>>> = names.iter().map(|name| unquote(name, true)).collect();
    match names {
        None => Some(Defect::BrokenName),
        Some(mut names) => is_repeated(&mut names).then_some(Defect::RepeatedName),
    }
}

fn is_repeated<T: Ord>(names: &mut [T]) -> bool {
    // Sorted, since a hostile object may have very many.
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

/// The text of a string that has its quotation marks; nothing if an escape in it is half of a surrogate pair.
fn unquote(string: &str, has_escapes: bool) -> Option<Cow<'_, str>> {
    if has_escapes {
        return serde_json::from_str(string).ok().map(Cow::Owned);
    }
    Some(string[1..string.len() - 1].into())
}

fn after_item(closing: u8) -> &'static str {
    match closing {
        b'}' => "a comma or }",
        _ => "a comma or ]",
    }
}

impl Problem {
    fn new(message: &str, at: usize) -> Self {
        Self(Box::new(Details {
            message: message.into(),
            at,
        }))
    }

    /// The same, of this member or entry.
    pub(crate) fn within(mut self, place: impl fmt::Display) -> Self {
        self.0.message = format!("{place}: {}", self.0.message);
        self
    }

    /// The message with the line and the column in `text`, both from 1; a column is a byte.
    pub(crate) fn describe(&self, text: &str) -> String {
        let before = &text.as_bytes()[..self.0.at.min(text.len())];
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        let column = 1 + before.len() - line_start;
        format!("{} at line {line} column {column}", self.0.message)
    }
}

impl Defect {
    /// Describes the defect, and what to do about it.
    pub(super) fn describe(self, max_depth: usize) -> String {
        match self {
            Self::TooDeep => {
                format!("more than {max_depth} levels of lists and objects: nest them less deeply")
            }
            Self::RepeatedName => "an object with a member twice: remove one of them".into(),
            Self::BrokenName => "a member whose name is not Unicode text: complete its surrogate pair".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    fn read(text: &str) -> Result<(String, Option<Defect>), Problem> {
        let mut reader = Reader::new(text);
        let RawText { text, defect } = reader.value()?;
        let value = (text.into(), defect);
        reader.end()?;
        Ok(value)
    }

    fn defect(text: &str) -> Option<Defect> {
        read(text).unwrap().1
    }

    fn nested(levels: usize) -> String {
        "[".repeat(levels) + &"]".repeat(levels)
    }

    #[test]
    fn a_repeated_member_is_found_however_it_is_spelt() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"\"":1,"\u0022":2}"#,
            r#"{"\ud83d\ude80":1,"🚀":2}"#,
            r#"{"":1,"b":2,"" :3}"#,
            r#"[1,[{"x":[{"a":{},"b":[],"a":{}}]}]]"#,
            r#"{"a":{"a":1},"b":2,"a":{"a":1}}"#,
            r#"{"b":{"z":1,"a":2},"a":{"c":{}},"b":1}"#,
        ] {
            assert_eq!(defect(text), Some(Defect::RepeatedName), "{text}");
        }
    }

    #[test]
    fn the_same_name_in_other_objects_is_no_repetition() {
        for text in [
            r#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}"#,
            r#"["a","a",{"a":"a","b":"a"}]"#,
            r#"{"a":"\"a\":1,\"a\":1"}"#,
            r#"{"a":"{","b":"[[[[[","c":"\\"}"#,
            r#"{"a":1,"\\u0061":2,"A":3}"#,
            r#""a""#,
            "1e400",
        ] {
            assert_eq!(defect(text), None, "{text}");
        }
    }

    #[test]
    fn levels_are_counted_and_siblings_are_not() {
        assert_eq!(defect(&nested(MAX_DEPTH)), None);
        assert_eq!(defect(&nested(MAX_DEPTH + 1)), Some(Defect::TooDeep));
        let deepest = nested(MAX_DEPTH - 2);
        assert_eq!(defect(&format!("[{deepest},{{\"a\":{deepest}}}]")), None);
        let deep = format!("[{{\"a\":{}}}]", nested(MAX_DEPTH - 1));
        assert_eq!(defect(&deep), Some(Defect::TooDeep));

        assert_eq!(check("7", 0), Ok(()));
        for max_depth in [1, 2, 16] {
            assert_eq!(check(&nested(max_depth), max_depth), Ok(()));
            let message = check(&nested(max_depth + 1), max_depth).unwrap_err();
            assert!(
                message.contains(&format!("more than {max_depth} levels")),
                "{message}"
            );
        }
        assert!(check("[] []", 1).is_err());
    }

    #[test]
    fn half_a_surrogate_pair_is_a_defect_in_names_only() {
        assert_eq!(defect(r#"{"\ud83d":1}"#), Some(Defect::BrokenName));
        assert_eq!(defect(r#"{"a":"\ud83d"}"#), None);
    }

    #[test]
    fn the_first_defect_counts_and_none_is_left_for_the_next_value() {
        let text = format!(r#"[{{"a":1,"a":2}},{},7]"#, nested(MAX_DEPTH + 1));
        assert_eq!(defect(&text), Some(Defect::RepeatedName));
        let text = format!(r#"[{{"a":{},"a":2}},{{"b":1}}]"#, nested(MAX_DEPTH + 1));
        assert_eq!(defect(&text), Some(Defect::TooDeep));

        let mut reader = Reader::new(r#"[{"a":1,"a":1},{"a":1}]"#);
        reader.open(b'[', "a list").unwrap();
        let mut is_first = true;
        let mut defects = Vec::new();
        while reader.next_element(&mut is_first).unwrap() {
            defects.push(reader.value().unwrap().defect);
        }
        assert_eq!(defects, [Some(Defect::RepeatedName), None]);
    }

    #[test]
    fn white_space_goes_only_from_values_with_several_lines() {
        for (text, expected) in [
            ("[1, 2]", "[1, 2]"),
            ("[1,\n2 ]", "[1,2]"),
            (
                "\t{\r\n\"a b\" : \"c\\n d\" ,\n\"\\\"\" : [ true , null ] }",
                r#"{"a b":"c\n d","\"":[true,null]}"#,
            ),
            ("[\n\"\\\\\", \" \\\\\\\" \"]", r#"["\\"," \\\" "]"#),
            ("[-0, 1.10,\n1e400,\"ü  🚀\"]", r#"[-0,1.10,1e400,"ü  🚀"]"#),
            ("[\n                    1                 ]", "[1]"),
            ("[\r\t1]", "[\r\t1]"),
        ] {
            assert_eq!(read(text).unwrap().0, expected);
        }
    }

    #[test]
    fn a_problem_names_its_line_and_column() {
        let text = "{\n  \"a\": 1,\n  \"b\" 2\n}";
        let problem = read(text).err().unwrap().within("entry 7");
        assert_eq!(
            problem.describe(text),
            "entry 7: expected a colon at line 3 column 7"
        );
        let problem = read("[").err().unwrap();
        assert_eq!(
            problem.describe("["),
            "expected a value, and the text ends at line 1 column 2"
        );
    }

    /// A text that is JSON or nearly so.
    fn almost_json() -> impl Strategy<Value = String> {
        let tokens: Vec<&str> =
            r#"{ } [ ] , : " "a" "\u00e9" "\ud800" "\x" "\u12" 0 -0 - 1.5 1. .5 1e5 1E+ 01 true false
            null nul é {"a":1} [[]] {} "b":2 \ 🚀"#
                .split_ascii_whitespace()
                .chain([" ", "\n", "\t", "\u{b}", "\"\u{1}\""])
                .collect();
        prop::collection::vec(prop::sample::select(tokens), 0..12).prop_map(|tokens| tokens.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn the_grammar_is_that_of_another_reader(text in almost_json()) {
            for text in [format!("[{text}]"), format!("{{\"c\":{text}}}"), text] {
                let other = serde_json::from_str::<&RawValue>(&text).is_ok();
                prop_assert_eq!(read(&text).is_ok(), other, "{}", text);
            }
        }

        #[test]
        fn strings_are_those_of_another_reader(
            text in r#""([a-zé"\\/bfnrtu0-9dD{}]|\\u[0-9a-fA-F]{4}|\\ud83d\\ude80)*"?"#,
        ) {
            let other = serde_json::from_str::<String>(&text).ok();
            let mut reader = Reader::new(&text);
            let string = reader.string().and_then(|string| reader.end().map(|()| string.into_owned()));
            prop_assert_eq!(string.ok(), other);
        }

        #[test]
        fn integers_are_those_of_another_reader(
            text in "-?[0-9]{1,21}(\\.0|e1)?|-?9223372036854775[0-9]{3}",
        ) {
            let other = serde_json::from_str::<i64>(&text).ok();
            let mut reader = Reader::new(&text);
            let integer = reader.integer().and_then(|integer| reader.end().map(|()| integer));
            prop_assert_eq!(integer.ok(), other);
        }
    }
}
