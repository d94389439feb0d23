//! What operators note about a stack's revisions: pins, the trash, and which revisions to keep.
//!
//! They are a document of their own in a stack of their own, `FACTORY/STACK+settings`, of which only the last revision stays.
//! `docs/architecture.md` says why.

use crate::exit::{Failure, INVALID, USAGE};
use crate::held::Held;
use crate::place::Place;
use crate::rules::Rules;
use crate::stack::Stack;
use sdk_state::encrypt::{Keyring, Noop, Recipient};
use sdk_state::{
    Depth, Error, ErrorKind, NoChange, Revision, Run, Snapshot, StackId, Store, Wait, WriteOptions,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// Ends the name of a stack that holds the settings of another one.
const SUFFIX: &str = "+settings";

/// Only commands under one `statectl lock` meet here, and each is done within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// The settings of a stack. Revisions are named as texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) pins: BTreeMap<String, Pin>,
    pub(crate) trash: BTreeMap<String, Trashed>,
    /// The rules of a `prune` that is given none.
    pub(crate) policy: Option<Rules>,
}

/// Why a revision must stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Pin {
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) since: OffsetDateTime,
    pub(crate) author: Option<String>,
    pub(crate) message: Option<String>,
}

/// Since when a revision is in the trash.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Trashed {
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) since: OffsetDateTime,
}

/// The settings of a stack, which nobody else changes meanwhile.
pub(crate) struct Editor {
    run: Run<Settings>,
    store: Store<Settings>,
    stored: Arc<Settings>,
    pub(crate) settings: Settings,
}

impl Snapshot for Settings {
    const PAYLOAD: &'static str = "statectl-settings.v1";
    type Change = NoChange;

    fn fresh(_: &StackId) -> Self {
        Self::default()
    }

    fn encode(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(self).map_err(|error| invalid("the settings cannot be written as JSON", error))
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let settings: Self =
            serde_json::from_slice(bytes).map_err(|error| invalid("these are no valid settings", error))?;
        match settings.policy.as_ref().is_some_and(Rules::is_empty) {
            true => Err(Error::new(
                ErrorKind::InvalidSnapshot,
                "these are no valid settings: their policy has no rule",
            )),
            false => Ok(settings),
        }
    }
}

fn invalid(what: &str, error: serde_json::Error) -> Error {
    Error::new(ErrorKind::InvalidSnapshot, what).with_source(error)
}

impl Settings {
    /// Reads the settings of a stack. Settings that cannot be opened are an error: pins must not be overlooked.
    pub(crate) fn of(stack: &Stack<'_>) -> Result<Self, Failure> {
        let Some(store) = store_of(stack)? else {
            return Ok(Self::default());
        };
        let head = store.head().map_err(|error| explain(&store, error))?;
        Ok(head.map_or_else(Self::default, |head| head.document))
    }

    /// Whether a stack has settings.
    pub(crate) fn exist(stack: &Stack<'_>) -> Result<bool, Failure> {
        let Some(store) = store_of(stack)? else {
            return Ok(false);
        };
        let current = store.current().map_err(|error| explain(&store, error))?;
        Ok(current.is_some())
    }

    pub(crate) fn pin(&self, rev: &Revision) -> Option<&Pin> {
        self.pins.get(&rev.to_string())
    }

    pub(crate) fn trashed(&self, rev: &Revision) -> Option<OffsetDateTime> {
        Some(self.trash.get(&rev.to_string())?.since)
    }

    pub(crate) fn put_in_trash(&mut self, rev: &Revision, now: OffsetDateTime) {
        self.trash.insert(rev.to_string(), Trashed { since: now });
    }

    pub(crate) fn take_out(&mut self, rev: &Revision) {
        self.trash.remove(&rev.to_string());
    }

    /// Drops the marks of revisions that do not exist: somebody deleted them, or was killed between both steps of a removal.
    pub(crate) fn retain(&mut self, stored: &[Revision]) {
        let stored: BTreeSet<String> = stored.iter().map(Revision::to_string).collect();
        self.pins.retain(|rev, _| stored.contains(rev));
        self.trash.retain(|rev, _| stored.contains(rev));
    }
}

