use crate::expect::{done, equal, refused};
use crate::medium::Medium;
use crate::place::{
    Fence, NO_LIMIT, create, held_by, id, lists, lock, nth, open_stack, point, points_at, reads, sealed,
    token,
};
use crate::violation::{Check, Flaw};
use sdk_state::ErrorKind;

pub(in crate::rules) fn a_storage_says_whose_place_it_is(medium: &dyn Medium) -> Check {
    for (factory, stack) in [("network", "prod"), ("prod", "network")] {
        let id = id(factory, stack)?;
        equal("the id of a storage", open_stack(medium, &id)?.id(), &id)?;
    }
    Ok(())
}

pub(in crate::rules) fn stacks_do_not_see_each_other(medium: &dyn Medium) -> Check {
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
        let storage = open_stack(medium, &id(factory, stack)?)?;
        // One name in all of them, with other bytes in each, and one of its own.
        let n = stacks.len() + 1;
        create(&*storage, &nth(0)?, &sealed(n))?;
        create(&*storage, &nth(n)?, &sealed(100 + n))?;
        point(&*storage, &nth(n)?)?;
        let lock = lock(&*storage, stack)?;
        stacks.push((storage, lock));
    }
    for (n, (storage, lock)) in stacks.iter().enumerate() {
        let own = nth(n + 1)?;
        lists(&**storage, &[nth(0)?, own.clone()])?;
        reads(&**storage, &nth(0)?, &sealed(n + 1))?;
        reads(&**storage, &own, &sealed(101 + n))?;
        points_at(&**storage, Some(&own))?;
        held_by(&**storage, Some(token(&**lock)?))?;
    }
    Ok(())
}

pub(in crate::rules) fn names_that_differ_in_case_are_not_mixed(medium: &dyn Medium) -> Check {
    for ((factory, stack), (other_factory, other_stack)) in [
        (("network", "prod"), ("network", "Prod")),
        (("storage", "prod"), ("STORAGE", "prod")),
    ] {
        let storage = open_stack(medium, &id(factory, stack)?)?;
        create(&*storage, &nth(0)?, b"lower case")?;
        let other = open_stack(medium, &id(other_factory, other_stack)?)?;
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
        lists(&*storage, &[nth(0)?])?;
        reads(&*storage, &nth(0)?, b"lower case")?;
    }
    Ok(())
}

pub(in crate::rules) fn every_legal_name_is_a_stack(medium: &dyn Medium) -> Check {
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
        let storage = open_stack(medium, &id(name, name)?)?;
        create(&*storage, &nth(0)?, name.as_bytes())?;
        let fence = Fence::raise(&*storage)?;
        create(&*storage, &nth(1)?, b"another")?;
        point(&*storage, &nth(0)?)?;
        let again = open_stack(medium, &id(name, name)?)?;
        lists(&*again, &[nth(0)?, nth(1)?])?;
        reads(&*again, &nth(0)?, name.as_bytes())?;
        points_at(&*again, Some(&nth(0)?))?;
        done("removing", again.remove(&nth(1)?, fence.token()))?;
        refused(
            "reading what was removed",
            storage.read(&nth(1)?, NO_LIMIT),
            &ErrorKind::NotFound,
        )?;
    }
    Ok(())
}
