//! What differs between two JSON values, member by member.

use crate::members::Members;
use crate::sensitive::MASK;
use crate::text::{BAD, CAREFUL, GOOD, plain};
use anstyle::Style;
use sdk_state::Json;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::io::{self, Write as _};

/// Values that are nested deeper are compared as a whole.
const MAX_DEPTH: usize = Json::MAX_DEPTH;
/// So many characters of a value are shown to people.
const SHOWN_CHARS: usize = 100;
/// So many of them before the first that differs.
const CONTEXT_CHARS: usize = 20;

/// A value that differs.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct FieldChange {
    /// Where the value is, such as `inputs.tags.name` or `depends-on[2]`.
    pub(crate) path: String,
    pub(crate) change: Change,
    /// Whether the values are masked.
    pub(crate) sensitive: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<Box<RawValue>>,
}

/// How something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Change {
    Added,
    Removed,
    Changed,
    /// The same entry has another address.
    Moved,
}

/// Collects what differs between two values.
#[derive(Default)]
pub(crate) struct Fields(Vec<FieldChange>);

impl Fields {
    pub(crate) fn into_changes(self) -> Vec<FieldChange> {
        self.0
    }

    /// Compares the members of two objects; an absent one has none. A member for which `is_masked` holds is compared as a whole,
    /// and masked.
    pub(crate) fn compare_objects(
        &mut self,
        path: &str,
        before: Option<&str>,
        after: Option<&str>,
        is_masked: impl Fn(&str) -> bool,
    ) {
        match (members(before.unwrap_or("{}")), members(after.unwrap_or("{}"))) {
            (Some(old), Some(new)) => {
                for (name, old, new) in pairs(&old, &new) {
                    let path = member(path, name);
                    match is_masked(name) {
                        true => self.compare_masked(path, old, new),
                        false => self.compare(&path, old, new, 1),
                    }
                }
            }
            // A member that is there twice could be the one to be masked.
            _ => self.compare_masked(path.to_owned(), before, after),
        }
    }

    /// Compares two values; an absent one is `None`.
    pub(crate) fn compare(&mut self, path: &str, before: Option<&str>, after: Option<&str>, depth: usize) {
        let (Some(old), Some(new)) = (before, after) else {
            return self.push(path.to_owned(), before, after);
        };
        if old == new {
            return;
        }
        if depth < MAX_DEPTH {
            if let (Some(old), Some(new)) = (members(old), members(new)) {
                for (name, old, new) in pairs(&old, &new) {
                    self.compare(&member(path, name), old, new, depth + 1);
                }
                return;
            }
            if let (Some(old), Some(new)) = (elements(old), elements(new)) {
                return self.compare_lists(path, &old, &new, depth + 1);
            }
        }
        self.push(path.to_owned(), before, after);
    }

    /// Elements that come or go in one place do not make all later ones differ.
    fn compare_lists(&mut self, path: &str, old: &[&RawValue], new: &[&RawValue], depth: usize) {
        let is_same = |(old, new): &(&&RawValue, &&RawValue)| old.get() == new.get();
        let start = old.iter().zip(new).take_while(is_same).count();
        let (old, new) = (&old[start..], &new[start..]);
        let end = old.iter().rev().zip(new.iter().rev()).take_while(is_same).count();
        let (old, new) = (&old[..old.len() - end], &new[..new.len() - end]);
        for index in 0..old.len().max(new.len()) {
            let text = |list: &[&RawValue]| list.get(index).map(|value| value.get().to_owned());
            let path = format!("{path}[{}]", start + index);
            self.compare(&path, text(old).as_deref(), text(new).as_deref(), depth);
        }
    }

    fn compare_masked(&mut self, path: String, before: Option<&str>, after: Option<&str>) {
        if before == after {
            return;
        }
        let mask = format!("\"{MASK}\"");
        self.push(path, before.map(|_| mask.as_str()), after.map(|_| mask.as_str()));
        if let Some(pushed) = self.0.last_mut() {
            pushed.sensitive = true;
        }
    }

