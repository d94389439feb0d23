//! The least that the same promises cost: the files, renames and flushes of an operation, without anything else.

use rustix::fs::{self, Dir, Mode, OFlags, RenameFlags};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

pub(crate) fn open_directory(path: &Path) -> File {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    fs::open(path, flags, Mode::empty()).unwrap().into()
}

/// A new file under a temporary name, flushed, renamed to a name that is free, and the name flushed.
pub(crate) fn write(directory: &File, name: &str, bytes: &[u8]) {
    temporary(directory, bytes);
    fs::renameat_with(directory, ".temporary", directory, name, RenameFlags::NOREPLACE).unwrap();
    directory.sync_all().unwrap();
}

/// The same over a name that is there.
pub(crate) fn replace(directory: &File, name: &str, bytes: &[u8]) {
    temporary(directory, bytes);
    fs::renameat(directory, ".temporary", directory, name).unwrap();
    directory.sync_all().unwrap();
}

fn temporary(directory: &File, bytes: &[u8]) {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut file: File = fs::openat(directory, ".temporary", flags, Mode::RUSR | Mode::WUSR)
        .unwrap()
        .into();
    file.write_all(bytes).unwrap();
    file.sync_all().unwrap();
}

pub(crate) fn read(path: &Path) -> Vec<u8> {
    let mut file = File::open(path).unwrap();
    let mut bytes = Vec::with_capacity(file.metadata().unwrap().len() as usize);
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Every name, and nothing done with it.
pub(crate) fn list(path: &Path) -> usize {
    let directory = open_directory(path);
    let names = Dir::read_from(&directory).unwrap();
    names
        .map(|entry| entry.unwrap().file_name().to_bytes().len())
        .filter(|&length| length > 2)
        .count()
}
