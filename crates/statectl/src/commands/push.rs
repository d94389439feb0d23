use super::{Expected, parsed};
use crate::exit::Failure;
use crate::held::{self, Held};
use crate::keys::sealed_for;
use crate::output::Answer;
use crate::progress::Progress;
use crate::stack::{Context, Stack};
use crate::text::size;
use crate::unfinished;
use clap::Args;
use sdk_state::encrypt::{EnvKey, Recipient};
use sdk_state::envelope::DEFAULT_LIMIT;
use sdk_state::{
    EnvelopeVersion, Error, ErrorKind, Expect, Raw, Revision, Run, Snapshot as _, StackId, State,
};
use serde::Serialize;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::path::{Path, PathBuf};

/// The longest message that a snapshot records.
const LONGEST_MESSAGE: usize = 4096;

/// The largest block that glibc can be made to keep is 32 MiB.
const LARGEST_KEPT_BLOCK: usize = 31 << 20;

/// Store a snapshot and make it current; print its revision
///
/// Under the lock, the snapshot is checked and stored, and becomes current if nobody has moved `current` meanwhile. A
/// snapshot that is equal to the current one is not stored again.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    statectl pull network/prod > state.json       # says: revision 2026-07-10T12:00:00.25Z\n  \
    statectl push network/prod state.json --expect 2026-07-10T12:00:00.25Z --message 'open port 443'")]
pub(crate) struct Push {
    /// FACTORY/STACK
    pub(super) stack: String,
    /// The snapshot as JSON; - is standard input
    file: PathBuf,
    /// A message for the list of snapshots, such as the reason; stored unencrypted
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// The revision that the file was made from, which must still be current, or none if no revision may be current
    #[arg(long, value_name = "REV|none")]
    expect: Option<String>,
    /// Store a new revision even if nothing has changed, or if the stack holds documents of another type
    #[arg(long)]
    force: bool,
    /// Push even if none of the given keys opens the current snapshot. From then on the stack is sealed for the given keys alone
    #[arg(long)]
    new_key: bool,
    /// Store the file unchanged as a document of this type, which statectl does not interpret
    #[arg(long, value_name = "TYPE")]
    payload: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Pushed {
    stack: String,
    revision: String,
    /// False when the current snapshot is the same.
    written: bool,
}

impl Push {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let expected: Option<Expected> = parsed(self.expect.as_deref())?;
        demand_short(self.message.as_deref())?;
        // Refuses everything that can be refused without the stack, before anything is made for the stack.
        let id: StackId = self.stack.parse()?;
        keep_large_blocks();
        let (file, progress) = read(&self.file)?;
        let document = self.document(&id, file)?;
        let stack = context.writable(&self.stack)?;
        let held = held::take(&stack, "push")?;
        let pushed = self.store(&stack, &held, expected.as_ref(), document, &progress)?;
        drop(progress);
        held.give_back_after_change(&stack);
        context.output().answer(&pushed)
    }

    /// The document to store: a checked snapshot in the layout of this project, or the bytes of the file.
    fn document(&self, id: &StackId, file: Vec<u8>) -> Result<Raw, Failure> {
        match &self.payload {
            Some(payload) if payload != State::PAYLOAD => Ok(Raw {
                payload: payload.clone(),
                bytes: file,
            }),
            _ => Ok(Raw {
                payload: State::PAYLOAD.into(),
                bytes: State::normalize(&file, id)?,
            }),
        }
    }

