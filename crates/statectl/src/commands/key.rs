use crate::exit::{Failure, NOT_OPENED};
use crate::keys;
use crate::output::Answer;
use crate::progress;
use crate::rekeying::{self, Change, Extent, Named, Rekeyed};
use crate::settings;
use crate::stack::Context;
use crate::table::{MARK, Table};
use crate::text::plain;
use clap::{Args, Subcommand};
use sdk_state::encrypt::{Noop, Recipient};
use sdk_state::{Depth, Store};
use serde::Serialize;
use std::io::{self, Write as _};

/// Show and change who can open a stack
///
/// The recipients belong to the stack: whatever is written is sealed for those of the current revision. --encrypter and
/// --also-open say which keys you have; they choose recipients for the first revision only.
#[derive(Debug, Args)]
pub(crate) struct Key {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    List(List),
    Add(Add),
    Remove(Remove),
}

/// List the recipients of a stack, and how many revisions are sealed for each
///
/// * marks those of the current revision, for which the next one is sealed too.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl key list network/prod")]
struct List {
    /// FACTORY/STACK
    stack: String,
}

/// Let more keys open a stack, with its whole history
///
/// Every revision gets the recipient too; the documents themselves are not sealed anew. If it is interrupted, run it again: it
/// goes on where it was.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    statectl key add network/prod age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\n  \
    statectl key add network/prod env-key:CI_KEY")]
struct Add {
    /// FACTORY/STACK, unless --all is given, and the recipients: age1…, or where the key is, as for --encrypter
    #[arg(required = true, value_name = "STACK RECIPIENT")]
    arguments: Vec<String>,
    /// Change every stack
    #[arg(long)]
    all: bool,
    /// Leave the older revisions as they are: the new recipient can open the current revision and later ones
    #[arg(long)]
    from_now: bool,
}

/// Seal a stack and its history for fewer recipients
///
/// Whoever had the removed key may have kept copies of old files, and the data keys in them: replace the secrets in the state
/// too. --deep draws new data keys. If it is interrupted, run it again: it goes on where it was.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl key remove network/prod 3f9c0a12d4e5b678 --deep")]
struct Remove {
    /// FACTORY/STACK, unless --all is given, and the recipients: a fingerprint, age1…, or where the key is
    #[arg(required = true, value_name = "STACK RECIPIENT")]
    arguments: Vec<String>,
    /// Change every stack
    #[arg(long)]
    all: bool,
    /// Also seal the documents anew, under new data keys
    #[arg(long)]
    deep: bool,
}

/// Seal the history of stacks anew for their current recipients
///
/// Use it after a key service has rotated a key, or to give all revisions the recipients of the current one. Every revision is
/// verified afterwards.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl rekey network/prod --deep\n  statectl rekey --all")]
pub(crate) struct Rekey {
    /// FACTORY/STACK; may be repeated
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "STACK")]
    stacks: Vec<String>,
    /// Change every stack
    #[arg(long)]
    all: bool,
    /// Also seal the documents anew, under new data keys
    #[arg(long)]
    deep: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Recipients {
    stack: String,
    current: String,
    revisions: usize,
    /// Whether a given key has authenticated the recipients of the current revision.
    verified: bool,
    recipients: Vec<Row>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    kind: String,
    /// The fingerprint, or the public key.
    identity: Option<String>,
    description: String,
    /// Whether the next revision is sealed for it.
    current: bool,
    /// Whether it is one of the given keys.
    given: bool,
    /// How many revisions name it.
    revisions: usize,
}

/// What became of the stacks.
#[derive(Serialize)]
struct Changed {
    stacks: Vec<Rekeyed>,
}

impl Key {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        match &self.command {
            KeyCommand::List(command) => command.run(context),
            KeyCommand::Add(command) => command.run(context),
            KeyCommand::Remove(command) => command.run(context),
        }
    }

    pub(super) fn stack(&self) -> Option<&str> {
        match &self.command {
            KeyCommand::List(command) => Some(&command.stack),
            KeyCommand::Add(command) => command
                .arguments
                .first()
                .filter(|_| !command.all)
                .map(String::as_str),
            KeyCommand::Remove(command) => command
                .arguments
                .first()
                .filter(|_| !command.all)
                .map(String::as_str),
        }
    }
}

