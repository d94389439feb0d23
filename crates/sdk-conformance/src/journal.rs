//! Checks which records a journal accepts, and what readers see.

use crate::expect::{Check, Flaw, done, equal, holds, refused, same_bytes};
use crate::place::{Held, Leaving, Place, breathe, create_many, id, lock, point};
use sdk_state::{
    Appended, Backend, Error, ErrorKind, Expect, LockToken, MAX_RECORD_BYTES, Pointer, Revision,
};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// How often something happens to a journal while others add to it or read it.
const TURNS: usize = 8;
/// How many threads add to a journal; one more ends it.
const RACERS: usize = 4;
/// How many threads read a growing journal.
const READERS: usize = 6;
/// Why a rule does not apply.
pub(crate) const NO_JOURNAL: &str = "the backend keeps no journal";
/// More records than a race adds.
pub(crate) const MANY: usize = 1 << 16;

pub(crate) fn records_come_back_in_order_to_the_byte(place: &Place) -> Check {
    let (base, other) = (Base::new(place, 1)?, place.open()?);
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let records = [&b"z"[..], &every_byte, &[0; 600], b"\0", b"a\n\0", b"a", b"a"].map(Vec::from);
    base.begin(&records[0])?;
    for (n, record) in records.iter().enumerate().skip(1) {
        let handle = [&base.backend, &other][n % 2];
        is_appended(handle.append(&base.pointer, n as u64, record, &base.held.token))?;
        for handle in [&base.backend, &other, &place.open()?] {
            contains(&**handle, &base.pointer, &records[..=n])?;
        }
    }
    Ok(())
}

pub(crate) fn a_large_record_is_kept(place: &Place) -> Check {
    let base = Base::new(place, 1)?;
    let large = b"16 bytes, again\n".repeat(MAX_RECORD_BYTES / 16);
    let records = [record(0), large, record(2)];
    base.begin(&records[0])?;
    for n in [1, 2] {
        is_appended(base.append(n as u64, &records[n]))?;
    }
    contains(&*base.backend, &base.pointer, &records)?;
    contains(&*place.open()?, &base.pointer, &records)
}

pub(crate) fn another_number_is_taken_and_changes_nothing(place: &Place) -> Check {
    let (base, other) = (Base::new(place, 1)?, place.open()?);
    let answer = supported(base.append(1, &record(1)))?;
    equal("the answer to record 1 of no journal", &answer, &Appended::Taken)?;
    let mut records = Vec::new();
    for count in 0..4 {
        contains(&*base.backend, &base.pointer, &records)?;
        // Whether the last number is taken depends on the bytes: that is for another rule.
        let numbers = [0, 1, 2, 3, 4, 5, 1 << 32, u64::MAX - 1, u64::MAX];
        for index in numbers
            .into_iter()
            .filter(|&index| index != count && count.checked_sub(1) != Some(index))
        {
            for handle in [&base.backend, &other] {
                let added = handle.append(&base.pointer, index, b"another", &base.held.token);
                is_taken(&format!("record {index} of {count}"), added)?;
            }
        }
        contains(&*other, &base.pointer, &records)?;
        records.push(record(count as usize));
        is_appended(base.append(count, &record(count as usize)))?;
    }
    Ok(())
}

pub(crate) fn a_repeated_record_is_there_once(place: &Place) -> Check {
    let (base, other) = (Base::new(place, 1)?, place.open()?);
    // Equal bytes under the next number are another record.
    let records = [b"equal", b"equal", b"other"].map(Vec::from);
    base.begin(&records[0])?;
    for (n, last) in records.iter().enumerate() {
        is_appended(base.append(n as u64, last))?;
        for handle in [&base.backend, &other, &place.open()?] {
            is_appended(handle.append(&base.pointer, n as u64, last, &base.held.token))?;
            contains(&**handle, &base.pointer, &records[..=n])?;
        }
        for (earlier, record) in records[..n].iter().enumerate() {
            is_taken(
                "a repeat of an earlier record",
                base.append(earlier as u64, record),
            )?;
        }
        for bytes in [&b"e"[..], b"equal and more", b"third"] {
            is_taken("other bytes under the last number", base.append(n as u64, bytes))?;
        }
        contains(&*other, &base.pointer, &records[..=n])?;
    }
    Ok(())
}

