//! Finds the files of a stack's directory that are not as a writer leaves them.

use crate::directory::Directory;
use crate::failure::Failure;
use crate::filesystem::Filesystem;
use crate::journal::JournalFile;
use crate::stack::StackDirectory;
use crate::{layout, pointer, temporary};
use rustix::fs::{Mode, Stat};
use sdk_state::{Irregularity, IrregularityKind};

/// The bits of a mode that let other users in.
const OTHERS: Mode = Mode::RWXG.union(Mode::RWXO);

/// Lists the names, and opens only the journal and temporary files.
pub(crate) fn inspect(directory: &StackDirectory) -> Result<Vec<Irregularity>, Failure> {
    let stack = &directory.stack;
    let mut inspection = Inspection {
        owner: stack.own_stat()?.st_uid,
        filesystem: directory.filesystem,
        found: Vec::new(),
    };
    inspection.judge_mode(&stack.own_stat()?, || stack.path().display().to_string());
    inspection.look_at_files(stack, |name| {
        [layout::CURRENT, layout::JOURNAL, layout::LOCK, layout::SNAPSHOTS]
            .iter()
            .any(|own| own.as_bytes() == name)
    })?;
    if is_journal_dead(stack)? {
        inspection.note(IrregularityKind::Leftover, stack, layout::JOURNAL);
    }
    if let Some(snapshots) = directory.snapshots() {
        inspection.look_at_files(snapshots, |name| layout::revision(name).is_some())?;
    }
    Ok(inspection.found)
}

struct Inspection {
    /// The user who owns the stack's directory.
    owner: u32,
    filesystem: Filesystem,
    found: Vec<Irregularity>,
}

impl Inspection {
    fn look_at_files(
        &mut self,
        directory: &Directory,
        is_own: impl Fn(&[u8]) -> bool,
    ) -> Result<(), Failure> {
        for entry in directory.entries()? {
            let entry = entry?;
            let bytes = entry.file_name().to_bytes();
            if layout::is_removed_and_open(bytes) {
                continue;
            }
            let name = entry.file_name().to_string_lossy();
            if is_own(bytes) {
                self.look_at_mode(directory, &name)?;
            } else if layout::is_temporary(bytes) || layout::is_temporary_of_unobin(bytes) {
                self.look_at_temporary(directory, &name)?;
            } else {
                self.note(IrregularityKind::Foreign, directory, &name);
            }
        }
        Ok(())
    }

    /// A directory that a move put aside has such a name too: its content is somebody else's.
    fn look_at_temporary(&mut self, directory: &Directory, name: &str) -> Result<(), Failure> {
        let Some(stat) = directory.stat(name)? else {
            return Ok(());
        };
        if !Directory::is_plain(&stat) {
            self.note(IrregularityKind::Foreign, directory, name);
        } else if temporary::is_abandoned(directory, self.filesystem, name) {
            self.note(IrregularityKind::Leftover, directory, name);
        }
        Ok(())
    }

    /// What is neither a file nor the directory of the snapshots, reading reports. The mode of a link says nothing.
    fn look_at_mode(&mut self, directory: &Directory, name: &str) -> Result<(), Failure> {
        if let Some(stat) = directory.stat(name)?
            && (Directory::is_plain(&stat) || name == layout::SNAPSHOTS)
        {
            self.judge_mode(&stat, || directory.path_of(name).display().to_string());
        }
        Ok(())
    }

    /// Other filesystems invent modes and owners.
    fn judge_mode(&mut self, stat: &Stat, name: impl Fn() -> String) {
        if !self.filesystem.is_trusted() {
            return;
        }
        if Mode::from_raw_mode(stat.st_mode).intersects(OTHERS) {
            self.found
                .push(Irregularity::new(IrregularityKind::Exposed, name()));
        }
        if stat.st_uid != self.owner {
            self.found
                .push(Irregularity::new(IrregularityKind::OtherOwner, name()));
        }
    }

    fn note(&mut self, kind: IrregularityKind, directory: &Directory, name: &str) {
        let name = directory.path_of(name).display().to_string();
        self.found.push(Irregularity::new(kind, name));
    }
}

