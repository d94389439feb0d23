//! Random histories of runs, compared with a model (R1, R3).

use crate::watched::{Fault, Method, Watched};
use proptest::prelude::*;
use sdk_state::{
    Binding, Category, Entry, EntryKind, Error, ErrorKind, Json, Revision, Run, State, Store, Wait,
};
use std::collections::BTreeMap;

type Model = BTreeMap<String, u32>;

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u32),
    Remove(u8),
    Commit,
    /// Saves the document with one entry more.
    Save(u8, u32),
    /// To the nth revision that a commit has returned.
    SetCurrent(prop::sample::Index),
    Finish,
    Drop,
    Kill,
    Evict,
    /// The next call of this method fails and changes nothing.
    Fail(Method),
}

fn step() -> impl Strategy<Value = Step> {
    let method = prop::sample::select(vec![
        Method::Create,
        Method::SetCurrent,
        Method::Append,
        Method::Remove,
    ]);
    prop_oneof![
        8 => (0..6_u8, any::<u32>()).prop_map(|(address, value)| Step::Put(address, value)),
        2 => (0..6_u8).prop_map(Step::Remove),
        2 => Just(Step::Commit),
        1 => (0..6_u8, any::<u32>()).prop_map(|(address, value)| Step::Save(address, value)),
        1 => any::<prop::sample::Index>().prop_map(Step::SetCurrent),
        1 => Just(Step::Finish),
        1 => Just(Step::Drop),
        2 => Just(Step::Kill),
        1 => Just(Step::Evict),
        2 => method.prop_map(Step::Fail),
    ]
}

