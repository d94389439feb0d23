use crate::Arguments;
use crate::context::Context;
use crate::exit::Failure;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

/// Prints the completions for a shell
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  statectl completions bash > ~/.local/share/bash-completion/completions/statectl"
)]
pub(crate) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "statectl", &mut script);
        context.output().verbatim(&script)
    }
}
