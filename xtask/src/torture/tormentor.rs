use super::Trouble;
use super::place::Place;
use super::random::Random;
use sdk_state::Wait;
use std::env;
use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Between two kills, at most.
const CALM: Duration = Duration::from_millis(60);
/// Between two kills of a pair: the second one is to hit whoever takes over from the first.
const SHOCK: Duration = Duration::from_millis(4);
/// A lock that nobody takes over for so long is stuck.
const STUCK: Duration = Duration::from_secs(10);
/// How long everybody has to come to an end.
const PATIENCE: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_micros(200);

/// What was done, and what was seen from outside.
#[derive(Debug, Default)]
pub(super) struct Torment {
    pub(super) names: Vec<String>,
    pub(super) kills: usize,
    /// From the kill of a holder to the next one's marker, where nobody else was killed meanwhile. Whether anybody was
    /// waiting for it is not known from outside, so these are upper bounds.
    pub(super) waits: Vec<Duration>,
    pub(super) problems: Vec<String>,
}

/// Starts everybody, kills and replaces them until the time is over, and waits for the end of those who live.
pub(super) fn run(place: &Place, seed: u64, processes: u64, time: Duration) -> Result<Torment, Trouble> {
    let mut random = Random::new(seed);
    let mut torment = Torment {
        names: (0..processes).map(|number| number.to_string()).collect(),
        ..Torment::default()
    };
    let mut crowd = Crowd::default();
    crowd.0.push(start(
        place,
        &["torture-original", "--seed", &random.next().to_string()],
    )?);
    for name in &torment.names {
        crowd.0.push(start_actor(place, name, random.next())?);
    }
    let until = Wait::at_most(time);
    let is_left = |wait: &Wait, pause| wait.pause(pause);
    while is_left(&until, random.time(CALM)) {
        let is_a_pair = random.below(2) == 0;
        torment.kill_one(place, &mut crowd, &mut random, !is_a_pair)?;
        if is_a_pair && is_left(&until, random.time(SHOCK)) {
            torment.kill_one(place, &mut crowd, &mut random, true)?;
        }
    }
    fs::write(place.stop(), "")?;
    torment.await_all(crowd)?;
    Ok(torment)
}

impl Torment {
    fn kill_one(
        &mut self,
        place: &Place,
        crowd: &mut Crowd,
        random: &mut Random,
        watches: bool,
    ) -> Result<(), Trouble> {
        let victim = self.choose(place, crowd, random);
        // The original is the first.
        let child = &mut crowd.0[victim + 1];
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
        if watches && marker_pid(place) == Some(pid) {
            let wait = Wait::at_most(STUCK);
            while marker_pid(place) == Some(pid) {
                if !wait.pause(GLANCE) {
                    self.problems.push(format!(
                        "nobody took the lock of a killed holder over in {STUCK:?}"
                    ));
                    break;
                }
            }
            self.waits.push(death.elapsed());
        }
        *child = start_actor(place, &self.names[victim], random.next())?;
        Ok(())
    }

    /// Every other time the holder of the lock, if it is one of ours: otherwise few of the killed would be one.
    fn choose(&self, place: &Place, crowd: &Crowd, random: &mut Random) -> usize {
        let anybody = random.below(self.names.len() as u64) as usize;
        let holder = || {
            let pid = marker_pid(place)?;
            crowd.0.iter().skip(1).position(|child| child.id() == pid)
        };
        match random.below(2) {
            0 => holder().unwrap_or(anybody),
            _ => anybody,
        }
    }

    fn await_all(&mut self, mut crowd: Crowd) -> Result<(), Trouble> {
        let wait = Wait::at_most(PATIENCE);
        for child in &mut crowd.0 {
            loop {
                match child.try_wait()? {
                    Some(status) if status.success() => break,
                    Some(status) => {
                        self.problems.push(format!("a process ended with {status}"));
                        break;
                    }
                    None if !wait.pause(Duration::from_millis(5)) => {
                        self.problems
                            .push(format!("a process hangs {PATIENCE:?} after the end"));
                        break;
                    }
                    None => {}
                }
            }
        }
        Ok(())
    }
}

/// Nobody outlives the task, whatever becomes of it.
#[derive(Default)]
struct Crowd(Vec<Child>);

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn start_actor(place: &Place, name: &str, seed: u64) -> Result<Child, Trouble> {
    start(
        place,
        &["torture-actor", "--name", name, "--seed", &seed.to_string()],
    )
}

fn start(place: &Place, arguments: &[&str]) -> Result<Child, Trouble> {
    Ok(Command::new(env::current_exe()?)
        .args(arguments)
        .arg("--directory")
        .arg(place.directory())
        .spawn()?)
}

/// Whose process id the marker tells, read without the library.
fn marker_pid(place: &Place) -> Option<u32> {
    let marker = fs::read(place.marker()).ok()?;
    let line = marker.split(|&byte| byte == b'\n').next()?;
    str::from_utf8(line).ok()?.parse().ok()
}
