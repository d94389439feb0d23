use crate::note::Note;
use clap::ValueEnum;
use localstate::{LocalStorage, LocalStore};
use sdk_state::encrypt::Noop;
use sdk_state::{Backend as _, Error, Expect, Lock, Revision, StackId, Store, Wait, WriteOptions};
use std::path::{Path, PathBuf};

/// An operation whose calls to the kernel are failed one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Operation {
    FirstWrite,
    Write,
    SetCurrent,
    CompareAndSet,
    Delete,
    Lock,
    Adopt,
    Unlock,
    ForceUnlock,
    List,
    Get,
    Head,
}

/// What lies there before the operation: three snapshots, the first of them current; none where the first is written.
#[derive(Debug, Clone, Default)]
pub(super) struct Before {
    pub(super) revisions: Vec<Revision>,
}

pub(super) const TEXTS: [&str; 3] = ["the first", "the second", "the third"];
pub(super) const WRITTEN: &str = "what the operation writes";

impl Operation {
    pub(super) fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The call that makes the change, by its name and a part of its arguments: what fails up to it must change nothing,
    /// and what fails after it cannot undo it.
    pub(super) fn change(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::FirstWrite | Self::Write => Some(("renameat2", ".json.enc\"")),
            Self::SetCurrent | Self::CompareAndSet => Some(("renameat", "\"current\"")),
            Self::Delete => Some(("unlinkat", ".json.enc\"")),
            Self::Lock => Some(("linkat", "\"lock\"")),
            Self::Adopt => Some(("pwrite64", "")),
            Self::Unlock | Self::ForceUnlock => Some(("unlinkat", "\"lock\"")),
            Self::List | Self::Get | Self::Head => None,
        }
    }

    pub(super) fn writes(self) -> bool {
        matches!(self, Self::FirstWrite | Self::Write)
    }

    pub(super) fn moves(self) -> bool {
        matches!(self, Self::SetCurrent | Self::CompareAndSet)
    }

    /// Makes what the operation finds, without any fault.
    pub(super) fn prepare(self, root: &Path) -> Result<Before, super::Trouble> {
        let mut before = Before::default();
        if self == Self::FirstWrite {
            return Ok(before);
        }
        let store = open(root)?;
        for text in TEXTS {
            before
                .revisions
                .push(store.write(&Note(text.into()), &WriteOptions::new())?);
        }
        store.set_current(&before.revisions[0])?;
        if matches!(self, Self::Adopt | Self::ForceUnlock) {
            leave_dead_lock(root, &store)?;
        }
        Ok(before)
    }

    /// Does it once; what it needs beforehand is done before `begin` is called, and `end` is called right after it.
    ///
    /// A lock that is held at the end stays so until the process is gone: its holder is dead for whoever comes next.
    pub(super) fn perform(
        self,
        store: &LocalStore<Note>,
        begin: impl FnOnce(),
        end: impl FnOnce(),
    ) -> Result<String, Error> {
        let listed = store.list()?;
        let third = listed.last().cloned();
        let second = listed.get(1).cloned();
        let target = |rev: Option<Revision>| {
            rev.ok_or_else(|| Error::new(sdk_state::ErrorKind::NotFound, "nothing was prepared"))
        };
        let held = match self {
            Self::CompareAndSet | Self::Unlock => Some(store.lock("prepare", &Wait::none())?),
            _ => None,
        };
        let guarded = |result: Result<(), Error>| result.map(|()| "-".to_owned());
        let keep = |lock: Box<dyn Lock>| std::mem::forget(lock);
        begin();
        let result = match self {
            Self::FirstWrite | Self::Write => store
                .write(&Note(WRITTEN.into()), &WriteOptions::new())
                .map(|rev| rev.to_string()),
            Self::SetCurrent => guarded(store.set_current(&target(second)?)),
            Self::CompareAndSet => guarded(store.compare_and_set_current(
                Expect::Exactly(listed.first()),
                &target(second)?,
                held.as_deref(),
            )),
            Self::Delete => guarded(store.delete(&target(third)?, None)),
            Self::Lock | Self::Adopt => store.lock("operation", &Wait::none()).map(|lock| {
                keep(lock);
                "-".to_owned()
            }),
            Self::Unlock => match held {
                Some(lock) => {
                    let result = guarded(lock.unlock());
                    end();
                    return result;
                }
                None => Ok("-".to_owned()),
            },
            Self::ForceUnlock => store.force_unlock(None).map(|_| "-".to_owned()),
            Self::List => store.list().map(|revisions| join(&revisions)),
            Self::Get => store.get(&target(second)?).map(|note| note.0),
            Self::Head => store.head().map(|(rev, note)| format!("{rev} {}", note.0)),
        };
        end();
        if let Some(lock) = held {
            keep(lock);
        }
        result
    }

    /// What a reading operation has to answer, where it answers.
    pub(super) fn answer(self, before: &Before) -> Option<String> {
        match self {
            Self::List => Some(join(&before.revisions)),
            Self::Get => Some(TEXTS[1].into()),
            Self::Head => Some(format!("{} {}", before.revisions[0], TEXTS[0])),
            _ => None,
        }
    }
}

pub(super) fn open(root: &Path) -> Result<LocalStore<Note>, Error> {
    Ok(Store::new(
        LocalStorage::new(root, StackId::new(FACTORY, STACK)?),
        Noop,
    ))
}

pub(super) fn stack_directory(root: &Path) -> PathBuf {
    root.join(FACTORY).join(STACK)
}

const FACTORY: &str = "faults";
const STACK: &str = "prod";

/// A marker as a killed holder leaves it: whole, and flocked by nobody.
fn leave_dead_lock(root: &Path, store: &LocalStore<Note>) -> Result<(), super::Trouble> {
    let lock = store.lock("killed", &Wait::none())?;
    let path = stack_directory(root).join("lock");
    let marker = std::fs::read(&path)?;
    lock.unlock()?;
    std::fs::write(path, marker)?;
    Ok(())
}

fn join(revisions: &[Revision]) -> String {
    let names: Vec<_> = revisions.iter().map(ToString::to_string).collect();
    names.join(",")
}
