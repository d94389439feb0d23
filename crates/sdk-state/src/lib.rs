//! The contract for keeping infrastructure state: sealed, versioned snapshots under an exclusive lock.
//!
//! ```
//! use sdk_state::encrypt::{EnvKey, MasterKey};
//! use sdk_state::{Binding, Category, Entry, EntryKind, MemoryBackend, Store};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A backend, here one in memory, and a key make a store.
//! let key = EnvKey::new("STATE_KEY", MasterKey::generate()?);
//! let store = Store::new(MemoryBackend::new("network/prod".parse()?), key);
//!
//! let run = store.begin("apply", Duration::from_secs(60))?;
//! // … make the network, then:
//! let binding = Binding::new("aws", "vpc");
//! run.put(Entry::new("resource.vpc", EntryKind::Leaf, Category::Resource, binding))?;
//! let revision = run.finish("made the network")?;
//!
//! assert_eq!(store.current()?, revision);
//! # Ok(())
//! # }
//! ```
//!
//! A *factory* is a program that manages infrastructure, a *stack* is one deployment of it, a *snapshot* is the whole state
//! of a stack at one moment, and a *revision* is the name of a stored snapshot. *Current* is the pointer to the revision in
//! force.
//!
//! # Where to go from here
//!
//! | to | see |
//! |---|---|
//! | keep the state of a tool | [`Store`] and [`Run`]; [`State`] and [`Entry`], the document |
//! | keep another document | [`Snapshot`], [`Store::document`]; [`Raw`] for bytes that are not interpreted |
//! | keep it somewhere else | [`Backend`], which a backend author implements; [`Catalog`] and [`Registry`], which offer it by address; the crate `sdk-conformance`, which tests it |
//! | choose who can open it | [`encrypt`], which is the crate `sdk-encrypt`; [`Run::reseal`] changes it |
//! | handle an error | [`ErrorKind`]: each kind says what to do |
//! | wait for the lock, look at it, evict its holder | [`Wait`] and [`Cancel`], [`LockStatus`], [`Store::force_unlock`] |
//! | seal something else with the same keys | [`envelope`] |
//! | test a tool | [`MemoryBackend`] |
//!
//! The crate `localstate` is the backend for a local directory.
//!
//! # Guarantees
//!
//! A [`Store`] over a backend that keeps its [contract](Backend#contract) adds:
//!
//! * A write gets a name of its own, which sorts after the revision that was current when it began, whatever the clock says
//!   and however many writers there are ([W3, W4, W5](crate::guarantees)).
//! * With a key, a snapshot that was changed, or moved from another stack or revision, does not open, and none of its content
//!   is returned ([E1, E2](crate::guarantees)).
//! * A store with a key opens nothing that is not encrypted, and opens version 1 only if it was told to ([E5](crate::guarantees)).
//! * What is written is sealed for the recipients that the stack has ([E6](crate::guarantees)).
//! * A damaged or lost pointer is an error that says how to repair it; the stack never looks fresh ([C3](crate::guarantees)).
//! * A document that is read and written back keeps every number and string, and every member that this version does not know
//!   ([J2](crate::guarantees)).
//! * No error and no `Debug` shows a key or a value of a snapshot ([E4](crate::guarantees)).
//!
//! The letters refer to [`guarantees`], and `docs/guarantees.md` names the tests.
//!
//! # Limitations
//!
//! * The crate does no I/O, except to ask who runs it ([`Provenance::of_this_process`]). The backend decides what survives a
//!   crash and whom the lock excludes.
//! * The traits are synchronous. From async code, call them on a thread for blocking work.
//! * If somebody rolls the whole place back to an older state, or removes revisions, nothing detects it.
//! * Names, sizes, times, authors and messages are not encrypted.
//! * A snapshot is held in memory as a whole and is not erased after use; keys are erased.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `age` | yes | `encrypt::Age`: keys in age's format |
//! | `key-file` | yes | `encrypt::KeyFile`, on Unix: keys in files that only their owner can read |
//! | `command`, `passphrase` | no | `encrypt::KeyProgram` and `encrypt::Passphrase`: see `sdk-encrypt` |
//! | `legacy-aes-gcm` | no | the AES-256-GCM of envelope version 1: see `sdk-encrypt` |

mod backend;
mod catalog;
mod copying;
pub mod envelope;
mod error;
mod group_commit;
mod joined;
mod json;
mod lock;
mod memory;
mod provenance;
mod recipients;
mod recovery;
mod replay;
mod revision;
mod run;
mod snapshot;
mod stack_id;
mod state;
mod store;
mod ticket;
mod wait;
mod writer;

#[doc = include_str!("guarantees.md")]
pub mod guarantees {}

pub use backend::{
    Appended, Backend, Created, Expect, Irregularity, IrregularityKind, MAX_RECORD_BYTES, Pointer, Prefix,
    TryLock,
};
pub use catalog::{Address, Catalog, Registry};
pub use error::{Error, ErrorKind};
pub use json::Json;
pub use lock::{Holder, Liveness, Lock, LockInfo, LockStatus, LockToken};
pub use memory::{MemoryBackend, MemoryCatalog};
pub use provenance::Provenance;
pub use recipients::Depth;
pub use recovery::Salvaged;
pub use revision::Revision;
pub use run::Run;
pub use sdk_encrypt as encrypt;
pub use snapshot::{Change, NoChange, Raw, Snapshot};
pub use stack_id::StackId;
pub use state::{Binding, Category, Entry, EntryKind, Factory, State, StateChange};
pub use store::{EnvelopeVersion, Head, Store, Unfinished, WriteOptions};
pub use ticket::Ticket;
pub use time;
pub use wait::{Cancel, Wait};
