//! The difference between two states, by address and field.

use crate::document::Document;
use crate::fields::{Change, FieldChange, Fields, members, pairs};
use crate::sensitive::is_sensitive;
use crate::text::{FAINT, HEADING, plain};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::io::{self, Write as _};

/// What differs between two documents. Sensitive values are compared, and masked.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Diff {
    pub(crate) counts: Counts,
    /// The entries that differ, by address.
    pub(crate) entries: Vec<EntryChange>,
    /// What differs beside the entries: the outputs of the stack, its factory, the time when it was made.
    pub(crate) document: Vec<FieldChange>,
}

/// How many entries differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Counts {
    pub(crate) added: usize,
    pub(crate) changed: usize,
    pub(crate) removed: usize,
    pub(crate) moved: usize,
    /// How many outputs of the stack differ.
    pub(crate) outputs: usize,
}

/// An entry that differs.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct EntryChange {
    pub(crate) address: String,
    pub(crate) change: Change,
    /// The former address of a moved entry.
    pub(crate) from: Option<String>,
    /// Alias and kind of the binding.
    pub(crate) r#type: String,
    /// What differs, of an entry that is on both sides.
    pub(crate) fields: Vec<FieldChange>,
}

/// An entry that only one side has.
struct Single<'a> {
    address: &'a str,
    entry: &'a str,
}

impl Diff {
    /// Compares two documents.
    pub(crate) fn between(before: &Document, after: &Document) -> Self {
        let mut found = Self::default();
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for pair in before.unequal(after) {
            match pair {
                (Some(old), Some(new)) => {
                    let address = after.address(new);
                    let (old, new) = (before.entry(old), after.entry(new));
                    found.push(address, Change::Changed, None, new, fields(old, new));
                }
                (Some(old), None) => removed.push(Single::of(before, old)),
                (None, Some(new)) => added.push(Single::of(after, new)),
                (None, None) => {}
            }
        }
        found.push_singles(&removed, &added);
        // Only the order of members or white space differed.
        found
            .entries
            .retain(|entry| entry.change != Change::Changed || !entry.fields.is_empty());
        found.entries.sort_by(|a, b| a.address.cmp(&b.address));
        found.document = beside_the_entries(before, after);
        found.count();
        found
    }

    /// Compares the entries with this address; `None` where they are the same.
    pub(crate) fn of_entry(address: &str, before: Option<&str>, after: Option<&str>) -> Option<EntryChange> {
        let mut found = Self::default();
        match (before, after) {
            (Some(old), Some(new)) if old != new => {
                found.push(address, Change::Changed, None, new, fields(old, new));
            }
            (Some(old), None) => found.push(address, Change::Removed, None, old, Vec::new()),
            (None, Some(new)) => found.push(address, Change::Added, None, new, Vec::new()),
            _ => {}
        }
        let change = found.entries.pop()?;
        (change.change != Change::Changed || !change.fields.is_empty()).then_some(change)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.document.is_empty()
    }

    /// Those that only one side has. One that is there under another address, in every other respect but what it needs, was moved.
    fn push_singles(&mut self, removed: &[Single<'_>], added: &[Single<'_>]) {
        let mut moves: HashMap<String, VecDeque<usize>> = HashMap::new();
        if !added.is_empty() {
            for (index, single) in removed.iter().enumerate() {
                moves.entry(single.content()).or_default().push_back(index);
            }
        }
        let mut moved = HashSet::new();
        for single in added {
            let from = moves
                .get_mut(&single.content())
                .filter(|_| !removed.is_empty())
                .and_then(VecDeque::pop_front);
            match from {
                Some(index) => {
                    let old = &removed[index];
                    moved.insert(index);
                    let from = Some(old.address.to_owned());
                    let fields = fields(old.entry, single.entry);
                    self.push(single.address, Change::Moved, from, single.entry, fields);
                }
                None => self.push(single.address, Change::Added, None, single.entry, Vec::new()),
            }
        }
        for (index, single) in removed.iter().enumerate() {
            if !moved.contains(&index) {
                self.push(single.address, Change::Removed, None, single.entry, Vec::new());
            }
        }
    }

    fn push(
        &mut self,
        address: &str,
        change: Change,
        from: Option<String>,
        entry: &str,
        fields: Vec<FieldChange>,
    ) {
        self.entries.push(EntryChange {
            address: address.to_owned(),
            change,
            from,
            r#type: type_of(entry),
            fields,
        });
    }

