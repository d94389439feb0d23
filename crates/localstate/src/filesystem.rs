use rustix::io::{Errno, retry_on_intr};
use std::fs::File;

/// The guarantees of the filesystem that a stack lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filesystem {
    /// Local: an flock excludes every process that can see the file, and ends with its holder; a flush is durable.
    Trusted,
    /// A network filesystem, FUSE, an overlay that does not flush, or unknown: an flock proves nothing there.
    Untrusted,
}

impl Filesystem {
    pub(crate) fn is_trusted(self) -> bool {
        self == Self::Trusted
    }

    /// By the magic numbers of `statfs(2)`.
    #[cfg(target_os = "linux")]
    pub(crate) fn of(directory: &File) -> Result<Self, Errno> {
        const OVERLAYFS: u32 = 0x794C_7630;
        const TRUSTED: [u32; 6] = [
            0x0000_EF53, // ext2, ext3, ext4
            0x5846_5342, // xfs
            0x9123_683E, // btrfs
            0xF2F5_2010, // f2fs
            0x2FC1_2FC1, // zfs
            0x0102_1994, // tmpfs
        ];
        let magic = retry_on_intr(|| rustix::fs::fstatfs(directory))?.f_type as u32;
        Ok(match magic {
            OVERLAYFS if overlay::flushes(directory) => Self::Trusted,
            _ if TRUSTED.contains(&magic) => Self::Trusted,
            _ => Self::Untrusted,
        })
    }

    /// By the name that `statfs(2)` gives on macOS.
    #[cfg(target_vendor = "apple")]
    pub(crate) fn of(directory: &File) -> Result<Self, Errno> {
        let statistics = retry_on_intr(|| rustix::fs::fstatfs(directory))?;
        let name: Vec<u8> = statistics
            .f_fstypename
            .iter()
            .map(|&byte| byte as u8)
            .take_while(|&byte| byte != 0)
            .collect();
        Ok(match name.as_slice() {
            b"apfs" | b"hfs" => Self::Trusted,
            _ => Self::Untrusted,
        })
    }
}

#[cfg(target_os = "linux")]
mod overlay {
    use rustix::fs::{AtFlags, StatxFlags};
    use rustix::io::retry_on_intr;
    use std::fs::{self, File};

    /// Returns whether flushes reach the disk: false for a mount with the option `volatile`, and where that cannot be found out.
    pub(super) fn flushes(directory: &File) -> bool {
        let Ok(stat) =
            retry_on_intr(|| rustix::fs::statx(directory, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID))
        else {
            return false;
        };
        let is_told = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MNT_ID);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        is_told && options(&mounts, stat.stx_mnt_id).is_some_and(|options| !is_volatile(options))
    }

    /// The options of a mount's filesystem: the last field of its line, which begins with its number (`proc(5)`).
    fn options(mounts: &str, id: u64) -> Option<&str> {
        let id = id.to_string();
        let line = mounts.lines().find(|line| line.split(' ').next() == Some(&id))?;
        line.rsplit(' ').next()
    }

    fn is_volatile(options: &str) -> bool {
        options
            .split(',')
            .any(|option| option == "volatile" || option == "fsync=volatile")
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_volatile_overlay_is_found_by_its_mount() {
            let mounts = "\
                36 35 0:32 / /a rw,relatime - overlay overlay rw,lowerdir=/l,upperdir=/volatile,workdir=/w\n\
                37 35 0:33 / /b rw,relatime shared:1 - overlay overlay rw,lowerdir=/l,workdir=/w,volatile\n";
            assert_eq!(options(mounts, 36).map(is_volatile), Some(false));
            assert_eq!(options(mounts, 37).map(is_volatile), Some(true));
            assert_eq!(options(mounts, 3), None);
        }
    }
}
