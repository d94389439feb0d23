use super::entry::Entry;
use super::member::{Buffer, Member, Read, within};
use hashbrown::{DefaultHashBuilder, HashTable, hash_table};
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use std::fmt;
use std::hash::BuildHasher;
use std::io;

/// The entries in the order of the document, found by address. Each operation takes constant time, amortised.
#[derive(Clone, Default)]
pub(super) struct Entries {
    /// A removed entry leaves its slot empty, so that the others keep theirs. At most half of the slots are empty.
    slots: Vec<Option<Entry>>,
    /// The slot of each entry, by the hash of its address.
    index: HashTable<usize>,
    hasher: DefaultHashBuilder,
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().flatten()
    }

    pub(super) fn find(&self, address: &str) -> Option<&Entry> {
        let hash = self.hasher.hash_one(address);
        let slot = self.index.find(hash, |slot| is_at(&self.slots, *slot, address))?;
        self.slots[*slot].as_ref()
    }

    /// Puts the entry in the place of the one with its address, or at the end.
    pub(super) fn upsert(&mut self, entry: Entry) -> Option<Entry> {
        let end = self.slots.len();
        match self.place(&entry.address) {
            hash_table::Entry::Occupied(place) => {
                let slot = *place.get();
                self.slots[slot].replace(entry)
            }
            hash_table::Entry::Vacant(place) => {
                place.insert(end);
                self.slots.push(Some(entry));
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
        removed
    }

    /// Entries from a document; the error is the positions, from 0, of two with the same address.
    fn from_slots(slots: Vec<Option<Entry>>) -> Result<Self, (usize, usize)> {
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

    /// Indexes every slot; stops at the first address that is there twice.
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
    slots: &[Option<Entry>],
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

fn is_at(slots: &[Option<Entry>], slot: usize, address: &str) -> bool {
    slots[slot].as_ref().is_some_and(|entry| entry.address == address)
}

impl Member for Entries {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of entries")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entries, A::Error> {
                let mut slots = Vec::new();
                while let Some(Read(entry)) = list
                    .next_element()
                    .map_err(|error| within(format_args!("entry {}", slots.len() + 1), &error))?
                {
                    slots.push(Some(entry));
                }
                Entries::from_slots(slots).map_err(|(first, second)| {
                    let (first, second) = (first + 1, second + 1);
                    A::Error::custom(format_args!("entry {second}: address is that of entry {first}"))
                })
            }
        }

        deserializer.deserialize_seq(List)
    }

    fn write<W: io::Write>(&self, out: &mut Buffer<W>) {
        out.text.push('[');
        for (position, entry) in self.iter().enumerate() {
            if position > 0 {
                out.text.push(',');
            }
            entry.write(out);
            out.flush();
        }
        out.text.push(']');
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
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}
