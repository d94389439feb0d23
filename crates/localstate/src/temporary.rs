use crate::directory::Directory;
use crate::failure::Failure;
use crate::filesystem::Filesystem;
use crate::flock;
use crate::layout::{self, Purpose};
use crate::untrusted;
use rustix::io::Errno;
use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime};

/// Younger temporary files may belong to a process that has not locked them yet.
const STALE_AFTER: Duration = Duration::from_secs(3600);

/// A file under a random name, to be published under its real one once it is complete and durable; removed otherwise.
///
/// It is flocked for as long as it is open, so that a cleaner knows that somebody still works on it.
#[derive(Debug)]
pub(crate) struct Temporary<'a> {
    // Dropped first: the name is removed while the file is still locked.
    name: TemporaryName<'a>,
    file: File,
    filesystem: Filesystem,
}

/// The answer of [`Temporary::publish`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Published {
    Done,
    NameTaken,
    /// Somebody removed the temporary file.
    Gone,
}

impl<'a> Temporary<'a> {
    /// Writes `content` and flushes it. After an error nothing is left, and the flush is never tried again: the kernel
    /// may have dropped what it could not write.
    pub(crate) fn write(
        directory: &'a Directory,
        filesystem: Filesystem,
        purpose: Purpose,
        content: &[u8],
    ) -> Result<Self, Failure> {
        let name = layout::temporary(purpose)
            .map_err(|source| directory.own_failure("draw a random name in", source))?;
        let file = directory
            .create_file(&name)
            .map_err(|errno| directory.failure("create the file", &name, errno))?;
        let name = TemporaryName {
            directory,
            name,
            is_ours: true,
        };
        match flock::try_exclusive(&file) {
            Ok(true) => {}
            _ if !filesystem.is_trusted() => {}
            // A cleaner whose clock has jumped is about to remove it. A lock marker that is published without its flock
            // would look dead.
            Ok(false) => return Err(directory.failure("lock the file", &name.name, Errno::BUSY)),
            Err(source) => return Err(directory.failure("lock the file", &name.name, source)),
        }
        match (&file).write_all(content).and_then(|()| file.sync_all()) {
            Ok(()) => Ok(Self {
                name,
                file,
                filesystem,
            }),
            Err(source) => Err(directory.failure("write the file", &name.name, source)),
        }
    }

