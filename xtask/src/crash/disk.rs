//! The disk: it holds a file's bytes once that file was flushed, and a directory's names once that directory was flushed.
//! All other changes are pending. A crash can leave every subset of the pending changes of each directory, and each unflushed
//! file old, new, half, or full of zeros.

use super::trace::{BASE, Change, Inode, Op, Trace};
use crate::place::make_old;
use proptest::prelude::Rng as _;
use proptest::test_runner::TestRng;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

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

#[derive(Debug, Clone, Default)]
pub(super) struct File {
    pub(super) durable: Vec<u8>,
    pub(super) now: Vec<u8>,
}

pub(super) struct Disk {
    pub(super) objects: BTreeMap<Inode, Object>,
}

impl Disk {
    /// All that the trace will make, of which nothing has a name yet.
    pub(super) fn new(trace: &Trace) -> Self {
        let object = |is_directory| match is_directory {
            true => Object::Directory(Directory::default()),
            false => Object::File(File::default()),
        };
        let objects = trace.inodes.iter().map(|info| object(info.is_directory));
        Self {
            objects: objects.enumerate().collect(),
        }
    }

    /// Whether it has changed what a crash may leave.
    pub(super) fn apply(&mut self, op: &Op) -> bool {
        match op {
            Op::Mark(_) => return false,
            Op::Change(change) => {
                if let Some(Object::Directory(directory)) = self.objects.get_mut(&change.dir) {
                    directory.pending.push(change.clone());
                }
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

/// A directory tree after a crash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Tree {
    Directory(BTreeMap<String, Tree>),
    File(Blob),
}

/// A file's bytes, which are hashed once.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    hash: u64,
    bytes: Rc<[u8]>,
}

/// One state, and the pending changes that survived, in words.
#[derive(Debug)]
pub(super) struct State {
    pub(super) tree: Tree,
    pub(super) survived: String,
}

/// How many states are tried one by one; beyond these bounds, chance chooses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Up to so many pending changes of a directory every subset is tried.
    pub(super) changes: u32,
    /// Up to so many combinations of directories and files every one is tried.
    pub(super) combinations: usize,
    /// Random ones beyond that.
    pub(super) random: usize,
}

/// The distinct states that a crash at one moment can leave.
#[derive(Debug)]
pub(super) struct States {
    pub(super) states: Vec<State>,
    /// Whether there were too many for all.
    pub(super) is_sample: bool,
}

pub(super) fn after_crash(disk: &Disk, bounds: Bounds, random: &mut TestRng) -> States {
    let choices: Vec<(Inode, Choices)> = disk
        .objects
        .iter()
        .map(|(&inode, object)| (inode, choices(object, bounds, random)))
        .collect();
    let has_many_changes = |object: &Object| match object {
        Object::Directory(directory) => directory.pending.len() > bounds.changes as usize,
        Object::File(_) => false,
    };
    let is_sample = disk.objects.values().any(has_many_changes)
        || number(&choices).is_none_or(|number| number > bounds.combinations);
    let mut seen = HashSet::new();
    let mut states = Vec::new();
    for combination in combinations(&choices, bounds, random) {
        let chosen: HashMap<Inode, (&Choices, usize)> = choices
            .iter()
            .zip(&combination)
            .map(|((inode, choices), &choice)| (*inode, (choices, choice)))
            .collect();
        let tree = tree(BASE, &chosen);
        if seen.insert(tree.clone()) {
            let words = choices
                .iter()
                .zip(&combination)
                .map(|((_, choices), &choice)| choices[choice].1.as_str());
            states.push(State {
                tree,
                survived: words
                    .filter(|words| !words.is_empty())
                    .collect::<Vec<_>>()
                    .join("; "),
            });
        }
    }
    States { states, is_sample }
}

/// The tree when everything has reached the disk: what is seen without a crash.
pub(super) fn without_crash(disk: &Disk) -> Tree {
    fn grow(inode: Inode, disk: &Disk) -> Tree {
        match &disk.objects[&inode] {
            Object::File(file) => Tree::File(Blob::new(&file.now)),
            Object::Directory(directory) => Tree::Directory(
                directory
                    .after(|_| true)
                    .into_iter()
                    .map(|(name, inode)| (name, grow(inode, disk)))
                    .collect(),
            ),
        }
    }
    grow(BASE, disk)
}

/// The forms that a crash can leave of one file or directory, and what survived, in words. In the first form nothing pending
/// survived, in the last everything did.
type Choices = Vec<(Part, String)>;

enum Part {
    Names(Names),
    Bytes(Blob),
}

fn choices(object: &Object, bounds: Bounds, random: &mut TestRng) -> Choices {
    match object {
        Object::Directory(directory) => {
            let choices = of_directory(directory, bounds, random).into_iter();
            choices
                .map(|(names, words)| (Part::Names(names), words))
                .collect()
        }
        Object::File(file) => {
            let choices = of_file(file).into_iter();
            choices.map(|(blob, words)| (Part::Bytes(blob), words)).collect()
        }
    }
}

fn of_directory(directory: &Directory, bounds: Bounds, random: &mut TestRng) -> Vec<(Names, String)> {
    let count = directory.pending.len();
    let mut seen = HashSet::new();
    let mut choices = Vec::new();
    for survivors in subsets(count, bounds, random) {
        let names = directory.after(|at| survivors[at]);
        if seen.insert(names.clone()) {
            let words: Vec<String> = directory
                .pending
                .iter()
                .zip(&survivors)
                .map(|(change, survived)| match survived {
                    true => format!("kept: {change}"),
                    false => format!("lost: {change}"),
                })
                .collect();
            choices.push((names, words.join("; ")));
        }
    }
    let all = directory.after(|_| true);
    if let Some(last) = choices.iter().position(|(names, _)| *names == all) {
        let end = choices.len() - 1;
        // The first stays the first when all that is pending comes to nothing.
        if last != 0 {
            choices.swap(last, end);
        }
    }
    choices
}

fn of_file(file: &File) -> Vec<(Blob, String)> {
    let (old, new) = (&file.durable, &file.now);
    if old == new {
        return vec![(Blob::new(old), String::new())];
    }
    let mut half = new[..usize::midpoint(old.len().min(new.len()), new.len())].to_vec();
    let mut zeros = vec![0; new.len()];
    if old.len() == new.len() {
        // Written over in place: the length does not change, so one half is new and the other old.
        half.truncate(new.len() / 2);
        half.extend_from_slice(&old[new.len() / 2..]);
    } else if new.starts_with(old) {
        zeros[..old.len()].copy_from_slice(old);
    }
    let mut choices: Vec<(Blob, String)> = Vec::new();
    for (bytes, words) in [
        (old, "unflushed bytes lost"),
        (&half, "half of the unflushed bytes kept"),
        (&zeros, "unflushed bytes are zeros"),
        (new, "unflushed bytes kept"),
    ] {
        let blob = Blob::new(bytes);
        if choices.iter().all(|(other, _)| *other != blob) {
            choices.push((blob, words.into()));
        }
    }
    choices
}

/// Which of `count` pending changes survive: all subsets, or those of at most two and all but at most two, and random ones.
fn subsets(count: usize, bounds: Bounds, random: &mut TestRng) -> Vec<Vec<bool>> {
    if count <= bounds.changes as usize {
        let bits = |set: u64| (0..count).map(|at| set >> at & 1 == 1).collect();
        return (0..1_u64 << count).map(bits).collect();
    }
    let sizes = vec![2; count];
    near_the_ends(&sizes, bounds.random, random)
        .into_iter()
        .map(|choices| choices.into_iter().map(|choice| choice == 1).collect())
        .collect()
}

fn combinations(choices: &[(Inode, Choices)], bounds: Bounds, random: &mut TestRng) -> Vec<Vec<usize>> {
    let sizes: Vec<usize> = choices.iter().map(|(_, choices)| choices.len()).collect();
    match number(choices) {
        Some(total) if total <= bounds.combinations => (0..total)
            .map(|mut number| {
                let mut digit = |&size: &usize| {
                    let digit = number % size;
                    number /= size;
                    digit
                };
                sizes.iter().map(&mut digit).collect()
            })
            .collect(),
        _ => near_the_ends(&sizes, bounds.random, random),
    }
}

/// How many combinations there are; `None` for more than can be counted.
fn number(choices: &[(Inode, Choices)]) -> Option<usize> {
    choices
        .iter()
        .try_fold(1_usize, |total, (_, choices)| total.checked_mul(choices.len()))
}

/// Nothing survived but at most two things, everything did but at most two, and random ones.
fn near_the_ends(sizes: &[usize], count: usize, random: &mut TestRng) -> Vec<Vec<usize>> {
    let mut found = Vec::new();
    let nothing: Vec<usize> = vec![0; sizes.len()];
    let everything: Vec<usize> = sizes.iter().map(|size| size - 1).collect();
    for end in [nothing, everything] {
        found.push(end.clone());
        for first in 0..sizes.len() {
            for choice in 0..sizes[first] {
                let mut one = end.clone();
                one[first] = choice;
                found.push(one.clone());
                for second in first + 1..sizes.len() {
                    for choice in 0..sizes[second] {
                        let mut two = one.clone();
                        two[second] = choice;
                        found.push(two);
                    }
                }
            }
        }
    }
    for _ in 0..count {
        found.push(
            sizes
                .iter()
                .map(|&size| random.next_u32() as usize % size)
                .collect(),
        );
    }
    found
}

fn tree(inode: Inode, chosen: &HashMap<Inode, (&Choices, usize)>) -> Tree {
    let (choices, choice) = chosen[&inode];
    match &choices[choice].0 {
        Part::Bytes(blob) => Tree::File(blob.clone()),
        Part::Names(names) => {
            let grow = |(name, &inode): (&String, &Inode)| (name.clone(), tree(inode, chosen));
            Tree::Directory(names.iter().map(grow).collect())
        }
    }
}

impl Tree {
    /// What lies at a path of names.
    pub(super) fn at(&self, names: &[&str]) -> Option<&Self> {
        match (names, self) {
            ([], _) => Some(self),
            ([name, rest @ ..], Self::Directory(entries)) => entries.get(*name)?.at(rest),
            _ => None,
        }
    }

