//! What is current, and how it is moved.

use crate::expect::{Check, Flaw, done, equal, holds, refused};
use crate::place::{
    Leaving, NO_LIMIT, Place, create, create_many, lock, nth, point, points_at, reads, revision, sealed, won,
};
use sdk_state::{Backend, ErrorKind, Expect, Pointer, Revision};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) fn current_names_what_it_was_moved_to(place: &Place) -> Check {
    let (backend, other) = (place.open()?, place.open()?);
    let held = lock(&*backend, "push")?;
    // Names of different lengths: a shorter one must not keep the tail of a longer one.
    let names = [
        "2026-07-10T12:00:00.123456789Z_12",
        "2026-07-10T12:00:01Z",
        "2026-07-10T12:00:01.5Z",
    ];
    let revs = names.map(revision).into_iter().collect::<Check<Vec<_>>>()?;
    for (n, rev) in revs.iter().enumerate() {
        create(&*backend, rev, &sealed(n))?;
    }
    for rev in [&revs[1], &revs[0], &revs[2], &revs[1], &revs[1]] {
        point(&*backend, rev, &held.token)?;
        points_at(&*backend, Some(rev))?;
        points_at(&*other, Some(rev))?;
        points_at(&*place.open()?, Some(rev))?;
    }
    Ok(())
}

pub(crate) fn current_is_not_moved_to_what_does_not_exist(place: &Place) -> Check {
    let backend = place.open()?;
    let held = lock(&*backend, "push")?;
    let absent = nth(7)?;
    let to_absent = || {
        let moved = backend.set_current(Expect::Anything, &absent, &held.token);
        refused(
            "moving `current` to what does not exist",
            moved,
            &ErrorKind::NotFound,
        )
    };
    to_absent()?;
    points_at(&*backend, None)?;
    let revs = create_many(&*backend, 1)?;
    point(&*backend, &revs[0], &held.token)?;
    to_absent()?;
    points_at(&*backend, Some(&revs[0]))
}

pub(crate) fn a_move_with_an_expectation_compares(place: &Place) -> Check {
    let backend = place.open()?;
    let held = lock(&*backend, "push")?;
    let revs = create_many(&*backend, 2)?;
    let (one, two) = (Some(&revs[0]), Some(&revs[1]));
    // What is current, what is expected: each pair that differs, then the one that does not.
    for (current, wrong) in [(None, one), (one, two), (one, None), (two, one)] {
        if let Some(current) = current {
            point(&*backend, current, &held.token)?;
        }
        let moved = backend.set_current(Expect::from(wrong), &revs[1], &held.token);
        let kind = ErrorKind::CurrentMoved {
            expected: wrong.cloned(),
            found: current.cloned(),
        };
        refused("a move that expects something else", moved, &kind)?;
        points_at(&*backend, current)?;
        let moved = backend.set_current(Expect::from(current), &revs[0], &held.token);
        done("a move that expects what is current", moved)?;
        points_at(&*backend, one)?;
    }
    Ok(())
}

pub(crate) fn one_of_many_movers_with_one_expectation_wins(place: &Place) -> Check {
    let backend = place.open()?;
    let held = lock(&*backend, "push")?;
    let revs = create_many(&*backend, place.racers())?;
    let moved = place.race(|n, backend| won(backend.set_current(Expect::Nothing, &revs[n], &held.token)))?;
    let winners: Vec<usize> = (0..moved.len()).filter(|&n| moved[n]).collect();
    equal("the number of movers that moved `current`", &winners.len(), &1)?;
    points_at(&*backend, Some(&revs[winners[0]]))
}

pub(crate) fn no_update_is_lost(place: &Place) -> Check {
    let backend = place.open()?;
    let held = lock(&*backend, "push")?;
    let zero = nth(0)?;
    create(&*backend, &zero, b"0")?;
    point(&*backend, &zero, &held.token)?;
    // No two tries have the same name, so that this rule says nothing about creating.
    let names = AtomicUsize::new(1);
    place.race(|_, backend| {
        // Each loss is the move of another one, and each of those moves once.
        for _ in 0..place.racers() {
            let current = current(backend)?.revision;
            let count = count(backend, &current)?;
            let next = nth(names.fetch_add(1, Ordering::SeqCst))?;
            create(backend, &next, (count + 1).to_string().as_bytes())?;
            if won(backend.set_current(Expect::Revision(&current), &next, &held.token))? {
                return Ok(());
            }
        }
        Err(Flaw::new(
            "a move with an expectation to be done once all others are",
            format!("{} that were refused as CurrentMoved", place.racers()),
        ))
    })?;
    let found = count(&*backend, &current(&*backend)?.revision)?;
    equal(
        "the counter that every thread incremented once",
        &found,
        &place.racers(),
    )
}

