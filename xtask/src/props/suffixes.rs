use super::{NOON, broken};
use crate::note::Note;
use localstate::{LocalStorage, LocalStore};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use sdk_state::encrypt::Noop;
use sdk_state::{Backend as _, ErrorKind, MemoryStorage, Revision, StackId, Storage, Store, WriteOptions};
use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use time::OffsetDateTime;

const STORY: usize = 40;

/// What happens to a stack, one after the other.
#[derive(Debug, Clone)]
enum Event {
    /// The clock is set to some seconds from noon.
    Clock(i64),
    Write,
    /// Somebody puts a file there: a later number of noon, or a name that is no moment.
    Plant(String),
    /// One of the stored revisions becomes current, if there is one.
    SetCurrent(prop::sample::Index),
    Delete(prop::sample::Index),
}

fn event() -> impl Strategy<Value = Event> {
    let suffix = prop_oneof![6 => 1_u32..30, 2 => 999_999_990..=999_999_999_u32];
    let number = suffix.prop_map(|suffix| format!("2026-07-10T12:00:00Z_{suffix}"));
    let stranger = prop_oneof![
        Just("not-a-revision"),
        Just("2026-07-10T12:00:00Z_0"),
        Just("2026-07-10T12:00:00Z_01"),
        Just("2026-07-10T12:00:00.0Z"),
        Just("2026-07-10T12:00:00Z_"),
    ];
    prop_oneof![
        2 => (-2_i64..3).prop_map(Event::Clock),
        8 => Just(Event::Write),
        2 => number.prop_map(Event::Plant),
        1 => stranger.prop_map(|name| Event::Plant(name.into())),
        2 => any::<prop::sample::Index>().prop_map(Event::SetCurrent),
        2 => any::<prop::sample::Index>().prop_map(Event::Delete),
    ]
}

pub(super) fn hold(runner: &mut TestRunner) -> Result<(), Box<dyn Error>> {
    let story = prop::collection::vec(event(), 1..STORY);
    Ok(runner.run(&story, |story| check(&story))?)
}

/// What the rules foretell, written down once more and in the plainest way.
#[derive(Default)]
struct Model {
    stored: BTreeSet<Revision>,
    current: Option<Revision>,
}

impl Model {
    fn next(&self, now: OffsetDateTime) -> Result<Revision, sdk_state::Error> {
        let now = Revision::at(now)?;
        let mut next = match &self.current {
            Some(current) if current.is_writable() && !is_later(&now, current) => following(current)?,
            _ => now,
        };
        while self.stored.contains(&next) {
            let moment = self.stored.iter().filter(|stored| stored.same_moment(&next));
            next = following(moment.max().unwrap_or(&next))?;
        }
        Ok(next)
    }
}

fn is_later(now: &Revision, current: &Revision) -> bool {
    !now.same_moment(current) && now > current
}

/// The next number of the same moment, or the next nanosecond after the last number.
fn following(revision: &Revision) -> Result<Revision, sdk_state::Error> {
    let text = revision.to_string();
    let moment = text.split('_').next().unwrap_or_default();
    match revision.suffix().unwrap_or_default() {
        Revision::MAX_SUFFIX => {
            let time = revision.time().unwrap_or(OffsetDateTime::UNIX_EPOCH);
            Revision::at(time + time::Duration::nanoseconds(1))
        }
        suffix => format!("{moment}_{}", suffix + 1).parse(),
    }
}

fn check(story: &[Event]) -> Result<(), TestCaseError> {
    let directory = tempfile::tempdir().map_err(broken)?;
    let id = StackId::new("props", "suffixes").map_err(broken)?;
    let clock = Arc::new(AtomicI64::new(NOON));
    let reader = Arc::clone(&clock);
    let store: LocalStore<Note> =
        Store::new(LocalStorage::new(directory.path(), id), Noop).with_clock(move || {
            OffsetDateTime::from_unix_timestamp(reader.load(Ordering::SeqCst))
                .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        });
    let snapshots = directory.path().join("props/suffixes/snapshots");
    let mut model = Model::default();
    for event in story {
        match event {
            Event::Clock(offset) => clock.store(NOON + offset, Ordering::SeqCst),
            Event::Write => {
                let now =
                    OffsetDateTime::from_unix_timestamp(clock.load(Ordering::SeqCst)).map_err(broken)?;
                let expected = model.next(now).map_err(broken)?;
                let revision = store
                    .write(&Note("x".into()), &WriteOptions::new())
                    .map_err(broken)?;
                prop_assert_eq!(&revision, &expected);
                model.stored.insert(revision);
            }
            Event::Plant(name) => {
                let revision: Revision = name.parse().map_err(broken)?;
                std::fs::create_dir_all(&snapshots).map_err(broken)?;
                std::fs::write(snapshots.join(format!("{name}.json.enc")), "planted").map_err(broken)?;
                model.stored.insert(revision);
            }
            Event::SetCurrent(index) => {
                if let Some(revision) = pick(&model, index) {
                    store.set_current(&revision).map_err(broken)?;
                    model.current = Some(revision);
                }
            }
            Event::Delete(index) => {
                if let Some(revision) = pick(&model, index) {
                    let outcome = store.delete(&revision, None);
                    if model.current.as_ref() == Some(&revision) {
                        let kind = outcome.err().map(|error| error.kind().clone());
                        prop_assert_eq!(kind, Some(ErrorKind::RevisionIsCurrent));
                    } else {
                        outcome.map_err(broken)?;
                        model.stored.remove(&revision);
                    }
                }
            }
        }
        let listed = store.list().map_err(broken)?;
        prop_assert_eq!(listed, model.stored.iter().cloned().collect::<Vec<_>>());
    }
    Ok(())
}

