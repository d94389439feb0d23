//! Random histories for [`crate::history`], and the one that is too long for chance.

use super::broken;
use super::process::Process;
use crate::history::{Call, Event, Expects, Fixture, Token, What, Workers, run};
use crate::model::Model;
use crate::place::{Place, after_noon, scratch};
use crate::worker::Worker;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sdk_state::encrypt::{EnvKey, Keyring, MasterKey, Noop};
use sdk_state::{Backend, Revision};
use std::cell::RefCell;
use std::error::Error;
use std::fs;

const LONGEST: usize = 120;
const SECOND: i64 = 1_000_000_000;

/// In memory with a real key, and in a directory, where some of the workers are processes.
pub(super) fn hold(runner: &mut TestRunner) -> Result<(), Box<dyn Error>> {
    // The same ones in all cases: starting a process takes longer than a whole case.
    let processes = RefCell::new([Process::start("carl")?, Process::start("dora")?]);
    let keys = Keyring::from(EnvKey::new("KEY", MasterKey::generate()?));
    Ok(runner.run(&prop::collection::vec(event(), 1..LONGEST), |events| {
        in_memory(&keys, &events).map_err(|problem| broken(format!("in memory: {problem}")))?;
        let told = in_a_directory(&mut processes.borrow_mut(), &events);
        told.map_err(|problem| broken(format!("in a directory: {problem}")))
    })?)
}

fn in_memory(keys: &Keyring, events: &[Event]) -> Result<(), Box<dyn Error>> {
    let fixture = Fixture::memory()?;
    let worker = |name| Ok::<_, sdk_state::Error>(Worker::new(name, fixture.backend()?, keys.clone()));
    let (mut alice, mut bob, mut eve) = (worker("alice")?, worker("bob")?, worker("eve")?);
    let workers: &mut Workers<'_> = &mut [("alice", &mut alice), ("bob", &mut bob), ("eve", &mut eve)];
    Ok(run(&fixture, keys, workers, events)?)
}

fn in_a_directory(processes: &mut [Process; 2], events: &[Event]) -> Result<(), Box<dyn Error>> {
    let directory = scratch()?;
    let place = Place::new(directory.path());
    for process in &mut *processes {
        process.work_in(&place)?;
    }
    let fixture = Fixture::Directory(place);
    let worker = |name| Ok::<_, sdk_state::Error>(Worker::new(name, fixture.backend()?, Noop));
    let (mut anna, mut ben) = (worker("anna")?, worker("ben")?);
    let [carl, dora] = processes;
    let workers: &mut Workers<'_> = &mut [
        ("anna", &mut anna),
        ("ben", &mut ben),
        ("carl", carl),
        ("dora", dora),
    ];
    Ok(run(&fixture, &Noop.into(), workers, events)?)
}

fn event() -> impl Strategy<Value = Event> {
    let pointer = prop_oneof![
        Just(""),
        Just("\0\0\0\0"),
        Just("../x\n"),
        Just("2026-07-10T12:00:00Z\n2026-07-10T12:00:01Z\n"),
        // A name like any other, of a revision that does not exist.
        Just("2026-07-10T12:00:00.5Z\n"),
    ];
    prop_oneof![
        80 => (0_usize..12, call()).prop_map(|(worker, call)| Event::Call(worker, call)),
        4 => (-2_i64..3).prop_map(|seconds| Event::Clock(seconds * SECOND)),
        1 => (0_i64..2).prop_map(Event::Tick),
        2 => pointer.prop_map(Event::OverwritePointer),
        1 => (number(), any::<u8>()).prop_map(|(number, how)| Event::Damage(number, how)),
        1 => (number(), number()).prop_map(|(from, to)| Event::Copy(from, to)),
        4 => (0_usize..12).prop_map(Event::Kill),
        4 => Just(Event::UnobinLocks),
        3 => Just(Event::UnobinUnlocks),
    ]
}

/// Few, so that calls meet the same revisions.
fn number() -> impl Strategy<Value = usize> {
    0_usize..4
}

/// How often each is called.
const CALLS: [(u32, What); 21] = [
    (6, What::Write),
    (6, What::Save),
    (1, What::Get),
    (1, What::Header),
    (1, What::Head),
    (1, What::Current),
    (4, What::SetCurrent),
    (10, What::Move),
    (4, What::Delete),
    (4, What::Remove),
    (2, What::Replace),
    (14, What::Lock),
    (2, What::LockSoon),
    (2, What::LockCancelled),
    (4, What::Wait),
    (2, What::CancelWait),
    (3, What::Check),
    (6, What::Unlock),
    (4, What::Drop),
    (4, What::ForceUnlock),
    (4, What::ForceUnlockIf),
];

