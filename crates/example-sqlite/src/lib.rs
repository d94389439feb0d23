#![doc = include_str!("../README.md")]

mod database;
mod storage;

use localstate::LocalRoot;
use sdk_state::{Error, ErrorKind, Root, StackId, Storage};

/// A database of many stacks, with their locks in a directory beside it: what the address `sqlite:FILE` opens.
#[derive(Debug)]
pub struct SqliteRoot(database::Database, LocalRoot);

impl SqliteRoot {
    /// Opens the part of an address that follows `sqlite:`, the path of a file that need not exist yet.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](ErrorKind::InvalidName) for an empty path.
    pub fn open_address(path: &str) -> Result<Box<dyn Root>, Error> {
        // Absolute, so that it is none of the names that mean something to SQLite, such as `:memory:`.
        let path = std::path::absolute(path)
            .map_err(|_| Error::new(ErrorKind::InvalidName, "sqlite:FILE is expected"))?;
        let locks = LocalRoot::new(path.with_added_extension("locks"));
        Ok(Box::new(Self(database::Database(path), locks)))
    }
}

impl Root for SqliteRoot {
    fn open(&self, id: &StackId) -> Result<Box<dyn Storage>, Error> {
        let (database, locks, stack) = (self.0.clone(), self.1.open(id)?, id.to_string());
        Ok(Box::new(storage::SqliteStorage {
            database,
            locks,
            stack,
        }))
    }

    /// With those that are locked before they have a snapshot.
    fn stacks(&self) -> Result<Vec<StackId>, Error> {
        let mut stacks = self.0.names("SELECT DISTINCT stack FROM snapshots", [])?;
        stacks.extend(self.1.stacks()?);
        stacks.sort_unstable();
        stacks.dedup();
        Ok(stacks)
    }
}