    /// Gives the file its real name, which must be free.
    pub(crate) fn publish(&mut self, name: &str) -> Result<Published, Failure> {
        let directory = self.name.directory;
        match directory.rename_new(&self.name.name, name) {
            Ok(()) => {
                self.name.is_ours = false;
                Ok(Published::Done)
            }
            Err(Errno::EXIST) => Ok(Published::NameTaken),
            // Where a rename cannot refuse to replace, a link can.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match self.link(name) {
                Ok(true) => Ok(Published::Done),
                Ok(false) => Ok(Published::NameTaken),
                Err(errno) => self.judge_publication(name, errno),
            },
            Err(errno) => self.judge_publication(name, errno),
        }
    }

    /// Says whether the file has its real name after an error, which may stand for an answer that was lost: a request that is
    /// repeated finds the temporary name gone.
    fn judge_publication(&self, name: &str, errno: Errno) -> Result<Published, Failure> {
        let directory = self.name.directory;
        let failure = directory.failure("publish the file", name, errno);
        let unknown = || Failure::PublicationUnknown {
            path: directory.path_of(name),
            source: errno.into(),
        };
        let exists = match directory.leads_to(name, &self.file) {
            Ok(true) => return Ok(Published::Done),
            Ok(false) => directory.stat(name).map_err(|_| unknown())?.is_some(),
            Err(_) if untrusted::is_refusal(&errno.into()) => return Err(failure),
            Err(_) => return Err(unknown()),
        };
        match errno {
            // Under its real name the file may have another inode number.
            Errno::NOENT if exists && !self.filesystem.is_trusted() => Err(unknown()),
            Errno::NOENT => Ok(Published::Gone),
            _ if self.filesystem.is_trusted() || untrusted::is_refusal(&errno.into()) => Err(failure),
            _ => Err(unknown()),
        }
    }

    /// Gives the file its real name beside the temporary one; false when it is taken.
    pub(crate) fn link(&self, name: &str) -> Result<bool, Errno> {
        let directory = self.name.directory;
        match directory.link(&self.name.name, name) {
            Ok(()) => Ok(true),
            // A network filesystem may repeat a request whose answer was lost, and then find its own link. Counting the links
            // would not help: a backup that consists of links adds one.
            Err(_) if directory.leads_to(name, &self.file).unwrap_or(false) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Puts the file in the place of whatever has the name, and returns it, open.
    pub(crate) fn replace(mut self, name: &str) -> Result<File, Failure> {
        let directory = self.name.directory;
        match directory.rename(&self.name.name, name) {
            Ok(()) => {
                self.name.is_ours = false;
                Ok(self.file)
            }
            Err(Errno::ISDIR) => self.replace_directory(name),
            Err(errno) => Err(directory.failure("replace the file", name, errno)),
        }
    }

    /// Puts the file in the place of a directory. One that is not empty stays, under the temporary name.
    fn replace_directory(mut self, name: &str) -> Result<File, Failure> {
        let directory = self.name.directory;
        let aside = &self.name.name;
        directory
            .exchange(aside, name)
            .map_err(|errno| directory.failure("replace the directory", name, errno))?;
        let _ = directory.remove_directory(aside);
        self.name.is_ours = false;
        Ok(self.file)
    }

    /// Puts the file in the place of `old`; false if `name` leads to another file by now. Call it under the directory mutex,
    /// which excludes our own processes. Unobin may still remove `old` and make a file of its own, which is never replaced.
    pub(crate) fn supplant(&mut self, name: &str, old: &File) -> Result<bool, Failure> {
        let directory = self.name.directory;
        if !directory.leads_to(name, old)? {
            return Ok(false);
        }
        match directory.exchange(&self.name.name, name) {
            Ok(()) => self.judge_exchange(name, old),
            Err(Errno::NOENT) => Ok(false),
            // This filesystem cannot exchange names: the check and the change stay two steps.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                directory
                    .rename(&self.name.name, name)
                    .map_err(|errno| directory.failure("replace the file", name, errno))?;
                self.name.is_ours = false;
                Ok(true)
            }
            Err(errno) => Err(directory.failure("replace the file", name, errno)),
        }
    }

    /// The replaced file has the temporary name now. It goes with that if it is `old`; any other file gets its name back.
    fn judge_exchange(&mut self, name: &str, old: &File) -> Result<bool, Failure> {
        let directory = self.name.directory;
        // Only a cleaner removes temporary files, and only those of dead processes.
        if directory.stat(&self.name.name)?.is_none() || directory.leads_to(&self.name.name, old)? {
            return Ok(true);
        }
        match directory.exchange(&self.name.name, name) {
            // The other one may have given up its name meanwhile.
            Ok(()) | Err(Errno::NOENT) => Ok(false),
            Err(errno) => {
                self.name.is_ours = false;
                Err(directory.failure("replace the file", name, errno))
            }
        }
    }

    /// Returns the open file, and with it the flock; removes the temporary name.
    pub(crate) fn into_file(self) -> File {
        self.file
    }
}

/// Removes the name when dropped, unless the file was renamed.
#[derive(Debug)]
struct TemporaryName<'a> {
    directory: &'a Directory,
    name: String,
    is_ours: bool,
}

impl Drop for TemporaryName<'_> {
    fn drop(&mut self) {
        if self.is_ours {
            // If it cannot be removed now, it is stale in an hour.
            let _ = self.directory.unlink(&self.name);
        }
    }
}

/// Removes leftover files: temporary files of ours by name that are old and locked by nobody. Stops at the deadline.
///
/// On an untrusted filesystem they stay: nothing proves there that nobody works on them, and its clock is another's.
pub(crate) fn remove_stale(
    directory: &Directory,
    filesystem: Filesystem,
    deadline: Instant,
) -> Result<(), Failure> {
    if !filesystem.is_trusted() {
        return Ok(());
    }
    let mut names = Vec::new();
    for entry in directory.entries()? {
        let entry = entry?;
        if layout::is_temporary(entry.file_name().to_bytes())
            && let Ok(name) = entry.file_name().to_str()
        {
            names.push(name.to_owned());
        }
        if Instant::now() > deadline {
            break;
        }
    }
    for name in names {
        if Instant::now() > deadline {
            break;
        }
        // A file that cannot be removed is left to the next look.
        if let Ok(file) = directory.try_open_file(&name)
            && is_old(&file)
            && flock::is_free(&file).unwrap_or(false)
            && directory.leads_to(&name, &file).unwrap_or(false)
        {
            let _ = directory.unlink(&name);
        }
    }
    Ok(())
}

