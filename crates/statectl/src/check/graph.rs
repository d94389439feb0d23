//! The dependencies between the entries of a document.

use sdk_state::State;
use std::collections::{BTreeMap, BTreeSet};

/// The entries that need something that is not there, and what that is.
pub(super) fn missing(state: &State) -> impl Iterator<Item = (&str, Vec<&str>)> {
    state.entries().filter_map(|entry| {
        let needs = entry.depends_on.iter().map(String::as_str);
        let missing: Vec<&str> = needs.filter(|address| state.find(address).is_none()).collect();
        (!missing.is_empty()).then_some((entry.address.as_str(), missing))
    })
}

/// Cycles, each in the order in which an entry needs the next one. An entry is in one of them at most.
pub(super) fn cycles(state: &State) -> Vec<Vec<&str>> {
    let mut rest = Rest::of(state);
    let mut cycles = Vec::new();
    while let Some(cycle) = rest.cycle() {
        rest.remove(&cycle);
        cycles.push(cycle);
    }
    cycles
}

/// The entries that need one another, or an entry that does. Each needs one that is here too.
struct Rest<'a> {
    needs: BTreeMap<&'a str, BTreeSet<&'a str>>,
    needed_by: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Rest<'a> {
    fn of(state: &'a State) -> Self {
        let mut rest = Self {
            needs: BTreeMap::new(),
            needed_by: BTreeMap::new(),
        };
        for entry in state.entries() {
            let address = entry.address.as_str();
            let needs = entry.depends_on.iter().map(String::as_str);
            let needs: BTreeSet<&str> = needs.filter(|other| state.find(other).is_some()).collect();
            for other in &needs {
                rest.needed_by.entry(other).or_default().push(address);
            }
            rest.needs.insert(address, needs);
        }
        let free: Vec<&str> = rest
            .needs
            .iter()
            .filter(|(_, needs)| needs.is_empty())
            .map(|(address, _)| *address)
            .collect();
        rest.remove(&free);
        rest
    }

    /// Removes entries, and those that need nothing else that is left.
    fn remove(&mut self, entries: &[&'a str]) {
        let mut queue = entries.to_vec();
        while let Some(removed) = queue.pop() {
            self.needs.remove(removed);
            for dependent in self.needed_by.remove(removed).unwrap_or_default() {
                if let Some(needs) = self.needs.get_mut(dependent)
                    && needs.remove(removed)
                    && needs.is_empty()
                {
                    queue.push(dependent);
                }
            }
        }
    }

    /// Goes from an entry to one that it needs until it comes to one for the second time.
    fn cycle(&self) -> Option<Vec<&'a str>> {
        let mut path: Vec<&str> = Vec::new();
        let mut positions = BTreeMap::new();
        let mut next = self.needs.keys().next().copied();
        while let Some(entry) = next {
            if let Some(begin) = positions.insert(entry, path.len()) {
                return Some(path.split_off(begin));
            }
            path.push(entry);
            next = self.needs.get(entry).and_then(|needs| needs.first().copied());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sdk_state::{Binding, Category, Entry, EntryKind, Snapshot as _, StackId};

    /// `a>b` means that a needs b; `a` needs nothing.
    fn state(needs: &str) -> State {
        let mut state = State::fresh(&StackId::new("demo", "prod").unwrap());
        for pair in needs.split(' ') {
            let (address, other) = pair.split_once('>').unwrap_or((pair, ""));
            let binding = Binding::new("aws", "subnet");
            let new = Entry::new(address, EntryKind::Leaf, Category::Resource, binding);
            let mut entry = state.find(address).cloned().unwrap_or(new);
            entry
                .depends_on
                .extend(Some(other).filter(|other| !other.is_empty()).map(str::to_owned));
            state.upsert(entry);
        }
        state
    }

    #[test]
    fn each_cycle_is_found_once() {
        for (needs, expected) in [
            ("a", &[][..]),
            ("a>b a>c b>d c>d d", &[]),
            ("a>a", &["a"]),
            ("a>gone", &[]),
            ("a>b b>a", &["a b"]),
            // d needs the cycle and is not in it; neither is e, which the cycle needs.
            ("a>b b>c c>a c>e d>a e", &["a b c"]),
            ("a>b b>a c>d d>c b>c x>y y>x", &["c d", "a b", "x y"]),
        ] {
            let state = state(needs);
            let found: Vec<String> = cycles(&state).iter().map(|cycle| cycle.join(" ")).collect();
            let (mut found, mut expected) = (found, expected.to_vec());
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "{needs}");
        }
    }

    #[test]
    fn long_chain_needs_no_stack() {
        let chain: Vec<String> = (0..20_000).map(|n| format!("{n}>{}", (n + 1) % 20_000)).collect();
        let state = state(&chain.join(" "));
        assert_eq!(cycles(&state).len(), 1);
    }

    #[test]
    fn missing_dependencies_are_named() {
        let state = state("a>b b>gone b>lost c");
        let found: Vec<_> = missing(&state).collect();
        assert_eq!(found, [("b", vec!["gone", "lost"])]);
    }
}
