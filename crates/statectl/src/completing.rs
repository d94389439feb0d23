//! What a shell offers for the word at its cursor. Nothing here writes, takes a lock, asks for a passphrase or prints an error:
//! what cannot be read is not offered.

use crate::keys;
use crate::shell::{Offer, Shell, Typed};
use crate::stack::{Context, Options};
use crate::text::{age, first_line, now, plain};
use crate::trashed::{self, Trashed};
use clap::{ArgMatches, FromArgMatches as _, ValueEnum as _};
use clap_complete::engine::{self, ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter};
use sdk_state::{Registry, Revision, State, Store};
use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::sync::Arc;

/// So many candidates are offered at most; of more, only what they begin with.
const MOST: usize = 200;
/// Longer descriptions are cut.
const HELP_LENGTH: usize = 60;
/// Stands for the word at the cursor. No argument contains it.
const CURSOR: &str = "\0";
/// Marks a candidate in which more must follow.
const OPEN: &str = "open::";

/// Revisions that have another name from day to day.
const SELECTORS: &[(&str, &str)] = &[
    ("@", "the current revision"),
    ("@-", "its parent"),
    ("latest", "the newest revision"),
];

/// What an argument names.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Named {
    Stack,
    /// A stack in the trash.
    TrashedStack,
    Revision,
    /// A revision, or `none`.
    Expected,
    Address,
    /// An output of the stack.
    Output,
    /// Where a key is.
    Key,
    /// A stack, and then new recipients.
    StackAndKeys,
    /// A stack, and then some of its recipients.
    StackAndRecipients,
}

/// What is typed so far.
struct Line {
    context: Context,
    /// Of the innermost command.
    arguments: ArgMatches,
    shows_help: bool,
}

/// Completes one argument.
struct Completer {
    line: Arc<Line>,
    named: Named,
}

/// Prints the completions that the script of a shell asks for.
pub(crate) fn answer(shell: &str, registry: Registry, command: &clap::Command) {
    // An unknown shell is that of a script of another version.
    let Ok(shell) = Shell::from_str(shell, false) else {
        return;
    };
    let typed = shell.typed(env::args_os());
    let offers = offers(registry, command, &typed, shell.shows_help()).unwrap_or_default();
    // If the shell has gone, nobody reads it.
    let _ = io::stdout().write_all(shell.reply(&typed, &offers).as_bytes());
}

fn offers(
    registry: Registry,
    command: &clap::Command,
    typed: &Typed,
    shows_help: bool,
) -> Option<Vec<Offer>> {
    let mut command = match Line::read(registry, command, typed, shows_help) {
        Some(line) => completed(command.clone(), "", &Arc::new(line)),
        None => command.clone(),
    };
    let last = typed.words.len().checked_sub(1)?;
    let here = env::current_dir().ok();
    let candidates = engine::complete(&mut command, typed.words.clone(), last, here.as_deref()).ok()?;
    let mut offers: Vec<(bool, Offer)> = candidates.iter().filter_map(offer).collect();
    // Options are offered once a dash is typed, or where nothing else can follow.
    if typed.last().is_empty() && offers.iter().any(|(is_option, _)| !is_option) {
        offers.retain(|(is_option, _)| !is_option);
    }
    Some(offers.into_iter().map(|(_, offer)| offer).collect())
}

/// What is offered of a candidate, and whether it is an option. Nothing that could steer the terminal is offered.
fn offer(candidate: &CompletionCandidate) -> Option<(bool, Offer)> {
    let value = candidate.get_value().to_str()?;
    let id = candidate.get_id().map_or("", String::as_str);
    let help = candidate.get_help().map(|help| first_line(&help.to_string()));
    let offer = Offer {
        is_open: id.starts_with(OPEN) || value.ends_with(['/', '=']),
        help: help.map(shortened_help).filter(|help| !help.is_empty()),
        value: (plain(value) == value).then(|| value.to_owned())?,
    };
    Some((id.starts_with("arg::"), offer))
}