    fn push(&mut self, path: String, before: Option<&str>, after: Option<&str>) {
        let value = |text: &str| RawValue::from_string(text.to_owned()).ok();
        self.0.push(FieldChange {
            path,
            change: match (before, after) {
                (None, _) => Change::Added,
                (_, None) => Change::Removed,
                _ => Change::Changed,
            },
            sensitive: false,
            before: before.and_then(value),
            after: after.and_then(value),
        });
    }
}

impl FieldChange {
    /// One line for people.
    pub(crate) fn human(&self, page: &mut Vec<u8>, indent: &str) -> io::Result<()> {
        let path = plain(&self.path);
        let text = |value: &Option<Box<RawValue>>| value.as_ref().map(|value| value.get().to_owned());
        let (mark, style) = self.change.mark();
        write!(page, "{indent}{style}{mark}{style:#} {path}: ")?;
        match (text(&self.before), text(&self.after)) {
            (Some(_), Some(_)) if self.sensitive => writeln!(page, "{MASK}, changed"),
            (Some(_), _) | (_, Some(_)) if self.sensitive => writeln!(page, "{MASK}"),
            (Some(before), Some(after)) => {
                let (before, after) = excerpts(&before, &after);
                writeln!(page, "{before} → {after}")
            }
            (Some(value), None) | (None, Some(value)) => writeln!(page, "{}", excerpt(&value, 0)),
            (None, None) => writeln!(page),
        }
    }
}

impl Change {
    /// The sign of a change, and its style.
    pub(crate) fn mark(self) -> (&'static str, Style) {
        match self {
            Self::Added => ("+", GOOD),
            Self::Removed => ("-", BAD),
            Self::Changed => ("~", CAREFUL),
            Self::Moved => (">", CAREFUL),
        }
    }
}

/// The members of an object, unless one is there twice.
pub(crate) fn members(text: &str) -> Option<Vec<(String, &RawValue)>> {
    if !text.starts_with('{') {
        return None;
    }
    let Members(members) = serde_json::from_str(text).ok()?;
    let names: HashMap<&str, ()> = members.iter().map(|(name, _)| (name.as_str(), ())).collect();
    (names.len() == members.len()).then_some(members)
}

fn elements(text: &str) -> Option<Vec<&RawValue>> {
    match text.starts_with('[') {
        true => serde_json::from_str(text).ok(),
        false => None,
    }
}

type Pair<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

/// Each name with its value on both sides: those of `old` in their order, then those that only `new` has.
pub(crate) fn pairs<'a>(
    old: &'a [(String, &'a RawValue)],
    new: &'a [(String, &'a RawValue)],
) -> impl Iterator<Item = Pair<'a>> {
    let index = |members: &'a [(String, &'a RawValue)]| -> HashMap<&'a str, &'a str> {
        members
            .iter()
            .map(|(name, value)| (name.as_str(), value.get()))
            .collect()
    };
    let (in_old, in_new) = (index(old), index(new));
    let first = old.iter().map(move |(name, value)| {
        (
            name.as_str(),
            Some(value.get()),
            in_new.get(name.as_str()).copied(),
        )
    });
    let rest = new
        .iter()
        .filter(move |(name, _)| !in_old.contains_key(name.as_str()))
        .map(|(name, value)| (name.as_str(), None, Some(value.get())));
    first.chain(rest)
}

fn member(path: &str, name: &str) -> String {
    let is_plain = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    match (is_plain, path.is_empty()) {
        (true, true) => name.to_owned(),
        (true, false) => format!("{path}.{name}"),
        (false, _) => format!("{path}[{}]", serde_json::Value::from(name)),
    }
}

/// Both values, shortened so that the first difference stays visible.
fn excerpts(before: &str, after: &str) -> (String, String) {
    let is_short = |text: &str| text.chars().count() <= SHOWN_CHARS;
    if is_short(before) && is_short(after) {
        return (plain(before), plain(after));
    }
    let same = before
        .chars()
        .zip(after.chars())
        .take_while(|(old, new)| old == new)
        .count();
    let from = same.saturating_sub(CONTEXT_CHARS);
    (excerpt(before, from), excerpt(after, from))
}

