//! Writes a JSON text: on one line, or indented for people.

use super::reader::MAX_DEPTH;
use super::scan::{is_white, special_in_string};
use std::io;

/// Writes a text, and puts commas and white space where they belong.
pub(crate) struct Writer<'a> {
    text: String,
    /// How many levels are open, if the text is indented.
    depth: Option<usize>,
    /// The position where a value is inserted later.
    mark: usize,
    /// The output of an indented text, piece by piece.
    out: Option<&'a mut dyn io::Write>,
    failure: Option<io::Error>,
}

/// How long such a piece is, about.
const PIECE: usize = 1 << 16;

/// A line feed and two spaces for each of [`MAX_DEPTH`] levels.
const NEW_LINE: &str = {
    const BYTES: [u8; 1 + 2 * MAX_DEPTH] = {
        let mut bytes = [b' '; 1 + 2 * MAX_DEPTH];
        bytes[0] = b'\n';
        bytes
    };
    match str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => "",
    }
};

impl<'a> Writer<'a> {
    /// For a text on one line, of about `length` bytes.
    pub(crate) fn on_one_line(length: usize) -> Self {
        Self {
            text: String::with_capacity(length),
            depth: None,
            mark: 0,
            out: None,
            failure: None,
        }
    }

    /// For a text with two spaces for each level. What nests deeper than [`MAX_DEPTH`] stays on one line, so that the text
    /// is not longer than its values by the square of their depth.
    pub(crate) fn indented(length: usize) -> Self {
        Self {
            text: String::with_capacity(length),
            depth: Some(0),
            mark: 0,
            out: None,
            failure: None,
        }
    }

    /// For an indented text that is never in memory as a whole.
    pub(crate) fn indented_to(out: &'a mut dyn io::Write) -> Self {
        Self {
            out: Some(out),
            ..Self::indented(PIECE + PIECE / 16)
        }
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// Leaves out a value, whose text is put here later.
    pub(crate) fn mark(&mut self) {
        self.mark = self.text.len();
    }

    /// What stands before and after the [`mark`](Self::mark).
    pub(crate) fn split_at_mark(mut self) -> (String, String) {
        let after = self.text.split_off(self.mark);
        (self.text, after)
    }

    /// Hands over what is left, and says what failed first.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.hand_over();
        self.failure.map_or(Ok(()), Err)
    }

    fn hand_over(&mut self) {
        if let Some(out) = &mut self.out {
            if self.failure.is_none() {
                self.failure = out.write_all(self.text.as_bytes()).err();
            }
            self.text.clear();
        }
    }

    /// Opens a list or an object.
    pub(crate) fn open(&mut self, bracket: char) {
        self.text.push(bracket);
        self.depth = self.depth.map(|depth| depth + 1);
    }

    /// Closes a list or an object.
    pub(crate) fn close(&mut self, bracket: char) {
        self.depth = self.depth.map(|depth| depth - 1);
        if !self.is_at_start() {
            self.new_line();
        }
        self.text.push(bracket);
    }

    /// Begins the next element of a list.
    pub(crate) fn element(&mut self) {
        if !self.is_at_start() {
            self.text.push(',');
        }
        self.new_line();
    }

    /// Begins the next member of an object. The name has its quotation marks and its colon, and needs no escapes.
    pub(crate) fn member(&mut self, name: &'static str) {
        self.element();
        self.text.push_str(name);
        self.pass_colon();
    }

    /// Begins the next member of an object, whatever its name.
    pub(crate) fn any_member(&mut self, name: &str) {
        self.element();
        self.string(name);
        self.text.push(':');
        self.pass_colon();
    }

    fn pass_colon(&mut self) {
        if self.depth.is_some() {
            self.text.push(' ');
        }
    }

    pub(crate) fn string(&mut self, text: &str) {
        self.text.push('"');
        let mut copied = 0;
        loop {
            let at = special_in_string(text.as_bytes(), copied);
            self.text.push_str(&text[copied..at]);
            match text.as_bytes().get(at) {
                Some(&byte) => self.escape(byte),
                None => break,
            }
            copied = at + 1;
        }
        self.text.push('"');
    }

