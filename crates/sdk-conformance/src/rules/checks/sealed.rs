use crate::expect::{done, equal, holds, refused, refused_where};
use crate::medium::Medium;
use crate::place::{NO_LIMIT, RACERS, create, id, nth, open, open_stack, race_on, stack};
use crate::violation::{Check, Flaw};
use sdk_state::ErrorKind;
use sdk_state::encrypt::{EnvKey, MasterKey};
use sdk_state::{Backend as _, Revision, State, Storage, Store, WriteOptions};
use std::collections::HashSet;
use time::OffsetDateTime;

type AnyStore = Store<Box<dyn Storage>, State>;

pub(in crate::rules) fn a_store_reads_what_another_one_wrote(medium: &dyn Medium) -> Check {
    let key = Key::generate()?;
    let (writer, reader) = (key.store(open(medium)?)?, key.store(open(medium)?)?);
    let state = state("what is written")?;
    let rev = write(&writer, &state)?;
    done("making it current", writer.set_current(&rev))?;
    let (found, snapshot) = done("reading the current snapshot", reader.head())?;
    equal("the current revision", &found, &rev)?;
    holds("the snapshot is the one that was written", snapshot == state)
}

pub(in crate::rules) fn a_changed_snapshot_does_not_open(medium: &dyn Medium) -> Check {
    let key = Key::generate()?;
    let storage = open(medium)?;
    let store = key.store(open(medium)?)?;
    let rev = write(&store, &state("what is written")?)?;
    let whole = done("reading the sealed bytes", storage.read(&rev, NO_LIMIT))?;
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
        done("replacing the sealed bytes", storage.replace(&rev, &changed))?;
        let got = store.get(&rev);
        refused_where("opening a changed snapshot", got, "anything", |_| true)?;
    }
    done("putting the sealed bytes back", storage.replace(&rev, &whole))?;
    done("opening what was put back", store.get(&rev)).map(drop)
}

pub(in crate::rules) fn a_moved_snapshot_is_misplaced(medium: &dyn Medium) -> Check {
    let key = Key::generate()?;
    let storage = open(medium)?;
    let store = key.store(open(medium)?)?;
    let rev = write(&store, &state("what is written")?)?;
    let whole = done("reading the sealed bytes", storage.read(&rev, NO_LIMIT))?;

    let elsewhere = nth(7)?;
    create(&*storage, &elsewhere, &whole)?;
    refused(
        "opening it as another revision",
        store.get(&elsewhere),
        &ErrorKind::Misplaced,
    )?;

    let other_stack = open_stack(medium, &id("conformance", "two")?)?;
    create(&*other_stack, &rev, &whole)?;
    let got = key.store(other_stack)?.get(&rev);
    refused("opening it as that of another stack", got, &ErrorKind::Misplaced)?;
    done("opening it where it belongs", store.get(&rev)).map(drop)
}

pub(in crate::rules) fn writers_at_once_get_revisions_of_their_own(medium: &dyn Medium) -> Check {
    let key = Key::generate()?;
    let stores: Vec<AnyStore> = (0..RACERS)
        .map(|_| key.store(open(medium)?))
        .collect::<Check<_>>()?;
    let revs = race_on(&stores, |n, store| write(store, &state(&n.to_string())?))?;
    let different: HashSet<&Revision> = revs.iter().collect();
    equal("the number of different revisions", &different.len(), &RACERS)?;
    for (n, rev) in revs.iter().enumerate() {
        let found = done("reading what was written", stores[0].get(rev))?
            .factory
            .content_revision;
        equal("the snapshot of a writer", &found, &n.to_string())?;
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
    fn store(&self, storage: Box<dyn Storage>) -> Check<AnyStore> {
        match MasterKey::from_base64(&self.0.to_base64()) {
            Ok(key) => Ok(Store::new(storage, EnvKey::new("CONFORMANCE_KEY", key))
                .with_clock(|| OffsetDateTime::UNIX_EPOCH)),
            Err(error) => Err(Flaw::new("a key", error.to_string())),
        }
    }
}

fn state(content: &str) -> Check<State> {
    let state = State::new(&stack()?, "1", content, OffsetDateTime::UNIX_EPOCH);
    done("a state", state)
}

fn write(store: &AnyStore, state: &State) -> Check<Revision> {
    done(
        "writing through a store",
        store.write(state, &WriteOptions::new()),
    )
}
