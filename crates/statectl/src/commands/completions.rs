use crate::exit::Failure;
use crate::shell::Shell;
use crate::stack::Context;
use clap::Args;
use std::env;
use std::path::PathBuf;

/// Print the script that completes commands in a shell
///
/// It completes commands, options, stacks, revisions, files, kinds of keys and, with a key at hand, addresses and outputs. It
/// looks in the store of the options and variables that are typed and set so far, takes no lock, and asks for no passphrase.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    statectl completions bash > ~/.local/share/bash-completion/completions/statectl\n  \
    source <(statectl completions bash)           # in ~/.bashrc, without the package bash-completion\n  \
    source <(statectl completions zsh)            # in ~/.zshrc, after compinit\n  \
    statectl completions fish > ~/.config/fish/completions/statectl.fish")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let program = env::args_os().next().map(PathBuf::from).unwrap_or_default();
        let here = env::current_dir().unwrap_or_default();
        context
            .output()
            .verbatim(self.shell.script(&program, &here).as_bytes())
    }
}