pub(crate) fn a_record_stands_on_what_is_current(place: &Place) -> Check {
    let (base, other) = (Base::new(place, 2)?, place.open()?);
    let (one, two, version) = (&base.revs[0], &base.revs[1], base.pointer.version);
    base.begin(&record(0))?;
    let is_refused = |pointer: &Pointer, found: Option<&Revision>| {
        let kind = ErrorKind::CurrentMoved {
            expected: Some(pointer.revision.clone()),
            found: found.cloned(),
        };
        for handle in [&base.backend, &other] {
            for index in [0, 1] {
                let added = handle.append(pointer, index, &record(1), &base.held.token);
                refused("a record on what is not current", added, &kind)?;
            }
            contains(&**handle, pointer, &[])?;
        }
        Ok(())
    };
    is_refused(&Pointer::new(two.clone(), version), Some(one))?;
    is_refused(&Pointer::new(one.clone(), version + 1), Some(one))?;
    contains(&*other, &base.pointer, &[record(0)])?;

    let second = point(&*other, two, &base.held.token)?;
    is_refused(&base.pointer, Some(two))?;
    let third = point(&*other, one, &base.held.token)?;
    is_refused(&second, Some(one))?;
    if third != base.pointer {
        // The same revision, by another move.
        is_refused(&base.pointer, Some(one))?;
    }

    let fresh = place.open_stack(&id("conformance", "two")?)?;
    let held = lock(&*fresh, "push")?;
    let added = fresh.append(&base.pointer, 0, &record(0), &held.token);
    let kind = ErrorKind::CurrentMoved {
        expected: Some(one.clone()),
        found: None,
    };
    refused("a record where nothing is current", added, &kind)?;
    contains(&*fresh, &base.pointer, &[])
}

pub(crate) fn a_move_ends_the_journal(place: &Place) -> Check {
    let (base, other) = (Base::new(place, 2)?, place.open()?);
    base.begin(&record(0))?;
    is_appended(base.append(1, &record(1)))?;
    let moved = base
        .backend
        .set_current(Expect::Pointer(&base.pointer), &base.revs[1], &base.held.token);
    let second = done("a move that expects the pointer", moved)?;
    let third = || point(&*other, &base.revs[0], &base.held.token);
    for handle in [&base.backend, &other] {
        contains(&**handle, &second, &[])?;
        contains(&**handle, &base.pointer, &[])?;
    }
    // The revision is current again, and its journal is not.
    let third = third()?;
    for handle in [&base.backend, &other, &place.open()?] {
        contains(&**handle, &third, &[])?;
    }
    Ok(())
}

pub(crate) fn a_new_journal_begins_after_a_move(place: &Place) -> Check {
    let (base, other) = (Base::new(place, 2)?, place.open()?);
    base.begin(&record(0))?;
    is_appended(base.append(1, &record(1)))?;
    for turn in 1..5 {
        // The handle that adds to a journal is not always the one that moved.
        let pointer = point(&*base.backend, &base.revs[turn % 2], &base.held.token)?;
        let handle = [&base.backend, &other][turn / 2 % 2];
        let add = |index, record: &[u8]| handle.append(&pointer, index, record, &base.held.token);
        is_taken("record 2 of no journal", add(2, &record(2)))?;
        // Fewer records than the journal before it, with other bytes.
        is_appended(add(0, &record(10 * turn)))?;
        contains(&*place.open()?, &pointer, &[record(10 * turn)])?;
        if turn % 2 == 0 {
            is_appended(add(1, &record(10 * turn + 1)))?;
            let records = [record(10 * turn), record(10 * turn + 1)];
            contains(&*place.open()?, &pointer, &records)?;
        }
    }
    Ok(())
}

