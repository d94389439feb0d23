//! The journal of a stack: the file `journal` beside `current`, whose bytes `docs/format.md` describes.

use crate::directory::{self, Directory};
use crate::failure::Failure;
use crate::layout;
use crate::mutex::DirectoryMutex;
use crate::pointer::{self, PointerFile};
use crate::stack::StackDirectory;
use rustix::io::Errno;
use sdk_state::{MAX_RECORD_BYTES, Pointer, Revision};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

const MAGIC: &[u8] = b"ubjournal 1\n";
/// The length of a record, the checksum of the length, and the checksum of the record.
pub(crate) const HEADER_BYTES: usize = 12;
/// A disk writes this many bytes whole or not at all.
const SECTOR: u64 = 512;
/// The magic, a name of at most 128 bytes, a space, eight digits and a line feed.
const LONGEST_BEGINNING: usize = MAGIC.len() + 128 + 1 + 8 + 1;
/// How much of a file is read at once, unless a record is longer.
const WINDOW: usize = 32 << 10;
const READ: &str = "read the journal";

/// Appends the part before the first frame.
pub(crate) fn write_beginning(content: &mut Vec<u8>, base: &Revision) {
    let name = base.to_string();
    content.extend_from_slice(MAGIC);
    content.extend_from_slice(base_line(&name).as_bytes());
}

/// The name of the base with its checksum: with another name, the journal would be dead and its changes lost.
fn base_line(name: &str) -> String {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(MAGIC);
    checksum.update(name.as_bytes());
    format!("{name} {:08x}\n", checksum.finalize())
}

/// Appends a frame.
pub(crate) fn write_frame(content: &mut Vec<u8>, record: &[u8]) {
    // A record has at most 16 MiB.
    let length = (record.len() as u32).to_le_bytes();
    content.extend_from_slice(&length);
    content.extend_from_slice(&crc32fast::hash(&length).to_le_bytes());
    content.extend_from_slice(&crc32fast::hash(record).to_le_bytes());
    content.extend_from_slice(record);
}

/// The open file `journal`, a regular file.
#[derive(Debug)]
pub(crate) struct JournalFile {
    pub(crate) file: File,
    pub(crate) bytes: u64,
    /// The revision that the journal belongs to; `None` if the beginning is damaged.
    pub(crate) base: Option<Revision>,
    first_frame: u64,
}

impl JournalFile {
    /// `None` if there is no journal.
    pub(crate) fn open(stack: &Directory) -> Result<Option<Self>, Failure> {
        let failure = |source| stack.failure(READ, layout::JOURNAL, source);
        let not_plain = || Failure::JournalNotPlain(stack.path_of(layout::JOURNAL));
        let file = match stack.open_file(layout::JOURNAL) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            // A link, or a socket.
            Err(Errno::LOOP | Errno::NXIO) => return Err(not_plain()),
            Err(errno) => return Err(failure(errno.into())),
        };
        let stat = directory::stat(&file).map_err(|errno| failure(errno.into()))?;
        if !Directory::is_plain(&stat) {
            return Err(not_plain());
        }
        let mut beginning = [0; LONGEST_BEGINNING];
        let length = read_at(&file, &mut beginning, 0).map_err(failure)?;
        let name = beginning[..length].strip_prefix(MAGIC).and_then(|rest| {
            let end = rest.iter().position(|&byte| byte == b' ')?;
            let name = str::from_utf8(&rest[..end]).ok()?;
            rest.starts_with(base_line(name).as_bytes()).then_some(name)
        });
        Ok(Some(Self {
            file,
            bytes: stat.st_size as u64,
            base: name.and_then(|name| name.parse().ok()),
            first_frame: name.map_or(0, |name| (MAGIC.len() + base_line(name).len()) as u64),
        }))
    }

    /// Whether it has a record that was acknowledged, even if that is damaged now.
    pub(crate) fn holds_changes(&self, stack: &Directory) -> Result<bool, Failure> {
        let mut frames = self.frames();
        let first = frames.advance();
        let first = first.map_err(|source| stack.failure(READ, layout::JOURNAL, source))?;
        Ok(matches!(first, Frame::Record(_) | Frame::Damaged))
    }

    pub(crate) fn frames(&self) -> Frames<'_> {
        Frames {
            file: &self.file,
            bytes: self.bytes,
            offset: self.first_frame,
            window: Vec::new(),
            window_at: 0,
        }
    }
}

