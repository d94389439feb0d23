//! The log of `strace -xx`, turned into what it does to files and directories: handles and paths become inodes.

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
    /// Makes a file or a directory.
    Make {
        dir: Inode,
        name: String,
        inode: Inode,
    },
    Write {
        inode: Inode,
        offset: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        inode: Inode,
        length: usize,
    },
    Rename {
        dir: Inode,
        from: String,
        to: String,
        inode: Inode,
    },
    /// Two names swap what they lead to.
    Exchange {
        dir: Inode,
        one: (String, Inode),
        other: (String, Inode),
    },
    Link {
        dir: Inode,
        name: String,
        inode: Inode,
    },
    Unlink {
        dir: Inode,
        name: String,
    },
    Flush {
        inode: Inode,
    },
}

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
        match call.name.as_str() {
            "readlink" => self.mark(call, 0)?,
            "readlinkat" => self.mark(call, 1)?,
            "open" => self.open(self.place(handles, call, 0)?, word(call, 1)?, result, handles)?,
            "openat" => self.open(self.place(handles, call, 1)?, word(call, 2)?, result, handles)?,
            "close" => {
                handles.inodes.remove(&number(call, 0)?);
                handles.offsets.remove(&number(call, 0)?);
            }
            "dup" => handles.duplicate(number(call, 0)?, result),
            "fcntl" if word(call, 1)?.starts_with("F_DUPFD") => {
                handles.duplicate(number(call, 0)?, result);
            }
            "fcntl" | "flock" => {}
            "mkdir" => self.make(self.place(handles, call, 0)?, true)?,
            "mkdirat" => self.make(self.place(handles, call, 1)?, true)?,
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
            "rename" => self.rename(self.place(handles, call, 0)?, self.place(handles, call, 1)?)?,
            "renameat2" if word(call, 4)?.contains("RENAME_EXCHANGE") => {
                self.exchange(self.place(handles, call, 1)?, self.place(handles, call, 3)?)?;
            }
            "renameat" | "renameat2" => {
                self.rename(self.place(handles, call, 1)?, self.place(handles, call, 3)?)?;
            }
            "link" => self.link(self.place(handles, call, 0)?, self.place(handles, call, 1)?)?,
            "linkat" => self.link(self.place(handles, call, 1)?, self.place(handles, call, 3)?)?,
            "unlink" => self.unlink(self.place(handles, call, 0)?)?,
            "unlinkat" => self.unlink(self.place(handles, call, 1)?)?,
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

    fn mark(&mut self, call: &Call, at: usize) -> Result<(), Trouble> {
        self.trace.ops.extend(Mark::read(bytes(call, at)?).map(Op::Mark));
        Ok(())
    }

    /// The directory and the name of a path argument; the handle that it is relative to stands before it. `None` for
    /// what lies outside the base, and for arguments that are no paths.
    fn place(&self, handles: &Handles, call: &Call, at: usize) -> Result<Option<(Inode, String)>, Trouble> {
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

    fn open(
        &mut self,
        place: Option<(Inode, String)>,
        flags: &str,
        handle: u64,
        handles: &mut Handles,
    ) -> Result<(), Trouble> {
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

    fn make(&mut self, place: Option<(Inode, String)>, is_directory: bool) -> Result<(), Trouble> {
        let Some((dir, name)) = place else {
            return Ok(());
        };
        let inode = self.trace.inodes.len();
        self.trace.inodes.push(InodeInfo {
            name: name.clone(),
            is_directory,
        });
        if self.names.insert((dir, name.clone()), inode).is_some() {
            return Err("it made what the model has already".into());
        }
        self.trace.ops.push(Op::Make { dir, name, inode });
        Ok(())
    }

    fn rename(&mut self, from: Option<(Inode, String)>, to: Option<(Inode, String)>) -> Result<(), Trouble> {
        match (from, to) {
            (None, None) => Ok(()),
            (Some(from), Some(to)) if from.0 == to.0 => {
                let inode = self.inode_at(&from)?;
                self.names.remove(&from);
                self.names.insert(to.clone(), inode);
                self.trace.ops.push(Op::Rename {
                    dir: from.0,
                    from: from.1,
                    to: to.1,
                    inode,
                });
                Ok(())
            }
            _ => Err("from one directory to another, which is not modelled".into()),
        }
    }

    fn exchange(
        &mut self,
        one: Option<(Inode, String)>,
        other: Option<(Inode, String)>,
    ) -> Result<(), Trouble> {
        match (one, other) {
            (None, None) => Ok(()),
            (Some(one), Some(other)) if one.0 == other.0 => {
                let (first, second) = (self.inode_at(&one)?, self.inode_at(&other)?);
                self.names.insert(one.clone(), second);
                self.names.insert(other.clone(), first);
                self.trace.ops.push(Op::Exchange {
                    dir: one.0,
                    one: (one.1, first),
                    other: (other.1, second),
                });
                Ok(())
            }
            _ => Err("from one directory to another, which is not modelled".into()),
        }
    }

    fn link(&mut self, from: Option<(Inode, String)>, to: Option<(Inode, String)>) -> Result<(), Trouble> {
        match (from, to) {
            (None, None) => Ok(()),
            (Some(from), Some((dir, name))) => {
                let inode = self.inode_at(&from)?;
                self.names.insert((dir, name.clone()), inode);
                self.trace.ops.push(Op::Link { dir, name, inode });
                Ok(())
            }
            _ => Err("across the base, which is not modelled".into()),
        }
    }

    fn unlink(&mut self, place: Option<(Inode, String)>) -> Result<(), Trouble> {
        let Some(place) = place else {
            return Ok(());
        };
        self.inode_at(&place)?;
        self.names.remove(&place);
        let (dir, name) = place;
        self.trace.ops.push(Op::Unlink { dir, name });
        Ok(())
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
        let name = |inode: &Inode| Named(*inode, &self.inodes[*inode]);
        match op {
            Op::Mark(mark) => format!("{mark:?}"),
            Op::Make { name, inode, .. } => match self.inodes[*inode].is_directory {
                true => format!("make the directory {name}"),
                false => format!("make {name}"),
            },
            Op::Write { inode, bytes, .. } => format!("write {} bytes to {}", bytes.len(), name(inode)),
            Op::Truncate { inode, length } => format!("cut {} to {length} bytes", name(inode)),
            Op::Rename { from, to, .. } => format!("rename {from} to {to}"),
            Op::Exchange { one, other, .. } => format!("exchange {} and {}", one.0, other.0),
            Op::Link { name: to, inode, .. } => format!("link {} to {to}", name(inode)),
            Op::Unlink { name, .. } => format!("unlink {name}"),
            Op::Flush { inode } => format!("flush {}", name(inode)),
        }
    }
}

struct Named<'a>(Inode, &'a InodeInfo);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1.is_directory {
            true => write!(f, "{}/", self.1.name),
            false => write!(f, "{} (#{})", self.1.name, self.0),
        }
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
    let mut digits = hex.split("\\x");
    if !digits.next()?.is_empty() {
        return None;
    }
    digits.map(|digits| u8::from_str_radix(digits, 16).ok()).collect()
}

