//! New key files: whole, private and durable before anything is sealed with them, and never over another one.

use sdk_state::encrypt::MasterKey;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

#[derive(Debug, PartialEq)]
pub(crate) enum Published {
    /// The file holds the given key.
    Now,
    /// A file was there already, and was left as it is.
    Before,
}

/// Puts `key` into the new file `path`, for its owner alone.
pub(crate) fn publish(path: &Path, key: &MasterKey) -> io::Result<Published> {
    let directory = parent(path);
    // Its mode is 0600 from the start.
    let mut temporary = tempfile::Builder::new().prefix(".key.").tempfile_in(directory)?;
    temporary.write_all(key.to_base64().as_bytes())?;
    temporary.write_all(b"\n")?;
    temporary.as_file().sync_all()?;
    // A link, since it never replaces: whoever comes second keeps the first one's key.
    let published = match fs::hard_link(temporary.path(), path) {
        Ok(()) => Published::Now,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Published::Before,
        Err(error) => return Err(error),
    };
    temporary.close()?;
    // The second one too: it is about to use a key whose name the first one may not have flushed yet.
    flush(directory)?;
    Ok(published)
}

/// Makes the directories above `path`, private, and makes their existence durable.
pub(crate) fn make_parents(path: &Path) -> io::Result<()> {
    make(parent(path))
}

fn make(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    make_parents(directory)?;
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
