use crate::exit::{FAILED, Failure};
use crate::output::Answer;
use crate::stack::Context;
use clap::Args;
use sdk_state::encrypt::{KeyFile, MasterKey, Published};
use serde::Serialize;
use std::io::{self, Write as _};
use std::path::PathBuf;

/// Make a new key
///
/// Without PATH, the key is printed as base64, for use in an environment variable, and its fingerprint goes to standard
/// error.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    statectl keygen /keys/prod                    # for --encrypter key-file:/keys/prod\n  \
    export STATE_KEY=$(statectl keygen)           # for --encrypter env-key:STATE_KEY")]
pub(crate) struct Keygen {
    /// The key file to make, readable by you alone; an existing file is left as it is
    path: Option<PathBuf>,
}

#[derive(Serialize)]
struct NewKey<'a> {
    fingerprint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

impl Keygen {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let key = MasterKey::generate()?;
        let output = context.output();
        let fingerprint = key.fingerprint().to_string();
        let Some(path) = &self.path else {
            if !output.is_json() {
                output.notice(format_args!("fingerprint {fingerprint}"));
            }
            return output.answer(&NewKey {
                fingerprint,
                path: None,
                key: Some(&key.to_base64()),
            });
        };
        if KeyFile::create(path, &key)? == Published::Before {
            return Err(Failure::new(
                FAILED,
                "exists",
                format!("{} exists and was left as it is", path.display()),
            )
            .hint("give another path, or move the old key away"));
        }
        if !output.is_json() {
            output.notice(format_args!(
                "made the key {} (fingerprint {fingerprint}); back it up: if you lose it, you lose what it seals",
                path.display()
            ));
        }
        output.answer(&NewKey {
            fingerprint,
            path: Some(path.display().to_string()),
            key: None,
        })
    }
}

impl Answer for NewKey<'_> {
    const KIND: &'static str = "key";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        match self.key {
            Some(key) => writeln!(page, "{key}"),
            None => Ok(()),
        }
    }
}
