//! Changes for whom the revisions of a stack are sealed.

use crate::exit::{Failure, MISSING, USAGE};
use crate::held::{self, Held};
use crate::progress;
use crate::settings;
use crate::stack::Stack;
use sdk_state::encrypt::{Encrypter, Keyring, Recipient};
use sdk_state::{Depth, Error, ErrorKind, Raw, Revision, Store};
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What happens to the recipients of each revision.
pub(crate) enum Change {
    /// These are added.
    Add(Vec<Arc<dyn Encrypter>>),
    /// These are removed.
    Remove(Vec<Named>),
    /// All get the recipients that the current revision has.
    Renew,
}

/// A recipient as the operator names it.
pub(crate) struct Named {
    /// A fingerprint, a public key, a kind or a description.
    pub(crate) text: String,
    /// The recipient of the key, if the text says where that is.
    pub(crate) key: Option<Recipient>,
}

/// Which revisions are changed, and how deep.
pub(crate) struct Extent {
    pub(crate) depth: Depth,
    /// Only the current revision, and so every later one.
    pub(crate) from_now: bool,
}

/// What became of a stack.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Rekeyed {
    pub(crate) stack: String,
    /// For whom the current revision is sealed now.
    pub(crate) recipients: Vec<String>,
    pub(crate) added: Vec<String>,
    pub(crate) removed: Vec<Removed>,
    /// How many revisions were sealed anew, and how many were right already.
    pub(crate) changed: usize,
    pub(crate) unchanged: usize,
    /// Revisions that stay as they were.
    pub(crate) skipped: Vec<Skipped>,
}

/// A recipient that was removed.
#[derive(Serialize)]
pub(crate) struct Removed {
    pub(crate) recipient: String,
    /// Revisions that are still sealed for it.
    pub(crate) revisions: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Skipped {
    pub(crate) revision: String,
    /// For whom it says that it is sealed.
    pub(crate) sealed_for: Vec<String>,
    pub(crate) problem: String,
    /// The same as `sealed_for`; `None` if it cannot be read now, and may be sealed for anybody.
    #[serde(skip)]
    recipients: Option<Vec<Recipient>>,
}

/// The recipients before and after.
struct Plan {
    /// Of the current revision, and so of later ones.
    target: Vec<Recipient>,
    added: Vec<Recipient>,
    removed: Vec<Recipient>,
}

/// Changes the recipients of a stack, under its lock, and verifies each revision with the keys that are left.
///
/// The current revision comes first, so that whatever happens next is sealed for the new recipients. A revision that is right
/// already is left alone, so that the same command goes on where it was interrupted.
pub(crate) fn change(stack: &Stack<'_>, change: &Change, extent: &Extent) -> Result<Rekeyed, Failure> {
    let held = held::take(stack, "rekey")?;
    let rekeyed = change_under(&held, stack, change, extent)?;
    held.give_back_after_change(stack);
    Ok(rekeyed)
}

fn change_under(
    held: &Held,
    stack: &Stack<'_>,
    change: &Change,
    extent: &Extent,
) -> Result<Rekeyed, Failure> {
    let ring = ring_with(stack.ring(), change)?;
    let store = stack.store_with(ring.clone()).document::<Raw>();
    let run = store
        .join("rekey", held.token().clone())
        .map_err(|error| stack.explain_head(error))?;
    let current = run.base().ok_or_else(|| stack.no_current())?;
    let revisions = store.list()?;
    let plan = Plan::new(&store, &current, &revisions, change)?;
    let verifier = verifier(&store, &ring, &plan)?;
    // First, so that a repetition after an interruption finds what is left to do in the history.
    settings::reseal(stack, &ring, &plan.target, extent.depth);

    let change_one = |rev: &Revision| {
        let target = plan.target_of(&store, rev, change)?;
        let is_right = store.recipients(rev)? == target;
        if is_right && (extent.depth == Depth::Header || !matches!(change, Change::Renew)) {
            return Ok(false);
        }
        run.reseal(rev, &target, extent.depth)?;
        verify(&verifier, rev, &target, extent.depth)?;
        Ok(true)
    };
    // Without it, nothing after it would be right either.
    let is_changed = change_one(&current).map_err(|error| stack.explain(error))?;
    let (mut changed, mut skipped) = (usize::from(is_changed), Vec::new());
    let mut unchanged = usize::from(!is_changed);
    let mut seen = BTreeSet::from([current]);
    let mut others = || match extent.from_now {
        true => Ok(Vec::new()),
        false => {
            let newest_first = store.list()?.into_iter().rev();
            Ok::<Vec<_>, Error>(newest_first.filter(|rev| seen.insert(rev.clone())).collect())
        }
    };
    // Until nobody has written another one meanwhile, for which no lock is needed.
    loop {
        let others = others()?;
        if others.is_empty() {
            break;
        }
        for (rev, result) in progress::each("revisions", others, |rev| {
            let result = change_one(&rev);
            (rev, result)
        }) {
            match result {
                Ok(true) => changed += 1,
                Ok(false) => unchanged += 1,
                // Somebody deleted it. If it exists, another process under the same lock has replaced it.
                Err(error) if error.is_not_found() && is_gone(&store, &rev) => {}
                Err(error) if error.is_lock_lost() => return Err(stack.explain(error)),
                Err(error) => skipped.push(Skipped::new(&store, &rev, &error)),
            }
        }
    }
    run.finish(None)?;
    Ok(Rekeyed {
        stack: stack.id().to_string(),
        recipients: described(&plan.target),
        added: described(&plan.added),
        removed: plan
            .removed
            .iter()
            .map(|recipient| Removed::new(recipient, &skipped))
            .collect(),
        changed,
        unchanged,
        skipped,
    })
}

impl Plan {
    fn new(
        store: &Store<Raw>,
        current: &Revision,
        revisions: &[Revision],
        change: &Change,
    ) -> Result<Self, Failure> {
        let mut target = store.recipients(current)?;
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        if target.is_empty() {
            return Err(Failure::new(
                USAGE,
                "usage",
                format!(
                    "{} is not encrypted, or unobin wrote it: it has no recipients",
                    store.id()
                ),
            )
            .hint(
                "`statectl push STACK FILE --new-key` seals the next revisions for the keys that you give",
            ));
        }
        match change {
            Change::Renew => {}
            Change::Add(keys) => {
                added = keys
                    .iter()
                    .map(|key| recipient_of(&**key, &target).unwrap_or_else(|| key.recipient().clone()))
                    .collect();
                add(&mut target, &added);
            }
            Change::Remove(names) => {
                let known = known(store, revisions);
                for name in names {
                    // A header that nothing authenticates must not make the name of a recipient ambiguous.
                    let is_here = target.iter().any(|recipient| name.names(recipient));
                    removed.push(name.find(store, if is_here { &target } else { &known })?);
                }
                remove(&mut target, &removed);
                if target.is_empty() {
                    return Err(Failure::usage(format!(
                        "this would remove the last recipient, and nobody could open {} any more",
                        store.id()
                    ))
                    .hint("add the new key first: `statectl key add STACK RECIPIENT`"));
                }
            }
        }
        if target.len() > Keyring::MAX_RECIPIENTS {
            return Err(Failure::usage(format!(
                "a stack has at most {} recipients",
                Keyring::MAX_RECIPIENTS
            )));
        }
        Ok(Self {
            target,
            added,
            removed,
        })
    }

