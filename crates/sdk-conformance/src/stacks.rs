//! Stacks are kept apart, and the catalog of them.

use crate::expect::{Check, Flaw, done, equal, holds, hook, refused, refused_where};
use crate::journal::{begins, contains};
use crate::place::{
    NO_LIMIT, Place, create, create_many, held_by, id, lists, lock, names_holder, nth, point, points_at,
    reads, sealed,
};
use crate::read::is_empty;
use sdk_state::{Catalog, Created, ErrorKind, StackId};

pub(crate) fn a_backend_says_whose_place_it_is(place: &Place) -> Check {
    for (factory, stack) in [("network", "prod"), ("prod", "network")] {
        let id = id(factory, stack)?;
        equal("the id of a backend", place.open_stack(&id)?.id(), &id)?;
    }
    Ok(())
}

pub(crate) fn stacks_do_not_see_each_other(place: &Place) -> Check {
    let names = [
        ("network", "prod"),
        ("network", "prod2"),
        ("networkp", "rod"),
        ("prod", "network"),
        ("network", "network"),
        ("network-prod", "x"),
        ("network", "prod-x"),
    ];
    let mut stacks = Vec::new();
    for (factory, stack) in names {
        let backend = place.open_stack(&id(factory, stack)?)?;
        // One name in all of them, with other bytes in each, and one of its own.
        let n = stacks.len() + 1;
        create(&*backend, &nth(0)?, &sealed(n))?;
        create(&*backend, &nth(n)?, &sealed(100 + n))?;
        let held = lock(&*backend, stack)?;
        point(&*backend, &nth(n)?, &held.token)?;
        stacks.push((backend, held));
    }
    for (n, (backend, held)) in stacks.iter().enumerate() {
        let own = nth(n + 1)?;
        lists(&**backend, &[nth(0)?, own.clone()])?;
        reads(&**backend, &nth(0)?, &sealed(n + 1))?;
        reads(&**backend, &own, &sealed(101 + n))?;
        points_at(&**backend, Some(&own))?;
        held_by(&**backend, Some(&held.token))?;
    }
    // Journals of one revision, by moves that may have one number.
    let mut journals = Vec::new();
    for (n, (backend, held)) in stacks.iter().enumerate() {
        let base = point(&**backend, &nth(0)?, &held.token)?;
        let has_record = begins(&**backend, &base, &sealed(n), &held.token)?;
        journals.push((backend, base, has_record.then(|| sealed(n))));
    }
    for (backend, base, record) in &journals {
        contains(&***backend, base, record.as_slice())?;
    }
    Ok(())
}

pub(crate) fn names_that_differ_in_case_are_not_mixed(place: &Place) -> Check {
    for ((factory, stack), (other_factory, other_stack)) in [
        (("network", "prod"), ("network", "Prod")),
        (("storage", "prod"), ("STORAGE", "prod")),
    ] {
        let backend = place.open_stack(&id(factory, stack)?)?;
        create(&*backend, &nth(0)?, b"lower case")?;
        let other = place.open_stack(&id(other_factory, other_stack)?)?;
        match other.create(&nth(1)?, b"upper case") {
            Ok(_) => {
                lists(&*other, &[nth(1)?])?;
                reads(&*other, &nth(1)?, b"upper case")?;
            }
            // On a medium that is blind to case.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::InvalidName | ErrorKind::Unsupported | ErrorKind::Io
                ) => {}
            Err(error) => return Err(Flaw::new("another stack, or a refusal", format!("{error:?}"))),
        }
        lists(&*backend, &[nth(0)?])?;
        reads(&*backend, &nth(0)?, b"lower case")?;
    }
    Ok(())
}

pub(crate) fn every_legal_name_is_a_stack(place: &Place) -> Check {
    let longest = "n".repeat(128);
    for name in [
        &longest,
        "a@b+c=d",
        "0",
        "a.b_c-d",
        "x..y",
        "current",
        "lock",
        "snapshots",
        "CON",
        "index.json",
    ] {
        let id = id(name, name)?;
        let backend = place.open_stack(&id)?;
        create(&*backend, &nth(0)?, name.as_bytes())?;
        create(&*backend, &nth(1)?, b"another")?;
        let held = lock(&*backend, "push")?;
        point(&*backend, &nth(0)?, &held.token)?;
        let again = place.open_stack(&id)?;
        lists(&*again, &[nth(0)?, nth(1)?])?;
        reads(&*again, &nth(0)?, name.as_bytes())?;
        points_at(&*again, Some(&nth(0)?))?;
        done("removing", again.remove(&nth(1)?, Some(&held.token)))?;
        let read = backend.read(&nth(1)?, NO_LIMIT);
        refused("reading what was removed", read, &ErrorKind::NotFound)?;
    }
    Ok(())
}

