use rustix::fs::StatFs;

/// What is known of the filesystem that a stack lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filesystem {
    /// Local: an flock excludes every process that could see it, and vanishes with its holder.
    Trusted,
    /// A network filesystem, FUSE, or unknown: an flock proves nothing there.
    Untrusted,
}

impl Filesystem {
    pub(crate) fn is_trusted(self) -> bool {
        self == Self::Trusted
    }

    /// By the magic numbers of `statfs(2)`.
    #[cfg(target_os = "linux")]
    pub(crate) fn of(statistics: &StatFs) -> Self {
        const TRUSTED: [u32; 7] = [
            0x0000_EF53, // ext2, ext3, ext4
            0x5846_5342, // xfs
            0x9123_683E, // btrfs
            0xF2F5_2010, // f2fs
            0x2FC1_2FC1, // zfs
            0x0102_1994, // tmpfs
            0x794C_7630, // overlayfs
        ];
        if TRUSTED.contains(&(statistics.f_type as u32)) {
            Self::Trusted
        } else {
            Self::Untrusted
        }
    }

    /// By the name that `statfs(2)` gives on macOS.
    #[cfg(target_vendor = "apple")]
    pub(crate) fn of(statistics: &StatFs) -> Self {
        let name: Vec<u8> = statistics
            .f_fstypename
            .iter()
            .map(|&byte| byte as u8)
            .take_while(|&byte| byte != 0)
            .collect();
        match name.as_slice() {
            b"apfs" | b"hfs" => Self::Trusted,
            _ => Self::Untrusted,
        }
    }
}
