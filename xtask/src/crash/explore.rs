//! Crashes the machine after every operation of a trace.

use super::disk::{Bounds, Disk, State, Tree, after_crash};
use super::promises::{Expected, Observation, User, observe};
use super::script::{Mark, Request};
use super::trace::{Op, Trace};
use crate::place::scratch;
use crate::props::random;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;

/// Opens each state once, even if many crashes lead to it.
pub(super) struct Explorer {
    bounds: Bounds,
    seed: u64,
    seen: HashMap<(Tree, User), Rc<Observation>>,
    pub(super) crash_points: usize,
    /// Those where not all states were tried.
    pub(super) samples: usize,
    /// Pairs of a crash point and a state.
    pub(super) crashes: usize,
}

/// How many violations are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thoroughness {
    All,
    UntilOneIsFound,
}

/// A broken promise, and the crash that shows it.
pub(super) type Violation = (String, String);

impl Explorer {
    pub(super) fn new(bounds: Bounds, seed: u64) -> Self {
        Self {
            bounds,
            seed,
            seen: HashMap::new(),
            crash_points: 0,
            samples: 0,
            crashes: 0,
        }
    }

    pub(super) fn distinct_states(&self) -> usize {
        self.seen.len()
    }

    /// Crashes after each operation; the first one is a mark, which changes nothing.
    pub(super) fn explore(
        &mut self,
        trace: &Trace,
        thoroughness: Thoroughness,
    ) -> io::Result<Vec<Violation>> {
        let mut random = random(self.seed);
        let mut disk = Disk::new(trace);
        let mut expected = Expected::new();
        let begins = Op::Mark(Mark::Begins(Request::Begin));
        let user = match trace.ops.contains(&begins) {
            true => User::Run,
            false => User::Lock,
        };
        let mut left = after_crash(&mut disk, self.bounds, &mut random);
        let mut found: Vec<Violation> = Vec::new();
        for (at, op) in trace.ops.iter().enumerate() {
            if let Op::Mark(mark) = op {
                expected.note(mark);
            }
            if disk.apply(op) {
                left = after_crash(&mut disk, self.bounds, &mut random);
            }
            self.crash_points += 1;
            self.samples += usize::from(left.is_sample);
            for state in &left.states {
                self.crashes += 1;
                let seen = self.observe(state, user)?;
                for violation in expected.check(&seen) {
                    // The same one at the next crash point tells nothing new.
                    if found.iter().any(|(known, _)| *known == violation) {
                        continue;
                    }
                    let (op, during) = (trace.describe(op), expected.in_progress());
                    let crash = format!("crash after operation {at}: {op}, {during}; {}", state.survived);
                    found.push((violation, crash));
                    if thoroughness == Thoroughness::UntilOneIsFound {
                        return Ok(found);
                    }
                }
            }
        }
        Ok(found)
    }

    fn observe(&mut self, state: &State, user: User) -> io::Result<Rc<Observation>> {
        let key = (state.tree.clone(), user);
        if let Some(seen) = self.seen.get(&key) {
            return Ok(Rc::clone(seen));
        }
        let place = scratch()?;
        let seen = Rc::new(observe(&state.tree, user, place.path()));
        self.seen.insert(key, Rc::clone(&seen));
        Ok(seen)
    }
}
