//! Those who act: threads of this process and processes of their own, asked in the same words.

use super::servant::Servant;
use std::env;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};

pub(super) enum Actor {
    Thread(Sender<String>, Receiver<String>),
    Process(Process),
}

pub(super) struct Process {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Actor {
    pub(super) fn thread() -> Self {
        let (to, lines) = mpsc::channel::<String>();
        let (answers, from) = mpsc::channel();
        std::thread::spawn(move || {
            let mut servant = Servant::default();
            for line in lines {
                if answers.send(servant.obey(&line)).is_err() {
                    break;
                }
            }
        });
        Self::Thread(to, from)
    }

    pub(super) fn process() -> io::Result<Self> {
        Process::start().map(Self::Process)
    }

    pub(super) fn ask(&mut self, line: &str) -> io::Result<String> {
        match self {
            Self::Thread(to, from) => {
                to.send(line.into()).map_err(io::Error::other)?;
                from.recv().map_err(io::Error::other)
            }
            Self::Process(process) => process.ask(line),
        }
    }

    /// Puts another in its place if it has not survived a case that failed.
    pub(super) fn revive(&mut self) -> io::Result<()> {
        if self.ask("").is_err() {
            *self = match self {
                Self::Thread(..) => Self::thread(),
                Self::Process(_) => Self::process()?,
            };
        }
        Ok(())
    }

    /// Kills a process with signal 9 and puts another in its place. A thread cannot be killed.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        if let Self::Process(process) = self {
            // The old one is killed where it is dropped: after this one was started, so that this one cannot have
            // inherited its lock from anybody who looked at it.
            *process = Process::start()?;
        }
        Ok(())
    }
}

impl Process {
    fn start() -> io::Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .arg("props-locker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let missing = || io::Error::other("a process without its pipes");
        Ok(Self {
            to: child.stdin.take().ok_or_else(missing)?,
            from: BufReader::new(child.stdout.take().ok_or_else(missing)?),
            child,
        })
    }

    fn ask(&mut self, line: &str) -> io::Result<String> {
        writeln!(self.to, "{line}")?;
        let mut answer = String::new();
        if self.from.read_line(&mut answer)? == 0 {
            return Err(io::Error::other("a process has ended on its own"));
        }
        Ok(answer.trim_end().into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The kernel has closed its files by the time that it can be waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What such a process does: obeys its standard input until that ends.
pub(crate) fn run_locker() -> ExitCode {
    let mut servant = Servant::default();
    let mut out = io::stdout().lock();
    for line in io::stdin().lines() {
        let answered = line.and_then(|line| {
            writeln!(out, "{}", servant.obey(&line))?;
            out.flush()
        });
        if answered.is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
