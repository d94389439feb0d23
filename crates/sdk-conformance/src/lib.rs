//! The test kit that every backend for infrastructure state must pass.
//!
//! The contract of a backend is the documentation of [`Backend`](sdk_state::Backend), [`Lock`](sdk_state::Lock) and
//! [`Catalog`](sdk_state::Catalog). Each rule here checks one sentence of it, and has an id that the documentation quotes. As
//! a backend author, you write a [`Fixture`] that makes a fresh place, and get one test for each rule:
//!
//! ```
//! use sdk_conformance::{Fixture, RULES, Report};
//! use sdk_state::{Backend, Catalog as _, Error, MemoryCatalog, StackId};
//! use std::sync::Arc;
//!
//! /// A fresh place in memory.
//! #[derive(Default)]
//! struct Memory(MemoryCatalog);
//!
//! impl Fixture for Memory {
//!     fn open(&self, id: &StackId) -> Result<Box<dyn Backend>, Error> {
//!         self.0.open(id)
//!     }
//! }
//!
//! // In a file under tests/: one #[test] for each rule.
//! sdk_conformance::backend_tests!(Memory::default);
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
//! | test a backend, with one `#[test]` for each rule | [`Fixture`], [`backend_tests!`] |
//! | declare what a medium cannot do | [`Exception`], or `except` in the macro |
//! | show the outcome to users | [`Report`] over [`RULES`] |
//! | run one rule | [`Rule::check`] |
//! | test code that uses a backend | [`Faulty`] |
//! | write a backend | `docs/writing-a-backend.md` |
//!
//! # Guarantees
//!
//! * Nothing that a backend does makes a rule panic or hang: a backend that panics, or does not answer within a
//!   [limit](LIMIT), breaks the rule.
//! * Nothing is skipped silently. A rule whose hook the fixture lacks is reported as skipped, and a rule about the journal of
//!   a backend that keeps none as not applicable. A rule with a declared [exception](Exception) is reported with the reason,
//!   and as a wrong declaration if the rule is kept after all. The tests print all of that to standard error, bypassing the
//!   harness, which hides the output of a passing test.
//! * The kit is tested itself. For each fault that the kit must find there is a mutant, a backend with that fault, which
//!   breaks exactly the rules that name the fault.
//! * A slow medium breaks no rule: limits grow with the fixture's [latency](Fixture::latency), and races get smaller.
//!
//! # Limitations
//!
//! * A rule sees the answers of the methods. It does not see what survives a crash or a power cut (W1, and half of W2 and
//!   C1), nor exclusion among processes: test these yourself.
//! * A race that a backend happens to win shows nothing. Most races have 32 threads, all released at once.
//! * No rule waits for long: none checks that a lock does not expire under a slow holder.
//! * No rule delivers a lost request late.
//! * A backend that does not answer keeps its thread until the process ends.
//!
//! # Features
//!
//! None.

mod create;
mod eviction;
mod expect;
mod faulty;
mod fixture;
mod guard;
mod journal;
mod lock;
mod lost_answer;
mod place;
mod pointer;
mod read;
mod remove;
mod replace;
mod report;
mod rule;
mod rules;
mod sealed;
mod stacks;

pub use expect::Violation;
pub use faulty::{Fault, Faulty, Method};
pub use fixture::{Fixture, TransportFault};
pub use report::{Entry, Exception, Outcome, Report, try_rule};
pub use rule::{LIMIT, Rule};
pub use rules::RULES;
