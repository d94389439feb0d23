use super::{Expected, parsed};
use crate::context::Context;
use crate::exit::Failure;
use crate::held;
use crate::output::Answer;
use crate::stack::{Stack, dangling};
use clap::Args;
use sdk_state::envelope::DEFAULT_LIMIT;
use sdk_state::{
    Backend as _, EnvelopeVersion, Error, ErrorKind, Expect, Revision, Snapshot as _, State, WriteOptions,
};
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

/// The longest message that a snapshot records.
const LONGEST_MESSAGE: usize = 4096;

/// Stores a snapshot and makes it current; prints its revision
///
/// Under the lock: the snapshot is checked, written, and made current if nobody has moved `current` meanwhile. Bytes
/// identical to the current snapshot's write nothing.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    statectl pull network/prod > state.json       # says: revision 2026-07-10T12:00:00.25Z\n  \
    statectl push network/prod state.json --expect 2026-07-10T12:00:00.25Z --message 'open port 443'")]
pub(crate) struct Push {
    /// FACTORY/STACK
    pub(super) stack: String,
    /// The snapshot as JSON; - is standard input
    file: PathBuf,
    /// Why, for whoever reads the list; stored in clear
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// The revision that the file was made from, which must still be current; none: there must be no current one
    #[arg(long, value_name = "REV|none")]
    expect: Option<String>,
    /// Writes a new revision even if nothing has changed
    #[arg(long)]
    force: bool,
    /// Goes on though none of the given keys opens the current snapshot: from now on other keys are needed
    #[arg(long)]
    new_key: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Pushed {
    stack: String,
    revision: String,
    /// False when the current snapshot has the same bytes.
    written: bool,
}

/// What is current when the lock has been taken.
struct Found {
    rev: Option<Revision>,
    /// The bytes of its snapshot, if a key opens it.
    bytes: Option<Vec<u8>>,
}

impl Push {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let output = context.output();
        let expected: Option<Expected> = parsed(self.expect.as_deref())?;
        if self
            .message
            .as_ref()
            .is_some_and(|text| text.len() > LONGEST_MESSAGE)
        {
            return Err(Failure::usage(format!(
                "the message is longer than {LONGEST_MESSAGE} bytes: shorten it"
            )));
        }
        // All that can be refused without the stack is refused before anything is made for it.
        let id = context.keyless(&self.stack)?.id().clone();
        let state = State::decode(&read(&self.file)?)?;
        state.check_values()?;
        state.check_stack(&id)?;

        let stack = context.writable(&self.stack)?;
        let lock = held::take(context, &stack, "push")?;
        let found = self.find_current(&stack, expected.as_ref())?;
        if found.bytes.is_some() && found.bytes == Some(encoded(&state)?) && !self.force {
            output.notice("nothing has changed, so nothing was written: --force writes all the same");
            held::give_back(lock, output);
            return self.answer(context, found.rev, false);
        }
        if let (None, Some(rev)) = (&expected, &found.rev) {
            output.warning(format_args!(
                "without --expect an edit that somebody made after the pull is overwritten; {rev} was current"
            ));
        }
        if self.message.is_some() && context.options().keys.envelope() == EnvelopeVersion::V1 {
            output.warning("version 1 keeps no message");
        }
        let rev = stack.store().write(&state, &self.options(expected))?;
        stack
            .store()
            .compare_and_set_current(Expect::Exactly(found.rev.as_ref()), &rev, Some(&*lock))
            .map_err(|error| after_storing(error, &rev))?;
        held::give_back(lock, output);
        self.answer(context, Some(rev), true)
    }

