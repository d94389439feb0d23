use crate::stack_id::Excerpt;
use crate::{Backend, Error, ErrorKind, StackId};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A catalog of stacks: a place that holds many of them, such as a directory or a bucket.
pub trait Catalog: Send + Sync {
    /// Returns the catalog's address for messages, without secrets.
    ///
    /// # Contract
    ///
    /// Within a program, the name is always the same for one place, and different for two places (CATALOG-04).
    fn name(&self) -> String;

    /// Opens the backend of one stack, whether or not the stack exists yet.
    ///
    /// # Contract
    ///
    /// It creates nothing (READ-05): a user may have mistyped the name. `id` was validated: no path or key that is built from
    /// it leads out of the place ([N1](crate::guarantees)).
    ///
    /// # Errors
    ///
    /// A [backend error](Backend#backend-errors). A backend that makes no request before its first use has no errors here.
    fn open(&self, id: &StackId) -> Result<Box<dyn Backend>, Error>;

    /// Returns every stack that exists, sorted; an empty list if nothing was ever written.
    ///
    /// # Contract
    ///
    /// Each stack appears once (CATALOG-01). Invalid names are left out. A stack exists once it was written to or locked, so
    /// it may have no snapshot.
    ///
    /// # Errors
    ///
    /// A [backend error](Backend#backend-errors).
    fn stacks(&self) -> Result<Vec<StackId>, Error>;

    /// Removes a stack and everything that belongs to it: `current`, every snapshot, a dead holder's lock. It is not an error
    /// if the stack does not exist.
    ///
    /// # Contract
    ///
    /// Nothing of the stack stays (CATALOG-02), and nothing is removed while it is locked (CATALOG-03). `current` is removed
    /// first: an interrupted removal leaves a stack whose pointer is lost, never one that looks fresh, and can be repeated.
    ///
    /// # Errors
    ///
    /// * [`Locked`](ErrorKind::Locked) while somebody who is not provably dead holds the lock.
    /// * [`OutcomeUnknown`](ErrorKind::OutcomeUnknown) when it was removed, but may come back after a power cut.
    /// * A [backend error](Backend#backend-errors), after which the stack may have been removed in part.
    fn remove(&self, id: &StackId) -> Result<(), Error>;
}

/// A registry of backends by scheme: a tool opens `local:DIR` or `s3:BUCKET` without knowing either backend.
///
/// ```
/// use sdk_state::encrypt::Noop;
/// use sdk_state::{ErrorKind, MemoryCatalog, Registry, Store};
///
/// # fn main() -> Result<(), sdk_state::Error> {
/// let registry = Registry::new().register("memory", |_address| Ok(MemoryCatalog::new()));
/// let catalog = registry.open("memory:anything")?;
/// let store = Store::new(catalog.open(&"network/prod".parse()?)?, Noop);
/// assert_eq!(store.list()?, []);
/// assert!(registry.open("s3:bucket").is_err_and(|error| error.kind() == &ErrorKind::Unsupported));
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Registry(BTreeMap<&'static str, OpenCatalog>);

type OpenCatalog = Box<dyn Fn(&Address) -> Result<Box<dyn Catalog>, Error> + Send + Sync>;

impl Registry {
    /// Makes an empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a backend under `scheme`; a later registration replaces an earlier one of the same scheme. `open` gets the
    /// whole address.
    #[must_use]
    pub fn register<C: Catalog + 'static>(
        mut self,
        scheme: &'static str,
        open: impl Fn(&Address) -> Result<C, Error> + Send + Sync + 'static,
    ) -> Self {
        let open = move |address: &Address| Ok(Box::new(open(address)?) as Box<dyn Catalog>);
        self.0.insert(scheme, Box::new(open));
        self
    }

    /// Returns the registered schemes, sorted.
    pub fn schemes(&self) -> impl Iterator<Item = &str> {
        self.0.keys().copied()
    }

    /// Opens the catalog at `address`.
    ///
    /// # Errors
    ///
    /// * [`InvalidAddress`](ErrorKind::InvalidAddress) for a text that is not an [`Address`].
    /// * [`Unsupported`](ErrorKind::Unsupported) for an unknown scheme.
    /// * Those of the registered function, such as `InvalidAddress` for a rest that it does not understand.
    pub fn open(&self, address: &str) -> Result<Box<dyn Catalog>, Error> {
        let address: Address = address.parse()?;
        match self.0.get(address.scheme()) {
            Some(open) => open(&address),
            None => Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "there is no backend {}; known backends: {}",
                    Excerpt(address.scheme()),
                    self.schemes().collect::<Vec<_>>().join(", ")
                ),
            )),
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.schemes()).finish()
    }
}

/// The address of a backend, `SCHEME:REST`, which may contain a password.
///
/// [`Display`](fmt::Display) and `Debug` redact it: user information (RFC 3986, section 3.2.1) and the values of query
/// parameters and of words such as `password=…` read `***`. Use [`expose`](Address::expose) only to connect.
///
/// ```
/// use sdk_state::Address;
///
/// # fn main() -> Result<(), sdk_state::Error> {
/// let address: Address = "postgres://alice:pa55@db.example/state?sslkey=abc".parse()?;
/// assert_eq!(address.to_string(), "postgres://***@db.example/state?sslkey=***");
/// assert_eq!(address.scheme(), "postgres");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    whole: String,
    scheme_bytes: usize,
}