pub(crate) fn a_move_to_what_is_current_leaves_the_journal(place: &Place) -> Check {
    let (base, other) = (Base::new(place, 1)?, place.open()?);
    let (rev, token) = (&base.revs[0], &base.held.token);
    base.begin(&record(0))?;
    let mut records = vec![record(0)];
    for (handle, expect) in [
        (&base.backend, Expect::Anything),
        (&other, Expect::Anything),
        (&base.backend, Expect::Revision(rev)),
        (&other, Expect::Pointer(&base.pointer)),
    ] {
        let moved = done(
            "a move to what is current",
            handle.set_current(expect, rev, token),
        )?;
        equal(
            "the pointer after a move to what is current",
            &moved,
            &base.pointer,
        )?;
        contains(&*base.backend, &base.pointer, &records)?;
        contains(&**handle, &base.pointer, &records)?;
        let next = record(records.len());
        is_appended(base.append(records.len() as u64, &next))?;
        records.push(next);
    }
    contains(&*other, &base.pointer, &records)
}

pub(crate) fn one_of_many_appenders_with_one_number_wins(place: &Place) -> Check {
    let base = Base::new(place, 1)?;
    base.begin(&record(0))?;
    let turns = place.turns(TURNS);
    let own = |n: usize, index: usize| record(1000 * (n + 1) + index);
    let won = place.race(|n, backend| {
        let add = |index| {
            let added = backend.append(&base.pointer, index as u64, &own(n, index), &base.held.token);
            Ok(done("adding a record", added)? == Appended::Appended)
        };
        (1..=turns).map(add).collect::<Check<Vec<bool>>>()
    })?;
    let mut records = vec![record(0)];
    for index in 1..=turns {
        let winners: Vec<usize> = (0..won.len()).filter(|&n| won[n][index - 1]).collect();
        equal("the number of threads that added a record", &winners.len(), &1)?;
        records.push(own(winners[0], index));
    }
    contains(&*base.backend, &base.pointer, &records)
}

pub(crate) fn no_record_is_added_once_current_has_moved(place: &Place) -> Check {
    let base = Base::new(place, 2)?;
    base.begin(&record(0))?;
    let racers = RACERS.min(place.racers());
    let mut from = base.pointer.clone();
    for turn in 1..=place.turns(TURNS) {
        let (appenders, is_over) = (AtomicUsize::new(racers - 1), AtomicBool::new(false));
        let added = Mutex::default();
        let moved = place.race_of(racers, |n, backend| {
            if n > 0 {
                let _done = Leaving(&appenders);
                let ends = |error: &Error| error.is_current_moved();
                return append_until(backend, &from, n, &base.held.token, &added, &is_over, ends)
                    .map(|()| None);
            }
            wait_for(&added, &appenders);
            let moved = point(backend, &base.revs[turn % 2], &base.held.token)?;
            is_over.store(true, Ordering::SeqCst);
            contains(backend, &moved, &[])?;
            Ok(Some(moved))
        })?;
        let Some(moved) = moved.into_iter().flatten().next() else {
            return Err(Flaw::new("a move", "nobody who moved"));
        };
        contains(&*base.backend, &moved, &[])?;
        from = moved;
    }
    Ok(())
}

pub(crate) fn no_other_token_appends(place: &Place) -> Check {
    let (backend, other) = (place.open()?, place.open()?);
    let records = [record(0), record(1)];
    let revs = create_many(&*backend, 1)?;
    let before = lock(&*backend, "push")?;
    let base = point(&*backend, &revs[0], &before.token)?;
    let answer = supported(backend.append(&base, 0, &records[0], &before.token))?;
    equal("the answer to the first record", &answer, &Appended::Appended)?;
    done("unlocking", before.lock.unlock())?;
    // Whatever becomes of a lock that is given back.
    done("force_unlock", backend.force_unlock(None))?;
    let evicted = lock(&*backend, "push")?;
    is_appended(backend.append(&base, 1, &records[1], &evicted.token))?;
    done("force_unlock", other.force_unlock(None))?;
    let elsewhere = place.open_stack(&id("conformance", "two")?)?;
    let held_elsewhere = lock(&*elsewhere, "push")?;
    let of_nobody = done("a token", LockToken::generate())?;
    let are_refused = || {
        for token in [&before.token, &evicted.token, &held_elsewhere.token, &of_nobody] {
            // A repeat of the last record, and a new one.
            for (index, bytes) in [(1, &records[1]), (2, &record(2))] {
                let added = backend.append(&base, index, bytes, token);
                refused("a record with another token", added, &ErrorKind::LockLost)?;
            }
        }
        contains(&*other, &base, &records)
    };
    are_refused()?;
    let held = lock(&*other, "push")?;
    are_refused()?;
    is_appended(other.append(&base, 2, &record(2), &held.token))
}

