//! What a store seals comes back through the backend as it was.

use crate::expect::{Check, Flaw, done, equal, holds, refused, refused_where};
use crate::place::{NO_LIMIT, Place, create, id, lock, nth, race_on};
use sdk_state::encrypt::{Encrypter as _, EnvKey, MasterKey};
use sdk_state::{Backend, ErrorKind, Expect, Revision, StackId, State, Store};
use std::collections::HashSet;
use time::OffsetDateTime;

pub(crate) fn a_store_reads_what_another_one_wrote(place: &Place) -> Check {
    let key = Key::generate()?;
    let backend = place.open()?;
    let (writer, reader) = (key.store(place.open()?)?, key.store(place.open()?)?);
    let held = lock(&*backend, "push")?;
    let state = state(writer.id(), "what is written")?;
    let rev = done("writing through a store", writer.write(&state, "first"))?;
    let moved = backend.set_current(Expect::Nothing, &rev, &held.token);
    done("making it current", moved).map(drop)?;
    let Some(head) = done("reading the head", reader.head())? else {
        return Err(Flaw::new("a head", "a fresh stack"));
    };
    equal("the current revision", &head.revision, &rev)?;
    holds("the document is the one that was written", head.document == state)
}

pub(crate) fn a_changed_snapshot_does_not_open(place: &Place) -> Check {
    let key = Key::generate()?;
    let backend = place.open()?;
    let store = key.store(place.open()?)?;
    let held = lock(&*backend, "re-key")?;
    let rev = write(&store, "what is written")?;
    let whole = done("reading the sealed bytes", backend.read(&rev, NO_LIMIT))?;
    let flipped = |position: usize| {
        let mut bytes = whole.clone();
        bytes[position] ^= 1;
        bytes
    };
    let length = whole.len();
    for changed in [
        flipped(0),
        flipped(length / 4),
        flipped(length / 2),
        flipped(length - 1),
        whole[..1].to_vec(),
        whole[..length / 2].to_vec(),
        whole[..length - 1].to_vec(),
        [&whole[..], b"\n"].concat(),
    ] {
        let replaced = backend.replace(&rev, &changed, &held.token);
        done("replacing the sealed bytes", replaced)?;
        refused_where("opening a changed snapshot", store.get(&rev), "anything", |_| {
            true
        })?;
    }
    let replaced = backend.replace(&rev, &whole, &held.token);
    done("putting the sealed bytes back", replaced)?;
    done("opening what was put back", store.get(&rev)).map(drop)
}

pub(crate) fn a_moved_snapshot_is_misplaced(place: &Place) -> Check {
    let key = Key::generate()?;
    let backend = place.open()?;
    let store = key.store(place.open()?)?;
    let rev = write(&store, "what is written")?;
    let whole = done("reading the sealed bytes", backend.read(&rev, NO_LIMIT))?;

    let elsewhere = nth(7)?;
    create(&*backend, &elsewhere, &whole)?;
    let got = store.get(&elsewhere);
    refused("opening it as another revision", got, &ErrorKind::Misplaced)?;

    let other_stack = place.open_stack(&id("conformance", "two")?)?;
    create(&*other_stack, &rev, &whole)?;
    let got = key.store(other_stack)?.get(&rev);
    refused("opening it as that of another stack", got, &ErrorKind::Misplaced)?;
    done("opening it where it belongs", store.get(&rev)).map(drop)
}

pub(crate) fn writers_at_once_get_revisions_of_their_own(place: &Place) -> Check {
    let key = Key::generate()?;
    let stores: Vec<Store> = (0..place.racers())
        .map(|_| key.store(place.open()?))
        .collect::<Check<_>>()?;
    let revs = race_on(&stores, |n, store| write(store, &n.to_string()))?;
    let different: HashSet<&Revision> = revs.iter().collect();
    equal("the number of different revisions", &different.len(), &revs.len())?;
    for (n, rev) in revs.iter().enumerate() {
        let found = done("reading what was written", stores[0].get(rev))?;
        equal(
            "the document of a writer",
            &found.factory.content_revision,
            &n.to_string(),
        )?;
    }
    Ok(())
}

/// A key that several stores have.
struct Key(MasterKey);

impl Key {
    fn generate() -> Check<Self> {
        match MasterKey::generate() {
            Ok(key) => Ok(Self(key)),
            Err(error) => Err(Flaw::new("a key", error.to_string())),
        }
    }

    /// Its clock stands still, so that writers collide.
    fn store(&self, backend: Box<dyn Backend>) -> Check<Store> {
        match MasterKey::from_base64(&self.0.to_base64()) {
            Ok(key) => {
                let key = EnvKey::new("CONFORMANCE_KEY", key);
                // So that a write makes no request but its own.
                let recipients = [key.recipient().clone()];
                Ok(Store::new(backend, key)
                    .with_recipients(recipients)
                    .with_clock(|| OffsetDateTime::UNIX_EPOCH))
            }
            Err(error) => Err(Flaw::new("a key", error.to_string())),
        }
    }
}

fn state(id: &StackId, content: &str) -> Check<State> {
    let state = State::new(id, "1", content, OffsetDateTime::UNIX_EPOCH);
    done("a state", state)
}

fn write(store: &Store, content: &str) -> Check<Revision> {
    done(
        "writing through a store",
        store.write(&state(store.id(), content)?, ""),
    )
}
