use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One key for which a file was sealed, as the file's header records it: readable by everyone, so no secret belongs here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The kind of encrypter, such as `env-key`: see [`Encrypter::name`](crate::Encrypter::name).
    pub name: String,
    /// What finds the key among others of that kind.
    pub body: RecipientBody,
}

impl Recipient {
    /// A recipient with an empty body.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            body: RecipientBody::default(),
        }
    }

    /// The same recipient with the text `value` in its body, in place of an earlier one of that name. It is written in clear
    /// into every file; the whole header has 1 MiB at most.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<String>) -> Self {
        self.body.0.insert(member.into(), Value::String(value.into()));
        self
    }

    /// The fingerprint of the key, where the encrypter records one.
    pub fn fingerprint(&self) -> Option<&str> {
        self.body.text("fingerprint")
    }

    /// Whether both mean the same key: equal names and fingerprints, or equal bodies where there is no fingerprint.
    pub fn is_same_key(&self, other: &Self) -> bool {
        self.name == other.name
            && match (self.fingerprint(), other.fingerprint()) {
                (Some(mine), Some(theirs)) => mine == theirs,
                (None, None) => self.body == other.body,
                _ => false,
            }
    }

    /// What an error message calls this recipient: its name and, if recorded, its fingerprint, each in 64 characters at
    /// most. Both may come from a file that nobody has authenticated yet.
    pub fn describe(&self) -> String {
        let shown = |text: &str| {
            text.chars()
                .take(64)
                .flat_map(char::escape_debug)
                .collect::<String>()
        };
        match self.fingerprint() {
            Some(fingerprint) => format!("{} {}", shown(&self.name), shown(fingerprint)),
            None => shown(&self.name),
        }
    }
}

/// The JSON object that an encrypter leaves in the header to recognise its key by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecipientBody(Map<String, Value>);

impl RecipientBody {
    /// The member of that name, if it is a string.
    pub fn text(&self, member: &str) -> Option<&str> {
        self.0.get(member)?.as_str()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_has_the_same_name_and_fingerprint_whatever_else_is_recorded() {
        let recipient = |name: &str, fingerprint: &str, variable: &str| {
            Recipient::new(name)
                .with("env-var", variable)
                .with("fingerprint", fingerprint)
        };
        let mine = recipient("env-key", "3f9c", "A");
        let cases = [
            (recipient("env-key", "3f9c", "B"), true),
            (recipient("env-key", "3f9d", "A"), false),
            (recipient("key-file", "3f9c", "A"), false),
            (Recipient::new("env-key").with("env-var", "A"), false),
        ];
        for (other, same) in cases {
            assert_eq!(mine.is_same_key(&other), same, "{other:?}");
            assert_eq!(other.is_same_key(&mine), same, "{other:?}");
        }
        let bodies = |one: &str, other: &str| {
            Recipient::new("kms")
                .with("key", one)
                .is_same_key(&Recipient::new("kms").with("key", other))
        };
        assert!(bodies("a", "a") && !bodies("a", "b"));
    }

    #[test]
    fn a_hostile_header_gives_a_short_message_on_one_line() {
        let hostile =
            Recipient::new("\n\u{1b}[2Jname".repeat(1000)).with("fingerprint", "\u{202e}".repeat(1000));
        let shown = hostile.describe();
        assert!(
            shown
                .chars()
                .all(|shown| shown.is_ascii_graphic() || shown == ' '),
            "{shown}"
        );
        assert!(shown.len() < 2000, "{} bytes", shown.len());
    }

    #[test]
    fn a_fingerprint_that_is_no_text_is_none() {
        let body: RecipientBody = serde_json::from_str(r#"{"fingerprint": 7}"#).unwrap();
        assert_eq!(body.text("fingerprint"), None);
        assert!(!body.is_empty() && RecipientBody::default().is_empty());
    }
}
