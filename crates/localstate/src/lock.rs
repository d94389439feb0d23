use crate::directory::{self, Access, Directory, StackDirectory};
use crate::failure::Failure;
use crate::gate::Gate;
use crate::layout::{self, Purpose};
use crate::temporary::Temporary;
use crate::{flock, marker};
use rustix::io::{Errno, FdFlags};
use sdk_state::{Error, Holder, Liveness, Lock, LockInfo, LockStatus, LockToken, TryLock};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::process;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A marker that changes its owner while we look is looked at again; not for ever, since the caller has a deadline.
const LOOKS: u32 = 16;
/// How long an adoption waits for the gate: it may be tried again at the next look.
const ADOPTION_PATIENCE: Duration = Duration::from_millis(5);
/// A look and the waking up for it cost some 20 microseconds, most of it the waking up, so a waiter that looks this often
/// needs less than a hundredth of a core. With the jitter it learns of a free lock within 3.2 milliseconds.
const POLL: Duration = Duration::from_micros(2500);
const POLL_UNTRUSTED: Duration = Duration::from_millis(100);
/// More of a foreign marker is not read.
const LONGEST_MARKER: u64 = 4096;

/// One try to take the lock; see `docs/architecture.md`, "The lock".
pub(crate) fn try_lock(directory: &Arc<StackDirectory>, holder: &Holder) -> Result<TryLock, Failure> {
    let mut previous = LockInfo::default();
    for _ in 0..LOOKS {
        let Some(marker) = Marker::open(directory, Access::ReadWrite)? else {
            let info = own_info(holder)?;
            match create(directory, &marker::encode(&info))? {
                Some(file) => return Ok(held(directory, file, info, None)),
                None => continue,
            }
        };
        previous = marker.read()?;
        match marker.claim(holder)? {
            Claim::Adopted(info) => return Ok(held(directory, marker.file, *info, Some(previous))),
            Claim::Refused => break,
            Claim::Vanished => {}
        }
    }
    Ok(TryLock::Busy {
        info: Box::new(previous),
        poll: if directory.filesystem.is_trusted() {
            POLL
        } else {
            POLL_UNTRUSTED
        },
    })
}

pub(crate) fn status(directory: &StackDirectory) -> Result<Option<LockStatus>, Failure> {
    for _ in 0..LOOKS {
        let Some(marker) = Marker::open(directory, Access::Read)? else {
            return Ok(None);
        };
        let info = marker.read()?;
        if let Some(liveness) = marker.liveness()? {
            return Ok(Some(LockStatus::new(info, liveness)));
        }
    }
    Ok(None)
}

pub(crate) fn force_unlock(
    directory: &StackDirectory,
    expected: Option<&LockToken>,
) -> Result<Option<LockInfo>, Failure> {
    let _gate = Gate::enter(&directory.stack, directory.filesystem)?;
    let Some(marker) = Marker::open(directory, Access::Read)? else {
        return Ok(None);
    };
    let info = marker.read()?;
    if expected.is_some() && info.token.as_ref() != expected {
        return Err(Failure::OtherHolder(Box::new(info)));
    }
    match directory.stack.unlink(layout::LOCK) {
        Ok(()) | Err(Errno::NOENT) => Ok(Some(info)),
        Err(errno) => Err(directory
            .stack
            .failure("remove the lock marker", layout::LOCK, errno)),
    }
}

/// Whether the marker carries this token. To be asked inside the gate.
pub(crate) fn demand_token(directory: &StackDirectory, token: &LockToken) -> Result<(), Failure> {
    match Marker::open(directory, Access::Read)? {
        Some(marker) if marker.read()?.token.as_ref() == Some(token) => Ok(()),
        _ => Err(Failure::LockLost),
    }
}

/// What this process says of itself, with a fresh token.
fn own_info(holder: &Holder) -> Result<LockInfo, Failure> {
    let mut info = LockInfo::of(holder, LockToken::generate().map_err(Failure::Contract)?);
    info.pid = Some(process::id());
    info.boot_id = boot_id();
    Ok(info)
}

