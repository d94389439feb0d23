//! `mv` and `rm`: what the state calls its entries, and which it has. The infrastructure stays as it is.

use super::entries::no_entry;
use super::push::{after_storing, demand_short, warn_if_lost};
use crate::exit::{FAILED, Failure};
use crate::held;
use crate::output::Answer;
use crate::progress::Progress;
use crate::stack::Context;
use crate::unfinished;
use clap::Args;
use sdk_state::{Entry, Revision, State};
use serde::Serialize;
use std::collections::HashSet;
use std::io::{self, Write as _};
use std::mem;

/// So many addresses are named in a sentence.
const MOST_NAMED: usize = 10;

/// Move an entry to another address; print the new revision
///
/// Whatever depends on the entry depends on the new address then. Nothing in the infrastructure is changed: do the same in the
/// factory, or its next run makes the thing anew. A dead run's unfinished changes are committed first, as a revision.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    statectl mv network/prod resource.db resource.database -m 'renamed in the factory'")]
pub(crate) struct Mv {
    /// FACTORY/STACK
    pub(super) stack: String,
    /// The entry's address
    from: String,
    /// Its new address, which no entry may have
    to: String,
    /// Why, for the history; stored unencrypted
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Moved {
    stack: String,
    revision: String,
    from: String,
    to: String,
    /// The entries that depend on it.
    dependents: Vec<String>,
}

impl Mv {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        if self.to.is_empty() {
            return Err(Failure::usage("the new address is empty"));
        }
        if self.from == self.to {
            return Err(Failure::usage("the two addresses are the same"));
        }
        let change = Change {
            stack: &self.stack,
            operation: "mv",
            message: self.message.as_deref(),
            default_message: "moved an entry".into(),
        };
        let (rev, dependents) = change.store(context, |base, state| {
            if state.find(&self.from).is_none() {
                return Err(no_entry(&self.stack, &self.from, base, state));
            }
            if state.find(&self.to).is_some() {
                let message = format!("{} already has an entry {:?}", self.stack, self.to);
                return Err(Failure::new(FAILED, "exists", message)
                    .hint("nothing was changed: choose another address"));
            }
            Ok(moved(state, &self.from, &self.to))
        })?;
        let followers = match &dependents[..] {
            [] => String::new(),
            dependents => format!(", and the dependencies of {}", named(dependents)),
        };
        let output = context.output();
        output.notice(format_args!("moved {} to {}{followers}", self.from, self.to));
        output.answer(&Moved {
            stack: self.stack.clone(),
            revision: rev.to_string(),
            from: self.from.clone(),
            to: self.to.clone(),
            dependents,
        })
    }
}

/// Forget entries; print the new revision
///
/// The things themselves stay, and no tool knows of them any more: the factory's next run makes those that it still describes anew.
/// While another entry depends on one of them, nothing is forgotten: name that entry too. A dead run's unfinished changes are
/// committed first, as a revision.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl rm network/prod action.migrate resource.database")]
pub(crate) struct Rm {
    /// FACTORY/STACK
    pub(super) stack: String,
    /// The entries' addresses
    #[arg(required = true, value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// Why, for the history; stored unencrypted
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Forgotten {
    stack: String,
    revision: String,
    addresses: Vec<String>,
}

impl Rm {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let mut seen = HashSet::new();
        let addresses: Vec<String> = self
            .addresses
            .iter()
            .filter(|one| seen.insert(*one))
            .cloned()
            .collect();
        let change = Change {
            stack: &self.stack,
            operation: "rm",
            message: self.message.as_deref(),
            default_message: match addresses.len() {
                1 => "forgot an entry".into(),
                count => format!("forgot {count} entries"),
            },
        };
        let (rev, ()) = change.store(context, |base, state| {
            if let Some(unknown) = addresses.iter().find(|address| state.find(address).is_none()) {
                return Err(no_entry(&self.stack, unknown, base, state));
            }
            forgotten(state, &addresses).map(|state| (state, ()))
        })?;
        let output = context.output();
        output.notice(format_args!(
            "forgot {}; the things themselves stay",
            named(&addresses)
        ));
        output.answer(&Forgotten {
            stack: self.stack.clone(),
            revision: rev.to_string(),
            addresses,
        })
    }
}

/// One revision that differs from the current one in its entries.
struct Change<'a> {
    stack: &'a str,
    operation: &'static str,
    message: Option<&'a str>,
    /// It is stored unencrypted, so it names no address.
    default_message: String,
}

impl Change<'_> {
    /// Stores what `plan` makes of the current state.
    fn store<T>(
        self,
        context: &Context,
        plan: impl FnOnce(&Revision, &State) -> Result<(State, T), Failure>,
    ) -> Result<(Revision, T), Failure> {
        demand_short(self.message)?;
        let stack = context.readable(self.stack, None)?;
        stack.demand_snapshot()?;
        let held = held::take(&stack, self.operation)?;
        let progress = Progress::of_steps("reading the snapshot");
        unfinished::commit(&stack, &held, self.operation)?;
        let run = held
            .begin::<State>(&stack, self.operation)
            .map_err(|error| stack.explain_head(error))?;
        let base = run.base().ok_or_else(|| stack.no_current())?;
        let (state, planned) = plan(&base, &run.state())?;
        warn_if_lost(&stack, self.message);
        progress.step("storing the snapshot");
        let message = self.message.map_or(self.default_message, str::to_owned);
        let rev = run.save(state, message).map_err(after_storing)?;
        drop((run, progress));
        held.give_back_after_change(&stack);
        Ok((rev, planned))
    }
}

