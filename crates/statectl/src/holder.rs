//! The holder of a lock, for people and for programs.

use crate::table::fields;
use crate::text::{age, now, plain};
use sdk_state::{Liveness, LockInfo, LockStatus};
use serde::Serialize;
use std::fs;
use std::io;
use std::path::Path;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The holder as the lock records it, and the processes that hold the lock now.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct HolderDocument {
    author: Option<String>,
    host: Option<String>,
    run: Option<String>,
    tool: Option<String>,
    pid: Option<u32>,
    operation: Option<String>,
    since: Option<String>,
    liveness: &'static str,
    token: Option<String>,
    /// The processes that keep the lock although `pid` has ended, where that can be found out.
    kept_by: Vec<Process>,
    #[serde(skip)]
    is_pid_gone: bool,
    #[serde(skip)]
    time: Option<OffsetDateTime>,
    #[serde(skip)]
    words: String,
}

/// A running process.
#[derive(Serialize)]
struct Process {
    pid: u32,
    command: String,
}

impl From<LockStatus> for HolderDocument {
    fn from(status: LockStatus) -> Self {
        let info = status.info;
        let is_pid_gone = status.liveness == Liveness::Alive && is_pid_gone(&info);
        let kept_by = match (is_pid_gone, info.pid) {
            (true, Some(pid)) => processes_with_flock_of(pid),
            _ => Vec::new(),
        };
        let words = info.to_string();
        let holder = info.holder;
        Self {
            author: holder.provenance.author,
            host: holder.provenance.host,
            run: holder.provenance.run,
            tool: holder.provenance.tool,
            pid: info.pid,
            operation: Some(holder.operation).filter(|operation| !operation.is_empty()),
            since: holder.since.and_then(|since| since.format(&Rfc3339).ok()),
            liveness: match status.liveness {
                Liveness::Alive => "alive",
                Liveness::Dead => "dead",
                Liveness::Expired => "expired",
                _ => "unknown",
            },
            token: info.token.map(|token| token.to_string()),
            kept_by,
            is_pid_gone,
            time: holder.since,
            words,
        }
    }
}

impl HolderDocument {
    /// One line: who, since when, alive or not.
    pub(crate) fn in_short(&self) -> String {
        let since = self.time.map(|time| format!("taken {}, ", age(time, now())));
        let state = match self.liveness {
            "unknown" => "perhaps alive",
            liveness => liveness,
        };
        format!("held by {}, {}{state}", self.words, since.unwrap_or_default())
    }

    /// Everything, one fact a line.
    pub(crate) fn in_full(&self, page: &mut Vec<u8>) -> io::Result<()> {
        let text = |text: &Option<String>| plain(text.as_deref().unwrap_or("unknown"));
        let meaning = match self.liveness {
            "alive" => "alive",
            "dead" => "dead: the next command gets the lock",
            "expired" => "presumed dead: it has not renewed its lease",
            _ => "unknown: look for the process on its machine",
        };
        let since = match (&self.since, self.time) {
            (Some(since), Some(time)) => format!("{since} ({})", age(time, now())),
            _ => "unknown".into(),
        };
        fields(
            page,
            &[
                ("author", text(&self.author)),
                ("host", text(&self.host)),
                ("process", self.process()),
                ("holder is", meaning.into()),
                ("for", text(&self.operation)),
                ("since", since),
                ("tool", text(&self.tool)),
                ("token", text(&self.token)),
            ],
        )
    }

    /// The process that took the lock, and those that keep it.
    fn process(&self) -> String {
        let Some(pid) = self.pid else {
            return "unknown".into();
        };
        if !self.is_pid_gone {
            return pid.to_string();
        }
        let kept_by: Vec<String> = self
            .kept_by
            .iter()
            .map(|process| format!("{} ({})", process.pid, plain(&process.command)))
            .collect();
        let kept_by = match kept_by.is_empty() {
            true => "a process that it started still holds the lock".into(),
            false => format!("the lock is still held by {}", kept_by.join(", ")),
        };
        format!("{pid}, which has ended; {kept_by}")
    }
}

/// Whether the process that took the lock ran on this machine since its last boot, and has ended.
fn is_pid_gone(info: &LockInfo) -> bool {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    match (info.pid, boot_id) {
        (Some(pid), Some(boot_id)) => {
            info.boot_id.as_deref() == Some(boot_id.trim()) && !Path::new(&format!("/proc/{pid}")).exists()
        }
        _ => false,
    }
}

/// The processes that have a file open that `owner` locked with flock(2), among those that this user may inspect (proc(5),
/// `/proc/PID/fdinfo`). A command under `statectl lock` inherits the lock this way.
fn processes_with_flock_of(owner: u32) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut found: Vec<Process> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| has_flock_of(*pid, owner))
        .map(|pid| Process {
            pid,
            command: fs::read_to_string(format!("/proc/{pid}/comm"))
                .map_or_else(|_| "?".into(), |name| name.trim().to_owned()),
        })
        .collect();
    found.sort_by_key(|process| process.pid);
    found
}

fn has_flock_of(pid: u32, owner: u32) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else {
        return false;
    };
    files.flatten().any(|file| {
        let info = fs::read_to_string(file.path()).unwrap_or_default();
        info.lines().any(|line| is_flock_of(line, owner))
    })
}

/// `lock:  1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF`
fn is_flock_of(line: &str, owner: u32) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some("lock:")
        && words.nth(1) == Some("FLOCK")
        && words.nth(2).and_then(|pid| pid.parse().ok()) == Some(owner)
}