fn shortened_help(help: String) -> String {
    match help.char_indices().nth(HELP_LENGTH) {
        Some((end, _)) => format!("{}…", help[..end].trim_end()),
        None => help,
    }
}

/// The command, which is below others of this name, with a completer at each argument that names something in a store.
fn completed(command: clap::Command, name: &str, line: &Arc<Line>) -> clap::Command {
    let with_completer = |argument: clap::Arg| match named(name, argument.get_id().as_str()) {
        Some(named) => argument.add(ArgValueCompleter::new(Completer {
            line: Arc::clone(line),
            named,
        })),
        None => argument,
    };
    command.mut_args(with_completer).mut_subcommands(|below| {
        let name = name_below(name, &below);
        completed(below, &name, line)
    })
}

/// Such as `key add`.
fn name_below(name: &str, below: &clap::Command) -> String {
    format!("{name} {}", below.get_name()).trim().to_owned()
}

/// What an argument of a command names. Files, directories and enumerated values are known to clap.
fn named(command: &str, argument: &str) -> Option<Named> {
    Some(match (command, argument) {
        ("mv", "from" | "to") | (_, "address" | "addresses") => Named::Address,
        ("stack restore", "stack") => Named::TrashedStack,
        (_, "stack" | "stacks" | "from" | "to") => Named::Stack,
        (_, "rev" | "revs" | "before" | "after") => Named::Revision,
        (_, "expect") => Named::Expected,
        ("output", "name") => Named::Output,
        (_, "encrypters" | "also_open") => Named::Key,
        ("key add", "arguments") => Named::StackAndKeys,
        ("key remove", "arguments") => Named::StackAndRecipients,
        _ => return None,
    })
}

impl Line {
    fn read(registry: Registry, command: &clap::Command, typed: &Typed, shows_help: bool) -> Option<Self> {
        let (last, before) = typed.words.split_last()?;
        let mut words: Vec<OsString> = before.iter().map(|word| with_home(word)).collect();
        if !last.as_encoded_bytes().starts_with(b"-") {
            words.push(CURSOR.into());
        }
        let matches = command
            .clone()
            .ignore_errors(true)
            .try_get_matches_from(words)
            .ok()?;
        let options = Options::from_arg_matches(&matches).ok()?;
        let mut arguments = matches;
        while let Some((_, below)) = arguments.remove_subcommand() {
            arguments = below;
        }
        Some(Self {
            context: Context::new(registry, options),
            arguments,
            shows_help,
        })
    }

    /// The values of an argument.
    fn values(&self, id: &str) -> Vec<String> {
        let values = self.arguments.try_get_raw(id).ok().flatten();
        let text = |value: &OsStr| value.to_string_lossy().into_owned();
        values.into_iter().flatten().map(text).collect()
    }

    /// The stack that the command is about.
    fn stack(&self) -> Option<String> {
        let stack = ["stack", "arguments"]
            .iter()
            .flat_map(|id| self.values(id))
            .next();
        stack.filter(|stack| stack != CURSOR)
    }

    /// The stack, without keys.
    fn store(&self) -> Option<Store> {
        let stack = self.context.keyless(&self.stack()?).ok()?;
        Some(stack.store_with(stack.ring().clone()))
    }

    /// The current state with unfinished changes, if a key is at hand that opens it.
    fn state(&self) -> Option<State> {
        let stack = self.context.keyless(&self.stack()?).ok()?;
        let store = stack.store_with(stack.keys().ring_at_hand()?);
        match store.head() {
            Ok(head) => Some(head?.document),
            // Damaged changes do not hide the revision below them.
            Err(_) => store.get(&store.current().ok()??).ok(),
        }
    }