pub(crate) fn no_record_is_added_once_the_next_holder_has_the_lock(place: &Place) -> Check {
    let Base {
        backend,
        revs,
        held,
        pointer,
    } = Base::new(place, 2)?;
    let answer = supported(backend.append(&pointer, 0, &record(0), &held.token))?;
    equal("the answer to the first record", &answer, &Appended::Appended)?;
    let racers = RACERS.min(place.racers());
    let mut held = Some(held);
    for turn in 1..=place.turns(TURNS) {
        let old = match held.take() {
            Some(held) => held,
            None => lock(&*backend, "push")?,
        };
        let token = old.token.clone();
        // Each turn has a journal of its own.
        let base = point(&*backend, &revs[turn % 2], &token)?;
        let old = Mutex::new(Some(old));
        let (appenders, is_over) = (AtomicUsize::new(racers - 1), AtomicBool::new(false));
        let added = Mutex::default();
        let seen = place.race_of(racers, |n, backend| {
            if n > 0 {
                let _done = Leaving(&appenders);
                return append_until(backend, &base, n, &token, &added, &is_over, Error::is_lock_lost)
                    .map(|()| None);
            }
            wait_for(&added, &appenders);
            let old = old.lock().ok().and_then(|mut old| old.take());
            if turn % 2 == 0 {
                done("force_unlock", backend.force_unlock(None))?;
            } else {
                old.map(|old| done("unlocking", old.lock.unlock())).transpose()?;
            }
            let next = lock(backend, "next")?;
            let seen = records(backend, &base, MANY)?;
            is_over.store(true, Ordering::SeqCst);
            Ok(Some((next, seen)))
        })?;
        let Some((_next, seen)) = seen.into_iter().flatten().next() else {
            return Err(Flaw::new("the next holder", "nobody"));
        };
        let added = added.into_inner().unwrap_or_else(PoisonError::into_inner);
        holds(
            "the next holder sees every record that was added before",
            added.iter().all(|record| seen.contains(record)),
        )?;
        contains(&*backend, &base, &seen)?;
        // However that went.
        done("force_unlock", backend.force_unlock(None))?;
    }
    Ok(())
}

pub(crate) fn a_journal_is_read_in_pages(place: &Place) -> Check {
    let (base, other) = (Base::new(place, 1)?, place.open()?);
    let lengths = [5, 1, 60_000, 7, 7];
    let records = lengths.map(|length| record(length).repeat(length)[..length].to_vec());
    base.begin(&records[0])?;
    for (n, record) in records.iter().enumerate().skip(1) {
        is_appended(base.append(n as u64, record))?;
    }
    for from in [0, 1, 2, 3, 4, 5, 6, 1 << 32, u64::MAX] {
        let rest = records.get(from as usize..).unwrap_or_default();
        for most in [0, 1, 7, 60_000, usize::MAX] {
            let what = format!("the journal from record {from}, {most} bytes at most");
            let page = done(&what, other.read_journal(&base.pointer, from, most))?;
            holds(
                &format!("{what} has a record if there is one, and no other"),
                page.is_empty() == rest.is_empty() && rest.starts_with(&page),
            )?;
            let beyond: usize = page.iter().skip(1).map(Vec::len).sum();
            holds(&format!("{what} is no longer"), beyond <= most)?;
        }
    }
    Ok(())
}