/// Returns whether nobody works on a temporary file any more. Where no flock tells, only an old one is abandoned.
pub(crate) fn is_abandoned(directory: &Directory, filesystem: Filesystem, name: &str) -> bool {
    let Ok(file) = directory.try_open_file(name) else {
        return false;
    };
    let is_unused = match filesystem.is_trusted() {
        true => flock::is_free(&file).unwrap_or(false),
        false => is_old(&file),
    };
    is_unused && directory.leads_to(name, &file).unwrap_or(false)
}

fn is_old(file: &File) -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "compared with a time that the filesystem took from the same clock"
    )]
    let now = SystemTime::now();
    file.metadata()
        .ok()
        .filter(|metadata| metadata.is_file())
        .and_then(|metadata| metadata.modified().ok())
        .and_then(|modified| now.duration_since(modified).ok())
        .is_some_and(|age| age > STALE_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn open(root: &Path) -> Directory {
        Directory::open_root(root).unwrap().unwrap()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn make_old(path: &Path) {
        let file = File::options().write(true).open(path).unwrap();
        let now = file.metadata().unwrap().modified().unwrap();
        file.set_modified(now - STALE_AFTER - Duration::from_secs(60))
            .unwrap();
    }

    fn names(root: &Path) -> Vec<String> {
        let names = fs::read_dir(root).unwrap();
        let mut names: Vec<_> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn only_old_temporaries_that_nobody_holds_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let directory = open(root.path());
        let held = Temporary::write(&directory, Filesystem::Trusted, Purpose::Snapshot, b"held").unwrap();
        let held_name = held.name.name.clone();
        for name in [
            held_name.as_str(),
            ".snapshot.0123456789abcdef",
            ".current.0123456789abcdef",
            ".journal.0123456789abcdef",
            ".lock.0123456789abcdef",
            ".current.tmp",
            ".snapshot.0123456789abcdef.tmp",
            "current",
            "2026-07-10T12:00:00Z.json.enc",
        ] {
            let path = root.path().join(name);
            if !path.exists() {
                fs::write(&path, "left").unwrap();
            }
            make_old(&path);
        }
        fs::write(root.path().join(".snapshot.0000000000000000"), "").unwrap();
        fs::create_dir(root.path().join(".lock.0000000000000000")).unwrap();
        std::os::unix::fs::symlink("current", root.path().join(".current.0000000000000000")).unwrap();
        let mut expected = names(root.path());

        remove_stale(&directory, Filesystem::Untrusted, soon()).unwrap();
        assert_eq!(names(root.path()), expected);

        remove_stale(&directory, Filesystem::Trusted, soon()).unwrap();
        expected.retain(|name| name == &held_name || !name.ends_with(".0123456789abcdef"));
        assert_eq!(names(root.path()), expected);

        drop(held);
        assert!(!names(root.path()).contains(&held_name));
    }

    /// A creator that was killed between linking its marker and removing the temporary name left the lock two names. The
    /// lock was adopted, and is old.
    #[test]
    fn the_second_name_of_a_marker_stays_while_it_is_held() {
        let root = tempfile::tempdir().unwrap();
        let directory = open(root.path());
        let temporary = Temporary::write(&directory, Filesystem::Trusted, Purpose::Lock, b"marker").unwrap();
        assert!(temporary.link("lock").unwrap());
        fs::hard_link(
            root.path().join("lock"),
            root.path().join(".lock.0123456789abcdef"),
        )
        .unwrap();
        let held = temporary.into_file();
        make_old(&root.path().join("lock"));
        assert_eq!(names(root.path()), [".lock.0123456789abcdef", "lock"]);
        remove_stale(&directory, Filesystem::Trusted, soon()).unwrap();
        assert_eq!(names(root.path()), [".lock.0123456789abcdef", "lock"]);
        drop(held);
        remove_stale(&directory, Filesystem::Trusted, soon()).unwrap();
        assert_eq!(names(root.path()), ["lock"]);
    }

    #[test]
    fn publishing_replaces_nothing_and_says_what_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let directory = open(root.path());
        let write = |content: &[u8]| {
            Temporary::write(&directory, Filesystem::Trusted, Purpose::Snapshot, content).unwrap()
        };
        assert_eq!(write(b"first").publish("name").unwrap(), Published::Done);
        assert_eq!(write(b"second").publish("name").unwrap(), Published::NameTaken);
        let mut removed = write(b"third");
        directory.unlink(&removed.name.name).unwrap();
        assert_eq!(removed.publish("other").unwrap(), Published::Gone);
        assert_eq!(names(root.path()), ["name"]);
        assert_eq!(fs::read(root.path().join("name")).unwrap(), b"first");
    }

    /// The answer to a rename was lost, and the repeated request found no temporary file: the write believed that another one
    /// had the name.
    #[test]
    fn a_lost_answer_to_a_publication_is_looked_up() {
        let root = tempfile::tempdir().unwrap();
        let directory = open(root.path());
        let write = |filesystem| Temporary::write(&directory, filesystem, Purpose::Snapshot, b"").unwrap();
        let unknown = |answer| matches!(answer, Err(Failure::PublicationUnknown { .. }));
        for filesystem in [Filesystem::Trusted, Filesystem::Untrusted] {
            for errno in [Errno::NOENT, Errno::IO] {
                let mut ours = write(filesystem);
                directory.rename(&ours.name.name, "name").unwrap();
                assert_eq!(ours.judge_publication("name", errno).unwrap(), Published::Done);
                // The whole call finds its own file too.
                assert_eq!(ours.publish("name").unwrap(), Published::Done);
                assert_eq!(
                    ours.judge_publication("free", Errno::NOENT).unwrap(),
                    Published::Gone
                );
            }
        }
        let local = write(Filesystem::Trusted);
        assert_eq!(
            local.judge_publication("name", Errno::NOENT).unwrap(),
            Published::Gone
        );
        let failed = local.judge_publication("name", Errno::IO);
        assert!(matches!(failed, Err(Failure::Io { .. })));
        let remote = write(Filesystem::Untrusted);
        assert!(unknown(remote.judge_publication("name", Errno::NOENT)));
        assert!(unknown(remote.judge_publication("free", Errno::IO)));
        let refused = remote.judge_publication("free", Errno::NOSPC);
        assert!(matches!(refused, Err(Failure::Io { .. })));
        fs::remove_file(root.path().join("name")).unwrap();
    }

    /// Two links of a file were taken as a proof that the second one is the real name. A backup that is made of links, of
    /// the temporary as of all else, adds a link too: two processes believed that they had created the lock marker.
    #[test]
    fn a_backup_made_of_links_is_no_name_that_was_won() {
        let root = tempfile::tempdir().unwrap();
        let directory = open(root.path());
        fs::write(root.path().join("lock"), "another's").unwrap();
        let temporary = Temporary::write(&directory, Filesystem::Trusted, Purpose::Lock, b"ours").unwrap();
        directory.link(&temporary.name.name, "backup").unwrap();
        assert!(!temporary.link("lock").unwrap());
        // A name that leads to the temporary itself was won, although it is taken.
        directory.link(&temporary.name.name, "own").unwrap();
        assert!(temporary.link("own").unwrap());
    }

    /// A marker that unobin made while a dead one was adopted was overwritten: both held the lock.
    #[test]
    fn supplanting_spares_a_file_that_came_meanwhile() {
        let root = tempfile::tempdir().unwrap();
        let directory = open(root.path());
        let lock = root.path().join("lock");
        fs::write(&lock, "dead").unwrap();
        let old = File::open(&lock).unwrap();
        let write = || Temporary::write(&directory, Filesystem::Trusted, Purpose::Lock, b"ours").unwrap();

        let mut ours = write();
        assert!(ours.supplant("lock", &old).unwrap());
        assert_eq!(fs::read(&lock).unwrap(), b"ours");
        drop(ours);
        assert_eq!(names(root.path()), ["lock"]);

        assert!(!write().supplant("lock", &old).unwrap());
        // It comes after the look and before the exchange.
        fs::write(&lock, "unobin's").unwrap();
        let mut late = write();
        directory.exchange(&late.name.name, "lock").unwrap();
        assert!(!late.judge_exchange("lock", &old).unwrap());
        drop(late);
        assert_eq!(fs::read(&lock).unwrap(), b"unobin's");

        fs::remove_file(&lock).unwrap();
        assert!(!write().supplant("lock", &old).unwrap());
        assert_eq!(names(root.path()), [""; 0]);
    }

    /// Leftover files of a hundred thousand dead processes were removed in one go, by the holder of the lock.
    #[test]
    fn cleaning_ends_at_its_deadline() {
        let root = tempfile::tempdir().unwrap();
        let directory = open(root.path());
        for number in 0..10 {
            let path = root.path().join(format!(".snapshot.000000000000000{number}"));
            fs::write(&path, "").unwrap();
            make_old(&path);
        }
        remove_stale(&directory, Filesystem::Trusted, Instant::now()).unwrap();
        assert_eq!(names(root.path()).len(), 10);
        remove_stale(&directory, Filesystem::Trusted, soon()).unwrap();
        assert_eq!(names(root.path()).len(), 0);
    }
}
