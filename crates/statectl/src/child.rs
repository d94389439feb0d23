//! Signals, while a program that this process started has the terminal.

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs;
use std::io;
use std::process::{Child, ExitStatus};

/// The signals that this process handles. A signal that the parent ignores, as `nohup` does, stays ignored.
pub(crate) fn handled_signals() -> impl Iterator<Item = i32> {
    deadly_signals().chain([SIGCHLD])
}

/// Those of them that end a process that does not handle them.
pub(crate) fn deadly_signals() -> impl Iterator<Item = i32> {
    let ignored = ignored_signals();
    [SIGINT, SIGTERM, SIGHUP]
        .into_iter()
        .filter(move |signal| ignored & (1 << (signal - 1)) == 0)
}

/// One bit for each signal, where the system says so.
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default()
}

/// A terminal sends an interrupt to both processes, so the command handles it. Signals that are sent to this process alone
/// are passed on.
pub(crate) fn wait_for(child: &mut Child, signals: &mut Signals) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        // The child is not reaped before the next turn, so its number is nobody else's.
        for signal in signals.wait() {
            if matches!(signal, SIGTERM | SIGHUP)
                && let Some(signal) = Signal::from_named_raw(signal)
            {
                // It may have ended just now.
                let _ = kill_process(Pid::from_child(child), signal);
            }
        }
    }
}
