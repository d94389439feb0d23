use super::parsed;
use crate::context::Context;
use crate::exit::Failure;
use clap::Args;
use sdk_state::{Revision, Snapshot as _};
use serde::Serialize;
use serde_json::value::RawValue;
use std::io;

/// Prints a snapshot as JSON, secrets included
///
/// The revision goes to standard error: give it to `push --expect`, so that no edit made meanwhile is overwritten.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl pull network/prod > state.json")]
pub(crate) struct Pull {
    /// FACTORY/STACK
    pub(super) stack: String,
    /// This revision instead of the current one
    #[arg(long)]
    rev: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Pulled<'a> {
    stack: &'a str,
    revision: String,
    snapshot: &'a RawValue,
}

impl Pull {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let rev: Option<Revision> = parsed(self.rev.as_deref())?;
        let stack = context.readable(&self.stack, rev.as_ref())?;
        let (rev, state) = stack.snapshot(rev.as_ref())?;
        let output = context.output();
        if output.is_json() {
            let mut snapshot = Vec::new();
            state.encode(&mut snapshot)?;
            return output.document(
                "snapshot",
                &Pulled {
                    stack: &self.stack,
                    revision: rev.to_string(),
                    snapshot: serde_json::from_slice(&snapshot).map_err(io::Error::from)?,
                },
            );
        }
        let mut snapshot = state.to_indented()?;
        snapshot.push('\n');
        output.notice(format_args!("revision {rev}"));
        output.verbatim(snapshot.as_bytes())
    }
}