pub(crate) fn readers_see_whole_records_in_order(place: &Place) -> Check {
    let base = Base::new(place, 1)?;
    let turns = place.turns(2 * TURNS);
    let expected: Vec<Vec<u8>> = (0..=turns).map(|n| record(n).repeat(1000)).collect();
    base.begin(&expected[0])?;
    let (added, appenders) = (AtomicUsize::new(1), AtomicUsize::new(1));
    place.race_of(1 + READERS, |n, backend| {
        if n == 0 {
            let _done = Leaving(&appenders);
            return (1..=turns).try_for_each(|index| {
                let record = &expected[index];
                is_appended(backend.append(&base.pointer, index as u64, record, &base.held.token))?;
                added.store(index + 1, Ordering::SeqCst);
                Ok(())
            });
        }
        loop {
            let is_last = appenders.load(Ordering::SeqCst) == 0;
            let least = added.load(Ordering::SeqCst);
            let found = records(backend, &base.pointer, expected.len())?;
            are_same(&found, expected.get(..found.len()).unwrap_or(&expected))?;
            holds(
                "a reader sees every record that was added before",
                found.len() >= least,
            )?;
            if is_last {
                return Ok(());
            }
        }
    })?;
    Ok(())
}

pub(crate) fn a_damaged_pointer_hides_no_journal(place: &Place) -> Check {
    let (base, other) = (Base::new(place, 2)?, place.open()?);
    base.begin(&record(0))?;
    for content in [&b""[..], b"../current\n"] {
        place.overwrite_pointer(content)?;
        for handle in [&base.backend, &other] {
            let added = handle.append(&base.pointer, 1, &record(1), &base.held.token);
            refused("a record on a damaged pointer", added, &ErrorKind::Damaged)?;
            let read = handle.read_journal(&base.pointer, 0, 0);
            refused("the journal of a damaged pointer", read, &ErrorKind::Damaged)?;
        }
    }
    // The repair. Only a backend that knows the journal's base without the pointer can spare the journal.
    let token = &base.held.token;
    match other.set_current(Expect::Anything, &base.revs[1], token) {
        Err(error) if error.is_damaged() => {
            equal(
                "the revision to make current first",
                &error.revision(),
                &Some(&base.revs[0]),
            )?;
            let repaired = point(&*other, &base.revs[0], token)?;
            contains(&*base.backend, &repaired, &[record(0)])?;
            let moved = point(&*other, &base.revs[1], token)?;
            contains(&*base.backend, &moved, &[])
        }
        moved => {
            let moved = done("the repair of a damaged pointer", moved)?;
            contains(&*base.backend, &moved, &[])
        }
    }
}

pub(crate) fn a_backend_keeps_a_journal_always_or_never(place: &Place) -> Check {
    let (base, other) = (Base::new(place, 2)?, place.open()?);
    let keeps = begins(&*base.backend, &base.pointer, &record(0), &base.held.token)?;
    let stays_so = |handle: &dyn Backend, pointer: &Pointer, index: u64| {
        let added = handle.append(pointer, index, &record(7), &base.held.token);
        let is_supported = !added.is_err_and(|error| error.kind() == &ErrorKind::Unsupported);
        equal("whether a journal is kept", &is_supported, &keeps)?;
        if keeps {
            return Ok(());
        }
        contains(handle, pointer, &[])
    };
    stays_so(&*base.backend, &base.pointer, 1)?;
    stays_so(&*other, &base.pointer, 0)?;
    let moved = point(&*base.backend, &base.revs[1], &base.held.token)?;
    stays_so(&*base.backend, &moved, 0)?;
    stays_so(&*other, &moved, 1)
}

/// A stack whose first revision is current, and the lock and the pointer that its records need.
struct Base {
    backend: Box<dyn Backend>,
    revs: Vec<Revision>,
    held: Held,
    pointer: Pointer,
}

impl Base {
    fn new(place: &Place, revs: usize) -> Check<Self> {
        let backend = place.open()?;
        let revs = create_many(&*backend, revs)?;
        let held = lock(&*backend, "apply")?;
        let pointer = point(&*backend, &revs[0], &held.token)?;
        Ok(Self {
            backend,
            revs,
            held,
            pointer,
        })
    }

    /// Adds the first record.
    fn begin(&self, record: &[u8]) -> Check {
        let answer = supported(self.append(0, record))?;
        equal("the answer to the first record", &answer, &Appended::Appended)
    }

