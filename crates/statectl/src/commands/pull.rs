use crate::exit::Failure;
use crate::progress::Progress;
use crate::selector::RevisionOption;
use crate::stack::Context;
use clap::Args;
use sdk_state::{Error, ErrorKind, Json, Raw, Snapshot as _, State};

/// Print a snapshot as JSON, secrets included
///
/// The snapshot is printed as it is in every format, so that `push` accepts it. The revision goes to standard error: pass it
/// to `push --expect` so as not to overwrite an edit that somebody makes meanwhile.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl pull network/prod > state.json")]
pub(crate) struct Pull {
    /// FACTORY/STACK
    pub(super) stack: String,
    #[command(flatten)]
    revision: RevisionOption,
    /// Print the document unchanged, whatever its type
    #[arg(long)]
    raw: bool,
}

impl Pull {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let (stack, rev) = context.readable_at(&self.stack, &self.revision)?;
        let output = context.output();
        let progress = Progress::of_steps("reading the snapshot");
        let found = stack.document(rev.as_ref())?;
        let (rev, document) = (found.revision, found.document);
        if self.raw {
            drop(progress);
            output.revision(
                &rev,
                format_args!("revision {rev}, a document of type {}", document.payload),
            );
            return output.verbatim(&document.bytes);
        }
        let json = json_of(stack.canonical(&rev, document)?)
            .map_err(|error| stack.explain(error.at_revision(&rev)))?;
        drop(progress);
        output.revision(&rev, format_args!("revision {rev}"));
        output.write(|out| {
            json.write_indented(&mut *out)?;
            out.write_all(b"\n")
        })
    }
}

/// A snapshot's document, without parsing its entries: sealed documents have been checked.
pub(super) fn json_of(document: Raw) -> Result<Json, Error> {
    if document.payload != State::PAYLOAD {
        let found = document.payload;
        return Err(Error::new(ErrorKind::OtherPayload { found }, "another type"));
    }
    let text = String::from_utf8(document.bytes)
        .map_err(|_| Error::new(ErrorKind::InvalidSnapshot, "the snapshot is not UTF-8"))?;
    Json::parse(text)
}
