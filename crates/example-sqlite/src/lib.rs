#![doc = include_str!("../README.md")]

mod backend;
mod database;

pub use database::Commit;
use localstate::LocalCatalog;
use rusqlite::{Transaction, TransactionBehavior::Immediate};
use sdk_state::{Address, Backend, Catalog, Error, StackId};
use std::{collections::BTreeSet, path::absolute, sync::Arc};

/// A database of many stacks, with their locks in a directory beside it.
pub struct SqliteCatalog {
    database: database::Database,
    locks: LocalCatalog,
}

impl SqliteCatalog {
    /// Opens `sqlite:FILE`, the path of a file that need not exist yet.
    ///
    /// # Errors
    ///
    /// [`InvalidAddress`](sdk_state::ErrorKind::InvalidAddress) for an empty path.
    pub fn open(address: &Address) -> Result<Self, Error> {
        // Absolute, so that it is none of the names that mean something to SQLite, such as `:memory:`.
        let path = absolute(address.rest()).map_err(|_| address.invalid("sqlite:FILE is expected"))?;
        let locks = LocalCatalog::new(path.with_added_extension("locks"));
        let commit = Arc::new(|tx: Transaction<'_>| tx.commit());
        let database = database::Database { path, commit };
        Ok(Self { database, locks })
    }

    /// Ends every transaction with `commit`.
    #[must_use]
    pub fn with_commit(mut self, commit: Arc<Commit>) -> Self {
        self.database.commit = commit;
        self
    }
}

impl Catalog for SqliteCatalog {
    fn name(&self) -> String {
        format!("sqlite:{}", self.database.path.display())
    }

    fn open(&self, id: &StackId) -> Result<Box<dyn Backend>, Error> {
        Ok(Box::new(backend::SqliteBackend {
            database: self.database.clone(),
            locks: self.locks.open(id)?,
            stack: id.to_string(),
        }))
    }

    /// With those that are locked before they have a snapshot.
    fn stacks(&self) -> Result<Vec<StackId>, Error> {
        let written = self.database.names("SELECT stack FROM snapshots", [])?;
        let stacks: BTreeSet<StackId> = written.into_iter().chain(self.locks.stacks()?).collect();
        Ok(stacks.into_iter().collect())
    }

    fn remove(&self, id: &StackId) -> Result<(), Error> {
        self.database.run(Immediate, None, &|tx| {
            // It fails while somebody holds the lock.
            self.locks.remove(id)?;
            tx.execute("DELETE FROM pointers WHERE stack = ?1", [id.to_string()])?;
            tx.execute("DELETE FROM records WHERE stack = ?1", [id.to_string()])?;
            tx.execute("DELETE FROM snapshots WHERE stack = ?1", [id.to_string()])?;
            Ok(())
        })
    }
}
