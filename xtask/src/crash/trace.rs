//! Turns the log of `strace -xx` into changes of files and directories: handles and paths become inodes.

use super::script::Mark;
use crate::report::Trouble;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// The number of a file or a directory in the model.
pub(super) type Inode = usize;

/// The directory in which a script runs. It exists and is durable before.
pub(super) const BASE: Inode = 0;

/// All that a script did, over all its processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Trace {
    pub(super) ops: Vec<Op>,
    pub(super) inodes: Vec<InodeInfo>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InodeInfo {
    /// The name under which it was made.
    pub(super) name: String,
    pub(super) is_directory: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    Mark(Mark),
    Change(Change),
    Write {
        inode: Inode,
        offset: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        inode: Inode,
        length: usize,
    },
    Flush {
        inode: Inode,
    },
}

/// One operation on a directory: it survives a crash as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) dir: Inode,
    /// make, rename, exchange, link or unlink.
    pub(super) verb: &'static str,
    /// What each name leads to afterwards.
    pub(super) names: Vec<(String, Option<Inode>)>,
}

impl Change {
    /// What it gives this name to, if that was not just made.
    pub(super) fn gives(&self, name: &str) -> Option<Inode> {
        let given = self.names.iter().find(|(given, _)| given == name)?;
        given.1.filter(|_| self.verb != "make")
    }
}

/// A directory and a name in it; `None` for what lies outside the base.
type Place = Option<(Inode, String)>;

/// Follows the processes of a script through their logs.
pub(super) struct Tracer<'a> {
    base: &'a Path,
    names: BTreeMap<(Inode, String), Inode>,
    processes: usize,
    trace: Trace,
}

/// A process of a script, between two of its calls.
pub(super) struct Process {
    number: usize,
    handles: Handles,
}

#[derive(Default)]
struct Handles {
    inodes: BTreeMap<u64, Inode>,
    /// Where the next write goes, for those that began at the start of a new file.
    offsets: BTreeMap<u64, usize>,
}

impl<'a> Tracer<'a> {
    pub(super) fn new(base: &'a Path) -> Self {
        let base_info = InodeInfo {
            name: "base".into(),
            is_directory: true,
        };
        Self {
            base,
            names: BTreeMap::new(),
            processes: 0,
            trace: Trace {
                ops: Vec::new(),
                inodes: vec![base_info],
            },
        }
    }

    pub(super) fn finish(self) -> Trace {
        self.trace
    }

    pub(super) fn start(&mut self) -> Process {
        self.processes += 1;
        Process {
            number: self.processes,
            handles: Handles::default(),
        }
    }

    /// Adds what a process did next. A call that touches the base and is not modelled is an error: nothing is passed over.
    pub(super) fn run(&mut self, process: &mut Process, calls: &[Call]) -> Result<(), Trouble> {
        self.trace.ops.push(Op::Mark(Mark::Runs(process.number)));
        for call in calls {
            self.call(call, &mut process.handles)
                .map_err(|problem| format!("{}: {problem}", call.name))?;
        }
        Ok(())
    }

    /// Adds all that a process did.
    pub(super) fn run_to_its_end(&mut self, calls: &[Call]) -> Result<(), Trouble> {
        let mut process = self.start();
        self.run(&mut process, calls)?;
        self.end();
        Ok(())
    }

    /// Adds the end of the process that has run last.
    pub(super) fn end(&mut self) {
        self.trace.ops.push(Op::Mark(Mark::Ended));
    }