fn excerpt(text: &str, from: usize) -> String {
    let shown: String = text.chars().skip(from).take(SHOWN_CHARS).collect();
    let start = if from > 0 { "…" } else { "" };
    let end = match text.chars().nth(from + SHOWN_CHARS) {
        Some(_) => "…",
        None => "",
    };
    format!("{start}{}{end}", plain(&shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The differences, in short.
    fn compared(before: &str, after: &str) -> Vec<String> {
        let mut fields = Fields::default();
        fields.compare_objects("", Some(before), Some(after), |name| name == "secret");
        fields.into_changes().iter().map(in_short).collect()
    }

    fn in_short(field: &FieldChange) -> String {
        let text = |value: &Option<Box<RawValue>>| value.as_ref().map_or("", |value| value.get()).to_owned();
        format!("{} {}|{}", field.path, text(&field.before), text(&field.after))
    }

    #[test]
    fn members_are_compared_by_name_down_to_the_last() {
        let before = r#"{"same":{"a":[1,2]},"gone":1,"deep":{"a":{"b":1.10,"c":true}},"odd.name":1}"#;
        let after = r#"{"deep":{"a":{"b":1.1,"c":true}},"same":{"a":[1,2]},"new":null,"odd.name":{}}"#;
        assert_eq!(
            compared(before, after),
            ["gone 1|", "deep.a.b 1.10|1.1", "[\"odd.name\"] 1|{}", "new |null"]
        );
    }

    #[test]
    fn only_elements_that_come_go_or_change_differ() {
        for (before, after, expected) in [
            ("[1,2,3]", "[0,1,2,3]", &["l[0] |0"][..]),
            ("[1,2,3]", "[1,3]", &["l[1] 2|"]),
            ("[1,2,3]", "[1,7,8,3]", &["l[1] 2|7", "l[2] |8"]),
            (r#"[{"a":1},2]"#, r#"[{"a":3},2]"#, &["l[0].a 1|3"]),
            ("[]", "{}", &["l []|{}"]),
            ("[1,1]", "[1]", &["l[1] 1|"]),
        ] {
            let object = |list| format!("{{\"l\":{list}}}");
            assert_eq!(
                compared(&object(before), &object(after)),
                expected,
                "{before} {after}"
            );
        }
    }

    #[test]
    fn masked_members_are_compared_and_show_no_value() {
        let masked = "\"(sensitive)\"";
        for (before, after, expected) in [
            (
                r#"{"secret":"x"}"#,
                r#"{"secret":"y"}"#,
                vec![format!("secret {masked}|{masked}")],
            ),
            (r#"{"secret":"x"}"#, r#"{"secret":"x"}"#, vec![]),
            (
                r#"{"secret":{"deep":1}}"#,
                "{}",
                vec![format!("secret {masked}|")],
            ),
            // Which of the two is the secret?
            (
                r#"{"a":1,"a":2}"#,
                r#"{"a":1}"#,
                vec![format!(" {masked}|{masked}")],
            ),
        ] {
            assert_eq!(compared(before, after), expected);
        }
    }

    #[test]
    fn order_and_white_space_make_no_difference() {
        assert!(compared(r#"{"a":{"x":1,"y":[1]}}"#, r#"{"a":{ "y":[1], "x":1 }}"#).is_empty());
    }

    /// A hostile document must not overflow the stack.
    #[test]
    fn deep_values_are_compared_as_a_whole() {
        let deep = |end: &str| format!("{{\"a\":{}{end}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(compared(&deep("1"), &deep("2")).len(), 1);
    }

    #[test]
    fn long_values_show_where_they_differ() {
        let long = |end: &str| format!("\"{}{end}\"", "x".repeat(500));
        let (before, after) = excerpts(&long("one"), &long("two"));
        assert!(
            before.ends_with("xone\"") && after.ends_with("xtwo\""),
            "{before}"
        );
        assert!(before.starts_with('…') && before.chars().count() < 50);
    }
}