    fn count(&mut self) {
        let count = |change| self.entries.iter().filter(|entry| entry.change == change).count();
        let outputs = self.document.iter().filter(|field| is_output(&field.path));
        self.counts = Counts {
            added: count(Change::Added),
            changed: count(Change::Changed),
            removed: count(Change::Removed),
            moved: count(Change::Moved),
            outputs: outputs.count(),
        };
    }

    /// What differs, for people, and the counts below.
    pub(crate) fn human(&self, page: &mut Vec<u8>) -> io::Result<()> {
        for entry in &self.entries {
            entry.human(page, "")?;
        }
        if !self.document.is_empty() {
            writeln!(page, "{HEADING}beside the entries{HEADING:#}")?;
            for field in &self.document {
                field.human(page, "    ")?;
            }
        }
        writeln!(page, "{}", self.counts)
    }

    /// One line for each entry, without what differs in it, and the counts below.
    pub(crate) fn human_stat(&self, page: &mut Vec<u8>) -> io::Result<()> {
        for entry in &self.entries {
            entry.line(page, "")?;
        }
        writeln!(page, "{}", self.counts)
    }
}

impl EntryChange {
    /// The entry, and under it what differs.
    pub(crate) fn human(&self, page: &mut Vec<u8>, indent: &str) -> io::Result<()> {
        self.line(page, indent)?;
        self.fields
            .iter()
            .try_for_each(|field| field.human(page, &format!("{indent}    ")))
    }

    fn line(&self, page: &mut Vec<u8>, indent: &str) -> io::Result<()> {
        let (mark, style) = self.change.mark();
        write!(page, "{indent}{style}{mark} ")?;
        if let Some(from) = &self.from {
            write!(page, "{} → ", plain(from))?;
        }
        write!(
            page,
            "{}{style:#}  {FAINT}{}{FAINT:#}",
            plain(&self.address),
            plain(&self.r#type)
        )?;
        match self.fields.len() {
            0 => writeln!(page),
            1 => writeln!(page, "  {FAINT}1 field{FAINT:#}"),
            count => writeln!(page, "  {FAINT}{count} fields{FAINT:#}"),
        }
    }
}

/// As `+2 ~1 −0`, and what else there is.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("+{} ~{} −{}", self.added, self.changed, self.removed);
        if self.moved > 0 {
            text.push_str(&format!(" >{}", self.moved));
        }
        if self.outputs > 0 {
            text.push_str(" outputs");
        }
        f.pad(&text)
    }
}

impl<'a> Single<'a> {
    fn of(document: &'a Document, index: usize) -> Self {
        Self {
            address: document.address(index),
            entry: document.entry(index),
        }
    }

    /// Everything but the address and what it needs.
    fn content(&self) -> String {
        let kept = members(self.entry).unwrap_or_default();
        let kept = kept
            .iter()
            .filter(|(name, _)| name != "address" && name != "depends-on");
        kept.map(|(name, value)| format!("{name}:{}\n", value.get()))
            .collect()
    }
}

/// What differs between two entries, except their addresses.
fn fields(before: &str, after: &str) -> Vec<FieldChange> {
    let (old, new) = (
        members(before).unwrap_or_default(),
        members(after).unwrap_or_default(),
    );
    let mut fields = Fields::default();
    for (name, before, after) in pairs(&old, &new) {
        let marks = match name {
            "address" => continue,
            "inputs" => "sensitive-inputs",
            "outputs" => "sensitive-outputs",
            _ => {
                fields.compare(name, before, after, 1);
                continue;
            }
        };
        // A value that only one side marks is as secret on the other.
        let sensitive = [marked(&old, marks), marked(&new, marks)].concat();
        fields.compare_objects(name, before, after, |name| is_sensitive(name, &sensitive));
    }
    fields.into_changes()
}

/// The names in one of the lists of sensitive members.
fn marked(entry: &[(String, &RawValue)], list: &str) -> Vec<String> {
    let names = entry.iter().find(|(name, _)| name == list);
    names
        .and_then(|(_, names)| serde_json::from_str(names.get()).ok())
        .unwrap_or_default()
}

