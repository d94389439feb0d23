use crate::failure::Failure;
use crate::filesystem::Filesystem;
use crate::layout;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::{Errno, retry_on_intr};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);
const PRIVATE_DIRECTORY: Mode = Mode::RWXU;

/// An open directory, and all that is done inside one: relative to the handle, never following a link, never passing
/// the handle on to a child, and again when a signal interrupts.
#[derive(Debug)]
pub(crate) struct Directory {
    handle: File,
    /// For messages alone: nothing is reached through it.
    path: PathBuf,
}

impl Directory {
    /// Opens the root, which may be a symbolic link; `None` when it does not exist.
    pub(crate) fn open_root(path: &Path) -> Result<Option<Self>, Failure> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty())) {
            Ok(handle) => Ok(Some(Self {
                handle: handle.into(),
                path: path.into(),
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(io_failure("open the directory", path.into(), errno)),
        }
    }

    /// Opens the directory `name` in this one; `None` when it does not exist.
    pub(crate) fn open_directory(&self, name: &str) -> Result<Option<Self>, Failure> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match retry_on_intr(|| rustix::fs::openat(&self.handle, name, flags, Mode::empty())) {
            Ok(handle) => Ok(Some(Self {
                handle: handle.into(),
                path: self.path.join(name),
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(Failure::NotADirectory(self.path.join(name))),
            Err(errno) => Err(self.failure("open the directory", name, errno)),
        }
    }

    /// Opens the directory `name`, making it first where it is missing, and makes its existence durable.
    pub(crate) fn make_directory(&self, name: &str) -> Result<Self, Failure> {
        match retry_on_intr(|| rustix::fs::mkdirat(&self.handle, name, PRIVATE_DIRECTORY)) {
            // A umask that takes bits from the owner leaves a directory that cannot even be opened. To change it by its
            // name would follow a link that somebody put there meanwhile, so it is done only where it must be.
            Ok(()) => {
                let mode = self.stat(name)?.map(|stat| Mode::from_raw_mode(stat.st_mode));
                if mode.is_some_and(|mode| !mode.contains(PRIVATE_DIRECTORY)) {
                    rustix::fs::chmodat(&self.handle, name, PRIVATE_DIRECTORY, AtFlags::empty())
                        .map_err(|errno| self.failure("set the mode of the directory", name, errno))?;
                }
            }
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(self.failure("make the directory", name, errno)),
        }
        let missing = || self.failure("open the directory", name, Errno::NOENT);
        let directory = self.open_directory(name)?.ok_or_else(missing)?;
        // A filesystem that is blind to case opens `prod` for `Prod`.
        if !self.lists_exactly(name)? {
            return Err(Failure::OtherSpelling(self.path.join(name)));
        }
        // Whoever lost the race to make it must not rely on the winner's flush.
        self.sync().map_err(|source| Failure::Io {
            action: "flush the directory",
            path: self.path.clone(),
            source,
        })?;
        Ok(directory)
    }

    /// A second handle that shares nothing with this one: neither its flock nor the errors that it has been told.
    pub(crate) fn reopen(&self) -> Result<File, Failure> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        retry_on_intr(|| rustix::fs::openat(&self.handle, ".", flags, Mode::empty()))
            .map(File::from)
            .map_err(|errno| io_failure("open the directory", self.path.clone(), errno))
    }

    /// Opens a file without waiting for the other end of a pipe; links and what is no regular file are for the caller to
    /// refuse, through [`Directory::is_plain`].
    pub(crate) fn open_file(&self, name: &str, access: Access) -> Result<File, Errno> {
        let access = match access {
            Access::Read => OFlags::RDONLY,
            Access::ReadWrite => OFlags::RDWR,
        };
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        retry_on_intr(|| rustix::fs::openat(&self.handle, name, flags, Mode::empty())).map(File::from)
    }

    /// Makes a file that did not exist, readable by its owner alone whatever the umask.
    pub(crate) fn create_file(&self, name: &str) -> Result<File, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = retry_on_intr(|| rustix::fs::openat(&self.handle, name, flags, PRIVATE_FILE))?;
        if let Err(errno) = rustix::fs::fchmod(&file, PRIVATE_FILE) {
            // It is ours and useless.
            let _ = self.unlink(name);
            return Err(errno);
        }
        Ok(file.into())
    }

    /// The status of a name, of a link itself; `None` when nothing has that name.
    pub(crate) fn stat(&self, name: &str) -> Result<Option<Stat>, Failure> {
        match retry_on_intr(|| rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW)) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.failure("look at", name, errno)),
        }
    }

    /// Whether `name` still leads to the file that is open as `file`.
    pub(crate) fn leads_to(&self, name: &str, file: &File) -> Result<bool, Failure> {
        let Some(by_name) = self.stat(name)? else {
            return Ok(false);
        };
        let by_handle = rustix::fs::fstat(file).map_err(|errno| self.failure("look at", name, errno))?;
        Ok((by_name.st_dev, by_name.st_ino) == (by_handle.st_dev, by_handle.st_ino))
    }

    /// Gives a file a new name in this directory, in place of whatever has it.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        retry_on_intr(|| rustix::fs::renameat(&self.handle, from, &self.handle, to))
    }

    /// Gives a file a new name in this directory unless that is taken (`EEXIST`).
    pub(crate) fn rename_new(&self, from: &str, to: &str) -> Result<(), Errno> {
        retry_on_intr(|| {
            rustix::fs::renameat_with(&self.handle, from, &self.handle, to, RenameFlags::NOREPLACE)
        })
    }

    /// Gives a file a second name unless that is taken (`EEXIST`).
    pub(crate) fn link(&self, from: &str, to: &str) -> Result<(), Errno> {
        retry_on_intr(|| rustix::fs::linkat(&self.handle, from, &self.handle, to, AtFlags::empty()))
    }

    pub(crate) fn unlink(&self, name: &str) -> Result<(), Errno> {
        retry_on_intr(|| rustix::fs::unlinkat(&self.handle, name, AtFlags::empty()))
    }

    /// Makes the names in this directory durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        sync(&self.handle)
    }

    /// Calls `visit` with every name but `.` and `..`.
    pub(crate) fn names(&self, mut visit: impl FnMut(&CStr, FileType)) -> Result<(), Failure> {
        let failure = |errno| io_failure("list the directory", self.path.clone(), errno);
        for entry in Dir::read_from(&self.handle).map_err(failure)? {
            let entry = entry.map_err(failure)?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                visit(entry.file_name(), entry.file_type());
            }
        }
        Ok(())
    }

    /// The names of the directories in this one that `accept`s.
    pub(crate) fn directories(&self, accept: impl Fn(&str) -> bool) -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        self.names(|name, kind| {
            if let Ok(name) = name.to_str()
                && accept(name)
                && matches!(kind, FileType::Directory | FileType::Unknown)
            {
                names.push(name.to_owned());
            }
        })?;
        names.sort_unstable();
        Ok(names)
    }

    pub(crate) fn filesystem(&self) -> Result<Filesystem, Failure> {
        let statistics = retry_on_intr(|| rustix::fs::fstatfs(&self.handle))
            .map_err(|errno| io_failure("look at the filesystem of", self.path.clone(), errno))?;
        Ok(Filesystem::of(&statistics))
    }

    /// Whether somebody has removed the directory while it was open.
    pub(crate) fn is_removed(&self) -> bool {
        rustix::fs::fstat(&self.handle).is_ok_and(|stat| stat.st_nlink == 0)
    }

    pub(crate) fn is_plain(stat: &Stat) -> bool {
        FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
    }

    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A failure to do something with the file `name`. The file of a snapshot is named as it is.
    pub(crate) fn failure(&self, action: &'static str, name: &str, source: impl Into<io::Error>) -> Failure {
        Failure::Io {
            action,
            path: self.path.join(name),
            source: source.into(),
        }
    }

    /// A failure to do something with the directory itself.
    pub(crate) fn own_failure(&self, action: &'static str, source: impl Into<io::Error>) -> Failure {
        io_failure(action, self.path.clone(), source)
    }

    fn lists_exactly(&self, name: &str) -> Result<bool, Failure> {
        let mut found = false;
        self.names(|entry, _| found |= entry.to_bytes() == name.as_bytes())?;
        Ok(found)
    }
}

