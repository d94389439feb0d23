use sdk_state::encrypt::Noop;
use sdk_state::envelope::{DEFAULT_LIMIT, OVERHEAD};
use sdk_state::{Backend, Created, Error, Revision, StackId, State, Storage, Store};
use time::OffsetDateTime;

/// A fresh, empty place where a storage keeps stacks: what the author of a storage writes to have it tested.
///
/// The hooks do what no method of a storage does. A medium that has one answers `Some`; without it the rules that need
/// it are reported as skipped. A hook that cannot do its work panics, which breaks the rule that called it.
///
/// Each rule gets a medium of its own. What that holds, such as a temporary directory, goes when it is dropped.
pub trait Medium: Send + Sync + 'static {
    /// A handle to the place of the stack `id`; each call gives one more to the same place.
    ///
    /// # Contract
    ///
    /// It creates nothing (READ-05). The handles share nothing but the place, as those of two processes would: a cache that
    /// they have in common hides faults. It is called from many threads at once.
    ///
    /// # Errors
    ///
    /// What opening the storage gives; an error breaks the rule that is asked. Every legal name opens (STACKS-04): that a
    /// medium takes it for the name of another stack is for the first write to say (STACKS-03).
    fn open(&self, id: &StackId) -> Result<Box<dyn Storage>, Error>;

    /// Puts `content` where the pointer of the stack `id` is kept, as somebody who damages it would.
    ///
    /// # Contract
    ///
    /// Whatever the bytes are, they are there when it returns, past every check of the storage. POINTER-07, POINTER-08 and
    /// REMOVE-04 need it.
    fn overwrite_pointer(&self, id: &StackId, content: &[u8]) -> Option<()> {
        let _ = (id, content);
        None
    }

    /// Puts `content` where the snapshot `rev` is kept, as somebody who damages it would. It may be empty.
    ///
    /// # Contract
    ///
    /// The snapshot exists. Whatever the bytes are, they are there when it returns. READ-03 and LIST-02 need it.
    fn overwrite_snapshot(&self, id: &StackId, rev: &Revision, content: &[u8]) -> Option<()> {
        let _ = (id, rev, content);
        None
    }

    /// Lets the holder of the lock die: the lock stays behind, and its holder is provably gone.
    ///
    /// # Contract
    ///
    /// It runs neither `unlock` nor `drop` of the holder's lock, as a process that is killed does not. The rule drops or
    /// unlocks that value while the next holder has the lock, which that must not touch. A medium that cannot prove a death
    /// answers `None`, and LOCK-13 and BACKEND-23, which need this, are skipped.
    fn kill_holder(&self, id: &StackId) -> Option<()> {
        let _ = id;
        None
    }

    /// Whether anything at all is kept for the stack `id`.
    ///
    /// # Contract
    ///
    /// It looks past the storage: a directory or an object that no method shows counts. READ-05 and READ-06 need it.
    fn exists(&self, id: &StackId) -> Option<bool> {
        let _ = id;
        None
    }
}

/// A fresh, empty place where a backend keeps stacks: for who implements [`Backend`] directly.
///
/// Its hooks are as those of a [`Medium`]: without one the rules that need it are reported as skipped.
pub trait BackendMedium: Send + Sync + 'static {
    /// A handle to the place of the stack `id`; each call gives one more to the same place.
    ///
    /// # Contract
    ///
    /// That of [`Medium::open`]; BACKEND-12 asks whether it creates something.
    ///
    /// # Errors
    ///
    /// What opening the backend gives; an error breaks the rule that is asked.
    fn open(&self, id: &StackId) -> Result<Box<dyn Backend<Snapshot = State>>, Error>;

    /// One more handle, for which the time is always `now`.
    ///
    /// # Contract
    ///
    /// What it writes is named after `now`, so that writers collide as they would on a coarse clock. BACKEND-19 needs it.
    fn open_at(&self, id: &StackId, now: OffsetDateTime) -> Option<Box<dyn Backend<Snapshot = State>>> {
        let _ = (id, now);
        None
    }

    /// As [`Medium::overwrite_pointer`]. BACKEND-20 needs it.
    fn overwrite_pointer(&self, id: &StackId, content: &[u8]) -> Option<()> {
        let _ = (id, content);
        None
    }

    /// As [`Medium::overwrite_snapshot`]. BACKEND-21 needs it.
    fn overwrite_snapshot(&self, id: &StackId, rev: &Revision, content: &[u8]) -> Option<()> {
        let _ = (id, rev, content);
        None
    }

    /// Puts what is kept as the snapshot `from` of the stack `id` also where `to` of the stack `other` is kept, as somebody
    /// who can write to the medium would.
    ///
    /// # Contract
    ///
    /// `from` exists, and `to` does not. BACKEND-22 needs it.
    fn copy_snapshot(&self, id: &StackId, from: &Revision, other: &StackId, to: &Revision) -> Option<()> {
        let _ = (id, from, other, to);
        None
    }

    /// As [`Medium::kill_holder`]. BACKEND-23 needs it.
    fn kill_holder(&self, id: &StackId) -> Option<()> {
        let _ = id;
        None
    }
}

/// The place of a storage as that of a backend: a [`Store`] over each handle.
#[derive(Debug, Default)]
pub struct Stores<M>(
    /// The place of the storage.
    pub M,
);

impl<M: Medium> BackendMedium for Stores<M> {
    fn open(&self, id: &StackId) -> Result<Box<dyn Backend<Snapshot = State>>, Error> {
        Ok(Box::new(Store::<_, State>::new(self.0.open(id)?, Noop)))
    }

    fn open_at(&self, id: &StackId, now: OffsetDateTime) -> Option<Box<dyn Backend<Snapshot = State>>> {
        let store = Store::<_, State>::new(done(self.0.open(id)), Noop);
        Some(Box::new(store.with_clock(move || now)))
    }

    fn overwrite_pointer(&self, id: &StackId, content: &[u8]) -> Option<()> {
        self.0.overwrite_pointer(id, content)
    }

    fn overwrite_snapshot(&self, id: &StackId, rev: &Revision, content: &[u8]) -> Option<()> {
        self.0.overwrite_snapshot(id, rev, content)
    }

    fn copy_snapshot(&self, id: &StackId, from: &Revision, other: &StackId, to: &Revision) -> Option<()> {
        let sealed = done(done(self.0.open(id)).read(from, DEFAULT_LIMIT + OVERHEAD));
        let created = done(done(self.0.open(other)).create(to, &sealed));
        assert_eq!(created, Created::Created, "the name was free");
        Some(())
    }

    fn kill_holder(&self, id: &StackId) -> Option<()> {
        self.0.kill_holder(id)
    }
}

/// Of a hook that cannot do its work: `None` would say that there is no such hook.
#[expect(clippy::panic, reason = "a rule takes a panic for a break")]
fn done<T>(result: Result<T, Error>) -> T {
    result.unwrap_or_else(|error| panic!("a hook cannot do its work: {error:?}"))
}
