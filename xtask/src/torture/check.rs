use super::actor::count_of;
use super::journal::{self, Entry};
use super::place::Place;
use super::tormentor::Torment;
use super::{Trouble, original};
use sdk_state::{Backend as _, ErrorKind, Lock, Revision, Wait};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);
/// Longer than a temporary has to lie there before it is cleaned.
const OLD: Duration = Duration::from_secs(2 * 3600);

/// Compares what lies there with what was promised, and prints it; whether all is well.
pub(super) fn write(place: &Place, torment: &Torment, out: &mut impl Write) -> Result<bool, Trouble> {
    let noted = Noted::read(place, torment)?;
    let (stored, litter) = (Stored::look(place, &noted)?, clean(place)?);
    let mut waits = torment.waits.clone();
    waits.sort_unstable();
    let milliseconds = |wait: Option<&Duration>| wait.copied().unwrap_or_default().as_secs_f64() * 1000.0;
    writeln!(
        out,
        "critical sections {} and {} of the original, kills {}, takeovers {}, overlaps {}\n\
         acknowledged revisions {}, of them deleted {}, lost {}; acknowledged increments {}, the counter is {}\n\
         wait after the kill of a holder: median {:.1} ms, 99 of 100 {:.1} ms, longest {:.1} ms of {}; temporaries of the killed {}",
        noted.sections,
        noted.sections_of_original,
        torment.kills,
        noted.takeovers,
        noted.overlaps,
        noted.wrote.len(),
        noted.deleting.len(),
        stored.lost.len(),
        noted.counted.len(),
        stored.count,
        milliseconds(waits.get(waits.len() / 2)),
        milliseconds(waits.get(waits.len() * 99 / 100)),
        milliseconds(waits.last()),
        waits.len(),
        litter.found,
    )?;

    let max = noted.counted.iter().max().copied().unwrap_or_default();
    let counted = noted.counted.len() as u64;
    let checks: [(&str, Vec<String>); 10] = [
        (
            "L1: nobody was in a critical section together with another",
            unless(noted.overlaps == 0, || format!("{} overlaps", noted.overlaps)),
        ),
        (
            "L1: ours and the original both had turns",
            unless(noted.sections > 0 && noted.sections_of_original > 0, || {
                "one of them had none".into()
            }),
        ),
        (
            "L2: killed holders were replaced",
            unless(noted.takeovers > 0, || "no lock was taken over".into()),
        ),
        ("L2: the lock is not stuck at the end", litter.stuck),
        (
            "W1: every acknowledged revision that was not deleted is there with its bytes",
            stored.lost,
        ),
        ("W2: whatever is listed can be read", stored.unreadable),
        (
            "C1: current is readable and holds the counter",
            stored.current_problem.into_iter().collect(),
        ),
        (
            "C2: no acknowledged increment was lost",
            [
                unless(noted.repeated.is_empty(), || {
                    format!("counted twice: {:?}", noted.repeated)
                }),
                unless(stored.count >= max, || {
                    format!("the counter is {}, and was {max}", stored.count)
                }),
                unless(stored.count <= counted + torment.kills as u64, || {
                    format!(
                        "the counter is {} after {counted} acknowledged increments",
                        stored.count
                    )
                }),
            ]
            .concat(),
        ),
        (
            "W6: temporaries of the killed are cleaned once they are old",
            litter.stays,
        ),
        (
            "nobody met an error",
            [noted.problems, torment.problems.clone()].concat(),
        ),
    ];
    let mut failed = 0;
    for (sentence, problems) in &checks {
        if problems.is_empty() {
            writeln!(out, "holds   {sentence}")?;
        } else {
            failed += 1;
            let shown: Vec<_> = problems.iter().take(10).map(String::as_str).collect();
            writeln!(
                out,
                "BROKEN  {sentence}, {} times\n    {}",
                problems.len(),
                shown.join("\n    ")
            )?;
        }
    }
    writeln!(out, "{} passed, {failed} failed", checks.len() - failed)?;
    Ok(failed == 0)
}