/// Makes the names in the open `directory` durable. A filesystem that cannot flush a directory has nothing to flush.
///
/// A failure is told once to each handle that was open when it happened. Whoever must hear of the failure of a certain
/// change takes a handle of his own before the change: on a shared one another thread may have been told instead.
pub(crate) fn sync(directory: &File) -> io::Result<()> {
    match directory.sync_all() {
        Err(error) if is_unsupported(&error) => Ok(()),
        result => result,
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Access {
    Read,
    ReadWrite,
}

/// The open directories of one stack.
#[derive(Debug)]
pub(crate) struct StackDirectory {
    /// Holds `current` and `lock`.
    pub(crate) stack: Directory,
    /// Holds the snapshots; missing where the original has only locked so far.
    snapshots: Option<Directory>,
    pub(crate) filesystem: Filesystem,
}

impl StackDirectory {
    /// Opens what exists and makes nothing; `None` when the stack does not exist.
    pub(crate) fn open(root: &Path, factory: &str, stack: &str) -> Result<Option<Self>, Failure> {
        let Some(root) = Directory::open_root(root)? else {
            return Ok(None);
        };
        let Some(factory) = root.open_directory(factory)? else {
            return Ok(None);
        };
        let Some(stack) = factory.open_directory(stack)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            filesystem: stack.filesystem()?,
            snapshots: stack.open_directory(layout::SNAPSHOTS)?,
            stack,
        }))
    }

    /// Makes every level that is missing, and the existence of each durable.
    pub(crate) fn make(root: &Path, factory: &str, stack: &str) -> Result<Self, Failure> {
        let stack = make_root(root)?.make_directory(factory)?.make_directory(stack)?;
        Ok(Self {
            filesystem: stack.filesystem()?,
            snapshots: Some(stack.make_directory(layout::SNAPSHOTS)?),
            stack,
        })
    }

    pub(crate) fn snapshots(&self) -> Option<&Directory> {
        self.snapshots.as_ref()
    }

    /// Whether files can be made in it: it is complete, and nobody has removed it since it was opened.
    pub(crate) fn is_usable(&self) -> bool {
        !self.stack.is_removed()
            && self
                .snapshots
                .as_ref()
                .is_some_and(|snapshots| !snapshots.is_removed())
    }
}

