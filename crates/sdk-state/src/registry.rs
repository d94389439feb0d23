use crate::stack_id::Excerpt;
use crate::{Error, ErrorKind, StackId, Storage};
use std::collections::BTreeMap;
use std::fmt;

/// Backends by name: a tool opens `local:DIR` or `s3:BUCKET` without knowing either.
///
/// An address is `SCHEME:REST`; the scheme chooses the function that opens the rest.
#[derive(Default)]
pub struct Registry(BTreeMap<String, OpenRoot>);

type OpenRoot = Box<dyn Fn(&str) -> Result<Box<dyn Root>, Error> + Send + Sync>;

/// A place that holds many stacks.
pub trait Root: Send + Sync {
    /// The storage of one stack, whether it exists yet or not. Creates nothing.
    ///
    /// # Errors
    ///
    /// The medium's.
    fn open(&self, id: &StackId) -> Result<Box<dyn Storage>, Error>;

    /// Every stack that exists here, sorted; what is no valid name is left out.
    ///
    /// # Errors
    ///
    /// The medium's.
    fn stacks(&self) -> Result<Vec<StackId>, Error>;
}

impl Registry {
    /// One that knows no backend.
    pub fn new() -> Self {
        Self::default()
    }

    /// Offers a backend under `scheme`; a later one replaces an earlier one of the same name.
    #[must_use]
    pub fn with(
        mut self,
        scheme: impl Into<String>,
        open: impl Fn(&str) -> Result<Box<dyn Root>, Error> + Send + Sync + 'static,
    ) -> Self {
        self.0.insert(scheme.into(), Box::new(open));
        self
    }

    /// The schemes that are known, sorted.
    pub fn schemes(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Opens the root at `address`.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ErrorKind::Unsupported) for an unknown scheme, and the backend's.
    pub fn open(&self, address: &str) -> Result<Box<dyn Root>, Error> {
        let Some((scheme, rest)) = address.split_once(':') else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{} is no address of a backend: SCHEME:REST is expected",
                    Excerpt(address)
                ),
            ));
        };
        match self.0.get(scheme) {
            Some(open) => open(rest),
            None => Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "there is no backend {}; known are: {}",
                    Excerpt(scheme),
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
