use crate::note::Note;
use clap::Args;
use localstate::{LocalStorage, LocalStore};
use sdk_state::encrypt::Noop;
use sdk_state::{Error, StackId, Store};
use std::path::{Path, PathBuf};

/// Where everything is: the state that is tested, and beside it what watches it.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    #[arg(long)]
    directory: PathBuf,
}

impl Place {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn open(&self) -> Result<LocalStore<Note>, Error> {
        let id = StackId::new(FACTORY, STACK)?;
        Ok(Store::new(LocalStorage::new(self.directory.join(ROOT), id), Noop))
    }

    pub(super) fn stack(&self) -> PathBuf {
        self.directory.join(ROOT).join(FACTORY).join(STACK)
    }

    pub(super) fn marker(&self) -> PathBuf {
        self.stack().join("lock")
    }

    pub(super) fn witness(&self) -> PathBuf {
        self.directory.join("witness")
    }

    pub(super) fn journal(&self, name: &str) -> PathBuf {
        self.directory.join(format!("journal-{name}"))
    }

    /// The file that tells everybody to come to an end.
    pub(super) fn stop(&self) -> PathBuf {
        self.directory.join("stop")
    }

    pub(super) fn is_over(&self) -> bool {
        self.stop().exists()
    }
}

const ROOT: &str = "root";
const FACTORY: &str = "torture";
const STACK: &str = "prod";
