//! Processes that are killed with signal 9 at random moments. Some write, move `current`, delete and lock; others make runs,
//! whose changes are counted.

mod check;
pub(crate) mod executor;
mod laws;
mod ledger;
mod runs;
mod segment;
mod virtual_disk;
pub(crate) mod worker;

use crate::props::{fresh_seed, random};
use crate::report::{Trouble, report};
use crate::task::{Role, command};
use clap::Args;
use proptest::prelude::Rng as _;
use proptest::test_runner::TestRng;
use sdk_state::Wait;
use std::fs;
use std::process::{Child, ExitCode};
use std::time::{Duration, Instant};
use worker::{Ground, Process};

/// Options of `cargo xtask torture`.
#[derive(Args)]
pub struct Options {
    /// How long each part takes
    #[arg(long, default_value_t = 0.5, value_name = "M")]
    minutes: f64,
    /// Repeats the schedule of a run, as far as the machine does: the seed that it printed
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Processes of ours that count under the lock
    #[arg(long, default_value_t = 6, value_name = "N")]
    processes: u64,
    /// Also makes runs on a small disk that is filled and whose power is cut; needs root
    #[arg(long)]
    power_cuts: bool,
}

/// Between two kills, at most.
const CALM: Duration = Duration::from_millis(60);
/// Between two kills of a pair: the second one is to hit the process that takes over from the first.
const SHOCK: Duration = Duration::from_millis(4);
/// A lock that nobody takes over for so long is stuck.
const STUCK: Duration = Duration::from_secs(10);
/// How long everybody has to come to an end.
const PATIENCE: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_micros(200);

/// Runs the processes, kills them, and checks what they leave.
pub fn run(options: &Options) -> ExitCode {
    let seed = options.seed.unwrap_or_else(fresh_seed);
    let Options {
        processes,
        minutes,
        power_cuts,
        ..
    } = options;
    report(|report| {
        report.line(format_args!(
            "seed {seed}, {processes} processes and one of unobin, {minutes} minutes"
        ));
        let directory = tempfile::tempdir()?;
        let ground = Ground::new(directory.path());
        let time = Duration::try_from_secs_f64(minutes * 60.0)?;
        let mut torment = Torment::start(&ground, seed, *processes)?;
        torment.kill_until(&Wait::at_most(time))?;
        torment.end()?;
        check::check(&ground, &torment, report)?;
        runs::torment(runs::Ground::Directory, seed, time, report)?;
        match power_cuts {
            true => runs::torment(runs::Ground::Disk, seed, time, report),
            false => Ok(()),
        }
    })
}

/// What was done, and what was seen from outside.
struct Torment<'a> {
    ground: &'a Ground,
    random: TestRng,
    names: Vec<String>,
    /// The stand-in for unobin, and one process for each name.
    children: Vec<Child>,
    kills: usize,
    /// From the kill of a holder to the next one's marker, where nobody else was killed meanwhile. Nobody
    /// outside knows whether a process was waiting, so these are upper bounds.
    waits: Vec<Duration>,
    problems: Vec<String>,
}

impl<'a> Torment<'a> {
    fn start(ground: &'a Ground, seed: u64, processes: u64) -> Result<Self, Trouble> {
        let mut torment = Self {
            ground,
            random: random(seed),
            names: (0..processes).map(|number| number.to_string()).collect(),
            children: Vec::new(),
            kills: 0,
            waits: Vec::new(),
            problems: Vec::new(),
        };
        let process = torment.process(worker::UNOBIN);
        torment.children.push(command(&Role::Unobin(process))?.spawn()?);
        for name in torment.names.clone() {
            let process = torment.process(&name);
            torment
                .children
                .push(command(&Role::Tormented(process))?.spawn()?);
        }
        Ok(torment)
    }

    fn process(&mut self, name: &str) -> Process {
        Process {
            ground: self.ground.clone(),
            name: name.into(),
            seed: self.random.next_u64(),
        }
    }

    fn kill_until(&mut self, end: &Wait) -> Result<(), Trouble> {
        while end.pause(worker::up_to(&mut self.random, CALM)) {
            let is_a_pair = self.random.next_u32().is_multiple_of(2);
            self.kill_one(!is_a_pair)?;
            if is_a_pair && end.pause(worker::up_to(&mut self.random, SHOCK)) {
                self.kill_one(true)?;
            }
        }
        Ok(())
    }

    /// Kills one process and starts another in its place.
    fn kill_one(&mut self, watches: bool) -> Result<(), Trouble> {
        let victim = self.choose();
        let child = &mut self.children[victim];
        let pid = child.id();
        let death = Instant::now();
        if let Some(status) = child.try_wait()? {
            self.problems
                .push(format!("process {victim} ended on its own: {status}"));
        } else {
            child.kill()?;
            child.wait()?;
            self.kills += 1;
        }
        if watches && self.ground.marker_pid() == Some(pid) {
            let wait = Wait::at_most(STUCK);
            while self.ground.marker_pid() == Some(pid) {
                if !wait.pause(GLANCE) {
                    self.problems.push(format!(
                        "nobody took the lock of a killed holder over in {STUCK:?}"
                    ));
                    break;
                }
            }
            self.waits.push(death.elapsed());
        }
        let process = self.process(&self.names[victim - 1].clone());
        self.children[victim] = command(&Role::Tormented(process))?.spawn()?;
        Ok(())
    }

    /// Every other time the holder of the lock, if it is one of ours: otherwise few of the killed would be one.
    fn choose(&mut self) -> usize {
        let anybody = 1 + self.random.next_u32() as usize % self.names.len();
        if self.random.next_u32().is_multiple_of(2) {
            return anybody;
        }
        let holder = self.ground.marker_pid();
        let ours = self
            .children
            .iter()
            .skip(1)
            .position(|child| Some(child.id()) == holder);
        ours.map_or(anybody, |position| position + 1)
    }

    /// Lets everybody come to an end.
    fn end(&mut self) -> Result<(), Trouble> {
        fs::write(self.ground.stop(), "")?;
        let wait = Wait::at_most(PATIENCE);
        for child in &mut self.children {
            let end = loop {
                match child.try_wait()? {
                    Some(status) => break status.to_string(),
                    None if !wait.pause(Duration::from_millis(5)) => break "nothing: it hangs".into(),
                    None => {}
                }
            };
            if end != "exit status: 0" {
                self.problems.push(format!("a process ended with {end}"));
            }
        }
        Ok(())
    }
}

/// Nobody outlives the task, whatever becomes of it.
impl Drop for Torment<'_> {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