    fn offer(&self, named: Named, typed: &str) -> Option<Vec<CompletionCandidate>> {
        match named {
            Named::Stack => self.stacks(typed, Option::is_none),
            Named::TrashedStack => self.stacks(typed, Option::is_some),
            Named::Revision => self.revisions(typed, SELECTORS),
            Named::Expected => self.revisions(typed, &[("none", "no revision may be current")]),
            Named::Address => {
                let state = self.state()?;
                let mut addresses: Vec<String> = state.entries().map(|entry| entry.address.clone()).collect();
                addresses.sort();
                let kind = |address: &str| {
                    let binding = &state.find(address)?.binding;
                    Some(format!("{}.{}", binding.alias, binding.kind))
                };
                Some(bounded(addresses, typed, "entries", kind))
            }
            Named::Output => {
                let state = self.state()?;
                let outputs: BTreeMap<String, serde::de::IgnoredAny> = state.outputs.as_ref()?.to().ok()?;
                Some(bounded(outputs.into_keys().collect(), typed, "outputs", |_| None))
            }
            Named::Key => Some(key(typed)),
            Named::StackAndKeys if self.is_after_stack() => Some(key(typed)),
            Named::StackAndRecipients if self.is_after_stack() => self.recipients(typed),
            Named::StackAndKeys | Named::StackAndRecipients => self.offer(Named::Stack, typed),
        }
    }

    /// Whether the cursor is after the stack in an argument that begins with one.
    fn is_after_stack(&self) -> bool {
        self.arguments.get_flag("all") || self.stack().is_some()
    }

    /// Those in the trash, or the others.
    fn stacks(
        &self,
        typed: &str,
        is_meant: impl Fn(&Option<Trashed>) -> bool,
    ) -> Option<Vec<CompletionCandidate>> {
        let stacks = trashed::stacks(&self.context.place().ok()?).ok()?.into_iter();
        let stacks = stacks.filter(|(_, trashed)| is_meant(trashed));
        let stacks = stacks.map(|(id, _)| id.to_string()).collect();
        Some(bounded(stacks, typed, "stacks", |_| None))
    }

