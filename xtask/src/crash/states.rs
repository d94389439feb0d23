//! What a crash can leave of a disk: every subset of the pending changes of each directory, with each unflushed file
//! old, new, half, or full of zeros.

use super::disk::{Directory, Disk, File, Names, Object};
use super::trace::{BASE, Inode};
use proptest::prelude::Rng as _;
use proptest::test_runner::TestRng;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

/// A temporary is litter after an hour.
const AGE: Duration = Duration::from_secs(2 * 3600);

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

/// One state, and in words what survived of what was pending.
#[derive(Debug)]
pub(super) struct State {
    pub(super) tree: Tree,
    pub(super) survived: String,
}

/// How much is enumerated before chance decides.
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

pub(super) fn after_crash(disk: &Disk<'_>, bounds: Bounds, random: &mut TestRng) -> States {
    let choices: Vec<(Inode, Choices)> = disk
        .objects
        .iter()
        .map(|(&inode, object)| (inode, Choices::of(object, bounds, random)))
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
                .filter_map(|((_, choices), &choice)| choices.words(choice));
            states.push(State {
                tree,
                survived: words.collect::<Vec<_>>().join("; "),
            });
        }
    }
    States { states, is_sample }
}

/// The tree when everything has reached the disk: what is seen without a crash.
pub(super) fn without_crash(disk: &Disk<'_>) -> Tree {
    fn grow(inode: Inode, disk: &Disk<'_>) -> Tree {
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

/// What can be left of one file or directory. The first choice is that nothing pending survived, the last that all did.
enum Choices {
    Names(Vec<(Names, String)>),
    Bytes(Vec<(Blob, String)>),
}

impl Choices {
    fn of(object: &Object, bounds: Bounds, random: &mut TestRng) -> Self {
        match object {
            Object::Directory(directory) => Self::Names(of_directory(directory, bounds, random)),
            Object::File(file) => Self::Bytes(of_file(file)),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Names(choices) => choices.len(),
            Self::Bytes(choices) => choices.len(),
        }
    }

    fn words(&self, choice: usize) -> Option<&str> {
        let words = match self {
            Self::Names(choices) => &choices[choice].1,
            Self::Bytes(choices) => &choices[choice].1,
        };
        Some(words.as_str()).filter(|words| !words.is_empty())
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
                    true => format!("kept: {}", change.words),
                    false => format!("lost: {}", change.words),
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
    match chosen[&inode] {
        (Choices::Bytes(choices), choice) => Tree::File(choices[choice].0.clone()),
        (Choices::Names(choices), choice) => {
            let names = &choices[choice].0;
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
                    age(&file)
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

/// Makes a file old enough to be cleaned away, if it is litter.
pub(super) fn age(file: &fs::File) -> io::Result<()> {
    let now = file.metadata()?.modified()?;
    file.set_modified(now - AGE)
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
    use crate::crash::trace::{InodeInfo, Op, Trace};
    use proptest::test_runner::RngAlgorithm;

    const ALL: Bounds = Bounds {
        changes: 12,
        combinations: 10_000,
        random: 20,
    };

    fn random() -> TestRng {
        TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32])
    }

    fn file(durable: &[u8], now: &[u8]) -> Vec<Vec<u8>> {
        let file = File {
            durable: durable.into(),
            now: now.into(),
        };
        of_file(&file)
            .into_iter()
            .map(|(blob, _)| blob.bytes.to_vec())
            .collect()
    }

    #[test]
    fn an_unflushed_new_file_is_empty_half_zeros_or_full() {
        assert_eq!(file(b"", b"abcd"), [&b""[..], b"ab", b"\0\0\0\0", b"abcd"]);
        assert_eq!(file(b"abcd", b"abcd"), [b"abcd"]);
    }

    #[test]
    fn an_unflushed_write_in_place_changes_no_length() {
        assert_eq!(file(b"abcd", b"wxyz"), [b"abcd", b"wxcd", b"\0\0\0\0", b"wxyz"]);
    }

    #[test]
    fn a_file_that_was_cut_and_not_flushed_may_be_empty() {
        assert!(file(b"abcd", b"").contains(&Vec::new()));
    }

    #[test]
    fn a_crash_leaves_every_combination_of_names_and_bytes_once() {
        let info = |name: &str, is_directory| InodeInfo {
            name: name.into(),
            is_directory,
        };
        let make = |dir, name: &str, inode| Op::Make {
            dir,
            name: name.into(),
            inode,
        };
        let trace = Trace {
            ops: vec![
                make(BASE, "d", 1),
                make(1, "f", 2),
                Op::Write {
                    inode: 2,
                    offset: 0,
                    bytes: b"abcd".to_vec(),
                },
            ],
            inodes: vec![info("base", true), info("d", true), info("f", false)],
        };
        let mut disk = Disk::new(&trace);
        for op in &trace.ops {
            disk.apply(op);
        }
        // No directory; an empty one; one with the file in four forms.
        let all = after_crash(&disk, ALL, &mut random());
        assert_eq!((all.states.len(), all.is_sample), (6, false));
        let few = Bounds {
            combinations: 5,
            ..ALL
        };
        assert!(after_crash(&disk, few, &mut random()).is_sample);
    }

    #[test]
    fn beyond_the_bound_the_ends_are_tried_and_the_seed_decides_on_the_rest() {
        let few = Bounds { changes: 3, ..ALL };
        let sets = subsets(5, few, &mut random());
        let sizes: HashSet<usize> = sets
            .iter()
            .map(|set| set.iter().filter(|survives| **survives).count())
            .collect();
        assert!([0, 1, 2, 3, 4, 5].iter().all(|size| sizes.contains(size)));
        assert_eq!(sets, subsets(5, few, &mut random()));
        assert_eq!(subsets(3, few, &mut random()).len(), 8);
    }
}
