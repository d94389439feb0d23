use crate::failure::Failure;
use crate::filesystem::Filesystem;
use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Mode, OFlags, RenameFlags, Stat, StatxFlags};
use rustix::io::{Errno, retry_on_intr};
use sdk_state::Wait;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an open waits for somebody, such as a file server, to give back a lease on the file. The kernel takes a lease by
/// force after `/proc/sys/fs/lease-break-time`, 45 seconds.
const LEASE_PATIENCE: Duration = Duration::from_secs(5);
const LEASE_PAUSE: Duration = Duration::from_millis(2);

const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);
const PRIVATE_DIRECTORY: Mode = Mode::RWXU;

/// An open directory. Every operation is relative to the handle, follows no link, does not pass the handle on to a child, and
/// is repeated when a signal interrupts it.
#[derive(Debug)]
pub(crate) struct Directory {
    handle: File,
    /// For messages, and to see whether it still leads here.
    path: PathBuf,
    inode: Inode,
}

/// The identity of a file. No other file has the same identity while this one is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inode {
    device: u64,
    number: u64,
}

impl From<Stat> for Inode {
    #[allow(clippy::unnecessary_cast, reason = "the types differ between systems")]
    fn from(stat: Stat) -> Self {
        Self {
            device: stat.st_dev as u64,
            number: stat.st_ino as u64,
        }
    }
}

