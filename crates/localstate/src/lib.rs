//! Infrastructure state in a local directory: atomic, durable, locked.
//!
//! ```
//! use sdk_state::encrypt::{EnvKey, MasterKey};
//! use sdk_state::{Binding, Category, Entry, EntryKind};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let root = directory.path();
//! let key = EnvKey::new("STATE_KEY", MasterKey::generate()?);
//! let store = localstate::open(root, "network", "prod", key)?;
//! let run = store.begin("apply", Duration::from_secs(60))?;
//! run.put(Entry::new("resource.vpc", EntryKind::Leaf, Category::Resource, Binding::new("aws", "vpc")))?;
//! let revision = run.finish("made the network")?;
//! assert_eq!(store.current()?, revision);
//! # Ok(())
//! # }
//! ```
//!
//! See the examples `executor` (ten threads), `apply`, `wait_with_deadline` and `rotate_key` of this crate.
//!
//! # Where to go from here
//!
//! | you want to | look at |
//! |---|---|
//! | open a stack and work with it | [`open`], and the methods of [`Store`] |
//! | keep another document than [`State`](sdk_state::State) | [`Store::document`] |
//! | offer `local:DIR` beside other backends | [`LocalCatalog`] |
//! | know how files, errors and a moved directory are treated | [`LocalBackend`] |
//! | handle an error | [`ErrorKind`](sdk_state::ErrorKind) |
//!
//! # Guarantees
//!
//! On a *trusted* filesystem (ext2, ext3, ext4, xfs, btrfs, f2fs, zfs, tmpfs, overlayfs without `volatile`, apfs, hfs+) whose
//! disk honours flushes (a tmpfs does not survive a reboot), in directories that every process uses by the same path:
//!
//! * A write that has returned survives a kill, a kernel crash and a power cut ([W1](sdk_state::guarantees)). A write appears whole or not at all
//!   ([W2](sdk_state::guarantees)), and replaces nothing ([W3](sdk_state::guarantees)).
//! * `current` names a readable revision, before and after a crash. If two processes move it from the same revision, exactly
//!   one succeeds ([C1, C2](sdk_state::guarantees)).
//! * One holder has the lock, among threads, processes and unobin, the Go implementation ([L1](sdk_state::guarantees)). If the holder dies, the next
//!   waiter gets the lock at once and is told whose lock it was ([L2](sdk_state::guarantees)). An evicted holder cannot move `current` ([L4](sdk_state::guarantees)).
//! * Directories have mode 0700 and files 0600, whatever the umask ([N2](sdk_state::guarantees)). No name leads out of the stack's directory, and no
//!   symbolic link in it is followed ([N1](sdk_state::guarantees)).
//!
//! The letters refer to [`sdk_state::guarantees`], and `docs/guarantees.md` names the tests.
//!
//! # Limitations
//!
//! * Linux; macOS should work, but is untested. Revisions contain colons, which Windows does not allow in file names.
//! * On other filesystems, such as network filesystems and FUSE, a dead holder's lock stays until somebody evicts the holder,
//!   every deletion needs the lock, and leftover files stay. No check and change are one step there. A change whose lock was
//!   lost meanwhile is reported as [`OutcomeUnknown`](sdk_state::ErrorKind::OutcomeUnknown), never as a success, and may have
//!   been made: so an evicted holder may still have moved `current`, over what the next holder has made of it.
//! * An unlock or eviction on such a filesystem removes whatever marker is there. If somebody else evicts the holder and a
//!   third one locks at that moment, the third one is evicted, although nobody meant it, and may not be told before its next
//!   change or check, which fails as [`LockLost`](sdk_state::ErrorKind::LockLost).
//! * Use one path to a stack. On overlayfs, a process that uses the upper directory directly does not see the locks of
//!   processes that use the merged directory, and takes over a lock that a running container holds. Nor may the server of a
//!   share use the exported directory itself while clients use it: let it mount the share. Server and clients do not see each
//!   other's directory mutex, so each may remove the other's lock when it unlocks or evicts, a deletion without the lock on
//!   the server may leave `current` dangling, and an evicted holder may have moved `current` as on any share.
//! * Two running machines must not mount one local disk.
//! * Files belong to the user who wrote them, and nobody else reads them: after one `sudo`, the owner of the directory can
//!   neither read the new files nor tell whether their lock is held. Give the files back with `chown`.
//! * The name of a deleted revision may be given again, if it sorts after the current one. A copy of the deleted file that is
//!   put back under that name opens as the new revision.
//! * Unobin does not know the journal. While a run has changes that no revision holds, unobin sees the base revision. If unobin
//!   moves `current` away and back again, the journal is live again.
//! * Nobody notices that the whole directory was put back to an older state.
//! * A process that is stopped (`SIGSTOP`, a debugger) inside a change that takes microseconds keeps the others out: after ten
//!   seconds their changes fail as [`Unavailable`](sdk_state::ErrorKind::Unavailable). A process that wants the lock waits
//!   until its own deadline and fails as [`Locked`](sdk_state::ErrorKind::Locked), by somebody "in the middle of a change",
//!   while [`Store::lock_status`] shows nobody. End or resume the stopped process. On a filesystem that is frozen (`fsfreeze`) or
//!   whose server does not answer, a call returns when the kernel does, whatever the deadline of a wait.
//! * The kernel frees the lock of a dead process once it has freed its memory, which takes up to 0.6 s for 6 GB.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `legacy-aes-gcm` | no | reading and writing the encrypted files of envelope version 1, which unobin writes: see `sdk-encrypt` |

#[cfg(not(unix))]
compile_error!(
    "localstate needs a Unix-like system (Linux or macOS): the names of revisions contain `:`, which Windows does not allow in file names"
);

mod appender;
mod backend;
mod catalog;
mod directory;
mod failure;
mod filesystem;
mod flock;
mod inspection;
mod journal;
mod layout;
mod lock;
mod marker;
mod mutex;
mod pointer;
mod process;
mod snapshots;
mod stack;
mod temporary;
mod untrusted;

use sdk_state::encrypt::Keyring;
use sdk_state::{Error, Provenance, StackId, Store};
use std::path::Path;

pub use backend::LocalBackend;
pub use catalog::LocalCatalog;

/// Opens the store of one stack under `root`; the store records the author and host of this process with each write
/// ([`Provenance::of_this_process`]). Creates nothing: the first write or lock makes the directories, those above `root`
/// included.
///
/// # Errors
///
/// [`InvalidName`](sdk_state::ErrorKind::InvalidName) for a name that [`StackId`] does not allow. A `root` that cannot be
/// used is reported by the first use.
pub fn open(
    root: impl AsRef<Path>,
    factory: &str,
    stack: &str,
    keys: impl Into<Keyring>,
) -> Result<Store, Error> {
    let id = StackId::new(factory, stack)?;
    Ok(Store::new(LocalBackend::new(root, id), keys).with_provenance(Provenance::of_this_process()))
}