    /// The length of a file.
    pub(super) fn bytes(&self) -> Option<usize> {
        match self {
            Self::File(blob) => Some(blob.bytes.len()),
            Self::Directory(_) => None,
        }
    }

    /// Makes it on a real filesystem, in a directory that exists. Its files are old enough to be cleaned away.
    pub(super) fn make(&self, path: &Path) -> io::Result<()> {
        self.make_or_link(path, &mut HashMap::new())
    }

    /// Two names of one file share its bytes in memory.
    fn make_or_link(&self, path: &Path, made: &mut HashMap<*const u8, PathBuf>) -> io::Result<()> {
        match self {
            Self::File(blob) => match made.get(&blob.bytes.as_ptr()) {
                Some(first) => fs::hard_link(first, path),
                None => {
                    made.insert(blob.bytes.as_ptr(), path.into());
                    let mut file = fs::File::create(path)?;
                    file.write_all(&blob.bytes)?;
                    make_old(&file)
                }
            },
            Self::Directory(entries) => {
                if !path.exists() {
                    fs::create_dir(path)?;
                }
                entries
                    .iter()
                    .try_for_each(|(name, entry)| entry.make_or_link(&path.join(name), made))
            }
        }
    }

    /// Reads it from a real filesystem.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        if path.is_file() {
            return Ok(Self::File(Blob::new(&fs::read(path)?)));
        }
        let mut entries = BTreeMap::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            entries.insert(name, Self::read(&entry.path())?);
        }
        Ok(Self::Directory(entries))
    }
}

