use crate::stack_id::Excerpt;
use crate::{Error, ErrorKind, StackId, Storage};
use std::collections::BTreeMap;
use std::fmt;

/// Backends by name: a tool opens `local:DIR` or `s3:BUCKET` without knowing either.
///
/// An address is `SCHEME:REST`; the scheme chooses the function that opens the rest.
///
/// ```
/// use sdk_state::encrypt::Noop;
/// use sdk_state::{Backend as _, Error, ErrorKind, MemoryStorage, Registry, Root, StackId, Storage, Store};
///
/// /// Every stack is empty here, each time that it is opened.
/// struct Empty;
///
/// impl Root for Empty {
///     fn open(&self, id: &StackId) -> Result<Box<dyn Storage>, Error> {
///         Ok(Box::new(MemoryStorage::new(id.clone())))
///     }
///
///     fn stacks(&self) -> Result<Vec<StackId>, Error> {
///         Ok(Vec::new())
///     }
/// }
///
/// # fn main() -> Result<(), Error> {
/// let registry = Registry::new().with("empty", |_rest| Ok(Box::new(Empty)));
/// let root = registry.open("empty:anything")?;
/// let store: Store<_> = Store::new(root.open(&"network/prod".parse()?)?, Noop);
/// assert_eq!(store.list()?, []);
/// assert_eq!(registry.open("s3:bucket").err().map(|error| error.kind().clone()), Some(ErrorKind::Unsupported));
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Registry(BTreeMap<String, OpenRoot>);

type OpenRoot = Box<dyn Fn(&str) -> Result<Box<dyn Root>, Error> + Send + Sync>;

/// A place that holds many stacks.
///
/// No rule of the conformance kit asks it: a backend's own tests do.
pub trait Root: Send + Sync {
    /// The storage of one stack, whether it exists yet or not.
    ///
    /// # Contract
    ///
    /// It creates nothing (READ-05): a tool opens what its user has mistyped. `id` was validated; no path or key that is
    /// built from it leads elsewhere (N1).
    ///
    /// # Errors
    ///
    /// [The medium's](Storage#the-mediums-errors). A backend that asks nothing before the first use has none.
    fn open(&self, id: &StackId) -> Result<Box<dyn Storage>, Error>;

    /// Every stack that exists here, sorted; none where nothing was ever written.
    ///
    /// # Contract
    ///
    /// Each once. What is no valid name is left out. A stack exists once it was written to or locked, and may have no
    /// snapshot.
    ///
    /// # Errors
    ///
    /// [The medium's](Storage#the-mediums-errors).
    fn stacks(&self) -> Result<Vec<StackId>, Error>;
}

impl Registry {
    /// One that knows no backend.
    pub fn new() -> Self {
        Self::default()
    }

    /// Offers a backend under `scheme`; a later one replaces an earlier one of the same name. `open` is given what follows
    /// the first colon of an address, which may be empty. A scheme that contains a colon is never found.
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
    /// [`Unsupported`](ErrorKind::Unsupported) for an unknown scheme or a text without a colon, and those of the function
    /// that opens the scheme, such as [`InvalidName`](ErrorKind::InvalidName) for an address that it does not understand.
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
