use super::entry::Entry;
use super::member::Member;
use crate::json::{Problem, Reader, Writer};
use hashbrown::{DefaultHashBuilder, HashTable, hash_table};
use std::hash::BuildHasher;
use std::sync::Arc;

/// The entries in the order of the document, found by address. Each operation takes constant time, amortised. A clone shares
/// the entries.
#[derive(Clone, Default)]
pub(super) struct Entries {
    /// A removed entry leaves its slot empty, so that the others keep theirs. At most half of the slots are empty.
    slots: Vec<Option<Arc<Entry>>>,
    /// The slot of each entry, by the hash of its address.
    index: HashTable<usize>,
    hasher: DefaultHashBuilder,
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().flatten().map(|entry| &**entry)
    }

    pub(super) fn find(&self, address: &str) -> Option<&Arc<Entry>> {
        let hash = self.hasher.hash_one(address);
        let slot = self.index.find(hash, |slot| is_at(&self.slots, *slot, address))?;
        self.slots[*slot].as_ref()
    }

    /// Replaces the entry with the same address, or adds the entry at the end.
    pub(super) fn upsert(&mut self, entry: Entry) -> Option<Entry> {
        let end = self.slots.len();
        match self.place(&entry.address) {
            hash_table::Entry::Occupied(place) => {
                let slot = *place.get();
                self.slots[slot]
                    .replace(Arc::new(entry))
                    .map(Arc::unwrap_or_clone)
            }
            hash_table::Entry::Vacant(place) => {
                place.insert(end);
                self.slots.push(Some(Arc::new(entry)));
                None
            }
        }
    }

    pub(super) fn remove(&mut self, address: &str) -> Option<Entry> {
        let hash_table::Entry::Occupied(place) = self.place(address) else {
            return None;
        };
        let (slot, _) = place.remove();
        let removed = self.slots[slot].take();
        if self.slots.len() > 2 * self.index.len() {
            self.close_gaps();
        }
        removed.map(Arc::unwrap_or_clone)
    }

    /// Entries from a document; the error holds the positions, from 0, of two entries with the same address.
    fn from_slots(slots: Vec<Option<Arc<Entry>>>) -> Result<Self, (usize, usize)> {
        let mut entries = Self {
            index: HashTable::with_capacity(slots.len()),
            slots,
            hasher: DefaultHashBuilder::default(),
        };
        match entries.fill_index() {
            Some(positions) => Err(positions),
            None => Ok(entries),
        }
    }

    fn close_gaps(&mut self) {
        self.slots.retain(Option::is_some);
        self.index.clear();
        self.fill_index();
    }

    /// Indexes every slot; stops at the first repeated address.
    fn fill_index(&mut self) -> Option<(usize, usize)> {
        let Self { slots, index, hasher } = self;
        for (slot, entry) in slots.iter().enumerate() {
            let Some(entry) = entry else { continue };
            match place(slots, index, hasher, &entry.address) {
                hash_table::Entry::Occupied(earlier) => return Some((*earlier.get(), slot)),
                hash_table::Entry::Vacant(place) => place.insert(slot),
            };
        }
        None
    }

    fn place(&mut self, address: &str) -> hash_table::Entry<'_, usize> {
        place(&self.slots, &mut self.index, &self.hasher, address)
    }
}

fn place<'a>(
    slots: &[Option<Arc<Entry>>],
    index: &'a mut HashTable<usize>,
    hasher: &DefaultHashBuilder,
    address: &str,
) -> hash_table::Entry<'a, usize> {
    index.entry(
        hasher.hash_one(address),
        |slot| is_at(slots, *slot, address),
        |slot| hasher.hash_one(slots[*slot].as_ref().map_or("", |entry| entry.address.as_str())),
    )
}

fn is_at(slots: &[Option<Arc<Entry>>], slot: usize, address: &str) -> bool {
    slots[slot].as_ref().is_some_and(|entry| entry.address == address)
}

impl Member for Entries {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Problem> {
        let mut slots = Vec::new();
        reader.open(b'[', "a list of entries")?;
        let mut is_first = true;
        while reader.next_element(&mut is_first)? {
            match Entry::read_checked(reader) {
                Ok(entry) => slots.push(Some(Arc::new(entry))),
                Err(problem) => return Err(problem.within(format_args!("entry {}", slots.len() + 1))),
            }
        }
        Self::from_slots(slots).map_err(|(first, second)| {
            let (first, second) = (first + 1, second + 1);
            reader.problem(&format!("entry {second}: address is that of entry {first}"))
        })
    }

