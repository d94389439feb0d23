use crate::EnvKey;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One key that a file is sealed for, as the file's header records it. Everybody can read the header, so put no secret here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The kind of encrypter, such as `env-key`: see [`Encrypter::recipient`](crate::Encrypter::recipient).
    pub name: String,
    /// The data that identifies the key among others of that kind.
    pub body: RecipientBody,
}

impl Recipient {
    /// Makes a recipient with an empty body.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            body: RecipientBody::default(),
        }
    }

    /// Adds the text `value` to the body, in place of an earlier one of that name. It is written unencrypted into every file;
    /// the whole header has at most 1 MiB.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<String>) -> Self {
        self.body.0.insert(member.into(), Value::String(value.into()));
        self
    }

    /// The fingerprint of the key, where the encrypter records one.
    pub fn fingerprint(&self) -> Option<&str> {
        self.body.text("fingerprint")
    }

    #[cfg(feature = "passphrase")]
    pub(crate) fn with_number(mut self, member: &str, value: u32) -> Self {
        self.body.0.insert(member.into(), value.into());
        self
    }

    /// What tells the key from others of its kind: its public key or its fingerprint, where the encrypter records one.
    pub fn identity(&self) -> Option<&str> {
        self.body.text("public-key").or_else(|| self.fingerprint())
    }

    /// Whether both stand for the same key: equal kinds and [identities](Recipient::identity), or equal bodies where there is
    /// no identity. The same 32 bytes are the same key in a variable and in a file.
    pub fn is_same_key(&self, other: &Self) -> bool {
        self.kind() == other.kind()
            && match (self.identity(), other.identity()) {
                (Some(mine), Some(theirs)) => mine == theirs,
                (None, None) => self.body == other.body,
                _ => false,
            }
    }

    /// The name, with one name for both places of a symmetric key.
    fn kind(&self) -> &str {
        match self.name.as_str() {
            "key-file" => EnvKey::NAME,
            name => name,
        }
    }

    /// Describes this recipient in error messages: its name and, where recorded, its identity and its environment
    /// variable, each cut after 64 characters, because they may come from a file that is not authenticated yet.
    pub fn describe(&self) -> String {
        let shown = |text: &str| {
            text.chars()
                .take(64)
                .flat_map(char::escape_debug)
                .collect::<String>()
        };
        let mut description = shown(&self.name);
        if let Some(identity) = self.identity() {
            description.push_str(&format!(" {}", shown(identity)));
        }
        if let Some(variable) = self.body.text("env-var") {
            description.push_str(&format!(" (${})", shown(variable)));
        }
        description
    }
}

/// The JSON object by which an encrypter recognises its key in a header.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecipientBody(Map<String, Value>);

impl RecipientBody {
    /// The text of `member`, if it is a string.
    pub fn text(&self, member: &str) -> Option<&str> {
        self.0.get(member)?.as_str()
    }

    #[cfg(feature = "passphrase")]
    pub(crate) fn number(&self, member: &str) -> Option<u64> {
        self.0.get(member)?.as_u64()
    }

    /// Whether the object has no members.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_fingerprint_identify_a_key() {
        let recipient = |name: &str, fingerprint: &str, variable: &str| {
            Recipient::new(name)
                .with("env-var", variable)
                .with("fingerprint", fingerprint)
        };
        let mine = recipient("env-key", "3f9c", "A");
        let cases = [
            (recipient("env-key", "3f9c", "B"), true),
            (recipient("env-key", "3f9d", "A"), false),
            (recipient("key-file", "3f9c", "A"), true),
            (recipient("key-file", "3f9d", "A"), false),
            (recipient("kms", "3f9c", "A"), false),
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