/// The answer of [`Frames::advance`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Record(&'a [u8]),
    /// Nothing more was written.
    End,
    /// The last frame was not written completely. It was never acknowledged.
    Torn,
    Damaged,
}

/// Reads the frames of a journal in order, with little more memory than the longest record needs.
pub(crate) struct Frames<'a> {
    file: &'a File,
    bytes: u64,
    offset: u64,
    /// The bytes of the file from `window_at`.
    window: Vec<u8>,
    window_at: u64,
}

impl Frames<'_> {
    /// Where the next frame begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads the next frame, and moves on only if it is a record.
    pub(crate) fn advance(&mut self) -> io::Result<Frame<'_>> {
        let begin = self.offset;
        let header = self.bytes_at(begin, HEADER_BYTES)?;
        if is_zero(header) {
            return Ok(Frame::End);
        }
        let &[l0, l1, l2, l3, c0, c1, c2, c3, r0, r1, r2, r3] = header else {
            return Ok(Frame::Torn);
        };
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let is_length = u32::from_le_bytes([c0, c1, c2, c3]) == crc32fast::hash(&[l0, l1, l2, l3])
            && (1..=MAX_RECORD_BYTES).contains(&(length as usize));
        if !is_length {
            return self.judge_header(begin);
        }
        let end = begin + HEADER_BYTES as u64 + u64::from(length);
        if end > self.bytes {
            return Ok(Frame::Torn);
        }
        let checksum = u32::from_le_bytes([r0, r1, r2, r3]);
        let frame_bytes = HEADER_BYTES + length as usize;
        let record = self.bytes_at(begin, frame_bytes)?.get(HEADER_BYTES..);
        if record.map(crc32fast::hash) != Some(checksum) {
            return self.judge_record(begin, frame_bytes);
        }
        self.offset = end;
        Ok(Frame::Record(&self.bytes_at(begin, frame_bytes)?[HEADER_BYTES..]))
    }

    /// Judges an invalid header: it is torn if it lies in two sectors, one of which was not written.
    fn judge_header(&mut self, begin: u64) -> io::Result<Frame<'_>> {
        let boundary = begin.next_multiple_of(SECTOR);
        let first = (boundary - begin) as usize;
        let is_torn = first < HEADER_BYTES
            && (is_zero(self.bytes_at(begin, first)?) || is_zero(self.bytes_at(boundary, SECTOR as usize)?));
        Ok(if is_torn { Frame::Torn } else { Frame::Damaged })
    }

    /// Judges a frame whose record does not match its checksum: it is torn if a sector was not written and nothing follows.
    fn judge_record(&mut self, begin: u64, frame_bytes: usize) -> io::Result<Frame<'_>> {
        let first = (SECTOR - begin % SECTOR) as usize;
        let frame = self.bytes_at(begin, frame_bytes)?;
        let (head, rest) = frame.split_at(first.min(frame.len()));
        let lacks_sector = is_zero(head) || rest.chunks(SECTOR as usize).any(is_zero);
        let is_last = is_zero(self.bytes_at(begin + frame_bytes as u64, HEADER_BYTES)?);
        Ok(match lacks_sector && is_last {
            true => Frame::Torn,
            false => Frame::Damaged,
        })
    }

    /// The bytes of a part of the file; fewer at its end.
    fn bytes_at(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let is_within =
            offset >= self.window_at && offset + length as u64 <= self.window_at + self.window.len() as u64;
        if !is_within {
            let wanted = length.max(WINDOW) as u64;
            let wanted = wanted.min(self.bytes.saturating_sub(offset)) as usize;
            self.window.clear();
            self.window
                .try_reserve_exact(wanted)
                .map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))?;
            self.window.resize(wanted, 0);
            let read = read_at(self.file, &mut self.window, offset)?;
            self.window.truncate(read);
            self.window_at = offset;
        }
        let from = (offset - self.window_at) as usize;
        let to = (from + length).min(self.window.len());
        Ok(&self.window[from..to])
    }
}

