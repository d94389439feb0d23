//! The lock marker: a file that says who holds the lock.

use crate::directory::{self, Directory};
use crate::failure::Failure;
use crate::flock;
use crate::layout::{self, Purpose};
use crate::stack::StackDirectory;
use crate::temporary::Temporary;
use rustix::io::Errno;
use sdk_state::{Liveness, LockInfo, LockStatus};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;

/// The length of a marker that its holder keeps flocked. No other marker has this length, unobin's least of all: the length
/// says whether a missing flock proves that the holder is dead.
pub(crate) const BYTES: usize = 1024;
/// The length of a marker that is made where an flock proves nothing. The same directory may be a trusted filesystem to
/// another machine, such as the server of a network share, which must not take the holder for dead.
pub(crate) const BYTES_UNTRUSTED: usize = BYTES - 1;
/// Longer texts are cut, to this many characters and fewer where they still do not fit.
const LONGEST_TEXT: usize = 128;
/// Room for the decimal digits of a process id, and two line feeds.
const FRAME_BYTES: usize = 12;
/// No more than this is read of a foreign marker.
const LONGEST_MARKER: u64 = 4096;

/// The process id as unobin writes it, one JSON object, and blanks up to the fixed length.
pub(crate) fn encode(info: &LockInfo) -> [u8; BYTES] {
    let mut longest = LONGEST_TEXT;
    let json = loop {
        let json = serde_json::to_string(&with_short_texts(info, longest)).unwrap_or_default();
        if json.len() <= BYTES - FRAME_BYTES {
            break json;
        }
        longest /= 2;
    };
    let mut marker = [b' '; BYTES];
    let text = format!("{}\n{json}", info.pid.unwrap_or_default());
    marker[..text.len()].copy_from_slice(text.as_bytes());
    marker[BYTES - 1] = b'\n';
    marker
}

/// Reads a marker as far as possible: it may be unobin's, or damaged.
pub(crate) fn decode(content: &[u8]) -> LockInfo {
    let mut lines = content.splitn(2, |&byte| byte == b'\n');
    let pid = lines
        .next()
        .and_then(|line| str::from_utf8(line.trim_ascii()).ok());
    let json = lines.next().unwrap_or_default().trim_ascii();
    let mut info: LockInfo = serde_json::from_slice(json).unwrap_or_default();
    info.pid = pid.and_then(|pid| pid.parse().ok()).or(info.pid);
    info
}

fn with_short_texts(info: &LockInfo, longest: usize) -> LockInfo {
    let mut info = info.clone();
    let provenance = &mut info.holder.provenance;
    for text in [
        &mut provenance.run,
        &mut provenance.author,
        &mut provenance.host,
        &mut provenance.tool,
        &mut info.boot_id,
    ] {
        *text = text.as_ref().map(|text| text.chars().take(longest).collect());
    }
    info.holder.operation = info.holder.operation.chars().take(longest).collect();
    info
}

/// The present marker, open. It is never written to: another file takes its place.
pub(crate) struct Marker<'a> {
    directory: &'a StackDirectory,
    pub(crate) file: File,
    /// Whether a missing flock proves the holder dead: true for our own markers on a trusted filesystem.
    is_proof: bool,
}

/// The answer of [`Marker::try_open`].
pub(crate) enum Found<'a> {
    Nothing,
    Marker(Marker<'a>),
    /// Somebody, such as a file server, has a lease on the marker.
    Leased,
}

impl<'a> Marker<'a> {
    /// Opens the marker; `None` if there is none. Waits until a lease on it is given back.
    pub(crate) fn open(directory: &'a StackDirectory) -> Result<Option<Self>, Failure> {
        let opened = directory.stack.open_file(layout::LOCK);
        match Self::of(directory, opened)? {
            Found::Nothing => Ok(None),
            Found::Marker(marker) => Ok(Some(marker)),
            Found::Leased => Err(directory
                .stack
                .failure("open the lock marker", layout::LOCK, Errno::AGAIN)),
        }
    }

