use crate::directory::{self, Directory, Inode};
use crate::failure::Failure;
use crate::journal::{self, Frame, HEADER_BYTES, JournalFile};
use crate::layout::{self, Purpose};
use crate::marker::{self, Marker};
use crate::mutex::DirectoryMutex;
use crate::pointer::{self, PointerFile};
use crate::snapshots::Flushes;
use crate::stack::StackDirectory;
use crate::temporary::Temporary;
use crate::untrusted;
use rustix::io::Errno;
use sdk_state::{Appended, Expect, LockToken, Pointer};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The file grows by this many zeros at a time, because overwriting zeros and flushing is faster than growing the file.
const EXTENT: u64 = 256 << 10;
static ZEROS: [u8; EXTENT as usize] = [0; EXTENT as usize];
/// A marker has 1024 bytes, and a pointer at most 129.
const LONGEST_WATCHED: usize = 4096;
/// A longer buffer is freed after use.
const LONGEST_KEPT_BUFFER: usize = 1 << 20;
const WRITE: &str = "write the journal";

/// The arguments of one call.
#[derive(Debug)]
pub(crate) struct Addition<'a> {
    pub(crate) base: &'a Pointer,
    pub(crate) index: u64,
    pub(crate) record: &'a [u8],
    pub(crate) token: &'a LockToken,
}

/// The journal that a handle of the backend writes. The handle writes only to files that it made itself and flushed from their
/// first byte on: after another process's record whose flush failed, nothing would be durable.
#[derive(Debug, Default)]
pub(crate) struct Appender(Mutex<Writer>);

#[derive(Debug, Default)]
pub(crate) struct Writer {
    open: Option<Open>,
    /// A journal of which a flush failed. The kernel reports that once and drops what it could not write, so nothing in the
    /// journal is known to be durable.
    unconfirmed: Option<File>,
}

impl Appender {
    /// Locked for a whole call, including its flush.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Writer> {
        // The value is consistent at every moment, so a thread that panicked while holding it did no harm.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the journal unless it belongs to `current`, because an open file keeps its space after its removal.
    pub(crate) fn close_ended(&self, current: &Pointer) {
        let mut writer = self.lock();
        if writer.open.as_ref().is_some_and(|open| open.base != *current) {
            writer.open = None;
        }
    }
}

/// The answer of [`Open::append`].
enum Outcome {
    Done(Appended),
    /// The journal is not as this handle left it.
    Unexpected,
    /// Nothing changed.
    Refused(Failure),
    /// The record is in the file, but perhaps nobody can find the file.
    Unknown(Failure),
    /// The bytes in the file may not be durable.
    Unconfirmed(Failure),
}

impl Writer {
    /// Appends to the open journal; `None` if no journal is open, or somebody has changed it.
    pub(crate) fn go_on(&mut self, addition: &Addition<'_>) -> Result<Option<Appended>, Failure> {
        let Some(mut open) = self.open.take() else {
            return Ok(None);
        };
        match open.append(addition) {
            Outcome::Done(appended) => {
                self.open = Some(open);
                Ok(Some(appended))
            }
            Outcome::Refused(failure) => {
                self.open = Some(open);
                Err(failure)
            }
            Outcome::Unexpected => Ok(None),
            Outcome::Unknown(failure) => Err(failure),
            Outcome::Unconfirmed(failure) => {
                self.unconfirmed = Some(open.file);
                Err(failure)
            }
        }
    }

    /// Reads what is there, and begins the journal or continues a copy of it.
    pub(crate) fn look(
        &mut self,
        directory: &Arc<StackDirectory>,
        flushes: &Flushes,
        addition: &Addition<'_>,
    ) -> Result<Appended, Failure> {
        if !directory.filesystem.is_trusted() {
            return Err(Failure::NoJournal);
        }
        loop {
            if let Some(appended) = self.try_to_look(directory, flushes, addition)? {
                return Ok(appended);
            }
        }
    }

