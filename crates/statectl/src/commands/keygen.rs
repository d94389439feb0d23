use crate::exit::{FAILED, Failure};
use crate::keys;
use crate::output::Answer;
use crate::stack::Context;
use crate::text;
use clap::Args;
use sdk_state::encrypt::{Age, AgeKey, Error, KeyFile, MasterKey, Published};
use serde::Serialize;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Make a new key
///
/// The key is one of age's, as age-keygen makes it: keep the file to yourself, and give others its public key, age1…. Without
/// PATH, the secret key is printed, for use in an environment variable, and the public key goes to standard error.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    statectl keygen /keys/prod                    # for --encrypter age:/keys/prod\n  \
    export STATE_KEY=$(statectl keygen)           # for --encrypter age-env:STATE_KEY\n  \
    export STATE_KEY=$(statectl keygen --base64)  # for --encrypter env-key:STATE_KEY")]
pub(crate) struct Keygen {
    /// The key file to make, readable by you alone; an existing file is left as it is
    path: Option<PathBuf>,
    /// Make 32 bytes in base64 instead, for env-key and key-file: the kind of key that unobin knows
    #[arg(long)]
    base64: bool,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct NewKey<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

impl Keygen {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let path = self.path.as_deref().and_then(Path::to_str);
        if path.is_some_and(keys::is_key) {
            return Err(Failure::usage("this is a key, not the path of a file to make"));
        }
        match self.base64 {
            false => {
                let key = AgeKey::generate()?;
                let named = NewKey {
                    public_key: Some(key.public().to_string()),
                    ..NewKey::default()
                };
                let create = |path: &Path| Age::create(path, &key, text::now());
                self.publish(context, named, &key.to_text(), &key.public().to_string(), create)
            }
            true => {
                let key = MasterKey::generate()?;
                let fingerprint = key.fingerprint().to_string();
                let named = NewKey {
                    fingerprint: Some(fingerprint.clone()),
                    ..NewKey::default()
                };
                let create = |path: &Path| KeyFile::create(path, &key);
                let name = format!("fingerprint {fingerprint}");
                self.publish(context, named, &key.to_base64(), &name, create)
            }
        }
    }

    /// Prints the key, or puts it into the file.
    fn publish<'a>(
        &self,
        context: &Context,
        mut answer: NewKey<'a>,
        secret: &'a str,
        name: &str,
        create: impl FnOnce(&Path) -> Result<Published, Error>,
    ) -> Result<(), Failure> {
        let output = context.output();
        match &self.path {
            None => answer.key = Some(secret),
            Some(path) => {
                if create(path)? == Published::Before {
                    let message = format!("{} exists and was left as it is", path.display());
                    return Err(Failure::new(FAILED, "exists", message)
                        .hint("give another path, or move the old key away"));
                }
                answer.path = Some(path.display().to_string());
            }
        }
        match &self.path {
            _ if output.is_json() => {}
            None => output.notice(name),
            Some(path) => output.notice(keys::made(path, name)),
        }
        output.answer(&answer)
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
