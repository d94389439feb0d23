//! The places that the tests of this crate use.

#![allow(dead_code, reason = "each test file uses some of it")]

use localstate::LocalStorage;
use sdk_conformance::Medium;
use sdk_state::{Error, MemoryStorage, Revision, StackId, Storage};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use tempfile::TempDir;

/// A place in memory. A stack exists from its first opening on, so there is no hook for that.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<BTreeMap<StackId, MemoryStorage>>);

impl Memory {
    fn stack(&self, id: &StackId) -> MemoryStorage {
        let mut stacks: MutexGuard<'_, _> = self.0.lock().unwrap();
        let stack = stacks
            .entry(id.clone())
            .or_insert_with(|| MemoryStorage::new(id.clone()));
        stack.clone()
    }
}

impl Medium for Memory {
    fn open(&self, id: &StackId) -> Result<Box<dyn Storage>, Error> {
        Ok(Box::new(self.stack(id)))
    }

    fn overwrite_pointer(&self, id: &StackId, content: &[u8]) -> Option<()> {
        self.stack(id).overwrite_pointer(content);
        Some(())
    }

    fn overwrite_snapshot(&self, id: &StackId, rev: &Revision, content: &[u8]) -> Option<()> {
        self.stack(id).overwrite_snapshot(rev, content);
        Some(())
    }

    fn kill_holder(&self, id: &StackId) -> Option<()> {
        self.stack(id).kill_holder();
        Some(())
    }
}

/// A temporary directory, removed at the end.
#[derive(Debug)]
pub(crate) struct Local(TempDir);

impl Local {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn directory(&self, id: &StackId) -> PathBuf {
        self.0.path().join(id.factory()).join(id.stack())
    }
}

impl Medium for Local {
    fn open(&self, id: &StackId) -> Result<Box<dyn Storage>, Error> {
        Ok(Box::new(LocalStorage::new(self.0.path(), id.clone())))
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
