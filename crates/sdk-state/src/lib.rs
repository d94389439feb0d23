//! The contract for keeping infrastructure state: sealed, versioned snapshots under an exclusive lock.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `key-file` | yes | `encrypt::KeyFile`, on Unix: keys in files that only their owner can read |
//! | `legacy-aes-gcm` | no | `encrypt::EnvKey::legacy`: reading and writing the original's encrypted files |

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
pub use storage::{Created, Expect, Storage, TryLock};
pub use store::{EnvelopeVersion, Store};
pub use wait::{Cancel, Wait};
