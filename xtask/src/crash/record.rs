//! Runs a script under strace and reads what it did.

use super::disk::Disk;
use super::log::{self, Call};
use super::script::Script;
use super::states::{Tree, without_crash};
use super::trace::{Trace, Tracer};
use std::env;
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// All that may change a file or a directory, or what a handle is, and the marks. A question mark: some machines do not
/// have it. What is in this list and not modelled is an error.
const CALLS: &str = "trace=?open,openat,?openat2,?creat,close,dup,?dup2,dup3,fcntl,write,writev,pwrite64,pwritev,\
    ?pwritev2,sendfile,copy_file_range,splice,truncate,ftruncate,fallocate,?mkdir,mkdirat,?rmdir,?rename,?renameat,\
    renameat2,?link,linkat,?unlink,unlinkat,?symlink,symlinkat,fsync,fdatasync,sync_file_range,?readlink,readlinkat";

/// One run of a script.
pub(super) struct Recording {
    pub(super) title: String,
    pub(super) trace: Trace,
}

/// Why nothing can be traced here; `None` when it can.
pub(super) fn obstacle() -> Option<String> {
    match Command::new("strace").args(["-o", "/dev/null", "true"]).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!(
            "strace may not trace here (allow ptrace, in a container with --cap-add SYS_PTRACE): {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some("strace is missing: install it, on Debian and Ubuntu with apt-get install strace".into())
        }
        Err(error) => Some(format!("strace does not start: {error}")),
    }
}

/// A directory in memory where the machine has one: nothing here depends on what a flush does.
pub(super) fn scratch() -> io::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir())
}

/// One recording; or one for each flush of the victim, and a last one in which it lives.
pub(super) fn record(script: &Script) -> Result<Vec<Recording>, Box<dyn Error>> {
    let mut recordings = Vec::new();
    if script.victim.is_none() {
        recordings.push(run(script, None)?.0);
        return Ok(recordings);
    }
    for flush in 1.. {
        let (recording, died) = run(script, Some(flush))?;
        recordings.push(recording);
        if !died {
            break;
        }
    }
    Ok(recordings)
}

fn run(script: &Script, victims_flush: Option<u32>) -> Result<(Recording, bool), Box<dyn Error>> {
    let place = scratch()?;
    let base: PathBuf = place.path().join("base");
    fs::create_dir(&base)?;
    let log_file = place.path().join("log");
    let mut tracer = Tracer::new(&base);
    let mut died = false;
    for (process, steps) in script.processes.iter().enumerate() {
        let kill_at = victims_flush.filter(|_| script.victim == Some(process));
        let (calls, was_killed) = trace(&base, &log_file, steps, kill_at)
            .map_err(|problem| format!("{}: {problem}", script.sentence))?;
        tracer.process(&calls)?;
        died |= was_killed;
    }
    let trace = tracer.finish();
    demand_that_nothing_was_overlooked(&trace, &base)?;
    let title = match victims_flush {
        Some(flush) if died => format!("{} (killed at its flush {flush})", script.sentence),
        Some(_) => format!("{} (not killed)", script.sentence),
        None => script.sentence.into(),
    };
    Ok((Recording { title, trace }, died))
}

/// What one process did, and whether it was killed as intended.
fn trace(
    base: &Path,
    log_file: &Path,
    steps: &[&str],
    kill_at: Option<u32>,
) -> Result<(Vec<Call>, bool), Box<dyn Error>> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-xx", "-s", "1000000", "-e", CALLS]);
    if let Some(flush) = kill_at {
        strace.args(["-e", &format!("inject=fsync:signal=SIGKILL:when={flush}")]);
    }
    let output = strace
        .arg("-o")
        .arg(log_file)
        .arg(env::current_exe()?)
        .arg("crash-script")
        .arg("--base")
        .arg(base)
        .args(steps)
        .output()?;
    let log = fs::read_to_string(log_file)?;
    let was_killed = kill_at.is_some() && log.contains("+++ killed by SIGKILL +++");
    if !output.status.success() && !was_killed {
        return Err(format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    Ok((log::parse(&log)?, was_killed))
}

/// Without a crash the model must hold what really lies there, name by name and byte by byte.
fn demand_that_nothing_was_overlooked(trace: &Trace, base: &Path) -> Result<(), Box<dyn Error>> {
    let mut disk = Disk::new(trace);
    for op in &trace.ops {
        disk.apply(op);
    }
    if without_crash(&disk) != Tree::read(base)? {
        return Err("the model does not hold what the script has left: a system call was overlooked".into());
    }
    Ok(())
}
