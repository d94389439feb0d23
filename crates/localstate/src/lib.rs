//! Infrastructure state in a local directory: atomic, durable, locked.
//!
//! ```
//! use sdk_state::{Backend as _, State, Wait, WriteOptions};
//! use sdk_state::encrypt::{EnvKey, MasterKey};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let root = directory.path();
//! # let state = State::new(&"network/prod".parse()?, "v1", "8c1f", time::OffsetDateTime::UNIX_EPOCH)?;
//! let key = EnvKey::new("STATE_KEY", MasterKey::generate()?);
//! let store = localstate::open(root, "network", "prod", key)?;
//! let lock = store.lock("apply", &Wait::none())?;
//! let revision = store.write(&state, &WriteOptions::new())?;
//! store.set_current(&revision)?;
//! lock.unlock()?;
//! assert_eq!(store.current_rev()?, revision);
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! On a local filesystem whose disk honours a flush: a write that returned survives a kill, a crash and a power cut; no
//! write ever replaces a revision; `current` names a readable revision; one holder has the lock, and a dead one frees it.
//! `docs/guarantees.md` has the whole table.
//!
//! # Limitations
//!
//! * Linux and macOS: revisions contain colons, which Windows does not allow in names.
//! * On network filesystems a dead holder's lock is not taken over, and comparing moves and deletes need the lock.
//! * That the whole directory was put back to an older state is not noticed.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `legacy-aes-gcm` | no | reading and writing the original's encrypted files |

#[cfg(not(unix))]
compile_error!(
    "localstate needs a Unix-like system (Linux or macOS): the names of revisions contain `:`, which Windows does not allow in file names"
);

mod directory;
mod failure;
mod filesystem;
mod flock;
mod gate;
mod layout;
mod lock;
mod marker;
mod pointer;
mod process;
mod root;
mod snapshots;
mod storage;
mod temporary;
#[cfg(test)]
mod untrusted;

use sdk_state::encrypt::Keyring;
use sdk_state::{Error, StackId, State, Store};
use std::path::PathBuf;

pub use process::this_process;
pub use root::LocalRoot;
pub use storage::LocalStorage;

/// A store in a local directory.
pub type LocalStore<T = State> = Store<LocalStorage, T>;

/// Opens the store of one stack under `root`, recording [`this_process`] with each write. Creates nothing.
///
/// For another document than [`State`] make a [`Store`] over a [`LocalStorage`].
///
/// # Errors
///
/// [`InvalidName`](sdk_state::ErrorKind::InvalidName).
pub fn open(
    root: impl Into<PathBuf>,
    factory: &str,
    stack: &str,
    keyring: impl Into<Keyring>,
) -> Result<LocalStore, Error> {
    let id = StackId::new(factory, stack)?;
    Ok(Store::new(LocalStorage::new(root, id), keyring).with_provenance(this_process()))
}