    fn escape(&mut self, byte: u8) {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            0x08 => "\\b",
            0x09 => "\\t",
            0x0a => "\\n",
            0x0c => "\\f",
            0x0d => "\\r",
            _ => return self.text.push_str(&format!("\\u{byte:04x}")),
        };
        self.text.push_str(short);
    }

    pub(crate) fn integer(&mut self, value: i64) {
        self.text.push_str(&value.to_string());
    }

    /// One value whose text is known to be JSON, on one line as it is.
    pub(crate) fn raw(&mut self, value: &str) {
        if self.depth.is_none() {
            self.text.push_str(value);
            return;
        }
        let bytes = value.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'"' => {
                    let end = string_end(bytes, at);
                    self.text.push_str(&value[at - 1..end]);
                    at = end;
                }
                b',' => {
                    self.text.push(',');
                    self.new_line();
                }
                b':' => self.text.push_str(": "),
                b'{' | b'[' => {
                    self.open(char::from(byte));
                    at += count(bytes, at, is_white);
                    if !matches!(bytes.get(at), Some(b'}' | b']')) {
                        self.new_line();
                    }
                }
                b'}' | b']' => self.close(char::from(byte)),
                byte if is_white(byte) => {}
                // A number or a word.
                _ => {
                    let end = at + count(bytes, at, |byte| !is_white(byte) && !b",:}]".contains(&byte));
                    self.text.push_str(&value[at - 1..end]);
                    at = end;
                }
            }
        }
    }

    /// Whether nothing stands in the list or object yet. No element ends with a bracket that opens.
    fn is_at_start(&self) -> bool {
        matches!(self.text.as_bytes().last(), Some(b'{' | b'['))
    }

    fn new_line(&mut self) {
        if let Some(depth) = self.depth.filter(|&depth| depth <= MAX_DEPTH) {
            self.text.push_str(&NEW_LINE[..1 + 2 * depth]);
            if self.text.len() >= PIECE {
                self.hand_over();
            }
        }
    }
}

/// Just after the string whose text starts at `at`.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at = special_in_string(bytes, at);
        match bytes.get(at) {
            Some(b'\\') => at += 2,
            _ => return bytes.len().min(at + 1),
        }
    }
}

/// How many bytes from `at` on are like this.
fn count(bytes: &[u8], at: usize, is_like_this: impl Fn(u8) -> bool) -> usize {
    bytes[at..].iter().take_while(|byte| is_like_this(**byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indent(value: &str) -> String {
        let mut out = Writer::indented(0);
        out.raw(value);
        out.into_text()
    }

    #[test]
    fn an_indented_text_looks_as_people_expect_it() {
        let text = r#"{"a":[1,-0,1e400],"b":{},"c":[ ],"d":{"e":"x: [1, {}]"},"f":[{}, [null]]}"#;
        let expected = r#"{
  "a": [
    1,
    -0,
    1e400
  ],
  "b": {},
  "c": [],
  "d": {
    "e": "x: [1, {}]"
  },
  "f": [
    {},
    [
      null
    ]
  ]
}"#;
        assert_eq!(indent(text), expected);
        assert_eq!(indent(expected), expected);
        for alone in ["\"one\"", "\"\\\\\"", "\"\\\"\"", "1.10", "null", "{}", "[]"] {
            assert_eq!(indent(alone), alone);
        }
    }

    #[test]
    fn deep_nesting_is_not_indented_by_its_square() {
        let text = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        let indented = indent(&text);
        assert!(indented.len() < text.len() + 2 * 129 * 257);
        let compact: String = indented.split_ascii_whitespace().collect();
        assert_eq!(compact, text);
    }

    #[test]
    fn a_text_in_pieces_is_the_whole_text() {
        let member = format!(r#""a{}":[{{}},[],"b"]"#, "x".repeat(PIECE / 3));
        let value = format!("[{{{member}}},[[]],{{{member}}}]");
        let value = format!("[{value},{value},{value},{value}]");
        let mut pieces = Vec::new();
        let mut out = Writer::indented_to(&mut pieces);
        out.raw(&value);
        out.finish().unwrap();
        assert_eq!(String::from_utf8(pieces).unwrap(), indent(&value));
    }

    #[test]
    fn nothing_is_handed_over_after_a_failure() {
        struct Full(usize);
        impl io::Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                self.0 += 1;
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let value = format!("[{}1]", "1,".repeat(PIECE));
        let mut full = Full(0);
        let mut out = Writer::indented_to(&mut full);
        out.raw(&value);
        assert_eq!(out.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(full.0, 1);
    }

    #[test]
    fn strings_are_escaped_as_by_another_writer() {
        for character in (0..0x300).chain(0xfff0..0x1_0010).filter_map(char::from_u32) {
            let text = format!("{character}a{character}{character}bcdefghijkl{character}");
            let mut out = Writer::on_one_line(0);
            out.string(&text);
            assert_eq!(out.into_text(), serde_json::to_string(&text).unwrap());
        }
    }

    #[test]
    fn commas_stand_between_elements_whatever_they_hold() {
        let mut out = Writer::on_one_line(0);
        out.open('[');
        for text in ["[", "{", "", ","] {
            out.element();
            out.string(text);
        }
        out.close(']');
        assert_eq!(out.into_text(), r#"["[","{","",","]"#);
    }
}