impl List {
    fn run(&self, context: &Context) -> Result<(), Failure> {
        let keyless = context.keyless(&self.stack)?;
        let current = keyless.current()?;
        let given = context.readable(&self.stack, None).ok();
        let authentic = given
            .as_ref()
            .and_then(|stack| stack.store().recipients(&current).ok());
        let now = match &authentic {
            Some(recipients) => recipients.clone(),
            None => keyless.store().header(&current)?.recipients,
        };
        if authentic.is_none() {
            context
                .output()
                .warning("no given key opens the current revision, so its recipients are not verified");
        }
        let revisions = keyless.store().list()?;
        let count = revisions.len();
        let mut rows: Vec<(Recipient, usize)> = now.iter().map(|recipient| (recipient.clone(), 0)).collect();
        for header in progress::each("revisions", revisions, |rev| keyless.store().header(&rev)) {
            for recipient in header.map_or_else(|_| Vec::new(), |header| header.recipients) {
                match rows.iter_mut().find(|(known, _)| known.is_same_key(&recipient)) {
                    Some((_, revisions)) => *revisions += 1,
                    None => rows.push((recipient, 1)),
                }
            }
        }
        let is_given = |recipient: &Recipient| {
            given.as_ref().is_some_and(|stack| {
                let mut keys = stack.ring().openers().iter();
                keys.any(|key| key.recipient().is_same_key(recipient))
            })
        };
        let recipients = rows.into_iter().map(|(recipient, revisions)| Row {
            identity: recipient
                .fingerprint()
                .or(recipient.body.text("public-key"))
                .map(str::to_owned),
            description: recipient.describe(),
            current: now.iter().any(|one| one.is_same_key(&recipient)),
            given: is_given(&recipient),
            kind: recipient.name,
            revisions,
        });
        context.output().answer(&Recipients {
            stack: self.stack.clone(),
            current: current.to_string(),
            revisions: count,
            verified: authentic.is_some(),
            recipients: recipients.collect(),
        })
    }
}

impl Add {
    fn run(&self, context: &Context) -> Result<(), Failure> {
        let (stacks, texts) = stacks_and_texts(context, &self.arguments, self.all)?;
        let keys = texts.iter().map(|text| keys::encrypter(text));
        let change = Change::Add(keys.collect::<Result<_, _>>()?);
        let extent = Extent {
            depth: Depth::Header,
            from_now: self.from_now,
        };
        change_all(context, stacks, &change, &extent)
    }
}

impl Remove {
    fn run(&self, context: &Context) -> Result<(), Failure> {
        let (stacks, texts) = stacks_and_texts(context, &self.arguments, self.all)?;
        let names = texts.iter().map(|text| Named {
            text: text.clone(),
            key: keys::recipient(text),
        });
        let change = Change::Remove(names.collect());
        let extent = Extent {
            depth: depth(self.deep),
            from_now: false,
        };
        change_all(context, stacks, &change, &extent)?;
        context.output().warning(match self.deep {
            true => "whoever had the removed key may have kept copies of old files: replace the secrets in the state",
            false => {
                "whoever had the removed key may have kept copies of old files, and data keys that open the new ones: \
                 draw new data keys with `statectl rekey STACK --deep`, and replace the secrets in the state"
            }
        });
        Ok(())
    }
}

impl Rekey {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let stacks = match self.all {
            true => every_stack(context)?,
            false => self.stacks.clone(),
        };
        let extent = Extent {
            depth: depth(self.deep),
            from_now: false,
        };
        change_all(context, stacks, &Change::Renew, &extent)
    }
}

fn depth(is_deep: bool) -> Depth {
    match is_deep {
        true => Depth::Body,
        false => Depth::Header,
    }
}