/// Reads until the buffer is full or the file ends.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// Returns records of the journal of `base`: number `from`, and up to `most` bytes of further records.
pub(crate) fn read(
    directory: &StackDirectory,
    base: &Pointer,
    from: u64,
    most: usize,
) -> Result<Vec<Vec<u8>>, Failure> {
    // On an untrusted filesystem, too, where nobody appends: a stack may have been copied there from a trusted one.
    // What looks damaged may be half written.
    if let Some(records) = page(&directory.stack, base, from, most)? {
        return Ok(records);
    }
    let _mutex = DirectoryMutex::lock(directory)?;
    page(&directory.stack, base, from, most)?.ok_or_else(|| damaged(&directory.stack))
}

/// `None` if the journal is damaged.
fn page(stack: &Directory, base: &Pointer, from: u64, most: usize) -> Result<Option<Vec<Vec<u8>>>, Failure> {
    let failure = |source| stack.failure(READ, layout::JOURNAL, source);
    let mut records = Vec::new();
    if pointer::read(stack)?.map(pointer::to).as_ref() != Some(base) {
        return Ok(Some(records));
    }
    let Some(journal) = JournalFile::open(stack)? else {
        return Ok(Some(records));
    };
    match &journal.base {
        None => return Ok(None),
        Some(other) if *other != base.revision => return Ok(Some(records)),
        Some(_) => {}
    }
    let mut frames = journal.frames();
    let mut room = most;
    for number in 0_u64.. {
        match frames.advance().map_err(failure)? {
            Frame::Record(_) if number < from => {}
            Frame::Record(record) => {
                if number > from {
                    match room.checked_sub(record.len()) {
                        Some(rest) => room = rest,
                        None => break,
                    }
                }
                records.push(record.to_vec());
            }
            Frame::End | Frame::Torn => break,
            // The records before the damage are returned; the next call begins with the damage.
            Frame::Damaged if records.is_empty() => return Ok(None),
            Frame::Damaged => break,
        }
    }
    Ok(Some(records))
}

pub(crate) fn damaged(stack: &Directory) -> Failure {
    Failure::JournalDamaged(stack.path_of(layout::JOURNAL))
}

/// Removes the dead journal of `rev`, which is not current but is about to be. The caller flushes the directory.
pub(crate) fn remove_dead(directory: &StackDirectory, rev: &Revision) -> Result<(), Failure> {
    let stack = &directory.stack;
    let _mutex = DirectoryMutex::lock(directory)?;
    // Another process may have made it current meanwhile and begun a journal.
    let is_dead = pointer::read(stack)?.is_some_and(|current| current != *rev)
        && JournalFile::open(stack)?.is_some_and(|journal| journal.base.as_ref() == Some(rev));
    if is_dead {
        stack
            .unlink(layout::JOURNAL)
            .map_err(|errno| stack.failure("remove the journal", layout::JOURNAL, errno))?;
    }
    Ok(())
}

/// Removes the journal of a revision that `current` has moved away from. `own` is the pointer after that move, which is durable.
///
/// If the journal cannot be removed, or comes back with a power cut, it stays and is dead: the next move to its base removes it.
pub(crate) fn remove_ended(directory: &StackDirectory, journal: &JournalFile, own: &PointerFile) {
    let stack = &directory.stack;
    let Ok(_mutex) = DirectoryMutex::lock(directory) else {
        return;
    };
    // Another process may have moved `current` back meanwhile and begun a new journal.
    let is_dead = own.is_unmoved(stack).unwrap_or(false)
        && stack.leads_to(layout::JOURNAL, &journal.file).unwrap_or(false);
    if is_dead {
        let _ = stack.unlink(layout::JOURNAL);
    }
}