/// The state with the entry at its new address, and the addresses of the entries that depend on it.
fn moved(state: &State, from: &str, to: &str) -> (State, Vec<String>) {
    let mut dependents = Vec::new();
    let entries: Vec<Entry> = state.entries().cloned().collect();
    // Every entry is added again, so that they keep their order.
    let mut moved = state.clone();
    for entry in &entries {
        moved.remove(&entry.address);
    }
    for mut entry in entries {
        let depends = follow(&mut entry.depends_on, from, to);
        if entry.address == from {
            entry.address = to.into();
        } else if depends {
            dependents.push(entry.address.clone());
        }
        moved.upsert(entry);
    }
    (moved, dependents)
}

/// Replaces an address in a list of dependencies, and returns whether it was there.
fn follow(depends_on: &mut Vec<String>, from: &str, to: &str) -> bool {
    let mut is_named = false;
    for address in &mut *depends_on {
        if address == from {
            *address = to.into();
            is_named = true;
        }
    }
    if is_named {
        // The list may have named the new address before, although nothing was there.
        let mut is_repeated = false;
        depends_on.retain(|address| address != to || !mem::replace(&mut is_repeated, true));
    }
    is_named
}

/// The state without these entries. It is an error if another entry depends on one of them.
fn forgotten(state: &State, addresses: &[String]) -> Result<State, Failure> {
    let gone: HashSet<&str> = addresses.iter().map(String::as_str).collect();
    let dependents: Vec<String> = state
        .entries()
        .filter(|entry| !gone.contains(entry.address.as_str()))
        .filter(|entry| {
            entry
                .depends_on
                .iter()
                .any(|address| gone.contains(address.as_str()))
        })
        .map(|entry| entry.address.clone())
        .collect();
    if !dependents.is_empty() {
        let message = format!(
            "nothing was forgotten, because other entries depend on what you named: {}",
            named(&dependents)
        );
        return Err(Failure::new(FAILED, "has-dependents", message)
            .hint("name these entries too, or first change what they depend on with `statectl edit STACK`"));
    }
    let mut left = state.clone();
    for address in addresses {
        left.remove(address);
    }
    Ok(left)
}

/// The addresses in a sentence; of many, the first.
fn named(addresses: &[String]) -> String {
    let more = addresses.len().saturating_sub(MOST_NAMED);
    let first = addresses[..addresses.len() - more].join(", ");
    match more {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

impl Answer for Moved {
    const KIND: &'static str = "moved";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        writeln!(page, "{}", self.revision)
    }
}

impl Answer for Forgotten {
    const KIND: &'static str = "forgotten";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        writeln!(page, "{}", self.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sdk_state::Snapshot as _;

    /// resource.a, which needs resource.gone; resource.b, which needs it and resource.a; resource.c, which needs resource.b.
    fn state() -> State {
        let entry = |address: &str, depends_on: &[&str]| {
            serde_json::json!({
                "address": address, "entry-kind": "leaf", "category": "resource",
                "binding": { "alias": "aws", "kind": "vpc" }, "depends-on": depends_on, "kept": address,
            })
        };
        let document = serde_json::json!({
            "format-version": 1, "factory": { "name": "demo" }, "stack": "prod", "kept": 1.5,
            "entries": [
                entry("resource.a", &["resource.gone"]),
                entry("resource.b", &["resource.gone", "resource.a"]),
                entry("resource.c", &["resource.b"]),
            ],
        });
        State::decode(document.to_string().as_bytes()).unwrap()
    }

    fn text(state: &State) -> String {
        String::from_utf8(state.encode().unwrap()).unwrap()
    }

    #[test]
    fn move_changes_addresses_and_nothing_else() {
        let state = state();
        let (moved, dependents) = moved(&state, "resource.a", "resource.z");
        assert_eq!(dependents, ["resource.b"]);
        let expected = text(&state)
            .replace("\"address\":\"resource.a\"", "\"address\":\"resource.z\"")
            .replace(",\"resource.a\"]", ",\"resource.z\"]");
        assert_eq!(text(&moved), expected);
    }

    #[test]
    fn move_to_an_address_that_was_missing_names_it_once() {
        let (moved, dependents) = moved(&state(), "resource.a", "resource.gone");
        assert_eq!(dependents, ["resource.b"]);
        assert_eq!(moved.find("resource.b").unwrap().depends_on, ["resource.gone"]);
    }

    #[test]
    fn entries_are_forgotten_only_with_their_dependents() {
        let forget = |addresses: &[&str]| {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            forgotten(&state(), &addresses).map(|state| state.len())
        };
        assert_eq!(forget(&["resource.c"]).unwrap(), 2);
        assert_eq!(forget(&["resource.a", "resource.c", "resource.b"]).unwrap(), 0);
        let Err(Failure::Told(told)) = forget(&["resource.a", "resource.c"]) else {
            panic!("a refusal");
        };
        assert!(told.message.ends_with(": resource.b"), "{}", told.message);
    }

    #[test]
    fn of_many_addresses_the_first_are_named() {
        let addresses: Vec<String> = (0..12).map(|number| number.to_string()).collect();
        assert_eq!(named(&addresses), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more");
        assert_eq!(named(&addresses[..2]), "0, 1");
    }
}
