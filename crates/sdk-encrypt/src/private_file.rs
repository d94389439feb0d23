//! Files with keys that only their owner can read.

use crate::{Error, ErrorKind, MasterKey};
use rustix::fs::OFlags;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use zeroize::Zeroizing;

/// Whether a key file was made, or existed already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Published {
    /// The file holds the given key.
    Now,
    /// There was a file already, and it was left as it is.
    Before,
}

/// The text of a key file; `None` if it is longer than `max_bytes` or is not UTF-8.
pub(crate) fn read(path: &Path, max_bytes: usize) -> Result<Option<Zeroizing<String>>, Error> {
    // Every error below names the path, so a key that was pasted instead of the path is refused first.
    if path.to_str().is_some_and(is_key) {
        return Err(Error::new(
            ErrorKind::InvalidKey,
            "this is a key, not the path of a file that holds one",
        ));
    }
    let file = open_private(path)?;
    // The buffer never grows: growing would leave a copy of the key behind.
    let mut text = Zeroizing::new(String::with_capacity(max_bytes + 1));
    match file.take(max_bytes as u64 + 1).read_to_string(&mut text) {
        Ok(length) => Ok((length <= max_bytes).then_some(text)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
        Err(error) => Err(cannot_read(path, error)),
    }
}

/// Writes a new file, which only its owner can read, and makes it durable. Leaves an existing one as it is.
pub(crate) fn create(path: &Path, text: &str) -> Result<Published, Error> {
    publish(path, text).map_err(|source| {
        let message = format!("cannot make the key file {}", path.display());
        Error::new(ErrorKind::Unavailable, message).with_source(source)
    })
}

fn is_key(text: &str) -> bool {
    let has_secret = text.to_ascii_uppercase().contains("AGE-SECRET-KEY-1");
    has_secret || MasterKey::from_base64(text).is_ok()
}

fn publish(path: &Path, text: &str) -> io::Result<Published> {
    let directory = parent(path);
    make_directory(directory)?;
    // Its mode is 0600 from the start.
    let mut temporary = tempfile::Builder::new().prefix(".key.").tempfile_in(directory)?;
    temporary.write_all(text.as_bytes())?;
    temporary.as_file().sync_all()?;
    // A link never replaces a file: the second process keeps the key of the first.
    let published = match fs::hard_link(temporary.path(), path) {
        Ok(()) => Published::Now,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Published::Before,
        Err(error) => return Err(error),
    };
    temporary.close()?;
    // The second process flushes too: it is about to use a key whose name the first may not have flushed yet.
    flush(directory)?;
    Ok(published)
}

fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    make_directory(parent(directory))?;
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => flush(parent(directory)),
    }
}

fn flush(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

fn open_private(path: &Path) -> Result<File, Error> {
    // NONBLOCK: opening a pipe that someone put there must not hang. NOCTTY: nor may a terminal take over the process.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path)
        .map_err(|source| cannot_open(path, source))?;
    let metadata = file.metadata().map_err(|source| cannot_read(path, source))?;
    if !metadata.is_file() {
        return Err(Error::new(
            ErrorKind::InvalidKey,
            format!("the key file {} is not a regular file", path.display()),
        ));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(Error::new(
            ErrorKind::InvalidKey,
            format!(
                "others can read the key file {} (mode {:04o}): run chmod 600 on it",
                path.display(),
                metadata.mode() & 0o7777
            ),
        ));
    }
    Ok(file)
}

fn cannot_open(path: &Path, source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::NotFound {
        return Error::new(
            ErrorKind::MissingKey,
            format!("there is no key file {}", path.display()),
        )
        .with_source(source);
    }
    if source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
        return Error::new(
            ErrorKind::InvalidKey,
            format!(
                "the key file {} is a symbolic link: name the file itself",
                path.display()
            ),
        );
    }
    cannot_read(path, source)
}

fn cannot_read(path: &Path, source: io::Error) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("cannot read the key file {}", path.display()),
    )
    .with_source(source)
}