fn unless(holds: bool, problem: impl FnOnce() -> String) -> Vec<String> {
    match holds {
        true => Vec::new(),
        false => vec![problem()],
    }
}

/// What all journals say together.
#[derive(Debug, Default)]
struct Noted {
    sections: usize,
    sections_of_original: usize,
    takeovers: usize,
    overlaps: usize,
    wrote: BTreeMap<Revision, String>,
    deleting: BTreeSet<Revision>,
    counted: BTreeSet<u64>,
    repeated: Vec<u64>,
    problems: Vec<String>,
}

impl Noted {
    fn read(place: &Place, torment: &Torment) -> Result<Self, Trouble> {
        let mut noted = Self::default();
        for name in torment.names.iter().map(String::as_str).chain([original::NAME]) {
            for entry in journal::read(place, name)? {
                match entry {
                    Entry::Section if name == original::NAME => noted.sections_of_original += 1,
                    Entry::Section => noted.sections += 1,
                    Entry::TookOver => noted.takeovers += 1,
                    Entry::Overlap => noted.overlaps += 1,
                    Entry::Wrote(rev, text) => {
                        if let Some(other) = noted.wrote.insert(rev.clone(), text) {
                            noted
                                .problems
                                .push(format!("{rev} was given twice, first for {other:?}"));
                        }
                    }
                    Entry::Deleting(rev) => drop(noted.deleting.insert(rev)),
                    Entry::Counted(count) => {
                        if !noted.counted.insert(count) {
                            noted.repeated.push(count);
                        }
                    }
                    Entry::Problem(problem) => noted.problems.push(format!("process {name}: {problem}")),
                }
            }
        }
        Ok(noted)
    }
}

/// What lies there at the end.
#[derive(Debug, Default)]
struct Stored {
    lost: Vec<String>,
    unreadable: Vec<String>,
    count: u64,
    current_problem: Option<String>,
}

impl Stored {
    fn look(place: &Place, noted: &Noted) -> Result<Self, Trouble> {
        let store = place.open()?;
        let mut stored = Self::default();
        for (rev, text) in &noted.wrote {
            match store.get(rev) {
                Ok(note) if note.0 == *text => {}
                Ok(note) => stored
                    .lost
                    .push(format!("{rev} holds {:?} instead of {text:?}", note.0)),
                Err(error) if error.kind() == &ErrorKind::NotFound && noted.deleting.contains(rev) => {}
                Err(error) => stored.lost.push(format!("{rev}: {error}")),
            }
        }
        for rev in store.list()? {
            if let Err(error) = store.get(&rev) {
                stored.unreadable.push(format!("{rev}: {error}"));
            }
        }
        match store.head().map(|(_, note)| count_of(&note.0)) {
            Ok(Some(count)) => stored.count = count,
            Ok(None) => stored.current_problem = Some("current is no counter".into()),
            Err(error) => stored.current_problem = Some(error.to_string()),
        }
        Ok(stored)
    }
}

#[derive(Debug, Default)]
struct Litter {
    found: usize,
    stays: Vec<String>,
    stuck: Vec<String>,
}

/// Makes what the killed have left old, and lets a lock clean it.
fn clean(place: &Place) -> Result<Litter, Trouble> {
    let mut litter = Litter::default();
    // The first of two locks may take a marker over that has a second name.
    for _ in 0..2 {
        let found = temporaries(place)?;
        litter.found = litter.found.max(found.len());
        for path in found {
            let file = File::options().write(true).open(path)?;
            file.set_modified(file.metadata()?.modified()? - OLD)?;
        }
        let lock = place.open()?.lock("clean", &Wait::at_most(PATIENCE));
        litter
            .stuck
            .extend(lock.and_then(Lock::unlock).err().map(|error| error.to_string()));
    }
    let still = temporaries(place)?;
    litter
        .stays
        .extend(still.into_iter().map(|path| path.display().to_string()));
    Ok(litter)
}

fn temporaries(place: &Place) -> Result<Vec<PathBuf>, Trouble> {
    let mut found = Vec::new();
    for directory in [place.stack(), place.stack().join("snapshots")] {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}
