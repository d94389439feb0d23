//! The keys of `--encrypter` and `--also-open`, and what is said about them.

use crate::environment;
use crate::exit::{Failure, NOT_OPENED};
use crate::output::Output;
use crate::passphrase::{self, Asked};
use crate::text;
use clap::Args;
use clap::builder::BoolishValueParser;
use etcetera::BaseStrategy as _;
use sdk_state::encrypt::{
    self, Age, AgeKey, AgeRecipient, Encrypter, EnvKey, ErrorKind, KeyFile, KeyProgram, Keyring,
    LegacyCipher, MasterKey, Noop, Passphrase, Published, Recipient,
};
use sdk_state::envelope::UnverifiedHeader;
use sdk_state::{EnvelopeVersion, StackId};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which keys seal and open.
#[derive(Debug, Args)]
pub(crate) struct KeyOptions {
    /// A key to seal for and to open with: age:PATH, age-env:VAR, passphrase, env-key:VAR, key-file:PATH, command:PROGRAM, a
    /// public key age1…, which only seals, or noop alone for no encryption. May be repeated [env: STATECTL_ENCRYPTER,
    /// comma-separated] [default: the key file statectl/key in your configuration directory]
    #[arg(long = "encrypter", global = true, value_name = "SPEC")]
    encrypters: Vec<String>,

    /// A key that only opens: nothing is sealed for it. May be repeated [env: STATECTL_ALSO_OPEN, comma-separated]
    #[arg(long = "also-open", global = true, value_name = "SPEC")]
    also_open: Vec<String>,

    /// Also open files of unobin, the Go implementation (envelope version 1). It goes undetected if one of them is moved or
    /// replaced
    #[arg(long, global = true, env = "STATECTL_ACCEPT_V1", value_parser = BoolishValueParser::new())]
    accept_v1: bool,

    /// Write files that unobin can open, with the first env-key of --encrypter or with noop; implies --accept-v1
    #[arg(long, global = true)]
    write_v1: bool,

    #[arg(skip)]
    passphrase: Asked,
}

/// Where a key is, as the operator gives it.
#[derive(Debug, PartialEq)]
enum Spec {
    Age(PathBuf),
    AgeEnv(String),
    AgeRecipient(Box<AgeRecipient>),
    Command(PathBuf),
    EnvKey(String),
    KeyFile(PathBuf),
    Noop,
    Passphrase,
}

/// How a SPEC begins, and what it names.
pub(crate) const KINDS: &[(&str, &str)] = &[
    ("age:", "a file with keys of age"),
    ("age-env:", "a key of age in a variable"),
    ("passphrase", "a passphrase"),
    ("env-key:", "32 bytes in a variable"),
    ("key-file:", "a file with 32 bytes"),
    ("command:", "a program that has the key"),
    ("noop", "no encryption"),
];

/// Why there is no keyring.
#[derive(Debug)]
pub(crate) enum NoRing {
    /// The default key was to be used, and its file does not exist.
    NoDefault { path: PathBuf, failure: Failure },
    /// A key that was given does not exist.
    Missing(Failure),
    /// Something else is wrong with the keys.
    Other(Failure),
}

impl KeyOptions {
    /// The keys that the operator gave, or else the default key.
    pub(crate) fn ring(&self) -> Result<Keyring, NoRing> {
        let encrypters = given(&self.encrypters, "STATECTL_ENCRYPTER")?;
        let also_open = given(&self.also_open, "STATECTL_ALSO_OPEN")?;
        if encrypters.contains(&Spec::Noop) || also_open.contains(&Spec::Noop) {
            return match encrypters.len() + also_open.len() {
                1 if also_open.is_empty() => self.plain_ring(),
                _ => Err(Failure::usage(
                    "noop cannot be combined with keys: a snapshot is either encrypted or not",
                )
                .into()),
            };
        }
        if also_open.iter().any(|spec| matches!(spec, Spec::AgeRecipient(_))) {
            return Err(Failure::usage(
                "a public key opens nothing: give --also-open the secret key, as age:PATH or age-env:VAR",
            )
            .into());
        }
        let (first, others) = match encrypters.split_first() {
            None => (default_key()?, Vec::new()),
            Some((first, others)) => (self.open(first)?, self.open_all(others)?),
        };
        let mut legacy = first.legacy;
        let mut ring = Keyring::from(first.encrypter);
        let mut seen = vec![first.identity];
        for key in others {
            if seen.iter().any(|known| known.is_same_key(&key.identity)) {
                let message = format!("the key {} is given twice", key.identity.describe());
                return Err(Failure::usage(message).into());
            }
            seen.push(key.identity);
            ring = ring.also_seal_for(key.encrypter)?;
            legacy = legacy.or(key.legacy);
        }
        for key in self.open_all(&also_open)? {
            ring = ring.also_open(key.encrypter)?;
            // The same cipher opens and writes version 1, and nothing is written for a key that only opens.
            if !self.write_v1 {
                legacy = legacy.or(key.legacy);
            }
        }
        if self.accepts_v1() {
            let legacy = legacy.ok_or_else(|| {
                Failure::usage("unobin's files need an env-key or noop: add --encrypter env-key:VAR")
            })?;
            ring = ring.accept_v1(legacy)?;
        }
        Ok(ring)
    }

