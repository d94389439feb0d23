//! Runs a script under strace. If the script says so, it disturbs one of its processes, in each run at another point.

use super::disk::{Disk, Tree, without_crash};
use super::script::{Fate, Mark, Process, Script, place};
use super::trace::{self, Argument, Call, Trace, Tracer};
use crate::place::scratch;
use crate::report::Trouble;
use crate::task;
use crate::task::Role;
use rustix::process::{Pid, Signal as Number, kill_process};
use sdk_state::Wait;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// One run of a script.
pub(super) struct Recording {
    pub(super) title: String,
    pub(super) trace: Trace,
}

/// One recording; or one for each point where the process is killed or overtaken, and a last one without.
pub(super) fn record(script: &Script, density: Density) -> Result<Vec<Recording>, Trouble> {
    let undisturbed = run(script, None)?;
    let (points, what) = match script.fate {
        Fate::None => return Ok(vec![undisturbed.recording]),
        Fate::Killed(process) => (to_kill(&undisturbed.calls[process], density), "killed at"),
        Fate::Overtaken(process) | Fate::OvertakenByKilled(process, _) => {
            (to_stop(&undisturbed.calls[process], density), "overtaken after")
        }
    };
    let mut recordings = Vec::new();
    for point in points {
        let mut recording = run(script, Some(&point))?.recording;
        recording.title = format!("{} ({what} {} {})", recording.title, point.name, point.number);
        recordings.push(recording);
    }
    recordings.push(undisturbed.recording);
    Ok(recordings)
}

struct Run {
    recording: Recording,
    /// What each process did.
    calls: Vec<Vec<Call>>,
}

fn run(script: &Script, point: Option<&CallNumber>) -> Result<Run, Trouble> {
    let place = scratch()?;
    let base = place.path().join("base");
    fs::create_dir(&base)?;
    let traced = |process: usize, signal: Option<Signal<'_>>| {
        let log = place.path().join(process.to_string());
        Traced::start(&base, &log, &script.processes[process], signal)
            .map_err(|problem| format!("{}: {problem}", script.sentence))
    };
    let mut tracer = Tracer::new(&base);
    let mut calls = Vec::new();
    while calls.len() < script.processes.len() {
        let process = calls.len();
        match (point, script.fate) {
            (Some(point), Fate::Killed(victim)) if victim == process => {
                let killed = traced(process, Some((Number::KILL, point)))?.end()?;
                tracer.run_to_its_end(&killed)?;
                calls.push(killed);
            }
            (Some(point), Fate::Overtaken(victim) | Fate::OvertakenByKilled(victim, _))
                if victim == process =>
            {
                let mut stopped = traced(process, Some((Number::STOP, point)))?;
                let first = stopped.wait_until_it_is_stopped()?;
                let killed_at = match script.fate {
                    Fate::OvertakenByKilled(_, number) => Some(CallNumber {
                        name: FLUSH.into(),
                        number,
                    }),
                    _ => None,
                };
                let between =
                    traced(process + 1, killed_at.as_ref().map(|call| (Number::KILL, call)))?.end()?;
                let all = stopped.end()?;
                let mut overtaken = tracer.start();
                tracer.run(&mut overtaken, &all[..first])?;
                tracer.run_to_its_end(&between)?;
                tracer.run(&mut overtaken, &all[first..])?;
                tracer.end();
                calls.extend([all, between]);
            }
            _ => {
                let all = traced(process, None)?.end()?;
                tracer.run_to_its_end(&all)?;
                calls.push(all);
            }
        }
    }
    let trace = tracer.finish();
    demand_that_nothing_was_overlooked(&trace, &base)?;
    let title = script.sentence.into();
    Ok(Run {
        recording: Recording { title, trace },
        calls,
    })
}

/// Without a crash the model must equal the real directory, name by name and byte by byte.
fn demand_that_nothing_was_overlooked(trace: &Trace, base: &Path) -> Result<(), Trouble> {
    let mut disk = Disk::new(trace);
    for op in &trace.ops {
        disk.apply(op);
    }
    if without_crash(&disk) != Tree::read(base)? {
        return Err("the model does not hold what the script has left: a system call was overlooked".into());
    }
    Ok(())
}