    fn call(&mut self, call: &Call, handles: &mut Handles) -> Result<(), Trouble> {
        let reads_a_link = matches!(call.name.as_str(), "readlink" | "readlinkat");
        let Some(result) = call.result.or(reads_a_link.then_some(0)) else {
            return Ok(());
        };
        // Where the path stands, and the handle that it is relative to before it.
        let first = usize::from(call.name.trim_end_matches('2').ends_with("at"));
        let place = |at| self.place(handles, call, at);
        match call.name.as_str() {
            "readlink" | "readlinkat" => {
                let mark = Mark::read(bytes(call, first)?).map(Op::Mark);
                self.trace.ops.extend(mark);
            }
            "open" | "openat" => self.open(place(first)?, word(call, first + 1)?, result, handles)?,
            "close" => {
                handles.inodes.remove(&number(call, 0)?);
                handles.offsets.remove(&number(call, 0)?);
            }
            "dup" => handles.duplicate(number(call, 0)?, result),
            "fcntl" if word(call, 1)?.starts_with("F_DUPFD") => {
                handles.duplicate(number(call, 0)?, result);
            }
            "fcntl" | "flock" => {}
            "mkdir" | "mkdirat" => self.make(place(first)?, true)?,
            "rename" | "renameat" => self.relate("rename", place(first)?, place(first * 2 + 1)?)?,
            "renameat2" => match word(call, 4)?.contains("RENAME_EXCHANGE") {
                true => self.relate("exchange", place(1)?, place(3)?)?,
                false => self.relate("rename", place(1)?, place(3)?)?,
            },
            "link" | "linkat" => self.relate("link", place(first)?, place(first * 2 + 1)?)?,
            "unlink" | "unlinkat" => {
                if let Some(place) = place(first)? {
                    self.inode_at(&place)?;
                    self.change(place.0, "unlink", vec![(place.1, None)]);
                }
            }
            "write" => {
                if let Some(inode) = handles.inode(call)? {
                    let handle = number(call, 0)?;
                    let offset = *handles
                        .offsets
                        .get(&handle)
                        .ok_or("through a handle whose place in the file is unknown")?;
                    let bytes = bytes(call, 1)?[..result as usize].to_vec();
                    handles.offsets.insert(handle, offset + bytes.len());
                    self.trace.ops.push(Op::Write { inode, offset, bytes });
                }
            }
            "pwrite64" => {
                if let Some(inode) = handles.inode(call)? {
                    let bytes = bytes(call, 1)?[..result as usize].to_vec();
                    let offset = number(call, 3)? as usize;
                    self.trace.ops.push(Op::Write { inode, offset, bytes });
                }
            }
            "ftruncate" => {
                if let Some(inode) = handles.inode(call)? {
                    let length = number(call, 1)? as usize;
                    self.trace.ops.push(Op::Truncate { inode, length });
                }
            }
            "fsync" | "fdatasync" => {
                if let Some(inode) = handles.inode(call)? {
                    self.trace.ops.push(Op::Flush { inode });
                }
            }
            _ => {
                let mut places = (0..call.arguments.len()).map(|at| self.place(handles, call, at));
                if handles.inode(call).unwrap_or_default().is_some()
                    || places.any(|place| !matches!(place, Ok(None)))
                {
                    return Err("not modelled".into());
                }
            }
        }
        Ok(())
    }

    /// The directory and the name of a path argument; the handle that it is relative to stands before it. `None` for
    /// what lies outside the base, and for arguments that are no paths.
    fn place(&self, handles: &Handles, call: &Call, at: usize) -> Result<Place, Trouble> {
        let Some(Argument::Bytes(path)) = call.arguments.get(at) else {
            return Ok(None);
        };
        let Ok(path) = str::from_utf8(path) else {
            return Ok(None);
        };
        let (mut dir, rest) = match Path::new(path).strip_prefix(self.base) {
            Ok(rest) => (BASE, rest),
            Err(_) if path.starts_with('/') => return Ok(None),
            Err(_) => match at.checked_sub(1).map(|before| number(call, before)) {
                Some(Ok(handle)) if handles.inodes.contains_key(&handle) => {
                    (handles.inodes[&handle], Path::new(path))
                }
                _ => return Ok(None),
            },
        };
        let mut names = rest
            .components()
            .filter_map(|component| component.as_os_str().to_str())
            .filter(|&name| name != ".");
        let Some(last) = names.next_back() else {
            return Ok(Some((dir, ".".into())));
        };
        for name in names {
            match self.names.get(&(dir, name.into())) {
                Some(&inode) => dir = inode,
                None => return Err("through a directory that the model does not have".into()),
            }
        }
        Ok(Some((dir, last.into())))
    }