fn unread(line: &str) -> Trouble {
    let start: String = line.chars().take(120).collect();
    format!("a line of the log is not understood: {start}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Call {
        parse(line).unwrap().pop().unwrap()
    }

    #[test]
    fn a_call_is_read_with_its_bytes_its_flags_and_its_result() {
        let call = one("17 openat(AT_FDCWD, \"\\x2f\\x61\", O_RDWR|O_CREAT|O_EXCL, 0600) = 3");
        assert_eq!(call.name, "openat");
        assert_eq!(call.result, Some(3));
        let word = |text: &str| Argument::Word(text.into());
        assert_eq!(
            call.arguments,
            [
                word("AT_FDCWD"),
                Argument::Bytes(b"/a".to_vec()),
                word("O_RDWR|O_CREAT|O_EXCL"),
                word("0600")
            ]
        );
    }

    #[test]
    fn a_failed_call_and_one_that_was_cut_off_have_no_result() {
        assert_eq!(
            one("17 fsync(3)    = -1 EIO (Input/output error) (INJECTED)").result,
            None
        );
        assert_eq!(one("17 fsync(3)                          = ?").result, None);
    }

    #[test]
    fn an_empty_string_and_a_structure_are_one_argument_each() {
        let call = one("17 x(\"\", {a=1, b=[2, 3]}, 4) = 0");
        assert_eq!(call.arguments[0], Argument::Bytes(Vec::new()));
        assert_eq!(call.arguments[1], Argument::Word("{a=1, b=[2, 3]}".into()));
        assert_eq!(call.arguments.len(), 3);
    }

    #[test]
    fn what_strace_has_cut_short_is_refused() {
        assert!(parse("17 write(3, \"\\x61\"..., 9) = 9").is_err());
        assert!(parse("17 fsync(3 <unfinished ...>").is_err());
    }

    #[test]
    fn a_second_thread_is_refused_and_signals_and_ends_are_passed_over() {
        assert!(parse("17 fsync(3) = 0\n18 fsync(3) = 0").is_err());
        let log = "17 fsync(3) = 0\n17 --- SIGTERM {si_signo=SIGTERM} ---\n17 +++ killed by SIGKILL +++";
        assert_eq!(parse(log).unwrap().len(), 1);
    }

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

    fn make(dir: Inode, name: &str, inode: Inode) -> Op {
        Op::Make {
            dir,
            name: name.into(),
            inode,
        }
    }

    #[test]
    fn paths_and_handles_lead_to_the_same_inodes() {
        let found = ops(&[
            r#"mkdir("/base/d", 0700) = 0"#,
            r#"openat(AT_FDCWD, "/base/d", O_RDONLY|O_DIRECTORY) = 3"#,
            r#"openat(3, ".t", O_RDWR|O_CREAT|O_EXCL, 0600) = 4"#,
            r#"write(4, "ab", 2) = 2"#,
            r#"write(4, "cde", 3) = 2"#,
            r#"pwrite64(4, "f", 1, 9) = 1"#,
            r#"fsync(4) = 0"#,
            r#"renameat2(3, ".t", 3, "t", RENAME_NOREPLACE) = 0"#,
            r#"openat(3, ".", O_RDONLY|O_DIRECTORY) = 5"#,
            r#"fsync(5) = 0"#,
            r#"unlink("/base/d/t") = 0"#,
        ]);
        let write = |offset, bytes: &[u8]| Op::Write {
            inode: 2,
            offset,
            bytes: bytes.into(),
        };
        let rename = Op::Rename {
            dir: 1,
            from: ".t".into(),
            to: "t".into(),
            inode: 2,
        };
        let unlink = Op::Unlink {
            dir: 1,
            name: "t".into(),
        };
        assert_eq!(
            found.unwrap(),
            [
                make(BASE, "d", 1),
                make(1, ".t", 2),
                write(0, b"ab"),
                // Only so much was written.
                write(2, b"cd"),
                write(9, b"f"),
                Op::Flush { inode: 2 },
                rename,
                Op::Flush { inode: 1 },
                unlink,
            ]
        );
    }

    #[test]
    fn what_failed_and_what_lies_elsewhere_is_passed_over() {
        let found = ops(&[
            r#"mkdirat(AT_FDCWD, "/base/d", 0700) = -1 ENOSPC (No space left on device)"#,
            r#"openat(AT_FDCWD, "/elsewhere", O_RDWR|O_CREAT, 0600) = 3"#,
            r#"write(3, "ab", 2) = 2"#,
            r#"writev(3, [{iov_base="a", iov_len=1}], 1) = 1"#,
            r#"rename("/elsewhere", "/other") = 0"#,
        ]);
        assert_eq!(found.unwrap(), []);
    }

    #[test]
    fn a_handle_that_was_closed_and_given_again_is_another_one() {
        let found = ops(&[
            r#"openat(AT_FDCWD, "/base/a", O_RDWR|O_CREAT|O_EXCL, 0600) = 3"#,
            r#"close(3) = 0"#,
            r#"fsync(3) = 0"#,
            r#"openat(AT_FDCWD, "/base", O_RDONLY) = 3"#,
            r#"fsync(3) = 0"#,
        ]);
        assert_eq!(found.unwrap(), [make(BASE, "a", 1), Op::Flush { inode: BASE }]);
    }

    #[test]
    fn what_touches_the_base_and_is_not_modelled_is_an_error() {
        let opened = r#"openat(AT_FDCWD, "/base/a", O_RDWR|O_CREAT|O_EXCL, 0600) = 3"#;
        for line in [
            r#"symlinkat("/x", AT_FDCWD, "/base/s") = 0"#,
            r#"writev(3, [{iov_base="a", iov_len=1}], 1) = 1"#,
            r#"openat(AT_FDCWD, "/base/a", O_WRONLY|O_TRUNC) = 4"#,
            r#"rename("/base/a", "/elsewhere") = 0"#,
        ] {
            assert!(ops(&[opened, line]).is_err(), "{line}");
        }
    }
}
