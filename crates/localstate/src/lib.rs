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
//! A run of a tool writes after every resource: see the examples `write_and_read_back`, `wait_with_deadline`,
//! `compare_and_set` and `rotate_key` of this crate.
//!
//! # Where to go from here
//!
//! | you want to | look at |
//! |---|---|
//! | open a stack and work with it | [`open`], and the methods of [`Backend`](sdk_state::Backend) |
//! | keep another document than [`State`] | [`LocalStorage`], over which you make a [`Store`] |
//! | offer `local:DIR` beside other backends | [`LocalRoot`] |
//! | know what is recorded of a writer | [`this_process`] |
//! | handle an error | [`ErrorKind`](sdk_state::ErrorKind) |
//!
//! # Guarantees
//!
//! On a *trusted* filesystem (ext2, ext3, ext4, xfs, btrfs, f2fs, zfs, tmpfs, overlayfs, apfs, hfs+) whose disk honours
//! flushes; a tmpfs does not outlive its machine:
//!
//! * A write that returned survives a kill, a crash of the kernel and a power cut (W1), appears whole or not at all (W2), and
//!   replaces nothing (W3).
//! * `current` names a readable revision, before and after a crash, and of two movers that expect the same one wins (C1, C2).
//! * One holder has the lock, among threads, processes and the Go tool whose format this is (L1). One that dies is replaced
//!   by the next waiter at once, which is told whose lock it was (L2). An evicted one moves nothing (L4).
//! * Directories have mode 0700 and files 0600, whatever the umask (N2). No name leads out of the stack's directory, and no
//!   symbolic link in it is followed (N1).
//!
//! The letters are those of `docs/guarantees.md`, which has the tests.
//!
//! # Limitations
//!
//! * Linux, and macOS by construction (untested). Revisions contain colons, which Windows does not allow in names.
//! * On other filesystems, network filesystems and FUSE among them, a dead holder's lock stays until it is forced, and
//!   comparing moves and deletes without the lock are [`Unsupported`](sdk_state::ErrorKind::Unsupported).
//! * Two running machines must not mount one local disk.
//! * That the whole directory was put back to an older state is not noticed.
//! * A process that is stopped (`SIGSTOP`, a debugger) inside a change that takes microseconds keeps the others out: after ten
//!   seconds they fail as [`Unavailable`](sdk_state::ErrorKind::Unavailable).
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `legacy-aes-gcm` | no | reading and writing the encrypted files of envelope version 1, which the Go tool writes: see `sdk-encrypt` |

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

/// Opens the store of one stack under `root`, recording [`this_process`] with each write. Creates nothing: the first write
/// or lock makes the directories, those above `root` included.
///
/// For another document than [`State`] make a [`Store`] over a [`LocalStorage`].
///
/// # Errors
///
/// [`InvalidName`](sdk_state::ErrorKind::InvalidName) when a name of [`StackId`] would not be one. A `root` that cannot be
/// used is found out at the first use.
pub fn open(
    root: impl Into<PathBuf>,
    factory: &str,
    stack: &str,
    keyring: impl Into<Keyring>,
) -> Result<LocalStore, Error> {
    let id = StackId::new(factory, stack)?;
    Ok(Store::new(LocalStorage::new(root, id), keyring).with_provenance(this_process()))
}
