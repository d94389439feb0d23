use memchr::memchr2;
use std::borrow::Cow;
use std::fmt;

/// What a grammatical JSON text may have that not every reader understands alike.
#[derive(Debug, PartialEq)]
pub(crate) enum Flaw {
    /// Lists and objects inside each other, more than this many.
    TooDeep(usize),
    /// The same name twice in one object.
    Twice,
    /// Half of a surrogate pair in a name, which is no text to compare.
    NoText,
}

/// Whether `text`, known to be one JSON value by the grammar, nests at most `max_depth` deep and repeats no member.
///
/// A loop, no recursion: the memory is that of `max_depth` levels and of the names in the objects that are open.
pub(crate) fn check(text: &str, max_depth: usize) -> Result<(), Flaw> {
    let bytes = text.as_bytes();
    // For each level that is open, where its names start if it is an object.
    let mut open: Vec<Option<usize>> = Vec::new();
    let mut names: Vec<Cow<'_, str>> = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => {
                if open.len() == max_depth {
                    return Err(Flaw::TooDeep(max_depth));
                }
                open.push((*byte == b'{').then_some(names.len()));
            }
            b'}' | b']' => {
                if let Some(Some(first)) = open.pop() {
                    if repeats(&mut names[first..]) {
                        return Err(Flaw::Twice);
                    }
                    names.truncate(first);
                }
            }
            b'"' => {
                let end = string_end(bytes, at);
                if is_name(bytes, end) {
                    names.push(unescape(&text[at..end])?);
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Just after the string that starts at `at`.
pub(super) fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(offset) = memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) {
        at += offset;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

/// Whether the string that ends here is the name of a member: a colon follows no other.
fn is_name(bytes: &[u8], end: usize) -> bool {
    let next = bytes[end..].iter().find(|byte| !super::layout::is_white(**byte));
    next == Some(&b':')
}

fn unescape(string: &str) -> Result<Cow<'_, str>, Flaw> {
    if string.contains('\\') {
        let text: String = serde_json::from_str(string).map_err(|_| Flaw::NoText)?;
        return Ok(text.into());
    }
    Ok(string.trim_matches('"').into())
}

fn repeats(names: &mut [Cow<'_, str>]) -> bool {
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooDeep(max) => write!(
                f,
                "more than {max} levels of lists and objects: nest them less deeply"
            ),
            Self::Twice => f.write_str("an object with a member twice: remove one of them"),
            Self::NoText => {
                f.write_str("a member whose name is no Unicode text: complete its surrogate pair")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_stands_twice_is_found_at_every_depth_however_it_is_spelt() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"\"":1,"\u0022":2}"#,
            r#"{"\ud83d\ude80":1,"🚀":2}"#,
            r#"{"":1,"b":2,"" :3}"#,
            r#"[1,[{"x":[{"a":{},"b":[],"a":{}}]}]]"#,
            r#"{"a":{"a":1},"b":2,"a":{"a":1}}"#,
        ] {
            assert_eq!(check(text, 128), Err(Flaw::Twice), "{text}");
        }
    }

    #[test]
    fn the_same_name_in_different_objects_and_in_strings_is_no_repetition() {
        for text in [
            r#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}"#,
            r#"["a","a",{"a":"a","b":"a"}]"#,
            r#"{"a":"\"a\":1,\"a\":1"}"#,
            r#"{"a":"{","b":"[[[[[","c":"\\"}"#,
            r#"{"a":1,"\\u0061":2,"A":3}"#,
            r#""a""#,
            "1e400",
        ] {
            assert_eq!(check(text, 4), Ok(()), "{text}");
        }
    }

    #[test]
    fn levels_are_counted_and_siblings_are_not() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        for max_depth in [0, 1, 16, 128] {
            assert_eq!(check(&nested(max_depth), max_depth), Ok(()));
            assert_eq!(
                check(&nested(max_depth + 1), max_depth),
                Err(Flaw::TooDeep(max_depth))
            );
        }
        assert_eq!(check(r#"[{},[],{},{"a":[]}]"#, 3), Ok(()));
        assert_eq!(check(r#"{"a":{"b":{}}}"#, 2), Err(Flaw::TooDeep(2)));
    }

    #[test]
    fn half_a_surrogate_pair_in_a_name_is_refused_and_in_a_value_is_not() {
        assert_eq!(check(r#"{"\ud83d":1}"#, 1), Err(Flaw::NoText));
        assert_eq!(check(r#"{"a":"\ud83d"}"#, 1), Ok(()));
    }
}