    /// The same without waiting.
    pub(crate) fn try_open(directory: &'a StackDirectory) -> Result<Found<'a>, Failure> {
        Self::of(directory, directory.stack.try_open_file(layout::LOCK))
    }

    fn of(directory: &'a StackDirectory, opened: Result<File, Errno>) -> Result<Found<'a>, Failure> {
        let stack = &directory.stack;
        let file = match opened {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(Found::Nothing),
            Err(Errno::AGAIN) => return Ok(Found::Leased),
            // A link, a socket, a directory.
            Err(Errno::LOOP | Errno::NXIO | Errno::ISDIR) => {
                return Err(Failure::MarkerNotPlain(stack.path_of(layout::LOCK)));
            }
            Err(errno) => return Err(stack.failure("open the lock marker", layout::LOCK, errno)),
        };
        let stat = directory::stat(&file)
            .map_err(|errno| stack.failure("look at the lock marker", layout::LOCK, errno))?;
        if !Directory::is_plain(&stat) {
            return Err(Failure::MarkerNotPlain(stack.path_of(layout::LOCK)));
        }
        Ok(Found::Marker(Self {
            directory,
            file,
            is_proof: directory.filesystem.is_trusted() && stat.st_size == BYTES as i64,
        }))
    }

    pub(crate) fn read(&self) -> Result<LockInfo, Failure> {
        read(&self.file).map_err(|source| {
            self.directory
                .stack
                .failure("read the lock marker", layout::LOCK, source)
        })
    }

    /// Returns the holder and whether it is alive; `None` if the lock was given back after the marker was opened. A dead
    /// holder stays dead: nobody ever flocks its marker again.
    pub(crate) fn status(&self) -> Result<Option<LockStatus>, Failure> {
        let info = self.read()?;
        if !self.is_proof {
            return Ok(Some(LockStatus::new(info, Liveness::Unknown)));
        }
        match flock::is_free(&self.file) {
            Ok(true) => {}
            Ok(false) => return Ok(Some(LockStatus::new(info, Liveness::Alive))),
            Err(_) => return Ok(Some(LockStatus::new(info, Liveness::Unknown))),
        }
        // A holder removes the marker before it releases its flock.
        let lies_there = self.directory.stack.leads_to(layout::LOCK, &self.file)?;
        Ok(lies_there.then(|| LockStatus::new(info, Liveness::Dead)))
    }
}

/// Reads the marker in an open file.
pub(crate) fn read(file: &File) -> io::Result<LockInfo> {
    let mut content = Vec::with_capacity(LONGEST_MARKER as usize);
    file.take(LONGEST_MARKER).read_to_end(&mut content)?;
    Ok(decode(&content))
}

/// A marker that is complete, durable and flocked before it appears.
pub(crate) struct NewMarker<'a> {
    directory: &'a StackDirectory,
    content: [u8; BYTES],
    temporary: Temporary<'a>,
}

impl<'a> NewMarker<'a> {
    pub(crate) fn write(directory: &'a StackDirectory, info: &LockInfo) -> Result<Self, Failure> {
        let content = encode(info);
        let bytes = Self::bytes(directory, &content);
        Ok(Self {
            temporary: Temporary::write(&directory.stack, directory.filesystem, Purpose::Lock, bytes)?,
            directory,
            content,
        })
    }

    fn bytes<'b>(directory: &StackDirectory, content: &'b [u8; BYTES]) -> &'b [u8] {
        match directory.filesystem.is_trusted() {
            true => content,
            false => &content[..BYTES_UNTRUSTED],
        }
    }

    /// Makes it the lock marker, under the directory mutex: in place of a dead holder's marker, or where there is none. The
    /// file keeps the flock; `None` if somebody was faster.
    pub(crate) fn publish(mut self, dead: Option<&File>) -> Result<Option<File>, Failure> {
        let stack = &self.directory.stack;
        let is_published = match dead {
            Some(dead) => self.temporary.supplant(layout::LOCK, dead)?,
            // Linking fails if the name exists, as unobin's `O_EXCL` does: the two exclude each other.
            None => match self.temporary.link(layout::LOCK) {
                Ok(is_published) => is_published,
                Err(Errno::NOENT) => false,
                Err(Errno::PERM | Errno::NOTSUP | Errno::NOSYS | Errno::OPNOTSUPP)
                    if !self.directory.filesystem.is_trusted() =>
                {
                    return create_without_links(stack, Self::bytes(self.directory, &self.content));
                }
                Err(errno) => return Err(stack.failure("create the lock marker", layout::LOCK, errno)),
            },
        };
        Ok(is_published.then(|| self.temporary.into_file()))
    }
}

/// Makes the marker without a link, for network filesystems that have none: the marker appears before it is complete.
fn create_without_links(stack: &Directory, content: &[u8]) -> Result<Option<File>, Failure> {
    let file = match stack.create_file(layout::LOCK) {
        Ok(file) => file,
        Err(Errno::EXIST) => return Ok(None),
        Err(errno) => return Err(stack.failure("create the lock marker", layout::LOCK, errno)),
    };
    match file.write_all_at(content, 0).and_then(|()| file.sync_all()) {
        Ok(()) => Ok(Some(file)),
        Err(source) => {
            let _ = stack.unlink(layout::LOCK);
            Err(stack.failure("write the lock marker", layout::LOCK, source))
        }
    }
}

