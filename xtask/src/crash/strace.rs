//! One process under strace.

use super::log::{self, Call};
use super::points::CallNumber;
use rustix::process::{Pid, Signal as Number, kill_process};
use sdk_state::Wait;
use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// All that may change a file or a directory, or what a handle is; the links that are read, for the marks; and the flocks,
/// which tell when a process is inside the gate. Some machines do not have those with a question mark. What is in this
/// list, touches the base and is not modelled is an error.
const CALLS: &str = "trace=?open,openat,?openat2,?creat,close,dup,?dup2,dup3,fcntl,write,writev,pwrite64,pwritev,\
    ?pwritev2,sendfile,copy_file_range,splice,truncate,ftruncate,fallocate,?mkdir,mkdirat,?rmdir,?rename,?renameat,\
    renameat2,?link,linkat,?unlink,unlinkat,?symlink,symlinkat,fsync,fdatasync,sync_file_range,?readlink,readlinkat,\
    flock";

/// A process that is not done yet needs so much time only when it never will be.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(1);
/// What the log says of a process that a signal has stopped.
const STOPPED: &str = "--- stopped by SIGSTOP ---";
const KILLED: &str = "+++ killed by SIGKILL +++";

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

/// What a process is sent at one of its calls.
#[derive(Debug, Clone, Copy)]
pub(super) enum Signal<'a> {
    /// Instead of the call.
    Kill(&'a CallNumber),
    /// After the call.
    Stop(&'a CallNumber),
}

/// A process that runs, or is stopped. It does not outlive this value.
pub(super) struct Traced {
    child: Child,
    log: PathBuf,
    signal: Option<Number>,
}

impl Traced {
    /// Starts this program to do `steps` in `base`.
    pub(super) fn start(
        base: &Path,
        log: &Path,
        steps: &[&str],
        signal: Option<Signal<'_>>,
    ) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new("strace");
        command.args(["-f", "-xx", "-s", "1000000", "-e", CALLS]);
        if let Some(Signal::Kill(call) | Signal::Stop(call)) = signal {
            let name = match signal {
                Some(Signal::Kill(_)) => "SIGKILL",
                _ => "SIGSTOP",
            };
            command.args([
                "-e",
                &format!("inject={}:signal={name}:when={}", call.name, call.number),
            ]);
        }
        let child = command
            .arg("-o")
            .arg(log)
            .arg(env::current_exe()?)
            .arg("crash-script")
            .arg("--base")
            .arg(base)
            .args(steps)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Self {
            child,
            log: log.into(),
            signal: signal.map(|signal| match signal {
                Signal::Kill(_) => Number::KILL,
                Signal::Stop(_) => Number::STOP,
            }),
        })
    }

    /// The number of calls that it has made until then.
    pub(super) fn wait_until_it_is_stopped(&mut self) -> Result<usize, Box<dyn Error>> {
        let wait = Wait::at_most(PATIENCE);
        loop {
            // The log is whole at the end of a line, and that is the last one for now.
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            if log.contains(STOPPED) {
                return Ok(log::parse(&log)?.len());
            }
            if self.child.try_wait()?.is_some() || !wait.pause(PAUSE) {
                return Err("the process was not stopped where it should have been".into());
            }
        }
    }

    /// All the calls that it has made, once it has ended. One that is stopped goes on.
    pub(super) fn end(mut self) -> Result<Vec<Call>, Box<dyn Error>> {
        if self.signal == Some(Number::STOP) {
            self.send(Number::CONT)?;
        }
        let status = self.child.wait()?;
        let log = fs::read_to_string(&self.log)?;
        let was_killed = self.signal == Some(Number::KILL) && log.contains(KILLED);
        if status.success() || was_killed {
            return log::parse(&log);
        }
        let mut words = format!("{status}: ");
        if let Some(stdout) = &mut self.child.stdout {
            stdout.read_to_string(&mut words)?;
        }
        if let Some(stderr) = &mut self.child.stderr {
            stderr.read_to_string(&mut words)?;
        }
        Err(words.into())
    }

    fn send(&self, signal: Number) -> Result<(), Box<dyn Error>> {
        let log = fs::read_to_string(&self.log)?;
        let id = log.split_whitespace().next().ok_or("the log is empty")?.parse()?;
        let process = Pid::from_raw(id).ok_or("the log names no process")?;
        Ok(kill_process(process, signal)?)
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // After an error a stopped process would stay for ever. strace ends with it.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.send(Number::KILL);
            let _ = self.child.wait();
        }
    }
}
