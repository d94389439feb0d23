//! Runs that are killed, evicted, rolled back and robbed of space and power, one after the other on one stack.

use super::executor::{self, Field, Process};
use super::laws::Laws;
use super::ledger::{Ledger, Note, Reader};
use super::virtual_disk::{Cache, VirtualDisk};
use super::worker::up_to;
use crate::place::Place;
use crate::props::random;
use crate::report::{Report, Trouble};
use crate::task::{Role, command};
use proptest::prelude::Rng as _;
use proptest::test_runner::TestRng;
use sdk_state::{ErrorKind, LockToken, Wait};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

/// The numbers of threads of the processes that compete for the lock.
const THREADS: [usize; 3] = [1, 4, 10];
/// The longest time between two blows.
const CALM: Duration = Duration::from_millis(120);
/// The longest time that a disk stays full.
const FULL: Duration = Duration::from_millis(30);
/// How long the processes have to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most parts that a disk writes back before its power is cut.
const PARTS: u64 = 200;

/// What happens to the runs beside kills, evictions and rollbacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ground {
    /// A directory.
    Directory,
    /// A small disk that is filled, and whose power is cut.
    Disk,
}

pub(super) fn torment(
    ground: Ground,
    seed: u64,
    time: Duration,
    report: &mut Report<'_>,
) -> Result<(), Trouble> {
    let directory = tempfile::tempdir()?;
    let root = directory.path().join("root");
    fs::create_dir_all(&root)?;
    let disk = match ground {
        Ground::Directory => None,
        Ground::Disk => match VirtualDisk::new(&root, Cache::With) {
            Ok(disk) => Some(disk),
            Err(trouble) => {
                report.skips(format_args!(
                    "power cuts: not permitted here, they need root, loop devices and e2fsprogs ({trouble})"
                ));
                return Ok(());
            }
        },
    };
    let mut torment = Torment::new(directory.path(), disk, seed)?;
    let end = Wait::at_most(time);
    while end.pause(up_to(&mut torment.random, CALM)) {
        torment.strike()?;
        torment.listen()?;
    }
    torment.end()?;
    torment.tell(ground, report);
    Ok(())
}

struct Torment {
    field: Field,
    random: TestRng,
    ledger: Ledger,
    reader: Reader,
    laws: Laws,
    /// The number of the process that is started next.
    next: u64,
    executors: Vec<(u64, Child)>,
    readers: Vec<(u64, Child)>,
    /// The last field, so that nobody uses the disk when it is unmounted.
    disk: Option<VirtualDisk>,
}

impl Torment {
    fn new(directory: &Path, disk: Option<VirtualDisk>, seed: u64) -> Result<Self, Trouble> {
        let field = Field {
            place: Place::new(directory.join("root").join("store")),
            ledger: directory.join("ledger"),
            stop: directory.join("stop"),
            fills: disk.is_some(),
        };
        let ledger = Ledger::open(&field.ledger, 0)?;
        let reader = Reader::open(&field.ledger)?;
        let mut torment = Self {
            field,
            random: random(seed),
            ledger,
            reader,
            laws: Laws::new(),
            next: 1,
            executors: Vec::new(),
            readers: Vec::new(),
            disk,
        };
        torment.start_all()?;
        Ok(torment)
    }

    fn start_all(&mut self) -> Result<(), Trouble> {
        for threads in THREADS {
            let child = self.start(threads, Role::Executing)?;
            self.executors.push(child);
        }
        let child = self.start(0, Role::Reading)?;
        self.readers.push(child);
        Ok(())
    }

    fn start(&mut self, threads: usize, role: impl Fn(Process) -> Role) -> Result<(u64, Child), Trouble> {
        let number = self.next;
        self.next += 1;
        let process = Process {
            field: self.field.clone(),
            number,
            threads,
            seed: self.random.next_u64(),
        };
        Ok((number, command(&role(process))?.spawn()?))
    }

    fn listen(&mut self) -> Result<(), Trouble> {
        for (process, note) in self.reader.news()? {
            self.laws.add(process, note);
        }
        Ok(())
    }

    fn strike(&mut self) -> Result<(), Trouble> {
        match (self.random.next_u32() % 16, self.disk.is_some()) {
            (0, _) => self.evict(),
            (1..=2, true) => self.fill(),
            (3..=8, true) => self.cut(),
            _ => self.kill(),
        }
    }

    /// Mostly the process whose run began last.
    fn kill(&mut self) -> Result<(), Trouble> {
        self.listen()?;
        let anybody = self.random.next_u32() as usize % self.executors.len();
        let holder = self.laws.holder.as_ref().map(|holder| holder.process);
        let holder = self
            .executors
            .iter()
            .position(|(number, _)| Some(*number) == holder);
        let victim = match holder {
            Some(holder) if !self.random.next_u32().is_multiple_of(8) => holder,
            _ => anybody,
        };
        let threads = THREADS[victim];
        let (number, child) = &mut self.executors[victim];
        end(&self.ledger, *number, child)?;
        self.executors[victim] = self.start(threads, Role::Executing)?;
        Ok(())
    }