fn call() -> impl Strategy<Value = Call> {
    let what = prop::strategy::Union::new_weighted(CALLS.map(|(weight, what)| (weight, Just(what))).into());
    let expects = prop_oneof![
        1 => Just(Expects::Anything),
        1 => Just(Expects::Nothing),
        2 => Just(Expects::WhatIsCurrent),
        1 => number().prop_map(Expects::Number),
    ];
    let token = prop_oneof![3 => Just(Token::Own), 3 => Just(Token::Stale), 1 => Just(Token::Others)];
    let call = (what, any::<u8>(), number(), expects, token);
    call.prop_map(|(what, text, number, expects, token)| Call {
        what,
        text,
        number,
        expects,
        token,
    })
}

/// The same, of a kind that is about names: one writer, and many files that somebody else put there.
pub(super) fn hold_for_suffixes(runner: &mut TestRunner) -> Result<(), Box<dyn Error>> {
    let suffix = prop_oneof![6 => 1_u32..30, 2 => 999_999_990..=Revision::MAX_SUFFIX];
    let planted = prop_oneof![
        2 => suffix.prop_map(|suffix| format!("2026-07-10T12:00:00Z_{suffix}")),
        1 => prop::sample::select(&NO_MOMENTS[..]).prop_map(str::to_owned),
    ];
    let what = prop_oneof![8 => Just(What::Write), 2 => Just(What::SetCurrent), 2 => Just(What::Delete)];
    let call = (what, 0_usize..40).prop_map(|(what, number)| Call {
        what,
        text: 1,
        number,
        expects: Expects::Anything,
        token: Token::Own,
    });
    let event = prop_oneof![
        2 => (-2_i64..3).prop_map(|seconds| Event::Clock(seconds * SECOND)),
        3 => planted.prop_map(Event::Plant),
        12 => call.prop_map(|call| Event::Call(0, call)),
    ];
    Ok(runner.run(&prop::collection::vec(event, 1..40), |events| {
        let directory = scratch().map_err(broken)?;
        let fixture = Fixture::Directory(Place::new(directory.path()));
        let mut worker = Worker::new("alice", fixture.backend().map_err(broken)?, Noop);
        run(&fixture, &Noop.into(), &mut [("alice", &mut worker)], &events).map_err(broken)
    })?)
}

const CROWD: u32 = 10_000;
/// Names of revisions that tell no moment: they are listed, last, and say nothing about the next number.
const NO_MOMENTS: [&str; 7] = [
    "2026-07-10T12:00:00.0Z",
    "2026-07-10T12:00:00Z_",
    "2026-07-10T12:00:00Z_0",
    "2026-07-10T12:00:00Z_01",
    "2026-07-10T12:00:00Z_010001",
    "2026-07-10T12:00:00Z_9999999999",
    "not-a-revision",
];
/// Names of files that are no revisions: they are not listed.
const NO_REVISIONS: [&str; 6] = [
    "2026-07-10T12:00:00Z_20000.json",
    "2026-07-10T12:00:00Z_20000.json.enc~",
    "2026-07-10T12:00:00Z 20000.json.enc",
    ".2026-07-10T12:00:00Z_20000.json.enc",
    ".json.enc",
    "read me",
];

/// In memory, and in a directory with files that are no revisions.
pub(super) fn hold_for_ten_thousand(_: &mut TestRunner) -> Result<(), Box<dyn Error>> {
    let mut model = Model::default();
    let noon = Revision::at(after_noon(0))?.to_string();
    let numbered = (1..CROWD).map(|suffix| format!("{noon}_{suffix}"));
    let crowd: Vec<String> = numbered
        .chain(NO_MOMENTS.map(String::from))
        .chain([noon.clone()])
        .collect();
    for name in &crowd {
        model.plant(&name.parse()?);
    }
    let memory = Fixture::memory()?;
    let directory = scratch()?;
    let place = Place::new(directory.path());
    fs::create_dir_all(place.snapshots())?;
    // One file under many names: nobody opens it, and to make thousands takes long.
    let file = directory.path().join("file");
    fs::write(&file, "x")?;
    for name in &crowd {
        fs::hard_link(&file, place.snapshot(name))?;
        if let Fixture::Memory(backend) = &memory {
            backend.overwrite_snapshot(&name.parse()?, "x");
        }
    }
    for name in NO_REVISIONS {
        fs::hard_link(&file, place.snapshots().join(name))?;
    }
    let next = format!("{noon}_{CROWD}");
    model.write(&next.parse()?, after_noon(0), "next")?;
    for backend in [memory.backend()?, Box::new(place.backend()?) as Box<dyn Backend>] {
        let mut worker = Worker::new("alice", backend, Noop);
        let written = worker.obey("write 0 next");
        if written != next || !model.list().contains(&worker.obey("list")) {
            return Err(format!("{written} was written instead of {next}, or the list is wrong").into());
        }
    }
    Ok(())
}