    /// The keys that can be had without asking anybody, to open with. A key that is missing is left out.
    pub(crate) fn ring_at_hand(&self) -> Option<Keyring> {
        let encrypters = given(&self.encrypters, "STATECTL_ENCRYPTER").ok()?;
        let also_open = given(&self.also_open, "STATECTL_ALSO_OPEN").ok()?;
        if encrypters.contains(&Spec::Noop) {
            return self.plain_ring().ok();
        }
        let default = encrypters.is_empty().then(|| default_key().ok()).flatten();
        let given = encrypters.iter().chain(&also_open);
        let given = given.filter(|spec| spec.is_at_hand());
        let mut keys = default
            .into_iter()
            .chain(given.filter_map(|spec| Key::open(spec).ok()));
        let first = keys.next()?;
        let mut legacy = first.legacy;
        let mut ring = Keyring::from(first.encrypter);
        for key in keys {
            ring = ring.also_open(key.encrypter).ok()?;
            legacy = legacy.or(key.legacy);
        }
        match legacy.filter(|_| self.accepts_v1()) {
            Some(legacy) => ring.accept_v1(legacy).ok(),
            None => Some(ring),
        }
    }

    /// Makes the default key, once, and the keyring that needed it.
    pub(crate) fn ring_with_new_default(&self, missing: NoRing, output: &Output) -> Result<Keyring, Failure> {
        let NoRing::NoDefault { path, .. } = missing else {
            return Err(missing.into());
        };
        let key = AgeKey::generate()?;
        if Age::create(&path, &key, text::now())? == Published::Now {
            output.notice(made(&path, &key.public().to_string()));
        }
        Ok(self.ring()?)
    }

    /// Asks a second time for a passphrase that nothing is sealed for yet.
    pub(crate) fn confirm_passphrase(&self) -> Result<(), Failure> {
        self.passphrase.confirm()
    }

    pub(crate) fn accepts_v1(&self) -> bool {
        self.accept_v1 || self.write_v1
    }

    pub(crate) fn envelope(&self) -> EnvelopeVersion {
        match self.write_v1 {
            true => EnvelopeVersion::V1,
            false => EnvelopeVersion::V2,
        }
    }

    /// The options that open a file with this header.
    pub(crate) fn how_to_open(&self, header: &UnverifiedHeader) -> String {
        let mut options: Vec<String> = Vec::new();
        for option in header.recipients.iter().map(option_for) {
            if !options.contains(&option) {
                options.push(option);
            }
        }
        if options.is_empty() {
            options.push("--encrypter noop".into());
        }
        if header.version == 1 && !self.accepts_v1() {
            return format!("pass {} and --accept-v1", options.join(" or "));
        }
        // If the option was given, its variable holds another key, or none.
        match header
            .recipients
            .iter()
            .filter_map(variable_of)
            .find(|name| self.names_variable(name))
        {
            Some(variable) => format!("set ${variable} to the key that the file was written with"),
            None => format!("pass {}", options.join(" or ")),
        }
    }

    fn names_variable(&self, name: &str) -> bool {
        [
            (&self.encrypters, "STATECTL_ENCRYPTER"),
            (&self.also_open, "STATECTL_ALSO_OPEN"),
        ]
        .into_iter()
        .filter_map(|(options, variable)| given(options, variable).ok())
        .flatten()
        .any(|spec| spec == Spec::EnvKey(name.into()))
    }

