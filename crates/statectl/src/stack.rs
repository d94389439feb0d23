//! The context of a command: its options, its output, and its stack.

use crate::exit::{Failure, MISSING};
use crate::keys::{KeyOptions, NoRing};
use crate::output::{Format, Output};
use crate::place::{Place, PlaceOptions};
use crate::unfinished::UnfinishedDocument;
use clap::{Args, ColorChoice};
use sdk_state::encrypt::{Keyring, Noop};
use sdk_state::envelope::UnverifiedHeader;
use sdk_state::{
    Backend, Error, ErrorKind, Head, Provenance, Raw, Registry, Revision, Snapshot, StackId, State, Store,
};
use std::sync::Arc;
use std::time::Duration;

/// The options that every command accepts.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Options {
    #[command(flatten)]
    place: PlaceOptions,

    #[command(flatten)]
    pub(crate) keys: KeyOptions,

    /// Wait up to this long for a lock that somebody else holds, such as 5m; by default, fail at once
    #[arg(
        long,
        global = true,
        value_name = "DURATION",
        env = "STATECTL_WAIT",
        default_value = "0",
        hide_default_value = true,
        value_parser = parse_duration
    )]
    pub(crate) wait: Duration,

    /// How to print the answer
    #[arg(
        long,
        global = true,
        value_enum,
        env = "STATECTL_FORMAT",
        default_value_t = Format::Human
    )]
    format: Format,

    /// Short for --format json
    #[arg(long, global = true)]
    json: bool,

    /// When to use colour; NO_COLOR is honoured [default: auto]
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, hide_default_value = true)]
    color: ColorChoice,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it like 90s or 5m"))
}

/// The context of every command.
pub(crate) struct Context {
    registry: Registry,
    options: Options,
    output: Output,
}

/// One stack, with the keys that the command needs.
pub(crate) struct Stack<'a> {
    context: &'a Context,
    place: Place,
    backend: Arc<dyn Backend>,
    /// The keys of the store; plain for a command that opens nothing.
    ring: Keyring,
    store: Store,
}

/// A document from the store.
pub(crate) struct Found<D> {
    pub(crate) revision: Revision,
    pub(crate) document: D,
    /// Its changes that no revision holds yet.
    pub(crate) unfinished: Option<UnfinishedDocument>,
}

impl Context {
    pub(crate) fn new(registry: Registry, options: Options) -> Self {
        let format = match options.json {
            true => Format::Json,
            false => options.format,
        };
        Self {
            output: Output::new(format, options.color),
            registry,
            options,
        }
    }

    pub(crate) fn output(&self) -> &Output {
        &self.output
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn place(&self) -> Result<Place, Failure> {
        self.options.place.open(&self.registry)
    }

    /// The place at another address.
    pub(crate) fn place_at(&self, address: &str) -> Result<Place, Failure> {
        Place::open(&self.registry, address)
    }

    /// The stack for a command that opens no snapshot: no key is asked for.
    pub(crate) fn keyless(&self, name: &str) -> Result<Stack<'_>, Failure> {
        let id: StackId = name.parse()?;
        let place = self.place()?;
        let backend: Arc<dyn Backend> = place.catalog.open(&id)?.into();
        Ok(Stack {
            store: Store::new(Arc::clone(&backend), Noop).with_provenance(provenance()),
            ring: Noop.into(),
            context: self,
            place,
            backend,
        })
    }