    fn open(&mut self, place: Place, flags: &str, handle: u64, handles: &mut Handles) -> Result<(), Trouble> {
        handles.inodes.remove(&handle);
        handles.offsets.remove(&handle);
        let Some(place) = place else {
            return Ok(());
        };
        let has = |flag| flags.split('|').any(|word| word == flag);
        if has("O_TRUNC") || has("O_APPEND") || has("O_TMPFILE") {
            return Err("with flags that are not modelled".into());
        }
        if place.1 == "." {
            handles.inodes.insert(handle, place.0);
            return Ok(());
        }
        if has("O_CREAT") && !self.names.contains_key(&place) {
            self.make(Some(place.clone()), false)?;
            handles.offsets.insert(handle, 0);
        }
        handles.inodes.insert(handle, self.inode_at(&place)?);
        Ok(())
    }

    fn make(&mut self, place: Place, is_directory: bool) -> Result<(), Trouble> {
        let Some((dir, name)) = place else {
            return Ok(());
        };
        if self.names.contains_key(&(dir, name.clone())) {
            return Err("it made what the model has already".into());
        }
        let inode = self.trace.inodes.len();
        self.trace.inodes.push(InodeInfo {
            name: name.clone(),
            is_directory,
        });
        self.change(dir, "make", vec![(name, Some(inode))]);
        Ok(())
    }

    /// Two names of one directory.
    fn relate(&mut self, verb: &'static str, from: Place, to: Place) -> Result<(), Trouble> {
        let (from, to) = match (from, to) {
            (None, None) => return Ok(()),
            (Some(from), Some(to)) if from.0 == to.0 => (from, to),
            _ => return Err("between two directories, which is not modelled".into()),
        };
        let inode = self.inode_at(&from)?;
        let names = match verb {
            "rename" => vec![(from.1, None), (to.1, Some(inode))],
            "exchange" => vec![(from.1.clone(), Some(self.inode_at(&to)?)), (to.1, Some(inode))],
            _ => vec![(to.1, Some(inode))],
        };
        self.change(from.0, verb, names);
        Ok(())
    }

    fn change(&mut self, dir: Inode, verb: &'static str, names: Vec<(String, Option<Inode>)>) {
        for (name, inode) in &names {
            match inode {
                Some(inode) => self.names.insert((dir, name.clone()), *inode),
                None => self.names.remove(&(dir, name.clone())),
            };
        }
        self.trace.ops.push(Op::Change(Change { dir, verb, names }));
    }

    fn inode_at(&self, place: &(Inode, String)) -> Result<Inode, Trouble> {
        match self.names.get(place) {
            Some(&inode) => Ok(inode),
            None => Err(format!("the model has no {}", place.1).into()),
        }
    }
}

impl Handles {
    fn inode(&self, call: &Call) -> Result<Option<Inode>, Trouble> {
        Ok(self.inodes.get(&number(call, 0)?).copied())
    }

    /// The place in the file is shared by both from now on, and no longer followed.
    fn duplicate(&mut self, from: u64, to: u64) {
        self.offsets.remove(&from);
        if let Some(&inode) = self.inodes.get(&from) {
            self.inodes.insert(to, inode);
        }
    }
}

impl Trace {
    /// An operation in words.
    pub(super) fn describe(&self, op: &Op) -> String {
        let name = |inode: &Inode| format!("{} (#{inode})", self.inodes[*inode].name);
        match op {
            Op::Mark(mark) => format!("{mark:?}"),
            Op::Change(change) => change.to_string(),
            Op::Write { inode, bytes, .. } => format!("write {} bytes to {}", bytes.len(), name(inode)),
            Op::Truncate { inode, length } => format!("cut {} to {length} bytes", name(inode)),
            Op::Flush { inode } => format!("flush {}", name(inode)),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb)?;
        self.names.iter().try_for_each(|(name, inode)| match inode {
            Some(inode) => write!(f, " {name} (#{inode})"),
            None => write!(f, " {name}"),
        })
    }
}

fn number(call: &Call, at: usize) -> Result<u64, Trouble> {
    Ok(word(call, at)?.parse()?)
}

fn word(call: &Call, at: usize) -> Result<&str, Trouble> {
    match call.arguments.get(at) {
        Some(Argument::Word(word)) => Ok(word),
        _ => Err(format!("argument {at} is no word").into()),
    }
}

fn bytes(call: &Call, at: usize) -> Result<&[u8], Trouble> {
    match call.arguments.get(at) {
        Some(Argument::Bytes(bytes)) => Ok(bytes),
        _ => Err(format!("argument {at} is no string").into()),
    }
}