    fn store(
        &self,
        stack: &Stack<'_>,
        held: &Held,
        expected: Option<&Expected>,
        document: Raw,
        progress: &Progress,
    ) -> Result<Pushed, Failure> {
        let output = stack.context().output();
        let answer = |rev: &Revision, written| Pushed {
            stack: self.stack.clone(),
            revision: rev.to_string(),
            written,
        };
        let mut current = current(stack, expected)?;
        unfinished::commit(stack, held, "push")?;
        progress.step("comparing with the current snapshot");
        let run = match held.begin::<Raw>(stack, "push") {
            Ok(run) => {
                demand_expected(stack, expected, run.base().as_ref())?;
                // A first run's empty document is nothing to compare with.
                current = run.base().filter(|_| !stack.is_genesis(&run.state()));
                Some(run)
            }
            Err(error) => self.go_on_without_run(stack, error)?,
        };
        if let (Some(rev), Some(run)) = (&current, &run)
            && self.equals_current(stack, rev, &run.state(), &document)?
            && !self.force
        {
            // The last move may not be durable yet, because its flush may have failed. This one flushes it.
            let backend = stack.store().backend();
            backend.set_current(Expect::Revision(rev), rev, held.token())?;
            output.notice("nothing has changed, so nothing was stored: pass --force to store it anyway");
            return Ok(answer(rev, false));
        }
        if let Some(rev) = &current
            && run.is_some()
        {
            note_recipients(stack, rev)?;
        }
        if let Some(rev) = &current
            && run.is_none()
            && let Ok(header) = stack.store().header(rev)
        {
            output.warning(format_args!(
                "{rev} is {}: colleagues who have only such a key cannot open the new revision",
                sealed_for(&header)
            ));
        }
        // Nobody else can have changed anything under a lock that was held before this command began.
        if let Some(rev) = current
            .as_ref()
            .filter(|_| expected.is_none() && !held.is_joined())
        {
            output.warning(format_args!(
                "{rev} was current: without --expect, an edit that somebody made after your pull is overwritten"
            ));
        }
        warn_if_lost(stack, self.message.as_deref());
        progress.step(format!("storing {}", size(document.bytes.len() as u64)));
        let is_first_stack = current.is_none() && stack.is_place_empty()?;
        let message = self.message.clone();
        let stored = match run {
            Some(run) => run.save(document, message),
            None => save_without_run(stack, held, current.as_ref(), &document, message),
        };
        let rev = stored.map_err(
            |error| match error.revision().map(|rev| stack.store().header(rev)) {
                Some(Err(gone)) if gone.is_not_found() => error.into(),
                Some(Ok(header)) if header.is_genesis => error.into(),
                _ => after_storing(error),
            },
        )?;
        if current.is_none() {
            let place = stack.place().catalog.name();
            match is_first_stack {
                true => output.notice(format_args!(
                    "made a new store, {place}, with the first snapshot of {}",
                    stack.id()
                )),
                false => output.notice(format_args!(
                    "stored the first snapshot of {} in {place}",
                    stack.id()
                )),
            }
        }
        Ok(answer(&rev, true))
    }

    /// `None` if the push goes on although the current snapshot was not opened.
    fn go_on_without_run(&self, stack: &Stack<'_>, error: Error) -> Result<Option<Run<Raw>>, Failure> {
        // A push comes here only with `--expect none`.
        if matches!(error.kind(), ErrorKind::PointerLost { .. }) {
            return Ok(None);
        }
        match stack.explain(error) {
            failure if failure.is_about_keys() && self.new_key => Ok(None),
            failure if failure.is_about_keys() => Err(failure.extend_hint(
                "or pass --new-key: then this snapshot and later ones need the keys that you give now",
            )),
            failure => Err(failure),
        }
    }

    /// Whether the current document is the same. It is an error if it may not be followed by this one.
    fn equals_current(
        &self,
        stack: &Stack<'_>,
        rev: &Revision,
        current: &Raw,
        document: &Raw,
    ) -> Result<bool, Failure> {
        let payload = stack.payload_of(rev, current)?;
        if payload != document.payload && !self.force {
            let hint = match payload {
                State::PAYLOAD => "leave out --payload if the file is a snapshot".to_owned(),
                found => format!("pass --payload {found} if the file is such a document"),
            };
            let other = ErrorKind::OtherPayload {
                found: payload.into(),
            };
            return Err(Failure::from(Error::new(other, "another type"))
                .hint(hint)
                .extend_hint("--force stores a document of another type"));
        }
        if payload == document.payload && current.bytes == document.bytes {
            return Ok(true);
        }
        // A document of unobin that breaks a rule differs from this one, which breaks none.
        Ok(stack.is_of_unobin(rev)?
            && stack
                .canonical(
                    rev,
                    Raw {
                        payload: payload.into(),
                        bytes: current.bytes.clone(),
                    },
                )
                .is_ok_and(|current| current == *document))
    }
}

