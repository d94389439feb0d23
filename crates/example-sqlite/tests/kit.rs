//! The backend passes every rule of the kit.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic")]

use example_sqlite::SqliteRoot;
use rusqlite::{Connection, params};
use sdk_conformance::{Medium, Stores};
use sdk_state::{Error, Revision, StackId, Storage};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// A database in a temporary directory, which is removed at the end.
struct Sqlite(TempDir);

impl Sqlite {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("state.db")
    }

    fn execute(&self, sql: &str, values: impl rusqlite::Params) {
        let connection = Connection::open(self.file()).unwrap();
        assert_eq!(connection.execute(sql, values).unwrap(), 1, "{sql}");
    }
}

impl Medium for Sqlite {
    fn open(&self, id: &StackId) -> Result<Box<dyn Storage>, Error> {
        SqliteRoot::open_address(self.file().to_str().unwrap())?.open(id)
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

    /// A marker that nobody keeps flocked: what a holder that was killed leaves behind.
    fn kill_holder(&self, id: &StackId) -> Option<()> {
        let stack = self.0.path().join("state.db.locks").join(id.to_string());
        fs::copy(stack.join("lock"), stack.join("copy")).unwrap();
        fs::rename(stack.join("copy"), stack.join("lock")).unwrap();
        Some(())
    }

    fn exists(&self, _: &StackId) -> Option<bool> {
        Some(fs::read_dir(self.0.path()).unwrap().next().is_some())
    }
}

mod storage {
    sdk_conformance::storage_tests!(crate::Sqlite::new);
}

mod backend {
    sdk_conformance::backend_tests!(|| crate::Stores(crate::Sqlite::new()));
}
