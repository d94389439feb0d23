//! Histories made from bytes.

use crate::history::{Call, Event, Expects, Fixture, Token, run};
use crate::rings;
use crate::worker::Worker;

/// More events find little more and take longer.
const MOST_EVENTS: usize = 48;
const SECOND: i64 = 1_000_000_000;

/// Runs a history in memory. The first byte says whether the store encrypts; then each event is two bytes, what happens and
/// to what.
///
/// # Panics
///
/// If an answer is not the model's.
pub fn run_history(input: &[u8]) {
    let Some((&options, events)) = input.split_first() else {
        return;
    };
    let keys = if options & 1 == 1 {
        &rings().without_v1
    } else {
        &rings().plain
    };
    let events: Vec<Event> = events
        .chunks_exact(2)
        .take(MOST_EVENTS)
        .map(|event| happening(event[0], event[1]))
        .collect();
    let fixture = Fixture::memory().expect("a stack");
    let [mut alice, mut bob] =
        ["alice", "bob"].map(|name| Worker::new(name, fixture.backend().expect("a backend"), keys.clone()));
    let told = run(
        &fixture,
        keys,
        &mut [("alice", &mut alice), ("bob", &mut bob)],
        &events,
    );
    if let Err(problem) = told {
        panic!("{problem}");
    }
}

/// The worker is the highest bit of the first byte; the number, what a move expects and whose token it shows are three parts
/// of the second.
fn happening(what: u8, to_what: u8) -> Event {
    let worker = usize::from(what >> 7);
    let number = usize::from(to_what & 7);
    let expects = match to_what >> 3 & 3 {
        0 => Expects::WhatIsCurrent,
        1 => Expects::Anything,
        2 => Expects::Nothing,
        _ => Expects::Number(usize::from(to_what >> 5)),
    };
    let token = match to_what >> 5 & 3 {
        0 | 3 => Token::Own,
        1 => Token::Stale,
        _ => Token::Others,
    };
    let call = match what & 31 {
        0 | 1 => Call::Write(to_what),
        2 => Call::SetCurrent(number),
        3 => Call::Move(number, expects, token),
        4 => Call::Delete(number),
        5 => Call::Lock,
        6 => Call::Unlock(token),
        7 => Call::ForceUnlock,
        8 => return Event::Kill(worker),
        9 => return Event::OverwritePointer(POINTERS[usize::from(to_what) % POINTERS.len()]),
        10 => return Event::Damage(number, to_what),
        11 => return Event::Copy(number, usize::from(to_what >> 3 & 7)),
        12 => return Event::Tick((i64::from(to_what) - 100) * SECOND / 10),
        13 => return Event::Tick(i64::from(to_what & 1)),
        14 => Call::Save(to_what, expects, token),
        15 => Call::Remove(number, token),
        16 => Call::Replace(number, token),
        17 => Call::ForceUnlockIf(token),
        18 => Call::Check(token),
        19 => Call::Drop(token),
        20 => Call::Get(number),
        21 => Call::Header(number),
        22 => Call::Current,
        23 => Call::LockCancelled,
        _ => return Event::Plant(format!("2026-07-10T12:00:00Z_{}", u32::from(to_what) + 1)),
    };
    Event::Calls(worker, call)
}

const POINTERS: [&str; 5] = [
    "",
    "\0\0\0\0",
    "2026-07-10T12:00:00Z\n2026-07-10T12:00:00Z\n",
    "../x\n",
    // Well-formed, and dangling unless it was written.
    "2026-07-10T12:00:00.5Z",
];
