//! A worker that is a process of its own, and can be killed.

use crate::history::Obeys;
use crate::place::Place;
use crate::report::Trouble;
use crate::task::{Role, command};
use crate::worker::Worker;
use sdk_state::encrypt::Noop;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

pub(super) struct Process {
    name: &'static str,
    place: Option<Place>,
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Process {
    pub(super) fn start(name: &'static str) -> io::Result<Self> {
        let mut child = command(&Role::Obey)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let missing = || io::Error::other("a process without its pipes");
        Ok(Self {
            name,
            place: None,
            to: child.stdin.take().ok_or_else(missing)?,
            from: BufReader::new(child.stdout.take().ok_or_else(missing)?),
            child,
        })
    }

    /// Gives back what it had, and goes on in another place. Another one is started if it did not survive a case that failed.
    pub(super) fn work_in(&mut self, place: &Place) -> io::Result<()> {
        if self.ask("").is_err() {
            *self = Self::start(self.name)?;
        }
        self.place = Some(place.clone());
        self.ask(&format!("open {} {}", self.name, place.root().display()))
            .map(drop)
    }
}

impl Obeys for Process {
    fn ask(&mut self, line: &str) -> io::Result<String> {
        writeln!(self.to, "{line}")?;
        let mut answer = String::new();
        if self.from.read_line(&mut answer)? == 0 {
            return Err(io::Error::other("a process has ended on its own"));
        }
        Ok(answer.trim_end().into())
    }

    fn kill(&mut self) -> io::Result<bool> {
        let place = self.place.clone();
        // The old one is killed where it is dropped: after this one was started, so that this one cannot have inherited its
        // lock from anybody who looked at it.
        *self = Self::start(self.name)?;
        if let Some(place) = place {
            self.work_in(&place)?;
        }
        Ok(true)
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
pub(crate) fn obey() -> Result<(), Trouble> {
    let mut worker: Option<Worker> = None;
    let mut out = io::stdout().lock();
    for line in io::stdin().lines() {
        let line = line?;
        let answer = match (
            line.strip_prefix("open ").and_then(|rest| rest.split_once(' ')),
            &mut worker,
        ) {
            (Some((name, root)), _) => {
                worker = Some(Worker::new(name, Place::new(root).backend()?, Noop));
                "open".into()
            }
            (None, Some(worker)) => worker.obey(&line),
            (None, None) => String::new(),
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}
