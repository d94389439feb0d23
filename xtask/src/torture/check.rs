//! Compares what lies there with what was promised.

use super::Torment;
use super::worker::{Entry, Ground, UNOBIN, count_of, read_journal};
use crate::report::{Report, Trouble};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What all journals say together.
#[derive(Default)]
struct Noted {
    sections: usize,
    sections_of_unobin: usize,
    takeovers: usize,
    overlaps: Vec<String>,
    wrote: BTreeMap<String, String>,
    deleting: BTreeSet<String>,
    counted: BTreeSet<u64>,
    repeated: Vec<String>,
    problems: Vec<String>,
}

impl Noted {
    fn read(ground: &Ground, torment: &Torment<'_>) -> Result<Self, Trouble> {
        let mut noted = Self {
            problems: torment.problems.clone(),
            ..Self::default()
        };
        for name in torment.names.iter().map(String::as_str).chain([UNOBIN]) {
            for entry in read_journal(&ground.journal(name))? {
                match entry {
                    Entry::Section if name == UNOBIN => noted.sections_of_unobin += 1,
                    Entry::Section => noted.sections += 1,
                    Entry::TookOver => noted.takeovers += 1,
                    Entry::Overlap => noted.overlaps.push(format!("process {name} was not alone")),
                    Entry::Wrote(rev, text) => {
                        if let Some(other) = noted.wrote.insert(rev.clone(), text) {
                            noted
                                .problems
                                .push(format!("{rev} was given twice, first for {other:?}"));
                        }
                    }
                    Entry::Deleting(rev) => drop(noted.deleting.insert(rev)),
                    Entry::Counted(count) if noted.counted.insert(count) => {}
                    Entry::Counted(count) => noted.repeated.push(format!("{count} was counted twice")),
                    Entry::Problem(problem) => noted.problems.push(format!("process {name}: {problem}")),
                }
            }
        }
        Ok(noted)
    }
}

pub(super) fn check(ground: &Ground, torment: &Torment<'_>, report: &mut Report<'_>) -> Result<(), Trouble> {
    let mut noted = Noted::read(ground, torment)?;
    let store = ground.place.open()?;
    let mut lost = Vec::new();
    for (rev, text) in &noted.wrote {
        match store.get(&rev.parse()?) {
            Ok(note) if note.0 == *text => {}
            Ok(note) => lost.push(format!("{rev} holds {:?} instead of {text:?}", note.0)),
            Err(error) if error.is_not_found() && noted.deleting.contains(rev) => {}
            Err(error) => lost.push(format!("{rev}: {error}")),
        }
    }
    let mut unreadable = Vec::new();
    for rev in store.list()? {
        unreadable.extend(store.get(&rev).err().map(|error| error.to_string()));
    }
    let head = store.head().map_err(|error| error.to_string());
    let count = head.and_then(|head| {
        let count = head.and_then(|head| count_of(&head.document.0));
        count.ok_or_else(|| "current is no counter".to_owned())
    });
    if let Ok(count) = count {
        // A process that was killed may have moved it on and not have noted that.
        let counted = noted.counted.iter().max().copied().unwrap_or_default();
        let most = (noted.counted.len() + torment.kills) as u64;
        if !(counted..=most).contains(&count) {
            noted.repeated.push(format!(
                "the counter is {count}, and should be {counted} to {most}"
            ));
        }
    }
    let leftovers = ground.place.leftovers()?.len();
    let dirt = ground.place.clean()?;

    let mut waits = torment.waits.clone();
    waits.sort_unstable();
    let wait = |wait: Option<&Duration>| wait.copied().unwrap_or_default().as_secs_f64() * 1000.0;
    report.line(format_args!(
        "critical sections {} and {} of unobin, kills {}, takeovers {}; leftover files {leftovers}\n\
         acknowledged revisions {}, of them deleted {}; acknowledged increments {}\n\
         wait after the kill of a holder: median {:.1} ms, 99 of 100 {:.1} ms, longest {:.1} ms of {}",
        noted.sections,
        noted.sections_of_unobin,
        torment.kills,
        noted.takeovers,
        noted.wrote.len(),
        noted.deleting.len(),
        noted.counted.len(),
        wait(waits.get(waits.len() / 2)),
        wait(waits.get(waits.len() * 99 / 100)),
        wait(waits.last()),
        waits.len(),
    ));
    let all_acted = noted.sections > 0 && noted.sections_of_unobin > 0 && noted.takeovers > 0;
    let idle = (!all_acted).then(|| "one of these never happened".to_owned());
    for (sentence, problems) in [
        (
            "L1: nobody was in a critical section together with another",
            noted.overlaps,
        ),
        (
            "L1 L2: ours and unobin had turns, and killed holders were replaced",
            Vec::from_iter(idle),
        ),
        (
            "L2 W6: the lock is not stuck, and leftover files are cleaned once they are old",
            dirt,
        ),
        (
            "W1: every acknowledged revision that was not deleted is there with its bytes",
            lost,
        ),
        ("W2: every listed revision can be read", unreadable),
        (
            "C1: current is readable and holds the counter",
            Vec::from_iter(count.err()),
        ),
        ("C2: no acknowledged increment was lost", noted.repeated),
        ("nobody met an error", noted.problems),
    ] {
        report.check(sentence, &problems);
    }
    Ok(())
}
