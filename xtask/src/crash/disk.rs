//! What a disk is promised to hold: a file's bytes once that file was flushed, a directory's names once that directory
//! was flushed. All else is pending.

use super::trace::{BASE, Inode, Op, Trace};
use std::collections::BTreeMap;

/// The names in a directory.
pub(super) type Names = BTreeMap<String, Inode>;

#[derive(Debug, Clone)]
pub(super) enum Object {
    Directory(Directory),
    File(File),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Directory {
    pub(super) durable: Names,
    pub(super) pending: Vec<Change>,
}

/// One operation on a directory: it survives a crash as a whole or not at all.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) words: String,
    names: Vec<(String, Option<Inode>)>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct File {
    pub(super) durable: Vec<u8>,
    pub(super) now: Vec<u8>,
}

pub(super) struct Disk<'a> {
    trace: &'a Trace,
    /// Those that were made so far, by number.
    pub(super) objects: BTreeMap<Inode, Object>,
}

impl<'a> Disk<'a> {
    pub(super) fn new(trace: &'a Trace) -> Self {
        let base = Object::Directory(Directory::default());
        Self {
            trace,
            objects: BTreeMap::from([(BASE, base)]),
        }
    }

    /// Whether it has changed what a crash may leave.
    pub(super) fn apply(&mut self, op: &Op) -> bool {
        let words = || self.trace.describe(op);
        match op {
            Op::Mark(_) => return false,
            Op::Make { dir, name, inode } => {
                let words = words();
                let object = match self.trace.inodes[*inode].is_directory {
                    true => Object::Directory(Directory::default()),
                    false => Object::File(File::default()),
                };
                self.objects.insert(*inode, object);
                self.change(*dir, words, vec![(name.clone(), Some(*inode))]);
            }
            Op::Link { dir, name, inode } => {
                let words = words();
                self.change(*dir, words, vec![(name.clone(), Some(*inode))]);
            }
            Op::Rename { dir, from, to, inode } => {
                let words = words();
                self.change(
                    *dir,
                    words,
                    vec![(from.clone(), None), (to.clone(), Some(*inode))],
                );
            }
            Op::Unlink { dir, name } => {
                let words = words();
                self.change(*dir, words, vec![(name.clone(), None)]);
            }
            Op::Write { inode, offset, bytes } => {
                if let Some(Object::File(file)) = self.objects.get_mut(inode) {
                    let end = offset + bytes.len();
                    if file.now.len() < end {
                        file.now.resize(end, 0);
                    }
                    file.now[*offset..end].copy_from_slice(bytes);
                }
            }
            Op::Truncate { inode, length } => {
                if let Some(Object::File(file)) = self.objects.get_mut(inode) {
                    file.now.resize(*length, 0);
                }
            }
            Op::Flush { inode } => match self.objects.get_mut(inode) {
                Some(Object::File(file)) => file.durable.clone_from(&file.now),
                Some(Object::Directory(directory)) => directory.flush(),
                None => {}
            },
        }
        true
    }

    fn change(&mut self, dir: Inode, words: String, names: Vec<(String, Option<Inode>)>) {
        if let Some(Object::Directory(directory)) = self.objects.get_mut(&dir) {
            directory.pending.push(Change { words, names });
        }
    }
}

impl Directory {
    /// The names once the pending changes that `survive`s says have reached the disk.
    pub(super) fn after(&self, survives: impl Fn(usize) -> bool) -> Names {
        let mut names = self.durable.clone();
        for (_, change) in self.pending.iter().enumerate().filter(|(at, _)| survives(*at)) {
            for (name, inode) in &change.names {
                match inode {
                    Some(inode) => names.insert(name.clone(), *inode),
                    None => names.remove(name),
                };
            }
        }
        names
    }

    fn flush(&mut self) {
        self.durable = self.after(|_| true);
        self.pending.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::trace::InodeInfo;

    fn trace(ops: Vec<Op>) -> Trace {
        let info = |name: &str, is_directory| InodeInfo {
            name: name.into(),
            is_directory,
        };
        Trace {
            ops,
            inodes: vec![info("base", true), info("a", false)],
        }
    }

    fn make() -> Op {
        Op::Make {
            dir: BASE,
            name: "a".into(),
            inode: 1,
        }
    }

    fn write(bytes: &[u8]) -> Op {
        Op::Write {
            inode: 1,
            offset: 0,
            bytes: bytes.into(),
        }
    }

    fn run(trace: &Trace) -> (Directory, File) {
        let mut disk = Disk::new(trace);
        for op in &trace.ops {
            disk.apply(op);
        }
        match (&disk.objects[&BASE], &disk.objects[&1]) {
            (Object::Directory(directory), Object::File(file)) => (directory.clone(), file.clone()),
            _ => panic!("a directory and a file"),
        }
    }

    #[test]
    fn flushing_a_file_makes_its_bytes_durable_and_not_its_name() {
        let (directory, file) = run(&trace(vec![
            make(),
            write(b"x"),
            Op::Flush { inode: 1 },
            write(b"yz"),
        ]));
        assert_eq!((file.durable, file.now), (b"x".to_vec(), b"yz".to_vec()));
        assert!(directory.durable.is_empty());
        assert_eq!(directory.pending.len(), 1);
    }

    #[test]
    fn flushing_a_directory_makes_its_names_durable_and_not_the_bytes() {
        let (directory, file) = run(&trace(vec![make(), write(b"x"), Op::Flush { inode: BASE }]));
        assert!(file.durable.is_empty());
        assert_eq!(directory.durable, Names::from([("a".into(), 1)]));
        assert!(directory.pending.is_empty());
    }

    #[test]
    fn a_rename_is_one_change_and_survives_without_the_change_before_it() {
        let rename = Op::Rename {
            dir: BASE,
            from: "a".into(),
            to: "b".into(),
            inode: 1,
        };
        let (directory, _) = run(&trace(vec![make(), rename]));
        assert_eq!(directory.after(|at| at == 0), Names::from([("a".into(), 1)]));
        assert_eq!(directory.after(|at| at == 1), Names::from([("b".into(), 1)]));
        assert_eq!(directory.after(|_| true), Names::from([("b".into(), 1)]));
    }
}
