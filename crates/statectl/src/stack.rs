use crate::exit::Failure;
use crate::keys::KeyOptions;
use sdk_state::encrypt::{Keyring, Noop};
use sdk_state::envelope::UnverifiedHeader;
use sdk_state::{Backend as _, Error, ErrorKind, Provenance, Revision, Root, StackId, State, Storage, Store};

/// One stack, with the keys that the command needs.
pub(crate) struct Stack<'a> {
    root: Box<dyn Root>,
    store: Store<Box<dyn Storage>>,
    keys: &'a KeyOptions,
}

impl<'a> Stack<'a> {
    /// The stack `id` in `root`. Creates nothing.
    pub(crate) fn open(
        root: Box<dyn Root>,
        id: &StackId,
        ring: Keyring,
        keys: &'a KeyOptions,
    ) -> Result<Self, Failure> {
        let store = Store::new(root.open(id)?, ring)
            .with_provenance(provenance())
            .with_envelope(keys.envelope());
        Ok(Self { root, store, keys })
    }

    /// The same stack with these keys.
    pub(crate) fn with_keys(self, ring: Keyring) -> Result<Self, Failure> {
        let id = self.id().clone();
        Self::open(self.root, &id, ring, self.keys)
    }

    pub(crate) fn id(&self) -> &StackId {
        self.store.id()
    }

    pub(crate) fn store(&self) -> &Store<Box<dyn Storage>> {
        &self.store
    }

    /// A second handle to the stack's place.
    pub(crate) fn storage(&self) -> Result<Box<dyn Storage>, Failure> {
        Ok(self.root.open(self.id())?)
    }

    /// The current revision, which exists: a dangling pointer is damage.
    pub(crate) fn current_rev(&self) -> Result<Revision, Failure> {
        let mut rev = self.store.current_rev()?;
        loop {
            match self.store.storage().read_prefix(&rev, 0) {
                Err(error) if error.kind() == &ErrorKind::NotFound => {}
                // It is there: what is wrong with it is told by whoever opens it.
                Err(error) if error.kind() == &ErrorKind::Damaged => return Ok(rev),
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(rev),
            }
            // Moved and deleted since the pointer was read? Then the pointer has another value now.
            let now = self.store.current_rev()?;
            if now == rev {
                return Err(dangling(&rev).into());
            }
            rev = now;
        }
    }

    /// Fails with "no such stack" unless there is a trace of it, so that a mistyped name makes no directory.
    pub(crate) fn demand_existing(&self) -> Result<(), Failure> {
        match self.store.current_rev() {
            Err(error) if error.kind() == &(ErrorKind::NoCurrent { snapshots: 0 }) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The same for commands about locks: a stack may be locked before it has a snapshot.
    pub(crate) fn demand_known(&self) -> Result<(), Failure> {
        match self.root.stacks()?.contains(self.id()) {
            true => Ok(()),
            false => self.demand_existing(),
        }
    }

    /// The snapshot `rev`, or the current one, and which it is.
    pub(crate) fn snapshot(&self, rev: Option<&Revision>) -> Result<(Revision, State), Failure> {
        match rev {
            Some(rev) => self.store.get(rev).map(|state| (rev.clone(), state)),
            None => self.store.head(),
        }
        .map_err(|error| self.explain(error))
    }

    /// The error, with the options that open the file in the hint.
    pub(crate) fn explain(&self, error: Error) -> Failure {
        if error.kind() == &ErrorKind::InvalidSnapshot {
            return Failure::from(error).hint(
                "the stored document breaks a rule; `statectl snapshots STACK` shows the other revisions",
            );
        }
        let header = match (error.kind(), error.revision()) {
            (ErrorKind::Refused | ErrorKind::WrongKey, Some(rev)) => self.store.header(rev).ok(),
            _ => None,
        };
        match header {
            Some(header) => Failure::from(error).hint(self.keys.how_to_open(&header)),
            None => error.into(),
        }
    }

    /// What a snapshot in this root says of itself: of this stack if it has one, else of another. `None` when the root
    /// holds no snapshot at all.
    pub(crate) fn newest_header_in_root(&self) -> Result<Option<(StackId, UnverifiedHeader)>, Failure> {
        let mut unreadable = None;
        let others = self.root.stacks()?.into_iter().filter(|id| id != self.id());
        for id in [self.id().clone()].into_iter().chain(others) {
            let store: Store<_> = Store::new(self.root.open(&id)?, Noop);
            let Some(newest) = store.list()?.pop() else {
                continue;
            };
            match store.header(&store.current_rev().unwrap_or(newest)) {
                Ok(header) => return Ok(Some((id, header))),
                Err(error) => unreadable = Some(error),
            }
        }
        match unreadable {
            Some(error) => Err(error.into()),
            None => Ok(None),
        }
    }
}

/// `current` names what is not there.
pub(crate) fn dangling(rev: &Revision) -> Error {
    Error::new(
        ErrorKind::Damaged,
        "`current` names this revision, which does not exist",
    )
    .at_revision(rev)
}

/// Who writes, recorded in clear.
fn provenance() -> Provenance {
    localstate::this_process().with_tool(concat!("statectl ", env!("CARGO_PKG_VERSION")))
}