    /// The stack for a command that opens its current snapshot, or `rev`.
    ///
    /// If a key is missing, the error still says whether the revision exists, and which keys it is sealed for.
    pub(crate) fn readable(&self, name: &str, rev: Option<&Revision>) -> Result<Stack<'_>, Failure> {
        let keyless = self.keyless(name)?;
        match self.options.keys.ring() {
            Ok(ring) => Ok(keyless.with_keys(ring)),
            Err(NoRing::Other(failure)) => Err(failure),
            Err(missing) => {
                let rev = match rev {
                    Some(rev) => rev.clone(),
                    None => keyless.current()?,
                };
                let header = keyless
                    .store
                    .header(&rev)
                    .map_err(|error| keyless.explain(error))?;
                Err(missing.of(keyless.id(), &header, &self.options.keys))
            }
        }
    }

    /// The stack for a command that opens every snapshot that there is. If there is none, no key is needed.
    pub(crate) fn openable(&self, name: &str) -> Result<Stack<'_>, Failure> {
        let keyless = self.keyless(name)?;
        let missing = match self.options.keys.ring() {
            Ok(ring) => return Ok(keyless.with_keys(ring)),
            Err(NoRing::Other(failure)) => return Err(failure),
            Err(missing) => missing,
        };
        let revisions = keyless.store.list().unwrap_or_default();
        let mut headers = revisions.iter().rev().map(|rev| keyless.store.header(rev));
        match headers.find_map(Result::ok) {
            Some(header) => Err(missing.of(keyless.id(), &header, &self.options.keys)),
            None if revisions.is_empty() => Ok(keyless),
            None => Err(missing.into()),
        }
    }

    /// The stack for a command that seals a snapshot. Where no stack has a snapshot yet, the default key is made now.
    pub(crate) fn writable(&self, name: &str) -> Result<Stack<'_>, Failure> {
        let keyless = self.keyless(name)?;
        let keys = &self.options.keys;
        let ring = match keys.ring() {
            Ok(ring) => {
                // Only a first revision is sealed for the keys that are given.
                if matches!(keyless.store().current(), Ok(None)) {
                    keys.confirm_passphrase()?;
                }
                ring
            }
            Err(NoRing::Other(failure)) => return Err(failure),
            Err(missing) => match keyless.newest_header()? {
                None => keys.ring_with_new_default(missing, &self.output)?,
                // The first writer in this place may have made the key since.
                Some((id, header)) => keys.ring().map_err(|missing| missing.of(&id, &header, keys))?,
            },
        };
        Ok(keyless.with_keys(ring))
    }
}

impl<'a> Stack<'a> {
    /// Another stack of the same place, with the same keys.
    pub(crate) fn beside(&self, id: &StackId) -> Result<Stack<'a>, Failure> {
        self.elsewhere(self.place.clone(), id)
    }

    /// A stack of another place, with the same keys.
    pub(crate) fn elsewhere(&self, place: Place, id: &StackId) -> Result<Stack<'a>, Failure> {
        let backend: Arc<dyn Backend> = place.catalog.open(id)?.into();
        let other = Stack {
            context: self.context,
            store: Store::new(Arc::clone(&backend), Noop),
            ring: Noop.into(),
            place,
            backend,
        };
        Ok(other.with_keys(self.ring.clone()))
    }
}