    /// Other words for a revision, and the names, newest first.
    fn revisions(&self, typed: &str, words: &[(&str, &'static str)]) -> Option<Vec<CompletionCandidate>> {
        let store = self.store()?;
        let mut names: Vec<String> = store.list().ok()?.iter().map(ToString::to_string).collect();
        if names.is_empty() {
            return None;
        }
        names.reverse();
        let help = |name: &str| match self.shows_help {
            true => described(&store, &name.parse().ok()?),
            false => None,
        };
        let words = words.iter().filter(|(word, _)| word.starts_with(typed));
        let words = words.map(|(word, help)| CompletionCandidate::new(*word).help(Some((*help).into())));
        let revisions = bounded(names, typed, "revisions", help);
        Some(ordered(words.chain(revisions)))
    }

    /// Those of the current revision.
    fn recipients(&self, typed: &str) -> Option<Vec<CompletionCandidate>> {
        let store = self.store()?;
        let header = store.header(&store.current().ok()??).ok()?;
        let name = |recipient: &sdk_state::encrypt::Recipient| {
            let name = recipient.fingerprint().or(recipient.body.text("public-key"))?;
            let candidate = CompletionCandidate::new(name).help(Some(recipient.describe().into()));
            name.starts_with(typed).then_some(candidate)
        };
        Some(ordered(header.recipients.iter().filter_map(name)))
    }
}

impl ValueCompleter for Completer {
    fn complete(&self, typed: &OsStr) -> Vec<CompletionCandidate> {
        let typed = typed.to_str();
        typed
            .and_then(|typed| self.line.offer(self.named, typed))
            .unwrap_or_default()
    }
}

/// A shell passes on what is typed, and would expand this only when it runs the command.
fn with_home(word: &OsStr) -> OsString {
    match (
        word.to_str().and_then(|word| word.strip_prefix("~/")),
        env::home_dir(),
    ) {
        (Some(rest), Some(home)) => home.join(rest).into_os_string(),
        _ => word.to_owned(),
    }
}

/// What the header says about a revision.
fn described(store: &Store, rev: &Revision) -> Option<String> {
    let header = store.header(rev).ok()?;
    let written = header.written_at.or(rev.time()).map(|time| age(time, now()));
    let author = header.provenance.author.as_deref().map(plain);
    let message = header.message.as_deref().map(first_line);
    let parts: Vec<String> = [written, author, message].into_iter().flatten().collect();
    Some(parts.join(", "))
}

/// In this order, which shells keep.
fn ordered(candidates: impl Iterator<Item = CompletionCandidate>) -> Vec<CompletionCandidate> {
    let candidates = candidates.enumerate();
    candidates
        .map(|(position, candidate)| candidate.display_order(Some(position)))
        .collect()
}

/// Of sorted names, those that begin with what is typed; if they are too many, their beginnings.
fn bounded(
    mut names: Vec<String>,
    typed: &str,
    noun: &str,
    help: impl Fn(&str) -> Option<String>,
) -> Vec<CompletionCandidate> {
    names.retain(|name| name.starts_with(typed));
    if names.len() <= MOST {
        let candidate = |name: &String| CompletionCandidate::new(name).help(help(name).map(Into::into));
        return ordered(names.iter().map(candidate));
    }
    let candidate = |(beginning, count)| match count {
        1 => CompletionCandidate::new(beginning),
        _ => CompletionCandidate::new(beginning)
            .help(Some(format!("{count} {noun}").into()))
            .id(Some(format!("{OPEN}{beginning}"))),
    };
    ordered(beginnings(&names, typed).into_iter().map(candidate))
}

/// The longest beginnings of sorted names, in characters, that are few enough, with the number of names of each. They are cut
/// after a separator, unless that leaves only one. A name that is alone is whole.
fn beginnings<'n>(names: &'n [String], typed: &str) -> Vec<(&'n str, usize)> {
    let whole: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let mut longest = Vec::new();
    for length in typed.chars().count() + 1.. {
        let end = |name: &str| name.char_indices().nth(length).map(|(end, _)| end);
        let longer = grouped(&whole, |name| end(name).unwrap_or(name.len()));
        if longer.len() > MOST || longer == longest {
            break;
        }
        longest = longer;
    }
    let cut = grouped(&longest, |beginning| {
        let separator = beginning[typed.len()..].rfind(|character| "/.:-[T".contains(character));
        separator.map_or(beginning.len(), |separator| typed.len() + separator + 1)
    });
    let groups = if cut.len() > 1 { cut } else { longest };
    let mut position = 0;
    let whole_if_alone = groups.into_iter().map(|(beginning, count)| {
        let first = names.get(position).filter(|_| count == 1);
        position += count;
        (first.map_or(beginning, String::as_str), count)
    });
    whole_if_alone.collect()
}

/// Neighbours with the same beginning become one.
fn grouped<'n>(names: &[(&'n str, usize)], end: impl Fn(&str) -> usize) -> Vec<(&'n str, usize)> {
    let mut groups: Vec<(&str, usize)> = Vec::new();
    for (name, count) in names {
        let beginning = &name[..end(name)];
        match groups.last_mut() {
            Some((last, total)) if *last == beginning => *total += count,
            _ => groups.push((beginning, *count)),
        }
    }
    groups
}

/// How a key can be given. Variables are offered by name; nothing reads them.
fn key(typed: &str) -> Vec<CompletionCandidate> {
    if let Some((kind, rest)) = typed.split_once(':') {
        let rest = match keys::KINDS
            .iter()
            .find(|(name, _)| name.strip_suffix(':') == Some(kind))
        {
            Some(("env-key:" | "age-env:", _)) => variables(rest),
            Some(_) => PathCompleter::file().complete(rest.as_ref()),
            None => Vec::new(),
        };
        return rest
            .into_iter()
            .map(|value| value.add_prefix(format!("{kind}:")))
            .collect();
    }
    let kinds = keys::KINDS.iter().filter(|(name, _)| name.starts_with(typed));
    ordered(kinds.map(|(name, help)| {
        let candidate = CompletionCandidate::new(*name).help(Some((*help).into()));
        candidate.id(name.ends_with(':').then(|| format!("{OPEN}{name}")))
    }))
}