/// The marker that lies there, open.
struct Marker<'a> {
    directory: &'a StackDirectory,
    file: File,
    bytes: u64,
    /// Only our own markers are flocked by their holders, and only a trusted filesystem tells it.
    is_proof: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Claim {
    /// The holder was dead, and the marker is the caller's now, with this in it.
    Adopted(Box<LockInfo>),
    /// The holder lives, or cannot be proved dead.
    Refused,
    /// The marker is another one by now.
    Vanished,
}

impl<'a> Marker<'a> {
    fn open(directory: &'a StackDirectory, access: Access) -> Result<Option<Self>, Failure> {
        let stack = &directory.stack;
        let file = match stack.open_file(layout::LOCK, access) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            // A link, a socket, a directory.
            Err(Errno::LOOP | Errno::NXIO | Errno::ISDIR) => {
                return Err(Failure::MarkerNotPlain(stack.path_of(layout::LOCK)));
            }
            Err(errno) => return Err(stack.failure("open the lock marker", layout::LOCK, errno)),
        };
        let stat = directory::stat(&file)
            .map_err(|errno| stack.failure("look at the lock marker", layout::LOCK, errno))?;
        if !Directory::is_plain(&stat) {
            return Err(Failure::MarkerNotPlain(stack.path_of(layout::LOCK)));
        }
        let bytes = stat.st_size as u64;
        Ok(Some(Self {
            directory,
            file,
            bytes,
            is_proof: directory.filesystem.is_trusted() && bytes == marker::BYTES as u64,
        }))
    }

    fn read(&self) -> Result<LockInfo, Failure> {
        let mut content = vec![0; self.bytes.min(LONGEST_MARKER) as usize];
        match self.file.read_exact_at(&mut content, 0) {
            Ok(()) => Ok(marker::decode(&content)),
            Err(source) => Err(self.failure("read the lock marker", source)),
        }
    }

    /// Whether the holder lives; `None` when it has given the lock back since the marker was opened.
    fn liveness(&self) -> Result<Option<Liveness>, Failure> {
        if !self.is_proof {
            return Ok(Some(Liveness::Unknown));
        }
        // Shared, so that two who look do not take each other for the holder.
        match flock::try_shared(&self.file) {
            Ok(true) => flock::unlock(&self.file),
            Ok(false) => return Ok(Some(Liveness::Alive)),
            Err(_) => return Ok(Some(Liveness::Unknown)),
        }
        // A holder removes the marker before it gives its flock back.
        let lies_there = self.directory.stack.leads_to(layout::LOCK, &self.file)?;
        Ok(lies_there.then_some(Liveness::Dead))
    }

    /// Makes a dead holder's marker the caller's.
    fn claim(&self, holder: &Holder) -> Result<Claim, Failure> {
        if !self.is_proof {
            return Ok(Claim::Refused);
        }
        match flock::try_exclusive(&self.file) {
            Ok(true) => {}
            Ok(false) => return Ok(Claim::Refused),
            Err(source) => return Err(self.failure("lock the lock marker", source)),
        }
        let claim = self.adopt(holder);
        if !matches!(claim, Ok(Claim::Adopted(_))) {
            // Closing is not enough: a child that was forked meanwhile would keep it, and the dead holder would live on.
            flock::unlock(&self.file);
        }
        claim
    }

    /// Writes over a dead holder's marker in place, with its flock. It never disappears, so nobody slips in between; and
    /// it is never shorter, so a crash leaves a marker that can be adopted again.
    fn adopt(&self, holder: &Holder) -> Result<Claim, Failure> {
        let stack = &self.directory.stack;
        let Some(_gate) = Gate::try_for(ADOPTION_PATIENCE, stack, self.directory.filesystem)? else {
            return Ok(Claim::Refused);
        };
        let info = own_info(holder)?;
        self.file
            .write_all_at(&marker::encode(&info), 0)
            .map_err(|source| self.failure("write the lock marker", source))?;
        match stack.leads_to(layout::LOCK, &self.file)? {
            true => Ok(Claim::Adopted(Box::new(info))),
            false => Ok(Claim::Vanished),
        }
    }

    fn failure(&self, action: &'static str, source: io::Error) -> Failure {
        self.directory.stack.failure(action, layout::LOCK, source)
    }
}