/// What std calls for `File::sync_all`.
const FLUSH: &str = "fsync";
/// The same for `File::sync_data`.
const FLUSH_OF_DATA: &str = "fdatasync";
/// Calls that change something, or look at what others may change.
const CALLS: &str =
    "fsync fdatasync openat mkdirat write pwrite64 ftruncate renameat renameat2 linkat unlinkat flock";

/// A call of a process, by its name and its number among those of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CallNumber {
    name: String,
    number: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Density {
    /// Before each flush, since there a power cut makes the greatest difference.
    Flushes,
    /// At each call.
    Calls,
}

/// The calls instead of which a process can be killed.
fn to_kill(calls: &[Call], density: Density) -> Vec<CallNumber> {
    chosen(calls, density).map(|at| number(calls, at)).collect()
}

/// The calls after which a process can be stopped: not inside the directory mutex, where nobody can overtake it.
fn to_stop(calls: &[Call], density: Density) -> Vec<CallNumber> {
    let inside = inside_the_mutex(calls);
    let before_flushes = chosen(calls, Density::Flushes).filter_map(|at| at.checked_sub(1));
    let mut points: BTreeSet<usize> = before_flushes.collect();
    if density == Density::Calls {
        points.extend(chosen(calls, density));
    }
    points
        .into_iter()
        .filter(|&at| !inside[at])
        .map(|at| number(calls, at))
        .collect()
}

/// Not before the first step: until then a program only starts.
fn chosen(calls: &[Call], density: Density) -> impl Iterator<Item = usize> {
    let first = calls.iter().position(is_mark).unwrap_or(calls.len());
    (first..calls.len()).filter(move |&at| match density {
        Density::Flushes => [FLUSH, FLUSH_OF_DATA].contains(&calls[at].name.as_str()),
        Density::Calls => CALLS.split(' ').any(|name| name == calls[at].name),
    })
}

fn is_mark(call: &Call) -> bool {
    call.arguments
        .iter()
        .any(|argument| matches!(argument, Argument::Bytes(path) if Mark::read(path).is_some()))
}

fn number(calls: &[Call], at: usize) -> CallNumber {
    let name = &calls[at].name;
    CallNumber {
        name: name.clone(),
        number: calls[..=at].iter().filter(|call| call.name == *name).count(),
    }
}

/// Whether the process is inside the directory mutex after each call. The mutex is an flock on `.`, opened anew.
fn inside_the_mutex(calls: &[Call]) -> Vec<bool> {
    let mut directories = BTreeSet::new();
    let mut mutex = None;
    let mut inside = Vec::new();
    for call in calls {
        let handle = match call.arguments.first() {
            Some(Argument::Word(word)) => word.parse().ok(),
            _ => None,
        };
        match (call.name.as_str(), call.arguments.get(1)) {
            ("openat", Some(Argument::Bytes(path))) if path == b"." => directories.extend(call.result),
            ("openat", _) => {
                call.result.map(|opened| directories.remove(&opened));
            }
            ("flock", Some(Argument::Word(operation))) if call.result.is_some() => {
                let is_directory = handle.is_some_and(|handle| directories.contains(&handle));
                if operation.contains("LOCK_EX") && is_directory {
                    mutex = handle;
                } else if operation.contains("LOCK_UN") && mutex == handle {
                    mutex = None;
                }
            }
            _ => {}
        }
        inside.push(mutex.is_some());
    }
    inside
}

/// Every call that may change a file, a directory or a handle; reads of links, for the marks; and flocks, which tell when a
/// process is inside the directory mutex. Some machines lack the calls with a question mark. A call of this list that touches
/// the base and is not modelled is an error.
const TRACED: &str = "trace=?open,openat,?openat2,?creat,close,dup,?dup2,dup3,fcntl,write,writev,pwrite64,pwritev,\
    ?pwritev2,sendfile,copy_file_range,splice,truncate,ftruncate,fallocate,?mkdir,mkdirat,?rmdir,?rename,?renameat,\
    renameat2,?link,linkat,?unlink,unlinkat,?symlink,symlinkat,fsync,fdatasync,sync_file_range,?readlink,readlinkat,\
    flock";

