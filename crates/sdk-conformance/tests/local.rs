//! `LocalBackend` keeps every rule.

use localstate::LocalCatalog;
use sdk_conformance::{Fixture, RULES, Report};
use sdk_state::{Backend, Catalog, Error, LockInfo, Revision, StackId};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// A temporary directory, removed at the end.
#[derive(Debug)]
struct Local(TempDir);

impl Local {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn directory(&self, id: &StackId) -> PathBuf {
        self.0.path().join(id.factory()).join(id.stack())
    }
}

impl Fixture for Local {
    fn open(&self, id: &StackId) -> Result<Box<dyn Backend>, Error> {
        LocalCatalog::new(self.0.path()).open(id)
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

    /// A marker that nobody keeps flocked: what a killed holder leaves behind.
    fn kill_holder(&self, id: &StackId) -> Option<()> {
        let (marker, copy) = (self.directory(id).join("lock"), self.directory(id).join("copy"));
        fs::copy(&marker, &copy).unwrap();
        fs::rename(copy, marker).unwrap();
        Some(())
    }

    /// A marker of another length than those that prove a death: nobody takes it over.
    fn plant_lock(&self, id: &StackId, info: &LockInfo) -> Option<()> {
        let marker = format!("\n{}", serde_json::to_string(info).unwrap());
        fs::write(self.directory(id).join("lock"), marker).unwrap();
        Some(())
    }

    fn exists(&self, _: &StackId) -> Option<bool> {
        Some(fs::read_dir(self.0.path()).unwrap().next().is_some())
    }

    fn catalog(&self) -> Option<Box<dyn Catalog>> {
        Some(Box::new(LocalCatalog::new(self.0.path())))
    }
}

sdk_conformance::backend_tests!(Local::new);

/// What a user is shown: `cargo test -p sdk-conformance the_report -- --ignored --nocapture`.
#[test]
#[ignore = "runs every rule a second time, to print the report"]
fn the_report_of_a_local_directory() {
    let report = Report::run(RULES, || Arc::new(Local::new()), &[]);
    println!("{report}");
    assert!(report.is_good());
}