    fn open(&self, spec: &Spec) -> Result<Key, NoRing> {
        match spec {
            // Its salt is not known before a file is opened, so its recipient is not asked for.
            Spec::Passphrase => Ok(Key {
                encrypter: self.passphrase.key()?,
                identity: Recipient::new(Passphrase::NAME),
                legacy: None,
            }),
            _ => Key::open(spec),
        }
    }

    fn open_all(&self, specs: &[Spec]) -> Result<Vec<Key>, NoRing> {
        specs.iter().map(|spec| self.open(spec)).collect()
    }

    fn plain_ring(&self) -> Result<Keyring, NoRing> {
        let ring = Keyring::from(Noop);
        match self.accepts_v1() {
            true => Ok(ring.accept_v1(Noop)?),
            false => Ok(ring),
        }
    }
}

impl NoRing {
    /// The failure, with the keys that the snapshot is sealed for.
    pub(crate) fn of(self, id: &StackId, header: &UnverifiedHeader, options: &KeyOptions) -> Failure {
        let (failure, path) = match self {
            Self::NoDefault { path, failure } => (failure, Some(path)),
            Self::Missing(failure) => (failure, None),
            Self::Other(failure) => return failure,
        };
        let Failure::Told(told) = failure else {
            return failure;
        };
        let explained = Failure::new(
            NOT_OPENED,
            "missing-key",
            format!("{}; {id} is {}", told.message, sealed_for(header)),
        )
        .hint(options.how_to_open(header));
        match path {
            Some(path) => explained.extend_hint(&format!(
                "or make a key with `statectl keygen {}`, and let a colleague run `statectl key add {id}` with its public key",
                path.display()
            )),
            None => explained,
        }
    }
}

/// The recipients that a file names.
pub(crate) fn sealed_for(header: &UnverifiedHeader) -> String {
    if header.recipients.is_empty() {
        return "not encrypted".into();
    }
    let recipients: Vec<String> = header.recipients.iter().map(Recipient::describe).collect();
    format!("sealed for {}", recipients.join(", "))
}

fn option_for(recipient: &Recipient) -> String {
    match recipient.name.as_str() {
        EnvKey::NAME => {
            format!("--encrypter env-key:{}", variable_of(recipient).unwrap_or("VAR"))
        }
        KeyFile::NAME => "--encrypter key-file:PATH".into(),
        Age::NAME => "--encrypter age:PATH".into(),
        Passphrase::NAME => "--encrypter passphrase".into(),
        KeyProgram::NAME => "--encrypter command:PROGRAM".into(),
        _ => format!("the key {}", recipient.describe()),
    }
}

/// The variable that held a recipient's key. A text of the file is only shown if it can be nothing but a variable's name.
fn variable_of(recipient: &Recipient) -> Option<&str> {
    let variable = recipient.body.text("env-var")?;
    let is_name = variable
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some(variable)
}

/// The command line comes before the environment. A text that is no SPEC is not repeated: it may be the key itself.
fn given(options: &[String], variable: &str) -> Result<Vec<Spec>, Failure> {
    let list = match options {
        [] => environment::text(variable).unwrap_or_default(),
        _ => String::new(),
    };
    let of_environment = list.split(',').map(str::trim).filter(|spec| !spec.is_empty());
    options
        .iter()
        .map(String::as_str)
        .chain(of_environment)
        .map(Spec::parse)
        .collect()
}

/// The key of a new recipient, as the operator names it. A text that names no key is not repeated: it may be the key itself.
pub(crate) fn encrypter(text: &str) -> Result<Arc<dyn Encrypter>, Failure> {
    Ok(Key::open(&Spec::parse(text)?)?.encrypter)
}

/// Whether somebody has pasted a secret key, with or without its padding, where its place belongs.
pub(crate) fn is_key(text: &str) -> bool {
    let text = text.trim();
    let is_cut =
        text.len() == 43 && !text.contains('/') && MasterKey::from_base64(&format!("{text}=")).is_ok();
    is_cut || text.to_ascii_uppercase().contains("AGE-SECRET-KEY-1") || MasterKey::from_base64(text).is_ok()
}

/// The recipient that the operator names by its key; `None` for other names, and for a passphrase, which nobody is asked for.
pub(crate) fn recipient(text: &str) -> Option<Recipient> {
    let spec = Spec::parse(text).ok().filter(|spec| *spec != Spec::Passphrase)?;
    Some(Key::open(&spec).ok()?.identity)
}

/// What is said about a new key.
pub(crate) fn made(path: &Path, name: &str) -> String {
    format!(
        "made the key {} ({name}); back it up: if you lose it, you lose what it seals",
        path.display()
    )
}