    /// `None` if another process wrote meanwhile.
    fn try_to_look(
        &mut self,
        directory: &Arc<StackDirectory>,
        flushes: &Flushes,
        addition: &Addition<'_>,
    ) -> Result<Option<Appended>, Failure> {
        let stack = &directory.stack;
        let mutex = DirectoryMutex::lock(directory)?;
        Watched::marker(directory, addition)?;
        Watched::pointer(stack, addition)?;
        let Some(live) = live_journal(stack, addition)? else {
            drop(mutex);
            return match addition.index {
                0 => self.begin(directory, flushes, addition),
                _ => Ok(Some(Appended::Taken)),
            };
        };
        if let Some(file) = &self.unconfirmed
            && stack.leads_to(layout::JOURNAL, file)?
        {
            return Err(unconfirmed(directory, addition, None));
        }
        let found = Found::of(stack, &live)?;
        drop(mutex);
        let is_last = found.records.checked_sub(1) == Some(addition.index);
        let is_repeated = is_last && found.last_record == addition.record;
        if found.records != addition.index && !is_repeated {
            return Ok(Some(Appended::Taken));
        }
        if found.records == 0 {
            return self.begin(directory, flushes, addition);
        }
        // Another handle wrote these records, or this one does not know what became of them.
        if !self.copy(directory, flushes, addition, &live, &found)? {
            return Ok(None);
        }
        match is_repeated {
            true => Ok(Some(Appended::Appended)),
            false => self.go_on(addition),
        }
    }

    fn begin(
        &mut self,
        directory: &Arc<StackDirectory>,
        flushes: &Flushes,
        addition: &Addition<'_>,
    ) -> Result<Option<Appended>, Failure> {
        let mut content = Vec::with_capacity(EXTENT as usize);
        journal::write_beginning(&mut content, &addition.base.revision);
        let last = content.len() as u64;
        journal::write_frame(&mut content, addition.record);
        let is_placed = self.place(directory, flushes, addition, content, (1, last), || {
            Ok(match live_journal(&directory.stack, addition)? {
                Some(live) => Found::of(&directory.stack, &live)?.records == 0,
                None => true,
            })
        })?;
        Ok(is_placed.then_some(Appended::Appended))
    }

    /// Replaces the journal with a durable copy; false if another process wrote meanwhile.
    fn copy(
        &mut self,
        directory: &Arc<StackDirectory>,
        flushes: &Flushes,
        addition: &Addition<'_>,
        live: &JournalFile,
        found: &Found,
    ) -> Result<bool, Failure> {
        let stack = &directory.stack;
        let failure = |source| stack.failure("copy the journal", layout::JOURNAL, source);
        let mut content = Vec::new();
        content
            .try_reserve_exact((found.end + EXTENT) as usize)
            .map_err(|error| failure(io::Error::new(io::ErrorKind::OutOfMemory, error)))?;
        content.resize(found.end as usize, 0);
        live.file.read_exact_at(&mut content, 0).map_err(failure)?;
        self.place(
            directory,
            flushes,
            addition,
            content,
            (found.records, found.last),
            || {
                // Counted again: behind the last record may lie a torn one.
                Ok(match live_journal(stack, addition)? {
                    Some(now) if stack.leads_to(layout::JOURNAL, &live.file)? => {
                        Found::of(stack, &now)?.records == found.records
                    }
                    _ => false,
                })
            },
        )
    }