/// Removes the marker with the content `info`, under the directory mutex; false if it is no longer there.
///
/// On an untrusted filesystem the mutex excludes nobody, and another holder's marker may be there by now: so the marker is
/// moved aside, read, and moved back if it is another holder's. Only if somebody locks in between is that holder evicted: its
/// token is then stored nowhere, so it can change nothing.
pub(crate) fn remove(directory: &StackDirectory, info: &LockInfo) -> Result<bool, Failure> {
    let stack = &directory.stack;
    let failure = |errno| stack.failure("remove the lock marker", layout::LOCK, errno);
    let gone = |removed| match removed {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(failure(errno)),
    };
    if directory.filesystem.is_trusted() {
        return gone(stack.unlink(layout::LOCK));
    }
    let aside = layout::temporary(Purpose::Lock)
        .map_err(|source| stack.own_failure("draw a random name in", source))?;
    if !gone(stack.rename(layout::LOCK, &aside))? {
        return Ok(false);
    }
    let found = stack
        .open_file(&aside)
        .map_err(io::Error::from)
        .and_then(|file| read(&file));
    let other = match found {
        // Long texts are cut in the marker, and unobin's has no token.
        Ok(found) if found == *info || info.token.is_some() && found.token == info.token => {
            stack.unlink(&aside).map_err(failure)?;
            return Ok(true);
        }
        Ok(found) => Failure::Locked(Box::new(found)),
        Err(source) => stack.failure("read the lock marker", layout::LOCK, source),
    };
    match stack.rename_new(&aside, layout::LOCK) {
        Ok(()) => {}
        Err(errno) => {
            if matches!(errno, Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) {
                let _ = stack.link(&aside, layout::LOCK);
            }
            let _ = stack.unlink(&aside);
        }
    }
    Err(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sdk_state::{Holder, LockToken, Provenance};
    use std::fs;
    use time::OffsetDateTime;

    fn info() -> LockInfo {
        let holder = Holder::new("push")
            .with_provenance(Provenance::new().with_author("alice").with_host("build-7"))
            .with_since(OffsetDateTime::UNIX_EPOCH);
        let mut info = LockInfo::new(&holder, LockToken::generate().unwrap());
        info.pid = Some(4711);
        info
    }

    #[test]
    fn a_marker_begins_like_unobins_and_names_the_holder() {
        let marker = encode(&info());
        assert!(marker.starts_with(b"4711\n{"));
        assert!(marker.ends_with(b" \n"));
        let read = decode(&marker);
        let holder = &read.holder;
        assert_eq!(
            (
                read.pid,
                holder.provenance.author.as_deref(),
                holder.provenance.host.as_deref()
            ),
            (Some(4711), Some("alice"), Some("build-7"))
        );
        assert_eq!(holder.since, Some(OffsetDateTime::UNIX_EPOCH));
        assert!(read.token.is_some());
    }

    #[test]
    fn long_texts_are_cut_and_the_token_never_is() {
        let mut long = info();
        let provenance = &mut long.holder.provenance;
        for text in [
            &mut provenance.run,
            &mut provenance.author,
            &mut provenance.host,
            &mut provenance.tool,
        ] {
            *text = Some("\u{1}".repeat(5000));
        }
        long.holder.operation = "\u{1}".repeat(5000);
        let read = decode(&encode(&long));
        assert_eq!(read.token, long.token);
        let author = read.holder.provenance.author.unwrap();
        assert!((1..5000).contains(&author.len()));
    }

    #[test]
    fn any_marker_is_read_without_a_panic() {
        for content in [
            &b""[..],
            b"\n",
            b"4711",
            b"4711\n",
            b"-1\n{}",
            b"99999999999999\n{}",
            b"x\n{\"token\":\"../x\"}",
            b"\xff\n\xff",
            &[0; BYTES],
        ] {
            assert_eq!(decode(content).token, None, "{content:?}");
        }
        assert_eq!(decode(b"4711\n").pid, Some(4711));
        assert_eq!(decode(b"x\n{\"pid\":4711}").pid, Some(4711));
    }

    #[test]
    fn a_marker_without_links_replaces_nothing() {
        let root = tempfile::tempdir().unwrap();
        let directory = StackDirectory::make(root.path(), &"network/prod".parse().unwrap()).unwrap();
        let create = |content: &[u8]| create_without_links(&directory.stack, content).unwrap();
        assert!(create(b"first").is_some());
        assert!(create(b"second").is_none());
        let content = fs::read(directory.stack.path_of(layout::LOCK)).unwrap();
        assert_eq!(content, b"first");
    }
}