fn pick(model: &Model, index: &prop::sample::Index) -> Option<Revision> {
    let stored: Vec<&Revision> = model.stored.iter().collect();
    (!stored.is_empty()).then(|| index.get(&stored).to_owned().clone())
}

pub(super) fn hold_for_ten_thousand(_: &mut TestRunner) -> Result<(), Box<dyn Error>> {
    let id = StackId::new("props", "suffixes")?;
    let memory = MemoryStorage::new(id.clone());
    for name in crowd()? {
        memory.overwrite_snapshot(&name.parse()?, "x");
    }
    comes_next(memory)?;

    let root = tempfile::tempdir()?;
    let snapshots = root.path().join("props/suffixes/snapshots");
    std::fs::create_dir_all(&snapshots)?;
    // One file under many names: nobody opens it, and to make thousands takes long.
    let file = root.path().join("file");
    std::fs::write(&file, "x")?;
    for name in crowd()? {
        std::fs::hard_link(&file, snapshots.join(format!("{name}.json.enc")))?;
    }
    for name in NO_REVISIONS {
        std::fs::hard_link(&file, snapshots.join(name))?;
    }
    comes_next(LocalStorage::new(root.path(), id))
}

const CROWD: u32 = 10_000;
/// Names of revisions that tell no moment: they are listed, last, and say nothing about the next number.
const NO_MOMENTS: [&str; 4] = [
    "2026-07-10T12:00:00Z_0",
    "2026-07-10T12:00:00Z_010001",
    "2026-07-10T12:00:00Z_9999999999",
    "not-a-revision",
];
/// Names of files that are no revisions: they are not listed.
const NO_REVISIONS: [&str; 6] = [
    "2026-07-10T12:00:00Z_20000.json",
    "2026-07-10T12:00:00Z_20000.json.enc~",
    "2026-07-10T12:00:00Z 20000.json.enc",
    ".2026-07-10T12:00:00Z_20000.json.enc",
    ".json.enc",
    "read me",
];

/// The names of 10 000 revisions of noon, with others among them.
fn crowd() -> Result<Vec<String>, Box<dyn Error>> {
    let noon = Revision::at(OffsetDateTime::from_unix_timestamp(NOON)?)?.to_string();
    let numbered = (1..CROWD).map(|suffix| format!("{noon}_{suffix}"));
    let mut names: Vec<String> = numbered.chain(NO_MOMENTS.map(String::from)).collect();
    names.push(noon);
    Ok(names)
}

fn comes_next(storage: impl Storage) -> Result<(), Box<dyn Error>> {
    let noon = OffsetDateTime::from_unix_timestamp(NOON)?;
    let store: Store<_, Note> = Store::new(storage, Noop).with_clock(move || noon);
    let revision = store.write(&Note("next".into()), &WriteOptions::new())?;
    if revision.suffix() != Some(CROWD) {
        return Err(format!("{revision} does not end in _{CROWD}").into());
    }
    let listed: Vec<String> = store.list()?.iter().map(Revision::to_string).collect();
    let bare = Revision::at(noon)?.to_string();
    let numbered = (1..=CROWD).map(|suffix| format!("{bare}_{suffix}"));
    let expected: Vec<String> = [bare.clone()]
        .into_iter()
        .chain(numbered)
        .chain(NO_MOMENTS.map(String::from))
        .collect();
    if listed != expected {
        return Err("the list is not that of all revisions in their order".into());
    }
    Ok(())
}
