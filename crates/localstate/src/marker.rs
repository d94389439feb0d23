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
use std::sync::{Mutex, PoisonError};

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
const REMOVE: &str = "remove the lock marker";
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
    /// Opens the marker; `None` if it does not exist. Waits until a lease on it is given back.
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
        let stat = match directory::stat(&file) {
            Ok(stat) => stat,
            // Another client of a share has removed it since: FUSE asks by the name, NFS by a handle that is gone.
            Err(Errno::NOENT | Errno::STALE) => return Ok(Found::Nothing),
            Err(errno) => return Err(stack.failure("look at the lock marker", layout::LOCK, errno)),
        };
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
        // Nobody changes the length of our own markers: a read that asks for no more needs no second one to find the end.
        let longest = if self.is_proof {
            BYTES as u64
        } else {
            LONGEST_MARKER
        };
        let content = content(&self.file, longest).map_err(|source| {
            self.directory
                .stack
                .failure("read the lock marker", layout::LOCK, source)
        })?;
        Ok(self.directory.last_marker.decode(content))
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

fn content(file: &File, longest: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(longest as usize);
    file.take(longest).read_to_end(&mut content)?;
    Ok(content)
}

/// The marker that was read last, and what it says: a waiter reads the same bytes many times and decodes them once.
#[derive(Debug, Default)]
pub(crate) struct LastMarker(Mutex<(Vec<u8>, LockInfo)>);

impl LastMarker {
    fn decode(&self, content: Vec<u8>) -> LockInfo {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != content {
            let info = decode(&content);
            *last = (content, info);
        }
        last.1.clone()
    }
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
            remove_incomplete(stack, &file);
            Err(stack.failure("write the lock marker", layout::LOCK, source))
        }
    }
}

/// Removes a marker that could not be completed. Its holder may have been evicted meanwhile: another's marker stays, and where
/// inode numbers cannot be compared the incomplete one does, until somebody evicts its holder.
fn remove_incomplete(stack: &Directory, file: &File) {
    if stack.leads_to(layout::LOCK, file).unwrap_or(false) {
        let _ = stack.unlink(layout::LOCK);
    }
}

/// Removes the marker, which said `info` a moment ago, under the directory mutex. Returns what the removed marker said; `None`
/// if it was gone.
///
/// On an untrusted filesystem the mutex excludes nobody, and another holder's marker may be there by now: so the marker is
/// moved aside and read. It is never put back: others may have locked and unlocked meanwhile, and with a token that comes back
/// two moves of `current` from one revision could both succeed. So that holder is evicted.
pub(crate) fn remove(directory: &StackDirectory, info: &LockInfo) -> Result<Option<LockInfo>, Failure> {
    let stack = &directory.stack;
    if directory.filesystem.is_trusted() {
        return match stack.unlink(layout::LOCK) {
            Ok(()) => Ok(Some(info.clone())),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(stack.failure(REMOVE, layout::LOCK, errno)),
        };
    }
    let aside = layout::temporary(Purpose::Lock)
        .map_err(|source| stack.own_failure("draw a random name in", source))?;
    let moved = stack.rename(layout::LOCK, &aside);
    remove_aside(directory, info, &aside, moved)
}

/// Removes the marker that has the name `aside`, if it was moved there: an error may stand for an answer that was lost.
fn remove_aside(
    directory: &StackDirectory,
    info: &LockInfo,
    aside: &str,
    moved: Result<(), Errno>,
) -> Result<Option<LockInfo>, Failure> {
    let stack = &directory.stack;
    let unknown = |source: io::Error| Failure::RemovalOfMarkerUnknown {
        path: stack.path_of(layout::LOCK),
        source,
    };
    let opened = match (stack.open_file(aside), moved) {
        (Err(Errno::NOENT), Err(errno)) => return judge_unmoved(directory, info, errno, unknown),
        (opened, _) => opened,
    };
    let found = opened
        .map_err(io::Error::from)
        .and_then(|file| content(&file, LONGEST_MARKER));
    // The lock is free. If the file stays, it is a leftover file.
    let _ = stack.unlink(aside);
    found.map(|content| Some(decode(&content))).map_err(unknown)
}

/// Says what became of the marker after a move that failed with `errno`.
fn judge_unmoved(
    directory: &StackDirectory,
    info: &LockInfo,
    errno: Errno,
    unknown: impl Fn(io::Error) -> Failure,
) -> Result<Option<LockInfo>, Failure> {
    match Marker::open(directory) {
        Ok(None) if errno == Errno::NOENT => Ok(None),
        // It was there before the move.
        Ok(None) => Ok(Some(info.clone())),
        Ok(Some(marker)) => match marker.read() {
            Ok(found) if found == *info || found.token.is_some() && found.token == info.token => {
                Err(directory.stack.failure(REMOVE, layout::LOCK, errno))
            }
            Ok(_) => Ok(None),
            Err(_) => Err(unknown(errno.into())),
        },
        Err(_) => Err(unknown(errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::Filesystem;
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

    /// A marker that could not be completed was removed by its name, which was another's by then.
    #[test]
    fn giving_up_a_marker_spares_the_next_holders() {
        let root = tempfile::tempdir().unwrap();
        let directory = StackDirectory::make(root.path(), &"network/prod".parse().unwrap()).unwrap();
        let path = directory.stack.path_of(layout::LOCK);
        let create = || create_without_links(&directory.stack, b"").unwrap().unwrap();
        let incomplete = create();
        fs::remove_file(&path).unwrap();
        let next = create();
        remove_incomplete(&directory.stack, &incomplete);
        assert!(path.exists());
        remove_incomplete(&directory.stack, &next);
        assert!(!path.exists());
    }

    /// The answer to a move was lost, and the lock was reported as held although it was free.
    #[test]
    fn a_lost_answer_to_a_removal_is_looked_up() {
        let root = tempfile::tempdir().unwrap();
        let mut directory = StackDirectory::make(root.path(), &"network/prod".parse().unwrap()).unwrap();
        directory.filesystem = Filesystem::Untrusted;
        let own = info();
        let path = directory.stack.path_of(layout::LOCK);
        let aside = directory.stack.path_of("aside");
        let remove = |errno| remove_aside(&directory, &own, "aside", Err(errno));
        let token = |removed: Result<Option<LockInfo>, Failure>| removed.unwrap().and_then(|info| info.token);

        for errno in [Errno::IO, Errno::NOENT] {
            fs::write(&aside, encode(&own)).unwrap();
            assert_eq!(token(remove(errno)), own.token);
            assert!(!aside.exists());
        }
        // Gone.
        assert_eq!(token(remove(Errno::IO)), own.token);
        assert!(remove(Errno::NOENT).unwrap().is_none());
        // Another's.
        fs::write(&path, encode(&info())).unwrap();
        assert!(remove(Errno::IO).unwrap().is_none());
        // Still there.
        fs::write(&path, encode(&own)).unwrap();
        assert!(matches!(remove(Errno::IO), Err(Failure::Io { .. })));
        assert!(path.exists());
        // Unreadable.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(
            remove(Errno::IO),
            Err(Failure::RemovalOfMarkerUnknown { .. })
        ));
    }
}
