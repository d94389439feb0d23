//! The passphrase of `--encrypter passphrase`: from a file, from a command, or from the terminal. It is never an argument, which
//! every user of the machine can read.

use crate::environment;
use crate::exit::Failure;
use sdk_state::encrypt::{Passphrase, Zeroizing};
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

const FILE: &str = "STATECTL_PASSPHRASE_FILE";
const COMMAND: &str = "STATECTL_PASSPHRASE_COMMAND";
/// More than the longest passphrase.
const MAX_BYTES: u64 = 4096;

/// The passphrase of this command, once it was needed. One key, so that each salt is derived once.
#[derive(Clone, Default)]
pub(crate) struct Asked(OnceLock<Given>);

#[derive(Clone)]
struct Given {
    text: Zeroizing<String>,
    key: Arc<Passphrase>,
}

impl Asked {
    /// Asks for the passphrase of existing files, or takes the answer that was given before.
    pub(crate) fn key(&self) -> Result<Arc<Passphrase>, Failure> {
        let given = match self.0.get() {
            Some(given) => given,
            None => {
                let text = match configured()? {
                    Some(text) => text,
                    None => ask("Passphrase: ")?,
                };
                let key = Arc::new(Passphrase::new(&text)?);
                self.0.get_or_init(|| Given { text, key })
            }
        };
        Ok(Arc::clone(&given.key))
    }

    /// Asks again before something is sealed that only this passphrase will open.
    pub(crate) fn confirm(&self) -> Result<(), Failure> {
        match self.0.get() {
            Some(given) if !is_configured() => confirm(&given.text),
            _ => Ok(()),
        }
    }
}

/// Shows nothing of it.
impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asked")
    }
}

/// A passphrase for a new recipient.
pub(crate) fn new() -> Result<Arc<Passphrase>, Failure> {
    let text = match configured()? {
        Some(text) => text,
        None => {
            let text = ask("New passphrase: ")?;
            confirm(&text)?;
            text
        }
    };
    Ok(Arc::new(Passphrase::new(&text)?))
}

fn confirm(text: &Zeroizing<String>) -> Result<(), Failure> {
    match ask("The same passphrase again: ")? == *text {
        true => Ok(()),
        false => Err(Failure::usage("these are two passphrases: nothing was changed")),
    }
}

fn is_configured() -> bool {
    [FILE, COMMAND]
        .iter()
        .any(|name| environment::raw(name).is_some())
}

/// What the environment says where it is.
fn configured() -> Result<Option<Zeroizing<String>>, Failure> {
    if let Some(path) = environment::raw(FILE) {
        let read = File::open(&path).and_then(one_line);
        // The path is not repeated: it may be the passphrase itself.
        return read.map(Some).map_err(|error| {
            Failure::io(
                format!("cannot read the file with the passphrase, ${FILE}"),
                &error,
            )
        });
    }
    match environment::raw(COMMAND) {
        None => Ok(None),
        Some(command) => {
            let failed = |error: &io::Error| Failure::io(format!("cannot run ${COMMAND}"), error);
            let mut child = Command::new("sh")
                .arg("-c")
                .arg(command)
                .stdout(Stdio::piped())
                .spawn()
                .map_err(|error| failed(&error))?;
            let text = child.stdout.take().map(one_line);
            let status = child.wait().map_err(|error| failed(&error))?;
            match text {
                Some(text) if status.success() => Ok(Some(text.map_err(|error| failed(&error))?)),
                _ => Err(failed(&io::Error::other(format!("it failed ({status})")))),
            }
        }
    }
}

/// The text without its last line feed.
fn one_line(input: impl Read) -> io::Result<Zeroizing<String>> {
    // The buffer does not grow: growing would leave a copy behind.
    let mut text = Zeroizing::new(String::with_capacity(MAX_BYTES as usize));
    input.take(MAX_BYTES).read_to_string(&mut text)?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

fn ask(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    if !io::stderr().is_terminal() {
        return Err(
            Failure::usage("a passphrase is needed, and there is no terminal to ask for it").hint(format!(
                "set {FILE} to a file that holds it, or {COMMAND} to a command that prints it"
            )),
        );
    }
    rpassword::prompt_password(prompt)
        .map(Zeroizing::new)
        .map_err(|error| Failure::io("cannot ask for the passphrase", &error))
}
