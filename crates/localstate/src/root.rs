use crate::LocalStorage;
use crate::directory::Directory;
use crate::failure::Failure;
use sdk_state::{Error, ErrorKind, Root, StackId, Storage};
use std::path::PathBuf;

/// A directory of many stacks: what the address `local:DIR` opens.
#[derive(Debug, Clone)]
pub struct LocalRoot(PathBuf);

impl LocalRoot {
    /// The scheme under which a [`Registry`](sdk_state::Registry) offers this backend.
    pub const SCHEME: &'static str = "local";

    /// The root `path`, whether it exists yet or not.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Opens the part of an address that follows `local:`: a path, relative to the working directory or absolute.
    ///
    /// ```
    /// let registry = sdk_state::Registry::new().with(localstate::LocalRoot::SCHEME, localstate::LocalRoot::open_address);
    /// let root = registry.open("local:.unobin/state")?;
    /// # let _ = root;
    /// # Ok::<(), sdk_state::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidName`](ErrorKind::InvalidName) for an empty path.
    pub fn open_address(path: &str) -> Result<Box<dyn Root>, Error> {
        if path.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidName,
                "the address local: names no directory: local:DIR is expected",
            ));
        }
        Ok(Box::new(Self::new(path)))
    }
}

impl Root for LocalRoot {
    fn open(&self, id: &StackId) -> Result<Box<dyn Storage>, Error> {
        Ok(Box::new(LocalStorage::new(&self.0, id.clone())))
    }

    fn stacks(&self) -> Result<Vec<StackId>, Error> {
        let mut stacks = Vec::new();
        let Some(root) = Directory::open_root(&self.0)? else {
            return Ok(stacks);
        };
        for factory in root.directories(StackId::is_name)? {
            let directory = match root.open_directory(&factory) {
                Ok(Some(directory)) => directory,
                // Removed meanwhile; or a file, where the filesystem does not tell that when it lists names.
                Ok(None) | Err(Failure::NotADirectory(_)) => continue,
                Err(failure) => return Err(failure.into()),
            };
            for stack in directory.directories(StackId::is_name)? {
                stacks.push(StackId::new(&factory, &stack)?);
            }
        }
        Ok(stacks)
    }
}