impl Blob {
    fn new(bytes: &[u8]) -> Self {
        let mut hasher = std::hash::DefaultHasher::new();
        bytes.hash(&mut hasher);
        Self {
            hash: hasher.finish(),
            bytes: bytes.into(),
        }
    }
}

impl PartialEq for Blob {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && (Rc::ptr_eq(&self.bytes, &other.bytes) || self.bytes == other.bytes)
    }
}

impl Eq for Blob {}

impl Hash for Blob {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_bounds_it_is_a_sample_near_the_ends() {
        let bounds = Bounds {
            changes: 3,
            combinations: 5,
            random: 20,
        };
        let sets = subsets(5, bounds, &mut crate::props::random(7));
        let survivors = |set: &Vec<bool>| set.iter().filter(|survives| **survives).count();
        assert_eq!(sets.iter().map(survivors).collect::<HashSet<_>>().len(), 6);
        assert_eq!(sets, subsets(5, bounds, &mut crate::props::random(7)));
        assert_eq!(subsets(3, bounds, &mut crate::props::random(7)).len(), 8);
    }

    #[test]
    fn an_unflushed_write_in_place_changes_no_length() {
        let forms = |durable: &[u8], now: &[u8]| -> Vec<Vec<u8>> {
            let file = File {
                durable: durable.into(),
                now: now.into(),
            };
            of_file(&file)
                .into_iter()
                .map(|(blob, _)| blob.bytes.to_vec())
                .collect()
        };
        assert_eq!(forms(b"", b"abcd"), [&b""[..], b"ab", b"\0\0\0\0", b"abcd"]);
        assert_eq!(forms(b"abcd", b"wxyz"), [b"abcd", b"wxcd", b"\0\0\0\0", b"wxyz"]);
        assert!(forms(b"abcd", b"").contains(&Vec::new()));
    }
}