impl Pin {
    /// Whose it is, and why.
    pub(crate) fn describe(&self) -> String {
        let by = self.author.as_ref().map(|author| format!(" by {author}"));
        let why = self.message.as_ref().map(|message| format!(": {message}"));
        format!("pinned{}{}", by.unwrap_or_default(), why.unwrap_or_default())
    }
}

impl Editor {
    /// Begins to change the settings, under the lock of the stack. Makes the stack of the settings if there is none.
    pub(crate) fn begin(stack: &Stack<'_>, _held: &Held, operation: &str) -> Result<Self, Failure> {
        let store = store_of(stack)?.ok_or_else(|| {
            let longest = StackId::MAX_NAME_BYTES - SUFFIX.len();
            let message = format!(
                "the name of {} is too long: pins, the trash and a policy need one of at most {longest} bytes",
                stack.id()
            );
            Failure::new(INVALID, "invalid-name", message)
        })?;
        // Whoever reads the stack reads its settings.
        let recipients = stack.store().recipients(&stack.current()?)?;
        let store = match recipients.is_empty() {
            true => store,
            false => store.with_recipients(recipients),
        };
        let wait = Wait::at_most(stack.context().options().wait.max(PATIENCE));
        let run = store
            .begin(operation, wait)
            .map_err(|error| explain(&store, error))?;
        let stored = run.state();
        Ok(Self {
            settings: (*stored).clone(),
            run,
            store,
            stored,
        })
    }

    /// Stores the settings if they have changed, and removes what they replace.
    pub(crate) fn save(&mut self, message: &str) -> Result<(), Failure> {
        let changed = self.settings != *self.stored;
        let saved = match changed {
            true => Some(self.run.save(self.settings.clone(), message)),
            false => self.run.base().map(Ok),
        };
        let Some(saved) = saved.transpose().map_err(|error| explain(&self.store, error))? else {
            return Ok(());
        };
        self.stored = self.run.state();
        for old in self.store.list()?.iter().filter(|old| **old != saved) {
            self.run
                .delete(old)
                .map_err(|error| explain(&self.store, error))?;
        }
        Ok(())
    }

    /// Stores the settings and unlocks them.
    pub(crate) fn finish(mut self, message: &str) -> Result<(), Failure> {
        self.save(message)?;
        self.run
            .finish(WriteOptions::default())
            .map_err(|error| explain(&self.store, error))?;
        Ok(())
    }
}