pub(crate) fn a_catalog_lists_each_stack_that_exists(place: &Place) -> Check {
    let catalog = catalog(place)?;
    lists_stacks(&*catalog, &[])?;
    let written = [id("b", "two")?, id("a", "three")?, id("b", "one")?];
    for id in &written[..2] {
        create(&*place.open_stack(id)?, &nth(0)?, b"sealed")?;
    }
    let locked = place.open_stack(&written[2])?;
    let _held = lock(&*locked, "push")?;
    // A look is not a stack.
    let _ = place.open_stack(&id("c", "mistyped")?)?.current();
    let sorted = [&written[1], &written[2], &written[0]].map(Clone::clone);
    for catalog in [catalog, self::catalog(place)?] {
        lists_stacks(&*catalog, &sorted)?;
    }
    Ok(())
}

pub(crate) fn a_catalog_removes_a_stack_as_a_whole(place: &Place) -> Check {
    let (catalog, other) = (catalog(place)?, id("conformance", "two")?);
    done(
        "removing a stack that does not exist",
        catalog.remove(&place.stack),
    )?;
    for id in [&place.stack, &other] {
        let backend = place.open_stack(id)?;
        let revs = create_many(&*backend, 2)?;
        let held = lock(&*backend, "push")?;
        let base = point(&*backend, &revs[1], &held.token)?;
        begins(&*backend, &base, b"record", &held.token)?;
        drop(held);
        // However that went.
        done("force_unlock", backend.force_unlock(None))?;
    }
    for _ in 0..2 {
        done("removing a stack", catalog.remove(&place.stack))?;
        lists_stacks(&*catalog, std::slice::from_ref(&other))?;
        is_empty(&*place.open()?)?;
    }
    let other = place.open_stack(&other)?;
    lists(&*other, &[nth(0)?, nth(1)?])?;
    points_at(&*other, Some(&nth(1)?))?;
    // The name of the stack can be used again.
    let again = place.open()?;
    create(&*again, &nth(5)?, b"sealed")?;
    lists(&*again, &[nth(5)?])?;
    points_at(&*again, None)?;
    // By the same moves as before, where names are free again.
    if done("creating a snapshot", again.create(&nth(1)?, &sealed(1)))? == Created::Created {
        let held = lock(&*again, "push")?;
        let base = point(&*again, &nth(1)?, &held.token)?;
        contains(&*again, &base, &[])?;
    }
    Ok(())
}

pub(crate) fn a_catalog_does_not_remove_a_locked_stack(place: &Place) -> Check {
    let catalog = catalog(place)?;
    let backend = place.open()?;
    let revs = create_many(&*backend, 2)?;
    let held = lock(&*backend, "push")?;
    point(&*backend, &revs[1], &held.token)?;
    refused_where(
        "removing a locked stack",
        catalog.remove(&place.stack),
        "Locked by the holder",
        |kind| names_holder(kind, &held.token),
    )?;
    lists(&*backend, &revs)?;
    points_at(&*backend, Some(&revs[1]))?;
    done("checking the lock", held.lock.check())?;
    if place.fixture.kill_holder(&place.stack).is_some() {
        done(
            "removing the stack of a dead holder",
            catalog.remove(&place.stack),
        )?;
    }
    Ok(())
}

pub(crate) fn a_catalog_has_one_name_and_opens_the_place(place: &Place) -> Check {
    let (catalog, again) = (catalog(place)?, catalog(place)?);
    let name = catalog.name();
    holds("a catalog has a name", !name.trim().is_empty())?;
    equal("the name of the catalog, asked again", &catalog.name(), &name)?;
    equal("the name of the same catalog", &again.name(), &name)?;
    create(&*place.open()?, &nth(0)?, b"sealed")?;
    let backend = done("opening a stack of the catalog", catalog.open(&place.stack))?;
    equal("the id of a backend", backend.id(), &place.stack)?;
    reads(&*backend, &nth(0)?, b"sealed")
}

fn catalog(place: &Place) -> Check<Box<dyn Catalog>> {
    hook("catalog", place.fixture.catalog())
}

fn lists_stacks(catalog: &dyn Catalog, expected: &[StackId]) -> Check {
    let found = done("listing the stacks", catalog.stacks())?;
    equal("the stacks", &&*found, &expected)
}
