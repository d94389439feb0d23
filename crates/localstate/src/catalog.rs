use crate::LocalBackend;
use crate::backend::absolute;
use crate::directory::Directory;
use crate::failure::Failure;
use crate::mutex::DirectoryMutex;
use crate::stack::StackDirectory;
use crate::{layout, lock};
use rustix::fs::FileType;
use rustix::io::Errno;
use sdk_state::{Address, Backend, Catalog, Error, Holder, Lock, Provenance, StackId, TryLock, Wait};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a removal starts again because somebody uses the stack meanwhile, or still has a removed file open that FUSE or
/// NFS keeps.
const ATTEMPTS: u32 = 8;
const PAUSE: Duration = Duration::from_millis(20);

/// The catalog of the stacks below a root directory, which the address `local:DIR` opens.
///
/// If somebody locks a stack while it is removed, the removal stops with [`Unavailable`](sdk_state::ErrorKind::Unavailable):
/// `current` is gone then, and some of the snapshots. Remove the stack again once the lock is free.
#[derive(Debug, Clone)]
pub struct LocalCatalog(PathBuf);

impl LocalCatalog {
    /// The scheme under which a [`Registry`](sdk_state::Registry) offers this backend.
    pub const SCHEME: &'static str = "local";

    /// Makes the catalog at `root`, whether the directory exists yet or not. A relative path is resolved now, against the
    /// current working directory.
    pub fn new(root: impl AsRef<Path>) -> Self {
        Self(absolute(root.as_ref()))
    }

    /// Opens `local:DIR`, where `DIR` is a path, absolute or relative to the current working directory.
    ///
    /// ```
    /// use localstate::LocalCatalog;
    ///
    /// let registry = sdk_state::Registry::new().register(LocalCatalog::SCHEME, LocalCatalog::open);
    /// let catalog = registry.open("local:.unobin/state")?;
    /// # let _ = catalog;
    /// # Ok::<(), sdk_state::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidAddress`](sdk_state::ErrorKind::InvalidAddress) for an empty path.
    pub fn open(address: &Address) -> Result<Self, Error> {
        match address.rest() {
            "" => Err(address.invalid("it names no directory; local:DIR is expected")),
            path => Ok(Self::new(path)),
        }
    }

    /// One try to remove a stack; false when somebody used it meanwhile. `has_begun` becomes true once something is removed.
    fn try_remove(&self, id: &StackId, has_begun: &mut bool) -> Result<bool, Failure> {
        let Some(found) = StackDirectory::open(&self.0, id)? else {
            return Ok(true);
        };
        demand_own_files(&found)?;
        let exclusion = Exclusion::begin(&self.0, id, &found)?;
        // Taking a lock makes missing directories.
        let Some(directory) = StackDirectory::open(&self.0, id)? else {
            return Ok(true);
        };
        directory.demand_spelling()?;
        let stack = &directory.stack;
        {
            let _mutex = exclusion.enter(&directory)?;
            *has_begun |= remove_file(stack, layout::CURRENT)?;
        }
        flush(stack)?;
        // Before the snapshots: the name of its base may be given again once that is gone.
        let has_journal = {
            let _mutex = exclusion.enter(&directory)?;
            if stack.stat(layout::CURRENT)?.is_some() {
                return Ok(false);
            }
            remove_file(stack, layout::JOURNAL)?
        };
        if has_journal {
            *has_begun = true;
            flush(stack)?;
        }
        if let Some(snapshots) = directory.snapshots() {
            for name in file_names(snapshots)? {
                // One by one, so that nobody waits for long.
                let _mutex = exclusion.enter(&directory)?;
                if stack.stat(layout::CURRENT)?.is_some() {
                    return Ok(false);
                }
                *has_begun |= remove_file(snapshots, &name)?;
            }
        }
        remove_directories(id, &directory, exclusion)
    }
}

impl Catalog for LocalCatalog {
    fn name(&self) -> String {
        format!("{}:{}", Self::SCHEME, self.0.display())
    }

