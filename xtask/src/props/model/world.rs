//! The place that the actors share, and what each of them has in hand.

use super::story::{Actor, Guard};
use crate::note::Note;
use crate::props::NOON;
use localstate::LocalStorage;
use sdk_state::encrypt::Noop;
use sdk_state::{Lock, LockToken, MemoryStorage, Provenance, Revision, StackId, Storage, Store};
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tempfile::TempDir;
use time::OffsetDateTime;

pub(super) type AnyStore = Store<Box<dyn Storage>, Note>;

#[derive(Debug, Clone, Copy)]
pub(super) enum Medium {
    Memory,
    Local,
}

pub(super) struct World {
    place: Place,
    clock: Arc<AtomicI64>,
    stores: Vec<(Actor, AnyStore)>,
    pub(super) guards: Vec<Held>,
}

/// A lock that was given out, whether it is still held or not.
pub(super) struct Held {
    pub(super) by: Actor,
    pub(super) lock: Box<dyn Lock>,
    pub(super) token: LockToken,
}

enum Place {
    Memory(MemoryStorage),
    Local(TempDir, StackId),
}

impl World {
    pub(super) fn new(medium: Medium) -> Result<Self, Box<dyn Error>> {
        let id = StackId::new("props", "model")?;
        let place = match medium {
            Medium::Memory => Place::Memory(MemoryStorage::new(id)),
            Medium::Local => Place::Local(tempfile::tempdir()?, id),
        };
        let clock = Arc::new(AtomicI64::new(NOON));
        let stores = [Actor::Alice, Actor::Bob, Actor::Carol]
            .map(|actor| (actor, place.open(actor, &clock)))
            .into();
        Ok(Self {
            place,
            clock,
            stores,
            guards: Vec::new(),
        })
    }

    pub(super) fn store(&self, actor: Actor) -> &AnyStore {
        &self.stores[actor as usize].1
    }

    pub(super) fn reopen(&mut self, actor: Actor) {
        self.stores[actor as usize].1 = self.place.open(actor, &self.clock);
    }

    pub(super) fn set_clock(&self, offset: i64) {
        self.clock.store(NOON + offset, Ordering::SeqCst);
    }

    pub(super) fn now(&self) -> Result<Revision, sdk_state::Error> {
        Revision::at(read(&self.clock))
    }

    pub(super) fn damage(&self, content: &str) -> io::Result<()> {
        match &self.place {
            Place::Memory(storage) => storage.overwrite_pointer(content),
            Place::Local(root, _) => {
                let stack = root.path().join("props/model");
                std::fs::create_dir_all(stack.join("snapshots"))?;
                std::fs::write(stack.join("current"), content)?;
            }
        }
        Ok(())
    }

    /// Where among the guards one of this kind is.
    pub(super) fn find(
        &self,
        actor: Actor,
        guard: Guard,
        is_held: impl Fn(&LockToken) -> bool,
    ) -> Option<usize> {
        self.guards.iter().position(|held| match guard {
            Guard::Own => held.by == actor && is_held(&held.token),
            Guard::Stale => held.by == actor && !is_held(&held.token),
            Guard::Anothers => held.by != actor && is_held(&held.token),
        })
    }

    /// The temporaries that lie about.
    pub(super) fn litter(&self) -> io::Result<Vec<String>> {
        let mut litter = Vec::new();
        if let Place::Local(root, _) = &self.place {
            for directory in ["props/model", "props/model/snapshots"] {
                let entries = match std::fs::read_dir(root.path().join(directory)) {
                    Ok(entries) => entries,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                for entry in entries {
                    let name = entry?.file_name().to_string_lossy().into_owned();
                    litter.extend(name.starts_with('.').then_some(name));
                }
            }
        }
        Ok(litter)
    }
}

impl Place {
    /// A handle of its own: what the backend remembers in one must not matter to the others.
    fn open(&self, actor: Actor, clock: &Arc<AtomicI64>) -> AnyStore {
        let storage: Box<dyn Storage> = match self {
            Self::Memory(storage) => Box::new(storage.clone()),
            Self::Local(root, id) => Box::new(LocalStorage::new(root.path(), id.clone())),
        };
        let clock = Arc::clone(clock);
        Store::new(storage, Noop)
            .with_provenance(Provenance::new().with_who(actor.to_string()))
            .with_clock(move || read(&clock))
    }
}

fn read(clock: &AtomicI64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(clock.load(Ordering::SeqCst)).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