    /// The recipients that one revision gets.
    fn target_of(
        &self,
        store: &Store<Raw>,
        rev: &Revision,
        change: &Change,
    ) -> Result<Vec<Recipient>, Error> {
        let mut target = store.recipients(rev)?;
        if target.is_empty() {
            let message = "it was written by unobin, or not encrypted, and has no recipients";
            return Err(Error::new(ErrorKind::Unsupported, message).at_revision(rev));
        }
        match change {
            Change::Renew => target.clear(),
            Change::Add(_) => add(&mut target, &self.added),
            Change::Remove(_) => remove(&mut target, &self.removed),
        }
        if target.is_empty() {
            target.clone_from(&self.target);
        }
        Ok(target)
    }
}

impl Removed {
    /// What was not skipped is no longer sealed for it.
    fn new(recipient: &Recipient, skipped: &[Skipped]) -> Self {
        let may_open = |skipped: &&Skipped| match &skipped.recipients {
            Some(recipients) => recipients.iter().any(|one| one.is_same_key(recipient)),
            None => true,
        };
        let revisions = skipped.iter().filter(may_open);
        Self {
            revisions: revisions.map(|skipped| skipped.revision.clone()).collect(),
            recipient: recipient.describe(),
        }
    }
}

impl Skipped {
    fn new(store: &Store<Raw>, rev: &Revision, error: &Error) -> Self {
        let recipients = match store.header(rev) {
            Ok(header) => Some(header.recipients),
            Err(error) if error.is_damaged() => Some(Vec::new()),
            Err(_) => None,
        };
        Self {
            revision: rev.to_string(),
            sealed_for: described(recipients.as_deref().unwrap_or_default()),
            problem: error.to_string(),
            recipients,
        }
    }
}

fn is_gone(store: &Store<Raw>, rev: &Revision) -> bool {
    store.header(rev).is_err_and(|error| error.is_not_found())
}

/// The recipient that stands for the key already. A passphrase would get another salt each time that it is added.
fn recipient_of(key: &dyn Encrypter, recipients: &[Recipient]) -> Option<Recipient> {
    let nothing_secret = [0; 32];
    let mut recipients = recipients.iter();
    let found = recipients.find(|one| matches!(key.wrap(one, &nothing_secret, &[]), Ok(Some(_))));
    found.cloned()
}

/// The given keys, and those that are added, since they may be needed to wrap.
fn ring_with(ring: &Keyring, change: &Change) -> Result<Keyring, Failure> {
    let mut ring = ring.clone();
    if let Change::Add(keys) = change {
        for key in keys {
            ring = ring.also_open(Arc::clone(key))?;
        }
    }
    Ok(ring)
}

/// A store that opens with the given keys that stay recipients, and with nothing else.
fn verifier(store: &Store<Raw>, ring: &Keyring, plan: &Plan) -> Result<Store<Raw>, Failure> {
    let left = ring.openers().iter().filter(|key| {
        plan.target
            .iter()
            .any(|recipient| recipient.is_same_key(key.recipient()))
    });
    let mut left = left.cloned();
    let Some(first) = left.next() else {
        return Err(Failure::new(
            USAGE,
            "usage",
            format!(
                "none of the given keys would open {} afterwards, so nobody could verify the change",
                store.id()
            ),
        )
        .hint("also give a key that stays, with --also-open"));
    };
    let ring = left.try_fold(Keyring::from(first), Keyring::also_open)?;
    Ok(store.clone().with_keys(ring))
}

/// Reads what was sealed anew, with the keys that are left alone.
fn verify(verifier: &Store<Raw>, rev: &Revision, target: &[Recipient], depth: Depth) -> Result<(), Error> {
    if verifier.recipients(rev)? != target {
        let message = "its recipients are not those that were just written: somebody else has changed them";
        return Err(Error::new(ErrorKind::Damaged, message).at_revision(rev));
    }
    match depth {
        Depth::Header => Ok(()),
        Depth::Body => verifier.get(rev).map(drop),
    }
}

fn add(recipients: &mut Vec<Recipient>, added: &[Recipient]) {
    for one in added {
        if !recipients.iter().any(|recipient| recipient.is_same_key(one)) {
            recipients.push(one.clone());
        }
    }
}

fn remove(recipients: &mut Vec<Recipient>, removed: &[Recipient]) {
    recipients.retain(|recipient| !removed.iter().any(|one| one.is_same_key(recipient)));
}

/// Every recipient that some revision names.
fn known(store: &Store<Raw>, revisions: &[Revision]) -> Vec<Recipient> {
    let mut known = Vec::new();
    for rev in revisions {
        if let Ok(header) = store.header(rev) {
            add(&mut known, &header.recipients);
        }
    }
    known
}

impl Named {
    /// The one among `known` that it names. The text is not repeated in an error: it may be a key.
    fn find(&self, store: &Store<Raw>, known: &[Recipient]) -> Result<Recipient, Failure> {
        let found: Vec<&Recipient> = known.iter().filter(|recipient| self.names(recipient)).collect();
        match found[..] {
            [one] => Ok(one.clone()),
            [] => Err(Failure::new(
                MISSING,
                "not-found",
                format!(
                    "no revision of {} is sealed for such a recipient, but for {}",
                    store.id(),
                    described(known).join(", ")
                ),
            )
            .hint("name a recipient by its fingerprint or public key: `statectl key list STACK` shows them")
            .extend_hint(
                "if it was removed without --deep, `statectl rekey STACK --deep` draws new data keys",
            )),
            _ => Err(Failure::usage(format!(
                "this names {} recipients of {}: {}",
                found.len(),
                store.id(),
                found
                    .iter()
                    .map(|one| one.describe())
                    .collect::<Vec<_>>()
                    .join(", ")
            ))
            .hint("name one by its fingerprint or public key")),
        }
    }

    fn names(&self, recipient: &Recipient) -> bool {
        match &self.key {
            Some(key) => key.is_same_key(recipient),
            None => {
                let text = Some(self.text.as_str());
                recipient.fingerprint() == text
                    || recipient.body.text("public-key") == text
                    || recipient.name == self.text
                    || recipient.describe() == self.text
            }
        }
    }
}

fn described(recipients: &[Recipient]) -> Vec<String> {
    recipients.iter().map(Recipient::describe).collect()
}