    fn write(&self, out: &mut Writer) {
        out.open('[');
        for entry in self.iter() {
            out.element();
            entry.write(out);
        }
        out.close(']');
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn check(&self) -> Result<(), String> {
        (1..).zip(self.iter()).try_for_each(|(position, entry)| {
            entry
                .check()
                .map_err(|message| format!("entry {position}: {message}"))
        })
    }

    fn length(&self) -> usize {
        self.iter().map(|entry| entry.length() + 1).sum::<usize>() + 2
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Binding, Category, EntryKind};
    use proptest::prelude::*;

    fn entry(address: &str, version: i64) -> Entry {
        let binding = Binding::new("aws", "vpc");
        let mut entry = Entry::new(address, EntryKind::Leaf, Category::Resource, binding);
        entry.schema_version = Some(version);
        entry
    }

    fn numbered(count: usize) -> Entries {
        let mut entries = Entries::default();
        for number in 0..count {
            entries.upsert(entry(&format!("r{number}"), 0));
        }
        entries
    }

    #[test]
    fn an_entry_that_is_replaced_keeps_its_place_and_is_handed_back() {
        let mut entries = numbered(3);
        let replaced = entries.upsert(entry("r1", 7)).unwrap();
        assert_eq!(replaced.schema_version, Some(0));
        let addresses: Vec<_> = entries.iter().map(|entry| entry.address.as_str()).collect();
        assert_eq!(addresses, ["r0", "r1", "r2"]);
        assert_eq!(entries.find("r1").unwrap().schema_version, Some(7));
    }

    #[test]
    fn removing_one_by_one_seldom_closes_gaps() {
        const COUNT: usize = 16_384;
        for backwards in [true, false] {
            let mut entries = numbered(COUNT);
            let mut closed = 0;
            for step in 0..COUNT {
                let number = if backwards { COUNT - 1 - step } else { step };
                let before = entries.slots.len();
                assert!(entries.remove(&format!("r{number}")).is_some());
                closed += usize::from(entries.slots.len() < before);
                assert!(entries.slots.len() <= 2 * entries.len());
            }
            assert!(closed <= 15, "{closed}");
            assert_eq!(entries.len(), 0);
        }
    }

    #[test]
    fn what_comes_and_goes_leaves_no_slots_behind() {
        let mut entries = numbered(10);
        for round in 0..10_000 {
            entries.upsert(entry("passing", round));
            entries.remove("passing");
        }
        assert!(entries.slots.len() <= 20);
    }

    #[test]
    fn a_removed_address_is_gone_and_may_come_back_at_the_end() {
        let mut entries = numbered(5);
        assert!(entries.remove("r1").is_some());
        assert!(entries.remove("r1").is_none());
        assert!(entries.find("r1").is_none());
        assert!(entries.upsert(entry("r1", 1)).is_none());
        let addresses: Vec<_> = entries.iter().map(|entry| entry.address.as_str()).collect();
        assert_eq!(addresses, ["r0", "r2", "r3", "r4", "r1"]);
    }

    #[test]
    fn equality_looks_at_the_entries_and_not_at_the_gaps() {
        let mut with_gap = numbered(4);
        with_gap.remove("r3");
        assert!(with_gap == numbered(3));
        with_gap.upsert(entry("r0", 1));
        assert!(with_gap != numbered(3));
        assert!(numbered(2) != numbered(3));
    }

    proptest! {
        #[test]
        fn entries_behave_like_a_list_that_is_searched_from_the_front(
            steps in prop::collection::vec((0_u8..3, 0_u8..12), 0..200),
        ) {
            let mut entries = Entries::default();
            let mut model: Vec<Entry> = Vec::new();
            for (version, (step, address)) in (0..).zip(steps) {
                let address = format!("r{address}");
                let place = model.iter().position(|entry| entry.address == address);
                match step {
                    0 => prop_assert_eq!(entries.remove(&address), place.map(|at| model.remove(at))),
                    1 => prop_assert_eq!(entries.find(&address).map(|entry| &**entry), place.map(|at| &model[at])),
                    _ => {
                        let new = entry(&address, version);
                        let old = match place {
                            Some(at) => Some(std::mem::replace(&mut model[at], new.clone())),
                            None => {
                                model.push(new.clone());
                                None
                            }
                        };
                        prop_assert_eq!(entries.upsert(new), old);
                    }
                }
                prop_assert_eq!(entries.len(), model.len());
                prop_assert!(entries.iter().eq(&model));
            }
        }
    }
}