    /// Makes `content` the journal, durably; false if the checks no longer hold. `counted` is the number of its records, and where
    /// the last one begins.
    fn place(
        &mut self,
        directory: &Arc<StackDirectory>,
        flushes: &Flushes,
        addition: &Addition<'_>,
        mut content: Vec<u8>,
        counted: (u64, u64),
        is_wanted: impl Fn() -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        let (stack, rev) = (&directory.stack, &addition.base.revision);
        flushes.demand_confirmed_pointer(stack)?;
        // A power cut may still undo the move that ended the journal there: then its changes must be found.
        if stack.stat(layout::JOURNAL)?.is_some() {
            flushes.make_pointer_durable(stack)?;
        }
        let end = content.len() as u64;
        let bytes = extended(end);
        content.extend_from_slice(&ZEROS[..(bytes - end) as usize]);
        let temporary = Temporary::write(stack, directory.filesystem, Purpose::Journal, &content)?;
        drop(content);
        let mutex = DirectoryMutex::lock(directory)?;
        let marker = Watched::marker(directory, addition)?;
        let pointer = Watched::pointer(stack, addition)?;
        if !is_wanted()? {
            return Ok(false);
        }
        let file = temporary.replace(layout::JOURNAL)?;
        untrusted::second_look(directory, rev, Ok(()), || marker.is_as_read(stack))?;
        // The pointer is in the same directory, so this flush makes it durable too.
        if let Err(source) = mutex.unlock_and_sync() {
            flushes.distrust_pointer();
            self.unconfirmed = Some(file);
            return Err(unconfirmed(directory, addition, Some(source)));
        }
        demand_found(directory, addition)?;
        let unknown = |errno: Errno| unconfirmed(directory, addition, Some(errno.into()));
        self.open = Some(Open {
            inode: directory::stat(&file).map_err(unknown)?.into(),
            directory: Arc::clone(directory),
            base: addition.base.clone(),
            token: addition.token.clone(),
            marker,
            pointer,
            file,
            records: counted.0,
            last: counted.1,
            end,
            bytes,
            buffer: Vec::new(),
        });
        Ok(true)
    }
}

/// The base's journal, read under the directory mutex.
fn live_journal(stack: &Directory, addition: &Addition<'_>) -> Result<Option<JournalFile>, Failure> {
    match JournalFile::open(stack)? {
        Some(journal) if journal.base.is_none() => Err(journal::damaged(stack)),
        journal => Ok(journal.filter(|journal| journal.base.as_ref() == Some(&addition.base.revision))),
    }
}

/// What a journal contains.
struct Found {
    records: u64,
    last: u64,
    last_record: Vec<u8>,
    end: u64,
}

impl Found {
    fn of(stack: &Directory, journal: &JournalFile) -> Result<Self, Failure> {
        let failure = |source| stack.failure("read the journal", layout::JOURNAL, source);
        let mut frames = journal.frames();
        let mut found = Self {
            records: 0,
            last: frames.offset(),
            last_record: Vec::new(),
            end: frames.offset(),
        };
        loop {
            let begin = frames.offset();
            match frames.advance().map_err(failure)? {
                Frame::Record(record) => {
                    found.records += 1;
                    found.last = begin;
                    found.last_record.clear();
                    found.last_record.extend_from_slice(record);
                    found.end = begin + (HEADER_BYTES + record.len()) as u64;
                }
                Frame::End | Frame::Torn => return Ok(found),
                Frame::Damaged => return Err(journal::damaged(stack)),
            }
        }
    }
}

/// The journal as this handle left it.
#[derive(Debug)]
struct Open {
    directory: Arc<StackDirectory>,
    base: Pointer,
    token: LockToken,
    marker: Watched,
    pointer: Watched,
    file: File,
    inode: Inode,
    records: u64,
    /// Where the last frame begins.
    last: u64,
    /// Where the last frame ends, and zeros begin.
    end: u64,
    /// The length of the file.
    bytes: u64,
    buffer: Vec<u8>,
}

impl Open {
    fn append(&mut self, addition: &Addition<'_>) -> Outcome {
        if let Err(outcome) = self.write(addition) {
            return outcome;
        }
        // A flush through a handle older than all bytes in the file reports each failure once.
        if let Err(source) = self.file.sync_data() {
            return Outcome::Unconfirmed(unconfirmed(&self.directory, addition, Some(source)));
        }
        match demand_found(&self.directory, addition) {
            Ok(()) => Outcome::Done(Appended::Appended),
            Err(failure) => Outcome::Unknown(failure),
        }
    }