impl Stack<'_> {
    fn with_keys(mut self, ring: Keyring) -> Self {
        self.store = self.store_with(ring.clone());
        self.ring = ring;
        self
    }

    /// A store of this stack with other keys.
    pub(crate) fn store_with(&self, ring: Keyring) -> Store {
        Store::new(Arc::clone(&self.backend), ring)
            .with_provenance(provenance())
            .with_envelope(self.keys().envelope())
    }

    pub(crate) fn ring(&self) -> &Keyring {
        &self.ring
    }

    /// The store of another stack in the same place, with the same keys.
    pub(crate) fn sibling(&self, id: &StackId) -> Result<Store, Error> {
        let backend = self.place.catalog.open(id)?;
        Ok(Store::new(backend, self.ring.clone()).with_provenance(provenance()))
    }

    pub(crate) fn context(&self) -> &Context {
        self.context
    }

    pub(crate) fn keys(&self) -> &KeyOptions {
        &self.context.options.keys
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn id(&self) -> &StackId {
        self.store.id()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The current revision, of a stack that must have one.
    pub(crate) fn current(&self) -> Result<Revision, Failure> {
        match self.store.current()? {
            Some(rev) => Ok(rev),
            None => Err(self.no_current()),
        }
    }

    /// Fails unless the stack has a snapshot, so that a mistyped name makes no directory. Ignores a damaged pointer.
    pub(crate) fn demand_snapshot(&self) -> Result<(), Failure> {
        match self.store.current() {
            Ok(None) => Err(self.no_current()),
            _ => Ok(()),
        }
    }

    /// Fails unless the stack exists: it may have been locked and have no snapshot.
    pub(crate) fn demand_known(&self) -> Result<(), Failure> {
        match self.place.catalog.stacks()?.contains(self.id()) {
            true => Ok(()),
            false => Err(self.no_current()),
        }
    }

    /// Whether no stack of the place exists but this one, and this one has no snapshot.
    pub(crate) fn is_place_empty(&self) -> Result<bool, Failure> {
        let stacks = self.place.catalog.stacks()?;
        Ok(stacks.iter().all(|id| id == self.id()) && self.store.list()?.is_empty())
    }

    pub(crate) fn no_current(&self) -> Failure {
        let known = match self.place.catalog.stacks() {
            Ok(known) => known,
            Err(error) => return error.into(),
        };
        if !known.contains(self.id()) {
            return self.place.unknown(self.id(), &known);
        }
        Failure::new(
            MISSING,
            "no-current",
            format!("{} has no snapshot yet", self.id()),
        )
        .hint("`statectl push STACK FILE` stores the first one")
    }

    /// The snapshot `rev`, or the current one.
    pub(crate) fn snapshot(&self, rev: Option<&Revision>) -> Result<Found<State>, Failure> {
        match rev {
            Some(rev) => self.revision(rev),
            None => self.found(self.store.head()),
        }
    }

    /// The same for a document of any type, as it was sealed.
    pub(crate) fn document(&self, rev: Option<&Revision>) -> Result<Found<Raw>, Failure> {
        let mut found = match rev {
            Some(rev) => self.revision(rev)?,
            None => self.document_at_head()?,
        };
        if self.is_genesis(&found.document) {
            found.document = raw(&State::fresh(self.id()))?;
        }
        found.document.payload = self.payload_of(&found.revision, &found.document)?.into();
        Ok(found)
    }

    /// The current document, of any type. Only a tool that knows the type can read its unfinished changes.
    fn document_at_head(&self) -> Result<Found<Raw>, Failure> {
        let store = self.store.document::<Raw>();
        match store.head() {
            Err(error) if is_of_changes(&error) => match self.store.head() {
                Err(error) if matches!(error.kind(), ErrorKind::OtherPayload { .. }) => {
                    let found = self.revision(&self.current()?)?;
                    if self.is_genesis(&found.document) {
                        return Err(self.explain(error));
                    }
                    self.context.output.warning(
                        "unfinished changes are not shown: only the tool that made them can read them",
                    );
                    Ok(found)
                }
                head => {
                    let found = self.found(head)?;
                    Ok(Found {
                        document: raw(&found.document)?,
                        revision: found.revision,
                        unfinished: found.unfinished,
                    })
                }
            },
            head => self.found(head),
        }
    }

    fn revision<D: Snapshot>(&self, rev: &Revision) -> Result<Found<D>, Failure> {
        let document = self.store.document().get(rev);
        Ok(Found {
            revision: rev.clone(),
            document: document.map_err(|error| self.explain(error))?,
            unfinished: None,
        })
    }

    fn found<D>(&self, head: Result<Option<Head<D>>, Error>) -> Result<Found<D>, Failure> {
        let head = head.map_err(|error| self.explain_head(error))?;
        let head = head.ok_or_else(|| self.no_current())?;
        let unfinished = head
            .unfinished
            .map(|unfinished| UnfinishedDocument::new(&self.store, unfinished))
            .transpose()?;
        self.notice_unfinished(unfinished.as_ref());
        Ok(Found {
            revision: head.revision,
            document: head.document,
            unfinished,
        })
    }

    /// Reads and reports unfinished changes, for a command that opens nothing. Damage is a warning.
    pub(crate) fn unfinished(&self) -> Option<UnfinishedDocument> {
        match UnfinishedDocument::of(&self.store) {
            Ok(unfinished) => {
                self.notice_unfinished(unfinished.as_ref());
                unfinished
            }
            Err(error) => {
                if let Failure::Told(told) = self.explain_head(error) {
                    let hint = told.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
                    self.context
                        .output
                        .warning(format_args!("{}{hint}", told.message));
                }
                None
            }
        }
    }

    fn notice_unfinished(&self, unfinished: Option<&UnfinishedDocument>) {
        if let Some(unfinished) = unfinished {
            self.context.output.notice(unfinished.in_full());
        }
    }

    /// Whether this is the empty document with which the first run of a stack begins.
    pub(crate) fn is_genesis(&self, document: &Raw) -> bool {
        *document == Raw::fresh(self.id())
    }

    /// The type of a document that was opened. Old files of unobin do not record what they hold.
    pub(crate) fn payload_of<'d>(&self, rev: &Revision, document: &'d Raw) -> Result<&'d str, Failure> {
        match document.payload == Raw::PAYLOAD && self.is_of_unobin(rev)? {
            true => Ok(State::PAYLOAD),
            false => Ok(&document.payload),
        }
    }

    /// The document in the layout of this project; unobin writes another one.
    pub(crate) fn canonical(&self, rev: &Revision, document: Raw) -> Result<Raw, Failure> {
        if document.payload != State::PAYLOAD || !self.is_of_unobin(rev)? {
            return Ok(document);
        }
        let bytes = State::decode(&document.bytes).and_then(|state| state.encode());
        Ok(Raw {
            bytes: bytes.map_err(|error| self.explain(error.at_revision(rev)))?,
            ..document
        })
    }

    /// Whether a file that was opened may be unobin's. Others are opened only where that is wanted.
    pub(crate) fn is_of_unobin(&self, rev: &Revision) -> Result<bool, Failure> {
        Ok(self.keys().accepts_v1() && self.store.header(rev)?.version == 1)
    }

    /// The failure, with a hint that names the options that open the file.
    pub(crate) fn explain(&self, error: Error) -> Failure {
        match (error.kind(), error.revision()) {
            (ErrorKind::InvalidSnapshot, _) => Failure::from(error)
                .hint("the stored document breaks this rule: `statectl pull --raw STACK` prints it as it is"),
            (ErrorKind::NotFound, _) if matches!(self.store.current(), Ok(None)) => self.no_current(),
            (ErrorKind::Refused | ErrorKind::WrongKey, Some(rev)) => match self.store.header(rev) {
                Ok(header) => Failure::from(error).hint(self.keys().how_to_open(&header)),
                Err(_) => error.into(),
            },
            _ => error.into(),
        }
    }

    /// The failure to read the current revision and its unfinished changes, or to commit them.
    pub(crate) fn explain_head(&self, error: Error) -> Failure {
        if !self.is_journal_damaged(&error) {
            return self.explain(error);
        }
        let hint = format!(
            "every revision stays readable with `statectl pull {id} --rev REV`; \
             `statectl recover {id} --discard-damaged` commits the unfinished changes before the damage and discards the others",
            id = self.id()
        );
        Failure::from(error).hint(hint)
    }

    /// Whether the error is about the unfinished changes, and not about the revision that they follow.
    fn is_journal_damaged(&self, error: &Error) -> bool {
        let is_damage = matches!(
            error.kind(),
            ErrorKind::Damaged | ErrorKind::Misplaced | ErrorKind::InvalidSnapshot
        );
        is_damage
            && match (self.store.current(), self.store.unfinished()) {
                (Ok(Some(_)), Err(error)) => error.is_damaged(),
                (Ok(Some(rev)), Ok(Some(_))) => self.store.document::<Raw>().get(&rev).is_ok(),
                _ => false,
            }
    }

    /// The header of a snapshot in this place: of this stack if it has one, else of another. `None` where there is no snapshot
    /// at all.
    fn newest_header(&self) -> Result<Option<(StackId, UnverifiedHeader)>, Failure> {
        let mut unreadable = None;
        let others = self
            .place
            .catalog
            .stacks()?
            .into_iter()
            .filter(|id| id != self.id());
        for id in [self.id().clone()].into_iter().chain(others) {
            let store = Store::new(self.place.catalog.open(&id)?, Noop);
            let Some(newest) = store.list()?.pop() else {
                continue;
            };
            let current = store.current().ok().flatten();
            match store.header(&current.unwrap_or(newest)) {
                Ok(header) => return Ok(Some((id, header))),
                Err(error) => unreadable = Some(error),
            }
        }
        match unreadable {
            Some(error) => Err(error.into()),
            None => Ok(None),
        }
    }
}

/// Whether a document of any type was to be changed.
fn is_of_changes(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::InvalidSnapshot | ErrorKind::OtherPayload { .. }
    )
}

fn raw(state: &State) -> Result<Raw, Error> {
    Ok(Raw {
        payload: State::PAYLOAD.into(),
        bytes: state.encode()?,
    })
}

/// The author, host and tool, recorded unencrypted with each write.
fn provenance() -> Provenance {
    Provenance::of_this_process().with_tool(concat!("statectl ", env!("CARGO_PKG_VERSION")))
}