/// A system call that has ended, or was cut off by the death of its process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) arguments: Vec<Argument>,
    /// `None` for an error, and for a call that was cut off.
    pub(super) result: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Argument {
    /// A string or a buffer, decoded.
    Bytes(Vec<u8>),
    /// A number, flags, an address.
    Word(String),
}

/// The calls of one process, in order.
pub(super) fn parse(log: &str) -> Result<Vec<Call>, Trouble> {
    let mut process = None;
    let mut calls = Vec::new();
    for line in log.lines() {
        let (id, rest) = line.trim_start().split_once(' ').ok_or_else(|| unread(line))?;
        // With two, what one has begun when the other ends something would matter.
        if *process.get_or_insert(id) != id {
            return Err("the log tells of a second thread or process, which is not modelled".into());
        }
        let rest = rest.trim_start();
        if !rest.starts_with("+++ ") && !rest.starts_with("--- ") {
            calls.push(call(rest).ok_or_else(|| unread(line))?);
        }
    }
    Ok(calls)
}

/// `name(argument, …) = result …`
fn call(line: &str) -> Option<Call> {
    let (name, mut rest) = line.split_once('(')?;
    let mut arguments = Vec::new();
    while !rest.starts_with(')') {
        let (argument, after) = argument(rest)?;
        arguments.push(argument);
        rest = after.strip_prefix(", ").unwrap_or(after);
    }
    let result = rest
        .strip_prefix(')')?
        .trim_start()
        .strip_prefix("= ")?
        .split_whitespace()
        .next()?;
    Some(Call {
        name: name.into(),
        arguments,
        result: result.parse().ok(),
    })
}

fn argument(text: &str) -> Option<(Argument, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (hex, rest) = quoted.split_once('"')?;
        // Three dots after it: strace has cut it short.
        if rest.starts_with('.') {
            return None;
        }
        return Some((Argument::Bytes(unhex(hex)?), rest));
    }
    let mut depth = 0;
    let end = text.find(|character| {
        match character {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            _ => {}
        }
        depth == 0 && matches!(character, ',' | ')')
    })?;
    Some((Argument::Word(text[..end].into()), &text[end..]))
}

/// `\x2f\x61`
fn unhex(hex: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (bytes, rest) = hex.as_bytes().as_chunks::<4>();
    let decode = |bytes: &[u8; 4]| match *bytes {
        [b'\\', b'x', high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
        _ => None,
    };
    bytes
        .iter()
        .map(decode)
        .collect::<Option<Vec<u8>>>()
        .filter(|_| rest.is_empty())
}

fn unread(line: &str) -> Trouble {
    let start: String = line.chars().take(120).collect();
    format!("a line of the log is not understood: {start}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The operations of one process whose log is this, with strings in clear.
    fn ops(lines: &[&str]) -> Result<Vec<Op>, Trouble> {
        let mut log = String::new();
        for line in lines {
            let mut parts = line.split('"');
            let mut line = format!("7 {}", parts.next().unwrap());
            while let (Some(text), Some(rest)) = (parts.next(), parts.next()) {
                let hex: String = text.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
                line += &format!("\"{hex}\"{rest}");
            }
            log += &format!("{line}\n");
        }
        let mut tracer = Tracer::new(Path::new("/base"));
        let mut process = tracer.start();
        tracer.run(&mut process, &parse(&log)?)?;
        Ok(tracer.finish().ops.split_off(1))
    }

    #[test]
    fn what_is_not_understood_or_not_modelled_is_an_error() {
        let opened = r#"openat(AT_FDCWD, "/base/a", O_RDWR|O_CREAT|O_EXCL, 0600) = 3"#;
        for line in [
            r#"symlinkat("/x", AT_FDCWD, "/base/s") = 0"#,
            r#"writev(3, [{iov_base="a", iov_len=1}], 1) = 1"#,
            r#"openat(AT_FDCWD, "/base/a", O_WRONLY|O_TRUNC) = 4"#,
            r#"rename("/base/a", "/elsewhere") = 0"#,
            r#"write(3, "a"..., 9) = 9"#,
            r#"fsync(3 <unfinished ...>"#,
        ] {
            assert!(ops(&[opened, line]).is_err(), "{line}");
        }
        assert!(parse("17 fsync(3) = 0\n18 fsync(3) = 0").is_err());
    }
}