/// The stacks to change, and the recipients.
fn stacks_and_texts<'a>(
    context: &Context,
    arguments: &'a [String],
    all: bool,
) -> Result<(Vec<String>, &'a [String]), Failure> {
    match (all, arguments.split_first()) {
        (true, _) => Ok((every_stack(context)?, arguments)),
        (false, Some((stack, recipients))) if !recipients.is_empty() => Ok((vec![stack.clone()], recipients)),
        (false, _) => Err(Failure::usage("name the stack and at least one recipient")),
    }
}

/// Except those without a snapshot.
fn every_stack(context: &Context) -> Result<Vec<String>, Failure> {
    let place = context.place()?;
    let mut stacks = Vec::new();
    for id in settings::stacks_without_settings(&place)? {
        let store: Store = Store::new(place.catalog.open(&id)?, Noop);
        if !matches!(store.current(), Ok(None)) {
            stacks.push(id.to_string());
        }
    }
    Ok(stacks)
}

/// Changes one stack after the other. A stack that fails does not stop the others, and decides the exit code.
fn change_all(
    context: &Context,
    stacks: Vec<String>,
    change: &Change,
    extent: &Extent,
) -> Result<(), Failure> {
    let is_one = stacks.len() == 1;
    let (mut changed, mut failed) = (Vec::new(), None);
    for name in stacks {
        let result = context.readable(&name, None).and_then(|stack| {
            stack.demand_snapshot()?;
            rekeying::change(&stack, change, extent)
        });
        match result.map_err(|failure| failure.about(Some(&name))) {
            Ok(rekeyed) => changed.push(rekeyed),
            Err(failure) if is_one => return Err(failure),
            Err(failure) => {
                context.output().failure(&failure);
                failed = Some(failure.code());
            }
        }
    }
    let incomplete: usize = changed.iter().map(|rekeyed| rekeyed.skipped.len()).sum();
    context.output().answer(&Changed { stacks: changed })?;
    match (failed, incomplete) {
        (Some(code), _) => Err(Failure::new(code, "incomplete", "not every stack was changed")),
        (None, 0) => Ok(()),
        (None, count) => Err(Failure::new(
            NOT_OPENED,
            "incomplete",
            format!(
                "{count} {} as before",
                if count == 1 {
                    "revision stays"
                } else {
                    "revisions stay"
                }
            ),
        )
        .hint(
            "give the keys that they are sealed for with --also-open and repeat the command, or delete them",
        )),
    }
}

impl Answer for Recipients {
    const KIND: &'static str = "recipients";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        if self.recipients.is_empty() {
            return writeln!(page, "{} is not encrypted", self.stack);
        }
        let mut table = Table::new(["", "KIND", "REVISIONS", "GIVEN", "RECIPIENT"]);
        for row in &self.recipients {
            table.row([
                if row.current { MARK.into() } else { String::new() },
                plain(&row.kind),
                format!("{} of {}", row.revisions, self.revisions),
                if row.given { "yes" } else { "-" }.into(),
                plain(row.identity.as_ref().unwrap_or(&row.description)),
            ]);
        }
        table.print(page)
    }
}

impl Answer for Changed {
    const KIND: &'static str = "rekeyed";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        for rekeyed in &self.stacks {
            let count = rekeyed.changed;
            writeln!(
                page,
                "{}: sealed {count} {} anew, for {}",
                rekeyed.stack,
                if count == 1 { "revision" } else { "revisions" },
                plain(&rekeyed.recipients.join(", "))
            )?;
            for removed in &rekeyed.removed {
                match removed.revisions.len() {
                    0 => writeln!(
                        page,
                        "  no revision opens with {} any more",
                        plain(&removed.recipient)
                    )?,
                    count => writeln!(
                        page,
                        "  {} still {} with {}",
                        plain(&removed.revisions.join(", ")),
                        if count == 1 { "opens" } else { "open" },
                        plain(&removed.recipient)
                    )?,
                }
            }
            for skipped in &rekeyed.skipped {
                writeln!(page, "  ! {}", plain(&skipped.problem))?;
            }
        }
        Ok(())
    }
}
