//! What is to become of the revisions of a stack, and how it is done.

use crate::exit::Failure;
use crate::progress;
use crate::retention::{Dated, Fate, Parent, Reason, Stored, TRASH_TIME, Trash, fate, reasons};
use crate::rules::Rules;
use crate::settings::{Editor, Pin, Settings};
use crate::stack::Stack;
use crate::text::{plain, whole_seconds};
use sdk_state::{Error, ErrorKind, Raw, Revision, Run, Store};
use serde::Serialize;
use std::collections::BTreeSet;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// One revision, and what is to become of it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Row {
    pub(crate) revision: String,
    pub(crate) fate: Fate,
    reasons: Vec<Reason>,
    /// When it leaves the trash for good.
    removed_after: Option<String>,
    pin: Option<Pin>,
    /// What is wrong with its header.
    problem: Option<String>,
    #[serde(skip)]
    pub(crate) name: Revision,
    #[serde(skip)]
    pub(crate) time: Option<OffsetDateTime>,
    #[serde(skip)]
    pub(crate) is_current: bool,
}

/// The revisions of a stack, oldest first, and what is wrong with the header of each.
pub(crate) struct History {
    stored: Vec<Stored>,
    problems: Vec<Option<String>>,
}

/// One stack, and what is to become of its revisions.
pub(crate) struct Plan {
    pub(crate) current: Revision,
    pub(crate) rules: Rules,
    pub(crate) rows: Vec<Row>,
}

impl History {
    pub(crate) fn read(stack: &Stack<'_>) -> Result<Self, Failure> {
        let revisions = stack.store().list()?;
        let read = progress::each("revisions", revisions, |rev| Self::look_at(stack.store(), rev));
        let read: Vec<_> = read.into_iter().collect::<Result<_, Error>>()?;
        let (stored, problems) = read.into_iter().flatten().unzip();
        Ok(Self { stored, problems })
    }

    /// `None` if somebody has deleted it meanwhile. It is an error if the backend cannot read it now.
    fn look_at(store: &Store, revision: Revision) -> Result<Option<(Stored, Option<String>)>, Error> {
        let (header, problem) = match store.header(&revision) {
            Ok(header) => {
                let is_elsewhere = header.stack.is_some_and(|stack| stack != store.id().to_string())
                    || header.revision.is_some_and(|name| name != revision.to_string());
                match is_elsewhere {
                    true => (None, Some("it was sealed for another stack or revision".into())),
                    false => (
                        Some(Dated {
                            time: header.written_at.or(revision.time()),
                            parent: match (header.parent, header.version) {
                                (Some(parent), _) => Parent::Of(parent),
                                (None, 1) => Parent::Unknown,
                                (None, _) => Parent::None,
                            },
                        }),
                        None,
                    ),
                }
            }
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Io) => {
                return Err(error);
            }
            Err(error) => (None, Some(error.to_string())),
        };
        Ok(Some((Stored { revision, header }, problem)))
    }
}

impl Plan {
    pub(crate) fn new(
        history: &History,
        current: &Revision,
        settings: &Settings,
        rules: Rules,
        trash: Trash,
        now: OffsetDateTime,
    ) -> Self {
        let pins: BTreeSet<Revision> = history
            .stored
            .iter()
            .filter(|stored| settings.pin(&stored.revision).is_some())
            .map(|stored| stored.revision.clone())
            .collect();
        let reasons = reasons(&history.stored, current, &pins, &rules, now);
        let rows = history.stored.iter().zip(&history.problems).zip(reasons);
        let rows = rows.map(|((stored, problem), reasons)| {
            let rev = &stored.revision;
            let trashed = settings.trashed(rev);
            let fate = fate(&reasons, trashed, trash, now);
            let leaves = match fate {
                Fate::Trashed => Some(whole_seconds(now)),
                Fate::InTrash => trashed,
                Fate::Kept | Fate::Removed => None,
            };
            Row {
                revision: rev.to_string(),
                fate,
                reasons,
                removed_after: leaves.and_then(|since| since.checked_add(TRASH_TIME)?.format(&Rfc3339).ok()),
                pin: settings.pin(rev).cloned(),
                problem: problem.clone(),
                time: stored
                    .header
                    .as_ref()
                    .and_then(|header| header.time)
                    .or(rev.time()),
                is_current: rev == current,
                name: rev.clone(),
            }
        });
        Self {
            current: current.clone(),
            rows: rows.collect(),
            rules,
        }
    }

    /// Keeps what nobody has agreed to lose.
    pub(crate) fn spare_all_but(&mut self, agreed: &BTreeSet<Revision>, settings: &Settings) {
        for row in self
            .rows
            .iter_mut()
            .filter(|row| row.goes() && !agreed.contains(&row.name))
        {
            row.fate = match settings.trashed(&row.name) {
                Some(_) => Fate::InTrash,
                None => Fate::Kept,
            };
            row.reasons = vec![Reason::NotShown];
            row.removed_after = None;
        }
    }

    /// Marks what goes to the trash and removes the rest, oldest first, the file before its mark: whoever is killed on the way
    /// leaves a mark of nothing, which the next change of the settings drops.
    pub(crate) fn carry_out(
        &self,
        stack: &Stack<'_>,
        run: &Run<Raw>,
        mut editor: Option<Editor>,
        now: OffsetDateTime,
    ) -> Result<(), Failure> {
        if let Some(editor) = &mut editor {
            for row in &self.rows {
                match row.fate {
                    Fate::Kept => editor.settings.take_out(&row.name),
                    Fate::Trashed => editor.settings.put_in_trash(&row.name, whole_seconds(now)),
                    Fate::InTrash | Fate::Removed => {}
                }
            }
            editor.save("prune")?;
        }
        let removed: Vec<&Row> = self.rows.iter().filter(|row| row.fate == Fate::Removed).collect();
        let mut failed = false;
        let results = progress::each("revisions removed", removed, |row| match failed {
            true => Ok(()),
            false => run.delete(&row.name).inspect_err(|_| failed = true),
        });
        results.into_iter().collect::<Result<(), Error>>()?;
        if let Some(mut editor) = editor {
            editor.settings.retain(&stack.store().list()?);
            editor.finish("prune")?;
        }
        Ok(())
    }
}

impl Row {
    /// Whether it can no longer be found afterwards as it was before.
    pub(crate) fn goes(&self) -> bool {
        matches!(self.fate, Fate::Trashed | Fate::Removed)
    }

    pub(crate) fn in_words(&self) -> &'static str {
        match self.fate {
            Fate::Kept => "kept",
            Fate::Trashed => "to the trash",
            Fate::InTrash => "in the trash",
            Fate::Removed => "removed",
        }
    }

    pub(crate) fn why(&self) -> String {
        if let Some(after) = &self.removed_after {
            return format!("until {after}");
        }
        if self.fate == Fate::Removed {
            return "no rule keeps it".into();
        }
        let reasons = self
            .reasons
            .iter()
            .map(|reason| match (reason, &self.pin, &self.problem) {
                (Reason::Pinned, Some(pin), _) => plain(&pin.describe()),
                (Reason::Unreadable, _, Some(problem)) => plain(&format!("unreadable: {problem}")),
                _ => reason.to_string(),
            });
        reasons.collect::<Vec<_>>().join(", ")
    }
}
