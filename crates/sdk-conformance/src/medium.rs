use sdk_state::encrypt::Noop;
use sdk_state::{Backend, Error, Revision, StackId, State, Storage, Store};

/// A fresh, empty place where a storage keeps stacks: what the author of a storage writes to have it tested.
///
/// The hooks do what no method of a storage does. A medium that has one answers `Some`; without it the rules that need
/// it are reported as skipped. A hook that cannot do its work panics, which breaks the rule that called it.
pub trait Medium: Send + Sync + 'static {
    /// A handle to the place of the stack `id`; each call gives one more to the same place.
    ///
    /// # Errors
    ///
    /// The storage's.
    fn open(&self, id: &StackId) -> Result<Box<dyn Storage>, Error>;

    /// Puts `content` where the pointer of the stack `id` is kept, as somebody who damages it would.
    fn overwrite_pointer(&self, id: &StackId, content: &[u8]) -> Option<()> {
        let _ = (id, content);
        None
    }

    /// Puts `content` where the snapshot `rev` is kept, as somebody who damages it would. It may be empty.
    fn overwrite_snapshot(&self, id: &StackId, rev: &Revision, content: &[u8]) -> Option<()> {
        let _ = (id, rev, content);
        None
    }

    /// Lets the holder of the lock die: the lock stays behind, and its holder is provably gone.
    fn kill_holder(&self, id: &StackId) -> Option<()> {
        let _ = id;
        None
    }

    /// Whether anything at all is kept for the stack `id`.
    fn exists(&self, id: &StackId) -> Option<bool> {
        let _ = id;
        None
    }
}

/// A fresh, empty place where a backend keeps stacks: for who implements [`Backend`] directly.
pub trait BackendMedium: Send + Sync + 'static {
    /// A handle to the place of the stack `id`; each call gives one more to the same place.
    ///
    /// # Errors
    ///
    /// The backend's.
    fn open(&self, id: &StackId) -> Result<Box<dyn Backend<Snapshot = State>>, Error>;
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
}
