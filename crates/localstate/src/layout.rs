//! The names inside a stack's directory. No other module knows them.

use rand::TryRng as _;
use rand::rngs::SysRng;
use sdk_state::Revision;
use std::io;

/// The pointer to the current revision.
pub(crate) const CURRENT: &str = "current";
/// The journal of the current revision.
pub(crate) const JOURNAL: &str = "journal";
/// The lock marker.
pub(crate) const LOCK: &str = "lock";
/// The directory of the snapshots.
pub(crate) const SNAPSHOTS: &str = "snapshots";

const SNAPSHOT_SUFFIX: &str = ".json.enc";

/// The file of a revision, inside [`SNAPSHOTS`].
pub(crate) fn snapshot(rev: &Revision) -> String {
    format!("{rev}{SNAPSHOT_SUFFIX}")
}

/// The revision that a file in [`SNAPSHOTS`] holds; `None` for a file that is none of ours.
pub(crate) fn revision(file_name: &[u8]) -> Option<Revision> {
    let name = file_name.strip_suffix(SNAPSHOT_SUFFIX.as_bytes())?;
    str::from_utf8(name).ok()?.parse().ok()
}

/// The file that a temporary will become.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Snapshot,
    Current,
    Journal,
    Lock,
}

impl Purpose {
    const ALL: [Self; 4] = [Self::Snapshot, Self::Current, Self::Journal, Self::Lock];

    fn prefix(self) -> &'static str {
        match self {
            Self::Snapshot => ".snapshot.",
            Self::Current => ".current.",
            Self::Journal => ".journal.",
            Self::Lock => ".lock.",
        }
    }
}

const RANDOM_DIGITS: usize = 16;

/// A name that nobody else has: it begins with a dot and ends in 16 random hexadecimal digits, unlike unobin's
/// `.<name>.tmp`.
pub(crate) fn temporary(purpose: Purpose) -> io::Result<String> {
    let random = SysRng.try_next_u64().map_err(io::Error::other)?;
    Ok(format!("{}{random:016x}", purpose.prefix()))
}

/// Returns whether a file is one of our temporaries.
pub(crate) fn is_temporary(file_name: &[u8]) -> bool {
    Purpose::ALL
        .into_iter()
        .filter_map(|purpose| file_name.strip_prefix(purpose.prefix().as_bytes()))
        .any(|random| random.len() == RANDOM_DIGITS && random.iter().all(u8::is_ascii_hexdigit))
}

/// Returns whether a file is a temporary of unobin, `.<name>.tmp`.
pub(crate) fn is_temporary_of_unobin(file_name: &[u8]) -> bool {
    file_name.starts_with(b".") && file_name.ends_with(b".tmp")
}

/// Returns whether this is the name of a removed file that FUSE or NFS keeps until everybody has closed it.
pub(crate) fn is_removed_and_open(file_name: &[u8]) -> bool {
    file_name.starts_with(b".fuse_hidden") || file_name.starts_with(b".nfs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_is_told_from_snapshots_and_from_unobins() {
        for purpose in Purpose::ALL {
            let name = temporary(purpose).unwrap();
            assert!(is_temporary(name.as_bytes()), "{name}");
            assert!(revision(name.as_bytes()).is_none(), "{name}");
        }
        for name in [
            "current",
            "journal",
            "lock",
            ".current.tmp",
            ".lock.",
            ".snapshot.0123456789abcdeg",
            ".x.0123456789abcdef",
        ] {
            assert!(!is_temporary(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn only_a_safe_name_with_the_right_ending_holds_a_revision() {
        assert!(revision(b"2026-07-10T12:00:00Z.json.enc").is_some_and(|rev| rev.is_writable()));
        assert!(revision(b"not-a-revision.json.enc").is_some_and(|rev| !rev.is_writable()));
        for name in [
            &b"2026-07-10T12:00:00Z"[..],
            b".json.enc",
            b".hidden.json.enc",
            b"a b.json.enc",
            b"\xff.json.enc",
        ] {
            assert!(revision(name).is_none(), "{name:?}");
        }
    }
}