    fn open(&self, id: &StackId) -> Result<Box<dyn Backend>, Error> {
        Ok(Box::new(LocalBackend::new(&self.0, id.clone())))
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

    fn remove(&self, id: &StackId) -> Result<(), Error> {
        let mut has_begun = false;
        for _ in 0..ATTEMPTS {
            match self.try_remove(id, &mut has_begun) {
                Ok(true) => return Ok(()),
                Ok(false) | Err(Failure::DirectoryMoved(_)) => Wait::forever().pause(PAUSE),
                // Somebody locked what is left: that the lock is held would mean that nothing was removed.
                Err(Failure::Locked(_) | Failure::LockLost) if has_begun => break,
                Err(Failure::Contract(error)) if has_begun && error.is_lock_lost() => break,
                Err(failure) => return Err(failure.into()),
            };
        }
        Err(Failure::InUse(self.0.join(id.factory()).join(id.stack())).into())
    }
}

/// The way to keep others from using a stack while it is removed.
enum Exclusion {
    /// Each step checks under the directory mutex that nobody holds the lock, so that no lock must be written on a full disk.
    Mutex,
    /// An untrusted filesystem has no such mutex: the lock is held.
    Lock(Box<dyn Lock>),
}

impl Exclusion {
    fn begin(root: &Path, id: &StackId, directory: &StackDirectory) -> Result<Self, Failure> {
        if directory.filesystem.is_trusted() {
            return Ok(Self::Mutex);
        }
        let holder = Holder::new("remove").with_provenance(Provenance::of_this_process());
        match LocalBackend::new(root, id.clone())
            .try_lock(&holder)
            .map_err(Failure::Contract)?
        {
            TryLock::Held(lock) => Ok(Self::Lock(lock)),
            TryLock::Busy { status, .. } => Err(Failure::Locked(Box::new(status.info))),
        }
    }

    fn enter(&self, directory: &StackDirectory) -> Result<DirectoryMutex, Failure> {
        let mutex = DirectoryMutex::lock(directory)?;
        match self {
            Self::Mutex => lock::demand_nobody(directory)?,
            Self::Lock(held) => lock::demand_token(directory, held.token().map_err(Failure::Contract)?)?,
        }
        Ok(mutex)
    }
}

/// Removes the directories once they contain nothing but a lock marker.
fn remove_directories(
    id: &StackId,
    directory: &StackDirectory,
    exclusion: Exclusion,
) -> Result<bool, Failure> {
    let stack = &directory.stack;
    let mutex = exclusion.enter(directory)?;
    if stack.stat(layout::CURRENT)?.is_some()
        || directory.snapshots().is_some() && !remove_directory(stack, layout::SNAPSHOTS)?
    {
        return Ok(false);
    }
    for name in file_names(stack)? {
        if name != layout::LOCK || matches!(exclusion, Exclusion::Mutex) {
            remove_file(stack, &name)?;
        }
    }
    let _mutex = match exclusion {
        Exclusion::Mutex => Some(mutex),
        Exclusion::Lock(lock) => {
            drop(mutex);
            lock.unlock().map_err(Failure::Contract)?;
            None
        }
    };
    if !remove_directory(&directory.factory, id.stack())? {
        return Ok(false);
    }
    match directory.factory.sync() {
        Ok(()) => Ok(true),
        Err(source) => Err(Failure::RemovalUnknown {
            path: stack.path().into(),
            source,
        }),
    }
}

/// Checks for files that somebody else put there: they would be lost, or keep the directory from being removed.
fn demand_own_files(directory: &StackDirectory) -> Result<(), Failure> {
    let is_temporary = |name: &[u8]| {
        layout::is_temporary(name)
            || layout::is_temporary_of_unobin(name)
            || layout::is_removed_and_open(name)
    };
    let is_own = |name: &[u8]| {
        is_temporary(name)
            || [layout::CURRENT, layout::JOURNAL, layout::LOCK]
                .iter()
                .any(|own| own.as_bytes() == name)
    };
    for entry in directory.stack.entries()? {
        let entry = entry?;
        let (name, is_directory) = (entry.file_name(), entry.file_type() == FileType::Directory);
        let is_snapshots = name.to_bytes() == layout::SNAPSHOTS.as_bytes();
        if !is_snapshots && (is_directory || !is_own(name.to_bytes())) {
            return Err(Failure::ForeignFile(
                directory.stack.path_of(&name.to_string_lossy()),
            ));
        }
    }
    let Some(snapshots) = directory.snapshots() else {
        return Ok(());
    };
    for entry in snapshots.entries()? {
        let entry = entry?;
        let (name, is_directory) = (entry.file_name(), entry.file_type() == FileType::Directory);
        if is_directory || !(layout::revision(name.to_bytes()).is_some() || is_temporary(name.to_bytes())) {
            return Err(Failure::ForeignFile(snapshots.path_of(&name.to_string_lossy())));
        }
    }
    Ok(())
}

/// The files to remove.
fn file_names(directory: &Directory) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for entry in directory.entries()? {
        let entry = entry?;
        if !layout::is_removed_and_open(entry.file_name().to_bytes()) {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

fn flush(directory: &Directory) -> Result<(), Failure> {
    directory
        .sync()
        .map_err(|source| directory.own_failure("flush the directory", source))
}

/// Returns false if it does not exist.
fn remove_file(directory: &Directory, name: &str) -> Result<bool, Failure> {
    match directory.unlink(name) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(directory.failure("remove the file", name, errno)),
    }
}

/// False when something is in it.
fn remove_directory(directory: &Directory, name: &str) -> Result<bool, Failure> {
    match directory.remove_directory(name) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(errno) => Err(directory.failure("remove the directory", name, errno)),
    }
}