    /// Chooses only a run that is known to have begun, because another could note too late what it found.
    fn evict(&mut self) -> Result<(), Trouble> {
        self.listen()?;
        let Some(holder) = &self.laws.holder else {
            return Ok(());
        };
        let token: LockToken = holder.token.parse()?;
        self.ledger.note(&Note::Evicted(holder.process))?;
        match self.field.store()?.force_unlock(Some(&token)) {
            Ok(_) => Ok(()),
            Err(error) if error.is_locked() || error.is_outcome_unknown() => Ok(()),
            Err(error) if self.field.fills && error.kind() == &ErrorKind::Io => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Fills the disk for a moment.
    fn fill(&mut self) -> Result<(), Trouble> {
        let path = self.field.place.root().with_file_name("filler");
        let mut file = fs::File::create(&path)?;
        let block = [1; 64 << 10];
        while file.write_all(&block).is_ok() {}
        self.ledger.note(&Note::Filled)?;
        Wait::forever().pause(up_to(&mut self.random, FULL));
        drop(file);
        Ok(fs::remove_file(path)?)
    }

    fn cut(&mut self) -> Result<(), Trouble> {
        let Some(disk) = self.disk.take() else {
            return Ok(());
        };
        for _ in 0..self.random.next_u64() % PARTS {
            disk.write_back(self.random.next_u64())?;
        }
        self.ledger.note(&Note::Cut)?;
        disk.cut()?;
        for (number, child) in self.executors.iter_mut().chain(&mut self.readers) {
            end(&self.ledger, *number, child)?;
        }
        self.executors.clear();
        self.readers.clear();
        let cache = match self.random.next_u32() % 3 {
            0 => Cache::Without,
            _ => Cache::With,
        };
        self.disk = Some(disk.restart(cache)?);
        self.ledger.note(&Note::Mounted)?;
        self.start_all()
    }

    /// Lets every process end, and checks what they leave.
    fn end(&mut self) -> Result<(), Trouble> {
        fs::write(&self.field.stop, "")?;
        let wait = Wait::at_most(PATIENCE);
        for (number, child) in self.executors.iter_mut().chain(&mut self.readers) {
            let end = loop {
                match child.try_wait()? {
                    Some(status) => break status.to_string(),
                    None if !wait.pause(Duration::from_millis(5)) => break "nothing: it hangs".into(),
                    None => {}
                }
            };
            if end != "exit status: 0" {
                self.ledger
                    .note(&Note::Problem(format!("process {number} ended with {end}")))?;
            }
        }
        // The last run: it changes nothing, and finishes.
        let last = Process {
            field: self.field.clone(),
            number: self.next,
            threads: 1,
            seed: 0,
        };
        let looked = executor::look(&last);
        self.listen()?;
        let store = self.field.store()?;
        let problems = &mut self.laws.broken.problems;
        problems.extend(looked.err().map(|trouble| format!("the last run: {trouble}")));
        if self.field.place.stack().join("journal").exists() {
            problems.push("a journal stays after the last run has finished".into());
        }
        if let Some(unfinished) = store.unfinished()? {
            problems.push(format!("{} changes stay unfinished", unfinished.changes));
        }
        problems.extend(self.field.place.clean()?);
        for rev in store.list()? {
            problems.extend(store.get(&rev).err().map(|error| format!("{rev}: {error}")));
        }
        Ok(())
    }

    fn tell(&self, ground: Ground, report: &mut Report<'_>) {
        let (counts, broken) = (&self.laws.counts, &self.laws.broken);
        let by_threads = |threads| counts.kills_in_runs.get(&threads).copied().unwrap_or_default();
        let [one, four, ten] = THREADS.map(by_threads);
        report.line(format_args!(
            "runs {}: finished {}, rolled back {}, evictions {}; kills {}, of them in runs of 1, 4 and 10 threads {one}, {four} \
             and {ten}; disks filled {}, power cuts {}",
            counts.runs,
            counts.finished,
            counts.rollbacks,
            counts.evictions,
            counts.kills,
            counts.fills,
            counts.cuts,
        ));
        report.line(format_args!(
            "changes acknowledged {}, refused {}, lost {}; locks taken over {}, recoveries {} of {} changes; reads {}, of \
             them of unfinished changes {}",
            counts.acknowledged,
            counts.refused,
            counts.lost,
            counts.takeovers,
            counts.recoveries,
            counts.recovered,
            counts.reads,
            counts.reads_of_unfinished,
        ));
        let acted = !counts.kills_in_runs.is_empty()
            && counts.recoveries > 0
            && counts.finished > 0
            && counts.reads_of_unfinished > 0
            && (ground == Ground::Directory || counts.cuts > 0);
        let idle: Vec<_> = (!acted)
            .then_some("one of these never happened")
            .into_iter()
            .collect();
        report.check(
            "R1: the next run finds every acknowledged change, unless it was rolled back",
            &broken.changes,
        );
        report.check(
            "R1: it is told how many changes it commits for a dead run",
            &broken.recovered,
        );
        report.check(
            "R2: a reader finds a prefix of the changes, with those that were acknowledged before it began",
            &broken.reads,
        );
        report.check("R3: a run leaves one revision at most", &broken.revisions);
        report.check(
            "nobody met an error, and the last run leaves no journal",
            &broken.problems,
        );
        report.check("runs were killed, recovered, finished and read", &idle);
    }
}

fn end(ledger: &Ledger, number: u64, child: &mut Child) -> Result<(), Trouble> {
    if let Some(status) = child.try_wait()? {
        return ledger.note(&Note::Problem(format!(
            "process {number} ended on its own: {status}"
        )));
    }
    // Noted before: the next holder of the lock may be faster than this process.
    ledger.note(&Note::Killed(number))?;
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// Ends every process with the task, however the task ends.
impl Drop for Torment {
    fn drop(&mut self) {
        for (_, child) in self.executors.iter_mut().chain(&mut self.readers) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
