use super::Trouble;
use super::journal::{Entry, Journal};
use super::place::Place;
use super::random::Random;
use super::witness::Witness;
use crate::note::Note;
use clap::Args;
use localstate::LocalStore;
use sdk_state::{Backend as _, ErrorKind, Expect, Lock, Revision, Wait, WriteOptions};
use std::process::ExitCode;
use std::time::Duration;

/// Whoever waits for a lock for so long finds it stuck.
const STUCK: Duration = Duration::from_secs(20);
/// A critical section is made longer by several of these, so that many of the killed die in one.
const PAUSE: Duration = Duration::from_millis(1);

/// The arguments of a process that is killed sooner or later.
#[derive(Args)]
pub(crate) struct ActorOptions {
    #[command(flatten)]
    pub(super) place: Place,
    #[arg(long)]
    pub(super) name: String,
    #[arg(long)]
    pub(super) seed: u64,
}

pub(crate) fn run(options: &ActorOptions) -> ExitCode {
    let Ok(witness) = Witness::open(&options.place) else {
        return ExitCode::FAILURE;
    };
    let Ok(mut journal) = Journal::open(&options.place, &options.name) else {
        return ExitCode::FAILURE;
    };
    let acted = Actor::new(options, &witness, &mut journal).and_then(|mut actor| {
        while !options.place.is_over() {
            actor.act()?;
        }
        Ok(())
    });
    match acted {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            let _ = journal.note(&Entry::Problem(trouble.to_string()));
            ExitCode::FAILURE
        }
    }
}

/// The text of a snapshot that holds the counter.
pub(super) fn count_of(text: &str) -> Option<u64> {
    text.strip_prefix("count ")?.split(' ').next()?.parse().ok()
}

struct Actor<'a> {
    store: LocalStore<Note>,
    witness: &'a Witness,
    journal: &'a mut Journal,
    random: Random,
    signature: String,
    /// Its own revisions, which nobody else deletes.
    own: Vec<Revision>,
}

impl<'a> Actor<'a> {
    fn new(options: &ActorOptions, witness: &'a Witness, journal: &'a mut Journal) -> Result<Self, Trouble> {
        Ok(Self {
            store: options.place.open()?,
            witness,
            journal,
            random: Random::new(options.seed),
            signature: format!("{} {}", options.name, options.seed),
            own: Vec::new(),
        })
    }

    fn act(&mut self) -> Result<(), Trouble> {
        match self.random.below(10) {
            0..5 => self.count_under_the_lock(),
            5 => self.count(None),
            6 => self.write("aside").map(drop),
            7 | 8 => self.delete(),
            _ => self.read(),
        }
    }

    /// What a tool does: lock, read, write, move `current` by comparison, unlock. Nobody evicts, so the lock is never lost.
    fn count_under_the_lock(&mut self) -> Result<(), Trouble> {
        let lock = self.store.lock("torture", &Wait::at_most(STUCK))?;
        let inside = self.witness.enter()?;
        if inside.is_none() {
            self.journal.note(&Entry::Overlap)?;
        }
        self.journal.note(&Entry::Section)?;
        if lock.took_over().is_some() {
            self.journal.note(&Entry::TookOver)?;
        }
        self.count(Some(&*lock))?;
        drop(inside);
        Ok(lock.unlock()?)
    }

    /// Moves `current` to the next count. Whoever does so without the lock may be overtaken, and overtake.
    fn count(&mut self, held: Option<&dyn Lock>) -> Result<(), Trouble> {
        self.pause();
        let (current, count) = match self.store.head() {
            Ok((rev, note)) => (Some(rev), count_of(&note.0).ok_or("current is no counter")?),
            Err(error) if matches!(error.kind(), ErrorKind::NoCurrent { .. }) => (None, 0),
            Err(error) => return Err(error.into()),
        };
        let rev = self.write(&format!("count {}", count + 1))?;
        self.pause();
        match self
            .store
            .compare_and_set_current(Expect::Exactly(current.as_ref()), &rev, held)
        {
            Ok(()) => self.journal.note(&Entry::Counted(count + 1))?,
            Err(error) if matches!(error.kind(), ErrorKind::CurrentMoved { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.pause();
        Ok(())
    }

    fn write(&mut self, text: &str) -> Result<Revision, Trouble> {
        let text = format!("{text} by {} at {}", self.signature, self.random.next());
        let rev = self.store.write(&Note(text.clone()), &WriteOptions::new())?;
        self.journal.note(&Entry::Wrote(rev.clone(), text))?;
        self.own.push(rev.clone());
        Ok(rev)
    }

    fn delete(&mut self) -> Result<(), Trouble> {
        if self.own.is_empty() {
            return Ok(());
        }
        let position = self.random.below(self.own.len() as u64) as usize;
        let rev = self.own[position].clone();
        // What is current now may be no longer when the delete looks, and the other way round: both answers are right.
        self.journal.note(&Entry::Deleting(rev.clone()))?;
        match self.store.delete(&rev, None) {
            Ok(()) => drop(self.own.swap_remove(position)),
            Err(error) if error.kind() == &ErrorKind::RevisionIsCurrent => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), Trouble> {
        for rev in self.store.list()?.into_iter().rev().take(3) {
            match self.store.get(&rev) {
                Ok(_) => {}
                Err(error) if error.kind() == &ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn pause(&mut self) {
        Wait::forever().pause(self.random.time(PAUSE));
    }
}
