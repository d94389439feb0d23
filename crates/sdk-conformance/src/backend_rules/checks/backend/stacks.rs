//! Whose a backend is.

use super::place::{held_by, lists, lock, open_stack, state_of};
use crate::expect::{done, equal, holds};
use crate::medium::BackendMedium;
use crate::place::{id, token};
use crate::violation::Check;
use sdk_state::{ErrorKind, WriteOptions};

pub(in crate::backend_rules) fn stacks_do_not_see_each_other(medium: &dyn BackendMedium) -> Check {
    let longest = "n".repeat(128);
    let names = [
        ("network", "prod"),
        ("networkp", "rod"),
        ("prod", "network"),
        ("network", "prod-x"),
        ("network-prod", "x"),
        ("a@b+c=d", "x..y"),
        ("current", "lock"),
        (&longest, &longest),
        // A medium that is blind to case may refuse this one, and must not mix it up with the first.
        ("network", "Prod"),
    ];
    let mut stacks = Vec::new();
    for (factory, stack) in names {
        let id = id(factory, stack)?;
        let backend = open_stack(medium, &id)?;
        equal("the id of a backend", backend.id(), &id)?;
        let state = state_of(&id, stack)?;
        match backend.write(&state, &WriteOptions::new()) {
            Err(error) if stack == "Prod" && *error.kind() == ErrorKind::InvalidName => continue,
            written => {
                let rev = done("writing a snapshot", written)?;
                done("making it current", backend.set_current(&rev))?;
                let lock = lock(&backend)?;
                stacks.push((backend, state, rev, lock));
            }
        }
    }
    for (backend, state, rev, lock) in &stacks {
        lists(backend, std::slice::from_ref(rev))?;
        let current = done("reading the current snapshot", backend.current())?;
        holds(
            "a stack has the snapshot that was written to it",
            &current == state,
        )?;
        held_by(backend, Some(token(&**lock)?))?;
    }
    Ok(())
}