impl Address {
    /// The part before the first colon: a letter, then letters, digits, `+`, `-` and `.` (RFC 3986, section 3.1).
    pub fn scheme(&self) -> &str {
        &self.whole[..self.scheme_bytes]
    }

    /// The part after the first colon, with secrets; it may be empty.
    pub fn rest(&self) -> &str {
        &self.whole[self.scheme_bytes + 1..]
    }

    /// The whole address, with secrets.
    pub fn expose(&self) -> &str {
        &self.whole
    }

    /// Makes an [`InvalidAddress`](ErrorKind::InvalidAddress) about this address. `why` says what is expected, without a
    /// secret.
    pub fn invalid(&self, why: &str) -> Error {
        Error::new(
            ErrorKind::InvalidAddress,
            format!("the address {self} is not understood: {why}"),
        )
    }
}

impl FromStr for Address {
    type Err = Error;

    /// # Errors
    ///
    /// [`InvalidAddress`](ErrorKind::InvalidAddress) for a text without a scheme and a colon. The message does not repeat the
    /// text, which may be a password.
    fn from_str(text: &str) -> Result<Self, Error> {
        let is_scheme = |scheme: &str| {
            scheme.starts_with(|first: char| first.is_ascii_alphabetic())
                && scheme
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        };
        match text.split_once(':') {
            Some((scheme, _)) if is_scheme(scheme) => Ok(Self {
                whole: text.into(),
                scheme_bytes: scheme.len(),
            }),
            _ => Err(Error::new(
                ErrorKind::InvalidAddress,
                "the address of a backend begins with a scheme and a colon, such as local:DIR",
            )),
        }
    }
}

/// Redacted.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.whole))
    }
}

/// Redacted.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", redacted(&self.whole))
    }
}

const MASK: &str = "***";
/// A word of the path is secret if its name contains one of these.
const SECRET_WORDS: [&str; 7] = ["pass", "pwd", "secret", "token", "key", "sig", "cred"];

fn redacted(address: &str) -> String {
    let (path, query) = match address.find(['?', '#']) {
        Some(at) => address.split_at(at),
        None => (address, ""),
    };
    let mut shown = without_user_information(path);
    if let Some(at) = end_of_secret_name(&shown) {
        // There is no way to tell where the value ends.
        shown.truncate(at);
        shown.push_str(MASK);
    }
    for parameter in query.split_inclusive('&') {
        match parameter.split_once('=') {
            Some((name, value)) => {
                shown.push_str(name);
                shown.push('=');
                shown.push_str(MASK);
                shown.push_str(if value.ends_with('&') { "&" } else { "" });
            }
            None => shown.push_str(parameter),
        }
    }
    shown
}

/// Where the value of the first secret word, such as `password=…`, begins.
fn end_of_secret_name(path: &str) -> Option<usize> {
    path.match_indices('=').map(|(at, _)| at).find_map(|at| {
        let start = path[..at]
            .rfind([' ', ';', ',', ':', '/'])
            .map_or(0, |before| before + 1);
        let name = path[start..at].to_ascii_lowercase();
        SECRET_WORDS
            .iter()
            .any(|word| name.contains(word))
            .then_some(at + 1)
    })
}

/// Everything between `//` and the last `@` before the path, whatever it contains.
fn without_user_information(path: &str) -> String {
    let Some((scheme, rest)) = path.split_once("//") else {
        return path.into();
    };
    let authority = rest.find('/').unwrap_or(rest.len());
    // A password may contain an unescaped slash: then the last `@` of all ends it.
    let end = rest[..authority].rfind('@').or_else(|| rest.rfind('@'));
    match end {
        Some(at) => format!("{scheme}//{MASK}{}", &rest[at..]),
        None => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_of_an_address_is_displayed() {
        for (address, shown) in [
            ("local:/var/lib/state", "local:/var/lib/state"),
            ("local:a@b", "local:a@b"),
            ("postgres://alice:pa55@db/state", "postgres://***@db/state"),
            ("postgres://alice:p/a@5@db/state", "postgres://***@db/state"),
            (
                "s3://bucket/prefix?secret=pa55&region=eu",
                "s3://bucket/prefix?secret=***&region=***",
            ),
            ("pg:host=db password=a:pa55 user=alice", "pg:host=db password=***"),
            (
                "az:AccountName=a;AccountKey=pa55==",
                "az:AccountName=a;AccountKey=***",
            ),
            ("x://h/#token=pa55", "x://h/#token=***"),
        ] {
            let parsed: Address = address.parse().unwrap();
            assert_eq!(parsed.to_string(), shown);
            assert!(
                !format!("{parsed:?} {}", parsed.invalid("no")).contains("pa55"),
                "{address}"
            );
            assert_eq!(parsed.expose(), address);
        }
    }

    #[test]
    fn a_text_without_a_scheme_is_no_address_and_is_not_repeated() {
        for text in ["", "pa55", ":pa55", "1x:pa55", "/pa55:x", "pa 55:x"] {
            let error = text.parse::<Address>().unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::InvalidAddress, "{text}");
            assert!(!error.to_string().contains("pa55"));
        }
    }
}