    /// What is current, if that is what was expected and may be followed by a snapshot for these keys.
    fn find_current(&self, stack: &Stack<'_>, expected: Option<&Expected>) -> Result<Found, Failure> {
        let rev = match stack.store().current_rev() {
            Ok(rev) => Some(rev),
            Err(error) => match error.kind() {
                ErrorKind::NoCurrent { snapshots }
                    if *snapshots == 0 || expected == Some(&Expected(None)) =>
                {
                    None
                }
                ErrorKind::NoCurrent { .. } => {
                    return Err(Failure::from(error).hint(
                        "choose one of `statectl snapshots STACK` with `statectl set-current STACK REV`, \
                         or say with --expect none that this is a fresh start",
                    ));
                }
                _ => return Err(error.into()),
            },
        };
        if let Some(Expected(expected)) = expected
            && *expected != rev
        {
            return Err(Error::current_moved(expected.clone(), rev).into());
        }
        let Some(rev) = rev else {
            return Ok(Found { rev, bytes: None });
        };
        // Not `head`: what it finds may already be another revision than the expected one.
        match stack.store().get(&rev) {
            Ok(state) => Ok(Found {
                rev: Some(rev),
                bytes: Some(encoded(&state)?),
            }),
            Err(error) if error.kind() == &ErrorKind::NotFound => Err(dangling(&rev).into()),
            Err(error) => match error.kind() {
                ErrorKind::WrongKey | ErrorKind::Refused if self.new_key => Ok(Found {
                    rev: Some(rev),
                    bytes: None,
                }),
                ErrorKind::WrongKey | ErrorKind::Refused => {
                    let failure = stack.explain(error);
                    Err(failure.extend_hint(
                        ", or say with --new-key that this and later snapshots are for other keys",
                    ))
                }
                _ => Err(stack.explain(error)),
            },
        }
    }

    fn options(&self, expected: Option<Expected>) -> WriteOptions {
        let mut options = WriteOptions::new();
        options.message.clone_from(&self.message);
        options.parent = expected.and_then(|Expected(rev)| rev);
        options
    }

    fn answer(&self, context: &Context, rev: Option<Revision>, written: bool) -> Result<(), Failure> {
        context.output().answer(&Pushed {
            stack: self.stack.clone(),
            revision: rev.map(|rev| rev.to_string()).unwrap_or_default(),
            written,
        })
    }
}

impl Answer for Pushed {
    const KIND: &'static str = "pushed";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        writeln!(page, "{}", self.revision)
    }
}

/// The file, as far as a store would take it.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let cannot_read = |source: io::Error| match is_standard_input(path) {
        true => Failure::io("cannot read standard input", &source),
        false => Failure::io(format!("cannot read {}", path.display()), &source),
    };
    let source: Box<dyn Read> = match is_standard_input(path) {
        true => Box::new(io::stdin().lock()),
        false => Box::new(File::open(path).map_err(cannot_read)?),
    };
    let mut bytes = Vec::new();
    source
        .take(DEFAULT_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot_read)?;
    if bytes.len() as u64 > DEFAULT_LIMIT {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("the snapshot is larger than the limit of {DEFAULT_LIMIT} bytes"),
        )
        .into());
    }
    Ok(bytes)
}

fn is_standard_input(path: &Path) -> bool {
    path == Path::new("-")
}

fn encoded(state: &State) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    state.encode(&mut bytes)?;
    Ok(bytes)
}

/// What became of the snapshot when `current` could not be moved to it.
fn after_storing(error: Error, rev: &Revision) -> Failure {
    let stored = match error.kind() {
        // The move may have been made, and only its flush have failed.
        ErrorKind::DurabilityUnknown { .. } => {
            format!(". The snapshot is stored as {rev}: `statectl current STACK` tells whether it is current")
        }
        _ => format!(". The snapshot is stored as {rev} and is not current"),
    };
    Failure::from(error).extend_hint(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last flush of a push fails after `current` has moved. It was said all the same not to have moved.
    #[test]
    fn that_current_did_not_move_is_said_only_where_it_is_known() {
        let rev: Revision = "2026-07-10T12:00:00Z".parse().unwrap();
        let unknown = ErrorKind::DurabilityUnknown { rev: rev.clone() };
        for (kind, is_known) in [(unknown, false), (ErrorKind::LockLost, true)] {
            let Failure::Told(told) = after_storing(Error::new(kind, "no"), &rev) else {
                panic!("a failure that is told");
            };
            let hint = told.hint.unwrap();
            assert!(hint.contains("stored as 2026-07-10T12:00:00Z"), "{hint}");
            assert_eq!(hint.contains("is not current"), is_known, "{hint}");
        }
    }
}
