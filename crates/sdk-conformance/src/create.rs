//! Creating a snapshot.

use crate::expect::{Check, Flaw, done, equal, refused, same_bytes};
use crate::place::{
    Leaving, NO_LIMIT, Place, create, create_many, lists, lock, nth, point, points_at, reads, revision,
    sealed,
};
use sdk_state::{Created, ErrorKind};
use std::iter::repeat_with;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) fn what_is_created_is_listed_and_read_by_all(place: &Place) -> Check {
    let (writer, old) = (place.open()?, place.open()?);
    // A handle that looked before must not go on seeing that.
    let _ = old.list();
    let every_byte: Vec<u8> = (0..=u8::MAX).chain(b"\r\n\0\n".iter().copied()).collect();
    let contents = [every_byte, vec![0], b"\n".to_vec(), vec![b' '; 4097]];
    let mut revs = Vec::new();
    for (n, content) in contents.iter().enumerate() {
        let rev = nth(n)?;
        create(&*writer, &rev, content)?;
        revs.push(rev);
    }
    for handle in [&writer, &old, &place.open()?] {
        lists(&**handle, &revs)?;
        for (rev, content) in revs.iter().zip(&contents) {
            reads(&**handle, rev, content)?;
        }
    }
    Ok(())
}

pub(crate) fn a_taken_name_is_an_answer_and_changes_nothing(place: &Place) -> Check {
    let (first, second) = (place.open()?, place.open()?);
    let rev = nth(0)?;
    create(&*first, &rev, b"first")?;
    for handle in [&first, &second, &place.open()?] {
        let answer = done(
            "creating under a taken name",
            handle.create(&rev, b"second, and longer"),
        )?;
        equal(
            "the answer to creating under a taken name",
            &answer,
            &Created::Exists,
        )?;
        reads(&**handle, &rev, b"first")?;
    }
    lists(&*second, &[rev])
}

pub(crate) fn one_of_many_creators_of_a_name_wins(place: &Place) -> Check {
    let rev = nth(0)?;
    let answers = place.race(|n, backend| done("creating", backend.create(&rev, &sealed(n))))?;
    let winners: Vec<usize> = (0..answers.len())
        .filter(|&n| answers[n] == Created::Created)
        .collect();
    equal("the number of creators that are told Created", &winners.len(), &1)?;
    reads(&*place.open()?, &rev, &sealed(winners[0]))
}

pub(crate) fn a_snapshot_appears_whole_or_not_at_all(place: &Place) -> Check {
    let content = b"whole ".repeat(10_000);
    let rev = nth(0)?;
    let creators = AtomicUsize::new(1);
    place.race(|n, backend| {
        if n == 0 {
            let _done = Leaving(&creators);
            return create(backend, &rev, &content);
        }
        loop {
            let is_last = creators.load(Ordering::SeqCst) == 0;
            match backend.read(&rev, NO_LIMIT) {
                Ok(found) => return same_bytes("what is read of a snapshot that appears", &found, &content),
                Err(error) if error.is_not_found() && !is_last => std::thread::yield_now(),
                Err(error) => return Err(Flaw::new("the whole snapshot or NotFound", format!("{error:?}"))),
            }
        }
    })?;
    Ok(())
}

pub(crate) fn a_large_snapshot_is_kept(place: &Place) -> Check {
    // A linear congruential generator: a page of bytes that do not compress, each page with another beginning.
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()
    };
    let page: Vec<u8> = repeat_with(next).take(16 << 10).flatten().collect();
    let mut content = Vec::with_capacity(16 << 20);
    for n in 0..256_u32 {
        content.extend_from_slice(&n.to_be_bytes());
        content.extend_from_slice(&page[4..]);
    }
    let rev = nth(0)?;
    create(&*place.open()?, &rev, &content)?;
    reads(&*place.open()?, &rev, &content)
}

pub(crate) fn names_of_one_moment_are_different_snapshots(place: &Place) -> Check {
    let backend = place.open()?;
    let mut revs = Vec::new();
    for (n, name) in [
        "2026-07-10T12:00:00Z",
        "2026-07-10T12:00:00Z_1",
        "2026-07-10T12:00:00Z_10",
        "2026-07-10T12:00:00Z_999999999",
        "2026-07-10T12:00:00.1Z",
        "2026-07-10T12:00:00.000000001Z",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999999Z_999999999",
    ]
    .into_iter()
    .enumerate()
    {
        let rev = revision(name)?;
        create(&*backend, &rev, &sealed(n))?;
        revs.push(rev);
    }
    lists(&*backend, &revs)?;
    for (n, rev) in revs.iter().enumerate() {
        reads(&*backend, rev, &sealed(n))?;
    }
    Ok(())
}

pub(crate) fn a_name_that_is_no_moment_is_not_written(place: &Place) -> Check {
    let backend = place.open()?;
    let revs = create_many(&*backend, 1)?;
    for name in ["not-a-moment", "2026-07-10T12:00:00.10Z", "current"] {
        let answer = backend.create(&revision(name)?, b"sealed");
        refused(
            &format!("creating under the name {name}"),
            answer,
            &ErrorKind::InvalidName,
        )?;
    }
    lists(&*backend, &revs)
}

pub(crate) fn creating_does_not_move_current(place: &Place) -> Check {
    let backend = place.open()?;
    let held = lock(&*backend, "push")?;
    let revs = create_many(&*backend, 2)?;
    points_at(&*backend, None)?;
    point(&*backend, &revs[0], &held.token)?;
    create(&*backend, &nth(2)?, b"sealed")?;
    points_at(&*backend, Some(&revs[0]))
}
