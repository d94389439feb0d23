use crate::exit::Failure;
use crate::holder::HolderDocument;
use crate::output::Answer;
use crate::stack::Context;
use crate::unfinished::UnfinishedDocument;
use clap::Args;
use sdk_state::{LockStatus, LockToken};
use serde::Serialize;
use std::io::{self, Write as _};

/// Show who holds the lock, since when, and whether the holder is alive
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
    holder: Option<HolderDocument>,
    unfinished: Option<UnfinishedDocument>,
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
            holder: status.map(HolderDocument::from),
            unfinished: stack.unfinished(),
        })
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

/// Evict the holder of a lock
///
/// First make sure that the holder has stopped. After the eviction it cannot move `current`, but the changes that it is
/// making to the infrastructure go on. Without --token or --yes, statectl shows the holder and asks for confirmation at the
/// terminal.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    statectl lock-status network/prod             # shows the token\n  \
    statectl force-unlock network/prod --token 0f8e2c…")]
pub(crate) struct ForceUnlock {
    /// FACTORY/STACK
    pub(super) stack: String,
    /// Evict only the holder with this token
    #[arg(long)]
    token: Option<String>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct Unlocked {
    stack: String,
    evicted: Option<HolderDocument>,
}

impl ForceUnlock {
    pub(super) fn run(&self, context: &Context) -> Result<(), Failure> {
        let token: Option<LockToken> = super::parsed(self.token.as_deref())?;
        let stack = context.keyless(&self.stack)?;
        let Some(status) = stack.store().lock_status()? else {
            stack.demand_known()?;
            context
                .output()
                .notice(format_args!("{} is not locked", self.stack));
            return self.answer(context, None);
        };
        // A holder that came after the one that was shown is spared.
        let token = match token {
            Some(token) => Some(token),
            None => {
                self.confirm(context, &status)?;
                status.info.token.clone()
            }
        };
        let evicted = stack.store().force_unlock(token.as_ref())?;
        self.answer(
            context,
            evicted.map(|info| LockStatus::new(info, status.liveness)),
        )
    }

    fn confirm(&self, context: &Context, status: &LockStatus) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        let output = context.output();
        let holder = HolderDocument::from(status.clone());
        output.notice(format_args!("{} is {}", self.stack, holder.in_short()));
        let hint = "pass --token TOKEN, which `statectl lock-status STACK` shows, or --yes";
        output.confirm("evict this holder?", hint, "nobody was evicted")
    }

    fn answer(&self, context: &Context, evicted: Option<LockStatus>) -> Result<(), Failure> {
        context.output().answer(&Unlocked {
            stack: self.stack.clone(),
            evicted: evicted.map(HolderDocument::from),
        })
    }
}

impl Answer for Unlocked {
    const KIND: &'static str = "unlocked";

    fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        match &self.evicted {
            Some(holder) => {
                writeln!(page, "evicted from {}", self.stack)?;
                holder.in_full(page)
            }
            None => Ok(()),
        }
    }
}
