use super::Trouble;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use time::{Date, OffsetDateTime};

/// What the figures depend on. It names neither the machine nor a place on it.
pub(super) struct Machine {
    date: Date,
    processor: String,
    cores: usize,
    kernel: String,
    filesystem: String,
    compiler: String,
}

impl Machine {
    /// This one, storing in `directory`, which must lie on a disk: in memory a flush costs nothing.
    pub(super) fn with(directory: &Path) -> Result<Self, Trouble> {
        let filesystem = filesystem(&fs::read_to_string("/proc/mounts")?, directory)
            .ok_or("/proc/mounts does not say what the directory lies on")?;
        if matches!(filesystem.as_str(), "tmpfs" | "ramfs") {
            return Err(format!(
                "the directory lies on {filesystem}, in memory: choose one on a disk with --directory"
            )
            .into());
        }
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        let processor = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("unknown", |(_, name)| name);
        let compiler = Command::new("rustc").arg("--version").output()?;
        #[expect(clippy::disallowed_methods, reason = "the page says when it was measured")]
        let date = OffsetDateTime::now_utc().date();
        Ok(Self {
            date,
            processor: processor.into(),
            cores: thread::available_parallelism()?.get(),
            kernel: rustix::system::uname().release().to_string_lossy().into(),
            filesystem,
            compiler: String::from_utf8_lossy(&compiler.stdout).trim().into(),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            date,
            processor,
            cores,
            kernel,
            filesystem,
            compiler,
        } = self;
        write!(
            f,
            "{date}, {processor}, {cores} cores, Linux {kernel}, {filesystem}, {compiler}"
        )
    }
}

/// The type of the filesystem at the longest mount point that leads to the directory; of several there, the last.
fn filesystem(mounts: &str, directory: &Path) -> Option<String> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(point, _)| directory.starts_with(point))
        .max_by_key(|(point, _)| point.len())
        .map(|(_, kind)| kind.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_and_last_mount_decides() {
        let mounts = "/dev/vda / ext4 rw 0 0\nnone /tmp tmpfs rw 0 0\n/dev/vdb /tmp/disk xfs rw 0 0\n/dev/vdc /tmp/disk btrfs rw 0 0\n";
        let on = |directory| filesystem(mounts, Path::new(directory));
        assert_eq!(on("/home/alice").as_deref(), Some("ext4"));
        assert_eq!(on("/tmp/state").as_deref(), Some("tmpfs"));
        assert_eq!(on("/tmp/disk/state").as_deref(), Some("btrfs"));
        assert_eq!(on("/tmp/disks").as_deref(), Some("tmpfs"));
    }
}
