//! The rules of the contract on a filesystem where nothing proves that a holder is dead.

use crate::LocalStorage;
use crate::filesystem::Filesystem;
use sdk_conformance::Medium;
use sdk_state::{Error, Revision, StackId, Storage};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// A temporary directory that is taken for a share.
struct Share(TempDir);

impl Share {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn directory(&self, id: &StackId) -> PathBuf {
        self.0.path().join(id.factory()).join(id.stack())
    }
}

impl Medium for Share {
    fn open(&self, id: &StackId) -> Result<Box<dyn Storage>, Error> {
        let storage = LocalStorage::on(Filesystem::Untrusted, self.0.path(), id.clone());
        Ok(Box::new(storage))
    }

    fn overwrite_pointer(&self, id: &StackId, content: &[u8]) -> Option<()> {
        fs::write(self.directory(id).join("current"), content).unwrap();
        Some(())
    }

    fn overwrite_snapshot(&self, id: &StackId, rev: &Revision, content: &[u8]) -> Option<()> {
        let file = self.directory(id).join(format!("snapshots/{rev}.json.enc"));
        fs::write(file, content).unwrap();
        Some(())
    }

    /// A marker that nobody keeps flocked: what a holder that was killed leaves behind.
    fn kill_holder(&self, id: &StackId) -> Option<()> {
        let (marker, copy) = (self.directory(id).join("lock"), self.directory(id).join("copy"));
        fs::copy(&marker, &copy).unwrap();
        fs::rename(copy, marker).unwrap();
        Some(())
    }

    fn exists(&self, _: &StackId) -> Option<bool> {
        Some(fs::read_dir(self.0.path()).unwrap().next().is_some())
    }
}

mod storage {
    sdk_conformance::storage_tests!(
        super::Share::new,
        except "LOCK-13": "on a network filesystem it cannot be proved that a holder is dead",
    );
}

mod backend {
    sdk_conformance::backend_tests!(
        || sdk_conformance::Stores(super::Share::new()),
        except "BACKEND-23": "on a network filesystem it cannot be proved that a holder is dead",
    );
}
