use crate::{Error, ErrorKind};
use std::fmt;
use std::str::FromStr;

/// The name of a stack: a factory (the program that manages infrastructure) and one deployment of it, as `factory/stack`.
///
/// Both names are 1 to 128 ASCII letters, digits and `. _ - @ + =`, start with a letter or a digit and do not end in `.`, so
/// that they are safe as names of directories and objects everywhere.
///
/// ```
/// use sdk_state::StackId;
///
/// # fn main() -> Result<(), sdk_state::Error> {
/// let id: StackId = "network/prod".parse()?;
/// assert_eq!((id.factory(), id.stack()), ("network", "prod"));
/// assert!("network/../prod".parse::<StackId>().is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StackId {
    factory: String,
    stack: String,
}

impl StackId {
    /// The longest name in bytes.
    pub const MAX_NAME_BYTES: usize = 128;

    /// Makes a name from its two parts.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](ErrorKind::InvalidName) when one of them [is not allowed](StackId::is_name).
    pub fn new(factory: &str, stack: &str) -> Result<Self, Error> {
        for (what, name) in [("factory", factory), ("stack", stack)] {
            if !Self::is_name(name) {
                return Err(Error::new(
                    ErrorKind::InvalidName,
                    format!(
                        "the {what} name {} is not allowed: 1 to 128 ASCII letters, digits and . _ - @ + = \
                         starting with a letter or digit and not ending in a dot",
                        Excerpt(name)
                    ),
                ));
            }
        }
        Ok(Self {
            factory: factory.into(),
            stack: stack.into(),
        })
    }

    /// Whether `name` may be the name of a factory or a stack.
    pub fn is_name(name: &str) -> bool {
        let bytes = name.as_bytes();
        bytes.len() <= Self::MAX_NAME_BYTES
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.last() != Some(&b'.')
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-@+=".contains(byte))
    }

    /// Returns the factory's name.
    pub fn factory(&self) -> &str {
        &self.factory
    }

    /// Returns the stack's name.
    pub fn stack(&self) -> &str {
        &self.stack
    }
}

impl FromStr for StackId {
    type Err = Error;

    /// Accepts `FACTORY/STACK`.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](ErrorKind::InvalidName) without a slash, or when one of the names [is not
    /// allowed](StackId::is_name).
    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once('/') {
            Some((factory, stack)) => Self::new(factory, stack),
            None => Err(Error::new(
                ErrorKind::InvalidName,
                format!("{} is not a stack name: expected FACTORY/STACK", Excerpt(text)),
            )),
        }
    }
}

impl fmt::Display for StackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.factory, self.stack)
    }
}

/// Displays a possibly hostile text in an error message: escaped, and cut after 64 characters.
pub(crate) struct Excerpt<'a>(pub(crate) &'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(64) {
            Some((cut, _)) => write!(f, "{:?}…", &self.0[..cut]),
            None => write!(f, "{:?}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dangerous_name_is_refused() {
        let long = "x".repeat(129);
        for name in [
            "", ".", "..", ".x", "x.", "-x", "_x", "@x", "a/b", "a\\b", "a b", "a\0b", "a\nb", "ä", "a:b",
            "a*", &long,
        ] {
            let error = StackId::new(name, "prod").unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::InvalidName, "{name:?}");
            assert!(StackId::new("network", name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn every_allowed_name_is_accepted() {
        let long = "x".repeat(128);
        for name in ["a", "0", "a.b", "prod-east_1@x+y=z", "A", "a..b", &long] {
            assert!(StackId::new(name, name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn a_stack_name_has_exactly_one_slash() {
        for text in [
            "network",
            "network/",
            "/prod",
            "network/prod/x",
            "network//prod",
            "",
        ] {
            assert!(text.parse::<StackId>().is_err(), "{text:?}");
        }
        assert_eq!("a/b".parse::<StackId>().unwrap().to_string(), "a/b");
    }
}
