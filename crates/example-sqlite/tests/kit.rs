//! The backend keeps every rule of the kit.

use example_sqlite::SqliteCatalog;
use rusqlite::{Connection, params};
use sdk_conformance::{Fixture, Method, TransportFault};
use sdk_state::{Backend, Catalog, Error, LockInfo, Revision, StackId};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// A database in a temporary directory, which is removed at the end.
pub(crate) struct Sqlite(TempDir);

impl Sqlite {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.path().join("state.db")
    }

    pub(crate) fn catalog(&self) -> SqliteCatalog {
        let address = format!("sqlite:{}", self.file().display());
        SqliteCatalog::open(&address.parse().unwrap()).unwrap()
    }

    fn execute(&self, sql: &str, values: impl rusqlite::Params) {
        let connection = Connection::open(self.file()).unwrap();
        assert_eq!(connection.execute(sql, values).unwrap(), 1, "{sql}");
    }

    /// The marker of the lock is a file of localstate, in a directory of the stack.
    fn locks(&self, id: &StackId) -> PathBuf {
        self.0.path().join("state.db.locks").join(id.to_string())
    }
}

impl Fixture for Sqlite {
    fn open(&self, id: &StackId) -> Result<Box<dyn Backend>, Error> {
        self.catalog().open(id)
    }

    fn overwrite_pointer(&self, id: &StackId, content: &[u8]) -> Option<()> {
        let sql = "UPDATE pointers SET revision = ?2 WHERE stack = ?1";
        self.execute(sql, params![id.to_string(), content]);
        Some(())
    }

    fn overwrite_snapshot(&self, id: &StackId, rev: &Revision, content: &[u8]) -> Option<()> {
        let sql = "UPDATE snapshots SET sealed = ?3 WHERE stack = ?1 AND revision = ?2";
        self.execute(sql, params![id.to_string(), rev.to_string(), content]);
        Some(())
    }

    /// A marker that nobody keeps flocked: what a killed holder leaves behind.
    fn kill_holder(&self, id: &StackId) -> Option<()> {
        let locks = self.locks(id);
        fs::copy(locks.join("lock"), locks.join("copy")).unwrap();
        fs::rename(locks.join("copy"), locks.join("lock")).unwrap();
        Some(())
    }

    /// A marker of another length than those that prove a death: nobody takes it over.
    fn plant_lock(&self, id: &StackId, info: &LockInfo) -> Option<()> {
        let marker = format!("\n{}", serde_json::to_string(info).unwrap());
        fs::write(self.locks(id).join("lock"), marker).unwrap();
        Some(())
    }

    fn exists(&self, _: &StackId) -> Option<bool> {
        Some(fs::read_dir(self.0.path()).unwrap().next().is_some())
    }

    fn catalog(&self) -> Option<Box<dyn Catalog>> {
        Some(Box::new(self.catalog()))
    }

    /// The first commit of the handle meets the fault. An unlock is no commit.
    fn open_faulty(&self, id: &StackId, method: Method, fault: TransportFault) -> Option<Box<dyn Backend>> {
        if method == Method::Unlock {
            return None;
        }
        let commits = AtomicUsize::new(0);
        let catalog = self.catalog().with_commit(Arc::new(move |tx| {
            if commits.fetch_add(1, Ordering::SeqCst) > 0 {
                return tx.commit();
            }
            if fault == TransportFault::AnswerLost {
                tx.commit()?;
            }
            Err(lost())
        }));
        Some(catalog.open(id).unwrap())
    }
}

/// What SQLite says when it cannot tell how a commit ended.
pub(crate) fn lost() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR), None)
}

sdk_conformance::backend_tests!(Sqlite::new);
