//! The fixtures that the tests of this crate share.

use sdk_conformance::{Fault, Faulty, Fixture, Method, TransportFault};
use sdk_state::{Backend, Catalog, Error, ErrorKind, MemoryBackend, MemoryCatalog, Revision, StackId};

/// A place in memory. It never knows what became of a lost answer.
#[derive(Debug, Default)]
pub(crate) struct Memory(MemoryCatalog);

impl Memory {
    pub(crate) fn backend(&self, id: &StackId) -> MemoryBackend {
        self.0.backend(id)
    }
}

impl Fixture for Memory {
    fn open(&self, id: &StackId) -> Result<Box<dyn Backend>, Error> {
        self.0.open(id)
    }

    fn overwrite_pointer(&self, id: &StackId, content: &[u8]) -> Option<()> {
        self.0.backend(id).overwrite_pointer(content);
        Some(())
    }

    fn overwrite_snapshot(&self, id: &StackId, rev: &Revision, content: &[u8]) -> Option<()> {
        self.0.backend(id).overwrite_snapshot(rev, content);
        Some(())
    }

    fn kill_holder(&self, id: &StackId) -> Option<()> {
        self.0.backend(id).kill_holder();
        Some(())
    }

    fn exists(&self, id: &StackId) -> Option<bool> {
        Some(self.0.stacks().unwrap().contains(id))
    }

    fn catalog(&self) -> Option<Box<dyn Catalog>> {
        Some(Box::new(self.0.clone()))
    }

    fn open_faulty(&self, id: &StackId, method: Method, fault: TransportFault) -> Option<Box<dyn Backend>> {
        let fault = match fault {
            TransportFault::Refused => Fault::FailBefore(ErrorKind::Io),
            TransportFault::RequestLost => Fault::FailBefore(ErrorKind::OutcomeUnknown),
            _ => Fault::FailAfter(ErrorKind::OutcomeUnknown),
        };
        Some(Box::new(Faulty::new(self.0.backend(id)).with(method, 1, fault)))
    }
}
