use sdk_state::{Error, ErrorKind, Snapshot, StackId};
use std::io;

/// The smallest document: the properties are about the store, not about what it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note(pub(crate) String);

impl Snapshot for Note {
    const PAYLOAD: &'static str = "note";

    fn encode<W: io::Write>(&self, mut out: W) -> Result<(), Error> {
        out.write_all(self.0.as_bytes())
            .map_err(|source| Error::new(ErrorKind::Io, "cannot write").with_source(source))
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        match str::from_utf8(bytes) {
            Ok(text) => Ok(Self(text.into())),
            Err(_) => Err(Error::new(ErrorKind::InvalidSnapshot, "not UTF-8")),
        }
    }

    fn check_stack(&self, _: &StackId) -> Result<(), Error> {
        Ok(())
    }
}
