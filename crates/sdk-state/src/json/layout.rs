//! White space between the tokens of a JSON text that is known to be valid. Strings are copied whole, so whatever they
//! contain stays; scanning is a loop without recursion.

use super::Json;
use super::check::string_end;
use memchr::memchr;

/// The text as it is, or without the white space between its tokens if it spans several lines.
pub(super) fn on_one_line(text: impl Into<Box<str>> + AsRef<str>) -> Box<str> {
    // A line feed inside of a string is escaped, so each one that is found stands between tokens.
    match memchr(b'\n', text.as_ref().as_bytes()) {
        None => text.into(),
        Some(_) => {
            let mut compact = String::with_capacity(text.as_ref().len());
            each_token(text.as_ref(), |token| compact.push_str(token));
            compact.into()
        }
    }
}

/// The same document with two spaces for each level. What nests deeper than [`Json::MAX_DEPTH`] stays on one line, so
/// that the result is not larger than the text by the square of its depth.
pub(crate) fn indent(text: &str) -> String {
    let mut indented = String::with_capacity(text.len() * 2);
    let mut depth: usize = 0;
    let mut is_empty = false;
    let new_line = |indented: &mut String, depth: usize| {
        if depth <= Json::MAX_DEPTH {
            indented.push('\n');
            (0..depth).for_each(|_| indented.push_str("  "));
        }
    };
    each_token(text, |token| {
        let closes = matches!(token, "}" | "]");
        if closes {
            if !is_empty {
                new_line(&mut indented, depth - 1);
            }
            depth -= 1;
        } else if is_empty {
            new_line(&mut indented, depth);
        }
        indented.push_str(token);
        is_empty = matches!(token, "{" | "[");
        match token {
            "{" | "[" => depth += 1,
            "," => new_line(&mut indented, depth),
            ":" => indented.push(' '),
            _ => {}
        }
    });
    indented
}

pub(super) fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Calls `token` with each string, each number or word, and each of `{}[],:`.
fn each_token<'a>(text: &'a str, mut token: impl FnMut(&'a str)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let end = match byte {
            _ if is_white(byte) => {
                at += 1;
                continue;
            }
            b'"' => string_end(bytes, at),
            _ if is_mark(byte) => at + 1,
            _ => {
                let length = bytes[at..]
                    .iter()
                    .take_while(|&&byte| !is_white(byte) && !is_mark(byte))
                    .count();
                at + length
            }
        };
        token(&text[at..end]);
        at = end;
    }
}

fn is_mark(byte: u8) -> bool {
    matches!(byte, b'{' | b'}' | b'[' | b']' | b',' | b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_goes_only_from_between_tokens_and_only_when_there_are_several_lines() {
        for (text, expected) in [
            ("[1, 2]", "[1, 2]"),
            ("[1,\n2 ]", "[1,2]"),
            (
                "\t{\r\n\"a b\" : \"c\\n d\" ,\n\"\\\"\" : [ true , null ] }",
                r#"{"a b":"c\n d","\"":[true,null]}"#,
            ),
            ("[\n\"\\\\\", \" \\\\\\\" \"]", r#"["\\"," \\\" "]"#),
            ("[-0, 1.10,\n1e400,\"ü  🚀\"]", r#"[-0,1.10,1e400,"ü  🚀"]"#),
        ] {
            assert_eq!(&*on_one_line(text), expected);
        }
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
        assert_eq!(indent("\"one\""), "\"one\"");
    }

    #[test]
    fn deep_nesting_is_not_indented_by_its_square() {
        let text = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        let indented = indent(&text);
        assert!(indented.len() < text.len() + 2 * 129 * 257);
        assert_eq!(&*on_one_line(indented), text);
    }
}