pub(super) fn demand_short(message: Option<&str>) -> Result<(), Failure> {
    match message.is_some_and(|text| text.len() > LONGEST_MESSAGE) {
        true => Err(Failure::usage(format!(
            "the message is longer than {LONGEST_MESSAGE} bytes: shorten it"
        ))),
        false => Ok(()),
    }
}

/// Warns that the message that the operator gave will not be kept.
pub(super) fn warn_if_lost(stack: &Stack<'_>, message: Option<&str>) {
    if message.is_some() && stack.keys().envelope() == EnvelopeVersion::V1 {
        let output = stack.context().output();
        output.warning("unobin's envelope version 1 keeps no message");
    }
}

/// The current revision, if it is the expected one.
fn current(stack: &Stack<'_>, expected: Option<&Expected>) -> Result<Option<Revision>, Failure> {
    let current = match stack.store().current() {
        Err(error) if matches!(error.kind(), ErrorKind::PointerLost { .. }) => {
            if expected != Some(&Expected(None)) {
                return Err(Failure::from(error)
                    .extend_hint("--expect none starts afresh: a tool then builds everything again"));
            }
            None
        }
        current => current?,
    };
    demand_expected(stack, expected, current.as_ref())?;
    Ok(current)
}

fn demand_expected(
    stack: &Stack<'_>,
    expected: Option<&Expected>,
    current: Option<&Revision>,
) -> Result<(), Error> {
    let is_genesis = |rev| stack.store().header(rev).is_ok_and(|header| header.is_genesis);
    match expected {
        // Nothing was built yet.
        Some(Expected(None)) if current.is_some_and(is_genesis) => Ok(()),
        Some(Expected(expected)) if expected.as_ref() != current => {
            Err(Error::current_moved(expected.clone(), current.cloned()))
        }
        _ => Ok(()),
    }
}

/// Says that a given key does not become a recipient: the recipients belong to the stack.
fn note_recipients(stack: &Stack<'_>, current: &Revision) -> Result<(), Failure> {
    let recipients = stack.store().recipients(current)?;
    if stack.keys().envelope() == EnvelopeVersion::V1 {
        warn_of_version_1(stack, &recipients);
        return Ok(());
    }
    let mut given = stack.ring().recipients().iter();
    if let Some(other) = given.find(|key| !recipients.iter().any(|one| one.is_same_key(key.recipient())))
        && !recipients.is_empty()
    {
        stack.context().output().notice(format_args!(
            "{id} stays sealed for its own recipients, and {} is none of them: `statectl key add {id} RECIPIENT` adds one",
            other.describe(),
            id = stack.id()
        ));
    }
    Ok(())
}

/// Says for whom a file of version 1, which has one key, is not sealed.
fn warn_of_version_1(stack: &Stack<'_>, recipients: &[Recipient]) {
    let mut given = stack.ring().recipients().iter();
    let first = given.find(|key| key.recipient().name == EnvKey::NAME);
    let is_given = |one: &&Recipient| first.is_some_and(|key| key.recipient().is_same_key(one));
    let others = recipients.iter().filter(|one| !is_given(one));
    let others: Vec<String> = others.map(Recipient::describe).collect();
    if !others.is_empty() {
        stack.context().output().warning(format_args!(
            "unobin's envelope version 1 has one key, so what is stored now does not open with {}",
            others.join(", ")
        ));
    }
}

