use crate::{Encrypter, Error, ErrorKind, Fingerprint, MasterKey, Recipient};
use rustix::fs::OFlags;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The longest key file: 44 characters, a line feed and some room.
const MAX_FILE_BYTES: u64 = 256;

/// A key in a file that only its owner can read: base64 of 32 bytes, mode 0600 or stricter.
///
/// The file is read once, when the encrypter is made. It has at most 256 bytes, white space around the key included. A file
/// that others may read, a symbolic link and anything else that is not a regular file are refused. Only root can open the key
/// file of another user, and this is not prevented. Sealed files record the key's fingerprint, but not the path.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    key: MasterKey,
    fingerprint: Fingerprint,
    recipient: Recipient,
}

impl KeyFile {
    /// The name that sealed files record.
    pub const NAME: &'static str = "key-file";

    /// Takes the key from the file `path`.
    ///
    /// # Errors
    ///
    /// [`MissingKey`](ErrorKind::MissingKey) when there is no such file,
    /// [`InvalidKey`](ErrorKind::InvalidKey) when it holds no key, is a link, or others can read it,
    /// [`Unavailable`](ErrorKind::Unavailable) when it cannot be read.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        // Every error below names the path, so a key that was pasted instead of the path is refused first.
        if path
            .to_str()
            .is_some_and(|text| MasterKey::from_base64(text).is_ok())
        {
            return Err(Error::new(
                ErrorKind::InvalidKey,
                "this is a key, not the path of a file that holds one",
            ));
        }
        let file = open_private(&path)?;
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES as usize + 1));
        file.take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut text)
            .map_err(|source| cannot_read(&path, source))?;
        let key = std::str::from_utf8(&text)
            .ok()
            .filter(|text| text.len() as u64 <= MAX_FILE_BYTES)
            .and_then(|text| MasterKey::from_base64(text).ok());
        match key {
            Some(key) => Ok(Self::new(path, key)),
            None => Err(Error::new(
                ErrorKind::InvalidKey,
                format!(
                    "the file {} does not hold a key: base64 of 32 bytes (44 characters) is expected",
                    path.display()
                ),
            )),
        }
    }

    /// Writes `key` into the new file `path`, for its owner alone, and makes it durable before anything is sealed with it.
    /// Makes the missing directories above `path` with mode 0700.
    ///
    /// An existing file is left as it is: if many processes create one file, all of them find the key of the first.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) when the file cannot be written or flushed; it may exist then or not.
    pub fn create(path: &Path, key: &MasterKey) -> Result<Published, Error> {
        publish(path, key).map_err(|source| {
            let message = format!("cannot make the key file {}", path.display());
            Error::new(ErrorKind::Unavailable, message).with_source(source)
        })
    }

    /// The key's fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn new(path: PathBuf, key: MasterKey) -> Self {
        let fingerprint = key.fingerprint();
        Self {
            path,
            key,
            fingerprint,
            recipient: Recipient::new(Self::NAME).with("fingerprint", fingerprint.to_string()),
        }
    }
}

/// The answer of [`KeyFile::create`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Published {
    /// The file holds the given key.
    Now,
    /// There was a file already, and it was left as it is.
    Before,
}

fn publish(path: &Path, key: &MasterKey) -> io::Result<Published> {
    let directory = parent(path);
    make_directory(directory)?;
    // Its mode is 0600 from the start.
    let mut temporary = tempfile::Builder::new().prefix(".key.").tempfile_in(directory)?;
    temporary.write_all(key.to_base64().as_bytes())?;
    temporary.write_all(b"\n")?;
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

impl Encrypter for KeyFile {
    fn describe(&self) -> String {
        format!("{} {} ({})", Self::NAME, self.fingerprint, self.path.display())
    }

    fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    fn wrap(
        &self,
        recipient: &Recipient,
        data_key: &[u8],
        associated_data: &[u8],
    ) -> Result<Option<Vec<u8>>, Error> {
        match recipient.is_same_key(&self.recipient) {
            true => self.key.wrap(data_key, associated_data).map(Some),
            false => Ok(None),
        }
    }

    fn unwrap(
        &self,
        recipient: &Recipient,
        wrapped: &[u8],
        associated_data: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        if !recipient.is_same_key(&self.recipient) {
            return Ok(None);
        }
        Ok(self.key.unwrap(wrapped, associated_data))
    }
}
