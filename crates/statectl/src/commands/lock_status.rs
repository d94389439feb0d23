use crate::clock;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::Answer;
use crate::table::fields;
use crate::words::{age, plain};
use clap::Args;
use sdk_state::{Backend as _, Liveness, LockStatus};
use serde::Serialize;
use std::io::{self, Write as _};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Tells who holds the lock, since when, and whether that process lives
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  statectl lock-status network/prod")]
pub(crate) struct LockStatusCommand {
    /// FACTORY/STACK
    pub(super) stack: String,
}

#[derive(Serialize)]
struct Status {
    stack: String,
    locked: bool,
    holder: Option<HolderOf>,
}

/// The holder of a lock, as far as the lock tells.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct HolderOf {
    who: Option<String>,
    host: Option<String>,
    pid: Option<u32>,
    operation: Option<String>,
    tool: Option<String>,
    since: Option<String>,
    liveness: &'static str,
    token: Option<String>,
    #[serde(skip)]
    time: Option<OffsetDateTime>,
    #[serde(skip)]
    words: String,
}

impl LockStatusCommand {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let stack = context.keyless(&self.stack)?;
        let status = stack.store().lock_status()?;
        if status.is_none() {
            stack.demand_known()?;
        }
        context.output().answer(&Status {
            stack: self.stack.clone(),
            locked: status.is_some(),
            holder: status.map(HolderOf::from),
        })
    }
}

impl From<LockStatus> for HolderOf {
    fn from(status: LockStatus) -> Self {
        let words = status.info.to_string();
        let info = status.info;
        Self {
            who: info.user,
            host: info.host,
            pid: info.pid,
            operation: info.operation,
            tool: info.tool,
            since: info.since.and_then(|since| since.format(&Rfc3339).ok()),
            liveness: match status.liveness {
                Liveness::Alive => "alive",
                Liveness::Dead => "dead",
                _ => "unknown",
            },
            token: info.token.map(|token| token.to_string()),
            time: info.since,
            words,
        }
    }
}

impl HolderOf {
    /// One line: who, since when, alive or not.
    pub(super) fn in_short(&self) -> String {
        let since = self
            .time
            .map(|time| format!("taken {}, ", age(time, clock::now())));
        format!(
            "held by {}, {}{}",
            self.words,
            since.unwrap_or_default(),
            match self.liveness {
                "unknown" => "perhaps alive",
                liveness => liveness,
            }
        )
    }

    /// Everything, one fact a line.
    pub(super) fn in_full(&self, page: &mut Vec<u8>) -> io::Result<()> {
        let text = |text: &Option<String>| plain(text.as_deref().unwrap_or("unknown"));
        let meaning = match self.liveness {
            "alive" => "alive",
            "dead" => "dead: the next one who asks gets the lock",
            _ => "unknown: look for the process on its machine",
        };
        let since = match (&self.since, self.time) {
            (Some(since), Some(time)) => format!("{since} ({})", age(time, clock::now())),
            _ => "unknown".into(),
        };
        fields(
            page,
            &[
                ("who", text(&self.who)),
                ("host", text(&self.host)),
                (
                    "process",
                    self.pid.map_or("unknown".into(), |pid| pid.to_string()),
                ),
                ("holder is", meaning.into()),
                ("for", text(&self.operation)),
                ("since", since),
                ("tool", text(&self.tool)),
                ("token", text(&self.token)),
            ],
        )
    }
}

impl Answer for Status {
    const KIND: &'static str = "lock-status";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        match &self.holder {
            Some(holder) => {
                writeln!(page, "{} is locked", self.stack)?;
                holder.in_full(page)
            }
            None => writeln!(page, "{} is not locked", self.stack),
        }
    }
}