fn default_key() -> Result<Key, NoRing> {
    let path = etcetera::choose_base_strategy()
        .map_err(|error| {
            Failure::usage(format!("there is no directory for the default key: {error}"))
                .hint("set HOME, or pass --encrypter")
        })?
        .config_dir()
        .join("statectl/key");
    KeyFile::open_any(&path)
        .map(Key::from)
        .map_err(|error| match error.kind() {
            ErrorKind::MissingKey => NoRing::NoDefault {
                path,
                failure: error.into(),
            },
            _ => error.into(),
        })
}

impl Spec {
    /// Whether it is opened without asking a person or a program.
    fn is_at_hand(&self) -> bool {
        matches!(
            self,
            Self::Age(_) | Self::AgeEnv(_) | Self::EnvKey(_) | Self::KeyFile(_)
        )
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        match text.split_once(':') {
            Some((_, place)) if is_key(place) => Err(Failure::usage(
                "this is a key, not the place of one: keep the key in a file or a variable",
            )),
            Some(("age", path)) if !path.is_empty() => Ok(Self::Age(path.into())),
            Some(("age-env", variable)) if !variable.is_empty() => Ok(Self::AgeEnv(variable.into())),
            Some(("command", program)) if !program.is_empty() => Ok(Self::Command(program.into())),
            Some(("env-key", variable)) if !variable.is_empty() => Ok(Self::EnvKey(variable.into())),
            Some(("key-file", path)) if !path.is_empty() => Ok(Self::KeyFile(path.into())),
            None if text == Noop::NAME => Ok(Self::Noop),
            None if text == Passphrase::NAME => Ok(Self::Passphrase),
            None if text.starts_with("age1") => match text.parse() {
                Ok(recipient) => Ok(Self::AgeRecipient(Box::new(recipient))),
                Err(problem) => Err(Failure::from(problem).into_usage()),
            },
            _ => Err(Failure::usage(
                "a key is given as age:PATH, age-env:VAR, age1…, passphrase, env-key:VAR, key-file:PATH, command:PROGRAM or noop",
            )),
        }
    }
}

/// A key that a SPEC names, and its cipher for unobin's files.
struct Key {
    encrypter: Arc<dyn Encrypter>,
    /// Two recipients of one file differ in this.
    identity: Recipient,
    legacy: Option<LegacyCipher>,
}

impl Key {
    fn open(spec: &Spec) -> Result<Self, NoRing> {
        match spec {
            Spec::Age(path) => Ok(Self::sealing(Age::open(path)?)),
            Spec::AgeEnv(variable) => Ok(Self::sealing(Age::from_env(variable)?)),
            Spec::AgeRecipient(recipient) => Ok(Self::sealing(AgeRecipient::clone(recipient))),
            Spec::Command(program) => Ok(Self::sealing(KeyProgram::open(program)?)),
            Spec::Passphrase => Ok(Self::from(passphrase::new()? as Arc<dyn Encrypter>)),
            Spec::EnvKey(variable) => {
                let key = EnvKey::from_env(variable)?;
                Ok(Self {
                    legacy: Some(key.legacy()),
                    identity: key.recipient().clone(),
                    encrypter: Arc::new(key),
                })
            }
            Spec::KeyFile(path) => Ok(Self::sealing(KeyFile::open(path)?)),
            Spec::Noop => Err(Failure::usage("noop cannot be combined with keys").into()),
        }
    }

    fn sealing(key: impl Encrypter + 'static) -> Self {
        Self::from(Arc::new(key) as Arc<dyn Encrypter>)
    }
}

impl From<Arc<dyn Encrypter>> for Key {
    fn from(encrypter: Arc<dyn Encrypter>) -> Self {
        Self {
            identity: encrypter.recipient().clone(),
            encrypter,
            legacy: None,
        }
    }
}

impl From<encrypt::Error> for NoRing {
    fn from(error: encrypt::Error) -> Self {
        match error.kind() {
            ErrorKind::MissingKey => Self::Missing(error.into()),
            _ => Self::Other(error.into()),
        }
    }
}

impl From<Failure> for NoRing {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

impl From<NoRing> for Failure {
    fn from(missing: NoRing) -> Self {
        match missing {
            NoRing::NoDefault { failure, .. } | NoRing::Missing(failure) | NoRing::Other(failure) => failure,
        }
    }
}