/// Stores the document after `current`, which was not opened.
fn save_without_run(
    stack: &Stack<'_>,
    held: &Held,
    current: Option<&Revision>,
    document: &Raw,
    message: Option<String>,
) -> Result<Revision, Error> {
    let given = stack.ring().recipients().iter();
    let recipients: Vec<Recipient> = given.map(|key| key.recipient().clone()).collect();
    let store = stack.store().document::<Raw>().with_recipients(recipients);
    let rev = store.write(document, message)?;
    let moved = stack
        .store()
        .backend()
        .set_current(current.into(), &rev, held.token());
    moved.map_err(|error| error.at_revision(&rev))?;
    Ok(rev)
}

/// The file, up to the size that a store takes, and the progress of the command that begins with reading it.
pub(super) fn read(path: &Path) -> Result<(Vec<u8>, Progress), Failure> {
    let is_standard_input = path == Path::new("-");
    let name = match is_standard_input {
        true => "standard input".to_owned(),
        false => path.display().to_string(),
    };
    let cannot_read = |source: io::Error| Failure::io(format!("cannot read {name}"), &source);
    let reading = format!("reading {name}");
    // The progress must not overwrite what somebody types.
    let is_typed = is_standard_input && io::stdin().is_terminal();
    let progress = (!is_typed).then(|| Progress::of_steps(reading.as_str()));
    let bytes = match is_standard_input {
        true => read_up_to_limit(io::stdin().lock(), 0),
        false => File::open(path).and_then(|file| {
            let length = file.metadata()?.len();
            read_up_to_limit(file, length)
        }),
    }
    .map_err(cannot_read)?;
    if bytes.len() as u64 > DEFAULT_LIMIT {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("{name} is larger than the limit of {DEFAULT_LIMIT} bytes"),
        )
        .into());
    }
    let progress = progress.unwrap_or_else(|| Progress::of_steps(reading));
    progress.step("checking the snapshot");
    Ok((bytes, progress))
}

/// Lets the allocator reuse the memory of large documents. glibc gives a freed block back to the kernel, and every page of the
/// next one faults again, until it has seen a block of that size freed (mallopt(3), `M_MMAP_THRESHOLD`). Nothing is touched
/// here. A push of 10,000 entries has 5,400 page faults then instead of 6,700.
pub(super) fn keep_large_blocks() {
    drop(black_box(Vec::<u8>::with_capacity(LARGEST_KEPT_BLOCK)));
}

/// The bytes of `source`, at most one byte beyond the limit; `length` is the expected number.
fn read_up_to_limit(source: impl Read, length: u64) -> io::Result<Vec<u8>> {
    let capacity = length.min(DEFAULT_LIMIT) + 1;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(capacity).unwrap_or_default())?;
    source.take(DEFAULT_LIMIT + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The failure to move `current` to a stored snapshot, with a hint that says where the snapshot is.
pub(super) fn after_storing(error: Error) -> Failure {
    let stored = match (error.revision(), error.is_outcome_unknown()) {
        (None, _) => return error.into(),
        // The move may have been made, and only its flush have failed.
        (Some(rev), true) => format!("the snapshot is stored as {rev}, and may be current"),
        (Some(rev), false) => format!("the snapshot is stored as {rev}, which is not current"),
    };
    Failure::from(error).extend_hint(&stored)
}

impl Answer for Pushed {
    const KIND: &'static str = "pushed";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        writeln!(page, "{}", self.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last flush of a push fails after `current` has moved. The error used to say that it had not moved.
    #[test]
    fn hint_says_current_did_not_move_only_if_known() {
        let rev: Revision = "2026-07-10T12:00:00Z".parse().unwrap();
        for (kind, is_known) in [(ErrorKind::OutcomeUnknown, false), (ErrorKind::LockLost, true)] {
            let Failure::Told(told) = after_storing(Error::new(kind, "no").at_revision(&rev)) else {
                panic!("a failure that is told");
            };
            let hint = told.hint.unwrap();
            assert!(hint.contains("stored as 2026-07-10T12:00:00Z"), "{hint}");
            assert_eq!(hint.contains("is not current"), is_known, "{hint}");
        }
    }
}
