//! The contract for keeping infrastructure state: sealed, versioned snapshots under an exclusive lock.
//!
//! ```
//! use sdk_state::encrypt::{EnvKey, MasterKey};
//! use sdk_state::{Backend as _, Binding, Category, Entry, EntryKind, Expect, MemoryStorage, State, Store, Wait, WriteOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let now = time::OffsetDateTime::UNIX_EPOCH;
//! // A backend's storage, here one in memory, and a key make a store.
//! let key = EnvKey::new("STATE_KEY", MasterKey::generate()?);
//! let store: Store<_> = Store::new(MemoryStorage::new("network/prod".parse()?), key);
//!
//! let lock = store.lock("apply", &Wait::none())?;
//! let mut state = State::new(store.id(), "v1.2.0", "8c1f", now)?;
//! let binding = Binding::new("aws", "vpc");
//! state.upsert(Entry::new("resource.vpc", EntryKind::Leaf, Category::Resource, binding));
//! let revision = store.write(&state, &WriteOptions::new().with_message("made the network"))?;
//! store.compare_and_set_current(Expect::Exactly(None), &revision, Some(&*lock))?;
//! lock.unlock()?;
//!
//! assert_eq!(store.head()?, (revision, state));
//! # Ok(())
//! # }
//! ```
//!
//! A *factory* is a program that manages infrastructure, a *stack* one deployment of it, a *snapshot* the whole state of a
//! stack at one moment, a *revision* the name of a stored snapshot; *current* is the pointer to the revision in force.
//!
//! # Where to go from here
//!
//! | you want to | look at |
//! |---|---|
//! | keep the state of a tool | [`Backend`], which says what a run does; [`Store`], which opens it; [`State`] and [`Entry`], the document |
//! | keep another document | [`Snapshot`] |
//! | keep it somewhere else | [`Storage`], the trait of a backend's author; [`Root`] and [`Registry`], which offer it by address; the crate `sdk-conformance`, which tests it |
//! | choose who can open it | [`encrypt`], which is the crate `sdk-encrypt` |
//! | handle an error | [`ErrorKind`]: each kind says what to do |
//! | wait for the lock, look at it, force it | [`Wait`] and [`Cancel`], [`LockStatus`], [`Backend::force_unlock`] |
//! | seal something else with the same keys | [`envelope`] |
//! | test a tool | [`MemoryStorage`] |
//!
//! The crate `localstate` is the backend for a local directory.
//!
//! # Guarantees
//!
//! What a [`Store`] adds to a storage that keeps its [contract](Storage#contract):
//!
//! * A write gets a name of its own, which sorts after the revision that was current when it began, whatever the clock does
//!   and however many write (W3, W4, W5).
//! * With a real key a snapshot that was changed, or moved from another stack or revision, does not open, and nothing of it
//!   is returned (E1, E2).
//! * A store with a key opens nothing that is not encrypted, and version 1 only where it was told to (E5).
//! * A damaged pointer is an error that says how to repair it, and never "no state yet" (C3).
//! * What is read and written back keeps every number and string, and every member that this version does not know (J2).
//! * No error and no `Debug` shows a key or a value of a snapshot (E4).
//!
//! The letters are those of `docs/guarantees.md`, which has the tests.
//!
//! # Limitations
//!
//! * It does no I/O: what survives a crash, and who is excluded by the lock, is the storage's affair.
//! * The traits are synchronous: one snapshot at a time under one lock gains nothing from async.
//! * That somebody put the whole place back to an older state, or removed revisions, is not noticed.
//! * Names, sizes, times, authors and messages are not encrypted.
//! * A snapshot is held in memory as a whole, and is not erased from it after use; keys are.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `key-file` | yes | `encrypt::KeyFile`, on Unix: keys in files that only their owner can read |
//! | `legacy-aes-gcm` | no | the AES-256-GCM of envelope version 1: see `sdk-encrypt` |

mod backend;
pub mod envelope;
mod error;
mod json;
mod lock;
mod memory;
mod provenance;
mod registry;
mod revision;
mod snapshot;
mod stack_id;
mod state;
mod storage;
mod store;
mod wait;

pub use backend::{Backend, WriteOptions};
pub use error::{Error, ErrorKind, Optional};
pub use json::Json;
pub use lock::{Holder, Liveness, Lock, LockInfo, LockStatus, LockToken};
pub use memory::MemoryStorage;
pub use provenance::Provenance;
pub use registry::{Registry, Root};
pub use revision::Revision;
pub use sdk_encrypt as encrypt;
pub use snapshot::Snapshot;
pub use stack_id::StackId;
pub use state::{Binding, Category, Entry, EntryKind, Factory, State};
pub use storage::{Created, Expect, Prefix, Storage, TryLock};
pub use store::{EnvelopeVersion, Store};
pub use time;
pub use wait::{Cancel, Wait};