pub(crate) fn readers_see_old_or_new_while_current_moves(place: &Place) -> Check {
    let backend = place.open()?;
    let held = lock(&*backend, "push")?;
    let (racers, half) = (place.racers(), place.racers() / 2);
    let revs = create_many(&*backend, racers)?;
    point(&*backend, &revs[0], &held.token)?;
    let movers = AtomicUsize::new(half);
    place.race(|n, backend| {
        if n < half {
            let _done = Leaving(&movers);
            return [n, n + half]
                .into_iter()
                .try_for_each(|n| point(backend, &revs[n], &held.token).map(drop));
        }
        loop {
            let is_last = movers.load(Ordering::SeqCst) == 0;
            let rev = current(backend)?.revision;
            let known = revs.iter().position(|known| known == &rev);
            let Some(n) = known else {
                return Err(Flaw::new(
                    "a revision that `current` was moved to",
                    rev.to_string(),
                ));
            };
            reads(backend, &rev, &sealed(n))?;
            if is_last {
                return Ok(());
            }
        }
    })?;
    Ok(())
}

pub(crate) fn a_damaged_pointer_is_an_error(place: &Place) -> Check {
    let backend = place.open()?;
    let held = lock(&*backend, "push")?;
    let revs = create_many(&*backend, 1)?;
    point(&*backend, &revs[0], &held.token)?;
    let two_lines = format!("{0}\n{0}\n", revs[0]).into_bytes();
    for content in [
        &b""[..],
        b"\n",
        b"\0\0\0\0",
        b"../../etc/passwd\n",
        b"\xff\xfe\n",
        &two_lines,
        &vec![b'x'; 1 << 20],
    ] {
        place.overwrite_pointer(content)?;
        refused(
            "reading a damaged pointer",
            backend.current(),
            &ErrorKind::Damaged,
        )?;
    }
    Ok(())
}

pub(crate) fn a_damaged_pointer_is_repaired_by_a_blind_move(place: &Place) -> Check {
    let backend = place.open()?;
    let held = lock(&*backend, "push")?;
    let revs = create_many(&*backend, 2)?;
    let before = point(&*backend, &revs[0], &held.token)?;
    place.overwrite_pointer(b"")?;
    for expect in [
        Expect::Nothing,
        Expect::Revision(&revs[0]),
        Expect::Pointer(&before),
    ] {
        let moved = backend.set_current(expect, &revs[1], &held.token);
        refused(
            "a move that expects something of a damaged pointer",
            moved,
            &ErrorKind::Damaged,
        )?;
    }
    point(&*backend, &revs[1], &held.token)?;
    points_at(&*backend, Some(&revs[1]))
}

pub(crate) fn the_version_is_new_at_every_move_elsewhere_or_always_0(place: &Place) -> Check {
    let (backend, other) = (place.open()?, place.open()?);
    let held = lock(&*backend, "push")?;
    let revs = create_many(&*backend, 3)?;
    let mut versions = Vec::new();
    let mut last = None;
    for (n, rev) in [0, 1, 0, 0, 2, 1].map(|n| &revs[n]).into_iter().enumerate() {
        let mover = if n % 2 == 0 { &backend } else { &other };
        let moved = point(&**mover, rev, &held.token)?;
        equal("the revision that a move returns", &moved.revision, rev)?;
        for handle in [&backend, &other, &place.open()?] {
            equal("the pointer after a move", &current(&**handle)?, &moved)?;
        }
        // Moving to the current revision changes nothing.
        match last.take_if(|last: &mut Pointer| last.revision == *rev) {
            Some(last) => equal("the pointer after a move to what is current", &moved, &last)?,
            None => versions.push(moved.version),
        }
        last = Some(moved);
    }
    let different: HashSet<u64> = versions.iter().copied().collect();
    let is_always_0 = versions.iter().all(|&version| version == 0);
    holds(
        &format!("the versions {versions:?} differ, or all are 0"),
        is_always_0 || different.len() == versions.len() && !different.contains(&0),
    )
}

pub(crate) fn an_expected_pointer_is_one_very_move(place: &Place) -> Check {
    let backend = place.open()?;
    let held = lock(&*backend, "push")?;
    let revs = create_many(&*backend, 2)?;
    let first = point(&*backend, &revs[0], &held.token)?;
    let second = point(&*backend, &revs[1], &held.token)?;
    let expecting = |pointer| backend.set_current(Expect::Pointer(pointer), &revs[0], &held.token);
    let is_moved = |moved, found: &Revision| {
        let kind = ErrorKind::CurrentMoved {
            expected: Some(revs[0].clone()),
            found: Some(found.clone()),
        };
        refused("a move that expects an earlier pointer", moved, &kind)
    };
    is_moved(expecting(&first), &revs[1])?;
    points_at(&*backend, Some(&revs[1]))?;
    let third = done("a move that expects the pointer", expecting(&second))?;
    points_at(&*backend, Some(&revs[0]))?;
    if third.version != 0 {
        // The same revision, by another move.
        is_moved(expecting(&first), &revs[0])?;
        equal("the pointer", &current(&*backend)?, &third)?;
    }
    Ok(())
}

fn current(backend: &dyn Backend) -> Check<Pointer> {
    done("reading the pointer", backend.current())?.ok_or_else(|| Flaw::new("a current revision", "none"))
}

fn count(backend: &dyn Backend, rev: &Revision) -> Check<usize> {
    let content = done("reading the counter", backend.read(rev, NO_LIMIT))?;
    str::from_utf8(&content)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Flaw::new("the counter that was written", format!("{content:?}")))
}