    fn append(&self, index: u64, record: &[u8]) -> Result<Appended, Error> {
        self.backend
            .append(&self.pointer, index, record, &self.held.token)
    }
}

/// Adds the first record; false if the backend keeps no journal.
pub(crate) fn begins(backend: &dyn Backend, base: &Pointer, record: &[u8], token: &LockToken) -> Check<bool> {
    match supported(backend.append(base, 0, record, token)) {
        Err(Flaw::NotApplicable(_)) => Ok(false),
        answer => equal("the answer to the first record", &answer?, &Appended::Appended).map(|()| true),
    }
}

/// The answer to the first call of a check. Only here may a backend say that it keeps no journal.
pub(crate) fn supported(answer: Result<Appended, Error>) -> Check<Appended> {
    match answer {
        Err(error) if error.kind() == &ErrorKind::Unsupported => Err(Flaw::NotApplicable(NO_JOURNAL)),
        answer => done("adding a record", answer),
    }
}

pub(crate) fn is_appended(answer: Result<Appended, Error>) -> Check {
    let answer = done("adding a record", answer)?;
    equal(
        "the answer to the next record, or a repeat of the last",
        &answer,
        &Appended::Appended,
    )
}

fn is_taken(what: &str, answer: Result<Appended, Error>) -> Check {
    equal(
        &format!("the answer to {what}"),
        &done(what, answer)?,
        &Appended::Taken,
    )
}

/// The bytes of record `n`, which differ from all others.
fn record(n: usize) -> Vec<u8> {
    format!("record number {n}").into_bytes()
}

/// The records of the journal, of which the check expects `most`.
pub(crate) fn records(backend: &dyn Backend, base: &Pointer, most: usize) -> Check<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    while found.len() <= most {
        let page = backend.read_journal(base, found.len() as u64, usize::MAX);
        let page = done("reading the journal", page)?;
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    Ok(found)
}

/// Demands that these are the records of the journal.
pub(crate) fn contains(backend: &dyn Backend, base: &Pointer, expected: &[Vec<u8>]) -> Check {
    are_same(&records(backend, base, expected.len())?, expected)
}

fn are_same(found: &[Vec<u8>], expected: &[Vec<u8>]) -> Check {
    equal("the number of records", &found.len(), &expected.len())?;
    let mut pairs = found.iter().zip(expected);
    pairs.try_for_each(|(found, expected)| same_bytes("a record", found, expected))
}

/// Adds records until an error that `ends` it refuses one. Once `is_over`, every record must be refused.
fn append_until(
    backend: &dyn Backend,
    base: &Pointer,
    racer: usize,
    token: &LockToken,
    added: &Mutex<Vec<Vec<u8>>>,
    is_over: &AtomicBool,
    ends: impl Fn(&Error) -> bool,
) -> Check {
    for index in 0.. {
        let own = record(MANY * racer + index);
        let is_late = is_over.load(Ordering::SeqCst);
        match backend.append(base, index as u64, &own, token) {
            Err(error) if ends(&error) => break,
            Err(error) => {
                return Err(Flaw::new(
                    "a record that is added, or too late",
                    format!("{error:?}"),
                ));
            }
            Ok(answer) if is_late => {
                return Err(Flaw::new(
                    "a record that comes too late to be refused",
                    format!("{answer:?}"),
                ));
            }
            Ok(Appended::Appended) => added.lock().unwrap_or_else(PoisonError::into_inner).push(own),
            // Each of the others may have added one that it does not know of yet, and the check one before.
            Ok(Appended::Taken)
                if index <= added.lock().unwrap_or_else(PoisonError::into_inner).len() + RACERS => {}
            Ok(Appended::Taken) => return Err(Flaw::new("the next record to be Appended", "Taken")),
        }
        breathe();
    }
    Ok(())
}

/// Waits until many records were added, so that others are under way, or until no appender is left.
fn wait_for(added: &Mutex<Vec<Vec<u8>>>, appenders: &AtomicUsize) {
    let count = || added.lock().unwrap_or_else(PoisonError::into_inner).len();
    while count() < 2 * RACERS && appenders.load(Ordering::SeqCst) > 0 {
        breathe();
    }
}
