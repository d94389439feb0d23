use crate::failure::Failure;
use crate::layout;
use crate::marker::{self, Found, Marker, NewMarker};
use crate::mutex::DirectoryMutex;
use crate::process::{ProcessIdentity, boot_id};
use crate::stack::StackDirectory;
use rustix::io::FdFlags;
use sdk_state::{Error, Holder, Liveness, Lock, LockInfo, LockStatus, LockToken, TryLock};
use std::fs::File;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a marker is read again because it changed its owner meanwhile; bounded, because the caller has a deadline.
const LOOKS: u32 = 16;
/// How long one try waits for the directory mutex. The next try comes soon.
const MUTEX_PATIENCE: Duration = Duration::from_millis(10);
/// The operation of a process that has the directory mutex and not the lock.
const IN_A_CHANGE: &str = "in the middle of a change";
/// Waking up and looking cost some 30 microseconds, half of them for waking up, so a waiter that looks this often needs less
/// than a hundredth of a core. With the jitter it finds a free lock within 5 milliseconds.
const POLL: Duration = Duration::from_millis(4);
const POLL_UNTRUSTED: Duration = Duration::from_millis(100);

/// One try to take the lock; see `docs/architecture.md`, "The lock".
pub(crate) fn try_lock(directory: &Arc<StackDirectory>, holder: &Holder) -> Result<TryLock, Failure> {
    let in_a_change = || {
        let mut status = unknown();
        status.info.holder.operation = IN_A_CHANGE.to_owned();
        status
    };
    // Without the directory mutex, because a waiter looks often and usually finds the lock held.
    if let Look::Busy(status) = look(directory)? {
        return Ok(busy(directory, status));
    }
    let _turn = DirectoryMutex::turn(directory);
    for _ in 0..LOOKS {
        // The process that had the turn before may have taken the lock.
        let dead = match look(directory)? {
            Look::Busy(status) => return Ok(busy(directory, status)),
            Look::Free(dead) => dead,
        };
        let info = own_info(holder)?;
        let new = NewMarker::write(directory, &info)?;
        let Some(mutex) = DirectoryMutex::try_for(MUTEX_PATIENCE, directory)? else {
            let status = dead.map(|(_, info)| LockStatus::new(info, Liveness::Dead));
            return Ok(busy(directory, status.unwrap_or_else(in_a_change)));
        };
        directory.demand_lock_at_its_path()?;
        let published = new.publish(dead.as_ref().map(|(file, _)| file))?;
        drop(mutex);
        if let Some(file) = published {
            return Ok(TryLock::Held(Box::new(LocalLock {
                directory: Arc::clone(directory),
                file,
                owner: ProcessIdentity::current(),
                info,
                took_over: dead.map(|(_, info)| info),
                is_lost: AtomicBool::new(false),
                is_given_back: false,
            })));
        }
    }
    Ok(busy(directory, status(directory)?.unwrap_or_else(unknown)))
}

enum Look {
    Busy(LockStatus),
    /// The marker of a dead holder, if there is one.
    Free(Option<(File, LockInfo)>),
}

fn look(directory: &StackDirectory) -> Result<Look, Failure> {
    for _ in 0..LOOKS {
        let marker = match Marker::try_open(directory)? {
            Found::Nothing => return Ok(Look::Free(None)),
            Found::Leased => break,
            Found::Marker(marker) => marker,
        };
        match marker.status()? {
            None => {}
            Some(status) if status.liveness == Liveness::Dead => {
                return Ok(Look::Free(Some((marker.file, status.info))));
            }
            Some(status) => return Ok(Look::Busy(status)),
        }
    }
    Ok(Look::Busy(unknown()))
}

fn unknown() -> LockStatus {
    LockStatus::new(LockInfo::default(), Liveness::Unknown)
}

fn busy(directory: &StackDirectory, status: LockStatus) -> TryLock {
    TryLock::Busy {
        status: Box::new(status),
        poll: if directory.filesystem.is_trusted() {
            POLL
        } else {
            POLL_UNTRUSTED
        },
    }
}

/// Returns who holds the lock, and whether the holder is alive. It makes no try to lock fail.
pub(crate) fn status(directory: &StackDirectory) -> Result<Option<LockStatus>, Failure> {
    for _ in 0..LOOKS {
        let Some(marker) = Marker::open(directory)? else {
            return Ok(None);
        };
        if let Some(status) = marker.status()? {
            return Ok(Some(status));
        }
    }
    Ok(None)
}