fn entry(address: u8, value: u32) -> Entry {
    let binding = Binding::new("aws", "vpc");
    let mut entry = Entry::new(
        format!("r{address}"),
        EntryKind::Leaf,
        Category::Resource,
        binding,
    );
    entry.outputs = Some(Json::parse(format!(r#"{{"value":{value}}}"#)).unwrap());
    entry
}

fn model(state: &State) -> Model {
    let value = |entry: &Entry| {
        entry
            .outputs
            .as_ref()
            .unwrap()
            .to::<BTreeMap<String, u32>>()
            .unwrap()["value"]
    };
    state
        .entries()
        .map(|entry| (entry.address.clone(), value(entry)))
        .collect()
}

struct History {
    watched: Watched,
    store: Store<State>,
    run: Option<Run<State>>,
    /// Dead runs, which must not change anything any more.
    dead: Vec<Run<State>>,
    /// What is acknowledged.
    durable: Model,
    /// With what a failed call has left in the run.
    submitted: Model,
    committed: Vec<(Revision, Model)>,
    /// How many revisions may exist.
    allowed: usize,
}

impl History {
    fn new() -> Self {
        let watched = Watched::fresh();
        Self {
            store: Store::new(watched.clone(), sdk_state::encrypt::Noop),
            watched,
            run: None,
            dead: Vec::new(),
            durable: Model::new(),
            submitted: Model::new(),
            committed: Vec::new(),
            allowed: 0,
        }
    }

    /// Returns the run. If none is open, begins one, and checks that it shows every durable change, and of the others at most those
    /// of an unfinished call.
    fn run(&mut self) -> &Run<State> {
        if self.run.is_none() {
            self.watched.without_faults();
            let run = self.store.begin("apply", Wait::none()).unwrap();
            let found = model(&run.state());
            assert!(found == self.durable || found == self.submitted);
            self.durable = found.clone();
            self.submitted = found;
            // What the dead run left, and what this one will.
            self.allowed += 2;
            self.run = Some(run);
            self.dead.clear();
        }
        self.run.as_ref().unwrap()
    }

    fn note<T>(&mut self, answer: Result<T, Error>) -> Option<T> {
        match answer {
            Ok(value) => {
                self.durable = self.submitted.clone();
                Some(value)
            }
            Err(error) => {
                assert!(error.is_unavailable(), "{error}");
                None
            }
        }
    }

    fn end(&mut self) -> Run<State> {
        self.run();
        self.run.take().unwrap()
    }

    fn play(&mut self, step: &Step) {
        match *step {
            Step::Put(address, value) => {
                let answer = self.run().put(entry(address, value));
                self.submitted.insert(format!("r{address}"), value);
                self.note(answer);
            }
            Step::Remove(address) => {
                let answer = self.run().remove(format!("r{address}"));
                self.submitted.remove(&format!("r{address}"));
                self.note(answer);
            }
            Step::Commit => {
                let answer = self.run().commit("commit");
                if let Some(Some(revision)) = self.note(answer) {
                    self.committed.push((revision, self.durable.clone()));
                }
            }
            Step::Save(address, value) => {
                let run = self.run();
                let mut document = (*run.state()).clone();
                document.upsert(entry(address, value));
                match run.save(document, "save") {
                    Ok(revision) => {
                        self.submitted.insert(format!("r{address}"), value);
                        self.durable = self.submitted.clone();
                        self.committed.push((revision, self.durable.clone()));
                    }
                    Err(error) => assert!(matches!(
                        error.kind(),
                        ErrorKind::Unsupported | ErrorKind::Unavailable
                    )),
                }
            }
            Step::SetCurrent(ref index) => {
                let list = self.store.list().unwrap();
                self.committed.retain(|(revision, _)| list.contains(revision));
                if self.committed.is_empty() {
                    return;
                }
                let (revision, state) = index.get(&self.committed).clone();
                match self.run().set_current(&revision) {
                    Ok(()) => {
                        self.allowed += 1;
                        self.durable = state.clone();
                        self.submitted = state;
                    }
                    // The run's own revision was replaced by the commit.
                    Err(error) => assert!(error.is_unavailable() || error.is_not_found(), "{error}"),
                }
                let found = model(&self.run().state());
                assert_eq!(found, self.submitted);
            }
            Step::Finish => {
                let answer = self.run().finish("finish");
                if let Some(revision) = self.note(answer) {
                    self.committed
                        .extend(revision.map(|revision| (revision, self.durable.clone())));
                    self.run = None;
                }
            }
            Step::Drop => {
                let run = self.end();
                self.watched.without_faults();
                drop(run);
                self.durable = self.submitted.clone();
            }
            Step::Kill => {
                let run = self.end();
                self.watched.backend.kill_holder();
                self.dead.push(run);
            }
            Step::Evict => {
                // The orphan of a first run is a lost pointer.
                if self.run().base().is_none() {
                    return;
                }
                let run = self.end();
                self.watched.without_faults();
                self.store.force_unlock(None).unwrap();
                assert!(run.put(entry(9, 9)).unwrap_err().is_lock_lost());
                assert!(run.finish("late").unwrap_err().is_lock_lost());
                let orphan = run.orphan().unwrap();
                assert!(model(&self.store.get(&orphan).unwrap()).contains_key("r9"));
                self.allowed += 1;
            }
            Step::Fail(method) => {
                let nth = self.watched.count(method) + 1;
                self.watched
                    .fail(method, nth, Fault::Before(ErrorKind::Unavailable));
            }
        }
        let head = self.store.head().unwrap();
        let found = head.map_or_else(Model::new, |head| model(&head.document));
        // A dead run may have left more than was acknowledged, and nothing less.
        assert!(found == self.durable || found == self.submitted, "{found:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_acknowledged_change_is_lost(steps in prop::collection::vec(step(), 1..40)) {
        let mut history = History::new();
        for step in steps {
            history.play(&step);
        }
        let last = history.end();
        history.watched.without_faults();
        last.finish("last").unwrap();
        let head = history.store.head().unwrap();
        prop_assert_eq!(head.map_or_else(Model::new, |head| model(&head.document)), history.submitted);
        let left = history.store.list().unwrap().len();
        prop_assert!(left <= history.allowed, "{} revisions of {}", left, history.allowed);
    }
}