fn variables(typed: &str) -> Vec<CompletionCandidate> {
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with("STATECTL_")).collect();
    names.sort();
    bounded(names, typed, "variables", |_| None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Arguments;
    use clap::{CommandFactory as _, ValueHint};

    fn names(prefix: &str, numbers: std::ops::Range<u32>) -> Vec<String> {
        numbers.map(|number| format!("{prefix}{number:04}")).collect()
    }

    fn values(candidates: &[CompletionCandidate]) -> Vec<&str> {
        let values = candidates.iter().map(|candidate| candidate.get_value());
        values.map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn few_names_are_offered_as_they_are() {
        let names = ["demo/dev", "demo/prod", "network/prod"]
            .map(str::to_owned)
            .to_vec();
        let offered = bounded(names, "demo/", "stacks", |name| Some(name.len().to_string()));
        assert_eq!(values(&offered), ["demo/dev", "demo/prod"]);
        assert_eq!(offered[1].get_help().unwrap().to_string(), "9");
    }

    /// A shell inserts what all offers begin with: a name that was left out would never be reached.
    #[test]
    fn many_names_are_offered_by_their_beginnings() {
        let mut all = names("data.zone-", 0..1);
        all.extend(names("resource.db-", 0..5000));
        all.extend(names("resource.web-", 0..5000));
        let candidates = bounded(all.clone(), "", "entries", |_| None);
        assert_eq!(
            values(&candidates),
            ["data.zone-0000", "resource.db-", "resource.web-"]
        );
        let candidates = bounded(all.clone(), "resource.web-", "entries", |_| None);
        assert_eq!(candidates.len(), 50);
        assert_eq!(values(&candidates)[7], "resource.web-07");
        assert_eq!(candidates[7].get_help().unwrap().to_string(), "100 entries");
        let candidates = bounded(all, "resource.web-07", "entries", |_| None);
        assert_eq!(candidates.len(), 100);
        assert_eq!(values(&candidates)[99], "resource.web-0799");
    }

    #[test]
    fn beginnings_end_at_characters() {
        let all: Vec<String> = (0..300).map(|number| format!("größe-{number:03}-é")).collect();
        for typed in ["", "gr", "größe-"] {
            assert!(!bounded(all.clone(), typed, "entries", |_| None).is_empty());
        }
    }

    /// Whoever adds an argument decides what is offered for it.
    #[test]
    fn every_argument_is_completed_or_free_text() {
        const ADDRESSES: &[&str] = &["backend", "to_address"];
        const NUMBERS: &[&str] = &["limit", "read_data"];
        const TEXTS: &[&str] = &["author", "message", "payload", "token"];
        const TIMES: &[&str] = &["at", "since", "wait"];
        let mut undecided = Vec::new();
        add_undecided(&Arguments::command(), "", &mut undecided);
        undecided.retain(|id| {
            let free = [ADDRESSES, NUMBERS, TEXTS, TIMES].concat();
            !free.contains(&id.as_str()) && !id.starts_with("keep_")
        });
        assert_eq!(undecided, [""; 0]);
    }

    fn add_undecided(command: &clap::Command, name: &str, undecided: &mut Vec<String>) {
        for argument in command.get_arguments() {
            let id = argument.get_id().as_str();
            let is_known = !argument.get_action().takes_values()
                || named(name, id).is_some()
                || argument.get_value_hint() != ValueHint::Unknown
                || argument.get_value_parser().possible_values().is_some();
            if !is_known {
                undecided.push(id.to_owned());
            }
        }
        for below in command.get_subcommands() {
            add_undecided(below, &name_below(name, below), undecided);
        }
    }
}
