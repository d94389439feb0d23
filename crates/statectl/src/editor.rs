//! The operator's editor, and the private file that it edits.

use crate::child::{deadly_signals, handled_signals, wait_for};
use crate::environment;
use crate::exit::{FAILED, Failure};
use signal_hook::flag::register_conditional_default;
use signal_hook::iterator::Signals;
use std::env;
use std::fs::{OpenOptions, Permissions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

/// In memory, on Linux.
const SHARED_MEMORY: &str = "/dev/shm";

/// The command that the operator edits files with.
pub(crate) struct Editor {
    /// The program and its arguments.
    words: Vec<String>,
    /// Whether a signal may end this process: not while the editor is open.
    may_end: Arc<AtomicBool>,
}

impl Editor {
    /// The command of `VISUAL`, or else of `EDITOR`.
    pub(crate) fn of_environment() -> Result<Self, Failure> {
        let variables = ["VISUAL", "EDITOR"];
        let found = variables
            .into_iter()
            .find_map(|name| Some((name, environment::text(name)?)));
        let Some((name, command)) = found else {
            return Err(Failure::usage("neither VISUAL nor EDITOR names an editor").hint(
                "set one of them to a command that returns when the file is closed, such as EDITOR=vim",
            ));
        };
        let Some(words) = words(&command) else {
            return Err(Failure::usage(format!(
                "{name} is no command: it has no word, or a quote that is not closed"
            )));
        };
        let may_end = Arc::new(AtomicBool::new(true));
        for signal in deadly_signals() {
            register_conditional_default(signal, Arc::clone(&may_end))
                .map_err(|source| Failure::io("cannot listen for signals", &source))?;
        }
        Ok(Self { words, may_end })
    }

    /// Opens the file, and returns when the editor has ended.
    ///
    /// A signal does not end this process before the editor. Afterwards it does again.
    pub(crate) fn edit(&self, file: &Path) -> Result<(), Failure> {
        let name = self.words.first().map_or("", String::as_str);
        self.may_end.store(false, Ordering::SeqCst);
        let ended = self.run(file);
        self.may_end.store(true, Ordering::SeqCst);
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                let message = format!("the editor {name} failed, so nothing was stored: {status}");
                Err(Failure::new(FAILED, "failed", message))
            }
            Err(source) => Err(Failure::io(format!("cannot run the editor {name}"), &source)
                .hint("set VISUAL or EDITOR to the command of an editor")),
        }
    }

    fn run(&self, file: &Path) -> io::Result<ExitStatus> {
        let Some((program, arguments)) = self.words.split_first() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let mut signals = Signals::new(handled_signals())?;
        let mut command = Command::new(program);
        command.args(arguments).arg(file);
        // Standard output is for the answer.
        if !io::stdout().is_terminal() {
            command.stdout(io::stderr().as_fd().try_clone_to_owned()?);
        }
        wait_for(&mut command.spawn()?, &mut signals)
    }
}

/// The words of a command, as a shell splits it. Nothing is expanded.
fn words(command: &str) -> Option<Vec<String>> {
    shlex::split(command).filter(|words| !words.is_empty())
}

/// A private file with a document and its secrets. It is removed when this is dropped.
pub(crate) struct Draft {
    directory: TempDir,
    file: PathBuf,
}

impl Draft {
    /// Writes the document where it does not reach a disk, if there is such a place.
    pub(crate) fn new(document: &[u8]) -> Result<Self, Failure> {
        let runtime = environment::raw("XDG_RUNTIME_DIR").map(PathBuf::from);
        let places = runtime
            .into_iter()
            .chain([PathBuf::from(SHARED_MEMORY), env::temp_dir()]);
        let mut problem = None;
        for place in places {
            match Self::new_in(&place, document) {
                Ok(draft) => return Ok(draft),
                Err(source) => problem = Some((place, source)),
            }
        }
        Err(match problem {
            Some((place, source)) => Failure::io(
                format!("cannot write a private file in {}", place.display()),
                &source,
            ),
            None => Failure::new(FAILED, "failed", "there is no place for a private file"),
        })
    }

    fn new_in(place: &Path, document: &[u8]) -> io::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("statectl-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(place)?;
        let file = directory.path().join("state.json");
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file)?
            .write_all(document)?;
        Ok(Self { directory, file })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.file
    }

    /// Leaves the file where it is, and adds that to the failure.
    pub(crate) fn keep(self, failure: Failure) -> Failure {
        let directory = self.directory.keep();
        failure.extend_hint(&format!(
            "your edit is kept in {}, secrets included: remove {} when you no longer need it",
            self.file.display(),
            directory.display()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn editor_is_split_into_words_as_a_shell_does() {
        let found = words("code --wait '/a file'").unwrap();
        assert_eq!(found, ["code", "--wait", "/a file"]);
        for nothing in [" ", "vim 'open"] {
            assert_eq!(words(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn draft_is_private_and_gone_with_its_directory() {
        let place = tempfile::tempdir().unwrap();
        let draft = Draft::new_in(place.path(), b"secret").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (mode(draft.path()), mode(draft.path().parent().unwrap())),
            (0o600, 0o700)
        );
        // As editors do.
        fs::write(draft.path().with_extension("swp"), "secret").unwrap();
        drop(draft);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
