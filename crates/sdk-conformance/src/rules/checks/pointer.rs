use crate::expect::{done, equal, hook, refused};
use crate::medium::Medium;
use crate::place::{
    Fence, Leaving, NO_LIMIT, RACERS, create, create_many, never_won, nth, open, point, points_at, race,
    reads, revision, sealed, stack, won,
};
use crate::violation::{Check, Flaw};
use sdk_state::{ErrorKind, Expect, Revision};
use std::sync::atomic::{AtomicUsize, Ordering};

pub(in crate::rules) fn current_names_what_it_was_moved_to(medium: &dyn Medium) -> Check {
    let (storage, other) = (open(medium)?, open(medium)?);
    // Names of different lengths: a shorter one must not keep the tail of a longer one.
    let names = [
        "2026-07-10T12:00:00.123456789Z_12",
        "2026-07-10T12:00:01Z",
        "2026-07-10T12:00:01.5Z",
    ];
    let revs = names.map(revision).into_iter().collect::<Check<Vec<_>>>()?;
    for (n, rev) in revs.iter().enumerate() {
        create(&*storage, rev, &sealed(n))?;
    }
    for rev in [&revs[1], &revs[0], &revs[2], &revs[1], &revs[1]] {
        point(&*storage, rev)?;
        points_at(&*storage, Some(rev))?;
        points_at(&*other, Some(rev))?;
        points_at(&*open(medium)?, Some(rev))?;
    }
    Ok(())
}

pub(in crate::rules) fn current_is_not_moved_to_what_does_not_exist(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let absent = nth(7)?;
    let to_absent = || {
        let moved = storage.set_current(Expect::Anything, &absent, None);
        refused(
            "moving `current` to what does not exist",
            moved,
            &ErrorKind::NotFound,
        )
    };
    to_absent()?;
    points_at(&*storage, None)?;
    let revs = create_many(&*storage, 1)?;
    point(&*storage, &revs[0])?;
    to_absent()?;
    points_at(&*storage, Some(&revs[0]))
}

pub(in crate::rules) fn a_move_with_an_expectation_compares(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let revs = create_many(&*storage, 2)?;
    let fence = Fence::raise(&*storage)?;
    let (one, two) = (Some(&revs[0]), Some(&revs[1]));
    // What is current, what is expected: each pair that differs, then the one that does not.
    for (current, wrong) in [(None, one), (one, two), (one, None), (two, one)] {
        if let Some(current) = current {
            point(&*storage, current)?;
        }
        let moved = storage.set_current(Expect::Exactly(wrong), &revs[1], fence.token());
        let kind = ErrorKind::CurrentMoved {
            expected: wrong.cloned(),
            found: current.cloned(),
        };
        refused("a move that expects something else", moved, &kind)?;
        points_at(&*storage, current)?;
        let moved = storage.set_current(Expect::Exactly(current), &revs[0], fence.token());
        done("a move that expects what is current", moved)?;
        points_at(&*storage, one)?;
    }
    Ok(())
}

pub(in crate::rules) fn one_of_many_movers_with_one_expectation_wins(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let revs = create_many(&*storage, RACERS)?;
    let fence = Fence::raise(&*storage)?;
    let held = fence.token();
    let moved = race(medium, |n, storage| {
        won(storage.set_current(Expect::Exactly(None), &revs[n], held))
    })?;
    let winners: Vec<usize> = (0..moved.len()).filter(|&n| moved[n]).collect();
    equal("the number of movers that moved `current`", &winners.len(), &1)?;
    points_at(&*storage, Some(&revs[winners[0]]))
}

pub(in crate::rules) fn no_update_is_lost(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let zero = nth(0)?;
    create(&*storage, &zero, b"0")?;
    let fence = Fence::raise(&*storage)?;
    let held = fence.token();
    point(&*storage, &zero)?;
    // No two tries have the same name, so that this rule says nothing about creating.
    let names = AtomicUsize::new(1);
    race(medium, |_, storage| {
        for _ in 0..RACERS {
            let Some(current) = done("reading the pointer", storage.current())? else {
                return Err(Flaw::new("a current revision", "none"));
            };
            let count = count(&done("reading the counter", storage.read(&current, NO_LIMIT))?)?;
            let next = nth(names.fetch_add(1, Ordering::SeqCst))?;
            create(storage, &next, (count + 1).to_string().as_bytes())?;
            if won(storage.set_current(Expect::Exactly(Some(&current)), &next, held))? {
                return Ok(());
            }
        }
        Err(never_won())
    })?;
    let Some(last) = done("reading the pointer", storage.current())? else {
        return Err(Flaw::new("a current revision", "none"));
    };
    let found = count(&done("reading the counter", storage.read(&last, NO_LIMIT))?)?;
    equal("the counter that every thread incremented once", &found, &RACERS)
}

pub(in crate::rules) fn current_is_old_or_new_while_it_moves(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let revs = create_many(&*storage, RACERS)?;
    point(&*storage, &revs[0])?;
    let movers = AtomicUsize::new(RACERS / 2);
    race(medium, |n, storage| {
        if n < RACERS / 2 {
            let _done = Leaving(&movers);
            return [n, n + RACERS / 2]
                .into_iter()
                .try_for_each(|n| point(storage, &revs[n]));
        }
        loop {
            match done("reading the pointer while it moves", storage.current())? {
                Some(rev) => reads(storage, &rev, &sealed(position(&revs, &rev)?))?,
                None => return Err(Flaw::new("a pointer while it moves", "none")),
            }
            if movers.load(Ordering::SeqCst) == 0 {
                return Ok(());
            }
        }
    })?;
    Ok(())
}

pub(in crate::rules) fn a_damaged_pointer_is_an_error(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let revs = create_many(&*storage, 1)?;
    point(&*storage, &revs[0])?;
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
        hook("overwrite_pointer", medium.overwrite_pointer(&stack()?, content))?;
        refused(
            "reading a damaged pointer",
            storage.current(),
            &ErrorKind::Damaged,
        )?;
    }
    Ok(())
}

pub(in crate::rules) fn a_damaged_pointer_is_repaired_by_a_move_without_expectation(
    medium: &dyn Medium,
) -> Check {
    let storage = open(medium)?;
    let revs = create_many(&*storage, 2)?;
    let fence = Fence::raise(&*storage)?;
    point(&*storage, &revs[0])?;
    hook("overwrite_pointer", medium.overwrite_pointer(&stack()?, b""))?;
    for expected in [None, Some(&revs[0])] {
        let moved = storage.set_current(Expect::Exactly(expected), &revs[1], fence.token());
        refused(
            "a move that expects something of a damaged pointer",
            moved,
            &ErrorKind::Damaged,
        )?;
    }
    point(&*storage, &revs[1])?;
    points_at(&*storage, Some(&revs[1]))
}

fn count(content: &[u8]) -> Check<usize> {
    str::from_utf8(content)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Flaw::new("the counter that was written", format!("{content:?}")))
}

fn position(revs: &[Revision], rev: &Revision) -> Check<usize> {
    revs.iter().position(|known| known == rev).ok_or_else(|| {
        Flaw::new(
            "one of the revisions that `current` was moved to",
            rev.to_string(),
        )
    })
}