/// Nothing in a document says which outputs of the stack are secret, so all are masked.
fn beside_the_entries(before: &Document, after: &Document) -> Vec<FieldChange> {
    let mut fields = Fields::default();
    let in_before: HashMap<&str, &str> = before.others().collect();
    let in_after: HashMap<&str, &str> = after.others().collect();
    let only_after = after.others().filter(|(name, _)| !in_before.contains_key(name));
    for (name, _) in before.others().chain(only_after) {
        let (old, new) = (in_before.get(name).copied(), in_after.get(name).copied());
        match is_output(name) {
            true => fields.compare_objects(name, old, new, |_| true),
            false => fields.compare(name, old, new, 1),
        }
    }
    fields.into_changes()
}

fn is_output(path: &str) -> bool {
    path.strip_prefix("outputs")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Alias and kind of an entry's binding.
fn type_of(entry: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Typed {
        binding: Binding,
    }
    #[derive(serde::Deserialize)]
    struct Binding {
        alias: String,
        kind: String,
    }

    let typed: Option<Typed> = serde_json::from_str(entry).ok();
    typed.map_or_else(String::new, |Typed { binding }| {
        format!("{}.{}", binding.alias, binding.kind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[expect(clippy::needless_pass_by_value, reason = "the tests read better without it")]
    fn entry(address: &str, inputs: Value) -> Value {
        json!({
            "address": address, "entry-kind": "leaf", "category": "resource",
            "binding": { "alias": "aws", "kind": "database" }, "inputs": inputs,
        })
    }

    fn document(entries: &[Value]) -> Document {
        let whole = json!({ "factory": { "name": "demo" }, "entries": entries, "outputs": {} });
        Document::split(whole.to_string().into_bytes()).unwrap()
    }

    fn diff(before: &[Value], after: &[Value]) -> Diff {
        Diff::between(&document(before), &document(after))
    }

    fn paths(diff: &Diff) -> Vec<&str> {
        let fields = diff.entries.iter().flat_map(|entry| &entry.fields);
        fields.map(|field| field.path.as_str()).collect()
    }

    #[test]
    fn entries_come_go_and_change_by_address() {
        let before = [
            entry("r.same", json!({"a": 1})),
            entry("r.changed", json!({"a": 1})),
            entry("r.gone", json!({"a": 2})),
        ];
        let after = [
            entry("r.new", json!({"a": 3})),
            entry("r.changed", json!({"a": 7})),
            entry("r.same", json!({"a": 1})),
        ];
        let diff = diff(&before, &after);
        assert_eq!(diff.counts.to_string(), "+1 ~1 −1");
        let changes: Vec<_> = diff
            .entries
            .iter()
            .map(|entry| (entry.address.as_str(), entry.change))
            .collect();
        assert_eq!(
            changes,
            [
                ("r.changed", Change::Changed),
                ("r.gone", Change::Removed),
                ("r.new", Change::Added)
            ]
        );
        assert_eq!(paths(&diff), ["inputs.a"]);
        assert_eq!(diff.entries[0].r#type, "aws.database");
    }

    #[test]
    fn another_order_is_no_difference() {
        let entries = [1, 2, 3, 4].map(|number| entry(&format!("r.{number}"), json!({"n": number})));
        let mut others = entries.clone();
        others.reverse();
        assert!(diff(&entries, &others).is_empty());
        others.rotate_left(1);
        assert!(diff(&entries, &others).is_empty());
    }

    #[test]
    fn moved_entries_are_told_from_new_ones() {
        let needing = |address: &str, needs: &str| {
            let mut entry = entry(address, json!({"id": "i-1"}));
            entry["depends-on"] = json!([needs]);
            entry
        };
        let before = [
            needing("module.a.vm", "module.a.net"),
            entry("module.a.net", json!({"id": "n-1"})),
            entry("other", json!({})),
        ];
        let after = [
            needing("module.b.vm", "module.b.net"),
            entry("module.b.net", json!({"id": "n-1"})),
            entry("another", json!({"id": "n-2"})),
        ];
        let diff = diff(&before, &after);
        assert_eq!(diff.counts.to_string(), "+1 ~0 −1 >2");
        let moved = diff
            .entries
            .iter()
            .find(|entry| entry.address == "module.b.vm")
            .unwrap();
        assert_eq!(moved.from.as_deref(), Some("module.a.vm"));
        assert_eq!(paths(&diff), ["depends-on[0]"]);
    }

    /// Of several equal entries each is moved once.
    #[test]
    fn equal_entries_move_in_their_order() {
        let twins = |addresses: &[&str]| -> Vec<Value> {
            addresses
                .iter()
                .map(|address| entry(address, json!({})))
                .collect()
        };
        let diff = diff(&twins(&["a.1", "a.2", "a.3"]), &twins(&["b.1", "b.2"]));
        assert_eq!(diff.counts.to_string(), "+0 ~0 −1 >2");
        let from: Vec<_> = diff.entries.iter().map(|entry| entry.from.as_deref()).collect();
        assert_eq!(from, [None, Some("a.1"), Some("a.2")]);
        assert_eq!(diff.entries[0].address, "a.3");
    }

    #[test]
    fn value_that_one_side_marks_is_masked_on_both() {
        let mut marked = entry("r", json!({"password": "new-secret", "size": 2}));
        marked["sensitive-inputs"] = json!(["password"]);
        let plain = entry("r", json!({"password": "old-secret", "size": 1}));
        for (before, after) in [(&plain, &marked), (&marked, &plain)] {
            let diff = diff(std::slice::from_ref(before), std::slice::from_ref(after));
            let shown = serde_json::to_string(&diff).unwrap();
            assert!(!shown.contains("secret\""), "{shown}");
            let masked = diff.entries[0]
                .fields
                .iter()
                .find(|field| field.path == "inputs.password");
            assert!(masked.unwrap().sensitive);
            let mut page = Vec::new();
            diff.human(&mut page).unwrap();
            let page = String::from_utf8(page).unwrap();
            assert!(page.contains("inputs.password: (sensitive), changed"), "{page}");
            assert!(page.contains("inputs.size: "), "{page}");
        }
    }

    #[test]
    fn outputs_of_the_stack_are_counted_and_masked() {
        let document = |outputs: Value| {
            let whole = json!({ "factory": { "version": "1" }, "entries": [], "outputs": outputs });
            Document::split(whole.to_string().into_bytes()).unwrap()
        };
        let before = document(json!({"url": "a", "same": 1}));
        let diff = Diff::between(&before, &document(json!({"url": "b", "same": 1, "new": "c"})));
        assert_eq!(diff.counts.to_string(), "+0 ~0 −0 outputs");
        let paths: Vec<_> = diff.document.iter().map(|field| field.path.as_str()).collect();
        assert_eq!(
            (paths, diff.counts.outputs),
            (vec!["outputs.url", "outputs.new"], 2)
        );
        assert!(diff.document.iter().all(|field| field.sensitive));
        assert!(!diff.is_empty());
    }

    #[test]
    fn values_keep_every_digit() {
        let document = |number: &str| {
            let entry = entry("r", json!({"n": 0}))
                .to_string()
                .replace("\"n\":0", &format!("\"n\":{number}"));
            Document::split(format!("{{\"entries\":[{entry}]}}").into_bytes()).unwrap()
        };
        let diff = Diff::between(
            &document("18446744073709551616.10"),
            &document("18446744073709551616.1"),
        );
        let shown = serde_json::to_string(&diff).unwrap();
        assert!(shown.contains("\"before\":18446744073709551616.10"), "{shown}");
    }

    proptest::proptest! {
        /// The entries that a naive comparison finds.
        #[test]
        fn every_entry_that_differs_is_found(
            before in proptest::collection::btree_map(0_u8..12, 0_u8..3, 0..12),
            after in proptest::collection::btree_map(0_u8..12, 0_u8..3, 0..12),
            turned in 0_usize..12,
        ) {
            let entries = |map: &std::collections::BTreeMap<u8, u8>| -> Vec<Value> {
                // The address is in the value, so that nothing counts as moved.
                map.iter().map(|(at, value)| entry(&format!("r.{at:02}"), json!({"at": at, "v": value}))).collect()
            };
            let mut shuffled = entries(&after);
            let turns = turned % shuffled.len().max(1);
            shuffled.rotate_left(turns);
            let found = diff(&entries(&before), &shuffled);
            let addresses: Vec<String> = found.entries.iter().map(|entry| entry.address.clone()).collect();
            let expected: Vec<String> = (0..12)
                .filter(|at| before.get(at) != after.get(at))
                .map(|at| format!("r.{at:02}"))
                .collect();
            proptest::prop_assert_eq!(addresses, expected);
        }
    }
}
