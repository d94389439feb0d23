use crate::exit::Failure;
use crate::keys::KeyOptions;
use clap::{Args, ColorChoice, ValueEnum};
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

const DEFAULT_ROOT: &str = ".unobin/state";

/// What every command accepts.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Options {
    /// The directory of the stacks: short for --backend local:DIR [env: STATECTL_ROOT] [default: .unobin/state]
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "backend")]
    root: Option<PathBuf>,

    /// Where the stacks are, as SCHEME:REST [env: STATECTL_BACKEND]
    #[arg(long, global = true, value_name = "URL")]
    backend: Option<String>,

    #[command(flatten)]
    pub(crate) keys: KeyOptions,

    /// Waits so long for a held lock, such as 5m; by default a held lock fails at once
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

    /// How the answer is printed
    #[arg(
        long,
        global = true,
        value_enum,
        env = "STATECTL_FORMAT",
        default_value_t = Format::Human
    )]
    pub(crate) format: Format,

    /// When to use colour; NO_COLOR is honoured [default: auto]
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, hide_default_value = true)]
    pub(crate) color: ColorChoice,
}

/// How the answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Human,
    /// One document, with `kind` and `format-version`
    Json,
}

impl Options {
    /// The address of the root. What is said on the command line comes before the environment.
    pub(crate) fn address(&self) -> Result<String, Failure> {
        let of_directory = |directory: PathBuf| match directory.into_os_string().into_string() {
            Ok(directory) => Ok(format!("local:{directory}")),
            Err(_) => Err(Failure::usage(
                "the path of the root is not UTF-8: use another one",
            )),
        };
        if let Some(backend) = &self.backend {
            return Ok(backend.clone());
        }
        if let Some(root) = &self.root {
            return of_directory(root.clone());
        }
        match (set("STATECTL_BACKEND"), set("STATECTL_ROOT")) {
            (Some(_), Some(_)) => Err(Failure::usage(
                "STATECTL_BACKEND and STATECTL_ROOT are both set: unset one of them",
            )),
            (Some(backend), None) => backend
                .into_string()
                .map_err(|_| Failure::usage("STATECTL_BACKEND is not UTF-8: use another address")),
            (None, Some(root)) => of_directory(root.into()),
            (None, None) => of_directory(DEFAULT_ROOT.into()),
        }
    }
}

/// The value of an environment variable; an empty one is none. What is not UTF-8 is kept so far that it is refused later:
/// a place to write to is not read with this.
pub(crate) fn variable(name: &str) -> Option<String> {
    Some(set(name)?.to_string_lossy().into_owned())
}

fn set(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it like 90s or 5m"))
}