impl Directory {
    /// Opens the root, which may be a symbolic link; `None` when it does not exist.
    pub(crate) fn open_root(path: &Path) -> Result<Option<Self>, Failure> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty())) {
            Ok(handle) => Ok(Some(Self::opened(handle.into(), path.into())?)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(io_failure("open the directory", path.into(), errno)),
        }
    }

    /// Opens the directory `name` in this one; `None` when it does not exist.
    pub(crate) fn open_directory(&self, name: &str) -> Result<Option<Self>, Failure> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match retry_on_intr(|| rustix::fs::openat(&self.handle, name, flags, Mode::empty())) {
            Ok(handle) => Ok(Some(Self::opened(handle.into(), self.path.join(name))?)),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(Failure::NotADirectory(self.path.join(name))),
            Err(errno) => Err(self.failure("open the directory", name, errno)),
        }
    }

    fn opened(handle: File, path: PathBuf) -> Result<Self, Failure> {
        match stat(&handle) {
            Ok(stat) => Ok(Self {
                handle,
                path,
                inode: stat.into(),
            }),
            Err(errno) => Err(io_failure("look at the directory", path, errno)),
        }
    }

    /// Opens the directory `name`, making it first where it is missing, and makes its existence durable.
    pub(crate) fn make_directory(&self, name: &str) -> Result<Self, Failure> {
        match retry_on_intr(|| rustix::fs::mkdirat(&self.handle, name, PRIVATE_DIRECTORY)) {
            // With a umask that takes bits from the owner, the directory cannot even be opened. Changing the mode by name
            // would follow a link that somebody put there meanwhile, so this is done only where it is necessary.
            Ok(()) => {
                let mode = self.stat(name)?.map(|stat| Mode::from_raw_mode(stat.st_mode));
                if mode.is_some_and(|mode| !mode.contains(PRIVATE_DIRECTORY)) {
                    retry_on_intr(|| {
                        rustix::fs::chmodat(&self.handle, name, PRIVATE_DIRECTORY, AtFlags::empty())
                    })
                    .map_err(|errno| self.failure("set the mode of the directory", name, errno))?;
                }
            }
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(self.failure("make the directory", name, errno)),
        }
        let missing = || self.failure("open the directory", name, Errno::NOENT);
        let directory = self.open_directory(name)?.ok_or_else(missing)?;
        self.demand_spelling(name, &directory)?;
        // Also when another process made it: it may not have flushed it yet.
        self.sync().map_err(|source| Failure::Io {
            action: "flush the directory",
            path: self.path.clone(),
            source,
        })?;
        Ok(directory)
    }

    /// A second handle that shares nothing with this one: neither its flock nor the errors that the kernel reported to it.
    pub(crate) fn reopen(&self) -> Result<File, Failure> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        retry_on_intr(|| rustix::fs::openat(&self.handle, ".", flags, Mode::empty()))
            .map(File::from)
            .map_err(|errno| io_failure("open the directory", self.path.clone(), errno))
    }

    /// Opens a file for reading, without waiting for the other end of a pipe; the caller refuses links and other files that
    /// are not regular, with [`Directory::is_plain`]. Waits until a lease on the file is given back; `EAGAIN` if that takes
    /// too long.
    pub(crate) fn open_file(&self, name: &str) -> Result<File, Errno> {
        let wait = Wait::at_most(LEASE_PATIENCE);
        loop {
            match self.try_open_file(name) {
                Err(Errno::AGAIN) if wait.pause(LEASE_PAUSE) => {}
                result => return result,
            }
        }
    }

    /// Opens it without waiting: `EAGAIN` while another process has a lease on the file. The kernel asks that process to give the
    /// lease back.
    pub(crate) fn try_open_file(&self, name: &str) -> Result<File, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        retry_on_intr(|| rustix::fs::openat(&self.handle, name, flags, Mode::empty())).map(File::from)
    }

    /// Makes a file that did not exist, readable by its owner alone whatever the umask.
    pub(crate) fn create_file(&self, name: &str) -> Result<File, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = retry_on_intr(|| rustix::fs::openat(&self.handle, name, flags, PRIVATE_FILE))?;
        if let Err(errno) = retry_on_intr(|| rustix::fs::fchmod(&file, PRIVATE_FILE)) {
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

    /// Returns the identity of the file `name`, and asks for nothing else.
    ///
    /// Since Linux 6.13, the first write after somebody reads a file's times gives it a new time, which dirties its inode. With a
    /// `stat` of the journal before each append, each flush took half as long again.
    #[cfg(target_os = "linux")]
    pub(crate) fn inode_of(&self, name: &str) -> Result<Option<Inode>, Failure> {
        let ask = || rustix::fs::statx(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::INO);
        match retry_on_intr(ask) {
            Ok(found) => Ok(Some(Inode {
                device: rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor),
                number: found.stx_ino,
            })),
            Err(Errno::NOENT) => Ok(None),
            // A sandbox may not know the call.
            Err(Errno::NOSYS | Errno::PERM) => Ok(self.stat(name)?.map(Inode::from)),
            Err(errno) => Err(self.failure("look at", name, errno)),
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn inode_of(&self, name: &str) -> Result<Option<Inode>, Failure> {
        Ok(self.stat(name)?.map(Inode::from))
    }

    /// Returns whether `name` still leads to the file that is open as `file`.
    pub(crate) fn leads_to(&self, name: &str, file: &File) -> Result<bool, Failure> {
        let Some(by_name) = self.stat(name)? else {
            return Ok(false);
        };
        let by_handle = stat(file).map_err(|errno| self.failure("look at", name, errno))?;
        Ok(Inode::from(by_name) == Inode::from(by_handle))
    }

    /// Returns whether `name` in this directory leads to that one.
    pub(crate) fn leads_to_directory(&self, name: &str, directory: &Self) -> Result<bool, Failure> {
        Ok(self.stat(name)?.map(Inode::from) == Some(directory.inode))
    }

    /// Returns whether its path, which may end in a link, still leads here.
    pub(crate) fn is_at_its_path(&self) -> Result<bool, Failure> {
        match retry_on_intr(|| rustix::fs::stat(&self.path)) {
            Ok(stat) => Ok(Inode::from(stat) == self.inode),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
            Err(errno) => Err(self.own_failure("look at", errno)),
        }
    }

    pub(crate) fn inode(&self) -> Inode {
        self.inode
    }

    /// Fails if `directory`, which was opened as `name`, is stored under another spelling: a filesystem that is blind to case
    /// opens `prod` for `Prod`.
    pub(crate) fn demand_spelling(&self, name: &str, directory: &Self) -> Result<(), Failure> {
        if self.lists_exactly(name)? {
            return Ok(());
        }
        Err(match self.leads_to_directory(name, directory)? {
            true => Failure::OtherSpelling(directory.path.clone()),
            false => Failure::DirectoryMoved(directory.path.clone()),
        })
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

    /// Two names in this directory swap what they lead to, in one step.
    pub(crate) fn exchange(&self, one: &str, other: &str) -> Result<(), Errno> {
        retry_on_intr(|| {
            rustix::fs::renameat_with(&self.handle, one, &self.handle, other, RenameFlags::EXCHANGE)
        })
    }

    /// Gives a file a second name unless that is taken (`EEXIST`).
    pub(crate) fn link(&self, from: &str, to: &str) -> Result<(), Errno> {
        retry_on_intr(|| rustix::fs::linkat(&self.handle, from, &self.handle, to, AtFlags::empty()))
    }

    pub(crate) fn unlink(&self, name: &str) -> Result<(), Errno> {
        retry_on_intr(|| rustix::fs::unlinkat(&self.handle, name, AtFlags::empty()))
    }

    /// Removes an empty directory.
    pub(crate) fn remove_directory(&self, name: &str) -> Result<(), Errno> {
        retry_on_intr(|| rustix::fs::unlinkat(&self.handle, name, AtFlags::REMOVEDIR))
    }

    /// Makes the names in this directory durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        sync(&self.handle)
    }

    /// Everything in it but `.` and `..`.
    pub(crate) fn entries(&self) -> Result<impl Iterator<Item = Result<DirEntry, Failure>>, Failure> {
        let failure = |errno| io_failure("list the directory", self.path.clone(), errno);
        let entries = retry_on_intr(|| Dir::read_from(&self.handle)).map_err(failure)?;
        let is_own = |entry: &DirEntry| matches!(entry.file_name().to_bytes(), b"." | b"..");
        Ok(entries
            .map(move |entry| entry.map_err(failure))
            .filter(move |entry| !entry.as_ref().is_ok_and(is_own)))
    }

    /// The names of the directories in this one that `accept` accepts, sorted.
    pub(crate) fn directories(&self, accept: impl Fn(&str) -> bool) -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        for entry in self.entries()? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().to_str()
                && accept(name)
                && matches!(entry.file_type(), FileType::Directory | FileType::Unknown)
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    pub(crate) fn filesystem(&self) -> Result<Filesystem, Failure> {
        Filesystem::of(&self.handle).map_err(|errno| self.own_failure("look at the filesystem of", errno))
    }

    /// The status of the directory itself.
    pub(crate) fn own_stat(&self) -> Result<Stat, Failure> {
        stat(&self.handle).map_err(|errno| self.own_failure("look at", errno))
    }

    pub(crate) fn is_plain(stat: &Stat) -> bool {
        FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
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

    /// Returns whether a file has this very name. That takes as long as there are files.
    pub(crate) fn lists_exactly(&self, name: &str) -> Result<bool, Failure> {
        for entry in self.entries()? {
            if entry?.file_name().to_bytes() == name.as_bytes() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Makes the names in the open `directory` durable. A filesystem that cannot flush a directory has nothing to flush.
///
/// The kernel reports a failure once to each handle that was open when it happened. To hear of the failure of a certain
/// change, open a handle before the change: on a shared one another thread may have been told instead.
pub(crate) fn sync(directory: &File) -> io::Result<()> {
    match directory.sync_all() {
        Err(error) if is_unsupported(&error) => Ok(()),
        result => result,
    }
}

/// The status of an open file. Unlike `File::metadata` it is asked again when a signal interrupts, which FUSE and some
/// network filesystems allow.
pub(crate) fn stat(file: &File) -> Result<Stat, Errno> {
    retry_on_intr(|| rustix::fs::fstat(file))
}

/// Makes the root and its ancestors from the first missing one down.
pub(crate) fn make_root(root: &Path) -> Result<Directory, Failure> {
    let parent = match root.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => root,
    };
    if Directory::open_root(root)?.is_none() {
        drop(make_root(parent)?);
        match retry_on_intr(|| rustix::fs::mkdir(root, PRIVATE_DIRECTORY)) {
            Ok(()) => retry_on_intr(|| rustix::fs::chmod(root, PRIVATE_DIRECTORY))
                .map_err(|errno| io_failure("set the mode of the directory", root.into(), errno))?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(io_failure("make the directory", root.into(), errno)),
        }
    }
    // A parent that may be passed but not read cannot be flushed. Whatever made it could read it.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The two ask the kernel in different ways, and must agree on the device.
    #[test]
    fn the_identity_of_a_file_is_that_of_its_stat() {
        let path = tempfile::tempdir().unwrap();
        let parent = Directory::open_root(path.path()).unwrap().unwrap();
        std::fs::write(path.path().join("file"), "content").unwrap();
        let stat = parent.stat("file").unwrap().map(Inode::from);
        assert!(stat.is_some());
        assert_eq!(parent.inode_of("file").unwrap(), stat);
        assert_eq!(parent.inode_of("nothing").unwrap(), None);
    }

    /// A filesystem that is blind to case opens a directory under names that it does not list. So does `./prod` anywhere.
    #[test]
    fn a_directory_under_another_spelling_is_refused() {
        let path = tempfile::tempdir().unwrap();
        let parent = Directory::open_root(path.path()).unwrap().unwrap();
        let prod = parent.make_directory("prod").unwrap();
        parent.demand_spelling("prod", &prod).unwrap();
        let other = parent.demand_spelling("./prod", &prod);
        assert!(matches!(other, Err(Failure::OtherSpelling(at)) if at == path.path().join("prod")));
        // Somebody renamed it after it was opened, which says nothing about its spelling.
        std::fs::rename(path.path().join("prod"), path.path().join("moved")).unwrap();
        let moved = parent.demand_spelling("prod", &prod);
        assert!(matches!(moved, Err(Failure::DirectoryMoved(_))));
    }
}
