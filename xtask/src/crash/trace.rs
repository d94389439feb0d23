//! A log turned into what it does to files and directories: handles and paths become inodes.

use super::log::{Argument, Call};
use super::mark::Mark;
use std::collections::BTreeMap;
use std::error::Error;
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
    pub(super) fn run(&mut self, process: &mut Process, calls: &[Call]) -> Result<(), Box<dyn Error>> {
        self.trace.ops.push(Op::Mark(Mark::Runs(process.number)));
        for call in calls {
            self.call(call, &mut process.handles)
                .map_err(|problem| format!("{}: {problem}", call.name))?;
        }
        Ok(())
    }

    /// Adds all that a process did.
    pub(super) fn run_to_its_end(&mut self, calls: &[Call]) -> Result<(), Box<dyn Error>> {
        let mut process = self.start();
        self.run(&mut process, calls)?;
        self.end();
        Ok(())
    }

    /// Adds the end of the process that has run last.
    pub(super) fn end(&mut self) {
        self.trace.ops.push(Op::Mark(Mark::Ended));
    }

    fn call(&mut self, call: &Call, handles: &mut Handles) -> Result<(), Box<dyn Error>> {
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

    fn mark(&mut self, call: &Call, at: usize) -> Result<(), Box<dyn Error>> {
        self.trace.ops.extend(Mark::read(bytes(call, at)?).map(Op::Mark));
        Ok(())
    }

    /// The directory and the name of a path argument; the handle that it is relative to stands before it. `None` for
    /// what lies outside the base, and for arguments that are no paths.
    fn place(
        &self,
        handles: &Handles,
        call: &Call,
        at: usize,
    ) -> Result<Option<(Inode, String)>, Box<dyn Error>> {
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
    ) -> Result<(), Box<dyn Error>> {
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

    fn make(&mut self, place: Option<(Inode, String)>, is_directory: bool) -> Result<(), Box<dyn Error>> {
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

    fn rename(
        &mut self,
        from: Option<(Inode, String)>,
        to: Option<(Inode, String)>,
    ) -> Result<(), Box<dyn Error>> {
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

    fn link(
        &mut self,
        from: Option<(Inode, String)>,
        to: Option<(Inode, String)>,
    ) -> Result<(), Box<dyn Error>> {
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

    fn unlink(&mut self, place: Option<(Inode, String)>) -> Result<(), Box<dyn Error>> {
        let Some(place) = place else {
            return Ok(());
        };
        self.inode_at(&place)?;
        self.names.remove(&place);
        let (dir, name) = place;
        self.trace.ops.push(Op::Unlink { dir, name });
        Ok(())
    }

    fn inode_at(&self, place: &(Inode, String)) -> Result<Inode, Box<dyn Error>> {
        match self.names.get(place) {
            Some(&inode) => Ok(inode),
            None => Err(format!("the model has no {}", place.1).into()),
        }
    }
}

impl Handles {
    fn inode(&self, call: &Call) -> Result<Option<Inode>, Box<dyn Error>> {
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
            Op::Mark(mark) => mark.to_string(),
            Op::Make { name, inode, .. } => match self.inodes[*inode].is_directory {
                true => format!("make the directory {name}"),
                false => format!("make {name}"),
            },
            Op::Write { inode, bytes, .. } => format!("write {} bytes to {}", bytes.len(), name(inode)),
            Op::Truncate { inode, length } => format!("cut {} to {length} bytes", name(inode)),
            Op::Rename { from, to, .. } => format!("rename {from} to {to}"),
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

fn number(call: &Call, at: usize) -> Result<u64, Box<dyn Error>> {
    Ok(word(call, at)?.parse()?)
}

fn word(call: &Call, at: usize) -> Result<&str, Box<dyn Error>> {
    match call.arguments.get(at) {
        Some(Argument::Word(word)) => Ok(word),
        _ => Err(format!("argument {at} is no word").into()),
    }
}

fn bytes(call: &Call, at: usize) -> Result<&[u8], Box<dyn Error>> {
    match call.arguments.get(at) {
        Some(Argument::Bytes(bytes)) => Ok(bytes),
        _ => Err(format!("argument {at} is no string").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::log;

    /// The operations of one process whose log is this, with strings in clear.
    fn ops(lines: &[&str]) -> Result<Vec<Op>, Box<dyn Error>> {
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
        tracer.run(&mut process, &log::parse(&log)?)?;
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