/// A process that has not ended after this never will.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(1);
/// The line of the log for a process that a signal has stopped.
const STOPPED: &str = "--- stopped by SIGSTOP ---";
const KILLED: &str = "+++ killed by SIGKILL +++";

/// A signal for a process at one of its calls: it is killed instead of the call, or stopped after it.
type Signal<'a> = (Number, &'a CallNumber);

/// A process that runs, or is stopped. It does not outlive this value.
struct Traced {
    child: Child,
    log: PathBuf,
    signal: Option<Number>,
}

impl Traced {
    /// Starts this program to do `steps` in `base`.
    fn start(base: &Path, log: &Path, steps: &[&str], signal: Option<Signal<'_>>) -> Result<Self, Trouble> {
        let mut command = Command::new("strace");
        command.args(["-f", "-xx", "-s", "1000000", "-e", TRACED]);
        if let Some((signal, call)) = signal {
            let signal = if signal == Number::KILL {
                "SIGKILL"
            } else {
                "SIGSTOP"
            };
            let inject = format!("inject={}:signal={signal}:when={}", call.name, call.number);
            command.args(["-e", &inject]);
        }
        let process = Process {
            place: place(base),
            steps: steps.iter().copied().map(String::from).collect(),
        };
        let child = task::traced(command, log, &Role::Script(process))?
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Self {
            child,
            log: log.into(),
            signal: signal.map(|(signal, _)| signal),
        })
    }

    /// The number of calls that it has made until then.
    fn wait_until_it_is_stopped(&mut self) -> Result<usize, Trouble> {
        let wait = Wait::at_most(PATIENCE);
        loop {
            // The log is whole at the end of a line, and that is the last one for now.
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            if log.contains(STOPPED) {
                return Ok(trace::parse(&log)?.len());
            }
            if self.child.try_wait()?.is_some() || !wait.pause(PAUSE) {
                return Err("the process was not stopped where it should have been".into());
            }
        }
    }

    /// All the calls that it has made, once it has ended. One that is stopped goes on.
    fn end(mut self) -> Result<Vec<Call>, Trouble> {
        if self.signal == Some(Number::STOP) {
            self.send(Number::CONT)?;
        }
        let status = self.child.wait()?;
        let log = fs::read_to_string(&self.log)?;
        let was_killed = self.signal == Some(Number::KILL) && log.contains(KILLED);
        if status.success() || was_killed {
            return trace::parse(&log);
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

    fn send(&self, signal: Number) -> Result<(), Trouble> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_never_stopped_inside_the_directory_mutex() {
        let log = r#"7 fsync(3) = 0
7 readlink("MARK", 0x7ff, 1024) = -1 ENOENT (No such file or directory)
7 openat(3, "\x2e", O_RDONLY) = 4
7 flock(4, LOCK_EX|LOCK_NB) = 0
7 renameat(3, "\x61", 3, "\x62") = 0
7 flock(4, LOCK_UN) = 0
7 fsync(4) = 0"#;
        let mark = "/crash-mark/\"Ended\""
            .bytes()
            .map(|byte| format!("\\x{byte:02x}"));
        let calls = trace::parse(&log.replace("MARK", &mark.collect::<String>())).unwrap();
        let names = |points: Vec<CallNumber>| -> Vec<String> {
            points
                .iter()
                .map(|point| format!("{} {}", point.name, point.number))
                .collect()
        };
        assert_eq!(
            names(to_stop(&calls, Density::Calls)),
            ["openat 1", "flock 2", "fsync 2"]
        );
        assert_eq!(names(to_stop(&calls, Density::Flushes)), ["flock 2"]);
        assert_eq!(names(to_kill(&calls, Density::Flushes)), ["fsync 2"]);
        assert_eq!(to_kill(&calls, Density::Calls).len(), 5);
    }
}
