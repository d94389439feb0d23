//! Histories made from bytes.

use crate::history::{Call, Event, Expects, Fixture, Token, What, run};
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
fn happening(first: u8, second: u8) -> Event {
    let worker = usize::from(first >> 7);
    let number = usize::from(second & 7);
    let what = match first & 31 {
        0..=7 => [
            What::Write,
            What::Write,
            What::SetCurrent,
            What::Move,
            What::Delete,
            What::Lock,
            What::Unlock,
            What::ForceUnlock,
        ][usize::from(first & 7)],
        8 => return Event::Kill(worker),
        9 => return Event::OverwritePointer(POINTERS[usize::from(second) % POINTERS.len()]),
        10 => return Event::Damage(number, second),
        11 => return Event::Copy(number, usize::from(second >> 3 & 7)),
        12 => return Event::Tick((i64::from(second) - 100) * SECOND / 10),
        13 => return Event::Tick(i64::from(second & 1)),
        14 => What::Save,
        15 => What::Remove,
        16 => What::Replace,
        17 => What::ForceUnlockIf,
        18 => What::Check,
        19 => What::Drop,
        20 => What::Get,
        21 => What::Header,
        22 => What::Current,
        23 => What::LockCancelled,
        _ => return Event::Plant(format!("2026-07-10T12:00:00Z_{}", u32::from(second) + 1)),
    };
    let call = Call {
        what,
        text: second,
        number,
        expects: match second >> 3 & 3 {
            0 => Expects::WhatIsCurrent,
            1 => Expects::Anything,
            2 => Expects::Nothing,
            _ => Expects::Number(usize::from(second >> 5)),
        },
        token: match second >> 5 & 3 {
            0 | 3 => Token::Own,
            1 => Token::Stale,
            _ => Token::Others,
        },
    };
    Event::Call(worker, call)
}

const POINTERS: [&str; 5] = [
    "",
    "\0\0\0\0",
    "2026-07-10T12:00:00Z\n2026-07-10T12:00:00Z\n",
    "../x\n",
    // Well-formed, and dangling unless it was written.
    "2026-07-10T12:00:00.5Z",
];
