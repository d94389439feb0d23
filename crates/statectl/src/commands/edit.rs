use super::pull::json_of;
use super::push::{after_storing, demand_short, read, warn_if_lost};
use crate::editor::{Draft, Editor};
use crate::exit::{Failure, INVALID};
use crate::held;
use crate::output::Answer;
use crate::progress::Progress;
use crate::stack::{Context, Stack};
use crate::unfinished;
use clap::Args;
use sdk_state::{Error, Raw, Revision, Snapshot as _, State};
use serde::Serialize;
use std::io::{self, IsTerminal as _, Write as _};

/// Edit the current snapshot in your editor; print the revision that is current then
///
/// VISUAL, or else EDITOR, names the editor and its arguments, such as 'code --wait'. It gets a private file with the snapshot as JSON, secrets included,
/// which is removed afterwards. What you save is checked, and becomes current if nobody has changed the stack meanwhile: the lock
/// is not held while the editor is open. If it cannot be stored, the file stays, and the error says where. A dead run's
/// unfinished changes are committed first, as a revision.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl edit network/prod -m 'port 443'")]
pub(crate) struct Edit {
    /// FACTORY/STACK
    pub(super) stack: String,
    /// Why, for the history; stored unencrypted
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Edited {
    stack: String,
    revision: String,
    /// False if the document is as it was.
    written: bool,
}

/// What is edited.
struct Base {
    revision: Revision,
    /// As this project lays it out.
    document: Raw,
}

impl Edit {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        demand_short(self.message.as_deref())?;
        let editor = Editor::of_environment()?;
        let stack = context.readable(&self.stack, None)?;
        stack.demand_snapshot()?;
        let base = base(&stack)?;
        let draft = base.draft(&stack)?;
        let output = context.output();
        output.notice(format_args!(
            "editing {} in {}, which is removed afterwards",
            base.revision,
            draft.path().display()
        ));
        let bytes = loop {
            editor.edit(draft.path())?;
            match checked(&stack, &draft) {
                Ok(bytes) => break bytes,
                Err(failure) if !io::stdin().is_terminal() => {
                    return Err(draft.keep(failure.extend_hint(&base.how_to_go_on())));
                }
                Err(failure) => output.failure(&failure),
            }
            if !matches!(output.ask("edit it again?"), Ok(true)) {
                let message = "the edited document is not valid, so nothing was stored";
                let failure = Failure::new(INVALID, "invalid-snapshot", message);
                return Err(draft.keep(failure.hint(base.how_to_go_on())));
            }
        };
        if bytes == base.document.bytes {
            output.notice("nothing has changed, so nothing was stored");
            drop(draft);
            return self.answer(context, &base.revision, false);
        }
        let rev = match self.store(&stack, &base, bytes) {
            Ok(rev) => rev,
            Err(failure) => return Err(draft.keep(failure)),
        };
        drop(draft);
        self.answer(context, &rev, true)
    }

    /// Stores what was edited, if what it was made from is still current.
    fn store(&self, stack: &Stack<'_>, base: &Base, bytes: Vec<u8>) -> Result<Revision, Failure> {
        let held = held::take(stack, "edit")?;
        let _progress = Progress::of_steps("storing the edited snapshot");
        unfinished::commit(stack, &held, "edit")?;
        let run = held
            .begin::<Raw>(stack, "edit")
            .map_err(|error| stack.explain_head(error))?;
        if run.base().as_ref() != Some(&base.revision) {
            let moved = Error::current_moved(Some(base.revision.clone()), run.base());
            return Err(Failure::from(moved).hint(
                "somebody changed the stack while you were editing: repeat your edit with `statectl edit STACK`",
            ));
        }
        warn_if_lost(stack, self.message.as_deref());
        let document = Raw {
            payload: State::PAYLOAD.into(),
            bytes,
        };
        let message = self.message.clone().unwrap_or_else(|| "edited".into());
        let rev = run.save(document, message).map_err(after_storing)?;
        drop(run);
        held.give_back_after_change(stack);
        Ok(rev)
    }

    fn answer(&self, context: &Context, rev: &Revision, written: bool) -> Result<(), Failure> {
        context.output().answer(&Edited {
            stack: self.stack.clone(),
            revision: rev.to_string(),
            written,
        })
    }
}

/// The current document, after a dead run's changes were committed. It is an error if somebody else is changing the stack: then the
/// edit would be in vain.
fn base(stack: &Stack<'_>) -> Result<Base, Failure> {
    let held = held::take(stack, "edit")?;
    let _progress = Progress::of_steps("reading the snapshot");
    unfinished::commit(stack, &held, "edit")?;
    let found = stack.document(None)?;
    held.give_back(stack);
    Ok(Base {
        document: stack.canonical(&found.revision, found.document)?,
        revision: found.revision,
    })
}

impl Base {
    fn draft(&self, stack: &Stack<'_>) -> Result<Draft, Failure> {
        let json = json_of(self.document.clone())
            .map_err(|error| stack.explain(error.at_revision(&self.revision)))?;
        let mut text = json.to_indented();
        text.push('\n');
        Draft::new(text.as_bytes())
    }

    fn how_to_go_on(&self) -> String {
        format!(
            "correct the file and store it with `statectl push STACK FILE --expect {}`",
            self.revision
        )
    }
}

/// The document that the file holds now, in the layout of this project.
fn checked(stack: &Stack<'_>, draft: &Draft) -> Result<Vec<u8>, Failure> {
    let (bytes, _progress) = read(draft.path())?;
    State::normalize(&bytes, stack.id()).map_err(|error| Failure::from(error).hint("nothing was stored"))
}

impl Answer for Edited {
    const KIND: &'static str = "edited";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        writeln!(page, "{}", self.revision)
    }
}
