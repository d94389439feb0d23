use crate::expect::hook;
use crate::medium::Medium;
use crate::place::{create, create_many, lists, nth, open, sealed, stack};
use crate::violation::Check;

pub(in crate::rules) fn everything_is_listed_once_whatever_the_order(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let mut revs = Vec::new();
    // 7 and 100 have no common divisor: each number comes once, in neither direction.
    for n in (0..100).map(|n| n * 7 % 100) {
        let rev = nth(n)?;
        create(&*storage, &rev, &sealed(n))?;
        revs.push(rev);
    }
    lists(&*storage, &revs)?;
    lists(&*open(medium)?, &revs)
}

pub(in crate::rules) fn a_damaged_snapshot_hides_no_other(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let revs = create_many(&*storage, 3)?;
    for content in [&b"damaged"[..], b""] {
        let damaged = medium.overwrite_snapshot(&stack()?, &revs[1], content);
        hook("overwrite_snapshot", damaged)?;
        lists(&*storage, &revs)?;
        lists(&*open(medium)?, &revs)?;
    }
    Ok(())
}