/// Seals the settings of a stack for its new recipients, with keys that open both. A failure is a warning: broken settings must not
/// keep a stolen key among the recipients of the stack.
pub(crate) fn reseal(stack: &Stack<'_>, keys: &Keyring, recipients: &[Recipient], depth: Depth) {
    let resealed = match store_of(stack) {
        Ok(Some(store)) => reseal_in(&store.with_keys(keys.clone()), recipients, depth),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = resealed {
        let id = stack.id();
        let output = stack.context().output();
        output.warning(format_args!("{id}{SUFFIX} stays sealed as it was: {error}"));
    }
}

fn reseal_in(store: &Store<Settings>, recipients: &[Recipient], depth: Depth) -> Result<(), Error> {
    if store.current()?.is_none() {
        return Ok(());
    }
    let run = store.begin("rekey", PATIENCE)?;
    for rev in store.list()? {
        run.reseal(&rev, recipients, depth)?;
    }
    run.finish(WriteOptions::default()).map(drop)
}

/// The stack whose settings a stack of this name would hold.
pub(crate) fn owner_of(id: &StackId) -> Option<StackId> {
    let owner = id.stack().strip_suffix(SUFFIX)?;
    StackId::new(id.factory(), owner).ok()
}

/// The name of the stack with the settings of this one. A name that is too long has none.
pub(crate) fn id_for(id: &StackId) -> Result<StackId, Error> {
    StackId::new(id.factory(), &format!("{}{SUFFIX}", id.stack()))
}

/// The store of a stack's settings, whether they exist or not. `None` if the stack's name is too long to have any.
fn store_of(stack: &Stack<'_>) -> Result<Option<Store<Settings>>, Error> {
    match id_for(stack.id()) {
        Ok(id) => Ok(Some(stack.sibling(&id)?.document())),
        Err(_) => Ok(None),
    }
}

/// A failure that names the stack of the settings, in its hint too.
fn explain(store: &Store<Settings>, error: Error) -> Failure {
    let id = store.id().to_string();
    let holds = format!("{id} holds the pins, the trash and the policy of the stack");
    match error.kind() {
        // The recipient is one of the stack itself.
        ErrorKind::MissingKey { .. } => error.into(),
        ErrorKind::OtherPayload { .. } => Failure::from(error).hint(format!(
            "a stack of this name holds the pins, the trash and the policy of another one: give {id} another name"
        )),
        _ => Failure::from(error).about(Some(&id)).extend_hint(&holds),
    }
}

/// Fails if the stack holds the settings of another one, which no retention applies to.
pub(crate) fn demand_none(stack: &Stack<'_>) -> Result<(), Failure> {
    match owner_of(stack.id()) {
        Some(owner) if is_of_settings(stack.store()) => Err(Failure::new(
            USAGE,
            "usage",
            format!("{} holds the settings of {owner}", stack.id()),
        )
        .hint(format!("name {owner} instead"))),
        _ => Ok(()),
    }
}

/// Every stack of the place but those that hold the settings of another one that exists.
pub(crate) fn stacks_without_settings(place: &Place) -> Result<Vec<StackId>, Error> {
    let ids = place.catalog.stacks()?;
    let mut without = Vec::new();
    for id in &ids {
        let is_hidden = owner_of(id).is_some_and(|owner| ids.contains(&owner))
            && is_of_settings(&Store::new(place.catalog.open(id)?, Noop));
        if !is_hidden {
            without.push(id.clone());
        }
    }
    Ok(without)
}

/// The stack that holds the settings of this one, as far as its newest header says; an emptied one too.
pub(crate) fn beside(place: &Place, id: &StackId) -> Result<Option<StackId>, Error> {
    let Ok(settings) = id_for(id) else {
        return Ok(None);
    };
    let exist = place.catalog.stacks()?.contains(&settings)
        && is_of_settings(&Store::new(place.catalog.open(&settings)?, Noop));
    Ok(exist.then_some(settings))
}

/// Whether the stack holds settings, as far as its newest header says, or nothing yet.
fn is_of_settings(store: &Store) -> bool {
    match store.list().map(|mut revisions| revisions.pop()) {
        Ok(Some(newest)) => store
            .header(&newest)
            .is_ok_and(|header| header.payload.as_deref() == Some(Settings::PAYLOAD)),
        Ok(None) => true,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is stored today must stay readable, and an older program must not overlook what a newer one adds.
    #[test]
    fn document_is_read_back_and_nothing_in_it_is_overlooked() {
        let text = r#"{"pins":{"2026-07-10T12:00:00Z":{"since":"2026-07-11T12:00:00Z","author":"alice","message":"audit"}},"trash":{"2026-07-09T12:00:00Z":{"since":"2026-07-11T12:00:00Z"}},"policy":{"keep-last":3,"keep-within":"30days"}}"#;
        let settings = Settings::decode(text.as_bytes()).unwrap();
        assert_eq!(settings.encode().unwrap(), text.as_bytes());
        assert_eq!(
            settings.pins["2026-07-10T12:00:00Z"].describe(),
            "pinned by alice: audit"
        );
        for bad in [
            text.replace("keep-last", "keep-best"),
            text.replace("\"author\"", "\"until\""),
            text.replace(r#"{"keep-last":3,"keep-within":"30days"}"#, "{}"),
            text.replace("\"trash\"", "\"bin\""),
        ] {
            let error = Settings::decode(bad.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::InvalidSnapshot, "{bad}");
        }
    }

    #[test]
    fn marks_of_revisions_that_are_gone_are_dropped() {
        let text = r#"{"pins":{"a":{"since":"2026-07-11T12:00:00Z","author":null,"message":null}},"trash":{"b":{"since":"2026-07-11T12:00:00Z"}},"policy":null}"#;
        let mut settings = Settings::decode(text.as_bytes()).unwrap();
        settings.retain(&["b".parse().unwrap()]);
        assert!(settings.pins.is_empty() && settings.trashed(&"b".parse().unwrap()).is_some());
        settings.retain(&[]);
        assert_eq!(settings, Settings::default());
    }
}
