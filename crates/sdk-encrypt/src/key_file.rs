use crate::{Encrypter, Error, ErrorKind, Fingerprint, MasterKey, Recipient, Wrapped};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A longer file is no key: 44 characters, a line feed and some room.
const MAX_FILE_BYTES: u64 = 256;

/// A key in a file that only its owner can read: base64 of 32 bytes, mode 0600 or stricter.
///
/// The file is read once, when the encrypter is made. It has 256 bytes at most, white space around the key included. A
/// file that others may read, a symbolic link and anything that is no regular file are refused. The sealed file records
/// the key's fingerprint and nothing of the path.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    key: MasterKey,
    fingerprint: Fingerprint,
}

impl KeyFile {
    /// The name that sealed files record.
    pub const NAME: &'static str = "key-file";

    /// Takes the key from the file `path`.
    ///
    /// # Errors
    ///
    /// [`MissingKey`](ErrorKind::MissingKey) when there is no such file,
    /// [`InvalidKey`](ErrorKind::InvalidKey) when it holds no key, is a link, or is open to others,
    /// [`Unavailable`](ErrorKind::Unavailable) when it cannot be read.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        // Every error below names the path: it must not be a key pasted in the path's place.
        if path
            .to_str()
            .is_some_and(|text| MasterKey::from_base64(text).is_ok())
        {
            return Err(Error::new(
                ErrorKind::InvalidKey,
                "what was given is a key, not the path of a file that holds one",
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
            Some(key) => Ok(Self {
                path,
                fingerprint: key.fingerprint(),
                key,
            }),
            None => Err(Error::new(
                ErrorKind::InvalidKey,
                format!(
                    "the file {} does not hold a key: base64 of 32 bytes (44 characters) is expected",
                    path.display()
                ),
            )),
        }
    }

    /// The key's fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
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
            format!("the key {} is no regular file", path.display()),
        ));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(Error::new(
            ErrorKind::InvalidKey,
            format!(
                "the key file {} is open to others (mode {:04o}): make it yours alone with chmod 600",
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
    fn name(&self) -> &str {
        Self::NAME
    }

    fn describe(&self) -> String {
        format!("{} {} ({})", Self::NAME, self.fingerprint, self.path.display())
    }

    fn encrypt(&self, plaintext: &[u8], associated_data: &[u8]) -> Result<Wrapped, Error> {
        Ok(Wrapped {
            recipient: Recipient::new(Self::NAME).with("fingerprint", self.fingerprint.to_string()),
            bytes: self.key.wrap(plaintext, associated_data)?,
        })
    }

    fn decrypt(
        &self,
        recipient: &Recipient,
        wrapped: &[u8],
        associated_data: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        if !self.fingerprint.matches(Self::NAME, recipient) {
            return Ok(None);
        }
        Ok(self.key.unwrap(wrapped, associated_data))
    }
}
