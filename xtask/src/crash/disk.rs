//! The disk: it holds a file's bytes once that file was flushed, and a directory's names once that directory was flushed.
//! All other changes are pending. A crash can leave every subset of the pending changes of each directory, each file that was
//! never flushed empty, new, half, or full of zeros, and any sectors of what was written to a file that was flushed before,
//! at any of its lengths.

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

/// A disk writes this many bytes whole or not at all.
const SECTOR: usize = 512;

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
    objects: BTreeMap<Inode, Object>,
    /// What a crash can leave of each, as far as that is known.
    choices: BTreeMap<Inode, Choices>,
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
            choices: BTreeMap::new(),
        }
    }

    /// Whether it has changed what a crash may leave.
    pub(super) fn apply(&mut self, op: &Op) -> bool {
        match op {
            Op::Mark(_) => return false,
            Op::Change(Change { dir: inode, .. })
            | Op::Write { inode, .. }
            | Op::Truncate { inode, .. }
            | Op::Flush { inode } => self.choices.remove(inode),
        };
        match op {
            Op::Mark(_) => {}
            Op::Change(change) => {
                if let Some(Object::Directory(directory)) = self.objects.get_mut(&change.dir) {
                    directory.pending.push(change.clone());
                }
            }
            Op::Write { inode, offset, bytes } => {
                if let Some(Object::File(file)) = self.objects.get_mut(inode) {
                    let end = offset + bytes.len();
                    if file.now.len() < end {
                        file.now = resized(&file.now, end);
                    }
                    file.now[*offset..end].copy_from_slice(bytes);
                }
            }
            Op::Truncate { inode, length } => {
                if let Some(Object::File(file)) = self.objects.get_mut(inode) {
                    file.now = resized(&file.now, *length);
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
    /// Up to so many unflushed sectors of a file every subset is tried.
    pub(super) sectors: u32,
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

pub(super) fn after_crash(disk: &mut Disk, bounds: Bounds, random: &mut TestRng) -> States {
    for (&inode, object) in &disk.objects {
        let known = disk.choices.entry(inode);
        known.or_insert_with(|| choices(object, bounds, random));
    }
    let choices: Vec<(Inode, &Choices)> = disk
        .choices
        .iter()
        .map(|(&inode, choices)| (inode, choices))
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
            .map(|((inode, choices), &choice)| (*inode, (*choices, choice)))
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
            let choices = of_file(file, bounds, random).into_iter();
            choices.map(|(blob, words)| (Part::Bytes(blob), words)).collect()
        }
    }
}

fn of_directory(directory: &Directory, bounds: Bounds, random: &mut TestRng) -> Vec<(Names, String)> {
    let count = directory.pending.len();
    let mut seen = HashSet::new();
    let mut choices = Vec::new();
    for survivors in subsets(count, bounds.changes, bounds.random, random) {
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

fn of_file(file: &File, bounds: Bounds, random: &mut TestRng) -> Vec<(Blob, String)> {
    let (old, new) = (&file.durable, &file.now);
    let mut forms = Vec::new();
    if old == new {
        forms.push((old.clone(), String::new()));
    } else if old.is_empty() {
        forms.extend([
            (old.clone(), "unflushed bytes lost".into()),
            (
                new[..new.len() / 2].into(),
                "half of the unflushed bytes kept".into(),
            ),
            (vec![0; new.len()], "unflushed bytes are zeros".into()),
            (new.clone(), "unflushed bytes kept".into()),
        ]);
    } else {
        let between = usize::midpoint(old.len(), new.len()).next_multiple_of(SECTOR);
        let between = between.min(old.len().max(new.len()));
        for length in [old.len(), between, new.len()] {
            forms.extend(torn(old, new, length, bounds, random));
        }
    }
    let mut choices: Vec<(Blob, String)> = Vec::new();
    for (bytes, words) in forms {
        let blob = Blob::new(&bytes);
        if choices.iter().all(|(other, _)| *other != blob) {
            choices.push((blob, words));
        }
    }
    choices
}

/// The same bytes, cut or with zeros behind them. `Vec::resize` takes long where nothing is optimised.
fn resized(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut resized = vec![0; length];
    let kept = bytes.len().min(length);
    resized[..kept].copy_from_slice(&bytes[..kept]);
    resized
}

/// A file of this length of which some of the sectors that differ are old and the others new.
fn torn(
    old: &[u8],
    new: &[u8],
    length: usize,
    bounds: Bounds,
    random: &mut TestRng,
) -> Vec<(Vec<u8>, String)> {
    let (old, new) = (resized(old, length), resized(new, length));
    let sectors = old.chunks(SECTOR).zip(new.chunks(SECTOR)).enumerate();
    let changed: Vec<usize> = sectors
        .filter(|(_, (old, new))| old != new)
        .map(|(at, _)| at * SECTOR)
        .collect();
    let mut forms = Vec::new();
    for written in subsets(changed.len(), bounds.sectors, bounds.random.min(20), random) {
        let mut bytes = old.clone();
        let mut words = format!("of {length} bytes, the unflushed sectors lost");
        for (&at, _) in changed.iter().zip(&written).filter(|(_, written)| **written) {
            let end = length.min(at + SECTOR);
            bytes[at..end].copy_from_slice(&new[at..end]);
            words = format!("{words} but the one at {at}");
        }
        forms.push((bytes, words));
    }
    forms
}

/// Which of `count` pending changes survive: all subsets, or those of at most two and all but at most two, and random ones.
fn subsets(count: usize, most: u32, more: usize, random: &mut TestRng) -> Vec<Vec<bool>> {
    if count <= most as usize {
        let bits = |set: u64| (0..count).map(|at| set >> at & 1 == 1).collect();
        return (0..1_u64 << count).map(bits).collect();
    }
    let sizes = vec![2; count];
    near_the_ends(&sizes, more, random)
        .into_iter()
        .map(|choices| choices.into_iter().map(|choice| choice == 1).collect())
        .collect()
}

fn combinations(choices: &[(Inode, &Choices)], bounds: Bounds, random: &mut TestRng) -> Vec<Vec<usize>> {
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
fn number(choices: &[(Inode, &Choices)]) -> Option<usize> {
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

    /// The same without temporary files.
    pub(super) fn without_leftovers(&self) -> Self {
        match self {
            Self::File(blob) => Self::File(blob.clone()),
            Self::Directory(entries) => {
                let stay = entries.iter().filter(|(name, _)| !name.starts_with('.'));
                Self::Directory(
                    stay.map(|(name, entry)| (name.clone(), entry.without_leftovers()))
                        .collect(),
                )
            }
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
                    file.write_all(without_zeros(&blob.bytes))?;
                    file.set_len(blob.bytes.len() as u64)?;
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
        bytes.len().hash(&mut hasher);
        without_zeros(bytes).hash(&mut hasher);
        Self {
            hash: hasher.finish(),
            bytes: bytes.into(),
        }
    }
}

/// The sectors up to the last one that holds something: a journal is mostly zeros.
fn without_zeros(bytes: &[u8]) -> &[u8] {
    let last = bytes
        .chunks(SECTOR)
        .rposition(|sector| *sector != [0; SECTOR][..sector.len()]);
    let end = last.map_or(0, |last| (last + 1) * SECTOR);
    &bytes[..end.min(bytes.len())]
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

    const BOUNDS: Bounds = Bounds {
        changes: 3,
        sectors: 3,
        combinations: 5,
        random: 20,
    };

    fn forms(durable: &[u8], now: &[u8]) -> Vec<Vec<u8>> {
        let file = File {
            durable: durable.into(),
            now: now.into(),
        };
        of_file(&file, BOUNDS, &mut crate::props::random(7))
            .into_iter()
            .map(|(blob, _)| blob.bytes.to_vec())
            .collect()
    }

    #[test]
    fn beyond_the_bounds_it_is_a_sample_near_the_ends() {
        let subsets = |count| subsets(count, 3, 20, &mut crate::props::random(7));
        let survivors = |set: &Vec<bool>| set.iter().filter(|survives| **survives).count();
        assert_eq!(subsets(5).iter().map(survivors).collect::<HashSet<_>>().len(), 6);
        assert_eq!(subsets(5), subsets(5));
        assert_eq!(subsets(3).len(), 8);
    }

    #[test]
    fn a_file_that_was_never_flushed_may_be_anything() {
        assert_eq!(forms(b"", b"abcd"), [&b""[..], b"ab", b"\0\0\0\0", b"abcd"]);
    }

    /// Sectors are written in any order, each whole or not at all, and the length is written when it likes.
    #[test]
    fn a_write_in_place_is_torn_between_sectors() {
        assert_eq!(forms(b"abcd", b"wxyz"), [b"abcd", b"wxyz"]);
        let old = [[0; SECTOR], [1; SECTOR], [0; SECTOR]].concat();
        let new = [[2; SECTOR], [1; SECTOR], [2; SECTOR]].concat();
        let torn = forms(&old, &new);
        assert_eq!(torn.len(), 4);
        assert!(torn.iter().all(|form| form[SECTOR..2 * SECTOR] == [1; SECTOR]));
        let longer = forms(&old[..SECTOR], &new[..2 * SECTOR]);
        assert_eq!(longer.first(), Some(&old[..SECTOR].to_vec()));
        assert_eq!(longer.last(), Some(&new[..2 * SECTOR].to_vec()));
        assert!(longer.contains(&[0; 2 * SECTOR].to_vec()));
    }
}