/// Makes the root and its ancestors from the first missing one down.
fn make_root(root: &Path) -> Result<Directory, Failure> {
    let parent = match root.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => root,
    };
    if Directory::open_root(root)?.is_none() {
        drop(make_root(parent)?);
        match retry_on_intr(|| rustix::fs::mkdir(root, PRIVATE_DIRECTORY)) {
            Ok(()) => rustix::fs::chmod(root, PRIVATE_DIRECTORY)
                .map_err(|errno| io_failure("set the mode of the directory", root.into(), errno))?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(io_failure("make the directory", root.into(), errno)),
        }
    }
    // A parent that may be passed but not read cannot be flushed either; whoever made it had to be able to.
    match Directory::open_root(parent) {
        Ok(Some(parent)) => parent
            .sync()
            .map_err(|source| parent.own_failure("flush the directory", source))?,
        Ok(None) => {}
        Err(Failure::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {}
        Err(failure) => return Err(failure),
    }
    Directory::open_root(root)?.ok_or_else(|| io_failure("open the directory", root.into(), Errno::NOENT))
}

fn io_failure(action: &'static str, path: PathBuf, source: impl Into<io::Error>) -> Failure {
    Failure::Io {
        action,
        path,
        source: source.into(),
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::INVAL | Errno::NOTSUP)
    )
}
