use super::lock_status::HolderOf;
use crate::context::Context;
use crate::exit::{FAILED, Failure};
use crate::output::Answer;
use clap::Args;
use sdk_state::{Backend as _, LockStatus, LockToken};
use serde::Serialize;
use std::io::{self, IsTerminal as _, Write as _};

/// Evicts the holder of a lock
///
/// Make sure that the holder is gone: what it changes from now on, nobody keeps from others. Its later moves of
/// `current` are refused. Without a token the holder is shown, and a question is asked on a terminal.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    statectl lock-status network/prod             # tells the token\n  \
    statectl force-unlock network/prod --token 0f8e2c…")]
pub(crate) struct ForceUnlock {
    /// FACTORY/STACK
    pub(super) stack: String,
    /// Evicts this holding and no other
    #[arg(long)]
    token: Option<String>,
    /// Asks nothing
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct Unlocked {
    stack: String,
    evicted: Option<HolderOf>,
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
        // Whoever came after the one that was shown is not meant.
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
        let holder = HolderOf::from(status.clone());
        output.notice(format_args!("{} is {}", self.stack, holder.in_short()));
        if !io::stdin().is_terminal() {
            return Err(
                Failure::usage("nobody can be asked here: say --yes or --token TOKEN")
                    .hint("`statectl lock-status STACK` tells the token of the holding that is meant"),
            );
        }
        match output.ask("evict this holder?") {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failure::new(FAILED, "cancelled", "nobody was evicted")),
            Err(source) => Err(Failure::io("cannot ask", &source)),
        }
    }

    fn answer(&self, context: &Context, evicted: Option<LockStatus>) -> Result<(), Failure> {
        context.output().answer(&Unlocked {
            stack: self.stack.clone(),
            evicted: evicted.map(HolderOf::from),
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