/// Makes a marker that is complete, durable and already flocked when it appears; `None` when somebody was faster.
fn create(directory: &StackDirectory, content: &[u8; marker::BYTES]) -> Result<Option<File>, Failure> {
    let stack = &directory.stack;
    let content = match directory.filesystem.is_trusted() {
        true => content.as_slice(),
        false => &content[..marker::BYTES_UNTRUSTED],
    };
    let temporary = Temporary::write(stack, directory.filesystem, Purpose::Lock, content)?;
    match temporary.link(layout::LOCK) {
        Ok(true) => Ok(Some(temporary.into_file())),
        Ok(false) | Err(Errno::NOENT) => Ok(None),
        Err(Errno::PERM | Errno::NOTSUP | Errno::NOSYS | Errno::OPNOTSUPP)
            if !directory.filesystem.is_trusted() =>
        {
            create_without_links(stack, content)
        }
        Err(errno) => Err(stack.failure("create the lock marker", layout::LOCK, errno)),
    }
}

/// Some network filesystems know no links: there the marker appears before it is complete.
fn create_without_links(stack: &Directory, content: &[u8]) -> Result<Option<File>, Failure> {
    let file = match stack.create_file(layout::LOCK) {
        Ok(file) => file,
        Err(Errno::EXIST) => return Ok(None),
        Err(errno) => return Err(stack.failure("create the lock marker", layout::LOCK, errno)),
    };
    match file.write_all_at(content, 0).and_then(|()| file.sync_all()) {
        Ok(()) => Ok(Some(file)),
        Err(source) => {
            let _ = stack.unlink(layout::LOCK);
            Err(stack.failure("write the lock marker", layout::LOCK, source))
        }
    }
}

fn held(directory: &Arc<StackDirectory>, file: File, info: LockInfo, took_over: Option<LockInfo>) -> TryLock {
    TryLock::Held(Box::new(LocalLock {
        directory: Arc::clone(directory),
        file,
        pid: process::id(),
        info,
        took_over,
        is_given_back: false,
    }))
}

/// The lock, held by this process: the marker's file with its flock.
#[derive(Debug)]
struct LocalLock {
    directory: Arc<StackDirectory>,
    file: File,
    /// A forked child has a copy of this value and shares the flock, but does not hold the lock.
    pid: u32,
    info: LockInfo,
    took_over: Option<LockInfo>,
    is_given_back: bool,
}

impl LocalLock {
    /// Held means that the marker says so: nobody else ever writes our token. The number of its file would say less, since
    /// some network filesystems give a file another one with each name. To be asked inside the gate.
    fn demand_held(&self) -> Result<(), Failure> {
        demand_token(&self.directory, self.own_token()?)
    }

    fn own_token(&self) -> Result<&LockToken, Failure> {
        if self.pid != process::id() {
            return Err(Failure::LockOfAnotherProcess);
        }
        self.info.token.as_ref().ok_or(Failure::LockLost)
    }

    fn give_back(&mut self) -> Result<(), Failure> {
        self.is_given_back = true;
        self.own_token()?;
        let stack = &self.directory.stack;
        let _gate = Gate::enter(stack, self.directory.filesystem)?;
        self.demand_held()?;
        stack
            .unlink(layout::LOCK)
            .map_err(|errno| stack.failure("remove the lock marker", layout::LOCK, errno))?;
        Ok(())
    }
}

impl Lock for LocalLock {
    fn info(&self) -> &LockInfo {
        &self.info
    }

    fn token(&self) -> Result<&LockToken, Error> {
        Ok(self.own_token()?)
    }

    fn took_over(&self) -> Option<&LockInfo> {
        self.took_over.as_ref()
    }

