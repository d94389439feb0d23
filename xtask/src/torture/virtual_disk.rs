//! A disk whose power can be cut at any moment.
//!
//! Its bytes are a memory file, and the filesystem lies on a loop device. The power is cut by sealing the memory file
//! against writes, which is one step: from then on every write fails, and what the file holds is what the disk holds.
//!
//! A disk may have a cache, which loses what was not flushed. Then a second loop device lies on the first, without direct
//! I/O: the page cache of the first device is the cache of the disk, and a flush writes it to the memory file. To write
//! some of it back at any time, as a disk may, a part of the first device is read directly, which writes that part first.

use crate::report::Trouble;
use rustix::fs::{MemfdFlags, OFlags, SealFlags};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, id};

/// Small enough to be filled quickly.
pub(super) const BYTES: u64 = 24 << 20;
/// The length of a direct read.
const PART: usize = 64 << 10;
/// The alignment of direct reads.
const PAGE: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cache {
    Without,
    With,
}

/// A mounted filesystem.
#[derive(Debug)]
pub(super) struct VirtualDisk {
    memory: File,
    /// The topmost one carries the filesystem.
    devices: Vec<PathBuf>,
    mount: PathBuf,
    is_mounted: bool,
}

impl VirtualDisk {
    /// An empty filesystem, mounted at the directory `mount`; the error says what is not permitted here.
    pub(super) fn new(mount: &Path, cache: Cache) -> Result<Self, Trouble> {
        let memory = memory()?;
        memory.set_len(BYTES)?;
        told(Command::new("mkfs.ext4").arg("-qF").arg(path_of(&memory)))?;
        Self::attach(memory, mount, cache)
    }

    fn attach(memory: File, mount: &Path, cache: Cache) -> Result<Self, Trouble> {
        let mut disk = Self {
            memory,
            devices: Vec::new(),
            mount: mount.into(),
            is_mounted: false,
        };
        let mut below = path_of(&disk.memory);
        for _ in 0..if cache == Cache::With { 2 } else { 1 } {
            let device = told(
                Command::new("losetup")
                    .args(["--direct-io=off", "--find", "--show"])
                    .arg(&below),
            )?;
            below = PathBuf::from(device.trim());
            disk.devices.push(below.clone());
        }
        told(Command::new("mount").arg(&below).arg(mount))?;
        disk.is_mounted = true;
        Ok(disk)
    }

    /// Cuts the power.
    pub(super) fn cut(&self) -> io::Result<()> {
        Ok(rustix::fs::fcntl_add_seals(&self.memory, SealFlags::WRITE)?)
    }

    /// Attaches and mounts the disk as it was when its power was cut. Nobody may still use the old filesystem.
    pub(super) fn restart(mut self, cache: Cache) -> Result<Self, Trouble> {
        let mut content = vec![0; BYTES as usize];
        self.memory.read_exact_at(&mut content, 0)?;
        self.detach()?;
        let memory = memory()?;
        memory.write_all_at(&content, 0)?;
        Self::attach(memory, &self.mount, cache)
    }

    /// Lets a disk with a cache write back the part of it that `number` chooses.
    pub(super) fn write_back(&self, number: u64) -> io::Result<()> {
        let [below, _] = self.devices.as_slice() else {
            return Ok(());
        };
        let device = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::DIRECT.bits() as i32)
            .open(below)?;
        let mut buffer = vec![0; PART + PAGE];
        let aligned = buffer.as_ptr().align_offset(PAGE);
        let part = number % (BYTES / PART as u64);
        device.read_exact_at(&mut buffer[aligned..][..PART], part * PART as u64)
    }

    fn detach(&mut self) -> Result<(), Trouble> {
        if std::mem::take(&mut self.is_mounted) {
            told(Command::new("umount").arg(&self.mount))?;
        }
        while let Some(device) = self.devices.pop() {
            told(Command::new("losetup").arg("--detach").arg(device))?;
        }
        Ok(())
    }
}

/// Unmounts everything, however the task ends.
impl Drop for VirtualDisk {
    fn drop(&mut self) {
        let _ = self.detach();
    }
}

fn memory() -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    Ok(File::from(rustix::fs::memfd_create("disk", flags)?))
}

/// By which another process opens it.
fn path_of(memory: &File) -> PathBuf {
    format!("/proc/{}/fd/{}", id(), memory.as_raw_fd()).into()
}

/// What a command printed.
fn told(command: &mut Command) -> Result<String, Trouble> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()).into()),
    }
}