pub(crate) fn force_unlock(
    directory: &StackDirectory,
    expected: Option<&LockToken>,
) -> Result<Option<LockInfo>, Failure> {
    let _mutex = DirectoryMutex::lock(directory)?;
    let Some(marker) = Marker::open(directory)? else {
        return Ok(None);
    };
    let info = marker.read()?;
    if expected.is_some() && info.token.as_ref() != expected {
        return Err(Failure::Locked(Box::new(info)));
    }
    match marker::remove(directory, &info)? {
        Some(removed) if expected.is_some() && removed.token.as_ref() != expected => {
            Err(Failure::EvictedAnother(Box::new(removed)))
        }
        Some(removed) => Ok(Some(removed)),
        // Somebody else removed it at the same time.
        None => Ok(Some(info)),
    }
}

/// Fails unless the marker carries this token. Call it under the directory mutex.
pub(crate) fn demand_token(directory: &StackDirectory, token: &LockToken) -> Result<(), Failure> {
    match Marker::open(directory)? {
        Some(marker) if marker.read()?.token.as_ref() == Some(token) => Ok(()),
        _ => Err(Failure::LockLost),
    }
}

/// Fails unless the lock is free or its holder is dead. Call it under the directory mutex.
pub(crate) fn demand_nobody(directory: &StackDirectory) -> Result<(), Failure> {
    match status(directory)? {
        Some(status) if status.liveness != Liveness::Dead => Err(Failure::Locked(Box::new(status.info))),
        _ => Ok(()),
    }
}

/// Describes this process as a holder, with a fresh token.
fn own_info(holder: &Holder) -> Result<LockInfo, Failure> {
    let mut info = LockInfo::new(holder, LockToken::generate().map_err(Failure::Contract)?);
    info.pid = Some(process::id());
    info.boot_id = boot_id();
    Ok(info)
}

/// The lock, held by this process: the marker's file with its flock.
#[derive(Debug)]
struct LocalLock {
    directory: Arc<StackDirectory>,
    file: File,
    /// A forked child has a copy of this value and shares the flock, but does not hold the lock.
    owner: ProcessIdentity,
    info: LockInfo,
    took_over: Option<LockInfo>,
    is_lost: AtomicBool,
    is_given_back: bool,
}

impl LocalLock {
    fn own_token(&self) -> Result<&LockToken, Failure> {
        if self.owner != ProcessIdentity::current() {
            return Err(Failure::LockOfAnotherProcess);
        }
        self.info.token.as_ref().ok_or(Failure::LockLost)
    }

    /// The lock is held if the marker at the path carries our token, which nobody else ever writes. The inode number would
    /// prove less: some network filesystems give a file another number with each name.
    fn look(&self) -> Result<(), Failure> {
        let token = self.own_token()?;
        let _mutex = DirectoryMutex::lock_wherever(&self.directory)?;
        self.demand_at_the_path()?;
        demand_token(&self.directory, token)
    }

    fn give_back(&mut self) -> Result<(), Failure> {
        self.is_given_back = true;
        let token = self.own_token()?;
        // Also in directories that somebody has moved away: a marker that stays would be found once they are moved back.
        let mutex = DirectoryMutex::lock_wherever(&self.directory)?;
        demand_token(&self.directory, token)?;
        let removed = marker::remove(&self.directory, &self.info)?;
        if removed.is_none_or(|removed| removed.token != self.info.token) {
            return Err(Failure::LockLost);
        }
        drop(mutex);
        self.demand_at_the_path()?;
        self.directory.clean_now_and_then();
        Ok(())
    }

    fn demand_at_the_path(&self) -> Result<(), Failure> {
        match self.directory.is_lock_at_its_path()? {
            true => Ok(()),
            false => Err(Failure::LockLost),
        }
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
        let looked: Result<(), Error> = self.look().map_err(Error::from);
        if looked.as_ref().is_err_and(Error::is_lock_lost) {
            self.is_lost.store(true, Ordering::Relaxed);
        }
        looked
    }

    fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed) || self.own_token().is_err()
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
            // Call `unlock` to learn of an error. The flock ends with the file in any case.
            let _ = self.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::Filesystem;
    use sdk_state::StackId;
    use std::fs;
    use std::path::Path;

    fn directory(root: &Path, filesystem: Filesystem) -> Arc<StackDirectory> {
        let mut directory = StackDirectory::make(root, &StackId::new("network", "prod").unwrap()).unwrap();
        directory.filesystem = filesystem;
        Arc::new(directory)
    }

    fn holder() -> Holder {
        Holder::new("test")
    }

    fn try_to_lock(directory: &Arc<StackDirectory>) -> Option<Box<dyn Lock>> {
        match try_lock(directory, &holder()).unwrap() {
            TryLock::Held(lock) => Some(lock),
            TryLock::Busy { .. } => None,
        }
    }

    fn liveness(directory: &StackDirectory) -> Option<Liveness> {
        status(directory).unwrap().map(|status| status.liveness)
    }

    /// The kernel takes the flock of the dead, and leaves the marker: so does this, in one process.
    fn die(directory: &Arc<StackDirectory>) -> LockInfo {
        let lock = try_to_lock(directory).unwrap();
        let info = lock.info().clone();
        lock.unlock().unwrap();
        fs::write(directory.stack.path_of(layout::LOCK), marker::encode(&info)).unwrap();
        info
    }

    fn names(directory: &StackDirectory) -> Vec<String> {
        let entries = directory.stack.entries().unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_lock_given_back_during_a_look_is_no_dead_holders() {
        let root = tempfile::tempdir().unwrap();
        let directory = directory(root.path(), Filesystem::Trusted);
        let lock = try_to_lock(&directory).unwrap();
        let looked_at = Marker::open(&directory).unwrap().unwrap();
        assert_eq!(liveness(&directory), Some(Liveness::Alive));
        lock.unlock().unwrap();
        assert!(looked_at.status().unwrap().is_none());
        assert_eq!(liveness(&directory), None);
    }

    /// Between the look that finds a dead holder and the adoption under the mutex others may have been faster.
    #[test]
    fn a_marker_that_was_replaced_meanwhile_is_not_adopted() {
        let root = tempfile::tempdir().unwrap();
        let directory = directory(root.path(), Filesystem::Trusted);
        die(&directory);
        let dead = Marker::open(&directory).unwrap().unwrap().file;
        let adopt = || {
            let new = NewMarker::write(&directory, &own_info(&holder()).unwrap()).unwrap();
            new.publish(Some(&dead)).unwrap()
        };
        let next = try_to_lock(&directory).unwrap();
        assert!(next.took_over().is_some());
        assert!(adopt().is_none());
        next.check().unwrap();
        next.unlock().unwrap();
        assert!(adopt().is_none());
        assert_eq!(liveness(&directory), None);
        assert_eq!(names(&directory), [layout::SNAPSHOTS]);
    }

    /// While somebody is inside the directory mutex a dead lock stays what it is.
    #[test]
    fn an_adoption_that_finds_the_mutex_held_changes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let directory = directory(root.path(), Filesystem::Trusted);
        let dead = die(&directory);
        let mutex = DirectoryMutex::lock(&directory).unwrap();
        let TryLock::Busy { status, .. } = try_lock(&directory, &holder()).unwrap() else {
            panic!("it was adopted");
        };
        assert_eq!((status.info.token, status.liveness), (dead.token, Liveness::Dead));
        drop(mutex);
        assert_eq!(names(&directory), [layout::LOCK, layout::SNAPSHOTS]);
        assert!(try_to_lock(&directory).unwrap().took_over().is_some());
    }

    /// It was reported as a lock that somebody held, while `lock_status` showed nobody.
    #[test]
    fn a_free_lock_behind_a_held_mutex_is_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let directory = directory(root.path(), Filesystem::Trusted);
        let mutex = DirectoryMutex::lock(&directory).unwrap();
        let TryLock::Busy { status, .. } = try_lock(&directory, &holder()).unwrap() else {
            panic!("it was locked");
        };
        drop(mutex);
        assert_eq!(status.info.to_string(), "somebody (in the middle of a change)");
        assert_eq!(status.liveness, Liveness::Unknown);
        assert!(try_to_lock(&directory).is_some());
    }

    /// Somebody has the turn to make a marker and is stopped.
    #[test]
    fn a_turn_that_does_not_end_keeps_nobody_out() {
        let root = tempfile::tempdir().unwrap();
        let directory = directory(root.path(), Filesystem::Trusted);
        let turn = DirectoryMutex::turn(&directory);
        assert!(turn.is_some());
        assert!(DirectoryMutex::turn(&directory).is_none());
        let lock = try_to_lock(&directory).unwrap();
        assert!(try_to_lock(&directory).is_none());
        lock.unlock().unwrap();
        drop(turn);
    }

    /// The next holder is another one, though the marker is as long: what a marker said is not remembered by its name.
    #[test]
    fn a_new_marker_is_not_taken_for_the_last_one() {
        let root = tempfile::tempdir().unwrap();
        let directory = directory(root.path(), Filesystem::Trusted);
        for _ in 0..2 {
            let lock = try_to_lock(&directory).unwrap();
            let seen = status(&directory).unwrap().unwrap();
            assert_eq!(seen.info.token, lock.info().token);
            lock.unlock().unwrap();
        }
    }

    #[test]
    fn of_many_who_adopt_a_dead_lock_one_has_it() {
        let root = tempfile::tempdir().unwrap();
        let directory = directory(root.path(), Filesystem::Trusted);
        for _ in 0..50 {
            let dead = die(&directory);
            let held: Vec<_> = std::thread::scope(|scope| {
                let adopters: Vec<_> = (0..4).map(|_| scope.spawn(|| try_to_lock(&directory))).collect();
                adopters
                    .into_iter()
                    .filter_map(|adopter| adopter.join().unwrap())
                    .collect()
            });
            assert_eq!(held.len(), 1);
            for lock in held {
                assert_eq!(lock.took_over().unwrap().token, dead.token);
                lock.check().unwrap();
                lock.unlock().unwrap();
            }
            assert_eq!(names(&directory), [layout::SNAPSHOTS]);
        }
    }

    #[test]
    fn on_an_untrusted_filesystem_nobody_is_taken_for_dead() {
        let root = tempfile::tempdir().unwrap();
        let directory = directory(root.path(), Filesystem::Untrusted);
        let lock = try_to_lock(&directory).unwrap();
        assert!(try_to_lock(&directory).is_none());
        assert_eq!(liveness(&directory), Some(Liveness::Unknown));
        lock.check().unwrap();
        lock.unlock().unwrap();
        die(&directory);
        assert!(try_to_lock(&directory).is_none());
        assert!(force_unlock(&directory, None).unwrap().is_some());
        assert!(try_to_lock(&directory).is_some());
    }

    /// On an untrusted filesystem the marker may be another's by the time that it is removed. It was put back; a third holder
    /// that had locked and unlocked in between, and the second one, then moved `current` from the same revision.
    #[test]
    fn a_marker_that_was_moved_aside_is_never_put_back() {
        let root = tempfile::tempdir().unwrap();
        let directory = directory(root.path(), Filesystem::Untrusted);
        let old = try_to_lock(&directory).unwrap();
        force_unlock(&directory, None).unwrap();
        let new = try_to_lock(&directory).unwrap();
        let removed = marker::remove(&directory, old.info()).unwrap().unwrap();
        assert_eq!(removed.token, new.info().token);
        assert_eq!(names(&directory), [layout::SNAPSHOTS]);
        let third = try_to_lock(&directory).unwrap();
        assert!(Error::is_lock_lost(&new.check().unwrap_err()));
        assert!(Error::is_lock_lost(&new.unlock().unwrap_err()));
        assert!(Error::is_lock_lost(&old.unlock().unwrap_err()));
        third.unlock().unwrap();
        assert_eq!(names(&directory), [layout::SNAPSHOTS]);
    }

    /// The client of a network share sees an untrusted filesystem, its server a local disk. The client's marker had the
    /// length that promises an flock; the server found none there, and both held the lock.
    #[test]
    fn a_lock_taken_over_the_network_is_not_adopted_by_the_server() {
        let root = tempfile::tempdir().unwrap();
        let client = directory(root.path(), Filesystem::Untrusted);
        let server = directory(root.path(), Filesystem::Trusted);
        let lock = try_to_lock(&client).unwrap();
        // A network filesystem keeps its flocks to itself.
        let marker = fs::read(client.stack.path_of(layout::LOCK)).unwrap();
        assert_eq!(marker.len(), marker::BYTES_UNTRUSTED);
        assert_eq!(liveness(&server), Some(Liveness::Unknown));
        assert!(try_to_lock(&server).is_none());
        lock.unlock().unwrap();
        let lock = try_to_lock(&server).unwrap();
        assert!(try_to_lock(&client).is_none());
        lock.unlock().unwrap();
    }
}
