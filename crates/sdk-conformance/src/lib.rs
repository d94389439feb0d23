//! The test kit that every backend for infrastructure state must pass.
//!
//! The contract of [`Storage`](sdk_state::Storage) and [`Backend`](sdk_state::Backend) is written in their
//! documentation. The rules here ask it, sentence by sentence, each with an id that the documentation quotes. A backend's
//! author says how to make a fresh place, and gets one test for each rule:
//!
//! ```
//! use sdk_conformance::{Medium, RULES, Report};
//! use sdk_state::{Error, MemoryStorage, StackId, Storage};
//! use std::collections::BTreeMap;
//! use std::sync::{Arc, Mutex};
//!
//! /// A fresh place in memory.
//! #[derive(Default)]
//! struct Memory(Mutex<BTreeMap<StackId, MemoryStorage>>);
//!
//! impl Medium for Memory {
//!     fn open(&self, id: &StackId) -> Result<Box<dyn Storage>, Error> {
//!         let mut stacks = self.0.lock().unwrap();
//!         let stack = stacks.entry(id.clone()).or_insert_with(|| MemoryStorage::new(id.clone()));
//!         Ok(Box::new(stack.clone()))
//!     }
//! }
//!
//! // In a file under tests/: one #[test] for each rule.
//! sdk_conformance::storage_tests!(Memory::default);
//!
//! // Or all at once, as a table and as JSON.
//! fn main() {
//!     let report = Report::run(RULES, || Arc::new(Memory::default()), &[]);
//!     assert!(report.is_good(), "{report}");
//! }
//! ```
//!
//! # Where to go from here
//!
//! | you want to | look at |
//! |---|---|
//! | test a storage, one `#[test]` a rule | [`Medium`], [`storage_tests!`] |
//! | test it as a whole backend too | [`Stores`], [`backend_tests!`] |
//! | test a [`Backend`](sdk_state::Backend) of your own | [`BackendMedium`], [`backend_tests!`] |
//! | declare what a medium cannot do | [`Exception`], or `except` in the macros |
//! | show the outcome to users | [`Report`], over [`RULES`] and [`BACKEND_RULES`] |
//! | run one rule | the modules [`create`] to [`stacks`], and [`backend`], with a function a rule |
//! | test what stands above a storage | [`Faulty`] |
//!
//! # Guarantees
//!
//! * No rule panics because of what a storage does, and none hangs: a storage that panics or does not answer within a
//!   [limit](LIMIT) breaks the rule.
//! * Nothing is passed over silently. A rule that needs a hook which the medium does not have is reported as skipped; a
//!   rule that the author declares an [exception](Exception) to is reported with the reason, and as a fault of the
//!   declaration when the rule is kept after all. The tests print both to standard error, past the harness that keeps
//!   back what a passing test prints.
//! * The kit is tested itself: for each fault that it is there to find there is a storage that has it, and that storage
//!   breaks the rules that name the fault and no other.
//!
//! # Limitations
//!
//! * A rule sees what the methods answer. What survives a crash or a power cut (W1, and a half of W2 and C1) is not
//!   tested here, nor is exclusion among processes: a backend's own tests do that.
//! * A race that is not lost is not seen. Most races have 32 threads, all released at once.
//! * No rule waits for long: that a lock does not expire under a slow holder is not asked.
//! * A storage that does not answer keeps its thread, until the process ends.
//! * The rules of `Backend` use [`State`](sdk_state::State): a backend for another document alone is not tested.
//! * A [`Root`](sdk_state::Root) is not asked: that it lists its stacks is a test of the backend's own.
//!
//! # Features
//!
//! None.

mod backend_rules;
mod expect;
mod faulty;
mod macros;
mod medium;
mod place;
mod report;
mod rule;
mod rules;
mod violation;

pub use backend_rules::{BACKEND_RULES, backend};
pub use faulty::{Fault, Faulty, Method};
pub use medium::{BackendMedium, Medium, Stores};
pub use report::{Entry, Exception, Outcome, Report, try_rule};
pub use rule::{LIMIT, Rule};
pub use rules::{RULES, create, guard, list, lock, pointer, read, remove, replace, sealed, stacks};
pub use violation::Violation;
