use crate::expect::{done, equal, refused, same_bytes};
use crate::medium::Medium;
use crate::place::{
    Leaving, NO_LIMIT, create, create_many, lists, nth, open, point, points_at, race, reads, revision, sealed,
};
use crate::violation::{Check, Flaw};
use sdk_state::{Created, ErrorKind};
use std::iter::repeat_with;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(in crate::rules) fn what_is_created_is_listed_and_read_through_every_handle(
    medium: &dyn Medium,
) -> Check {
    let (writer, old) = (open(medium)?, open(medium)?);
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
    for handle in [&writer, &old, &open(medium)?] {
        lists(&**handle, &revs)?;
        for (rev, content) in revs.iter().zip(&contents) {
            reads(&**handle, rev, content)?;
        }
    }
    Ok(())
}

pub(in crate::rules) fn a_taken_name_is_an_answer_and_changes_nothing(medium: &dyn Medium) -> Check {
    let (first, second) = (open(medium)?, open(medium)?);
    let rev = nth(0)?;
    create(&*first, &rev, b"first")?;
    for handle in [&first, &second, &open(medium)?] {
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

pub(in crate::rules) fn one_of_many_creators_of_a_name_wins(medium: &dyn Medium) -> Check {
    let rev = nth(0)?;
    let answers = race(medium, |n, storage| {
        done("creating", storage.create(&rev, &sealed(n)))
    })?;
    let winners: Vec<usize> = (0..answers.len())
        .filter(|&n| answers[n] == Created::Created)
        .collect();
    equal("the number of creators that are told Created", &winners.len(), &1)?;
    reads(&*open(medium)?, &rev, &sealed(winners[0]))
}

pub(in crate::rules) fn a_snapshot_appears_whole_or_not_at_all(medium: &dyn Medium) -> Check {
    let content: Vec<u8> = repeat_with(|| b"whole ".iter().copied())
        .take(10_000)
        .flatten()
        .collect();
    let rev = nth(0)?;
    let creators = AtomicUsize::new(1);
    race(medium, |n, storage| {
        if n == 0 {
            let _done = Leaving(&creators);
            return create(storage, &rev, &content);
        }
        loop {
            let is_last = creators.load(Ordering::SeqCst) == 0;
            match storage.read(&rev, NO_LIMIT) {
                Ok(found) => return same_bytes("what is read of a snapshot that appears", &found, &content),
                Err(error) if error.kind() == &ErrorKind::NotFound && !is_last => std::thread::yield_now(),
                Err(error) => return Err(Flaw::new("the whole snapshot or NotFound", format!("{error:?}"))),
            }
        }
    })?;
    Ok(())
}

pub(in crate::rules) fn a_large_snapshot_is_kept(medium: &dyn Medium) -> Check {
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
    create(&*open(medium)?, &rev, &content)?;
    reads(&*open(medium)?, &rev, &content)
}

pub(in crate::rules) fn names_of_one_moment_are_different_snapshots(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
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
        create(&*storage, &rev, &sealed(n))?;
        revs.push(rev);
    }
    lists(&*storage, &revs)?;
    for (n, rev) in revs.iter().enumerate() {
        reads(&*storage, rev, &sealed(n))?;
    }
    Ok(())
}

pub(in crate::rules) fn a_name_that_is_no_moment_is_not_written(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let revs = create_many(&*storage, 1)?;
    for name in ["not-a-moment", "2026-07-10T12:00:00.10Z", "current"] {
        let answer = storage.create(&revision(name)?, b"sealed");
        refused(
            &format!("creating under the name {name}"),
            answer,
            &ErrorKind::InvalidName,
        )?;
    }
    lists(&*storage, &revs)
}

pub(in crate::rules) fn creating_does_not_move_current(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let revs = create_many(&*storage, 2)?;
    points_at(&*storage, None)?;
    point(&*storage, &revs[0])?;
    create(&*storage, &nth(2)?, b"sealed")?;
    points_at(&*storage, Some(&revs[0]))
}
