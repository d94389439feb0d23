use crate::expect::{done, refused};
use crate::medium::Medium;
use crate::place::{create_many, lists, nth, open, reads, sealed};
use crate::violation::Check;
use sdk_state::ErrorKind;

pub(in crate::rules) fn a_snapshot_is_replaced_as_a_whole(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let revs = create_many(&*storage, 2)?;
    for content in [&b"new"[..], b"newer and longer than the first"] {
        done("replacing a snapshot", storage.replace(&revs[0], content))?;
        reads(&*storage, &revs[0], content)?;
        reads(&*open(medium)?, &revs[0], content)?;
    }
    reads(&*storage, &revs[1], &sealed(1))?;
    lists(&*storage, &revs)
}

pub(in crate::rules) fn an_absent_snapshot_is_not_replaced(medium: &dyn Medium) -> Check {
    let storage = open(medium)?;
    let absent = nth(7)?;
    refused(
        "replacing in an empty place",
        storage.replace(&absent, b"new"),
        &ErrorKind::NotFound,
    )?;
    let revs = create_many(&*storage, 1)?;
    refused(
        "replacing what does not exist",
        storage.replace(&absent, b"new"),
        &ErrorKind::NotFound,
    )?;
    lists(&*storage, &revs)
}
