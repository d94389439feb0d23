//! Writes a JSON text: on one line, or indented for people.

use super::reader::{MAX_DEPTH, is_white, special_in_string};

/// A text on its way out. It puts commas and white space where they belong.
pub(crate) struct Writer {
    text: String,
    /// How many levels are open, if the text is indented.
    depth: Option<usize>,
}

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

impl Writer {
    /// For a text on one line, of about `length` bytes.
    pub(crate) fn on_one_line(length: usize) -> Self {
        Self {
            text: String::with_capacity(length),
            depth: None,
        }
    }

    /// For a text with two spaces for each level. What nests deeper than [`MAX_DEPTH`] stays on one line, so that the text
    /// is not longer than its values by the square of their depth.
    pub(crate) fn indented(length: usize) -> Self {
        Self {
            text: String::with_capacity(length),
            depth: Some(0),
        }
    }

    pub(crate) fn into_text(self) -> String {
        self.text
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
        }
    }
}

/// The value with two spaces for each level.
pub(crate) fn indent(value: &str) -> String {
    let mut out = Writer::indented(value.len() * 2);
    out.raw(value);
    out.into_text()
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
