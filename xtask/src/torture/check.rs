//! Compares what lies there with what was promised.

use super::Torment;
use super::worker::{Entry, Ground, UNOBIN, count_of, read_journal};
use crate::report::{Report, Trouble};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(super) fn check(ground: &Ground, torment: &Torment<'_>, report: &mut Report<'_>) -> Result<(), Trouble> {
    let noted = Noted::read(ground, torment)?;
    let stored = Stored::look(ground, &noted)?;
    let leftovers = ground.place.leftovers()?.len();
    let dirt = ground.place.clean()?;
    let mut waits = torment.waits.clone();
    waits.sort_unstable();
    let milliseconds = |wait: Option<&Duration>| wait.copied().unwrap_or_default().as_secs_f64() * 1000.0;
    report.line(format_args!(
        "critical sections {} and {} of unobin, kills {}, takeovers {}, overlaps {}\n\
         acknowledged revisions {}, of them deleted {}, lost {}; acknowledged increments {}, the counter is {}\n\
         wait after the kill of a holder: median {:.1} ms, 99 of 100 {:.1} ms, longest {:.1} ms of {}; leftover files {leftovers}",
        noted.sections,
        noted.sections_of_unobin,
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
    ));

    let unless = |holds: bool, problem: &str| {
        if holds {
            Vec::new()
        } else {
            vec![problem.to_owned()]
        }
    };
    let max = noted.counted.iter().max().copied().unwrap_or_default();
    let most = noted.counted.len() + torment.kills;
    let counter = [
        unless(
            noted.repeated.is_empty(),
            &format!("counted twice: {:?}", noted.repeated),
        ),
        unless(
            stored.count >= max,
            &format!("the counter is {}, and was {max}", stored.count),
        ),
        unless(
            stored.count <= most as u64,
            &format!("the counter is {} of at most {most}", stored.count),
        ),
    ];
    for (sentence, problems) in [
        (
            "L1: nobody was in a critical section together with another",
            unless(noted.overlaps == 0, &format!("{} overlaps", noted.overlaps)),
        ),
        (
            "L1: ours and unobin both had turns",
            unless(
                noted.sections > 0 && noted.sections_of_unobin > 0,
                "one of them had none",
            ),
        ),
        (
            "L2: killed holders were replaced",
            unless(noted.takeovers > 0, "no lock was taken over"),
        ),
        (
            "L2 W6: the lock is not stuck, and leftover files are cleaned once they are old",
            dirt,
        ),
        (
            "W1: every acknowledged revision that was not deleted is there with its bytes",
            stored.lost,
        ),
        ("W2: every listed revision can be read", stored.unreadable),
        (
            "C1: current is readable and holds the counter",
            stored.current_problems,
        ),
        ("C2: no acknowledged increment was lost", counter.concat()),
        (
            "nobody met an error",
            [noted.problems.clone(), torment.problems.clone()].concat(),
        ),
    ] {
        report.check(sentence, &problems);
    }
    Ok(())
}

/// What all journals say together.
#[derive(Debug, Default)]
struct Noted {
    sections: usize,
    sections_of_unobin: usize,
    takeovers: usize,
    overlaps: usize,
    wrote: BTreeMap<String, String>,
    deleting: BTreeSet<String>,
    counted: BTreeSet<u64>,
    repeated: Vec<u64>,
    problems: Vec<String>,
}

impl Noted {
    fn read(ground: &Ground, torment: &Torment<'_>) -> Result<Self, Trouble> {
        let mut noted = Self::default();
        for name in torment.names.iter().map(String::as_str).chain([UNOBIN]) {
            for entry in read_journal(&ground.journal(name))? {
                match entry {
                    Entry::Section if name == UNOBIN => noted.sections_of_unobin += 1,
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
                    Entry::Counted(count) if !noted.counted.insert(count) => noted.repeated.push(count),
                    Entry::Counted(_) => {}
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
    current_problems: Vec<String>,
}

impl Stored {
    fn look(ground: &Ground, noted: &Noted) -> Result<Self, Trouble> {
        let store = ground.place.open()?;
        let mut stored = Self::default();
        for (rev, text) in &noted.wrote {
            match store.get(&rev.parse()?) {
                Ok(note) if note.0 == *text => {}
                Ok(note) => stored
                    .lost
                    .push(format!("{rev} holds {:?} instead of {text:?}", note.0)),
                Err(error) if error.is_not_found() && noted.deleting.contains(rev) => {}
                Err(error) => stored.lost.push(format!("{rev}: {error}")),
            }
        }
        for rev in store.list()? {
            stored
                .unreadable
                .extend(store.get(&rev).err().map(|error| error.to_string()));
        }
        match store.head() {
            Ok(head) => match head.and_then(|head| count_of(&head.document.0)) {
                Some(count) => stored.count = count,
                None => stored.current_problems.push("current is no counter".into()),
            },
            Err(error) => stored.current_problems.push(error.to_string()),
        }
        Ok(stored)
    }
}