    /// Checks and writes the frame in one step. The error is the answer if there is nothing to flush.
    fn write(&mut self, addition: &Addition<'_>) -> Result<(), Outcome> {
        let directory = Arc::clone(&self.directory);
        let stack = &directory.stack;
        let _mutex = match DirectoryMutex::lock(&directory) {
            Ok(mutex) => mutex,
            Err(Failure::DirectoryMoved(_)) => return Err(Outcome::Unexpected),
            Err(failure) => return Err(Outcome::Refused(failure)),
        };
        match self.is_as_left(addition) {
            Ok(true) => {}
            Ok(false) => return Err(Outcome::Unexpected),
            Err(failure) => return Err(Outcome::Refused(failure)),
        }
        if addition.index != self.records {
            return Err(self.judge_repetition(addition).unwrap_or_else(Outcome::Refused));
        }
        journal::write_frame(&mut self.buffer, addition.record);
        let written = self.write_buffer(stack);
        let frame_bytes = self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(LONGEST_KEPT_BUFFER);
        written?;
        // A client of a share, which does not see this mutex, may have evicted the holder.
        untrusted::second_look(&directory, &self.base.revision, Ok(()), || {
            self.marker.is_as_read(stack)
        })
        .map_err(Outcome::Unknown)?;
        self.records += 1;
        self.last = self.end;
        self.end += frame_bytes;
        Ok(())
    }

    /// Whether the lock, the pointer and the journal are those that this handle saw last.
    fn is_as_left(&self, addition: &Addition<'_>) -> Result<bool, Failure> {
        let stack = &self.directory.stack;
        let failure = |source| stack.failure("read the journal", layout::JOURNAL, source);
        Ok(self.token == *addition.token
            && self.base == *addition.base
            && self.marker.is_as_read(stack)?
            && self.pointer.is_as_read(stack)?
            && stack.inode_of(layout::JOURNAL)? == Some(self.inode)
            && is_free_at(&self.file, self.end, self.bytes).map_err(failure)?)
    }

    /// Judges a record that may repeat the last one, which is durable like every record in an open journal.
    fn judge_repetition(&self, addition: &Addition<'_>) -> Result<Outcome, Failure> {
        let stack = &self.directory.stack;
        let last_record = self.last + HEADER_BYTES as u64;
        let is_last = self.records.checked_sub(1) == Some(addition.index);
        if !is_last || self.end - last_record != addition.record.len() as u64 {
            return Ok(Outcome::Done(Appended::Taken));
        }
        let mut record = vec![0; addition.record.len()];
        self.file
            .read_exact_at(&mut record, last_record)
            .map_err(|source| stack.failure("read the journal", layout::JOURNAL, source))?;
        Ok(Outcome::Done(match record == addition.record {
            true => Appended::Appended,
            false => Appended::Taken,
        }))
    }

    /// Writes the buffer over the zeros after the last frame. After an error nothing of it is in the file.
    fn write_buffer(&mut self, stack: &Directory) -> Result<(), Outcome> {
        let failure = |source| stack.failure(WRITE, layout::JOURNAL, source);
        let end = self.end + self.buffer.len() as u64;
        if end > self.bytes {
            let bytes = extended(end);
            if let Err(source) = write_zeros(&self.file, self.bytes, bytes) {
                // Only zeros stay, which do no harm.
                let _ = self.file.set_len(self.bytes);
                return Err(Outcome::Refused(failure(source)));
            }
            self.bytes = bytes;
        }
        let Err(source) = self.file.write_all_at(&self.buffer, self.end) else {
            return Ok(());
        };
        match self.file.set_len(self.end) {
            Ok(()) => {
                self.bytes = self.end;
                Err(Outcome::Refused(failure(source)))
            }
            Err(_) => Err(Outcome::Unconfirmed(Failure::RecordUnknown {
                path: stack.path_of(layout::JOURNAL),
                rev: self.base.revision.clone(),
                source: Some(source),
            })),
        }
    }
}

