use crate::{Error, ErrorKind};

/// Who and what made a change: recorded with every write, and shown to everybody who waits for the lock.
///
/// It is stored unencrypted, so that lists need no key: put no secret here. Each text has at most 4096 bytes; with a longer
/// one, every write is [`TooLarge`](ErrorKind::TooLarge). Provenance proves nothing: anybody who can write to the store can
/// claim to be anybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Provenance {
    /// The run that writes, such as the number or the address of a CI job.
    pub run: Option<String>,
    /// The person or account that writes.
    pub author: Option<String>,
    /// The machine.
    pub host: Option<String>,
    /// The tool, such as `statectl 0.1.0`.
    pub tool: Option<String>,
}

/// The longest text of provenance in bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 4096;
/// A longer user name is cut, so that an odd environment does not prevent writes.
#[cfg(unix)]
const MAX_AUTHOR_CHARS: usize = 256;

impl Provenance {
    /// Makes an empty provenance.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the author and the host of this process.
    ///
    /// The author is `$USER`, else `$LOGNAME`, else `uid` and the number of the user (`getuid(2)`), cut after 256 characters;
    /// the variables are claims of the user, not proof. The host is the node name of `uname(2)`.
    #[cfg(unix)]
    pub fn of_this_process() -> Self {
        let author = ["USER", "LOGNAME"]
            .into_iter()
            .filter_map(|variable| std::env::var(variable).ok())
            .find(|user| !user.is_empty())
            .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
        let author: String = author.chars().take(MAX_AUTHOR_CHARS).collect();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self::new().with_author(author).with_host(host)
    }

    /// Sets the run.
    #[must_use]
    pub fn with_run(mut self, run: impl Into<String>) -> Self {
        self.run = Some(run.into());
        self
    }

    /// Sets the author.
    #[must_use]
    pub fn with_author(mut self, author: impl Into<String>) -> Self {
        self.author = Some(author.into());
        self
    }

    /// Sets the machine.
    #[must_use]
    pub fn with_host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Sets the tool.
    #[must_use]
    pub fn with_tool(mut self, tool: impl Into<String>) -> Self {
        self.tool = Some(tool.into());
        self
    }

    pub(crate) fn check(&self, message: Option<&str>) -> Result<(), Error> {
        let texts = [
            ("run", self.run.as_deref()),
            ("author", self.author.as_deref()),
            ("host", self.host.as_deref()),
            ("tool", self.tool.as_deref()),
            ("message", message),
        ];
        for (what, text) in texts {
            if text.is_some_and(|text| text.len() > MAX_TEXT_BYTES) {
                return Err(Error::new(
                    ErrorKind::TooLarge,
                    format!("the {what} is longer than {MAX_TEXT_BYTES} bytes: shorten it"),
                ));
            }
        }
        Ok(())
    }
}
