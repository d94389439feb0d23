use crate::context::Context;
use crate::exit::Failure;
use crate::output::Answer;
use clap::Args;
use serde::Serialize;
use std::io::{self, Write as _};

/// Prints the current revision
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl current network/prod")]
pub(crate) struct Current {
    /// FACTORY/STACK
    pub(super) stack: String,
}

/// The revision in force, also after it was changed.
#[derive(Serialize)]
pub(super) struct CurrentRevision {
    pub(super) stack: String,
    pub(super) revision: String,
}

impl Current {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let rev = context.keyless(&self.stack)?.current_rev()?;
        context.output().answer(&CurrentRevision {
            stack: self.stack.clone(),
            revision: rev.to_string(),
        })
    }
}

impl Answer for CurrentRevision {
    const KIND: &'static str = "current";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        writeln!(page, "{}", self.revision)
    }
}