    fn check(&self) -> Result<(), Error> {
        self.own_token()?;
        let _gate = Gate::enter(&self.directory.stack, self.directory.filesystem)?;
        Ok(self.demand_held()?)
    }

    fn share_with_children(&self) -> Result<(), Error> {
        self.own_token()?;
        rustix::io::fcntl_setfd(&self.file, FdFlags::empty()).map_err(|errno| {
            self.directory
                .stack
                .failure("share the lock marker", layout::LOCK, errno)
        })?;
        Ok(())
    }

    fn unlock(mut self: Box<Self>) -> Result<(), Error> {
        Ok(self.give_back()?)
    }
}

impl Drop for LocalLock {
    fn drop(&mut self) {
        if !self.is_given_back {
            // Who wants to hear of an error calls `unlock`. The flock goes with the file in any case.
            let _ = self.give_back();
        }
    }
}

/// This boot of this machine, where the system tells it.
fn boot_id() -> Option<String> {
    static BOOT_ID: OnceLock<Option<String>> = OnceLock::new();
    BOOT_ID
        .get_or_init(|| {
            let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
            Some(id.trim().into())
        })
        .clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::Filesystem;
    use std::path::Path;
    use time::OffsetDateTime;

    fn directory(root: &Path, filesystem: Filesystem) -> Arc<StackDirectory> {
        let mut directory = StackDirectory::make(root, "network", "prod").unwrap();
        directory.filesystem = filesystem;
        Arc::new(directory)
    }

    fn holder() -> Holder {
        Holder::new("test", OffsetDateTime::UNIX_EPOCH)
    }

    fn try_to_lock(directory: &Arc<StackDirectory>) -> Option<Box<dyn Lock>> {
        match try_lock(directory, &holder()).unwrap() {
            TryLock::Held(lock) => Some(lock),
            TryLock::Busy { .. } => None,
        }
    }

    /// The kernel takes the flock of the dead, and leaves the marker: so does this, in one process.
    fn die(directory: &Arc<StackDirectory>) {
        let info = {
            let lock = try_to_lock(directory).unwrap();
            let info = lock.info().clone();
            lock.unlock().unwrap();
            info
        };
        fs::write(directory.stack.path_of(layout::LOCK), marker::encode(&info)).unwrap();
    }

    #[test]
    fn a_lock_that_is_given_back_during_a_look_is_not_that_of_a_dead_holder() {
        let root = tempfile::tempdir().unwrap();
        let directory = directory(root.path(), Filesystem::Trusted);
        let lock = try_to_lock(&directory).unwrap();
        let looked_at = Marker::open(&directory, Access::Read).unwrap().unwrap();
        assert_eq!(looked_at.liveness().unwrap(), Some(Liveness::Alive));
        lock.unlock().unwrap();
        assert_eq!(looked_at.liveness().unwrap(), None);
        assert_eq!(status(&directory).unwrap(), None);
    }

    #[test]
    fn a_marker_that_was_released_or_replaced_during_a_look_is_not_adopted() {
        let root = tempfile::tempdir().unwrap();
        let directory = directory(root.path(), Filesystem::Trusted);
        let lock = try_to_lock(&directory).unwrap();
        let looked_at = Marker::open(&directory, Access::ReadWrite).unwrap().unwrap();
        assert_eq!(looked_at.claim(&holder()).unwrap(), Claim::Refused);
        lock.unlock().unwrap();
        assert_eq!(looked_at.claim(&holder()).unwrap(), Claim::Vanished);
        let next = try_to_lock(&directory).unwrap();
        assert_eq!(looked_at.claim(&holder()).unwrap(), Claim::Vanished);
        next.check().unwrap();
    }

    /// While somebody is inside the gate a dead lock stays what it is, also for whoever has just tried to adopt it: its
    /// flock is given back, or the dead holder would look alive for as long as a child that was forked meanwhile.
    #[test]
    fn an_adoption_that_finds_the_gate_closed_leaves_a_dead_lock_dead() {
        let root = tempfile::tempdir().unwrap();
        let directory = directory(root.path(), Filesystem::Trusted);
        die(&directory);
        let gate = Gate::enter(&directory.stack, directory.filesystem).unwrap();
        let adopter = Marker::open(&directory, Access::ReadWrite).unwrap().unwrap();
        let _inherited = adopter.file.try_clone().unwrap();
        assert_eq!(adopter.claim(&holder()).unwrap(), Claim::Refused);
        drop(gate);
        assert_eq!(status(&directory).unwrap().unwrap().liveness, Liveness::Dead);
        assert!(try_to_lock(&directory).unwrap().took_over().is_some());
    }

    #[test]
    fn of_many_who_adopt_a_dead_lock_one_has_it() {
        let root = tempfile::tempdir().unwrap();
        let directory = directory(root.path(), Filesystem::Trusted);
        let mut takeovers = 0;
        for _ in 0..50 {
            die(&directory);
            let held: Vec<_> = std::thread::scope(|scope| {
                let adopters: Vec<_> = (0..4).map(|_| scope.spawn(|| try_to_lock(&directory))).collect();
                adopters
                    .into_iter()
                    .filter_map(|adopter| adopter.join().unwrap())
                    .collect()
            });
            assert!(held.len() <= 1);
            for lock in held {
                assert!(lock.took_over().is_some());
                lock.unlock().unwrap();
                takeovers += 1;
            }
            force_unlock(&directory, None).unwrap();
        }
        assert!(takeovers > 0);
    }

    #[test]
    fn on_an_untrusted_filesystem_the_marker_alone_excludes_and_nobody_is_taken_for_dead() {
        let root = tempfile::tempdir().unwrap();
        let directory = directory(root.path(), Filesystem::Untrusted);
        let lock = try_to_lock(&directory).unwrap();
        assert!(try_to_lock(&directory).is_none());
        assert_eq!(status(&directory).unwrap().unwrap().liveness, Liveness::Unknown);
        lock.check().unwrap();
        lock.unlock().unwrap();
        die(&directory);
        assert!(try_to_lock(&directory).is_none());
        assert!(force_unlock(&directory, None).unwrap().is_some());
        assert!(try_to_lock(&directory).is_some());
    }

    /// The client of a network share sees an untrusted filesystem, its server a local disk. The client's marker had the
    /// length that promises an flock; the server found none there, and both held the lock.
    #[test]
    fn a_lock_taken_over_the_network_is_not_taken_over_by_the_server() {
        let root = tempfile::tempdir().unwrap();
        let client = directory(root.path(), Filesystem::Untrusted);
        let server = directory(root.path(), Filesystem::Trusted);
        let lock = try_to_lock(&client).unwrap();
        // A network filesystem keeps its flocks to itself.
        let marker = Marker::open(&client, Access::ReadWrite).unwrap().unwrap();
        assert!(!marker.is_proof);
        let seen = Marker::open(&server, Access::ReadWrite).unwrap().unwrap();
        assert!(!seen.is_proof);
        assert_eq!(seen.claim(&holder()).unwrap(), Claim::Refused);
        assert_eq!(status(&server).unwrap().unwrap().liveness, Liveness::Unknown);
        lock.unlock().unwrap();
        let lock = try_to_lock(&server).unwrap();
        assert!(try_to_lock(&client).is_none());
        lock.unlock().unwrap();
    }

    #[test]
    fn where_links_are_refused_the_marker_is_made_at_its_final_name_and_replaces_nothing() {
        let root = tempfile::tempdir().unwrap();
        let directory = directory(root.path(), Filesystem::Untrusted);
        assert!(
            create_without_links(&directory.stack, b"first")
                .unwrap()
                .is_some()
        );
        assert!(
            create_without_links(&directory.stack, b"second")
                .unwrap()
                .is_none()
        );
        let content = fs::read(directory.stack.path_of(layout::LOCK)).unwrap();
        assert_eq!(content, b"first");
    }
}