/// The length of a file with room for another record after `end`.
fn extended(end: u64) -> u64 {
    (end / EXTENT + 1) * EXTENT
}

fn write_zeros(file: &File, from: u64, to: u64) -> io::Result<()> {
    let mut offset = from;
    while offset < to {
        let length = (to - offset).min(EXTENT);
        file.write_all_at(&ZEROS[..length as usize], offset)?;
        offset += length;
    }
    Ok(())
}

/// Whether no frame begins at `end`, and nobody has cut the file of this length.
fn is_free_at(file: &File, end: u64, bytes: u64) -> io::Result<bool> {
    let mut header = [0; HEADER_BYTES];
    let read = journal::read_at(file, &mut header, end)?;
    let is_whole = read == HEADER_BYTES || end + read as u64 == bytes;
    Ok(is_whole && journal::is_zero(&header[..read]))
}

fn unconfirmed(directory: &StackDirectory, addition: &Addition<'_>, source: Option<io::Error>) -> Failure {
    Failure::RecordUnknown {
        path: directory.stack.path_of(layout::JOURNAL),
        rev: addition.base.revision.clone(),
        source,
    }
}

/// Checks that others can find a durable record: the path may lead elsewhere by now.
fn demand_found(directory: &StackDirectory, addition: &Addition<'_>) -> Result<(), Failure> {
    match directory.is_at_its_path() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::MovedMeanwhile(addition.base.revision.clone())),
        Err(Failure::Io { source, .. }) => Err(unconfirmed(directory, addition, Some(source))),
        Err(failure) => Err(failure),
    }
}

/// A small file as it was read. While it is open no other file gets its inode number, so two calls tell whether its name still
/// leads to the same bytes.
#[derive(Debug)]
struct Watched {
    name: &'static str,
    file: File,
    inode: Inode,
    content: Box<[u8]>,
}

impl Watched {
    /// The marker, if it carries the token.
    fn marker(directory: &StackDirectory, addition: &Addition<'_>) -> Result<Self, Failure> {
        let marker = Marker::open(directory)?.ok_or(Failure::LockLost)?;
        let watched = Self::read(&directory.stack, layout::LOCK, marker.file)?;
        match marker::decode(&watched.content).token.as_ref() == Some(addition.token) {
            true => Ok(watched),
            false => Err(Failure::LockLost),
        }
    }

    /// The pointer, if it names the base.
    fn pointer(stack: &Directory, addition: &Addition<'_>) -> Result<Self, Failure> {
        let expect = |found: Option<&Pointer>| {
            let met = Expect::Pointer(addition.base).check(found);
            met.map_err(Failure::Contract)
        };
        let opened = PointerFile::open(stack)?;
        expect(opened.read(stack)?.map(pointer::to).as_ref())?;
        match opened.into_file() {
            Some(file) => Self::read(stack, layout::CURRENT, file),
            None => Err(Failure::LockLost),
        }
    }

    fn read(stack: &Directory, name: &'static str, file: File) -> Result<Self, Failure> {
        let failure = |source| stack.failure("read the file", name, source);
        let mut content = [0; LONGEST_WATCHED];
        let length = journal::read_at(&file, &mut content, 0).map_err(failure)?;
        let stat = directory::stat(&file).map_err(|errno| failure(errno.into()))?;
        Ok(Self {
            name,
            file,
            inode: stat.into(),
            content: content[..length].into(),
        })
    }

    fn is_as_read(&self, stack: &Directory) -> Result<bool, Failure> {
        if stack.stat(self.name)?.map(Inode::from) != Some(self.inode) {
            return Ok(false);
        }
        let mut content = [0; LONGEST_WATCHED];
        let read = loop {
            match self.file.read_at(&mut content, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let length = read.map_err(|source| stack.failure("read the file", self.name, source))?;
        Ok(content[..length] == *self.content)
    }
}
