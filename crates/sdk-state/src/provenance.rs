use crate::{Error, ErrorKind};

/// Where a snapshot comes from: recorded with every write, shown by lists and by whoever waits for the lock.
///
/// It is stored in clear, so that a list can be shown without a key: no secret belongs in it. Each text is at most
/// 4096 bytes; a longer one makes every write [`TooLarge`](ErrorKind::TooLarge). Nothing proves it: who can write to the
/// store can claim to be anybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Provenance {
    /// The run that writes, such as a CI job's number or address.
    pub run: Option<String>,
    /// Who writes.
    pub who: Option<String>,
    /// On which machine.
    pub host: Option<String>,
    /// With which tool, such as `statectl 0.1.0`.
    pub tool: Option<String>,
}

/// The longest text of provenance in bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 4096;

impl Provenance {
    /// Nothing known.
    pub fn new() -> Self {
        Self::default()
    }

    /// With the run that writes.
    #[must_use]
    pub fn with_run(mut self, run: impl Into<String>) -> Self {
        self.run = Some(run.into());
        self
    }

    /// With who writes.
    #[must_use]
    pub fn with_who(mut self, who: impl Into<String>) -> Self {
        self.who = Some(who.into());
        self
    }

    /// With the machine.
    #[must_use]
    pub fn with_host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// With the tool.
    #[must_use]
    pub fn with_tool(mut self, tool: impl Into<String>) -> Self {
        self.tool = Some(tool.into());
        self
    }

    pub(crate) fn check(&self, message: Option<&str>) -> Result<(), Error> {
        let texts = [
            ("run", self.run.as_deref()),
            ("author", self.who.as_deref()),
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
