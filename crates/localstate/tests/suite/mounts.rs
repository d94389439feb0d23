//! Filesystems that only a real mount shows.
