//! What somebody has damaged or put in another place.

use super::place::{get, lists, open, open_stack, state, write};
use crate::expect::{done, equal, hook, refused};
use crate::medium::BackendMedium;
use crate::place::{id, nth, stack};
use crate::violation::Check;
use sdk_state::ErrorKind;

pub(in crate::backend_rules) fn a_damaged_pointer_is_never_a_fresh_start(
    medium: &dyn BackendMedium,
) -> Check {
    let backend = open(medium)?;
    let rev = write(&backend, &state("what is written")?)?;
    done("making it current", backend.set_current(&rev))?;
    for content in [&b""[..], b"\0\0\0\0", b"../../etc/passwd\n", b"\xff\xfe\n"] {
        hook("overwrite_pointer", medium.overwrite_pointer(&stack()?, content))?;
        refused(
            "the head with a damaged pointer",
            backend.head(),
            &ErrorKind::Damaged,
        )?;
        refused(
            "current with a damaged pointer",
            backend.current(),
            &ErrorKind::Damaged,
        )?;
        let current = backend.current_rev();
        refused("current_rev with a damaged pointer", current, &ErrorKind::Damaged)?;
    }
    done("repairing the pointer", backend.set_current(&rev))?;
    equal(
        "the current revision",
        &done("reading it", backend.current_rev())?,
        &rev,
    )
}

pub(in crate::backend_rules) fn a_damaged_snapshot_is_refused_and_hides_no_other(
    medium: &dyn BackendMedium,
) -> Check {
    let backend = open(medium)?;
    let revs = [
        write(&backend, &state("first")?)?,
        write(&backend, &state("second")?)?,
    ];
    done("making it current", backend.set_current(&revs[0]))?;
    for content in [&b""[..], b"neither sealed nor a document"] {
        let damaged = medium.overwrite_snapshot(&stack()?, &revs[0], content);
        hook("overwrite_snapshot", damaged)?;
        refused(
            "getting a damaged snapshot",
            backend.get(&revs[0]),
            &ErrorKind::Damaged,
        )?;
        refused("the head that is damaged", backend.head(), &ErrorKind::Damaged)?;
        lists(&backend, &revs)?;
        get(&backend, &revs[1])?;
    }
    Ok(())
}

pub(in crate::backend_rules) fn a_misplaced_snapshot_is_refused(medium: &dyn BackendMedium) -> Check {
    let (stack, other) = (stack()?, id("conformance", "two")?);
    let backend = open(medium)?;
    let rev = write(&backend, &state("what is written")?)?;
    let elsewhere = nth(0)?;
    for id in [&stack, &other] {
        let copied = medium.copy_snapshot(&stack, &rev, id, &elsewhere);
        hook("copy_snapshot", copied)?;
        let got = open_stack(medium, id)?.get(&elsewhere);
        refused("getting a copy of another revision", got, &ErrorKind::Misplaced)?;
    }
    hook("copy_snapshot", medium.copy_snapshot(&stack, &rev, &other, &rev))?;
    let got = open_stack(medium, &other)?.get(&rev);
    refused("getting a copy from another stack", got, &ErrorKind::Misplaced)?;
    get(&backend, &rev).map(drop)
}