/// Whether a journal belongs to a revision that is not current. What else is wrong with it, reading reports.
fn is_journal_dead(stack: &Directory) -> Result<bool, Failure> {
    let base = match JournalFile::open(stack) {
        Ok(journal) => journal.and_then(|journal| journal.base),
        Err(Failure::JournalNotPlain(_)) => None,
        Err(failure) => return Err(failure),
    };
    let Some(base) = base else {
        return Ok(false);
    };
    match pointer::read(stack) {
        Ok(current) => Ok(current.is_some_and(|current| current != base)),
        Err(Failure::PointerNotPlain(_) | Failure::Contract(_)) => Ok(false),
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LocalBackend;
    use sdk_state::{Backend as _, Created, StackId};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::PathBuf;

    struct Place {
        root: tempfile::TempDir,
        backend: LocalBackend,
    }

    impl Place {
        fn new(filesystem: Filesystem) -> Self {
            let root = tempfile::tempdir().unwrap();
            let id = StackId::new("network", "prod").unwrap();
            let backend = LocalBackend::on(filesystem, root.path(), id);
            let rev = "2026-07-10T12:00:00Z".parse().unwrap();
            assert_eq!(backend.create(&rev, b"sealed").unwrap(), Created::Created);
            Self { root, backend }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.root.path().join("network/prod").join(name)
        }

        fn found(&self) -> Vec<(IrregularityKind, PathBuf)> {
            let found = self.backend.inspect().unwrap();
            let mut found: Vec<_> = found
                .into_iter()
                .map(|found| (found.kind, PathBuf::from(found.name)))
                .collect();
            found.sort_by(|one, other| one.1.cmp(&other.1));
            found
        }
    }

    #[test]
    fn what_belongs_to_nothing_is_listed() {
        let place = Place::new(Filesystem::Trusted);
        assert_eq!(place.found(), []);
        let planted = [
            (IrregularityKind::Leftover, ".current.0123456789abcdef"),
            (IrregularityKind::Leftover, ".current.tmp"),
            (IrregularityKind::Foreign, "current.bak"),
            (IrregularityKind::Leftover, "snapshots/.snapshot.0123456789abcdef"),
            (IrregularityKind::Foreign, "snapshots/a b.json.enc"),
            (IrregularityKind::Foreign, "snapshots/notes.txt"),
        ];
        for (_, name) in planted {
            fs::write(place.path(name), "planted").unwrap();
        }
        // NFS removes it itself.
        fs::write(place.path(".nfs0123"), "removed").unwrap();
        let expected = planted.map(|(kind, name)| (kind, place.path(name)));
        assert_eq!(place.found(), expected);
    }

    #[test]
    fn temporary_of_a_living_writer_is_left_out() {
        let place = Place::new(Filesystem::Trusted);
        let file = fs::File::create(place.path(".lock.0123456789abcdef")).unwrap();
        assert!(crate::flock::try_exclusive(&file).unwrap());
        assert_eq!(place.found(), []);
        drop(file);
        assert_eq!(place.found().len(), 1);
        // Where a flock proves nothing, only an old file is a leftover.
        let place = Place::new(Filesystem::Untrusted);
        fs::write(place.path(".lock.0123456789abcdef"), "").unwrap();
        assert_eq!(place.found(), []);
    }

    /// A repair puts what was in the place of `current` aside, under a temporary name.
    #[test]
    fn directory_that_was_put_aside_is_foreign() {
        let place = Place::new(Filesystem::Trusted);
        let aside = place.path(".current.0123456789abcdef");
        fs::create_dir(&aside).unwrap();
        assert_eq!(place.found(), [(IrregularityKind::Foreign, aside)]);
    }

    #[test]
    fn files_that_others_can_read_are_exposed_where_modes_count() {
        let expose = |place: &Place| {
            let file = place.path("snapshots/2026-07-10T12:00:00Z.json.enc");
            fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
            fs::set_permissions(place.path("snapshots"), Permissions::from_mode(0o755)).unwrap();
            file
        };
        let place = Place::new(Filesystem::Trusted);
        let file = expose(&place);
        // The mode of a link is always 0777.
        symlink("nowhere", place.path("current")).unwrap();
        let expected = [place.path("snapshots"), file].map(|path| (IrregularityKind::Exposed, path));
        assert_eq!(place.found(), expected);

        let place = Place::new(Filesystem::Untrusted);
        expose(&place);
        assert_eq!(place.found(), []);
    }
}
